//! What browsers and mails need.

use serde_json::{Value, json};

use super::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_is_answered_on_every_path() {
    let app = App::start();
    let headers = [
        "Origin: https://shop.example.com",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: anonymousid,authorization,content-type,sentat",
    ];
    for path in ["/v1/t", "/v1/batch", "/webhook/segment", "/sourceConfig", "/", "/nothing/here"] {
        let answer = app.send("OPTIONS", path, &headers, b"").await;
        assert_eq!(answer.status, 200, "{path}");
        #[rustfmt::skip]
        let table = [
            ("access-control-allow-origin", "https://shop.example.com"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET, POST, PUT, PATCH, OPTIONS"),
            ("access-control-allow-headers", "anonymousid,authorization,content-type,sentat"),
            ("access-control-max-age", "900"),
            ("access-control-expose-headers", "Retry-After"),
        ];
        for (name, expected) in table {
            assert_eq!(answer.header(name), Some(expected), "{path} {name}");
        }
        assert!(answer.header("vary").unwrap().contains("Origin"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_can_be_read_by_the_page_that_asked() {
    let app = App::start();
    let origin = "Origin: https://shop.example.com";
    let key = "Authorization: Bearer demo-segment";
    *app.journal.broken.lock().unwrap() = None;
    let answers = [
        app.post("/v1/t", &[origin, key], b"{}").await,
        app.post("/v1/t", &[origin], b"{}").await,
        app.post("/v1/t", &[origin, key], b"").await,
        app.post("/v1/nothing", &[origin], b"").await,
        app.send("GET", "/v1/t", &[origin], b"").await,
        app.send("GET", "/v1/pixel/track", &[origin], b"").await,
    ];
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 401, 400, 404, 405, 200]);
    for answer in answers {
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://shop.example.com"), "{}", answer.status);
    }
    let answer = app.post("/v1/t", &[key], b"{}").await;
    assert_eq!(answer.header("access-control-allow-origin"), None, "nobody asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beacon_brings_its_key_in_the_query() {
    let app = App::start();
    let body = br#"{"batch":[{"type":"page"},{"type":"track"}],"sentAt":"2026-01-15T11:59:59Z"}"#;
    let headers = ["Content-Type: text/plain", "Origin: https://shop.example.com", "Cookie: a=b"];

    let path = "/beacon/v1/batch?writeKey=demo-rudderstack";
    assert_eq!(app.post(path, &headers, body).await.told(), "200");
    assert_eq!(app.journal.take().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pixel_is_a_picture_whatever_happens_and_an_event_where_it_can() {
    let app = App::start();
    let data = "eyJ3cml0ZUtleSI6ImRlbW8tc2VnbWVudCIsInVzZXJJZCI6InUiLCJldmVudCI6Ik9wZW5lZCJ9";
    let at = "2026-01-15T12:00:00.000Z";
    #[rustfmt::skip]
    let table = [
        ("Segment's", format!("/v1/pixel/track?data={data}"), Some(json!(
            {"writeKey": "demo-segment", "userId": "u", "event": "Opened", "timestamp": at}))),
        ("RudderStack's", "/pixel/v1/track?writeKey=demo-rudderstack&anonymousId=%22anon-77%22&event=Email+Opened&properties.subject=Hi".into(),
            Some(json!({"anonymousId": "anon-77", "event": "Email Opened", "properties": {"subject": "Hi"}, "timestamp": at}))),
        ("without a key", "/pixel/v1/page?anonymousId=a".into(), None),
        ("without anything", "/v1/pixel/page".into(), None),
        ("damaged", "/v1/pixel/track?data=!!!&writeKey=demo-segment".into(), None),
        ("no object", "/v1/pixel/track?data=NDI&writeKey=demo-segment".into(), None),
    ];
    for (what, path, expected) in table {
        let answer = app.send("GET", &path, &[], b"").await;
        assert_eq!(answer.status, 200, "{what}");
        assert_eq!(answer.header("content-type"), Some("image/gif"), "{what}");
        assert_eq!((&answer.body[..6], answer.body.len()), (&b"GIF89a"[..], 43), "{what}");
        let stored = app.journal.take();
        let event = stored.first().map(|call| serde_json::from_slice::<Value>(&call.body).unwrap());
        assert_eq!(event, expected, "{what}");
    }
    *app.journal.broken.lock().unwrap() = Some(crate::journal::JournalError::Full("full".into()));
    let answer = app.send("GET", "/pixel/v1/page?writeKey=demo-segment", &[], b"").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn analytics_js_finds_its_settings_and_may_send_metrics() {
    let app = App::start();
    for prefix in ["/v1", ""] {
        let path = format!("{prefix}/projects/demo-segment/settings");
        let answer = app.send("GET", &path, &[], b"").await;
        let expected = json!({"integrations": {"Segment.io": {
            "apiKey": "demo-segment", "apiHost": "segue.test/v1", "protocol": "http",
        }}});
        assert_eq!((answer.status, answer.json()), (200, expected), "{path}");
    }
    let forwarded = ["X-Forwarded-Proto: https", "X-Forwarded-Host: events.shop.example"];
    let answer = app.send("GET", "/v1/projects/demo-segment/settings", &forwarded, b"").await;
    let settings = &answer.json()["integrations"]["Segment.io"];
    assert_eq!(settings["apiHost"], "events.shop.example/v1", "behind a proxy");
    assert_eq!(settings["protocol"], "https", "behind a proxy");

    let wrong = app.send("GET", "/v1/projects/other/settings", &[], b"").await;
    assert_eq!(wrong.told(), "401 invalid_write_key");
    let metrics = app.post("/v1/m", &["Content-Type: text/plain"], br#"{"series":[]}"#).await;
    assert_eq!(metrics.told(), "200");
    assert_eq!(app.journal.take(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn rudderstacks_sdk_finds_its_source() {
    let app = App::start();
    let query = "/sourceConfig/?p=npm&v=3.34.1&build=modern&writeKey=demo-rudderstack";
    for (what, path, headers) in [
        ("by the query", query, vec![]),
        ("by Basic", "/sourceConfig", vec![basic("demo-rudderstack", "")]),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = app.send("GET", path, &headers, b"").await;
        assert_eq!(answer.status, 200, "{what}");
        let source = &answer.json()["source"];
        assert_eq!(source["enabled"], true, "{what}");
        assert_eq!(source["writeKey"], "demo-rudderstack", "{what}");
        assert_eq!(source["destinations"], json!([]), "{what}");
        assert_eq!(source["config"]["statsCollection"]["errors"]["enabled"], false, "{what}");
    }
    let answer = app.send("GET", "/sourceConfig", &[], b"").await;
    assert_eq!(answer.told(), "401 missing_write_key");
}
