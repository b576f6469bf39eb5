//! Which lines count, and when they are reached.

use serde_json::json;

use super::*;
use crate::transform::Runner;
use crate::transform::tests::{bundle_of, context, track};

const SCRIPT: &str = r#"const LIMIT = 10;
import "lib/shop" as shop;

// A comment is no line of code.
fn on_track(event, ctx) {
    let total = event.properties.total;
    if total > 5 {
        event.properties.large = true;
    } else {
        event.properties.large = false;
    }
    for item in as_array(event.properties.items) { item.seen = true; }
    let kind = switch total {
        1 => "one",
        2 => {
            "two"
        }
        _ => shop::other(total)
    };
    if total == 3 { return event; }
    let shown = [
        "a",
        kind
    ];
    event
}
"#;

const LIBRARY: &str =
    "fn other(total) {\n    if total == () { return \"none\"; }\n    \"other\"\n}\n";

fn bundle(more: &str) -> Arc<Bundle> {
    let library = format!("{LIBRARY}{more}");
    Arc::new(bundle_of(&[("10_test.rhai", SCRIPT), ("lib/shop.rhai", &library)]).unwrap())
}

fn covered(totals: &[i64], ran: &Arc<Bundle>, counted: &Arc<Bundle>) -> Vec<FileCoverage> {
    let coverage = Coverage::of(counted);
    let mut runner = Runner::covering(Arc::clone(ran), &coverage);
    for total in totals {
        runner.run(track("Paid", json!({"total": total})), &context());
    }
    coverage.files()
}

#[test]
fn what_counts_are_statements_and_the_arms_of_a_switch() {
    let bundle = bundle("");
    let [stage, library] = &covered(&[], &bundle, &bundle)[..] else { panic!("two files") };
    assert_eq!(stage.missed, [6, 7, 8, 10, 12, 13, 14, 16, 18, 20, 21, 25]);
    assert_eq!((stage.lines, stage.partly.as_slice()), (12, [].as_slice()));
    assert_eq!(
        (library.file.as_str(), library.missed.as_slice()),
        ("lib/shop.rhai", [2, 3].as_slice())
    );
}

#[test]
fn each_way_through_reaches_its_lines() {
    let bundle = bundle("");
    type Row = (&'static str, &'static [i64], &'static [usize], &'static [usize]);
    #[rustfmt::skip]
    let table: [Row; 4] = [
        ("a small total of one", &[1], &[8, 16, 18], &[12, 20]),
        ("two", &[2], &[8, 14, 18], &[12, 20]),
        ("three, which ends early", &[3], &[8, 14, 16, 21, 25], &[12]),
        ("all of them", &[1, 2, 3, 30], &[], &[12]),
    ];
    for (what, totals, missed, partly) in table {
        let [stage, _] = &covered(totals, &bundle, &bundle)[..] else { panic!("two files") };
        assert_eq!(stage.missed, missed, "{what}");
        assert_eq!(stage.partly, partly, "{what}");
    }
}

#[test]
fn only_files_that_are_the_same_count_when_other_scripts_run() {
    let (ran, counted) = (bundle("\n// changed"), bundle(""));
    let [stage, library] = &covered(&[9], &ran, &counted)[..] else { panic!("two files") };
    assert_eq!(stage.missed, [10, 14, 16]);
    assert_eq!(library.missed, [2, 3]);
    assert!((percent(std::slice::from_ref(stage)) - 75.0).abs() < 0.1);
}

#[test]
fn what_never_runs_does_not_count() {
    let manifest = "[[stage]]\nfile = \"10_on\"\n[[stage]]\nfile = \"20_off\"\nmode = \"off\"\n";
    let script = "fn on_track(event, ctx) { event }";
    let files = [("transforms.toml", manifest), ("10_on.rhai", script), ("20_off.rhai", script)];
    let bundle = Arc::new(bundle_of(&files).unwrap());
    let names: Vec<String> =
        covered(&[], &bundle, &bundle).into_iter().map(|file| file.file).collect();
    assert_eq!(names, ["10_on.rhai"]);
    assert!((percent(&[]) - 100.0).abs() < 0.1);
}
