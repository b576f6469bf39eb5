//! The invariants of ARCHITECTURE.md that a compiler of one crate does not check.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

use crate::docs::markdown::{code_of, is_test, sources};

/// What does I/O, or runs what does.
const WORLD: [&str; 4] = ["actix_web", "tokio", "reqwest", "rusqlite"];

/// Code that decides and does nothing: given values and a time, it gives values.
const PURE: [&str; 13] = [
    "src/spec",
    "src/guard",
    "src/contract",
    "src/identity",
    "src/outcome.rs",
    "src/pipeline",
    "src/delivery",
    "src/relay/core.rs",
    "src/relay/ledger.rs",
    "src/transform",
    "src/destination",
    "src/clock.rs",
    "src/pace.rs",
];

/// Files in those folders that are the hands, not the head.
const HANDS: [&str; 1] = ["src/destination/customerio/client.rs"];

/// Which modules a module may use. Those that are not listed may use all: they compose.
const MAY_USE: [(&str, &[&str]); 14] = [
    ("outcome", &[]),
    ("pace", &[]),
    ("spec", &["clock", "outcome"]),
    ("journal", &["clock", "outcome", "pace", "spec"]),
    ("contract", &["outcome", "spec"]),
    ("transform", &["clock", "contract", "outcome", "spec"]),
    ("destination", &["clock", "outcome", "spec"]),
    ("delivery", &["clock", "destination", "journal", "pace", "spec"]),
    ("guard", &["clock", "config", "journal", "outcome", "spec", "transform"]),
    ("identity", &["clock", "config", "destination", "journal", "spec"]),
    ("ingest", &["clock", "config", "guard", "journal", "spec"]),
    ("emulator", &["clock", "spec"]),
    ("config", &["clock", "destination", "guard", "journal", "spec"]),
    (
        "pipeline",
        &[
            "clock",
            "config",
            "contract",
            "destination",
            "guard",
            "identity",
            "journal",
            "outcome",
            "spec",
            "transform",
        ],
    ),
];

fn mentions(code: &str, krate: &str) -> bool {
    let word = Regex::new(&format!(r"\b{krate}::|\buse {krate}\b")).unwrap();
    word.is_match(code)
}

fn code_under(folder: &str) -> Vec<(String, String)> {
    let files = sources(folder).into_iter().filter(|file| !is_test(file));
    files.map(|file| (file.display().to_string(), code_of(&file))).collect()
}

#[test]
fn what_decides_does_no_input_and_output() {
    for folder in PURE {
        for (file, code) in code_under(folder) {
            if HANDS.contains(&file.as_str()) {
                continue;
            }
            for krate in WORLD {
                assert!(!mentions(&code, krate), "{file} uses {krate}");
            }
        }
    }
}

#[test]
fn only_the_journal_speaks_sql() {
    let sql =
        Regex::new(r#""\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|PRAGMA) "#).unwrap();
    for (file, code) in code_under("src") {
        let is_journal = file.starts_with("src/journal/sqlite");
        assert!(is_journal || !mentions(&code, "rusqlite"), "{file} uses rusqlite");
        assert!(is_journal || !sql.is_match(&code), "{file} contains SQL");
    }
}

#[test]
fn modules_use_only_those_that_they_may() {
    let used = Regex::new(r"\bcrate::(\w+)").unwrap();
    for (module, allowed) in MAY_USE {
        let file = format!("src/{module}.rs");
        let folder = if Path::new(env!("CARGO_MANIFEST_DIR")).join(&file).exists() {
            file
        } else {
            format!("src/{module}")
        };
        for (file, code) in code_under(&folder) {
            let uses: BTreeSet<&str> =
                used.captures_iter(&code).map(|found| found.get(1).unwrap().as_str()).collect();
            let other = uses.into_iter().find(|other| *other != module && !allowed.contains(other));
            assert_eq!(other, None, "{file} must not use crate::{}", other.unwrap_or_default());
        }
    }
}

#[test]
fn nothing_but_the_command_line_and_tests_uses_what_stands_beside_the_path() {
    let path = [
        "ingest",
        "spec",
        "journal",
        "transform",
        "guard",
        "contract",
        "identity",
        "destination",
        "delivery",
        "pipeline",
        "relay",
    ];
    for module in path {
        for (file, code) in code_under(&format!("src/{module}")) {
            for beside in ["admin", "app", "cli", "emulator", "fixture", "server"] {
                assert!(!code.contains(&format!("crate::{beside}")), "{file} uses crate::{beside}");
            }
        }
    }
}

#[test]
fn every_source_file_says_what_it_decides() {
    for folder in ["src", "tests", "benches"] {
        for file in sources(folder) {
            let text =
                std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file)).unwrap();
            assert!(text.starts_with("//!"), "{} does not begin with //!", file.display());
        }
    }
}
