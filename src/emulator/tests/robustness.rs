//! Whatever comes is answered.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Pieces from which requests are made that get past the first checks.
fn paths() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "/api/v1/customers/u",
        "/api/v1/customers/a%40b.c",
        "/api/v1/customers/cio_03000001",
        "/api/v1/customers/u/events",
        "/api/v1/customers/u/devices",
        "/api/v1/customers/u/devices/t",
        "/api/v1/customers/u/suppress",
        "/api/v1/customers/u/unsuppress",
        "/api/v1/events",
        "/api/v1/merge_customers",
        "/api/v1/metrics",
        "/api/v1/push/events",
        "/api/v1/forms/f/submit",
        "/api/v1/segments/1/add_customers?id_type=email",
        "/api/v1/accounts/region",
        "/api/v2/entity",
        "/api/v2/batch",
        "/emulator",
        "/emulator/people?since=1&limit=2",
        "/emulator/people/u",
        "/emulator/activity",
        "/emulator/faults",
        "/emulator/requests",
    ])
    .prop_map(str::to_owned);
    prop_oneof![8 => known, 1 => ".*", 1 => "/api/v1/customers/[^ ]{0,20}"]
}

fn methods() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["GET", "PUT", "POST", "DELETE", "PATCH", ""])
}

fn leaves() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        prop::sample::select(vec![
            "",
            " ",
            "u",
            "v",
            "a@b.c",
            "03000001",
            "person",
            "object",
            "identify",
            "event",
            "merge",
            "page",
            "delete",
            "suppress",
            "unsuppress",
            "add_device",
            "identify_anonymous",
            "ios",
            "add_relationships",
            "delete_relationships",
            "1",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        ])
        .prop_map(Value::from),
        ".*".prop_map(Value::from),
    ]
}

fn keys() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "type",
        "action",
        "identifiers",
        "attributes",
        "id",
        "email",
        "phone",
        "cio_id",
        "anonymous_id",
        "name",
        "timestamp",
        "_timestamp",
        "_update",
        "created_at",
        "data",
        "device",
        "token",
        "platform",
        "primary",
        "secondary",
        "cio_relationships",
        "relationships",
        "object_type_id",
        "object_id",
        "relationship_attributes",
        "ids",
        "delivery_id",
        "metric",
        "cio_subscription_preferences",
        "cio_subscription_preferences.topics.topic_1",
        "when",
        "steps",
        "status",
        "last_used",
    ])
    .prop_map(str::to_owned);
    prop_oneof![9 => known, 1 => ".*"]
}

fn trees() -> impl Strategy<Value = Value> {
    leaves().prop_recursive(4, 48, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((keys(), inner), 0..8).prop_map(|pairs| pairs.into_iter().collect()),
        ]
    })
}

/// Items that are nearly right, so that the workspace is reached.
fn items() -> impl Strategy<Value = Value> {
    let person = prop::sample::select(vec![
        json!({"id": "u"}),
        json!({"id": "w"}),
        json!({"email": "A@b.c"}),
        json!({"email": "d@e.f"}),
        json!({"phone": "+15551234567"}),
        json!({"cio_id": "03000001"}),
        json!({"cio_id": "03000002"}),
        json!({"anonymous_id": "v"}),
        json!({"anonymous_id": "x"}),
    ]);
    let object = json!({"object_type_id": "1", "object_id": "o"});
    let action = prop::sample::select(vec![
        "identify",
        "event",
        "page",
        "delete",
        "add_device",
        "delete_device",
        "merge",
        "suppress",
        "unsuppress",
        "add_relationships",
        "delete_relationships",
        "identify_anonymous",
    ]);
    let kind = prop::sample::select(vec!["person", "person", "person", "object"]);
    let seconds = prop_oneof![Just(None), (NOON - 4_000_000..NOON + 1000).prop_map(Some)];
    let name = prop::sample::select(vec!["A", "B", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]);
    (kind, action, person.clone(), person, seconds, name, trees()).prop_map(
        move |(kind, action, who, other, seconds, name, tree)| {
            let mut attributes = other.clone();
            if let (Some(attributes), Value::Object(tree)) = (attributes.as_object_mut(), tree) {
                attributes.extend(tree);
            }
            let related = if kind == "object" { &other } else { &object };
            let mut item = json!({"type": kind, "action": action, "name": name,
                "identifiers": if kind == "object" { &object } else { &who },
                "attributes": attributes, "primary": who, "secondary": other,
                "device": {"token": name, "platform": "ios"},
                "cio_relationships": [{"identifiers": related}]});
            if name.len() == 26 {
                item["id"] = name.into();
            }
            if let Some(seconds) = seconds {
                item["timestamp"] = seconds.into();
            }
            item
        },
    )
}

fn request() -> impl Strategy<Value = (String, String, Vec<u8>)> {
    let anything = (
        methods(),
        paths(),
        prop_oneof![
            vec(any::<u8>(), 0..200),
            trees().prop_map(|tree| tree.to_string().into_bytes()),
        ],
    )
        .prop_map(|(method, path, body)| (method.to_owned(), path, body));
    let batch = vec(items(), 1..6).prop_map(|items| {
        (
            "POST".to_owned(),
            "/api/v2/batch".to_owned(),
            json!({ "batch": items }).to_string().into_bytes(),
        )
    });
    prop_oneof![anything, batch]
}

/// What must hold in any workspace.
fn check(emulator: &Emulator) -> Result<(), TestCaseError> {
    let people = emulator.people();
    for person in &people {
        for text in
            [Some(&person.cio_id), person.id.as_ref(), person.email.as_ref(), person.phone.as_ref()]
        {
            let Some(text) = text else { continue };
            let found = emulator.person(text).map(|found| found.cio_id);
            prop_assert!(found.is_some(), "nobody is found by {text}");
        }
        for event in &person.events {
            prop_assert_eq!(event.cio_id.as_deref(), Some(person.cio_id.as_str()));
        }
    }
    let on_people: usize = people.iter().map(|person| person.events.len()).sum();
    let owned = emulator.events().filter(|event| event.cio_id.is_some()).count();
    prop_assert_eq!(on_people, owned, "every event of a person is on exactly one timeline");
    let mut ids: Vec<_> = emulator.events().filter_map(|event| event.id.as_ref()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    prop_assert!(ids.len() == all || emulator.settings().dedupe != settings::Dedupe::Any);
    for object in emulator.objects() {
        for cio_id in object.people.keys() {
            prop_assert!(
                people.iter().any(|person| person.cio_id == *cio_id),
                "a stranger is related"
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_sequence_of_requests_is_answered_and_keeps_people_and_events_together(
        requests in vec((request(), 0..7200u64), 1..20),
        strict in any::<bool>(),
    ) {
        let mut bench = Bench::with(|settings| {
            settings.dedupe = settings::Dedupe::Any;
            settings.history.events = 12;
            if strict {
                settings.stale = settings::Stale::Attribute;
                settings.conflict = settings::Conflict::Call;
                settings.anonymous_reuse = settings::AnonymousReuse::Moves;
                settings.reidentify = settings::Reidentify::Once;
            }
        });
        for ((method, path, body), seconds) in requests {
            bench.later(Duration::from_secs(seconds));
            let request = Request::new(&method, &path, body)
                .with_header("authorization", "Basic c2l0ZTprZXk=");
            let response = bench.emulator.handle(&request, bench.now);
            prop_assert!((200..600).contains(&response.status));
            if response.status != 204 && response.fault == Fault::default() {
                let body: Result<Value, _> = serde_json::from_slice(&response.body);
                prop_assert!(body.is_ok() || !response.headers.iter().any(|(name, _)| name == "content-type"));
            }
            check(&bench.emulator)?;
        }
    }
}
