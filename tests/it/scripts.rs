//! Scripts that go wrong cost their own event, with a place to look at, and a fix brings it back.

use std::path::Path;
use std::sync::Arc;

use segue::app::App;
use segue::clock::SystemClock;
use segue::journal::DeadFilter;
use segue::outcome::DeadCode;
use serde_json::json;

use crate::support::{self, Segue, eventually, track};

/// A folder with one stage and nothing else.
fn scripts(folder: &Path, script: &str) {
    let transforms = folder.join("transforms");
    std::fs::create_dir_all(&transforms).unwrap();
    std::fs::write(transforms.join("transforms.toml"), "[[stage]]\nfile = \"10_mine\"\n").unwrap();
    std::fs::write(transforms.join("10_mine.rhai"), script).unwrap();
}

/// One fixture beside them.
fn fixture(folder: &Path) {
    let fixtures = folder.join("fixtures");
    std::fs::create_dir(&fixtures).unwrap();
    let case = json!({"name": "a quiz stays a quiz", "source": "web",
        "input": {"type": "track", "event": "Quiz", "userId": "u"},
        "expect": {"outcome": "delivered", "events": [{"$match": "contains", "event": "Quiz"}]}});
    std::fs::write(fixtures.join("quiz.test.json"), case.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_go_wrong_ends_in_the_dead_letters_with_its_place_and_a_fix_brings_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let broken = r#"fn on_track(event, ctx) {
    switch event.event {
        "Loop" => { loop { } }
        "Memory" => { let text = "x"; loop { text += text; } }
        "Depth" => { return deeper(event); }
        "Typo" => { event.properties.missing.name = 1; }
        "Type" => { event.properties.total = event.properties.total - "49"; }
        "Nothing" => { return; }
    }
    event
}
fn deeper(event) { deeper(event) }
"#;
    scripts(folder.path(), broken);
    let segue = Segue::start_in(folder, "").await;
    let wrong = ["Loop", "Memory", "Depth", "Typo", "Type", "Nothing"];
    for (number, name) in wrong.iter().enumerate() {
        let mut event = track("u1", name, &format!("bad-{number}"));
        event["properties"] = json!({"total": 49});
        segue.send(&event).await;
        segue.send(&track("u1", "Fine", &format!("good-{number}"))).await;
    }
    segue.settled().await;

    assert_eq!(segue.events().len(), wrong.len(), "the neighbours are on time");
    let dead = segue.app.journal().dead(&DeadFilter::default(), None, 100).unwrap();
    assert_eq!(dead.len(), wrong.len());
    for row in &dead {
        assert!(
            matches!(row.letter.code, DeadCode::ScriptFailed | DeadCode::ScriptResult),
            "{:?}",
            row.letter
        );
        assert!(row.letter.message.contains("10_mine.rhai"), "{}", row.letter.message);
    }
    let places: Vec<_> =
        dead.iter().map(|row| row.letter.detail.as_ref().unwrap()["line"].clone()).collect();
    assert_eq!(places[3..5], [json!(6), json!(7)], "a runtime error has its line: {places:?}");

    scripts(segue.folder.path(), "fn on_track(event, ctx) { event }\n");
    let before = segue.app.bundle().hash().to_owned();
    eventually("the fixed scripts to be in force", async || {
        (segue.app.bundle().hash() != before).then_some(())
    })
    .await;
    let redriven = segue.app.journal().redrive(&DeadFilter::default(), 100).await.unwrap().unwrap();
    assert_eq!(redriven, wrong.len() as u64);
    segue.settled().await;
    assert_eq!(segue.events().len(), 2 * wrong.len());
    segue.assert_conservation();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_folder_never_replaces_good_scripts() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), "fn on_track(event, ctx) { event.properties.version = 1; event }\n");
    let segue = Segue::start_in(folder, "").await;
    let good = segue.app.bundle().hash().to_owned();

    scripts(
        segue.folder.path(),
        "fn on_track(event, ctx) { event.properties.version = ; event }\n",
    );
    let refused = segue.app.reload().await;

    assert!(format!("{refused:?}").contains("10_mine.rhai"), "{refused:?}");
    assert_eq!(segue.app.bundle().hash(), good);
    segue.send(&track("u1", "A", "1")).await;
    segue.settled().await;
    assert_eq!(segue.events()[0].data["version"], json!(1));

    let segue = Segue::start_in(segue.stop().await, "").await;
    assert_eq!(segue.app.bundle().hash(), good, "a restart neither fails nor lets it in");
    assert!(segue.app.refusal().unwrap().contains("10_mine.rhai"));
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_fail_their_fixtures_do_not_come_into_force() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), "fn on_track(event, ctx) { event }\n");
    fixture(folder.path());
    let segue = Segue::start_in(folder, "").await;
    let good = segue.app.bundle().hash().to_owned();

    scripts(segue.folder.path(), "fn on_track(event, ctx) { event.event = \"Other\"; event }\n");
    let refused = format!("{:?}", segue.app.reload().await);
    assert!(refused.contains("a quiz stays a quiz"), "{refused}");
    assert_eq!(segue.app.bundle().hash(), good);

    let segue = Segue::start_in(segue.stop().await, "").await;
    assert_eq!(segue.app.bundle().hash(), good, "a restart does not let them in either");
    assert!(segue.app.refusal().unwrap().contains("a quiz stays a quiz"));

    scripts(
        segue.folder.path(),
        "fn on_track(event, ctx) { event.properties.seen = true; event }\n",
    );
    segue.app.reload().await;
    assert_ne!(segue.app.bundle().hash(), good);
    assert_eq!(segue.app.refusal(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_takes_scripts_that_fail_their_fixtures_and_says_so_until_they_pass() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), "fn on_track(event, ctx) { event.event = \"Other\"; event }\n");
    fixture(folder.path());

    let segue = Segue::start_in(folder, "").await;
    let refusal = segue.app.refusal().unwrap();
    assert!(refusal.contains("no better ones are known"), "{refusal}");
    assert!(refusal.contains("a quiz stays a quiz"), "{refusal}");

    let segue = Segue::start_in(segue.stop().await, "").await;
    assert!(segue.app.refusal().is_some(), "having been in force does not make them good");
    scripts(segue.folder.path(), "fn on_track(event, ctx) { event }\n");
    segue.app.reload().await;
    assert_eq!(segue.app.refusal(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_ends_with_the_place_of_a_script_that_cannot_be_run() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), "fn on_track(event, ctx) {");

    let start = App::start(support::config(folder.path(), ""), Arc::new(SystemClock)).await;

    let error = start.err().unwrap().to_string();
    assert!(
        error.contains("no good ones are known") && error.contains("10_mine.rhai:1"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_event_arrives_clean_and_on_the_right_person() {
    let segue = Segue::start().await;

    segue
        .send(&json!({"type": "track", "event": "orderCompleted", "messageId": "demo-1", "userId": "u-1",
            "properties": {"orderId": 1001, "order_total": "$49.00", "currency": "usd",
                "products": [{"sku": "MUG", "price": "$24.50", "quantity": "2"}]}}))
        .await;
    segue.settled().await;

    let events = segue.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].name, "Order Completed");
    let data = serde_json::to_value(&events[0].data).unwrap();
    assert_eq!(data["order_id"], "1001");
    assert_eq!(data["total"].as_f64(), Some(49.0));
    assert_eq!(data["products"][0]["price"].as_f64(), Some(24.5));
    let person = segue.app.emulator().unwrap().lock().person("u-1").unwrap();
    assert_eq!(events[0].cio_id.as_deref(), Some(person.cio_id.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_break_events_are_withdrawn_and_what_they_broke_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), "fn on_track(event, ctx) { event }\n");
    let segue = Segue::start_in(folder, "").await;
    let good = segue.app.bundle().hash().to_owned();
    for number in 0..25 {
        segue.send(&track("u1", "Fine", &format!("before-{number}"))).await;
    }
    segue.settled().await;

    scripts(
        segue.folder.path(),
        "fn on_track(event, ctx) {\n    event.properties.total = parse_money(event.properties.total);\n    event\n}\n",
    );
    segue.app.reload().await;
    assert_ne!(segue.app.bundle().hash(), good);
    for number in 0..12 {
        segue.send(&track("u1", "Fine", &format!("after-{number}"))).await;
    }
    eventually("the scripts to be withdrawn", async || {
        (segue.app.bundle().hash() == good).then_some(())
    })
    .await;
    eventually("what they broke to arrive", async || (segue.events().len() == 37).then_some(()))
        .await;
    segue.settled().await;
    assert!(segue.total("redriven") >= 10, "{}", segue.total("redriven"));
    assert!(segue.app.journal().dead(&DeadFilter::default(), None, 10).unwrap().is_empty());
    segue.assert_conservation();
    let refused = format!("{:?}", segue.app.reload().await);
    assert!(refused.contains("withdrawn") && refused.contains("--again"), "{refused}");

    let segue = Segue::start_in(segue.stop().await, "").await;
    assert_eq!(segue.app.bundle().hash(), good, "a restart does not bring them back");
    let url = format!("http://{}/health/ready", segue.app.addr());
    let body = segue.http.get(url).send().await.unwrap().text().await.unwrap();
    assert!(body.contains(&good), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_goes_back_and_forth_with_one_request_each() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), "fn on_track(event, ctx) { event }\n");
    let segue = Segue::start_in(folder, "").await;
    let first = segue.app.bundle().hash().to_owned();
    let ask = async |wanted: serde_json::Value| {
        let url = format!("http://{}/api/reload", segue.app.admin_addr().unwrap());
        let answer = segue.http.post(url).body(wanted.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        let body: serde_json::Value =
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        (status, body)
    };
    let (status, body) = ask(json!({"back": true})).await;
    assert_eq!((status, body["code"].as_str()), (422, Some("no_way_back")));

    scripts(segue.folder.path(), "fn on_track(event, ctx) { fail(\"no\") }\n");
    ask(json!({})).await;
    let second = segue.app.bundle().hash().to_owned();
    segue.send(&track("u1", "Fine", "one")).await;
    segue.settled().await;
    assert_eq!(segue.events().len(), 0);

    let (status, body) = ask(json!({"back": true})).await;
    assert_eq!(
        (status, body["bundle"].as_str(), body["redriven"].as_u64()),
        (200, Some(&*first), Some(1))
    );
    segue.settled().await;
    assert_eq!(segue.events().len(), 1, "what failed under the withdrawn scripts is sent again");
    assert_eq!(ask(json!({})).await.0, 422);
    let (status, body) = ask(json!({"again": true})).await;
    assert_eq!((status, body["bundle"].as_str()), (200, Some(&*second)));
}
