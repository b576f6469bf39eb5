//! How bodies are packed, and what is stored of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

use super::support::*;
use crate::config::{Config, IngestConfig};
use crate::ingest::split::{MAX_ELEMENTS, unpack};
use crate::outcome::DeadCode;
use crate::spec::{Call, Ingress, RawCall, Replay, Vendor, normalise};

const KEY: &str = "Authorization: Bearer demo-segment";

#[tokio::test(flavor = "multi_thread")]
async fn every_packing_is_taken_apart_and_keeps_the_bytes_of_its_elements() {
    let e1 = r#"{ "type":"track","event":"Ünï\u00e9", "n": 1.10 , "n": 2}"#;
    let e2 = r#"{"type":"page","deep":[[{"a":[]}]]}"#;
    #[rustfmt::skip]
    let table: &[(&str, &str, String, Vec<&str>)] = &[
        ("one event", "/webhook/segment", format!(" {e1}\n"), vec![e1]),
        ("an array", "/webhook/segment", format!("[{e1} ,{e2}]"), vec![e1, e2]),
        ("a batch", "/webhook/segment", format!(r#"{{"x":[1],"batch" : [{e1},{e2}] }}"#), vec![e1, e2]),
        ("wrapped events", "/webhook/segment", format!(r#"[{{"json":{e1}}}, {{ "json" : {e2} }}]"#), vec![e1, e2]),
        ("one wrapped event", "/webhook/segment", format!(r#"{{"json":{e2}}}"#), vec![e2]),
        ("a json beside other fields is a field", "/webhook/segment",
            r#"[{"json":{},"type":"track"}]"#.into(), vec![r#"{"json":{},"type":"track"}"#]),
        ("a json that is no object is a field", "/webhook/segment", r#"[{"json":1}]"#.into(), vec![r#"{"json":1}"#]),
        ("SDKs do not wrap", "/v1/batch", r#"[{"json":{}}]"#.into(), vec![r#"{"json":{}}"#]),
        ("elements that are no events", "/webhook/segment", r#"[1,"a",null,[{}],{}]"#.into(),
            vec!["1", "\"a\"", "null", "[{}]", "{}"]),
        ("a batch of an SDK", "/v1/batch", format!(r#"{{"batch":[{e2},{e1}],"sentAt":"x"}}"#), vec![e2, e1]),
        ("an array of an SDK", "/v1/import", format!("[{e1}]"), vec![e1]),
        ("a batch at the address of single calls", "/v1/track", format!(r#"{{"batch":[{e2}]}}"#), vec![e2]),
        ("a field called batch", "/v1/track", r#"{"event":"A","batch":7}"#.into(), vec![r#"{"event":"A","batch":7}"#]),
        ("the last of two batches", "/v1/batch", format!(r#"{{"batch":[1],"batch":[{e1}]}}"#), vec![e1]),
        ("a byte order mark", "/v1/track", format!("\u{feff}{e1}"), vec![e1]),
    ];
    for (what, path, body, expected) in table {
        let app = App::start();
        assert_eq!(app.post(path, &[KEY], body.as_bytes()).await.told(), "200", "{what}");
        assert_eq!(bodies(&app.journal.take()), *expected, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_element_costs_its_neighbours_nothing() {
    let app = App::start();
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let elements: [&[u8]; 5] = [
        br#"{"type":"track","event":"good"}"#,
        b"{\"type\":\"track\",\"event\":\"caf\xe9\"}",
        br#"{"type":"track","event":"\ud800"}"#,
        deep.as_bytes(),
        br#"{"type":"track","event":"good too"}"#,
    ];
    let body = [b"[".as_slice(), &elements.join(&b','), b"]"].concat();

    assert_eq!(app.post("/webhook/segment", &[], &body).await.told(), "200");

    let mut stored = app.journal.take();
    let bytes: Vec<&[u8]> = stored.iter().map(|call| &call.body[..]).collect();
    assert_eq!(bytes, elements);
    let readable: Vec<bool> = stored.iter_mut().map(|call| call.fields().is_some()).collect();
    assert_eq!(readable, [true, true, true, false, true], "a broken character costs only itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_too_large_to_be_read_is_kept_whole_and_costs_its_neighbours_nothing() {
    let app = App::start();
    let event = |size: usize, id: &str| {
        let start =
            format!(r#"{{"type":"track","event":"A","userId":"u","messageId":"{id}","n":["#);
        let zeros = "0,".repeat((size - start.len() - 3) / 2);
        let mut event = format!("{start}{zeros}0]");
        event.push_str(&" ".repeat(size - event.len() - 1));
        event + "}"
    };
    let elements = [event(1 << 20, "a"), event((1 << 20) + 1, "b"), event(100, "c")];

    let body = format!("[{}]", elements.join(","));
    assert_eq!(app.post("/webhook/segment", &[], body.as_bytes()).await.told(), "200");

    let mut stored = app.journal.take();
    assert_eq!(bodies(&stored), elements);
    let mut read_again = RawCall::new(Arc::clone(&stored[1].arrival), stored[1].body.clone());
    assert_eq!(stored[1].fingerprint(), read_again.fingerprint());
    let outcomes = stored.iter_mut().map(|call| normalise(call, Vendor::Segment).map(drop));
    let [Ok(()), Err(letter), Ok(())] = &outcomes.collect::<Vec<_>>()[..] else {
        panic!("only the second is too large")
    };
    assert_eq!(letter.code, DeadCode::InvalidJson);
    let expected = "the event cannot be read: it has 1048577 bytes and may have 1048576: send less in one event";
    assert_eq!(letter.message, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_content_type_decides_nothing_and_gzip_is_told_by_its_first_bytes() {
    let app = App::start();
    let body = |n: usize| format!(r#"{{"type":"track","messageId":"m{n}"}}"#).into_bytes();
    #[rustfmt::skip]
    let table: &[(&str, &[&str], Vec<u8>, &str)] = &[
        ("no content type", &[], body(0), "200"),
        ("text", &["Content-Type: text/plain"], body(1), "200"),
        ("a form", &["Content-Type: application/x-www-form-urlencoded"], body(2), "200"),
        ("what is no type", &["Content-Type: ;;"], body(3), "200"),
        ("gzip", &["Content-Encoding: gzip"], gzip(&body(4)), "200"),
        ("gzip in a form", &["Content-Encoding: gzip", "Content-Type: application/x-www-form-urlencoded"], gzip(&body(5)), "200"),
        ("gzip that nobody announced", &[], gzip(&body(6)), "200"),
        ("gzip that a proxy took off", &["Content-Encoding: gzip"], body(7), "200"),
        ("x-gzip", &["Content-Encoding: X-GZIP"], gzip(&body(8)), "200"),
        ("gzip in two members", &[], [gzip(&body(9)[..9]), gzip(&body(9)[9..])].concat(), "200"),
        ("a byte order mark inside", &[], gzip(&[b"\xef\xbb\xbf", &body(10)[..]].concat()), "200"),
        ("gzip cut off", &["Content-Encoding: gzip"], gzip(&body(11))[..20].to_vec(), "400 invalid_gzip"),
        ("gzip of nothing", &["Content-Encoding: gzip"], gzip(b""), "400 empty_body"),
        ("another encoding", &["Content-Encoding: br"], b"\x0b\x02\x80{}".to_vec(), "415 unsupported_encoding"),
        ("another encoding that is not there", &["Content-Encoding: br"], body(12), "200"),
    ];
    for (what, headers, body, expected) in table {
        assert_eq!(app.post("/webhook/segment", headers, body).await.told(), *expected, "{what}");
    }
    assert_eq!(app.journal.take().len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_is_put_together() {
    let app = App::start();
    let zipped = gzip(br#"{"batch":[{"type":"track"}],"writeKey":"demo-segment"}"#);
    let mut body = Vec::new();
    for chunk in zipped.chunks(20) {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let headers = ["Transfer-Encoding: chunked", "Content-Type: text/plain"];

    assert_eq!(app.post("/v1/b", &headers, &body).await.told(), "200");
    assert_eq!(bodies(&app.journal.take()), [r#"{"type":"track"}"#]);
}

fn small_limits() -> Config {
    let ingest = IngestConfig {
        max_body_bytes: 2_000,
        max_webhook_body_bytes: 600_000,
        ..IngestConfig::default()
    };
    Config { ingest, ..config() }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_limited_as_sent_and_inflated() {
    let app = App::start_with(&small_limits());
    let event = |size: usize| {
        let frame = r#"{"type":"track","event":""}"#;
        frame.replace("\"\"", &format!("{:?}", "x".repeat(size - frame.len()))).into_bytes()
    };
    let too_large = "413 body_too_large";
    #[rustfmt::skip]
    let table: &[(&str, &str, Vec<u8>, &str)] = &[
        ("as large as allowed", "/v1/track", event(2_000), "200"),
        ("a byte more", "/v1/track", event(2_001), too_large),
        ("webhooks may be larger", "/webhook/segment", event(600_000), "200"),
        ("but not without end", "/webhook/segment", event(600_001), too_large),
        ("inflated as large as allowed", "/v1/track", gzip(&event(1_999)), "200"),
        ("inflated a byte more", "/v1/track", gzip(&event(2_001)), too_large),
        ("a large inflated webhook", "/webhook/segment", gzip(&event(599_999)), "200"),
        ("a bomb", "/webhook/segment", gzip(&vec![b' '; 60_000_000]), too_large),
        ("a bomb of gzip in gzip", "/v1/track", gzip(&gzip(&event(100_000))), "400 invalid_json"),
    ];
    for (what, path, body, expected) in table {
        assert_eq!(app.post(path, &[KEY], body).await.told(), *expected, "{what}");
    }
    assert_eq!(app.journal.take().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_without_end_stops_at_the_limit() {
    let app = App::start_with(&small_limits());
    let body = b"400\r\n".iter().copied().chain([b'x'; 0x400]).chain(*b"\r\n");
    let body: Vec<u8> = body.collect::<Vec<_>>().repeat(3);

    let answer = app.post("/v1/track", &[KEY, "Transfer-Encoding: chunked"], &body).await;

    assert_eq!(answer.told(), "413 body_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_request_cannot_take_much_room() {
    let app = App::start();
    let many = format!("[{}]", vec!["0"; MAX_ELEMENTS + 1].join(","));
    assert_eq!(
        app.post("/webhook/segment", &[], many.as_bytes()).await.told(),
        "413 batch_too_large"
    );
    let context = format!(r#"{{"x":"{}"}}"#, "x".repeat(60_000));
    let many = format!(r#"{{"batch":[{}],"context":{context}}}"#, vec!["{}"; 300].join(","));
    assert_eq!(app.post("/v1/batch", &[KEY], many.as_bytes()).await.told(), "413 batch_too_large");

    let few = format!(r#"{{"batch":[{{}}],"context":{context}}}"#);
    assert_eq!(app.post("/v1/batch", &[KEY], few.as_bytes()).await.told(), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_can_one_with_a_large_header_that_is_kept_with_each_event() {
    let mut config = config();
    config.ingest.headers = vec!["X-Shop".into()];
    let app = App::start_with(&config);
    let header = format!("X-Shop: {}", "x".repeat(50_000));
    let events = |count: usize| format!("[{}]", vec!["{}"; count].join(","));

    let answer = app.post("/v1/batch", &[KEY, &header], events(400).as_bytes()).await;
    assert_eq!(answer.told(), "413 batch_too_large");
    let answer = app.post("/v1/batch", &[KEY, &header], events(200).as_bytes()).await;
    assert_eq!(answer.told(), "200");
    let answer = app.post("/v1/batch", &[KEY], events(MAX_ELEMENTS).as_bytes()).await;
    assert_eq!(answer.told(), "200", "what each event is given by Segue itself counts for little");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_says_for_all_has_a_limit_and_is_not_read_for_a_stranger() {
    let app = App::start();
    let zeros = format!("[{}0]", "0,".repeat(40_000));
    for (name, value) in [
        ("context", format!(r#"{{"a":{zeros}}}"#)),
        ("integrations", format!(r#"{{"a":{zeros}}}"#)),
        ("sentAt", zeros.clone()),
    ] {
        let body = format!(r#"{{"batch":[{{"type":"track"}}],"{name}":{value}}}"#);
        let body = gzip(body.as_bytes());

        let stranger = app.post("/v1/batch", &["Authorization: Bearer nobody"], &body).await;
        let known = app.post("/v1/batch", &[KEY], &body).await;

        assert_eq!(stranger.told(), "401 invalid_write_key", "{name}");
        assert_eq!(known.told(), "413 batch_too_large", "{name}");
        let message = known.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&format!("{name} beside its events has")), "{message}");
    }
    assert_eq!(app.journal.take(), []);
}

#[test]
fn what_a_batch_says_for_all_stays_bytes_until_it_is_asked_for() {
    let body = r#"{"batch":[],"context":{ "a":[0] },"sentAt":"x","integrations":null}"#;
    let said = unpack(&body.into(), false).unwrap().said;

    assert_eq!(said.size(), r#"{ "a":[0] }"#.len() + r#""x""#.len() + "null".len());
    let read = serde_json::to_value(said.read().unwrap()).unwrap();
    assert_eq!(read, json!({"sent_at": "x", "context": {"a": [0]}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_says_for_all_is_kept_with_each_element() {
    let app = App::start();
    let body = json!({
        "batch": [{"type": "track"}, {"type": "page"}], "sentAt": "2026-01-15T11:59:58Z",
        "context": {"ip": "1.2.3.4"}, "integrations": {"All": true}, "writeKey": "demo-segment",
    });
    app.post("/v1/batch", &[], body.to_string().as_bytes()).await;
    for call in app.journal.take() {
        let batch = serde_json::to_value(&call.arrival.batch).unwrap();
        let expected = json!({
            "sent_at": "2026-01-15T11:59:58Z", "context": {"ip": "1.2.3.4"},
            "integrations": {"All": true},
        });
        assert_eq!(batch, expected);
    }
    for silent in [r#"{"batch":[{}]}"#, r#"{"batch":[{}],"sentAt":null,"context":7}"#, "[{}]"] {
        let app = App::start();
        app.post("/v1/batch", &[KEY], silent.as_bytes()).await;
        assert_eq!(app.journal.take()[0].arrival.batch, None, "{silent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_says_the_type_of_single_calls() {
    let app = App::start();
    #[rustfmt::skip]
    let table = [
        ("/v1/identify", Some(Call::Identify)), ("/v1/i", Some(Call::Identify)),
        ("/v1/track", Some(Call::Track)), ("/v1/t", Some(Call::Track)),
        ("/v1/page", Some(Call::Page)), ("/v1/p", Some(Call::Page)),
        ("/v1/screen", Some(Call::Screen)), ("/v1/s", Some(Call::Screen)),
        ("/v1/group", Some(Call::Group)), ("/v1/g", Some(Call::Group)),
        ("/v1/alias", Some(Call::Alias)), ("/v1/a", Some(Call::Alias)),
        ("/v1/merge", None),
    ];
    for (path, expected) in table {
        let body = json!({"type": "track", "messageId": path}).to_string();
        assert_eq!(app.post(path, &[KEY], body.as_bytes()).await.told(), "200", "{path}");
        let arrival = app.journal.take().remove(0).arrival;
        assert_eq!((arrival.call, arrival.ingress), (expected, Ingress::Api), "{path}");
    }
    app.post("/v1/track", &[KEY], br#"{"batch":[{"type":"page"}]}"#).await;
    assert_eq!(app.journal.take()[0].arrival.call, None, "elements of a batch say it themselves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_flagged_by_its_url_a_header_or_its_source() {
    let flagged = |label: Option<&str>| Some(Replay::Flagged { label: label.map(Into::into) });
    let old = r#"{"type":"track","receivedAt":"2026-01-10T00:00:00Z"}"#;
    let new = r#"{"type":"track"}"#;
    let long = format!("/webhook/segment?replay={}", "x".repeat(200));
    let cut = "x".repeat(100);
    #[rustfmt::skip]
    #[allow(clippy::type_complexity)]
    let table: &[(&str, &str, &[&str], &str, Option<Replay>)] = &[
        ("nothing says so", "/webhook/segment", &[], new, None),
        ("the URL", "/webhook/segment?replay=june%202", &[], new, flagged(Some("june 2"))),
        ("the URL without a name", "/webhook/segment?replay", &[], new, flagged(None)),
        ("the URL says true", "/webhook/segment?replay=true", &[], new, flagged(None)),
        ("the URL says no", "/webhook/segment?replay=false", &[], new, None),
        ("a long name", &long, &[], new, flagged(Some(&cut))),
        ("a header", "/webhook/segment", &["X-Segue-Replay: june"], new, flagged(Some("june"))),
        ("an SDK's URL", "/v1/batch?replay=r", &[KEY], &format!("[{new}]"), flagged(Some("r"))),
        ("its source", "/webhook/backfill", &[], new, flagged(None)),
        ("its source, with a name", "/webhook/backfill?replay=r", &[], new, flagged(Some("r"))),
        ("the vendor received it long ago", "/webhook/segment", &[], old, Some(Replay::ReceivedAge)),
        ("a client's own receivedAt", "/v1/track", &[KEY], old, None),
        ("the event says so", "/webhook/segment", &[],
            r#"{"type":"track","context":{"replay":true}}"#, flagged(None)),
        ("its batch says so", "/v1/batch", &[KEY],
            r#"{"batch":[{"type":"track"}],"context":{"replay":"june"}}"#, flagged(Some("june"))),
    ];
    for (what, path, headers, body, expected) in table {
        let app = App::start();
        assert_eq!(app.post(path, headers, body.as_bytes()).await.told(), "200", "{what}");
        assert_eq!(app.journal.take()[0].arrival.replay, *expected, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arrival_says_when_from_where_and_with_which_headers() {
    let mut config = config();
    config.ingest.headers =
        ["X-Shop", "Authorization", "x-segue-token", "not a header"].map(String::from).to_vec();
    let app = App::start_with(&config);
    let headers = ["X-Shop: de", "X-Segue-Token: t", KEY, "X-Forwarded-For: 10.0.0.1, 203.0.113.9"];

    app.post("/v1/track", &headers, br#"{"userId":"u"}"#).await;
    let arrival = app.journal.take().remove(0).arrival;

    assert_eq!(arrival.accepted_at, now());
    assert_eq!(arrival.ip.as_deref(), Some("203.0.113.9"), "what the proxy here added");
    assert_eq!(arrival.headers, BTreeMap::from([("x-shop".into(), "de".into())]), "no secrets");
}

/// Any JSON, with texts that contain what JSON is made of.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[\\[\\]{}\",:\\\\a-zé\u{1F600} ]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\]}]{0,5}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn splitting_keeps_the_bytes_of_every_element(
        elements in prop::collection::vec((any_json(), any::<bool>()), 0..8),
        blank in "[ \n\t\r]{0,3}",
        in_batch in any::<bool>(),
    ) {
        let texts: Vec<String> = elements
            .iter()
            .map(|(value, pretty)| match pretty {
                true => serde_json::to_string_pretty(value).unwrap(),
                false => value.to_string(),
            })
            .collect();
        let array = format!("{blank}[{blank}{}{blank}]{blank}", texts.join(&format!("{blank},{blank}")));
        let body = if in_batch { format!("{{\"a\":1,\"batch\":{array},\"b\":{{}}}}") } else { array };

        let unpacked = unpack(&body.into(), false).unwrap();

        prop_assert_eq!(unpacked.elements, texts.into_iter().map(bytes::Bytes::from).collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_make_splitting_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), unwrap in any::<bool>()) {
        let _ = unpack(&bytes.into(), unwrap);
    }

    #[test]
    fn bytes_that_are_nearly_json_do_not_either(
        bytes in prop::collection::vec(
            prop::sample::select(b"[]{}:,\"\\ 0-.e\xe9tn\xf0\xbbbatchjson".to_vec()), 0..40,
        ),
    ) {
        for start in ["", "[", "{\"batch\":[", "[{\"json\":{"] {
            let body = [start.as_bytes(), &bytes].concat();
            let _ = unpack(&body.into(), true);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arbitrary_bytes_are_never_an_error_of_the_server() {
    let app = App::start();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let paths = ["/webhook/segment", "/webhook/signed", "/v1/track", "/v1/batch", "/v1/m"];
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    let request = (prop::sample::select(paths.to_vec()), bytes, any::<bool>(), any::<bool>());
    for _ in 0..200 {
        let tree = request.new_tree(&mut runner).unwrap();
        let (path, bytes, in_array, zipped) = tree.current();
        let bytes = if in_array { [b"[{\"a\":\"", &bytes[..], b"\"}]"].concat() } else { bytes };
        let bytes = if zipped { gzip(&bytes) } else { bytes };
        let answer = app.post(path, &[KEY, "X-Signature: 00"], &bytes).await;
        assert!([200, 400, 401].contains(&answer.status), "{} {}", path, answer.status);
    }
}
