//! What senders are told.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::support::*;
use crate::config::{Config, IngestConfig, Span};
use crate::ingest::IngestError;
use crate::journal::JournalError;
use crate::server::Readiness;
use actix_web::http::StatusCode;

const EVENT: &[u8] = br#"{"type":"track","event":"A","userId":"u"}"#;
const KEY: &str = "Authorization: Bearer demo-segment";

#[test]
fn every_error_has_its_own_code_and_a_status_that_says_whether_to_try_again() {
    #[rustfmt::skip]
    let table = [
        (IngestError::NotFound, 404), (IngestError::UnknownSource, 404),
        (IngestError::MethodNotAllowed("m"), 405),
        (IngestError::MissingWriteKey, 401), (IngestError::InvalidWriteKey, 401),
        (IngestError::MissingToken, 401), (IngestError::InvalidToken, 401),
        (IngestError::MissingSignature, 401), (IngestError::InvalidSignature, 401),
        (IngestError::Unprotected, 403),
        (IngestError::EmptyBody, 400), (IngestError::InvalidJson("m".into()), 400),
        (IngestError::NotEvents("m"), 400), (IngestError::MissingBatch, 400),
        (IngestError::InvalidGzip, 400), (IngestError::IncompleteBody, 400),
        (IngestError::UnsupportedEncoding, 415),
        (IngestError::BodyTimeout(1), 408),
        (IngestError::BodyTooLarge(1), 413), (IngestError::BatchTooLarge("m".into()), 413),
        (IngestError::Busy, 503), (IngestError::JournalFull, 503), (IngestError::JournalFailed, 503),
    ];
    let mut codes = std::collections::BTreeSet::new();
    for (error, status) in &table {
        assert_eq!(error.answer().0, StatusCode::from_u16(*status).unwrap(), "{error:?}");
        assert!(codes.insert(error.code()), "{} is used twice", error.code());
        assert_ne!(error.to_string(), "", "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_hold_no_events_are_refused_and_say_why() {
    let app = App::start();
    #[rustfmt::skip]
    let table: &[(&str, &str, &str, &str)] = &[
        ("no body", "/v1/track", "", "400 empty_body"),
        ("blanks", "/v1/track", " \r\n", "400 empty_body"),
        ("only a byte order mark", "/v1/track", "\u{feff}", "400 empty_body"),
        ("cut off", "/v1/track", r#"{"event":"A""#, "400 invalid_json"),
        ("two values", "/v1/track", "{}{}", "400 invalid_json"),
        ("a form", "/v1/track", "event=A&userId=u", "400 invalid_json"),
        ("cut off inside a batch", "/v1/batch", r#"{"batch":[{},{"a"#, "400 invalid_json"),
        ("a number", "/v1/track", "42", "400 not_events"),
        ("a text", "/v1/track", r#""event""#, "400 not_events"),
        ("null", "/webhook/segment", "null", "400 not_events"),
        ("a batch without a batch", "/v1/batch", r#"{"type":"track"}"#, "400 missing_batch"),
        ("a batch that is no array", "/v1/batch", r#"{"batch":{}}"#, "400 missing_batch"),
        ("an empty batch", "/v1/batch", r#"{"batch":[]}"#, "200"),
        ("an empty array", "/v1/batch", "[]", "200"),
        ("an empty array on a webhook", "/webhook/rudderstack", "[]", "200"),
    ];
    for (what, path, body, expected) in table {
        assert_eq!(app.post(path, &[KEY], body.as_bytes()).await.told(), *expected, "{what}");
    }
    assert_eq!(app.journal.take(), [], "nothing of it was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_takes_nothing_makes_senders_come_back() {
    let app = App::start();
    let table = [
        (JournalError::Full("the disk is full".into()), "503 journal_full"),
        (JournalError::Failed("/var/lib/segue: input/output error".into()), "503 journal_failed"),
    ];
    for (error, expected) in table {
        *app.journal.broken.lock().unwrap() = Some(error);
        let answer = app.post("/v1/track", &[KEY], EVENT).await;
        assert_eq!(answer.told(), expected);
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert!(!String::from_utf8_lossy(&answer.body).contains("/var"), "that is the operator's");
    }
    *app.journal.broken.lock().unwrap() = None;
    app.journal.gone.store(true, Ordering::SeqCst);
    assert_eq!(app.post("/v1/track", &[KEY], EVENT).await.told(), "503 journal_failed");

    app.journal.gone.store(false, Ordering::SeqCst);
    assert_eq!(app.post("/v1/track", &[KEY], EVENT).await.told(), "200");
    assert_eq!(app.journal.take().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_message_is_answered_with_success_and_stored_once() {
    let app = App::start();
    for _ in 0..2 {
        assert_eq!(app.post("/v1/track", &[KEY], EVENT).await.told(), "200");
    }
    assert_eq!(app.journal.take().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_paths_and_methods_are_told_what_would_be_right() {
    let app = App::start();
    #[rustfmt::skip]
    let table: &[(&str, &str, &str, Option<&str>)] = &[
        ("GET", "/webhook/segment?cart_id=c", "405 method_not_allowed", Some("POST, PUT, PATCH")),
        ("DELETE", "/webhook/segment", "405 method_not_allowed", Some("POST, PUT, PATCH")),
        ("GET", "/v1/track", "405 method_not_allowed", Some("POST")),
        ("PUT", "/v1/batch", "405 method_not_allowed", Some("POST")),
        ("POST", "/sourceConfig", "405 method_not_allowed", Some("GET, HEAD")),
        ("POST", "/v1/pixel/track", "405 method_not_allowed", Some("GET")),
        ("POST", "/", "405 method_not_allowed", Some("GET, HEAD")),
        ("POST", "/v1/nothing", "404 not_found", None),
        ("GET", "/favicon.ico", "404 not_found", None),
        ("POST", "/webhook", "404 not_found", None),
        ("POST", "/webhook/", "404 not_found", None),
        ("POST", "/webhook/segment/x", "404 not_found", None),
        ("POST", "/%2e%2e/etc/passwd", "404 not_found", None),
    ];
    for (method, path, expected, allow) in table {
        let answer = app.send(method, path, &[], b"").await;
        assert_eq!(answer.told(), *expected, "{method} {path}");
        assert_eq!(answer.header("allow"), *allow, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_is_redirected() {
    let app = App::start();
    for path in ["/v1/track/", "//v1/track", "/v1//track///", "/v1/track?writeKey=demo-segment"] {
        assert_eq!(app.post(path, &[KEY], EVENT).await.told(), "200", "{path}");
    }
    for path in ["/webhook/segment/", "//webhook//segment", "/webhook/segment/?replay=r"] {
        assert_eq!(app.post(path, &[], EVENT).await.told(), "200", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_come_by_post_put_and_patch() {
    let app = App::start();
    for method in ["POST", "PUT", "PATCH"] {
        let body = format!(r#"{{"type":"track","event":"{method}"}}"#);
        let answer = app.send(method, "/webhook/rudderstack", &[], body.as_bytes()).await;
        assert_eq!(answer.told(), "200", "{method}");
    }
    assert_eq!(app.journal.take().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_given_up_after_the_deadline() {
    let ingest = IngestConfig { body_deadline: Span::from_millis(50), ..IngestConfig::default() };
    let app = App::start_with(&Config { ingest, ..config() });
    let whole = request("POST", "/webhook/segment", &[], EVENT);
    let mut stream = TcpStream::connect(app.addr).await.unwrap();

    stream.write_all(&whole[..whole.len() - 5]).await.unwrap();

    let answer = Answer::read(&mut stream).await;
    assert_eq!(answer.told(), "408 body_timeout");
    assert!(answer.json()["message"].as_str().unwrap().contains("50ms"));
    assert_eq!(app.journal.take(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_short_and_comes_from_the_application() {
    let app = App::start();
    #[rustfmt::skip]
    let table = [
        (Readiness::Ready, 200, "ready"),
        (Readiness::Degraded, 200, "degraded"),
        (Readiness::Unavailable, 503, "unavailable"),
    ];
    for (readiness, status, said) in table {
        *app.readiness.lock().unwrap() = readiness;
        let answer = app.send("GET", "/health/ready", &[], b"").await;
        assert_eq!((answer.status, answer.json()["status"].as_str()), (status, Some(said)));
        assert_eq!(answer.json()["bundle"], "abc", "the scripts in force");
    }
    assert_eq!(app.send("GET", "/health/live", &[], b"").await.json()["status"], "live");
    for path in ["/", "/health/live"] {
        let answer = app.send("HEAD", path, &[], b"").await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "HEAD {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_requests_in_flight_finish_and_takes_no_more() {
    let app = App::start();
    let whole = request("POST", "/webhook/segment", &["Expect: 100-continue"], EVENT);
    let (head, body) = whole.split_at(whole.len() - EVENT.len());
    let mut in_flight = TcpStream::connect(app.addr).await.unwrap();
    in_flight.write_all(head).await.unwrap();
    // The server asks for the body: it is certainly at work on this request.
    let mut asked = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    tokio::io::AsyncReadExt::read_exact(&mut in_flight, &mut asked).await.unwrap();

    let handle = app.stop.clone();
    let stopping = tokio::spawn(async move { handle.stop().await });
    in_flight.write_all(body).await.unwrap();

    assert_eq!(Answer::read(&mut in_flight).await.told(), "200");
    stopping.await.unwrap();
    app.serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(app.addr).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_longer_than_its_deadline() {
    let app = App::start();
    let whole = request("POST", "/webhook/segment", &[], EVENT);
    let mut stuck = TcpStream::connect(app.addr).await.unwrap();
    stuck.write_all(&whole[..whole.len() - 1]).await.unwrap();
    app.post("/webhook/segment", &[], EVENT).await;

    tokio::time::timeout(Duration::from_secs(10), app.stop.stop()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), app.serving).await.unwrap().unwrap().unwrap();
}

#[actix_web::test]
async fn requests_are_counted_by_route_and_status_and_events_by_source() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (intake, _) = intake(&config());
    let app = actix_web::App::new()
        .app_data(actix_web::web::Data::from(intake))
        .configure(crate::server::routes)
        .default_service(actix_web::web::to(crate::server::no_such_path))
        .wrap(actix_web::middleware::from_fn(crate::ingest::measured));
    let app = actix_web::test::init_service(app).await;
    let bodies = [r#"[{"type":"track"},{"type":"page"}]"#, "[]", "{"];
    for (path, body) in bodies.map(|body| ("/v1/b", body)).into_iter().chain([("/nothing", "")]) {
        let request = actix_web::test::TestRequest::post()
            .uri(path)
            .insert_header(("authorization", "Bearer demo-segment"))
            .set_payload(body);
        actix_web::test::call_service(&app, request.to_request()).await;
    }

    let rendered = recorder.handle().render();

    for line in [
        r#"segue_http_requests_total{path="/v1/b",status="200"} 2"#,
        r#"segue_http_requests_total{path="/v1/b",status="400"} 1"#,
        r#"segue_http_requests_total{path="other",status="404"} 1"#,
        r#"segue_http_events_total{source="segment"} 2"#,
        r#"segue_http_refused_total{source="",code="invalid_json"} 1"#,
        r#"segue_http_refused_total{source="",code="not_found"} 1"#,
    ] {
        assert!(rendered.contains(line), "{line} is missing in\n{rendered}");
    }
}
