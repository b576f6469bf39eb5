//! Who is who: identifiers, conflicts, merges, deletion, suppression, stale updates.

use super::*;
use crate::emulator::settings::{Conflict, IdentifyTime, Stale};

const TAKEN: &str = "The identifier is already associated with a different profile.";

#[test]
fn a_path_identifier_is_read_by_its_shape() {
    let mut bench = Bench::new();
    bench.put("42", json!({"a": 1})).put("Ann%40Example.com", json!({"a": 2}));
    bench.put("%2B15551234567", json!({"a": 3})).put("not%20an@address%20x", json!({"a": 4}));
    let kinds: Vec<_> = bench.emulator.people().into_iter().map(|p| (p.id, p.email)).collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        kinds,
        [
            (text("42"), None),
            (None, text("Ann@Example.com")),
            (text("+15551234567"), None),
            (text("not an@address x"), None)
        ]
    );
    let cio_id = bench.person("42").cio_id;
    bench.put(&format!("cio_{cio_id}"), json!({"a": 5}));
    assert_eq!(bench.person("42").attribute("a"), 5);
}

#[test]
fn email_addresses_ignore_case_and_ids_do_not() {
    let mut bench = Bench::new();
    bench.put("ann%40example.com", json!({})).put("ANN%40Example.COM", json!({}));
    bench.put("u", json!({})).put("U", json!({}));
    assert_eq!(bench.emulator.people().len(), 3);
}

#[test]
fn a_new_person_was_created_now_unless_it_says_otherwise() {
    let mut bench = Bench::new();
    bench.put("a", json!({})).put("b", json!({"created_at": 5}));
    assert_eq!(bench.person("a").attribute("created_at"), NOON);
    assert_eq!(bench.person("b").attribute("created_at"), 5);
    bench.later(hours(1)).put("a", json!({"x": 1}));
    assert_eq!(bench.person("a").attribute("created_at"), NOON, "an update leaves it alone");
}

#[test]
fn null_and_blank_remove_an_attribute() {
    let mut bench = Bench::new();
    bench.put("a", json!({"x": 1, "y": 2, "z": 0, "no": false}));
    bench.put("a", json!({"x": null, "y": "", "q": null}));
    let person = bench.person("a");
    let names: Vec<_> = person.attributes.keys().map(String::as_str).collect();
    assert_eq!(names, ["created_at", "no", "z"]);
    assert_eq!(bench.emulator.activity().last().unwrap().changed, ["x", "y"]);
    bench.put("a", json!({"z": 0}));
    assert_eq!(bench.did(), [Did::Unchanged]);
}

#[test]
fn one_topic_of_the_preferences_can_change_alone() {
    let mut bench = Bench::new();
    bench.put("a", json!({"cio_subscription_preferences": {"topics": {"topic_1": true}}}));
    bench.put("a", json!({"cio_subscription_preferences.topics.topic_2": false}));
    let expected = json!({"topics": {"topic_1": true, "topic_2": false}});
    assert_eq!(bench.person("a").attribute("cio_subscription_preferences"), &expected);
}

#[test]
fn a_new_id_with_a_known_address_names_the_known_person() {
    let mut bench = Bench::new();
    bench.put("ann%40example.com", json!({"plan": "free"}));
    bench.put("42", json!({"email": "Ann@example.com"}));
    assert_eq!(bench.emulator.people().len(), 1);
    assert_eq!(bench.person("42").attribute("plan"), "free");
    assert_eq!(bench.did(), [Did::UpdatedPerson]);
}

#[test]
fn identifiers_of_somebody_else_are_failed_changes() {
    for (conflict, stored) in [(Conflict::Attribute, json!("gold")), (Conflict::Call, Value::Null)]
    {
        let mut bench = Bench::with(|settings| settings.conflict = conflict);
        bench
            .put("1", json!({"email": "a@example.com"}))
            .put("2", json!({"email": "b@example.com"}));
        bench.put("2", json!({"email": "a@example.com", "plan": "gold"}));
        assert_eq!(bench.person("2").email.as_deref(), Some("b@example.com"));
        assert_eq!(bench.person("2").attribute("plan"), &stored, "{conflict:?}");
        let failed = bench.emulator.activity().last().unwrap();
        assert_eq!(failed.outcome, Did::FailedAttributeChange);
        assert_eq!(
            (failed.reason.as_deref(), failed.changed.as_slice()),
            (Some(TAKEN), &["email".to_owned()][..])
        );

        // A third id with an address that is complete already: a person without an address.
        bench.put("3", json!({"email": "a@example.com"}));
        let third = bench.emulator.person("3");
        assert_eq!(third.is_some(), conflict == Conflict::Attribute);
        assert!(third.is_none_or(|person| person.email.is_none()));
    }
}

#[test]
fn a_set_identifier_changes_only_by_cio_id_or_by_the_workspace_setting() {
    let change = json!({"email": "new@example.com"});
    let mut bench = Bench::new();
    bench.put("1", json!({"email": "old@example.com"})).put("1", change.clone());
    assert_eq!(bench.person("1").email.as_deref(), Some("old@example.com"));
    assert_eq!(bench.did(), [Did::Unchanged, Did::FailedAttributeChange]);

    let cio_id = bench.person("1").cio_id;
    bench.put(&format!("cio_{cio_id}"), json!({"email": "new@example.com", "id": "one"}));
    assert_eq!(bench.person("one").email.as_deref(), Some("new@example.com"));
    assert!(
        bench.emulator.person("1").is_none() && bench.emulator.person("old@example.com").is_none()
    );

    let mut bench = Bench::with(|settings| settings.email_change = true);
    bench.put("1", json!({"email": "old@example.com"})).put("1", change);
    assert_eq!(bench.person("1").email.as_deref(), Some("new@example.com"));
}

#[test]
fn two_halves_of_one_person_merge_by_themselves_into_the_older() {
    for email_first in [true, false] {
        let mut bench = Bench::new();
        let mut halves = [("lead%40example.com", "lead"), ("42", "account")];
        if !email_first {
            halves.reverse();
        }
        for (who, plan) in halves {
            bench.later(minutes(1)).put(who, json!({"plan": plan, plan: true}));
        }
        bench.later(minutes(1)).put("42", json!({"email": "lead@example.com"}));
        let people = bench.emulator.people();
        assert_eq!(people.len(), 1, "{email_first}");
        assert_eq!(people[0].attribute("plan"), halves[0].1, "the older keeps what it has");
        assert_eq!(
            (people[0].attribute("lead"), people[0].attribute("account")),
            (&json!(true), &json!(true))
        );
        assert_eq!(people[0].id.as_deref(), Some("42"));
        assert_eq!(people[0].email.as_deref(), Some("lead@example.com"));
        assert!(bench.did().contains(&Did::MergedPeople));
    }
    let mut bench = Bench::with(|settings| settings.auto_merge = false);
    bench.put("lead%40example.com", json!({})).put("42", json!({}));
    bench.put("42", json!({"email": "lead@example.com"}));
    assert_eq!(bench.did(), [Did::Unchanged, Did::FailedAttributeChange]);
    assert_eq!(bench.emulator.people().len(), 2);
}

#[test]
fn a_merge_moves_everything_and_starts_nothing() {
    let mut bench = Bench::new();
    bench.put("1", json!({"plan": "gold", "empty": ""}));
    bench.put(
        "2",
        json!({"plan": "free", "empty": "full", "email": "a@example.com", "anonymous_id": "v"}),
    );
    bench.event("1", "A", NOON).event("2", "B", NOON);
    bench.ok(
        "PUT",
        "/api/v1/customers/2/devices",
        json!({"device": {"id": "t", "platform": "ios"}}),
    );
    let gone = bench.person("2").cio_id;
    let triggers = bench.emulator.activity().filter(|entry| entry.event.is_some()).count();
    bench.ok(
        "POST",
        "/api/v1/merge_customers",
        json!({"primary": {"id": "1"}, "secondary": {"id": "2"}}),
    );
    assert_eq!(bench.did(), [Did::MergedPeople]);
    let person = bench.person("1");
    assert_eq!(person.attribute("plan"), "gold");
    assert_eq!(person.attribute("empty"), "full");
    assert_eq!(person.email.as_deref(), Some("a@example.com"));
    assert_eq!(person.anonymous_ids, ["v"]);
    assert_eq!(person.devices.len(), 1);
    assert_eq!(bench.names("1"), ["A", "B"]);
    assert!(bench.emulator.events().all(|event| event.cio_id.as_deref() == Some(&person.cio_id)));
    assert_eq!(bench.emulator.activity().filter(|entry| entry.event.is_some()).count(), triggers);

    assert!(bench.emulator.person("2").is_none());
    bench.put(&format!("cio_{gone}"), json!({"x": 1}));
    assert_eq!(bench.did(), [Did::Ignored], "an unknown cio_id is dropped");
    bench.visit("v", "C", NOON);
    assert_eq!(bench.names("1"), ["A", "B", "C"], "the visitor is the primary person's now");
}

#[test]
fn after_a_merge_the_newer_of_the_two_decides_what_is_stale() {
    let mut bench = Bench::new();
    bench.put("1", json!({"_timestamp": NOON - 30})).put("2", json!({"_timestamp": NOON - 10}));
    bench.ok(
        "POST",
        "/api/v1/merge_customers",
        json!({"primary": {"id": "1"}, "secondary": {"id": "2"}}),
    );
    bench.put("1", json!({"x": 1, "_timestamp": NOON - 20}));
    assert_eq!(bench.did(), [Did::IgnoredStale]);
}

#[test]
fn a_merge_needs_both_people() {
    let merge = |bench: &mut Bench, primary: &str, secondary: &str| {
        bench.item(json!({"type": "person", "action": "merge", "primary": {"id": primary}, "secondary": {"id": secondary}}));
        let entry = bench.emulator.activity().last().unwrap().clone();
        (entry.outcome, entry.reason.unwrap_or_default())
    };
    let mut bench = Bench::new();
    bench.put("1", json!({}));
    assert_eq!(
        merge(&mut bench, "9", "1"),
        (Did::Ignored, "the primary person does not exist".into())
    );
    assert_eq!(
        merge(&mut bench, "1", "9"),
        (Did::Ignored, "the secondary person does not exist".into())
    );
    assert_eq!(merge(&mut bench, "1", "1"), (Did::Ignored, "both are the same person".into()));
    assert_eq!(bench.emulator.people().len(), 1);
}

#[test]
fn update_never_creates() {
    let mut bench = Bench::new();
    bench.put("1", json!({"_update": true, "x": 1}));
    assert_eq!(bench.did(), [Did::FailedAttributeChange]);
    assert!(bench.emulator.people().is_empty());
    bench.put("1", json!({})).put("1", json!({"_update": true, "x": 1}));
    assert_eq!(bench.person("1").attribute("x"), 1);
    bench.item(json!({"type": "person", "action": "identify", "identifiers": {"id": "2"}, "attributes": {"_update": true}}));
    assert_eq!(bench.did(), [Did::FailedAttributeChange]);
}

#[test]
fn a_deleted_person_can_come_back_and_a_suppressed_one_cannot() {
    let mut bench = Bench::new();
    bench.put("1", json!({"email": "a@example.com", "x": 1})).event("1", "E", NOON);
    bench.ok("DELETE", "/api/v1/customers/1", json!({}));
    assert_eq!(bench.did(), [Did::DeletedPerson]);
    assert!(bench.emulator.people().is_empty() && bench.emulator.events().next().is_none());
    bench.put("1", json!({"email": "a@example.com"}));
    assert_eq!(bench.person("1").attribute("x"), &Value::Null);

    bench.ok("POST", "/api/v1/customers/1/suppress", json!({}));
    assert_eq!(bench.did(), [Did::SuppressedPerson]);
    bench
        .put("1", json!({"x": 1}))
        .put("A%40example.com", json!({}))
        .put("2", json!({"email": "a@example.com"}));
    bench.event("1", "E", NOON);
    assert_eq!(bench.did(), [Did::Suppressed]);
    assert_eq!(bench.verdict(), (false, TriggerReason::NotStored));
    assert!(bench.emulator.people().is_empty());

    bench.ok("POST", "/api/v1/customers/a%40example.com/unsuppress", json!({})).put("1", json!({}));
    assert_eq!(bench.did(), [Did::CreatedPerson]);
}

#[test]
fn a_stale_identify_loses_as_much_as_the_switch_says() {
    let table = [
        (Stale::Profile, (json!("new"), Value::Null), Did::IgnoredStale),
        (Stale::Attribute, (json!("new"), json!("old")), Did::UpdatedPerson),
        (Stale::Never, (json!("old"), json!("old")), Did::UpdatedPerson),
    ];
    for (stale, (x, y), did) in table {
        let mut bench = Bench::with(|settings| settings.stale = stale);
        bench.put("1", json!({"x": "new", "_timestamp": NOON - 10}));
        bench.put("1", json!({"x": "old", "y": "old", "_timestamp": NOON - 20}));
        assert_eq!(bench.did()[0], did, "{stale:?}");
        let person = bench.person("1");
        assert_eq!((person.attribute("x"), person.attribute("y")), (&x, &y), "{stale:?}");
        bench.put("1", json!({"x": "same second", "_timestamp": NOON - 10}));
        assert_eq!(bench.person("1").attribute("x"), "same second", "{stale:?}");
    }
}

#[test]
fn an_identify_without_a_time_happens_now() {
    let mut bench = Bench::new();
    bench.put("1", json!({"x": 1}));
    bench.put("1", json!({"x": 2, "_timestamp": NOON - 1}));
    assert_eq!(bench.did(), [Did::IgnoredStale]);
    assert_eq!(bench.person("1").attribute("x"), 1);
}

#[test]
fn a_removed_attribute_does_not_come_back_by_an_older_update() {
    let mut bench = Bench::with(|settings| settings.stale = Stale::Attribute);
    bench.put("1", json!({"x": 1, "_timestamp": NOON - 30}));
    bench.put("1", json!({"x": null, "_timestamp": NOON - 10}));
    bench.put("1", json!({"x": 2, "_timestamp": NOON - 20}));
    assert_eq!(bench.person("1").attribute("x"), &Value::Null);
}

#[test]
fn where_a_v2_identify_carries_its_time_is_a_switch() {
    let identify = |place: &str, x: i64, at: i64| {
        let mut item = json!({"type": "person", "action": "identify", "identifiers": {"id": "1"}, "attributes": {"x": x}});
        match place {
            "timestamp" | "_timestamp" => item[place] = at.into(),
            _ => item["attributes"]["_timestamp"] = at.into(),
        }
        item
    };
    for (mode, place, orders) in [
        (IdentifyTime::Timestamp, "timestamp", true),
        (IdentifyTime::Timestamp, "_timestamp", false),
        (IdentifyTime::Timestamp, "attributes", false),
        (IdentifyTime::Anywhere, "timestamp", true),
        (IdentifyTime::Anywhere, "_timestamp", true),
        (IdentifyTime::Anywhere, "attributes", true),
    ] {
        let mut bench = Bench::with(|settings| settings.identify_time = mode);
        bench.item(identify(place, 1, NOON - 10)).item(identify(place, 2, NOON - 20));
        let expected = if orders { 1 } else { 2 };
        assert_eq!(bench.person("1").attribute("x"), expected, "{mode:?} {place}");
    }
}

#[test]
fn a_person_has_at_most_300_attributes() {
    let mut bench = Bench::new();
    let attributes = |from: i32, to: i32| -> Value {
        (from..to).map(|n| (format!("a{n}"), json!(n))).collect::<serde_json::Map<_, _>>().into()
    };
    bench.put("1", attributes(0, 299)).put("1", attributes(295, 305));
    assert_eq!(bench.person("1").attributes.len(), 300, "created_at is one of them");
    assert_eq!(bench.did().iter().filter(|did| **did == Did::FailedAttributeChange).count(), 6);
}

#[test]
fn who_an_event_creates_is_a_switch() {
    let event = json!({"name": "E"});
    let mut bench = Bench::new();
    bench.ok("POST", "/api/v1/customers/new/events", event.clone());
    assert_eq!(bench.did(), [Did::StoredEvent, Did::CreatedPerson]);
    bench.ok("POST", "/api/v1/customers/cio_99/events", event.clone());
    assert_eq!(bench.did(), [Did::Ignored]);
    let mut bench = Bench::with(|settings| settings.implicit_people = false);
    bench.ok("POST", "/api/v1/customers/new/events", event);
    assert_eq!(bench.did(), [Did::Ignored]);
    assert_eq!(bench.verdict(), (false, TriggerReason::NotStored));
}

#[test]
fn objects_know_their_people_and_people_their_objects() {
    let acme = json!({"object_type_id": "1", "object_id": "acme"});
    let mut bench = Bench::new();
    bench.item(json!({"type": "object", "action": "identify", "identifiers": acme, "attributes": {"name": "Acme", "size": 3},
        "cio_relationships": [{"identifiers": {"id": "1"}, "relationship_attributes": {"role": "admin"}}]}));
    assert_eq!(bench.did(), [Did::CreatedObject, Did::CreatedPerson]);
    bench.item(json!({"type": "object", "action": "identify", "identifiers": acme, "attributes": {"size": null}}));
    let object = bench.emulator.objects().remove(0);
    assert_eq!(object.attributes.get("name"), Some(&json!("Acme")));
    assert!(!object.attributes.contains_key("size"));
    let cio_id = bench.person("1").cio_id;
    assert_eq!(object.people.get(&cio_id).map(|with| with["role"].clone()), Some(json!("admin")));
    assert_eq!(bench.person("1").objects, [("1".to_owned(), "acme".to_owned())]);

    bench.item(json!({"type": "object", "action": "identify_anonymous", "identifiers": acme,
        "cio_relationships": [{"identifiers": {"anonymous_id": "v"}}]}));
    bench.put("2", json!({"anonymous_id": "v"}));
    assert_eq!(bench.person("2").objects.len(), 1, "the visitor's relationship is the person's");

    bench.item(
        json!({"type": "person", "action": "delete_relationships", "identifiers": {"id": "1"},
        "cio_relationships": [{"identifiers": acme}]}),
    );
    assert!(bench.person("1").objects.is_empty());
    let id = object.cio_object_id;
    bench.item(json!({"type": "object", "action": "delete", "identifiers": {"cio_object_id": id}}));
    assert_eq!(bench.did(), [Did::DeletedObject]);
    assert!(bench.emulator.objects().is_empty() && bench.person("2").objects.is_empty());
}

#[test]
fn devices_come_and_go() {
    let mut bench = Bench::new();
    bench.ok(
        "PUT",
        "/api/v1/customers/1/devices",
        json!({"device": {"id": "t", "platform": "ios"}}),
    );
    assert_eq!(bench.did(), [Did::StoredDevice, Did::CreatedPerson]);
    bench.item(json!({"type": "person", "action": "add_device", "identifiers": {"id": "1"},
        "device": {"token": "t", "platform": "android", "last_used": NOON}}));
    let devices = bench.person("1").devices;
    assert_eq!(devices.len(), 1);
    assert_eq!((devices[0].platform.as_str(), devices[0].last_used), ("android", Some(NOON)));
    bench.ok("DELETE", "/api/v1/customers/1/devices/t", json!({}));
    bench.ok("DELETE", "/api/v1/customers/1/devices/t", json!({}));
    assert_eq!(bench.did(), [Did::Ignored]);
    assert!(bench.person("1").devices.is_empty());
}
