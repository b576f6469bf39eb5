//! What the emulator shows of itself.

use super::*;

#[test]
fn every_view_shows_what_its_name_says() {
    let mut bench = Bench::new();
    bench.put("a%2Fb", json!({"email": "ann@example.com", "x": 1}));
    bench.ok(
        "POST",
        "/api/v1/customers/a%2Fb/events",
        json!({"name": "E", "timestamp": NOON, "data": {"n": 49.00}}),
    );
    let mut get = |path: &str| {
        let response = bench.send("GET", path, &json!({}));
        assert_eq!(response.status, 200, "{path}");
        response.body_json()
    };
    let people = get("/emulator/people");
    assert_eq!(
        (&people["people"][0]["id"], &people["people"][0]["events"]),
        (&json!("a/b"), &json!(1))
    );
    for who in ["a%2Fb", "ANN%40example.com", "03000001", "cio_03000001"] {
        let person = get(&format!("/emulator/people/{who}"));
        assert_eq!(person["attributes"]["x"], 1, "{who}");
        assert_eq!(person["events"][0]["name"], "E", "{who}");
    }
    let activity = get("/emulator/activity?since=1");
    assert_eq!(activity["activity"][0]["event"]["could_trigger"], true);
    assert_eq!(activity["activity"][0]["event"]["time"], "2026-03-14T12:00:00.000Z");
    assert_eq!((&activity["next"], &activity["forgotten"]), (&json!(2), &json!(0)));
    assert_eq!(get("/emulator/events")["events"][0]["data"]["n"].to_string(), "49.0");
    let requests = get("/emulator/requests?limit=1");
    assert_eq!(requests["requests"][0]["body"]["x"], 1);
    assert_eq!(requests["next"], 1);
    assert_eq!(get("/emulator/settings")["stale"], "profile");
    assert_eq!(get("/emulator")["people"], 1);
    assert_eq!(get("/emulator/objects")["objects"], json!([]));
}

#[test]
fn the_cart_reminders_of_a_person_can_be_asked_for() {
    let mut bench = Bench::new();
    bench.event("1", "Added to Cart", NOON).event("1", "Viewed", NOON).later(hours(5));
    let mut runs = |query: &str| {
        let path = format!("/emulator/people/1/reminders{query}");
        let response = bench.send("GET", &path, &json!({}));
        (response.status, response.body_json()["runs"].clone())
    };
    let (status, cart) = runs("");
    assert_eq!((status, &cart[0]["state"]), (200, &json!("sent")));
    assert_eq!(cart[0]["due"], "2026-03-14T16:00:00.000Z");
    assert_eq!(cart[0]["started_by"]["event"], "Added to Cart");
    assert_eq!(runs("?hours=6").1[0]["state"], "waiting");
    assert_eq!(
        runs("?start=Added%20to%20Cart,Viewed&hours=0.5").1.as_array().map(Vec::len),
        Some(2)
    );
    let stopped = &runs("?stop=Viewed").1[0]["stopped_by"];
    assert_eq!((&stopped["seq"], &stopped["event"]), (&json!(2), &json!("Viewed")));
    assert_eq!(stopped["happened"], "2026-03-14T12:00:00.000Z");
    assert_eq!(runs("?hours=-1").0, 400);
    assert_eq!(bench.send("GET", "/emulator/people/9/reminders", &json!({})).status, 404);
}

#[test]
fn a_list_is_continued_where_it_ended() {
    let mut bench = Bench::new();
    for n in 0..5 {
        bench.put(&format!("u{n}"), json!({}));
    }
    for name in ["activity", "requests", "people"] {
        let mut seen = 0;
        let mut since = json!(0);
        for _ in 0..4 {
            let page = bench
                .send("GET", &format!("/emulator/{name}?limit=2&since={since}"), &json!({}))
                .body_json();
            seen += page[name].as_array().map_or(0, Vec::len);
            since = page["next"].clone();
        }
        assert_eq!((seen, &since), (5, &json!(5)), "{name}");
    }
}

#[test]
fn a_reset_forgets_everything_and_starts_the_faults_again() {
    let mut bench =
        Bench::with(|settings| settings.faults = vec![FaultRule::parse("ok, 500").unwrap()]);
    bench.put("u", json!({}));
    assert_eq!(bench.send("DELETE", "/emulator", &json!({})).status, 200);
    assert!(bench.emulator.people().is_empty());
    assert_eq!(bench.emulator.activity().count() + bench.emulator.requests().count(), 0);
    bench.put("u", json!({}));
    assert_eq!(bench.person("u").cio_id, "03000001");
    assert_eq!(bench.send("PUT", "/api/v1/customers/u", &json!({})).status, 500);
}

#[test]
fn views_that_are_not_there_say_so() {
    let mut bench = Bench::new();
    for (method, path, status) in [
        ("GET", "/emulator/people/nobody", 404),
        ("GET", "/emulator/peple", 404),
        ("POST", "/emulator/people", 405),
        ("DELETE", "/emulator/people/u", 405),
    ] {
        assert_eq!(bench.send(method, path, &json!({})).status, status, "{method} {path}");
    }
}

#[test]
fn history_is_bounded_and_says_what_it_forgot() {
    let mut bench = Bench::with(|settings| {
        settings.history.requests = 3;
        settings.history.activity = 4;
    });
    for n in 0..10 {
        bench.put(&format!("u{n}"), json!({}));
    }
    let seqs: Vec<_> = bench.emulator.requests().map(|request| request.seq).collect();
    assert_eq!(seqs, [8, 9, 10]);
    assert_eq!(bench.emulator.activity().count(), 4);
    let view = bench.send("GET", "/emulator/requests", &json!({})).body_json();
    assert_eq!(view["forgotten"], 7);

    let mut bench = Bench::with(|settings| settings.history.request_bytes = 1000);
    for _ in 0..10 {
        bench.put("u", json!({"x": "y".repeat(400)}));
    }
    assert_eq!(bench.emulator.requests().count(), 2);
}

#[test]
fn a_full_emulator_says_so_instead_of_forgetting_people() {
    let mut bench = Bench::with(|settings| settings.history.profiles = 2);
    bench.put("a", json!({})).put("b", json!({}));
    let response = bench.send("PUT", "/api/v1/customers/c", &json!({}));
    assert_eq!(response.status, 503);
    assert_eq!(bench.emulator.people().len(), 2);
}
