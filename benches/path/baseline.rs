//! What Segue is compared with: the least that a server can do with such a request.

use std::cell::RefCell;
use std::sync::Arc;

use actix_web::{App, HttpResponse, HttpServer, web};
use bytes::Bytes;
use segue::clock::{Clock, SystemClock};
use segue::spec::{self, Arrival, Ingress, RawCall, Vendor};
use segue::transform::{Bundle, Context, Made, Runner};
use serde_json::Value;
use serde_json::value::RawValue;

thread_local! {
    static RUNNER: RefCell<Runner> = RefCell::new(Runner::new(Arc::new(
        Bundle::shipped().expect("the shipped scripts are in order"),
    )));
}

/// Serves `/ack`, `/parse` and `/scripts` with one worker until the process is ended.
pub(crate) fn serve() {
    let served = actix_web::rt::System::new().block_on(async {
        let app = || {
            App::new()
                .app_data(web::PayloadConfig::new(1 << 22))
                .route("/ack", web::post().to(|_: Bytes| async { done() }))
                .route("/parse", web::post().to(parse))
                .route("/scripts", web::post().to(scripts))
        };
        let server = HttpServer::new(app).workers(1).bind(("127.0.0.1", 0))?;
        println!("http://{}", server.addrs()[0]);
        server.run().await
    });
    served.expect("the listener must not fail");
}

/// Parse-and-ack: every element becomes a value.
async fn parse(body: Bytes) -> HttpResponse {
    for element in elements(&body) {
        let value: Value = serde_json::from_str(element.get()).expect("JSON");
        std::hint::black_box(&value);
    }
    done()
}

/// The same, and the shipped scripts run on every element; what they leave is written out.
async fn scripts(body: Bytes) -> HttpResponse {
    let now = SystemClock.now();
    let arrival = Arc::new(Arrival {
        source: "web".into(),
        ingress: Ingress::Webhook,
        accepted_at: now,
        ..Arrival::default()
    });
    RUNNER.with_borrow_mut(|runner| {
        for element in elements(&body) {
            let element = body.slice_ref(element.get().as_bytes());
            let mut call = RawCall::new(Arc::clone(&arrival), element);
            let event = spec::normalise(&mut call, Vendor::Segment).expect("an event");
            let context = Context {
                source: "web".into(),
                ingress: Ingress::Webhook,
                now,
                received_at: event.received_at(),
                ..Context::default()
            };
            let Made::Events(events) = runner.run(event, &context) else { panic!("no event") };
            for scripted in events {
                std::hint::black_box(serde_json::to_vec(scripted.event.fields()).expect("JSON"));
            }
        }
    });
    done()
}

/// One event or an array of them, found and not parsed.
fn elements(body: &Bytes) -> Vec<&RawValue> {
    match body.first() {
        Some(b'[') => serde_json::from_slice(body).expect("an array"),
        _ => vec![serde_json::from_slice(body).expect("an object")],
    }
}

fn done() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(r#"{"success":true}"#)
}
