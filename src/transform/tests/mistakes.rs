//! The mistakes that newcomers make, one file each in `fixtures/mistakes`: what they are told shows
//! the place, the value, what is wanted, and the line as it would be right. Those that only an event
//! brings to light name its properties; the others are found by the check.

use std::path::{Path, PathBuf};

use super::*;

const SPELLINGS: (&str, &str) =
    ("data/spellings.json", "{\"order_completed\": \"Order Completed\"}");

fn found(script: &str) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    bundle_of(&[("10_mine.rhai", script), SPELLINGS]).map(|bundle| bundle.warnings().to_vec())
}

/// What stands behind `// name: ` at the top of a fixture.
fn noted<'a>(script: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("// {name}: ");
    script.lines().find_map(|line| line.strip_prefix(&start))
}

fn said<'a>(script: &'a str, name: &str) -> &'a str {
    noted(script, name).unwrap()
}

/// What comes of the script where the event has the properties that the fixture names.
fn ran(script: &str) -> Option<Made> {
    let properties = serde_json::from_str(noted(script, "properties")?).unwrap();
    let mut runner = runner(&[("10_mine.rhai", script), SPELLINGS]);
    Some(runner.run(track("Order Completed", properties), &context()))
}

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mistakes");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.collect()
}

/// The script with the right line in place of the wrong one.
fn repaired(script: &str) -> String {
    let wrong: usize = said(script, "place").split_once(':').unwrap().0.parse().unwrap();
    let lines = script.lines().enumerate();
    let lines = lines.map(|(at, line)| match at + 1 == wrong {
        true => said(script, "corrected"),
        false => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn shows(file: &Path, shown: &str, parts: &[&str]) {
    for part in parts {
        assert!(shown.contains(part), "{}: {part:?} is not in\n{shown}", file.display());
    }
}

#[test]
fn the_message_for_a_newcomers_mistake_shows_place_value_wanted_form_and_the_right_line() {
    let files = fixtures();
    assert!(files.len() >= 20, "{}", files.len());
    for file in files {
        let script = std::fs::read_to_string(&file).unwrap();
        let [place, value, wanted, right] =
            ["place", "value", "wanted", "corrected"].map(|name| said(&script, name));
        if let Some(made) = ran(&script) {
            let error = failure(made);
            shows(&file, &error.to_string(), &[&format!("10_mine.rhai:{place}: T"), value, wanted]);
            let corrected = error.corrected.as_deref().map(str::trim);
            assert_eq!(corrected, Some(right), "{}: {error}", file.display());
            continue;
        }
        let findings = found(&script).unwrap_or_else(|errors| errors);
        let [finding] = &findings[..] else { panic!("{}: {findings:#?}", file.display()) };
        let (place, right) = (format!("--> 10_mine.rhai:{place}\n"), format!("write: {right}"));
        shows(&file, &finding.to_string(), &[&place, value, wanted, &right]);
    }
}

#[test]
fn with_the_right_line_a_newcomers_script_can_be_used() {
    for file in fixtures() {
        let script = std::fs::read_to_string(&file).unwrap();
        let right = repaired(&script);
        if let Some(made) = ran(&right) {
            assert_eq!(events(made).len(), 1, "{}", file.display());
            continue;
        }
        let finding = found(&script).unwrap_or_else(|errors| errors).remove(0);
        let left = found(&right);
        assert!(left.is_ok(), "{}: {left:#?}", file.display());
        let again = left.unwrap().iter().any(|left| left.message == finding.message);
        assert!(!again, "{}: the right line has the same mistake", file.display());
    }
}
