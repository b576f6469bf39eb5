//! Who gets in, and what is trusted.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::support::*;

const EVENT: &[u8] = br#"{"type":"track","event":"A","userId":"u"}"#;

pub(super) fn sign(bytes: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(bytes);
    format!("X-Signature: {}", hex::encode(mac.finalize().into_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_key_is_found_wherever_an_sdk_puts_it() {
    let app = App::start();
    let none = "401 missing_write_key";
    let wrong = "401 invalid_write_key";
    #[rustfmt::skip]
    let table: &[(&str, &str, &[&str], &str, &str)] = &[
        ("user of Basic", "/v1/t", &[&basic("demo-segment", "")], "{}", "200"),
        ("Basic without a colon", "/v1/t", &["Authorization: Basic ZGVtby1zZWdtZW50"], "{}", "200"),
        ("Basic without padding", "/v1/t", &["Authorization: basic ZGVtby1zZWdtZW50Og"], "{}", "200"),
        ("Bearer", "/v1/t", &["Authorization: Bearer demo-segment"], "{}", "200"),
        ("query", "/v1/t?writeKey=demo-segment", &[], "{}", "200"),
        ("body of a single call", "/v1/t", &[], r#"{"writeKey":"demo-segment"}"#, "200"),
        ("body of a batch", "/v1/b", &[], r#"{"batch":[],"writeKey":"demo-segment"}"#, "200"),
        ("a Bearer that is no key, a key in the body (OAuth)", "/v1/t",
            &["Authorization: Bearer ey.J.x"], r#"{"writeKey":"demo-segment"}"#, "200"),
        ("none", "/v1/t", &[], "{}", none),
        ("none on a batch", "/v1/batch", &[], r#"{"batch":[]}"#, none),
        ("an empty one", "/v1/t", &[&basic("", "")], r#"{"writeKey":""}"#, none),
        ("a key that is no text", "/v1/t", &[], r#"{"writeKey":{"a":1}}"#, none),
        ("a wrong one", "/v1/t", &[&basic("demo-segmen", "")], "{}", wrong),
        ("a wrong one in the body", "/v1/t", &[], r#"{"writeKey":"x"}"#, wrong),
        ("a key as the password", "/v1/t", &[&basic("x", "demo-segment")], "{}", wrong),
        ("a token is no key", "/v1/t", &[&format!("Authorization: Bearer {TOKEN}")], "{}", wrong),
        ("elements of a batch cannot bring it", "/v1/b", &[], r#"{"batch":[{"writeKey":"demo-segment"}]}"#, none),
    ];
    for (what, path, headers, body, expected) in table {
        let answer = app.post(path, headers, body.as_bytes()).await;
        assert_eq!(answer.told(), *expected, "{what}");
        if answer.status == 401 && *expected == wrong {
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            assert!(message.contains("invalid write key"), "RudderStack's Android SDK stops on it");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_key_says_which_source_it_is() {
    let app = App::start();
    for (key, source) in [("demo-rudderstack", "rudderstack"), ("key-keyed", "keyed")] {
        app.post("/v1/track", &[&basic(key, "")], br#"{"userId":"u"}"#).await;
        let stored = app.journal.take();
        assert_eq!(stored[0].arrival.source, source);
        assert!(!stored[0].arrival.trusted, "a write key is public");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_path_needs_every_secret_that_its_source_has() {
    let app = App::start();
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let header = format!("X-Segue-Token: {TOKEN}");
    let in_query = format!("/webhook/token?token={TOKEN}");
    let signed = sign(EVENT);
    let other = sign(b"something else");
    let upper = signed.to_uppercase().replace("X-SIGNATURE", "X-Signature");
    #[rustfmt::skip]
    let table: &[(&str, &str, &[&str], &str)] = &[
        ("no such source", "/webhook/nobody", &[], "404 unknown_source"),
        ("an open source on loopback", "/webhook/segment", &[], "200"),
        ("an open source through a proxy", "/webhook/segment", &["X-Forwarded-For: 203.0.113.9"], "403 source_unprotected"),
        ("an open source from a page in a browser", "/webhook/segment", &["Origin: https://evil.example"], "403 source_unprotected"),
        ("a token as Bearer", "/webhook/token", &[&bearer], "200"),
        ("a token as X-Segue-Token", "/webhook/token", &[&header], "200"),
        ("a token as a password", "/webhook/token", &[&basic("anybody", TOKEN)], "200"),
        ("a token as a user", "/webhook/token", &[&basic(TOKEN, "")], "200"),
        ("a token in the query", &in_query, &[], "200"),
        ("no token", "/webhook/token", &[], "401 missing_token"),
        ("a wrong token", "/webhook/token", &["X-Segue-Token: x"], "401 invalid_token"),
        ("a write key instead of the token", "/webhook/token", &["Authorization: Bearer key-token"], "401 invalid_token"),
        ("a signature instead of the token", "/webhook/token", &[&signed], "401 missing_token"),
        ("signed", "/webhook/signed", &[&signed], "200"),
        ("signed in capitals", "/webhook/signed", &[&upper], "200"),
        ("not signed", "/webhook/signed", &[], "401 missing_signature"),
        ("signed for another body", "/webhook/signed", &[&other], "401 invalid_signature"),
        ("an empty signature", "/webhook/signed", &["X-Signature: "], "401 invalid_signature"),
        ("no hex", "/webhook/signed", &["X-Signature: zz"], "401 invalid_signature"),
        ("a token instead of the signature", "/webhook/signed", &[&bearer], "401 missing_signature"),
        ("token and signature", "/webhook/both", &[&bearer, &signed], "200"),
        ("the token alone", "/webhook/both", &[&bearer], "401 missing_signature"),
        ("the signature alone", "/webhook/both", &[&signed], "401 missing_token"),
        ("a write key where it is allowed", "/webhook/keyed", &[&basic("key-keyed", "")], "200"),
        ("another source's write key", "/webhook/keyed", &[&basic("demo-segment", "")], "401 invalid_write_key"),
        ("no write key", "/webhook/keyed", &[], "401 missing_write_key"),
    ];
    for (what, path, headers, expected) in table {
        assert_eq!(app.post(path, headers, EVENT).await.told(), *expected, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_key_in_a_webhooks_body_is_the_vendors_own() {
    let app = App::start();
    let body = br#"{"type":"track","writeKey":"key-keyed"}"#;

    let answer = app.post("/webhook/keyed", &[], body).await;

    assert_eq!(answer.told(), "401 missing_write_key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_a_secret_is_closed_off_loopback() {
    let app = App::start_with(&crate::config::Config { listen: "0.0.0.0:0".into(), ..config() });

    let answer = app.post("/webhook/segment", &[], EVENT).await;

    assert_eq!(answer.told(), "403 source_unprotected");
    assert_eq!(app.post("/v1/t", &[&basic("demo-segment", "")], EVENT).await.told(), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_vouches_for_what_it_was_made_of_and_nothing_else() {
    let app = App::start();
    let (a, b) = (r#"{"type":"delete","userId":"a"}"#, r#"{ "type":"delete" , "userId":"b" }"#);
    let array = format!(" [{a} , {b}]\n");
    let batch = format!(r#"{{"batch":[{a},{b}]}}"#);
    let wrapped = format!(r#"[{{"json":{a}}},{{ "json" : {b} }}]"#);
    let wrapper = format!(r#"{{"json":{a}}}"#);
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let signature_of = |bytes: &str| sign(bytes.as_bytes());
    #[rustfmt::skip]
    #[allow(clippy::type_complexity)]
    let table: &[(&str, &str, Vec<String>, &str, [bool; 2])] = &[
        ("the whole array", "/webhook/signed", vec![signature_of(&array)], &array, [true, true]),
        ("the first element", "/webhook/signed", vec![signature_of(a)], &array, [true, false]),
        ("the first of {batch}", "/webhook/signed", vec![signature_of(a)], &batch, [true, false]),
        ("the whole {batch}", "/webhook/signed", vec![signature_of(&batch)], &batch, [true, true]),
        ("the first json", "/webhook/signed", vec![signature_of(a)], &wrapped, [true, false]),
        ("the first wrapper", "/webhook/signed", vec![signature_of(&wrapper)], &wrapped, [true, false]),
        ("a token vouches for all", "/webhook/both", vec![signature_of(a), bearer.clone()], &array, [true, true]),
        ("a write key for nothing", "/webhook/keyed", vec![basic("key-keyed", "")], &array, [false, false]),
        ("an open source on loopback", "/webhook/segment", vec![], &array, [true, true]),
        ("an SDK", "/v1/batch", vec![basic("key-token", "")], &array, [false, false]),
        ("an SDK with the token beside its key", "/v1/batch",
            vec![basic("key-token", ""), format!("X-Segue-Token: {TOKEN}")], &array, [true, true]),
        ("an SDK with the token as password", "/v1/batch", vec![basic("key-token", TOKEN)], &array, [true, true]),
        ("an SDK with the token of another source", "/v1/batch",
            vec![basic("demo-segment", TOKEN)], &array, [false, false]),
    ];
    for (what, path, headers, body, expected) in table {
        // The same messages again: a fresh journal for each row.
        let app = App::start();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        assert_eq!(app.post(path, &headers, body.as_bytes()).await.told(), "200", "{what}");
        let stored = app.journal.take();
        let trusted: Vec<bool> = stored.iter().map(|call| call.arrival.trusted).collect();
        assert_eq!(trusted, expected, "{what}");
        assert_eq!(bodies(&stored), [a, b], "{what}");
    }
    let second = app.post("/webhook/signed", &[&signature_of(b)], array.as_bytes()).await;
    assert_eq!(second.told(), "401 invalid_signature", "the second element is not what is signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_made_elsewhere_fits() {
    // printf '%s' '<the body>' | openssl dgst -sha1 -hmac 'shared-secret-of-tests'
    let signature = "X-Signature: d99d3ec7c6337a6ef85c43f1b73f432baea58158";
    let app = App::start();

    assert_eq!(app.post("/webhook/signed", &[signature], EVENT).await.told(), "200");
    let spaced = [EVENT, b" "].concat();
    let answer = app.post("/webhook/signed", &[signature], &spaced).await;
    assert_eq!(answer.told(), "401 invalid_signature", "one byte more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_batch_needs_no_signature_because_segment_signs_none() {
    let app = App::start();

    assert_eq!(app.post("/webhook/signed", &[], b"[]").await.told(), "200");
    assert_eq!(app.post("/webhook/both", &[], b"[]").await.told(), "401 missing_token");
}
