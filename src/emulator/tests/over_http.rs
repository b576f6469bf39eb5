//! The same over a socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::clock::ManualClock;

fn start(settings: Settings) -> (Running, reqwest::Client) {
    let clock = Arc::new(ManualClock::at(Time::from_secs(NOON)));
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let running = serve(addr, Emulator::new(settings), clock).unwrap();
    // The client wants a provider even for plain http; a second installation is refused, and harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    (running, reqwest::Client::new())
}

fn event(name: &str) -> String {
    json!({"name": name, "timestamp": NOON - 3600}).to_string()
}

#[actix_web::test]
async fn a_request_over_http_is_answered_as_in_process() {
    let (running, client) = start(Settings::default());
    let url = format!("{}/api/v1/customers/a%2Fb%20c/events?x=%20", running.url());
    let bare = client.post(&url).body(event("E")).send().await.unwrap();
    assert_eq!(bare.status(), 401);
    let answer =
        client.post(&url).basic_auth("site", Some("key")).body(event("E")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.text().await.unwrap(), "{}");

    let person = client.get(format!("{}/emulator/people/a%2Fb%20c", running.url()));
    let person: Value =
        serde_json::from_str(&person.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(person["events"][0]["received_at"], "2026-03-14T12:00:00.000Z");
    assert_eq!(person["events"][0]["could_trigger"], true);
    assert_eq!(running.lock().person("a/b c").unwrap().cio_id, person["cio_id"]);

    let addr = running.addr();
    running.stop().await;
    assert!(std::net::TcpStream::connect(addr).is_err(), "it still listens");
}

#[actix_web::test]
async fn a_reset_closes_the_connection_after_the_request_was_done() {
    let faults = vec![FaultRule::parse("reset, lost, ok").unwrap()];
    let (running, client) = start(Settings { faults, ..Settings::default() });
    let mut outcomes = Vec::new();
    for name in ["A", "B", "C"] {
        let url = format!("{}/api/v1/customers/u/events", running.url());
        let sent = client.post(url).basic_auth("s", Some("k")).body(event(name)).send().await;
        outcomes.push(sent.map(|answer| answer.status().as_u16()).ok());
    }
    assert_eq!(outcomes, [None, None, Some(200)]);
    let names: Vec<_> = running.lock().events().map(|event| event.name.clone()).collect();
    assert_eq!(names, ["A", "C"]);
    running.stop().await;
}

/// Without an actix system around it, as in a tool that has a tokio runtime only.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_and_a_trickled_answer_arrive_whole() {
    let faults = vec![FaultRule::parse("slow/60, trickle/20").unwrap()];
    let (running, client) = start(Settings { faults, ..Settings::default() });
    let batch = json!({"batch": [{"type": "person"}]}).to_string();
    for at_least in [60, 500] {
        let begun = Instant::now();
        let url = format!("{}/api/v2/batch", running.url());
        let sent = client.post(url).basic_auth("s", Some("k")).body(batch.clone()).send().await;
        let body = sent.unwrap().text().await.unwrap();
        assert!(body.contains("batch_index"), "{body}");
        assert!(begun.elapsed() >= Duration::from_millis(at_least), "{:?}", begun.elapsed());
    }
    running.stop().await;
}

#[actix_web::test]
async fn a_body_beyond_the_cap_is_refused_without_being_kept() {
    let (running, client) = start(Settings::default());
    let url = format!("{}/api/v2/batch", running.url());
    let sent = client.post(url).body(vec![b' '; (8 << 20) + 1]).send().await;
    assert!(sent.is_err() || sent.is_ok_and(|answer| answer.status() == 413));
    assert_eq!(running.lock().requests().count(), 0);
    running.stop().await;
}
