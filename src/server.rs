//! The listener for events: every URL, and a start and stop that lose nothing.
//!
//! Not here: what a request means ([`crate::ingest`]), the operator's listener ([`crate::admin`]).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server as Running, ServerHandle};
use actix_web::http::header;
use actix_web::middleware::{NormalizePath, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Resource, guard, web};
use serde_json::json;

use crate::config::Config;
use crate::ingest::{self, IngestError, Intake};
use crate::spec::Call;

/// How long a client may take to send the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// How long an idle connection is kept: longer than the pools of the senders keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Whether events can be taken, as a load balancer must know it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readiness {
    /// All is well.
    Ready,
    /// Events are taken, but somebody should look.
    Degraded,
    /// No events are taken for now.
    Unavailable,
}

/// How ready the application is, and with which scripts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ready {
    /// Whether events can be taken.
    pub readiness: Readiness,
    /// The hash of the scripts in force.
    pub bundle: String,
}

/// Tells how ready the application is. Asked by every request to `/health/ready`: must be quick.
pub type ReadinessProbe = dyn Fn() -> Ready + Send + Sync;

/// The listener, bound and serving once it is run.
pub struct Server {
    running: Running,
    addr: SocketAddr,
}

/// Stops a [`Server`] from elsewhere.
#[derive(Clone)]
pub struct StopHandle(ServerHandle);

impl Server {
    /// Binds `config.listen` (port 0: any free one), with as many workers as there are cores. A stop
    /// waits for requests in flight for at most `stop_within`, in whole seconds. Needs a running tokio
    /// runtime.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn bind(
        config: &Config,
        intake: Arc<Intake>,
        readiness: Arc<ReadinessProbe>,
        stop_within: Duration,
    ) -> io::Result<Self> {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        let app = move || {
            App::new()
                .app_data(web::Data::from(Arc::clone(&intake)))
                .app_data(web::Data::from(Arc::clone(&readiness)))
                .configure(routes)
                .default_service(web::to(no_such_path))
                // The last that is wrapped is the first that sees a request.
                .wrap(from_fn(ingest::measured))
                .wrap(from_fn(ingest::cors))
                // Rewrites `/v1/batch/` and `//v1/batch` in place: after a redirect most senders
                // would come back without their body, and take the answer for success.
                .wrap(NormalizePath::trim())
        };
        let server = HttpServer::new(app)
            .workers(workers)
            .client_request_timeout(HEAD_DEADLINE)
            .keep_alive(KEEP_ALIVE)
            .shutdown_timeout(stop_within.as_secs())
            .disable_signals()
            .bind(&config.listen)?;
        let addr = server.addrs().first().copied();
        let addr = addr.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        Ok(Self { running: server.run(), addr })
    }

    /// The bound address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What stops this server.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.running.handle())
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn run(self) -> io::Result<()> {
        self.running.await
    }
}

impl StopHandle {
    /// Takes no more connections and waits for the requests in flight, at most for the time that the
    /// server was bound with; what is left then is closed, and its senders try again.
    pub async fn stop(&self) {
        self.0.stop(true).await;
    }
}

/// Every URL of the listener, by client.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    app.service(get("/", welcome))
        .service(get("/health/live", live))
        .service(get("/health/ready", ready));
    webhook_routes(app);
    sdk_routes(app);
    browser_routes(app);
}

/// Webhook destinations of both vendors, and of whoever speaks like them.
fn webhook_routes(app: &mut web::ServiceConfig) {
    app.service(
        web::resource("/webhook/{source}")
            .route(web::post().to(ingest::webhook))
            .route(web::put().to(ingest::webhook))
            .route(web::patch().to(ingest::webhook))
            .default_service(web::to(|request| {
                // RudderStack offers GET and DELETE, and sends only properties in the query then.
                not_allowed(
                    request,
                    "POST, PUT, PATCH",
                    "a webhook needs POST, PUT or PATCH: with GET and DELETE the event itself is not sent; change the method in the destination's settings",
                )
            })),
    );
}

/// The HTTP APIs of Segment and RudderStack: their SDKs, and whoever writes HTTP by hand.
fn sdk_routes(app: &mut web::ServiceConfig) {
    // The one-letter paths are those of analytics.js, analytics-kotlin and analytics-swift.
    let calls = [
        ("/v1/identify", "/v1/i", Call::Identify),
        ("/v1/track", "/v1/t", Call::Track),
        ("/v1/page", "/v1/p", Call::Page),
        ("/v1/screen", "/v1/s", Call::Screen),
        ("/v1/group", "/v1/g", Call::Group),
        ("/v1/alias", "/v1/a", Call::Alias),
    ];
    for (long, short, call) in calls {
        for path in [long, short] {
            app.service(post(path).route(web::post().to(move |request, payload, intake| {
                ingest::single(Some(call), request, payload, intake)
            })));
        }
    }
    // RudderStack's merge has no counterpart in Customer.io's integration: it is kept and reported.
    app.service(post("/v1/merge").route(
        web::post().to(|request, payload, intake| ingest::single(None, request, payload, intake)),
    ));
    // `import` is what the Ruby and Java SDKs of Segment call their batches; `beacon` is where
    // RudderStack's browser SDK sends when a page is closed, with the key in the query.
    // `/b` is where the Kotlin and Swift SDKs send when their host is given without `/v1`.
    for path in ["/v1/batch", "/v1/b", "/b", "/v1/import", "/beacon/v1/batch"] {
        app.service(post(path).route(web::post().to(ingest::batch)));
    }
}

/// What browsers and mails ask for beside sending events.
fn browser_routes(app: &mut web::ServiceConfig) {
    app.service(post("/v1/m").route(web::post().to(ingest::ignored)));
    // analytics.js asks its CDN with the version in the path, the mobile SDKs without.
    app.service(get("/v1/projects/{key}/settings", ingest::segment_settings))
        .service(get("/projects/{key}/settings", ingest::segment_settings))
        .service(get("/sourceConfig", ingest::source_config));
    let calls = [
        ("identify", Call::Identify),
        ("track", Call::Track),
        ("page", Call::Page),
        ("screen", Call::Screen),
        ("group", Call::Group),
        ("alias", Call::Alias),
    ];
    for (name, call) in calls {
        // Segment's, and RudderStack's (which has track and page only).
        for path in [format!("/v1/pixel/{name}"), format!("/pixel/v1/{name}")] {
            // By GET only: who asks for the head of a picture has opened no mail.
            let picture = move |request, intake| ingest::picture(call, request, intake);
            let refused = |request| not_allowed(request, "GET", "a pixel is loaded by GET");
            let route = web::get().to(picture);
            app.service(web::resource(path).route(route).default_service(web::to(refused)));
        }
    }
}

/// A path that only takes POST; the route itself is still to be added.
fn post(path: &str) -> Resource {
    web::resource(path).default_service(web::to(|request| {
        not_allowed(request, "POST", "this path takes events by POST only")
    }))
}

/// A path that is only read.
fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    let reads = guard::Any(guard::Get()).or(guard::Head());
    web::resource(path).route(web::route().guard(reads).to(handler)).default_service(web::to(
        |request| not_allowed(request, "GET, HEAD", "this path is only read, by GET"),
    ))
}

async fn not_allowed(
    request: HttpRequest,
    allowed: &'static str,
    message: &'static str,
) -> HttpResponse {
    let mut response = ingest::refuse(&request, &IngestError::MethodNotAllowed(message));
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allowed));
    response
}

/// Nothing is served here.
pub(crate) async fn no_such_path(request: HttpRequest) -> HttpResponse {
    ingest::refuse(&request, &IngestError::NotFound)
}

async fn welcome() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "service": "segue" }))
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// Why it is as it is stands on the operator's listener: anybody may ask here.
async fn ready(readiness: web::Data<ReadinessProbe>) -> HttpResponse {
    let Ready { readiness, bundle } = readiness();
    let body = |status: &str| json!({ "status": status, "bundle": bundle });
    match readiness {
        Readiness::Ready => HttpResponse::Ok().json(body("ready")),
        Readiness::Degraded => HttpResponse::Ok().json(body("degraded")),
        Readiness::Unavailable => HttpResponse::ServiceUnavailable().json(body("unavailable")),
    }
}
