//! `segue replay --against`: what other scripts change about recorded events.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::offline::{desk, segue, write};

/// A folder of scripts with one stage.
fn scripts(folder: &Path, name: &str, script: &str) {
    std::fs::create_dir(folder.join(name)).unwrap();
    std::fs::write(folder.join(name).join("10_test.rhai"), script).unwrap();
}

const OLD: &str = r#"
fn on_track(event, ctx) {
    if event.event == "Gone" { return drop("internal"); }
    if event.event == "Broken" { fail("no"); }
    event.properties.stays = 1;
    event
}
"#;

const NEW: &str = r#"
fn on_track(event, ctx) {
    event.properties.stays = 1.0;
    switch event.event {
        "Noise" => return drop("noise"),
        "Fragile" => fail("no"),
        "Purchase" => event.event = "Order Completed",
        "Basket" => return [event, event.copy()],
        "Guest" => event.identify_as(#{email: event.properties.email}),
        "Order" => event.dedupe_by("order", event.properties.id),
        "Late" => event.event = "Added to Cart",
        _ => {}
    }
    if event.event == "Values" {
        event.properties.total = 49;
        event.properties.currency = "USD";
        event.properties.fresh = true;
        event.properties.remove("stale");
        for product in event.properties.products { product.price = 2; }
    }
    event
}
"#;

fn recording() -> String {
    let track = |name: &str, properties: Value| {
        json!({"type": "track", "event": name, "messageId": name, "userId": "u-1",
            "timestamp": "2026-01-15T11:59:00Z", "properties": properties})
    };
    let mut guest = track("Guest", json!({"email": "ann@shop.example.org"}));
    guest.as_object_mut().unwrap().remove("userId");
    guest["anonymousId"] = "a-1".into();
    let mut late = track("Late", json!({}));
    late["timestamp"] = "2026-01-15T08:00:00Z".into();
    let values = json!({"total": "49", "currency": "usd", "stale": 1, "email": "ann@shop.example.org",
        "products": [{"price": 1}, {"price": 1}]});
    let events = [
        track("Gone", json!({})),
        track("Broken", json!({})),
        track("Noise", json!({})),
        track("Fragile", json!({})),
        track("Purchase", json!({})),
        track("Basket", json!({})),
        guest,
        track("Order", json!({"id": 7})),
        late,
        track("Values", values),
        track("Same", json!({"list": [1, {"a": null}]})),
    ];
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    lines.join("\n")
}

#[test]
fn every_kind_of_difference_is_counted_by_event_and_path() {
    let desk = desk();
    scripts(desk.path(), "old", OLD);
    scripts(desk.path(), "new", NEW);
    std::fs::write(desk.path().join("all.ndjson"), recording()).unwrap();
    let run = |more: &[&str]| {
        let mut args = vec!["replay", "all.ndjson", "--transforms", "new", "--against", "old"];
        args.extend(["--at", "2026-01-15T12:00:00Z"]);
        args.extend(more);
        segue(desk.path(), &args)
    };
    let found: Value = serde_json::from_str(&run(&["--json"]).out).unwrap();
    assert_eq!(found["events"], 11);
    assert_eq!(found["differ"], 10);
    let rows: BTreeMap<(&str, &str), &str> = found["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap();
            assert_eq!(row["count"], 1, "{row}");
            ((text("event"), text("path")), text("kind"))
        })
        .collect();
    #[rustfmt::skip]
    let expected = [
        ("track Gone", "internal", "no-longer-dropped"),
        ("track Broken", "script_failed 10_test.rhai:4", "no-longer-failed"),
        ("track Noise", "noise", "dropped"),
        ("track Fragile", "script_failed 10_test.rhai:6", "failed"),
        ("track Purchase", "to Order Completed", "renamed"),
        ("track Basket", "1 → 2 events", "split"),
        ("track Guest", "anonymous → email", "person-changed"),
        ("track Order", "none → order", "key-changed"),
        ("track Late", "to Added to Cart", "renamed"),
        ("track Late", "delivered → parked", "outcome-changed"),
        ("track Values", "properties.total", "type-change"),
        ("track Values", "properties.currency", "value"),
        ("track Values", "properties.fresh", "added"),
        ("track Values", "properties.stale", "removed"),
        ("track Values", "properties.products[].price", "value"),
    ];
    let expected: BTreeMap<(&str, &str), &str> =
        expected.into_iter().map(|(event, path, kind)| ((event, path), kind)).collect();
    assert_eq!(rows, expected);

    let text = run(&[]).out;
    assert!(text.contains("Values: \"49\" → 49"), "{text}");
    assert!(!text.contains("ann@shop"), "{text}");
    assert!(run(&["--unmasked"]).out.contains("ann@shop"));
    #[rustfmt::skip]
    let table = [
        ("nothing is asked for", vec![], 0, ""),
        ("a kind that is there", vec!["--fail-on", "dropped,type-change"], 1, "failed on dropped (1), type-change (1)"),
        ("any", vec!["--fail-on", "any"], 1, "failed on"),
        ("no such kind", vec!["--fail-on", "droped"], 2, "dropped, no-longer-dropped"),
    ];
    for (what, more, code, said) in table {
        let done = run(&more);
        assert_eq!(done.code, code, "{what}: {}", done.err);
        assert!(
            format!("{}{}", done.out, done.err).contains(said),
            "{what}: {}{}",
            done.out,
            done.err
        );
    }
    let same = segue(
        desk.path(),
        &["replay", "all.ndjson", "--transforms", "new", "--against", "new", "--fail-on", "any"],
    );
    assert_eq!(same.code, 0, "scripts against themselves: {}", same.out);
}

#[test]
fn scripts_can_be_compared_with_none_also_over_what_segue_recorded_and_in_gzip() {
    let desk = desk();
    let order = json!({"type": "track", "event": "orderCompleted", "messageId": "m1", "userId": "u-1",
        "timestamp": "2026-01-15T11:59:00Z", "properties": {"orderId": 1, "order_total": "$49.00"}});
    let line = json!({
        "dead_letter": {"seq": 7},
        "arrival": {"source": "rudderstack", "ingress": "webhook", "accepted_at": 1_768_478_400_000_i64},
        "payload": order,
    });
    write(desk.path(), "dead.ndjson", &line);
    let compress = std::process::Command::new("gzip").arg(desk.path().join("dead.ndjson")).status();
    assert!(compress.unwrap().success());
    let args = ["replay", "dead.ndjson.gz", "--against", "none", "--at", "2026-01-15T12:00:00Z"];

    let done = segue(desk.path(), &args);

    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("1 events, scripts none → "), "{}", done.out);
    assert!(
        done.out.contains("track orderCompleted\n        1  renamed           to Order Completed"),
        "{}",
        done.out
    );
    assert!(done.out.contains("properties.order_total"), "{}", done.out);
}
