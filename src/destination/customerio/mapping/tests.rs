//! The mappings, case by case: every rule of the page, and laws over any event.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::Time;
use crate::destination::customerio::limits;
use crate::destination::customerio::{Encoded, Transport};
use crate::spec::{Arrival, Ingress, RawCall, normalise};

fn try_event(mapping: Mapping, body: &Value) -> Option<Event> {
    let arrival = Arrival {
        ingress: Ingress::Webhook,
        accepted_at: Time::parse("2026-03-14T12:00:00.000Z").unwrap(),
        ..Arrival::default()
    };
    normalise(&mut RawCall::new(arrival, Bytes::from(body.to_string())), mapping.vendor()).ok()
}

fn event(mapping: Mapping, body: &Value) -> Event {
    try_event(mapping, body).unwrap()
}

fn mapped<'e>(mapping: Mapping, event: &'e Event, subject: &Subject) -> Operation<'e> {
    let options = Options::default();
    match mapping.operations(event, subject, &options).unwrap() {
        Mapped::Operations(mut operations) if operations.len() == 1 => operations.remove(0),
        other => panic!("expected one operation, got {other:?}"),
    }
}

/// The body of what is sent by v2.
fn item(operation: &Operation<'_>) -> Value {
    match operation.encode(Transport::V2).unwrap() {
        Encoded::Item(bytes) => serde_json::from_slice(&bytes).unwrap(),
        other => panic!("expected an item, got {other:?}"),
    }
}

fn person(text: &str) -> PersonId {
    PersonId::from_text(text)
}

#[test]
fn an_anonymous_event_of_a_known_person_goes_to_the_person() {
    let body = json!({"type": "track", "event": "E", "anonymousId": "a", "properties": {"x": 1}});
    for (mapping, properties) in [
        (Mapping::Segment, json!({"x": 1, "anonymous_id": "a"})),
        (Mapping::Rudderstack, json!({"x": 1})),
    ] {
        let event = event(mapping, &body);
        let mut subject = mapping.subject(&event);
        assert_eq!(subject, Subject { person: None, anonymous: Some("a".into()) });

        subject.person = Some(person("u"));
        let operation = mapped(mapping, &event, &subject);

        assert_eq!(item(&operation)["identifiers"], json!({"id": "u"}), "{mapping:?}");
        assert_eq!(item(&operation)["attributes"], properties, "{mapping:?}");
        assert_eq!(operation.people().collect::<Vec<_>>(), [&person("u")]);
    }
}

#[test]
fn a_name_that_the_native_destination_cuts_is_cut_for_a_person_found_later_too() {
    let body = json!({"type": "track", "event": "n".repeat(120), "anonymousId": "a"});
    let event = event(Mapping::Rudderstack, &body);
    let subject = Subject { person: Some(person("u")), anonymous: Some("a".into()) };

    let operation = mapped(Mapping::Rudderstack, &event, &subject);

    assert_eq!(item(&operation)["name"], "n".repeat(100));
}

#[test]
fn a_link_teaches_an_anonymous_id_and_nothing_else() {
    let link = Operation::link(person("u"), "a", Time::from_secs(7));
    assert_eq!(
        item(&link),
        json!({"type": "person", "action": "identify", "identifiers": {"id": "u"},
               "timestamp": 7, "attributes": {"anonymous_id": "a"}})
    );
    assert_eq!(link.anonymous_id(), Some("a"));
    assert!(!link.is_barrier());
}

#[test]
fn an_identify_can_be_kept_from_creating_people() {
    let mut link = Operation::link(person("u"), "a", Time::from_secs(7));
    assert!(link.only_existing());
    assert_eq!(item(&link)["attributes"]["_update"], true);

    let Encoded::Call { body, .. } = link.encode(Transport::V1).unwrap() else { panic!() };
    let body: Value = serde_json::from_slice(&body.unwrap()).unwrap();
    assert_eq!(body, json!({"anonymous_id": "a", "_update": true, "_timestamp": 7}));
    assert!(!Operation::Delete { person: person("u") }.only_existing());
}

#[test]
fn an_event_can_be_marked_and_renamed() {
    let body = json!({"type": "track", "event": "E", "userId": "u",
                      "properties": {"replay": false, "x": 1}});
    let event = event(Mapping::Segment, &body);
    let subject = Mapping::Segment.subject(&event);
    let mut operation = mapped(Mapping::Segment, &event, &subject);

    assert!(operation.mark("replay", json!(true)) && operation.mark("event_age_hours", json!(80)));
    assert!(operation.rename("E (replayed)"));

    let item = item(&operation);
    assert_eq!(item["attributes"], json!({"x": 1, "replay": true, "event_age_hours": 80}));
    assert_eq!(item["name"], "E (replayed)");
    assert!(operation.rename("n".repeat(101)));
    assert!(operation.encode(Transport::V2).is_err(), "a new name is measured too");
    let mut link = Operation::link(person("u"), "a", Time::from_secs(7));
    assert!(!link.mark("replay", json!(true)) && !link.rename("x"));
}

#[test]
fn what_others_must_not_overtake_is_a_barrier_of_its_people() {
    let (a, b) = (person("a"), person("b"));
    let table = [
        (Operation::Merge { primary: a.clone(), secondary: b.clone() }, true, vec![&a, &b]),
        (Operation::Delete { person: a.clone() }, true, vec![&a]),
        (Operation::Suppress { person: a.clone() }, true, vec![&a]),
        (Operation::Unsuppress { person: a.clone() }, true, vec![&a]),
        (Operation::DeleteDevice { person: a.clone(), token: "t".into() }, false, vec![&a]),
    ];
    for (operation, barrier, people) in table {
        assert_eq!(operation.is_barrier(), barrier, "{}", operation.name());
        assert_eq!(operation.people().collect::<Vec<_>>(), people, "{}", operation.name());
    }
}

#[test]
fn any_name_of_customer_io_opts_out_and_no_other() {
    let webhook = Options::default();
    let api = Options { all_false_opts_out: true, ..Options::default() };
    #[rustfmt::skip]
    let table = [
        ("Segment's name",            json!({"Customer.io": false}),                    &webhook, true),
        ("RudderStack's name",        json!({"Customer IO": false}),                    &webhook, true),
        ("the name of the action",    json!({"Customer.io (Actions)": false}),          &webhook, true),
        ("its other name",            json!({"Actions Customerio": false}),             &webhook, true),
        ("a code's spelling",         json!({"customer_io": false}),                    &webhook, true),
        ("beside a true one",         json!({"Customer IO": true, "CUSTOMERIO": false}), &webhook, true),
        ("true",                      json!({"Customer.io": true}),                     &webhook, false),
        ("options",                   json!({"Customer.io": {"a": 1}}),                 &webhook, false),
        ("a text is no false",        json!({"Customer.io": "false"}),                  &webhook, false),
        ("another destination",       json!({"Customer IO Audience": false}),           &webhook, false),
        ("All: false on a webhook",   json!({"All": false}),                            &webhook, false),
        ("All: false of a client",    json!({"All": false}),                            &api,     true),
        ("All: false and options",    json!({"All": false, "Customer.io": {"a": 1}}),   &api,     false),
        ("All: true of a client",     json!({"All": true}),                             &api,     false),
    ];
    for (what, integrations, options, expected) in table {
        let body = json!({"type": "track", "event": "E", "userId": "u",
                          "integrations": integrations});
        let event = event(Mapping::Segment, &body);
        let subject = Mapping::Segment.subject(&event);
        let result = Mapping::Segment.operations(&event, &subject, options).unwrap();
        assert_eq!(result == Mapped::Dropped(DropReason::OptedOut), expected, "{what}");
    }
}

#[test]
fn a_large_event_goes_by_the_transport_that_can_carry_it() {
    let of_size = |bytes: usize| {
        let body = json!({"type": "track", "event": "E", "userId": "u",
                          "properties": {"x": "x".repeat(bytes)}});
        event(Mapping::Rudderstack, &body)
    };
    let encoded = |event: &Event, transport| {
        let subject = Mapping::Rudderstack.subject(event);
        mapped(Mapping::Rudderstack, event, &subject).encode(transport)
    };
    let (small, large, huge) = (of_size(31_000), of_size(33_000), of_size(100_000));
    assert!(matches!(encoded(&small, Transport::V2), Ok(Encoded::Item(_))));
    for transport in [Transport::V1, Transport::V2] {
        assert!(matches!(encoded(&large, transport), Ok(Encoded::Call { .. })), "{transport:?}");
        let error = encoded(&huge, transport).unwrap_err();
        let MapError::Limit { field, limit, .. } = error else { panic!("{error}") };
        assert_eq!((field.as_str(), limit), ("properties", 100_000), "{transport:?}");
    }
}

#[test]
fn a_limit_is_reached_and_then_exceeded_by_one() {
    let traits = |traits: Value| json!({"type": "identify", "userId": "u", "traits": traits});
    let many = |count: usize| {
        let fields = (0..count).map(|n| (n.to_string(), json!(n)));
        traits(Value::Object(fields.collect()))
    };
    let group = |id: usize, kind: usize| {
        json!({"type": "group", "userId": "u", "groupId": "g".repeat(id),
               "traits": {"objectTypeId": "t".repeat(kind)}})
    };
    let text = |bytes: usize| "x".repeat(bytes);
    let track = |name: usize| json!({"type": "track", "userId": "u", "event": text(name)});
    let alias = |old: usize| json!({"type": "alias", "userId": "u", "previousId": text(old)});
    let user = |bytes: usize| json!({"type": "delete", "userId": text(bytes)});
    #[rustfmt::skip]
    let table = [
        ("id of a person",       user(150),                            user(151),                            "id"),
        ("id in a merge",        alias(150),                           alias(151),                           "id"),
        ("id of an object",      group(150, 1),                        group(151, 1),                        "object_id"),
        ("type of an object",    group(1, 150),                        group(1, 151),                        "object_type_id"),
        ("name of an event",     track(100),                           track(101),                           "event"),
        ("attribute's value",    traits(json!({"a": text(1000)})),     traits(json!({"a": text(1001)})),     "traits.a"),
        ("value in a list",      traits(json!({"a": [text(1000)]})),   traits(json!({"a": [text(1001)]})),   "traits.a"),
        ("value in an object",   traits(json!({"a": {"b": text(1000)}})), traits(json!({"a": {"b": text(1001)}})), "traits.a.b"),
        ("number of attributes", many(300),                            many(301),                            "traits"),
    ];
    for (what, fits, exceeds, expected) in table {
        let encode = |body: &Value| {
            let event = event(Mapping::Rudderstack, body);
            let subject = Mapping::Rudderstack.subject(&event);
            mapped(Mapping::Rudderstack, &event, &subject).encode(Transport::V2).map(|_| ())
        };
        assert_eq!(encode(&fits), Ok(()), "{what}");
        let Err(MapError::Limit { field, limit, size, .. }) = encode(&exceeds) else {
            panic!("{what}: expected a limit");
        };
        assert_eq!((field.as_str(), size), (expected, limit + 1), "{what}");
    }
}

#[test]
fn the_anonymous_id_that_a_mapping_adds_does_not_count_as_an_attribute() {
    let fields = (0..300).map(|n| (n.to_string(), json!(n)));
    let body = json!({"type": "identify", "userId": "u", "anonymousId": "a",
                      "traits": Value::Object(fields.collect())});
    let event = event(Mapping::Segment, &body);
    let subject = Mapping::Segment.subject(&event);
    assert!(mapped(Mapping::Segment, &event, &subject).check_limits().is_ok());
}

/// JSON as anybody might send it, with what the mappings look for more likely than anything else.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "",
            " ",
            ".",
            "..",
            "null",
            "undefined",
            "u-1",
            "a@x.io",
            "cio_",
            "cio_1",
            "true",
            "2026-05-01",
            "2026-02-30T24:00:00Z",
            "0000-00-00",
            "9999-12-31T23:59:59.999999999+23:59",
            "1770091506789",
            "delete",
            "add_relationships",
            "delete_relationships",
            "viewed_content",
            "clicked",
            "ios",
            "watchOS",
        ])
        .prop_map(Value::from),
        (90usize..120, any::<char>()).prop_map(|(n, c)| Value::from(c.to_string().repeat(n))),
        (900usize..1200).prop_map(|n| Value::from("x".repeat(n))),
        (31_000usize..102_000).prop_map(|n| Value::from("x".repeat(n))),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((field_name(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn field_name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "id", "userId", "anonymousId", "email", "createdAt", "created_at", "address", "city",
            "objectId", "object_type_id", "objectTypeId", "relationshipAttributes",
            "objectAttributes", "groupId", "action", "url", "name", "page", "device", "token", "type",
            "app", "version", "os", "locale", "traits", "externalId", "mappedToDestination",
            "identifierType", "deliveryId", "metric", "actionType", "cio_relationships", "_update",
            "_timestamp", "anonymous_id", "__proto__", "All", "Customer.io",
        ])
        .prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ]
}

fn call() -> impl Strategy<Value = Value> {
    let kinds = ["identify", "track", "page", "screen", "group", "alias", "delete"];
    let names = [
        "Application Installed",
        "Application Opened",
        "Application Uninstalled",
        "Device Created or Updated",
        "Device Deleted",
        "Relationship Deleted",
        "User Deleted",
        "Object Deleted",
        "User Suppressed",
        "User Unsuppressed",
        "Report Delivery Event",
        "Report Content Event",
        "Order Completed",
    ];
    let places = [
        "userId",
        "anonymousId",
        "previousId",
        "groupId",
        "event",
        "name",
        "category",
        "properties",
        "traits",
        "context",
        "integrations",
        "timestamp",
        "originalTimestamp",
        "sentAt",
        "receivedAt",
        "messageId",
        "user_properties",
    ];
    let fields =
        prop::collection::vec((prop::sample::select(places.to_vec()), json_value()), 0..12);
    let objects = prop::collection::vec(
        (
            prop::sample::select(vec!["properties", "traits", "context"]),
            prop::collection::vec((field_name(), json_value()), 0..8),
        ),
        0..3,
    );
    (
        prop::sample::select(kinds.to_vec()),
        prop::sample::select(names.to_vec()),
        fields,
        objects,
        prop::option::of("[a-z]{1,4}"),
    )
        .prop_map(|(kind, name, fields, objects, id)| {
            let mut event = serde_json::Map::new();
            event.insert("event".into(), name.into());
            for (place, value) in fields {
                event.insert(place.into(), value);
            }
            for (place, fields) in objects {
                event.insert(place.into(), Value::Object(fields.into_iter().collect()));
            }
            if let Some(id) = id {
                event.insert("userId".into(), id.into());
            }
            event.insert("type".into(), kind.into());
            Value::Object(event)
        })
}

/// Every result for an event, on both transports.
fn all_encoded(mapping: Mapping, event: &Event) -> Vec<Result<Encoded, MapError>> {
    let subject = mapping.subject(event);
    let options =
        Options { device_token_event: Some("Order Completed".into()), ..Options::default() };
    match mapping.operations(event, &subject, &options) {
        Ok(Mapped::Operations(operations)) => {
            assert!(!operations.is_empty());
            let both = [Transport::V2, Transport::V1];
            both.iter()
                .flat_map(|transport| operations.iter().map(|o| o.encode(*transport)))
                .collect()
        }
        Ok(Mapped::Dropped(_)) => Vec::new(),
        Err(error) => vec![Err(error)],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_sent_becomes_the_same_valid_json_within_the_limits_each_time_or_an_error(body in call()) {
        for mapping in Mapping::ALL {
            let Some(event) = try_event(mapping, &body) else { continue };
            let again = try_event(mapping, &body).map(|event| all_encoded(mapping, &event));
            prop_assert_eq!(Some(all_encoded(mapping, &event)), again);
            for encoded in all_encoded(mapping, &event) {
                match encoded {
                    Ok(Encoded::Item(bytes)) => {
                        prop_assert!(bytes.len() <= limits::ITEM_BYTES);
                        let item: Value = serde_json::from_slice(&bytes).unwrap();
                        prop_assert!(item["type"] == "person" || item["type"] == "object");
                        prop_assert!(item["action"].is_string());
                    }
                    Ok(Encoded::Call { path, body, .. }) => {
                        prop_assert!(path.starts_with("/api/v1/"), "{path}");
                        prop_assert!(path.is_ascii() && !path.contains(['?', '#', ' ']), "{path}");
                        let dots = path.split('/').any(|part| part == "." || part == "..");
                        prop_assert!(!dots && !path.contains("//"), "{path}");
                        if let Some(body) = body {
                            let body: Value = serde_json::from_slice(&body).unwrap();
                            prop_assert!(body.is_object());
                        }
                    }
                    Err(error) => prop_assert!(!error.to_string().is_empty()),
                }
            }
        }
    }
}
