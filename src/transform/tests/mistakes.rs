//! The mistakes that newcomers make, one file each in `fixtures/mistakes`: what they are told shows
//! the place, the value, what is wanted, and the line as it would be right.

use std::path::{Path, PathBuf};

use super::*;

const SPELLINGS: (&str, &str) =
    ("data/spellings.json", "{\"order_completed\": \"Order Completed\"}");

fn found(script: &str) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    bundle_of(&[("10_mine.rhai", script), SPELLINGS]).map(|bundle| bundle.warnings().to_vec())
}

/// What stands behind `// name: ` at the top of a fixture.
fn said<'a>(script: &'a str, name: &str) -> &'a str {
    let start = format!("// {name}: ");
    script.lines().find_map(|line| line.strip_prefix(&start)).unwrap()
}

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mistakes");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.collect()
}

#[test]
fn the_message_for_a_newcomers_mistake_shows_place_value_wanted_form_and_the_right_line() {
    let files = fixtures();
    assert!(files.len() >= 20, "{}", files.len());
    for file in files {
        let script = std::fs::read_to_string(&file).unwrap();
        let findings = found(&script).unwrap_or_else(|errors| errors);
        let [finding] = &findings[..] else { panic!("{}: {findings:#?}", file.display()) };
        let shown = finding.to_string();
        let expected = [
            format!("--> 10_mine.rhai:{}\n", said(&script, "place")),
            said(&script, "value").to_owned(),
            said(&script, "wanted").to_owned(),
            format!("write: {}", said(&script, "corrected")),
        ];
        for part in expected {
            assert!(shown.contains(&part), "{}: {part:?} is not in\n{shown}", file.display());
        }
    }
}

#[test]
fn with_the_right_line_a_newcomers_script_can_be_used() {
    for file in fixtures() {
        let script = std::fs::read_to_string(&file).unwrap();
        let finding = found(&script).unwrap_or_else(|errors| errors).remove(0);
        let lines = script.lines().enumerate();
        let repaired: Vec<&str> = lines
            .map(|(at, line)| match finding.line {
                Some(wrong) if wrong == at + 1 => said(&script, "corrected"),
                _ => line,
            })
            .collect();
        let left = found(&repaired.join("\n"));
        assert!(left.is_ok(), "{}: {left:#?}", file.display());
        let again = left.unwrap().iter().any(|left| left.message == finding.message);
        assert!(!again, "{}: the right line has the same mistake", file.display());
    }
}
