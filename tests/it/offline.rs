//! The commands that talk to nobody, and the one that replays to a server, as processes.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Segue, eventually};

/// What a command did.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A folder like the repository's root, in which commands may write.
pub fn desk() -> tempfile::TempDir {
    let desk = tempfile::tempdir().unwrap();
    for name in ["fixtures", "transforms"] {
        let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        std::os::unix::fs::symlink(there, desk.path().join(name)).unwrap();
    }
    desk
}

pub fn segue(folder: &Path, args: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
    command.args(args).current_dir(folder).stdin(Stdio::null()).env_remove("CI");
    let output = command.output().unwrap();
    Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub fn write(folder: &Path, name: &str, content: &Value) {
    std::fs::write(folder.join(name), content.to_string()).unwrap();
}

/// The words of a command line; single quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

#[test]
fn the_example_of_every_offline_command_works() {
    let desk = desk();
    for command in
        ["test", "explain", "replay", "check", "docs", "init", "config", "capture", "dev"]
    {
        let help = segue(desk.path(), &[command, "--help"]).out;
        let (_, example) =
            help.split_once("Example:").unwrap_or_else(|| panic!("{command}: {help}"));
        let words = words(example);
        assert_eq!(words[0], "segue");
        let words: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let done = segue(desk.path(), &words);
        assert_eq!(done.code, 0, "{command}: {}{}", done.out, done.err);
        assert!(!done.out.is_empty(), "{command}");
    }
}

#[test]
fn a_lint_is_explained_with_wrong_and_right() {
    let desk = desk();
    let done = segue(desk.path(), &["check", "--explain", "l007"]);
    assert_eq!(done.code, 0, "{}", done.err);
    for says in ["L007 (warning)", "Wrong:", "event.properties.copy()", "Right:"] {
        assert!(done.out.contains(says), "{}", done.out);
    }
    let done = segue(desk.path(), &["check", "--explain", "L999"]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("L001"), "{}", done.err);
}

#[test]
fn the_exit_code_tells_a_failure_from_a_mistake() {
    let desk = desk();
    write(
        desk.path(),
        "bad.test.json",
        &json!({ "input": { "type": "odd" }, "expect": { "outcome": "delivered" } }),
    );
    write(desk.path(), "dead.json", &json!({ "type": "odd" }));
    write(desk.path(), "empty.json", &json!([]));
    std::fs::create_dir_all(desk.path().join("empty/lib")).unwrap();
    std::fs::write(desk.path().join("empty/lib/shop.rhai"), "fn price(x) { x }\n").unwrap();
    std::fs::create_dir(desk.path().join("broken")).unwrap();
    std::fs::write(desk.path().join("broken/00_a.rhai"), "fn on_track(event, ctx) {").unwrap();
    #[rustfmt::skip]
    let table: [(&str, &[&str], i32, &str); 13] = [
        ("the command that runs it again", &["test", "bad.test.json", "--transforms", "transforms"], 1, "again: segue test bad.test.json --transforms transforms\n"),
        ("a folder without scripts", &["check", "empty", "--deny-warnings"], 1, "there is no script in empty"),
        ("a fixture fails", &["test", "bad.test.json"], 1, "0 passed, 1 failed"),
        ("no such path", &["test", "nowhere"], 2, "nowhere"),
        ("no such case", &["test", "bad.test.json", "--only", "nobody"], 2, "nobody"),
        ("scripts that do not compile", &["test", "bad.test.json", "--transforms", "broken"], 2, "00_a.rhai"),
        ("the same, checked", &["check", "broken"], 1, "00_a.rhai"),
        ("a dead letter explained", &["explain", "dead.json"], 1, "unknown_type"),
        ("a refusal explained", &["explain", "broken/00_a.rhai"], 1, "would be answered 400 invalid_json"),
        ("nothing explained", &["explain", "empty.json"], 2, "empty.json holds no event"),
        ("no such source", &["explain", "dead.json", "--source", "nope"], 2, "there are segment, rudderstack"),
        ("a bad time", &["replay", "dead.json", "--at", "noon"], 2, "is no time"),
        ("a missing configuration", &["config", "--config", "none.toml"], 2, "none.toml"),
    ];
    for (what, args, code, said) in table {
        let done = segue(desk.path(), args);
        let text = format!("{}{}", done.out, done.err);
        assert_eq!(done.code, code, "{what}: {text}");
        assert!(text.contains(said), "{what}: {text}");
    }
}

/// Runs a command whose standard output nobody reads; its exit code, and what it complained about.
fn unread(folder: &Path, args: &[&str]) -> (i32, String) {
    let (nobody, pipe) = std::io::pipe().unwrap();
    drop(nobody);
    let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
    command.args(args).current_dir(folder).stdin(Stdio::null()).stdout(pipe);
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_pager_that_closes_early_changes_no_verdict() {
    let desk = desk();
    write(
        desk.path(),
        "bad.test.json",
        &json!({ "input": { "type": "odd" }, "expect": { "outcome": "delivered" } }),
    );
    std::fs::create_dir(desk.path().join("broken")).unwrap();
    std::fs::write(desk.path().join("broken/00_a.rhai"), "fn on_track(event, ctx) {").unwrap();
    write(desk.path(), "dead.json", &json!({ "type": "odd" }));
    let order = json!({
        "type": "track", "event": "Order Completed", "userId": "u-1",
        "properties": { "order_id": 1001, "total": "$49.00" }
    });
    write(desk.path(), "order.json", &order);
    #[rustfmt::skip]
    let table: [(&[&str], i32); 12] = [
        (&["test", "fixtures/orders"], 0), (&["test", "bad.test.json"], 1),
        (&["check"], 0), (&["check", "broken"], 1),
        (&["explain", "dead.json"], 1),
        (&["dev", "--once", "bad.test.json"], 1),
        (&["docs"], 0), (&["config"], 0), (&["contracts"], 0),
        (&["init", "new"], 0),
        (&["capture", "l1", "--from", "fixtures/payloads/last_week.ndjson"], 0),
        (&["replay", "order.json", "--against", "none", "--fail-on", "any"], 1),
    ];
    for (args, code) in table {
        assert_eq!(unread(desk.path(), args), (code, String::new()), "{args:?}");
    }
}

#[test]
fn events_that_cannot_be_mapped_are_a_finding_and_the_others_are_mapped() {
    let desk = desk();
    let table = [("odd", 1), ("identify", 0)];
    for (call, code) in table {
        let events = format!(
            "{{\"type\":\"{call}\",\"userId\":\"u\"}}\n{{\"type\":\"identify\",\"userId\":\"u\"}}\n"
        );
        std::fs::write(desk.path().join("events.ndjson"), events).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
        let events = std::fs::File::open(desk.path().join("events.ndjson")).unwrap();
        let output = command.arg("map").stdin(events).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1]["requests"].is_array(), "{text}");
    }
}

#[test]
fn a_replay_says_which_configuration_and_source_it_plans_with() {
    let desk = desk();
    let config = "destination = \"emulator\"\n[[source]]\nname = \"web\"\n[[source]]\nname = \"shop\"\nkind = \"rudderstack\"\n";
    std::fs::write(desk.path().join("mine.toml"), config).unwrap();
    let replay = ["replay", "fixtures/payloads/last_week.ndjson", "--transforms", "transforms"];
    let with = ["--config", "mine.toml", "--source", "shop"];
    #[rustfmt::skip]
    let table: [(&[&str], &str); 3] = [
        (&[], "planned with built-in defaults (no segue.toml here), as of source segment"),
        (&with, "planned with mine.toml, as of source shop"),
        (&["--config", "mine.toml", "--source", "shop", "--against", "none"], "planned with mine.toml, as of source shop"),
    ];
    for (more, says) in table {
        let plan = segue(desk.path(), &[&replay, more].concat()).out;
        assert!(plan.contains(says), "{more:?}: {plan}");
        let plan = segue(desk.path(), &[&replay, more, &["--json"]].concat()).out;
        let plan: Value = serde_json::from_str(&plan).unwrap();
        assert!(says.ends_with(plan["source"].as_str().unwrap()), "{more:?}: {plan}");
        assert!(says.contains(plan["configuration"].as_str().unwrap()), "{more:?}: {plan}");
    }
}

#[test]
fn an_update_is_refused_in_ci() {
    let desk = desk();
    write(
        desk.path(),
        "old.test.json",
        &json!({ "input": { "type": "odd" }, "expect": { "outcome": "delivered" } }),
    );
    let before = std::fs::read_to_string(desk.path().join("old.test.json")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
    let output = command
        .args(["test", "old.test.json", "--update"])
        .current_dir(desk.path())
        .env("CI", "true")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(desk.path().join("old.test.json")).unwrap(), before);
    let done = segue(desk.path(), &["test", "old.test.json", "--update", "--junit", "out.xml"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("expected  \"delivered\""), "the difference is shown: {}", done.out);
    assert_eq!(segue(desk.path(), &["test", "old.test.json"]).code, 0);
    assert!(
        std::fs::read_to_string(desk.path().join("out.xml")).unwrap().contains("failures=\"1\"")
    );
}

#[test]
fn an_explanation_as_json_has_every_stage() {
    let desk = desk();
    write(
        desk.path(),
        "order.json",
        &json!({ "type": "track", "event": "orderCompleted", "messageId": "m1",
        "userId": "u-1", "timestamp": "2026-01-15T11:59:00Z", "properties": { "orderId": 1, "order_total": "$49.00" } }),
    );
    let done =
        segue(desk.path(), &["explain", "order.json", "--json", "--at", "2026-01-15T12:00:00Z"]);
    let explained: Value = serde_json::from_str(&done.out).unwrap();
    let one = &explained["events"][0];
    assert_eq!(one["spec"]["time_origin"], "given");
    assert_eq!(
        one["scripts"][0]["changes"],
        json!([{ "path": "event", "old": "orderCompleted", "new": "Order Completed" }])
    );
    let part = &one["parts"][0];
    assert_eq!(part["guard"]["class"], "live");
    assert_eq!(part["identity"]["person"], "id:u-1");
    assert_eq!(part["dedupe_key"], "order_completed:1");
    assert_eq!(part["operations"], json!(["event"]));
    assert_eq!(one["requests"][0]["attributes"]["total"].as_f64(), Some(49.0));
    assert_eq!(one["outcome"], "delivered");
    assert_eq!(one["triggers"][0]["could_trigger"], true);
}

#[test]
fn the_plan_of_a_replay_counts_what_would_happen() {
    let desk = desk();
    let event = |name: &str, id: &str, hour: u32| {
        json!({ "type": "track", "event": name, "messageId": id, "userId": "u-1",
            "timestamp": format!("2026-01-15T{hour:02}:00:00Z"), "properties": { "order_id": "1" } })
    };
    let lines = [
        event("Order Completed", "a", 11).to_string(),
        event("Order Completed", "a", 11).to_string(),
        json!([event("Order Placed", "b", 11), event("Added to Cart", "c", 9)]).to_string(),
        "{\"broken".into(),
        json!({ "batch": [{ "json": event("Other", "d", 12) }, { "type": "odd" }] }).to_string(),
    ];
    std::fs::write(desk.path().join("all.ndjson"), lines.join("\n")).unwrap();
    let args = ["replay", "all.ndjson", "--json", "--at", "2026-01-15T12:00:00Z"];
    let plan: Value = serde_json::from_str(&segue(desk.path(), &args).out).unwrap();
    assert_eq!(plan["events"], 6);
    assert_eq!(
        plan["outcomes"],
        json!({ "dead_lettered unknown_type": 1, "delivered": 2, "dropped duplicate": 1,
            "dropped duplicate_key": 1, "parked": 1 })
    );
    assert_eq!(plan["refused"], json!({ "invalid_json": 1 }));
    assert_eq!(plan["would_fire"], json!({ "Order Completed": 1, "Other": 1 }));
    assert_eq!(plan["guard"]["late park"], 1);
    assert_eq!(plan["people"], 1);
    assert!(plan["parked_until"].as_str().unwrap().starts_with("2026-01-18T10:00:00"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_sent_to_a_server_and_marked() {
    let server = Segue::start().await;
    let desk = desk();
    let old = |n: u32| {
        json!({ "type": "track", "event": "Added to Cart", "messageId": format!("m{n}"), "userId": "u-1",
            "timestamp": "2026-01-05T10:00:00Z", "receivedAt": "2026-01-05T10:00:01Z" })
    };
    let lines: Vec<String> = (0..250).map(|n| old(n).to_string()).collect();
    std::fs::write(desk.path().join("old.ndjson"), lines.join("\n")).unwrap();
    let url = format!("http://{}/webhook/web", server.app.addr());
    let folder = desk.path().to_path_buf();
    let done = tokio::task::spawn_blocking(move || {
        segue(
            &folder,
            &[
                "replay",
                "old.ndjson",
                "--source",
                "segment",
                "--as-replay",
                "january",
                "--send",
                &url,
                "--rate",
                "5000",
                "--skip",
                "50",
            ],
        )
    });
    let done = done.await.unwrap();
    assert_eq!(done.code, 0, "{}", done.err);
    server.settled().await;
    let totals = server.app.journal().totals();
    let marked: u64 = totals
        .iter()
        .filter(|total| total.label == "january" && total.outcome == "delivered")
        .map(|total| total.count)
        .sum();
    assert_eq!(marked, 200);
    assert!(server.events().iter().all(|event| !event.could_trigger));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_goes_on_where_it_was() {
    let server = Segue::start().await;
    let desk = desk();
    let old = |n: u32| {
        json!({ "type": "track", "event": "Quiz Answered", "messageId": format!("m{n}"), "userId": "u-1",
            "timestamp": "2026-01-05T10:00:00Z" })
    };
    let lines: Vec<String> = (0..2000).map(|n| old(n).to_string()).collect();
    std::fs::write(desk.path().join("old.ndjson"), lines.join("\n")).unwrap();
    let url = format!("http://{}/webhook/web", server.app.addr());
    let words =
        ["replay", "old.ndjson", "--as-replay", "may", "--send", &url, "--no-plan", "--rate"];
    let mut killed = Command::new(env!("CARGO_BIN_EXE_segue"))
        .args(words)
        .arg("300")
        .current_dir(desk.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let note = desk.path().join("segue-replay-may.json");
    eventually("a note of how far it came", async || note.exists().then_some(())).await;
    killed.kill().unwrap();
    killed.wait().unwrap();

    let (folder, words) = (desk.path().to_path_buf(), words.map(String::from));
    let again = tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).chain(["100000"]).collect();
        segue(&folder, &words)
    });
    let again = again.await.unwrap();

    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.out.contains("Going on behind the "), "{}", again.out);
    assert!(again.out.contains("2000 events sent"), "{}", again.out);
    assert!(!note.exists(), "there is nothing left to go on with");
    server.settled().await;
    assert_eq!(server.total("delivered"), 2000);
    assert!(server.total("accepted") < 2200, "what was sent is not sent again");
    server.stop().await;
}

#[test]
fn a_replay_says_what_it_is_and_a_rehearsal_may_fire() {
    let desk = desk();
    let cart = json!({"type": "track", "event": "Added to Cart", "messageId": "m", "userId": "u-1",
        "timestamp": "2026-01-05T10:00:00Z", "receivedAt": "2026-01-05T10:00:01Z"});
    write(desk.path(), "old.json", &cart);
    std::fs::write(desk.path().join("people.csv"), "u-7\n").unwrap();
    let plan = |more: &[&str]| {
        let words = ["replay", "old.json", "--json", "--at", "2026-01-15T12:00:00Z"];
        let done = segue(desk.path(), &[&words, more].concat());
        assert_eq!(done.code, 0, "{}", done.err);
        serde_json::from_str::<Value>(&done.out).unwrap()
    };
    let past = plan(&["--as-replay", "january", "--people", "people.csv"]);
    assert_eq!((&past["would_fire"], &past["new_people"]), (&json!({}), &json!(1)));
    assert_eq!((&past["data"]["replayed"], &past["requests"]), (&json!(1), &json!(1)));
    let rehearsal = plan(&["--as-new", "r1"]);
    assert_eq!(rehearsal["would_fire"], json!({"Added to Cart": 1}));
    let nobody = plan(&["--people", "people.csv", "--existing-only"]);
    assert_eq!(nobody["events"], 0);
    let unsaid =
        segue(desk.path(), &["replay", "old.json", "--send", "http://127.0.0.1:9/webhook/x"]);
    assert_eq!(unsaid.code, 2);
    assert!(unsaid.err.contains("--as-replay NAME"), "{}", unsaid.err);
    let address = "http://127.0.0.1:9/webhook/shop?token=t";
    let unknown =
        segue(desk.path(), &["replay", "old.json", "--as-replay", "january", "--send", address]);
    assert_eq!(unknown.code, 2);
    let said = ["the source \"shop\"", "--config", "no source is named", "segment, rudderstack"];
    said.iter().for_each(|words| assert!(unknown.err.contains(words), "{}", unknown.err));
}
