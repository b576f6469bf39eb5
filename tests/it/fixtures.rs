//! The shipped fixtures, run as `segue test` runs them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use segue::config::Config;
use segue::fixture::{Setup, report, suite};
use segue::transform::Bundle;
use segue::transform::coverage::percent;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn every_shipped_fixture_passes_with_the_shipped_scripts() {
    let bundle =
        Bundle::load(&folder("transforms")).unwrap_or_else(|findings| panic!("{findings:?}"));
    let setup = Setup::new(&Config::demo(), Arc::new(bundle));
    let files = suite::find(&[folder("fixtures")]).unwrap();
    let mut failures = String::new();
    let summary = suite::run(&files, None, &setup, |outcome| {
        if let Some(failure) = &outcome.failure {
            failures.push_str(&report::failure(outcome, failure));
        }
    });
    assert!(summary.failed() == 0, "{failures}");
    assert!(summary.passed() >= 40, "the fixtures were not found: {}", summary.passed());
}

#[test]
fn the_shipped_fixtures_reach_the_lines_of_the_shipped_scripts() {
    let bundle =
        Bundle::load(&folder("transforms")).unwrap_or_else(|findings| panic!("{findings:?}"));
    let setup = Setup::new(&Config::demo(), Arc::new(bundle)).covering();
    let files = suite::find(&[folder("fixtures")]).unwrap();
    let summary = suite::run(&files, None, &setup, |_| {});

    let covered = setup.coverage.as_ref().unwrap().files();

    let report = report::coverage(&covered, &setup.bundle, summary.outcomes.len());
    assert!(covered.iter().map(|file| file.lines).sum::<usize>() > 40, "{report}");
    for file in &covered {
        assert!(percent(std::slice::from_ref(file)) >= 95.0, "{report}");
    }
}
