//! The vendors' rules, case by case.

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::clock::Time;

const ACCEPTED: &str = "2026-03-14T12:00:00.000Z";

fn arrival(ingress: Ingress) -> Arrival {
    Arrival {
        source: "web".into(),
        ingress,
        accepted_at: Time::parse(ACCEPTED).unwrap(),
        ..Arrival::default()
    }
}

fn raw(arrival: Arrival, body: &Value) -> RawCall {
    RawCall::new(arrival, Bytes::from(body.to_string()))
}

fn event(vendor: Vendor, ingress: Ingress, body: Value) -> Event {
    normalise(&mut raw(arrival(ingress), &body), vendor).unwrap()
}

#[test]
fn the_event_time_follows_the_vendors_rule() {
    let skewed = json!({"type": "track", "userId": "u", "event": "E",
        "timestamp": "2020-01-01T00:00:00Z", "sentAt": "2020-01-01T00:00:02Z"});
    let old = json!({"type": "track", "userId": "u", "event": "E",
        "timestamp": "2026-03-01T00:00:00Z", "sentAt": ACCEPTED});
    let both = json!({"type": "track", "userId": "u", "event": "E",
        "timestamp": "2026-03-14T11:00:00Z", "originalTimestamp": "2026-03-14T11:59:00Z",
        "sentAt": "2026-03-14T11:59:30Z"});
    let original = json!({"type": "track", "userId": "u", "event": "E",
        "originalTimestamp": "2026-03-01T00:00:00Z", "sentAt": "2026-03-14T11:59:50Z"});
    let sent = json!({"type": "track", "userId": "u", "event": "E",
        "sentAt": "2026-03-02T00:00:00Z"});
    let unreadable =
        json!({"type": "track", "userId": "u", "event": "E", "timestamp": "yesterday"});
    let bare =
        json!({"type": "track", "userId": "u", "event": "E", "timestamp": "2026-03-14T10:00:00Z"});
    let (segment, rudder) = (Vendor::Segment, Vendor::Rudderstack);
    let (api, webhook) = (Ingress::Api, Ingress::Webhook);
    #[rustfmt::skip]
    let table = [
        ("segment corrects a wrong clock",    segment, api,     &skewed,     "2026-03-14T11:59:58.000Z", TimeOrigin::Corrected),
        ("segment keeps real history old",    segment, api,     &old,        "2026-03-01T00:00:00.000Z", TimeOrigin::Corrected),
        ("a time without sentAt stands",      segment, api,     &bare,       "2026-03-14T10:00:00.000Z", TimeOrigin::Given),
        ("segment's webhook has corrected",   segment, webhook, &skewed,     "2020-01-01T00:00:00.000Z", TimeOrigin::Given),
        ("rudderstack keeps a readable time", rudder,  api,     &both,       "2026-03-14T11:00:00.000Z", TimeOrigin::Given),
        ("a webhook's original time stands",  segment, webhook, &original,   "2026-03-01T00:00:00.000Z", TimeOrigin::Given),
        ("a webhook's original time stands",  rudder,  webhook, &original,   "2026-03-01T00:00:00.000Z", TimeOrigin::Given),
        ("a client's is corrected",           rudder,  api,     &original,   "2026-03-01T00:00:10.000Z", TimeOrigin::Corrected),
        ("the time of sending is nearer",     rudder,  webhook, &sent,       "2026-03-02T00:00:00.000Z", TimeOrigin::Received),
        ("a client has sent it now",          rudder,  api,     &sent,       ACCEPTED,                   TimeOrigin::Received),
        ("an unreadable time is receipt",     segment, webhook, &unreadable, ACCEPTED,                   TimeOrigin::Received),
        ("an unreadable time is receipt",     rudder,  api,     &unreadable, ACCEPTED,                   TimeOrigin::Received),
    ];
    for (what, vendor, ingress, body, at, origin) in table {
        let time = event(vendor, ingress, body.clone()).time();
        assert_eq!((time.at.to_string().as_str(), time.origin), (at, origin), "{what}");
    }
}

#[test]
fn a_wrong_clock_at_rudderstack_changes_the_age_and_not_the_time() {
    let body = json!({"type": "track", "userId": "u", "event": "E", "timestamp": "2020-01-01T00:00:00Z",
        "originalTimestamp": "2020-01-01T00:00:00Z", "sentAt": "2020-01-01T00:00:02Z"});
    let time = event(Vendor::Rudderstack, Ingress::Webhook, body).time();
    assert_eq!(time.at.to_string(), "2020-01-01T00:00:00.000Z");
    assert_eq!(time.age_basis().to_string(), "2026-03-14T11:59:58.000Z");
}

#[test]
fn times_are_read_in_every_dialect_of_the_senders() {
    let table = [
        (json!("2026-03-14T09:26:53.589Z"), Some("2026-03-14T09:26:53.589Z")),
        (json!("2026-03-14T15:46:51.693229+05:30"), Some("2026-03-14T10:16:51.693Z")),
        (json!("2026-03-14T09:26:53"), Some("2026-03-14T09:26:53.000Z")),
        (json!("2026-03-14 09:26:53"), Some("2026-03-14T09:26:53.000Z")),
        (json!("2026-03-14"), Some("2026-03-14T00:00:00.000Z")),
        (json!(1_773_480_413_589_i64), Some("2026-03-14T09:26:53.589Z")),
        (json!(1_773_480_413), Some("2026-03-14T09:26:53.000Z")),
        (json!("1773480413"), Some("2026-03-14T09:26:53.000Z")),
        (json!("Sat, 14 Mar 2026 09:26:53 GMT"), Some("2026-03-14T09:26:53.000Z")),
        (json!("03/14/2026"), Some("2026-03-14T00:00:00.000Z")),
        (json!("May 15 2024"), Some("2024-05-15T00:00:00.000Z")),
        (json!("1955-01-01"), Some("1955-01-01T00:00:00.000Z")),
        (json!("2026-03-14 09:26:53 UTC"), Some("2026-03-14T09:26:53.000Z")),
        (json!("2026-03-14 15:26:53 +0600"), Some("2026-03-14T09:26:53.000Z")),
        (json!("2026-03-14 04:26:53.25 -0500 EST"), Some("2026-03-14T09:26:53.250Z")),
        (json!("2026-03-14 09:26:53.589 +0000 UTC"), Some("2026-03-14T09:26:53.589Z")),
        (json!("2026/03/14 09:26:53"), Some("2026-03-14T09:26:53.000Z")),
        (json!("3/14/2026, 9:26:53 AM"), Some("2026-03-14T09:26:53.000Z")),
        (json!("3/14/2026, 9:26:53\u{202f}PM"), Some("2026-03-14T21:26:53.000Z")),
        (json!("Sat Mar 14 09:26:53 2026"), Some("2026-03-14T09:26:53.000Z")),
        (json!("Sat Mar 14 09:26:53 UTC 2026"), Some("2026-03-14T09:26:53.000Z")),
        (
            json!("Sat Mar 14 2026 10:26:53 GMT+0100 (Central European Standard Time)"),
            Some("2026-03-14T09:26:53.000Z"),
        ),
        (json!("2026-03-14 09:26:53 CST"), None),
        (json!("yesterday"), None),
        (json!("2024"), None),
        (json!(""), None),
        (json!(true), None),
        (json!("2023-13-45"), None),
    ];
    for (value, expected) in table {
        assert_eq!(
            timestamp::parse(&value).map(|at| at.to_string()).as_deref(),
            expected,
            "{value}"
        );
    }
}

#[test]
fn ids_are_texts_and_junk_is_absent() {
    let event = event(
        Vendor::Segment,
        Ingress::Api,
        json!({"type": "TRACK", "userId": 12345, "anonymousId": "undefined", "event": "E"}),
    );
    assert_eq!(event.user_id(), Some("12345"));
    assert_eq!(event.anonymous_id(), None);
    assert_eq!(event.fields()["type"], "track");
}

#[test]
fn a_message_without_an_id_gets_the_same_one_on_every_retry() {
    let body =
        json!({"type": "track", "userId": "u", "event": "E", "timestamp": "2026-03-14T09:00:00Z"});
    let reordered =
        json!({"event": "E", "timestamp": "2026-03-14T09:00:00Z", "userId": "u", "type": "track"});
    let later =
        json!({"type": "track", "userId": "u", "event": "E", "timestamp": "2026-03-14T09:00:01Z"});
    let id = |body: Value| event(Vendor::Segment, Ingress::Webhook, body).message_id().to_owned();
    assert_eq!(id(body.clone()), id(reordered));
    assert_ne!(id(body), id(later));
}

#[test]
fn a_retry_is_the_same_message_and_a_sibling_with_its_id_is_not() {
    let key = |body: Value| raw(arrival(Ingress::Webhook), &body).fingerprint().dedupe_key("web");
    let first = json!({"type": "track", "messageId": "m", "event": "A", "userId": "u", "properties": {"x": 1, "y": 2}, "sentAt": "1"});
    let retry = json!({"type": "track", "messageId": "m", "event": "A", "userId": "u", "properties": {"y": 2, "x": 1}, "sentAt": "2"});
    let sibling = json!({"type": "track", "messageId": "m", "event": "A", "userId": "u", "properties": {"x": 2, "y": 2}});
    assert_eq!(key(first.clone()), key(retry));
    assert_ne!(key(first), key(sibling));
}

#[test]
fn what_is_no_call_is_the_same_message_only_when_all_of_it_is_the_same() {
    let key = |body: Value| raw(arrival(Ingress::Webhook), &body).fingerprint().dedupe_key("web");
    let wrapped = |id: &str| json!({"payload": {"type": "track", "event": "E", "messageId": id}});
    assert_ne!(key(wrapped("1")), key(wrapped("2")));
    assert_eq!(key(wrapped("1")), key(wrapped("1")));
    assert_ne!(key(json!({"type": "record", "x": 1})), key(json!({"type": "record", "x": 2})));
}

#[test]
fn a_blank_message_id_does_not_make_two_events_one() {
    let at = |id: Value, second: u8| {
        let time = format!("2026-03-14T09:00:0{second}Z");
        let body = json!({"type": "track", "messageId": id, "userId": "u", "event": "E",
            "timestamp": time});
        raw(arrival(Ingress::Webhook), &body).fingerprint().dedupe_key("web")
    };
    for blank in [json!(""), json!("  "), json!(null)] {
        assert_ne!(at(blank.clone(), 1), at(blank, 2));
    }
    assert_eq!(at(json!("m"), 1), at(json!("m"), 2));
}

#[test]
fn half_an_emoji_costs_a_character_and_not_the_event() {
    let body = br#"{"type":"track","event":"Hi \ud83d","userId":"u","messageId":"m"}"#;
    let mut call = RawCall::new(arrival(Ingress::Webhook), body.to_vec().into());
    let event = normalise(&mut call, Vendor::Segment).unwrap();
    assert_eq!(event.name(), Some("Hi \u{fffd}"));
    assert_eq!(event.message_id(), "m");
}

#[test]
fn an_empty_list_is_no_map_without_entries() {
    let body = json!({"type": "track", "event": "E", "userId": "u", "context": [],
        "properties": [], "traits": [], "integrations": []});
    let event = event(Vendor::Segment, Ingress::Webhook, body);
    assert!(event.properties().is_none() && event.context().is_none());
}

#[test]
fn a_time_that_nobody_can_read_is_kept_for_the_scripts() {
    let body = json!({"type": "track", "event": "E", "userId": "u", "timestamp": "last Tuesday"});
    let event = event(Vendor::Segment, Ingress::Webhook, body);
    assert_eq!(event.time().origin, TimeOrigin::Received);
    assert_eq!(event.fields()["originalTimestamp"], "last Tuesday");
}

#[test]
fn rudderstacks_traits_are_found_in_the_context_and_never_merged() {
    let lifted = event(
        Vendor::Rudderstack,
        Ingress::Webhook,
        json!({"type": "identify", "userId": "u", "context": {"traits": {"email": "a@example.com"}}}),
    );
    assert_eq!(lifted.traits().unwrap()["email"], "a@example.com");
    let own = event(
        Vendor::Rudderstack,
        Ingress::Webhook,
        json!({"type": "identify", "userId": "u", "traits": {}, "context": {"traits": {"email": "a@example.com"}}}),
    );
    assert!(own.traits().unwrap().is_empty());
}

#[test]
fn a_batch_hands_down_its_context_at_segment_only() {
    let defaults = BatchDefaults {
        sent_at: None,
        context: json!({"ip": "1.1.1.1", "app": {"name": "shop"}}).as_object().cloned(),
        integrations: json!({"All": true}).as_object().cloned(),
    };
    let merged = |vendor| {
        let arrival = Arrival { batch: Some(defaults.clone().into()), ..arrival(Ingress::Api) };
        let body = json!({"type": "track", "userId": "u", "event": "E",
            "context": {"ip": "2.2.2.2", "app": {"version": "1"}}});
        normalise(&mut raw(arrival, &body), vendor).unwrap()
    };
    let segment = merged(Vendor::Segment);
    assert_eq!(
        segment.fields()["context"],
        json!({"ip": "2.2.2.2", "app": {"version": "1", "name": "shop"}})
    );
    assert_eq!(segment.integrations().unwrap()["All"], true);
    assert!(merged(Vendor::Rudderstack).integrations().is_none());
}

#[test]
fn what_is_no_event_says_why() {
    let table = [
        (
            json!({"type": "record", "userId": "u"}),
            DeadCode::UnknownType,
            "\"record\" is not known",
        ),
        (json!({"userId": "u"}), DeadCode::UnknownType, "has no type"),
        (
            json!({"type": "track", "properties": 1}),
            DeadCode::InvalidEvent,
            "properties must be an object",
        ),
        (json!({"type": "track", "context": [1]}), DeadCode::InvalidEvent, "must be an object"),
        (json!(42), DeadCode::InvalidJson, "it is a number, not an object"),
    ];
    for (body, code, words) in table {
        let letter =
            normalise(&mut raw(arrival(Ingress::Api), &body), Vendor::Segment).unwrap_err();
        assert_eq!(letter.code, code, "{body}");
        assert!(letter.message.contains(words), "{}", letter.message);
    }
}
