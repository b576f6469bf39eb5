//! The commands at which somebody works on scripts: coverage, watching, capturing, one screen.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::offline::{desk, segue, write};

const SCRIPT: &str = "fn on_track(event, ctx) {\n    if event.event == \"Odd\" {\n        event.properties.odd = true;\n    }\n    event.properties.seen = true;\n    event\n}\n";

/// Longer than anything takes on a busy machine; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with one script and one fixture of its own.
fn own_desk() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("transforms")).unwrap();
    std::fs::create_dir_all(folder.path().join("fixtures")).unwrap();
    std::fs::write(folder.path().join("transforms/10_seen.rhai"), SCRIPT).unwrap();
    fixture(folder.path(), "one", "Paid", true);
    folder
}

fn fixture(folder: &Path, name: &str, event: &str, seen: bool) {
    let case = json!({
        "name": name,
        "input": {"type": "track", "event": event, "messageId": name, "userId": "u-1"},
        "expect": {"outcome": "delivered", "events": [{"$match": "contains", "properties": {"seen": seen}}]},
    });
    write(folder, &format!("fixtures/{name}.test.json"), &case);
}

#[test]
fn coverage_names_the_lines_that_no_fixture_reaches_and_has_a_minimum() {
    let desk = own_desk();
    let args = ["test", "--transforms", "transforms", "--coverage", "--min", "80"];
    let low = segue(desk.path(), &args);
    assert_eq!(low.code, 1, "{}{}", low.out, low.err);
    assert!(low.out.contains("75.0 %  10_seen.rhai  3 of 4"), "{}", low.out);
    assert!(low.out.contains("never     3 |         event.properties.odd = true;"), "{}", low.out);
    assert!(low.out.contains("less than the 80 % of --min"), "{}", low.out);
    fixture(desk.path(), "two", "Odd", true);
    let enough = segue(desk.path(), &args);
    assert_eq!(enough.code, 0, "{}", enough.out);
    assert!(enough.out.contains("100.0 %  of all lines"), "{}", enough.out);
}

#[test]
fn one_screen_shows_check_fixtures_and_coverage() {
    let desk = own_desk();
    let args = ["dev", "--once", "--transforms", "transforms"];
    let well = segue(desk.path(), &args);
    assert_eq!(well.code, 0, "{}{}", well.out, well.err);
    for said in [
        "check      0 errors",
        "1 passed, 0 failed",
        "75.0 % of lines; never reached: 10_seen.rhai 3",
    ] {
        assert!(well.out.contains(said), "{said}: {}", well.out);
    }
    fixture(desk.path(), "two", "Paid", false);
    let failing = segue(desk.path(), &args);
    assert_eq!(failing.code, 1);
    for said in
        ["1 passed, 1 failed", "events[0].properties.seen", "expected  false", "again: segue test"]
    {
        assert!(failing.out.contains(said), "{said}: {}", failing.out);
    }
    std::fs::write(
        desk.path().join("transforms/10_seen.rhai"),
        "fn on_track(event, ctx) {\n  oops(",
    )
    .unwrap();
    let broken = segue(desk.path(), &args);
    assert_eq!(broken.code, 1);
    assert!(broken.out.contains("10_seen.rhai:2"), "{}", broken.out);
    assert!(broken.out.contains("the scripts cannot be used"), "{}", broken.out);
}

/// A command that runs until it is dropped, and what it prints.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_segue"))
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            printed.lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
        });
        Self { child, lines }
    }

    /// Reads until a line holds `wanted`; answers what was read.
    fn until(&self, wanted: &str) -> String {
        let mut read = String::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("{wanted:?} did not come: {read}"));
            read.push_str(&line);
            read.push('\n');
            if line.contains(wanted) {
                return read;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_change_runs_the_fixtures_again() {
    let desk = own_desk();
    let test = Running::start(desk.path(), &["test", "--watch", "--transforms", "transforms"]);
    assert!(test.until("waiting for a change").contains("1 passed, 0 failed"));
    std::fs::write(
        desk.path().join("transforms/10_seen.rhai"),
        SCRIPT.replace("seen = true", "seen = false"),
    )
    .unwrap();
    let again = test.until("waiting for a change");
    assert!(again.contains("10_seen.rhai") && again.contains("0 passed, 1 failed"), "{again}");
    std::fs::write(desk.path().join("transforms/10_seen.rhai"), "fn oops(").unwrap();
    assert!(test.until("waiting for a change").contains("the scripts cannot be used"));
    std::fs::write(desk.path().join("transforms/10_seen.rhai"), SCRIPT).unwrap();
    assert!(test.until("waiting for a change").contains("1 passed, 0 failed"));
}

#[test]
fn the_screen_follows_and_runs_only_what_a_change_touches() {
    let desk = own_desk();
    fixture(desk.path(), "two", "Odd", true);
    let dev = Running::start(desk.path(), &["dev", "--transforms", "transforms"]);
    assert!(dev.until("fixtures  ").contains("2 passed, 0 failed, 2 run just now"));
    fixture(desk.path(), "one", "Paid", false);
    let screen = dev.until("fixtures  ");
    assert!(screen.contains("changed    one.test.json"), "{screen}");
    assert!(screen.contains("1 passed, 1 failed, 1 run just now"), "{screen}");
    std::fs::write(
        desk.path().join("transforms/10_seen.rhai"),
        SCRIPT.replace("seen = true", "seen = false"),
    )
    .unwrap();
    assert!(dev.until("fixtures  ").contains("1 passed, 1 failed, 2 run just now"));
}

#[test]
fn a_recorded_event_becomes_a_fixture_that_passes_and_names_nobody() {
    let desk = desk();
    let event = |id: &str| {
        json!({"type": "track", "event": "orderCompleted", "messageId": id, "userId": "customer-4711",
            "timestamp": "2026-01-15T11:59:00Z", "properties": {"orderId": 1, "order_total": "$49.00", "email": "ann@shop.example.org"}})
    };
    write(desk.path(), "day.json", &json!({"batch": [event("m-1"), event("m-2")]}));
    let args = ["capture", "m-2", "--from", "day.json", "--out", "own/captured.test.json"];

    let done = segue(desk.path(), &args);

    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    let text = std::fs::read_to_string(desk.path().join("own/captured.test.json")).unwrap();
    assert!(!text.contains("4711") && !text.contains("ann@"), "{text}");
    let written: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(written["input"]["messageId"], "m-2");
    assert_eq!(written["expect"]["events"][0]["properties"]["total"], 49.0);
    assert_eq!(segue(desk.path(), &["test", "own"]).code, 0);
    assert_eq!(segue(desk.path(), &args).code, 2, "what is there is not overwritten");
    let nothing = segue(desk.path(), &["capture", "m-3", "--from", "day.json"]);
    assert_eq!(nothing.code, 1, "{}", nothing.err);
    let kept =
        segue(desk.path(), &["capture", "m-1", "--from", "day.json", "--unmasked", "--bare"]);
    assert!(kept.out.contains("ann@shop") && !kept.out.contains("expect"), "{}", kept.out);
}
