//! What serde says of a value that it cannot take, in the words of somebody who wrote the file.
//!
//! Not here: where values stand (`super::document`), what no single field can check (`super::check`).

use serde::Deserialize as _;
use toml::de::{DeValue, Deserializer};

use super::document::{Document, Environment, Unset};
use super::{Config, ConfigError};

/// The configuration that a file says, its variables replaced; and those that are not set.
///
/// # Errors
/// What cannot be read, with its line, what to do, and nothing of what a variable holds.
pub(super) fn read(
    document: &Document<'_>,
    environment: &Environment<'_>,
) -> Result<(Config, Vec<Unset>), ConfigError> {
    let (table, unset) = document.expanded(environment, None)?;
    let error = match Config::deserialize(Deserializer::from(table)) {
        Ok(config) => return Ok((config, unset)),
        Err(error) => error,
    };
    let Some(span) = error.span() else { return Err(document.error(None, error.message())) };
    let Some((path, value)) = document.at(&span) else {
        return Err(document.error(Some(span), error.message()));
    };
    let message = match value.as_str() {
        // The same mistake, of the text as it is written: that can be shown.
        Some(text) if text.contains("${") => {
            let (table, _) = document.expanded(environment, Some(&span))?;
            let error = Config::deserialize(Deserializer::from(table)).err();
            let same = error.filter(|error| error.span().as_ref() == Some(&span));
            let said = same.map(|error| in_words(error.message(), &path, value));
            let said = said.unwrap_or_else(|| format!("{text:?} cannot be used here"));
            format!("{said} (what the variable holds is not shown)")
        }
        _ => in_words(error.message(), &path, value),
    };
    Err(document.error(Some(span), &message))
}

fn in_words(said: &str, path: &str, value: &DeValue<'_>) -> String {
    let expected = said.rsplit_once("expected ").map(|(_, expected)| expected);
    let Some(expected) = expected.filter(|_| said.starts_with("invalid ")) else {
        return said.to_owned();
    };
    let named: Vec<&str> = path.split('.').filter(|step| step.parse::<usize>().is_err()).collect();
    let key = named.last().copied().unwrap_or_default();
    let path = named.join(".");
    let example = default_of(&path).map(|value| format!(": {key} = {value}")).unwrap_or_default();
    match (expected, value) {
        ("a sequence", DeValue::Table(_)) => {
            format!("write [[{path}]] in two brackets: there may be several")
        }
        ("a sequence", _) => format!("{path} is a list: {key} = [\"…\"]"),
        ("u32" | "u64" | "usize", DeValue::Integer(number)) => {
            format!("{path} cannot be {number}: it is too small or too large{example}")
        }
        ("u32" | "u64" | "usize", _) => {
            let unit = if key.ends_with("_bytes") { ", in bytes" } else { "" };
            format!("{path} is a whole number, without quotes or unit{unit}{example}")
        }
        ("a boolean", _) => format!("{path} is true or false, without quotes"),
        ("a string", DeValue::Datetime(time)) => {
            format!("{path} is a text: put the time in quotes: {key} = \"{time}\"")
        }
        ("a string", _) => format!("{path} is a text: put it in quotes"),
        (expected, _) if expected.starts_with("struct") => {
            format!("{path} is a section: write [{path}] and its keys below")
        }
        _ => said.to_owned(),
    }
}

/// What stands there by default, as it would be written.
fn default_of(path: &str) -> Option<String> {
    let mut value = toml::Value::try_from(Config::default()).ok()?;
    for step in path.split('.') {
        value = value.get(step)?.clone();
    }
    Some(value.to_string())
}
