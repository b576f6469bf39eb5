//! Events: duplicates, what could start a campaign, and what visitors did before they were known.

use super::*;
use crate::emulator::settings::{AnonymousAge, AnonymousReuse, Dedupe, Reidentify};

const ULID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const H: i64 = 3600;

#[test]
fn an_event_can_start_a_campaign_for_72_hours() {
    #[rustfmt::skip]
    let table = [
        ("now",                      Some(NOON),             true,  TriggerReason::Recent),
        ("an hour ago",              Some(NOON - H),         true,  TriggerReason::Recent),
        ("exactly 72 hours ago",     Some(NOON - 72 * H),    true,  TriggerReason::Recent),
        ("a second more",            Some(NOON - 72 * H - 1), false, TriggerReason::TooOld),
        ("a year ago",               Some(NOON - 8760 * H),  false, TriggerReason::TooOld),
        ("without a time",           None,                   true,  TriggerReason::NoTimestamp),
        ("in a minute",              Some(NOON + 60),        true,  TriggerReason::Future),
        ("milliseconds, as seconds", Some(NOON * 1000),      true,  TriggerReason::Future),
        ("before 1970",              Some(-1),               false, TriggerReason::TooOld),
    ];
    for (what, timestamp, could, reason) in table {
        let mut bench = Bench::new();
        let mut body = json!({"name": "E"});
        if let Some(timestamp) = timestamp {
            body["timestamp"] = timestamp.into();
        }
        bench.ok("POST", "/api/v1/customers/1/events", body);
        assert_eq!(bench.verdict(), (could, reason), "{what}");
        assert_eq!(bench.person("1").events[0].could_trigger, could, "{what}");
    }
    let mut bench = Bench::with(|settings| settings.future_triggers = false);
    bench.event("1", "E", NOON + 60);
    assert_eq!(bench.verdict(), (false, TriggerReason::Future));
}

#[test]
fn an_event_with_a_known_id_is_ignored() {
    let event = |id: &str| json!({"name": "E", "id": id, "timestamp": NOON});
    let path = "/api/v1/customers/1/events";
    let mut bench = Bench::new();
    bench.ok("POST", path, event(ULID)).ok("POST", path, event(&ULID.to_lowercase()));
    assert_eq!(bench.did(), [Did::DuplicateEvent]);
    assert_eq!(bench.verdict(), (false, TriggerReason::Duplicate));
    bench.item(json!({"type": "person", "action": "page", "identifiers": {"id": "2"}, "name": "P", "id": ULID}));
    assert_eq!(bench.did(), [Did::DuplicateEvent], "whoever's and whatever kind it is");
    assert_eq!(bench.emulator.events().count(), 1);
}

#[test]
fn which_ids_are_recognised_is_a_switch() {
    let event = json!({"name": "E", "id": "0b9a7a3c-5d1e-4c53-9d0a-6f3b1c2d4e5f"});
    for (dedupe, status, stored) in
        [(Dedupe::Ulid, 200, 2), (Dedupe::Any, 200, 1), (Dedupe::UlidOnly, 400, 0)]
    {
        let mut bench = Bench::with(|settings| settings.dedupe = dedupe);
        for _ in 0..2 {
            let response = bench.send("POST", "/api/v1/customers/1/events", &event);
            assert_eq!(response.status, status, "{dedupe:?}");
        }
        assert_eq!(bench.emulator.events().count(), stored, "{dedupe:?}");
    }
}

#[test]
fn ids_are_forgotten_when_the_settings_say_so() {
    let event = |n: u32| json!({"name": "E", "id": format!("01ARZ3NDEKTSV4RRFFQ69G{n:04}")});
    let path = "/api/v1/customers/1/events";
    let mut bench = Bench::with(|settings| settings.dedupe_hours = Some(24));
    bench.ok("POST", path, event(1)).later(hours(24)).ok("POST", path, event(1));
    assert_eq!(bench.did(), [Did::DuplicateEvent]);
    bench.later(minutes(1)).ok("POST", path, event(1));
    assert_eq!(bench.did(), [Did::StoredEvent]);

    let mut bench = Bench::with(|settings| settings.history.event_ids = 2);
    bench.ok("POST", path, event(1)).ok("POST", path, event(2)).ok("POST", path, event(3));
    bench.ok("POST", path, event(2));
    assert_eq!(bench.did(), [Did::DuplicateEvent]);
    bench.ok("POST", path, event(1));
    assert_eq!(bench.did(), [Did::StoredEvent]);
}

#[test]
fn what_a_visitor_did_becomes_the_persons() {
    let mut bench = Bench::new();
    bench.visit("v", "Product Viewed", NOON - 80 * H).visit("v", "Added to Cart", NOON - H);
    assert_eq!(bench.verdict(), (false, TriggerReason::Nobody));
    assert!(bench.emulator.people().is_empty(), "a visitor is no person");
    bench.put("1", json!({"anonymous_id": "v"}));
    let attached = Did::AttachedAnonymousEvent;
    assert_eq!(bench.did(), [Did::CreatedPerson, attached, attached]);
    let person = bench.person("1");
    let verdicts: Vec<_> =
        person.events.iter().map(|event| (event.name.as_str(), event.could_trigger)).collect();
    assert_eq!(verdicts, [("Product Viewed", false), ("Added to Cart", true)]);
    assert_eq!(person.attribute("anonymous_id"), "v");
    assert_eq!(bench.person("v").id.as_deref(), Some("1"), "found by the anonymous id too");
}

#[test]
fn an_anonymous_event_counts_from_its_own_time_when_it_is_attached() {
    let mut bench = Bench::new();
    bench.visit("v", "E", NOON).later(hours(71)).put("1", json!({"anonymous_id": "v"}));
    assert_eq!(bench.verdict(), (true, TriggerReason::Recent));
    let mut bench = Bench::new();
    bench.ok("POST", "/api/v1/events", json!({"name": "E", "anonymous_id": "v"}));
    bench.later(hours(73)).put("1", json!({"anonymous_id": "v"}));
    assert_eq!(bench.verdict(), (false, TriggerReason::TooOld));
}

#[test]
fn the_window_after_an_identify_is_five_minutes() {
    let mut bench = Bench::new();
    bench.put("1", json!({"anonymous_id": "v"})).later(minutes(5)).visit("v", "In Time", NOON);
    assert_eq!(bench.did(), [Did::StoredEvent]);
    assert_eq!(bench.verdict(), (true, TriggerReason::Recent));
    bench.later(minutes(1)).visit("v", "Too Late", NOON);
    assert_eq!(bench.verdict(), (false, TriggerReason::WindowClosed));
    assert_eq!(bench.names("1"), ["In Time"]);
}

#[test]
fn whether_another_identify_opens_the_window_again_is_a_switch() {
    for (reidentify, names) in [(Reidentify::Reopens, vec!["A", "B"]), (Reidentify::Once, vec![])] {
        let mut bench = Bench::with(|settings| settings.reidentify = reidentify);
        bench.put("1", json!({"anonymous_id": "v"})).later(minutes(10)).visit("v", "A", NOON);
        bench.put("1", json!({"anonymous_id": "v"})).later(minutes(4)).visit("v", "B", NOON);
        assert_eq!(bench.names("1"), names, "{reidentify:?}");
    }
}

#[test]
fn anonymous_events_wait_for_30_days() {
    let days = |days: u64| hours(days * 24);
    for (age, received, happened) in
        [(AnonymousAge::Received, true, true), (AnonymousAge::EventTime, true, false)]
    {
        let mut bench = Bench::with(|settings| settings.anonymous_age = age);
        bench.visit("v", "Fresh", NOON).visit("v", "Old", NOON - 20 * 24 * H);
        bench.later(days(15)).put("1", json!({"anonymous_id": "v"}));
        let names = bench.names("1");
        assert_eq!(names.contains(&"Fresh".into()), received, "{age:?}");
        assert_eq!(names.contains(&"Old".into()), happened, "{age:?}");
    }
    let mut bench = Bench::new();
    bench.visit("v", "A", NOON).later(days(30)).visit("v", "B", NOON).later(minutes(1));
    bench.put("1", json!({"anonymous_id": "v"}));
    assert_eq!(bench.names("1"), ["B"]);
    assert_eq!(bench.emulator.events().count(), 1, "what nobody claimed in time is deleted");
    let mut bench = Bench::new();
    bench.visit("v", "A", NOON).later(days(30)).put("1", json!({"anonymous_id": "v"}));
    assert_eq!(bench.names("1"), ["A"], "on the last day");
}

#[test]
fn an_anonymous_id_is_one_persons() {
    let mut bench = Bench::new();
    bench.put("1", json!({"anonymous_id": "v"})).put("2", json!({"anonymous_id": "v", "x": 1}));
    assert_eq!(bench.did(), [Did::CreatedPerson, Did::AnonymousIdContested]);
    bench.visit("v", "E", NOON);
    assert_eq!(bench.names("1"), ["E"]);
    assert!(bench.person("2").anonymous_ids.is_empty());
    assert_eq!(bench.person("2").attribute("anonymous_id"), &Value::Null);

    let mut bench = Bench::with(|settings| settings.anonymous_reuse = AnonymousReuse::Moves);
    bench.put("1", json!({"anonymous_id": "v"})).visit("v", "A", NOON);
    bench.put("2", json!({"anonymous_id": "v"})).visit("v", "B", NOON);
    assert_eq!((bench.names("1"), bench.names("2")), (vec!["A".to_owned()], vec!["B".to_owned()]));
    assert!(bench.person("1").anonymous_ids.is_empty());
    assert_eq!(bench.person("2").anonymous_ids, ["v"]);
}

#[test]
fn without_the_merge_setting_visitors_stay_visitors() {
    let mut bench = Bench::with(|settings| settings.anonymous_merge = false);
    bench.visit("v", "A", NOON).put("1", json!({"anonymous_id": "v"})).visit("v", "B", NOON);
    assert!(bench.names("1").is_empty());
    assert_eq!(bench.verdict(), (false, TriggerReason::Nobody));
}

#[test]
fn v2_knows_visitors_as_v1_does() {
    let event = |name: &str| json!({"type": "person", "action": "event", "identifiers": {"anonymous_id": "v"}, "name": name, "timestamp": NOON});
    let mut bench = Bench::new();
    bench.item(event("A"));
    bench.item(json!({"type": "person", "action": "identify", "identifiers": {"anonymous_id": "v"}, "attributes": {"x": 1}}));
    assert_eq!(bench.did(), [Did::Ignored], "it identifies nobody");
    bench.item(json!({"type": "person", "action": "identify", "identifiers": {"id": "1"}, "attributes": {"anonymous_id": "v"}}));
    bench.item(event("B"));
    assert_eq!(bench.names("1"), ["A", "B"]);
}

#[test]
fn an_invite_event_needs_a_recipient() {
    let mut bench = Bench::new();
    bench.ok("POST", "/api/v1/events", json!({"name": "Invited"}));
    assert_eq!(bench.verdict(), (false, TriggerReason::Nobody));
    bench.ok(
        "POST",
        "/api/v1/events",
        json!({"name": "Invited", "data": {"recipient": "a@example.com"}}),
    );
    assert_eq!(bench.verdict(), (true, TriggerReason::NoTimestamp));
}

#[test]
fn a_visitor_of_a_deleted_person_is_a_stranger_again() {
    let mut bench = Bench::new();
    bench.put("1", json!({"anonymous_id": "v"})).ok("DELETE", "/api/v1/customers/1", json!({}));
    bench.visit("v", "E", NOON);
    assert_eq!(bench.verdict(), (false, TriggerReason::Nobody));
    bench.put("2", json!({"anonymous_id": "v"}));
    assert_eq!(bench.names("2"), ["E"]);
}

#[test]
fn names_lose_the_spaces_around_them() {
    let mut bench = Bench::new();
    bench.event("1", "  Order Completed ", NOON);
    assert_eq!(bench.names("1"), ["Order Completed"]);
}

#[test]
fn the_oldest_events_make_room() {
    let mut bench = Bench::with(|settings| settings.history.events = 3);
    bench.visit("v", "A", NOON).event("1", "B", NOON).event("1", "C", NOON);
    bench.event("2", "D", NOON).event("2", "E", NOON);
    assert_eq!(
        (bench.names("1"), bench.names("2")),
        (vec!["C".to_owned()], vec!["D".to_owned(), "E".to_owned()])
    );
    let seqs: Vec<_> = bench.emulator.events().map(|event| event.seq).collect();
    assert_eq!(seqs, [3, 4, 5]);
    bench.put("3", json!({"anonymous_id": "v"}));
    assert!(bench.names("3").is_empty());
}
