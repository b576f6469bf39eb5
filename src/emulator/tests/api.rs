//! The surface: credentials, shapes of errors, required keys, types, limits.

use super::*;

#[test]
fn credentials_must_be_there_and_be_right() {
    let open = Settings::default();
    let closed = Settings {
        site_id: Some("site".into()),
        api_key: Some(settings::ApiKey::new("key")),
        ..Settings::default()
    };
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let table = [
        ("no header", &open, None, 401),
        ("any pair where none is configured", &open, Some(basic("a:b")), 200),
        ("not a pair", &open, Some(basic("ab")), 401),
        ("not base64", &open, Some("Basic ?".into()), 401),
        ("another scheme", &open, Some("Bearer abc".into()), 401),
        ("the right pair", &closed, Some(basic("site:key")), 200),
        ("a wrong key", &closed, Some(basic("site:other")), 401),
        ("a wrong site", &closed, Some(basic("other:key")), 401),
        ("the scheme in small letters", &closed, Some(basic("site:key").to_lowercase()), 401),
    ];
    for (what, settings, header, expected) in table {
        for (method, path) in [("PUT", "/api/v1/customers/u"), ("GET", "/api/v1/accounts/region")] {
            let mut request = Request::new(method, path, "{}");
            if let Some(value) = &header {
                request = request.with_header("authorization", value);
            }
            let mut emulator = Emulator::new(settings.clone());
            let response = emulator.handle(&request, Time::from_secs(NOON));
            assert_eq!(response.status, expected, "{what}: {path}");
        }
    }
}

#[test]
fn delivery_metrics_need_no_credentials() {
    let body = json!({"delivery_id": "d", "metric": "opened", "timestamp": NOON});
    let request = Request::new("POST", "/api/v1/metrics", body.to_string());
    let mut emulator = Emulator::default();
    assert_eq!(emulator.handle(&request, Time::from_secs(NOON)).status, 200);
}

#[test]
fn credentials_are_not_kept() {
    let mut bench = Bench::new();
    bench.put("u", json!({}));
    let shown = serde_json::to_string(bench.emulator.requests().next().unwrap()).unwrap();
    assert!(shown.contains("(hidden)") && !shown.contains("c2l0ZTprZXk"), "{shown}");
    let settings =
        Settings { api_key: Some(settings::ApiKey::new("secret")), ..Settings::default() };
    assert!(!format!("{settings:?}").contains("secret"));
    assert!(!serde_json::to_string(&settings).unwrap().contains("secret"));
}

#[test]
fn errors_have_the_shape_of_the_api_that_was_called() {
    let mut bench = Bench::new();
    let v1 = bench.send("POST", "/api/v1/customers/u/events", &json!({}));
    assert_eq!(v1.status, 400);
    assert_eq!(v1.body_json(), json!({"meta": {"errors": ["name is required"]}}));

    let merge = bench.send("POST", "/api/v1/merge_customers", &json!({"primary": {"id": "a"}}));
    assert_eq!(merge.status, 400);
    assert_eq!(merge.body_json(), json!({"meta": {"error": "secondary is required"}}));

    let entity = bench.send("POST", "/api/v2/entity", &json!({"type": "person"}));
    assert_eq!(entity.status, 400);
    let error = json!({"reason": "required", "field": "action", "message": "is required"});
    assert_eq!(entity.body_json(), json!({"errors": [error]}));
}

#[test]
fn a_batch_accepts_its_valid_items_and_names_the_others() {
    let mut bench = Bench::new();
    let identify = |id: &str, plan: String| {
        json!({"type": "person", "action": "identify", "identifiers": {"id": id},
            "attributes": {"plan": plan}})
    };
    let batch = json!({"batch": [
        identify("a", "x".into()),
        identify("b", "x".repeat(1001)),
        identify("c", "x".repeat(1000)),
        17,
    ]});
    let response = bench.send("POST", "/api/v2/batch", &batch);
    assert_eq!(response.status, 207);
    let expected = json!({"errors": [
        {"reason": "invalid", "field": "attributes.plan",
         "message": "property value cannot be longer than 1000 bytes", "batch_index": 1},
        {"reason": "invalid", "field": "", "message": "must be an object, not a number",
         "batch_index": 3},
    ]});
    assert_eq!(response.body_json(), expected);
    let ids: Vec<_> = bench.emulator.people().into_iter().filter_map(|person| person.id).collect();
    assert_eq!(ids, ["a", "c"]);
    assert_eq!(bench.did(), [Did::CreatedPerson, Did::Rejected, Did::CreatedPerson, Did::Rejected]);
}

#[test]
fn a_malformed_batch_is_refused_as_a_whole() {
    let bodies = ["", "{", "[]", "{}", r#"{"batch":{}}"#, r#"{"batch":[]}"#, r#"{"batch":[{]}"#];
    for body in bodies {
        let mut bench = Bench::new();
        let request = Request::new("POST", "/api/v2/batch", body.to_owned())
            .with_header("authorization", "Basic c2l0ZTprZXk=");
        let response = bench.emulator.handle(&request, bench.now);
        assert_eq!(response.status, 400, "{body}");
        assert!(response.body_json()["errors"][0]["reason"].is_string(), "{body}");
    }
}

fn documented_v1_calls() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("PUT", "/api/v1/customers/u", json!({"email": "u@example.com", "_timestamp": NOON})),
        (
            "PUT",
            "/api/v1/customers/u",
            json!({"cio_relationships": {"action": "add_relationships",
            "relationships": [{"identifiers": {"object_type_id": "1", "object_id": "acme"}}]}}),
        ),
        ("POST", "/api/v1/customers/u/events", json!({"name": "E", "type": "page"})),
        ("POST", "/api/v1/events", json!({"name": "E", "anonymous_id": "a"})),
        (
            "POST",
            "/api/v1/events",
            json!({"name": "Invited", "data": {"recipient": "x@example.com"}}),
        ),
        (
            "PUT",
            "/api/v1/customers/u/devices",
            json!({"device": {"id": "t", "platform": "ios",
            "last_used": NOON, "attributes": {"app_version": "1"}}}),
        ),
        ("DELETE", "/api/v1/customers/u/devices/t", json!({})),
        ("POST", "/api/v1/customers/u/suppress", json!({})),
        ("POST", "/api/v1/customers/u/unsuppress", json!({})),
        (
            "POST",
            "/api/v1/merge_customers",
            json!({"primary": {"id": "u"}, "secondary": {"cio_id": "9"}}),
        ),
        (
            "POST",
            "/api/v1/push/events",
            json!({"delivery_id": "d", "event": "opened",
            "device_id": "t", "timestamp": NOON}),
        ),
        (
            "POST",
            "/api/v1/segments/7/add_customers?id_type=email",
            json!({"ids": ["x@example.com"]}),
        ),
        ("POST", "/api/v1/segments/7/remove_customers", json!({"ids": ["u"]})),
        ("DELETE", "/api/v1/customers/u", json!({})),
    ]
}

fn documented_v2_items() -> Vec<Value> {
    let who = json!({"id": "u"});
    let device = json!({"token": "t", "platform": "android"});
    let acme = json!({"object_type_id": "1", "object_id": "acme"});
    let related = json!([{"identifiers": acme, "relationship_attributes": {"role": "admin"}}]);
    let members = json!([{"identifiers": who}]);
    vec![
        json!({"type": "person", "action": "identify", "identifiers": {"phone": "+15551234567"}}),
        json!({"type": "person", "action": "event", "identifiers": who, "name": "E", "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}),
        json!({"type": "person", "action": "page", "identifiers": who, "name": "https://example.com/"}),
        json!({"type": "person", "action": "screen", "identifiers": who, "name": "Home"}),
        json!({"type": "person", "action": "event", "identifiers": {"anonymous_id": "a"}, "name": "E"}),
        json!({"type": "person", "action": "viewed_content", "identifiers": who, "name": "viewed_content"}),
        json!({"type": "person", "action": "add_device", "identifiers": who, "device": device}),
        json!({"type": "person", "action": "delete_device", "identifiers": who, "device": {"token": "t"}}),
        json!({"type": "person", "action": "add_relationships", "identifiers": who, "cio_relationships": related}),
        json!({"type": "person", "action": "delete_relationships", "identifiers": who, "cio_relationships": related}),
        json!({"type": "person", "action": "merge", "primary": who, "secondary": {"email": "x@example.com"}}),
        json!({"type": "person", "action": "suppress", "identifiers": {"email": "y@example.com"}}),
        json!({"type": "person", "action": "unsuppress", "identifiers": {"email": "y@example.com"}}),
        json!({"type": "object", "action": "identify", "identifiers": acme, "attributes": {"a": 1}, "cio_relationships": members}),
        json!({"type": "object", "action": "identify_anonymous", "identifiers": acme,
            "cio_relationships": [{"identifiers": {"anonymous_id": "b"}}]}),
        json!({"type": "object", "action": "delete_relationships", "identifiers": acme, "cio_relationships": members}),
        json!({"type": "object", "action": "delete", "identifiers": {"cio_object_id": "ob00000001"}}),
        json!({"type": "delivery", "action": "event", "identifiers": {"id": "d"}, "name": "opened"}),
        json!({"type": "person", "action": "delete", "identifiers": who}),
    ]
}

#[test]
fn every_documented_call_is_accepted() {
    let mut bench = Bench::new();
    for (method, path, body) in documented_v1_calls() {
        bench.ok(method, path, body);
    }
    let form = bench.send(
        "POST",
        "/api/v1/forms/f/submit",
        &json!({"data": {"email": "f@example.com", "n": "x"}}),
    );
    assert_eq!((form.status, form.body.len()), (204, 0));
    assert_eq!(bench.person("f@example.com").attribute("n"), "x");

    for item in documented_v2_items() {
        bench.item(item.clone());
        bench.ok("POST", "/api/v2/entity", item);
    }
}

#[test]
fn what_the_specification_forbids_is_refused() {
    let long = |bytes: usize| "x".repeat(bytes);
    let many: serde_json::Map<String, Value> =
        (0..301).map(|n| (format!("a{n}"), json!(n))).collect();
    #[rustfmt::skip]
    let v1 = [
        ("a body that is no object", "PUT", "/api/v1/customers/u", json!([])),
        ("a text for a time", "PUT", "/api/v1/customers/u", json!({"_timestamp": "1773489600"})),
        ("null for a time", "POST", "/api/v1/customers/u/events", json!({"name": "E", "timestamp": null})),
        ("a fraction of a second", "POST", "/api/v1/customers/u/events", json!({"name": "E", "timestamp": 1.5})),
        ("a text for a boolean", "PUT", "/api/v1/customers/u", json!({"_update": "true"})),
        ("a number for an e-mail address", "PUT", "/api/v1/customers/u", json!({"email": 1})),
        ("a long attribute name", "PUT", "/api/v1/customers/u", json!({long(151): 1})),
        ("a long attribute value", "PUT", "/api/v1/customers/u", json!({"a": long(1001)})),
        ("a long attribute value of another type", "PUT", "/api/v1/customers/u", json!({"a": [long(1000)]})),
        ("too many attributes", "PUT", "/api/v1/customers/u", Value::Object(many)),
        ("no name", "POST", "/api/v1/customers/u/events", json!({"data": {}})),
        ("a blank name", "POST", "/api/v1/customers/u/events", json!({"name": " "})),
        ("a long event name", "POST", "/api/v1/customers/u/events", json!({"name": long(101)})),
        ("another type of event", "POST", "/api/v1/customers/u/events", json!({"name": "E", "type": "click"})),
        ("data that is no object", "POST", "/api/v1/customers/u/events", json!({"name": "E", "data": []})),
        ("too much data", "POST", "/api/v1/customers/u/events", json!({"name": "E", "data": {"x": long(100_000)}})),
        ("a device without token", "PUT", "/api/v1/customers/u/devices", json!({"device": {"platform": "ios"}})),
        ("the token under v2's key", "PUT", "/api/v1/customers/u/devices", json!({"device": {"token": "t", "platform": "ios"}})),
        ("a device without platform", "PUT", "/api/v1/customers/u/devices", json!({"device": {"id": "t"}})),
        ("a merge of two primaries", "POST", "/api/v1/merge_customers", json!({"primary": {"id": "a", "email": "a@b.c"}, "secondary": {"id": "b"}})),
        ("a merge with a visitor", "POST", "/api/v1/merge_customers", json!({"primary": {"id": "a"}, "secondary": {"anonymous_id": "b"}})),
        ("an unknown metric", "POST", "/api/v1/metrics", json!({"delivery_id": "d", "metric": "liked"})),
        ("too many ids", "POST", "/api/v1/segments/7/add_customers", json!({"ids": vec!["x"; 1001]})),
        ("a form for two", "POST", "/api/v1/forms/f/submit", json!({"data": {"id": "a", "email": "a@b.c"}})),
        ("a form with numbers", "POST", "/api/v1/forms/f/submit", json!({"data": {"id": "a", "n": 1}})),
    ];
    for (what, method, path, body) in v1 {
        let mut bench = Bench::new();
        let response = bench.send(method, path, &body);
        assert_eq!(response.status, 400, "{what}: {}", response.body_json());
        assert!(bench.emulator.people().is_empty(), "{what}");
        assert_eq!(bench.did(), [Did::Rejected], "{what}");
    }
    let mut bench = Bench::new();
    let path = format!("/api/v1/customers/{}", long(151));
    assert_eq!(bench.send("PUT", &path, &json!({})).status, 400, "a long id");

    #[rustfmt::skip]
    let v2 = [
        ("no identifiers", "identifiers", json!({"type": "person", "action": "identify"})),
        ("two identifiers", "identifiers", json!({"type": "person", "action": "identify", "identifiers": {"id": "a", "email": "a@b.c"}})),
        ("no identifier", "identifiers", json!({"type": "person", "action": "identify", "identifiers": {}})),
        ("a number for an id", "identifiers.id", json!({"type": "person", "action": "identify", "identifiers": {"id": 42}})),
        ("a blank id", "identifiers.id", json!({"type": "person", "action": "delete", "identifiers": {"id": " "}})),
        ("a long id", "identifiers.id", json!({"type": "person", "action": "delete", "identifiers": {"id": long(151)}})),
        ("a local phone number", "identifiers.phone", json!({"type": "person", "action": "delete", "identifiers": {"phone": "5551234567"}})),
        ("an unknown type", "type", json!({"type": "company", "action": "identify", "identifiers": {"id": "a"}})),
        ("an unknown action", "action", json!({"type": "person", "action": "track", "identifiers": {"id": "a"}})),
        ("an action of another type", "action", json!({"type": "object", "action": "event", "identifiers": {"object_type_id": "1", "object_id": "o"}})),
        ("an ISO time", "timestamp", json!({"type": "person", "action": "event", "name": "E", "identifiers": {"id": "a"}, "timestamp": "2026-03-14T12:00:00Z"})),
        ("no name", "name", json!({"type": "person", "action": "event", "identifiers": {"id": "a"}})),
        ("a long event name", "name", json!({"type": "person", "action": "event", "identifiers": {"id": "a"}, "name": long(101)})),
        ("the token under v1's key", "device.token", json!({"type": "person", "action": "add_device", "identifiers": {"id": "a"}, "device": {"id": "t", "platform": "ios"}})),
        ("an object without type", "identifiers.object_type_id", json!({"type": "object", "action": "identify", "identifiers": {"object_id": "o"}})),
        ("relationships as v1 has them", "cio_relationships", json!({"type": "person", "action": "identify", "identifiers": {"id": "a"}, "cio_relationships": {"action": "add_relationships", "relationships": []}})),
        ("an item that is too big", "", json!({"type": "person", "action": "event", "identifiers": {"id": "a"}, "name": "E", "attributes": {"x": long(32_000)}})),
    ];
    for (what, field, item) in v2 {
        let mut bench = Bench::new();
        let response = bench.send("POST", "/api/v2/batch", &json!({ "batch": [item] }));
        assert_eq!(response.status, 207, "{what}");
        assert_eq!(response.body_json()["errors"][0]["field"], field, "{what}");
        let response = bench.send("POST", "/api/v2/entity", &item);
        assert_eq!(response.status, 400, "{what}");
        assert_eq!(response.body_json()["errors"][0]["field"], field, "{what}");
        assert!(bench.emulator.people().is_empty(), "{what}");
    }
}

#[test]
fn limits_hold_to_the_byte() {
    let long = |bytes: usize| "x".repeat(bytes);
    let mut bench = Bench::new();
    bench.put(&long(150), json!({ long(150): "ä".repeat(500) }));
    bench.ok(
        "POST",
        "/api/v1/customers/u/events",
        json!({"name": long(100), "data": {"x": long(99_992)}}),
    );
    bench.ok("POST", "/api/v1/customers/u/events", json!({"name": long(500), "type": "page"}));

    let item = |bytes: usize| {
        let item = json!({"type": "person", "action": "event", "identifiers": {"id": "a"}, "name": "E",
            "attributes": {"x": ""}});
        let padding = bytes - item.to_string().len();
        let mut item = item;
        item["attributes"]["x"] = long(padding).into();
        item
    };
    bench.ok("POST", "/api/v2/entity", item(32_000));
    assert_eq!(bench.send("POST", "/api/v2/entity", &item(32_001)).status, 400);
    let mut bench = Bench::with(|settings| settings.kilobyte = 1024);
    bench.ok("POST", "/api/v2/entity", item(32_768));
    assert_eq!(bench.send("POST", "/api/v2/entity", &item(32_769)).status, 400);

    let mut bench = Bench::new();
    let batch = |items: usize, bytes: usize| json!({"batch": vec![item(bytes); items]});
    assert_eq!(batch(15, 32_000).to_string().len(), 480_026);
    bench.ok("POST", "/api/v2/batch", batch(15, 32_000));
    assert_eq!(bench.send("POST", "/api/v2/batch", &batch(16, 32_000)).status, 400);
}

#[test]
fn what_senders_do_outside_the_specification_is_a_switch() {
    let items = [
        json!({"type": "person", "action": "page", "identifiers": {"anonymous_id": "a"}, "name": "P"}),
        json!({"type": "person", "action": "clicked_content", "identifiers": {"id": "a"}, "name": "C"}),
        json!({"type": "person", "action": "add_device", "identifiers": {"id": "a"}, "device": {"token": "t", "platform": "macos"}}),
    ];
    for item in items {
        let mut bench = Bench::new();
        bench.item(item.clone());
        assert!(
            bench
                .emulator
                .activity()
                .any(|entry| entry.notes.contains(&operation::Note::Undocumented))
        );
        let mut bench =
            Bench::with(|settings| settings.undocumented = settings::Undocumented::Reject);
        assert_eq!(bench.send("POST", "/api/v2/entity", &item).status, 400, "{item}");
    }
}

#[test]
fn plausible_mistakes_are_accepted_and_noted() {
    use operation::Note;
    let event = |key: &str, value: Value| {
        let mut body = json!({"name": "E"});
        body[key] = value;
        ("POST", "/api/v1/customers/u/events", body)
    };
    let attributes = |body: Value| ("PUT", "/api/v1/customers/u", body);
    #[rustfmt::skip]
    let table = [
        ("milliseconds", event("timestamp", json!(NOON * 1000)), Some(Note::TimeInMilliseconds)),
        ("before 1970", event("timestamp", json!(-473_385_600)), Some(Note::TimeBefore1970)),
        ("a UUID as event id", event("id", json!("0b9a7a3c-5d1e-4c53-9d0a-6f3b1c2d4e5f")), Some(Note::EventIdIsNotUlid)),
        ("26 characters beyond 128 bits", event("id", json!("81ARZ3NDEKTSV4RRFFQ69G5FAV")), Some(Note::EventIdIsNotUlid)),
        ("a ULID", event("id", json!("01ARZ3NDEKTSV4RRFFQ69G5FAV")), None),
        ("an ISO created_at", attributes(json!({"created_at": "2026-03-14T12:00:00Z"})), Some(Note::CreatedAtIsNotSeconds)),
        ("created_at in milliseconds", attributes(json!({"created_at": NOON * 1000})), Some(Note::TimeInMilliseconds)),
        ("created_at in digits", attributes(json!({"created_at": NOON.to_string()})), None),
        ("a blank e-mail address", attributes(json!({"email": ""})), Some(Note::BlankIdentifier)),
        ("nothing odd", attributes(json!({"a": 1, "_timestamp": NOON})), None),
    ];
    for (what, (method, path, body), note) in table {
        let mut bench = Bench::new();
        bench.ok(method, path, body);
        let entry = bench.emulator.activity().next().unwrap();
        assert_eq!(entry.notes, note.into_iter().collect::<Vec<_>>(), "{what}");
    }
    let item = json!({"type": "person", "action": "identify", "identifiers": {"id": "u"},
        "attributes": {"_timestamp": NOON}});
    let mut bench = Bench::new();
    bench.item(item);
    assert_eq!(bench.emulator.activity().next().unwrap().notes, [Note::OrderingFieldIgnored]);
    assert_eq!(bench.person("u").attribute("_timestamp"), &Value::Null);
}

#[test]
fn the_region_probe_names_the_emulator_itself() {
    let request = Request::new("GET", "/api/v1/accounts/region", "")
        .with_header("authorization", "Basic c2l0ZTprZXk=")
        .with_header("Host", "127.0.0.1:8090");
    let mut bench = Bench::with(|settings| settings.region = Region::Eu);
    let response = bench.emulator.handle(&request, bench.now);
    let expected = json!({"url": "http://127.0.0.1:8090", "region": "eu", "environment_id": 1});
    assert_eq!((response.status, response.body_json()), (200, expected));
}

#[test]
fn an_unknown_path_and_a_wrong_method_change_nothing() {
    let mut bench = Bench::new();
    assert_eq!(bench.send("POST", "/v1/identify", &json!({})).status, 404);
    assert_eq!(bench.send("GET", "/api/v1/customers/u", &json!({})).status, 405);
    assert_eq!(bench.send("PUT", "/api/v1/customers/..", &json!({})).status, 404);
    assert!(bench.emulator.people().is_empty());
    let statuses: Vec<_> = bench.emulator.requests().map(|request| request.status).collect();
    assert_eq!(statuses, [404, 405, 404]);
}
