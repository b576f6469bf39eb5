//! Ids are texts from here on, and what cannot be an id is absent.
//!
//! JavaScript turns missing values into the texts `null`, `undefined` and `[object Object]`; each of
//! them made one "person" out of thousands in real workspaces. Numbers become texts exactly, also
//! beyond 2^53.

use serde_json::{Number, Value};

use super::{Object, field};

/// Texts that are certainly a missing value.
const JUNK: [&str; 5] = ["null", "undefined", "[object Object]", "NaN", "nil"];

/// The id fields of a call that name people.
pub(super) const PERSON_FIELDS: [&str; 3] = ["userId", "anonymousId", "previousId"];

/// Makes every id field of a call a text, or removes it.
pub(super) fn normalise(fields: &mut Object) {
    for name in PERSON_FIELDS {
        rewrite(fields, name, names_a_person, person_id);
    }
    rewrite(fields, "groupId", is_not_blank, text_id);
    rewrite(fields, "messageId", is_not_blank, text_id);
}

/// A text that `keeps` accepts stays as it is; anything else is what `read` makes of it.
fn rewrite(
    fields: &mut Object,
    name: &str,
    keeps: fn(&str) -> bool,
    read: fn(&Value) -> Option<String>,
) {
    let Some(value) = field(fields, name) else { return };
    if value.as_str().is_some_and(keeps) {
        return;
    }
    match read(value) {
        Some(id) => {
            fields.insert(name.into(), Value::String(id));
        }
        None => {
            fields.shift_remove(name);
        }
    }
}

fn is_not_blank(text: &str) -> bool {
    !text.trim().is_empty()
}

/// Reads the id of a person: a text that is not blank and not junk, or a number other than 0.
pub fn person_id(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) if number.as_f64() == Some(0.0) => None,
        Value::String(text) => names_a_person(text).then(|| text.clone()),
        other => text_id(other),
    }
}

/// Whether a text can be the id of a person: it is not blank and not junk.
pub fn names_a_person(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && !JUNK.contains(&text)
}

/// Reads the id of a message, a group or an object: a text that is not blank, or a number.
pub fn text_id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if is_not_blank(text) => Some(text.clone()),
        Value::Number(number) => Some(number_text(number)),
        _ => None,
    }
}

/// A number as its digits: `1001` and `1001.0` are both `1001`, and nothing is rounded.
pub fn number_text(number: &Number) -> String {
    let text = number.to_string();
    match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole.into(),
        _ => match number.as_f64() {
            Some(value)
                if text.contains(['e', 'E']) && value.fract() == 0.0 && value.abs() < 1e15 =>
            {
                format!("{value:.0}")
            }
            _ => text,
        },
    }
}

/// Whether a field holds a usable text.
pub(super) fn is_present(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::String(text)) if !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_can_name_a_person_and_what_cannot() {
        let table = [
            ("a text", json!("u1"), Some("u1")),
            ("a number", json!(12345), Some("12345")),
            ("a whole float", json!(1001.0), Some("1001")),
            ("zero", json!(0), None),
            ("zero as a text is somebody's id", json!("0"), Some("0")),
            ("blank", json!("  "), None),
            ("null", json!(null), None),
            ("the text null", json!("null"), None),
            ("the text undefined", json!("undefined"), None),
            ("a printed object", json!("[object Object]"), None),
            ("a boolean", json!(true), None),
            ("an object", json!({"id": 1}), None),
        ];
        for (what, value, expected) in table {
            assert_eq!(person_id(&value).as_deref(), expected, "{what}");
        }
    }

    #[test]
    fn numbers_beyond_two_to_the_53_keep_every_digit() {
        let value: Value = serde_json::from_str("12345678901234567890123").unwrap();
        assert_eq!(person_id(&value).unwrap(), "12345678901234567890123");
        let value: Value = serde_json::from_str("1e3").unwrap();
        assert_eq!(person_id(&value).unwrap(), "1000");
    }
}
