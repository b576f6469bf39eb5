//! Hides what identifies a person in texts for operators.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// The longest message that is kept.
const LONGEST: usize = 400;

static EMAIL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[^\s\x22'<>@,;:()]+@[^\s\x22'<>@,;:()]+").ok());
static DIGITS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\+?\d(?:[ ().\-/]{0,2}\d){8,}").ok());

/// Masks e-mail addresses and numbers as long as a phone's, and cuts what is too long.
pub(crate) fn text(text: &str) -> String {
    shortened(&identities(text), LONGEST)
}

/// Masks e-mail addresses and numbers as long as a phone's.
pub(crate) fn identities(text: &str) -> String {
    let text = match &*EMAIL {
        Some(email) => email.replace_all(text, "***@***"),
        None => text.into(),
    };
    match &*DIGITS {
        Some(digits) => {
            digits.replace_all(&text, |found: &Captures<'_>| masked_digits(&found[0])).into_owned()
        }
        None => text.into_owned(),
    }
}

/// Keeps two digits, so that an operator recognises the number that they look for.
fn masked_digits(digits: &str) -> String {
    let keep = digits.char_indices().rev().nth(1).map_or(0, |(at, _)| at);
    format!("***{}", &digits[keep..])
}

/// Cuts a text to `most` characters.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn people_cannot_be_recognised_in_messages() {
        let table = [
            ("e-mail", "cannot read \"Ann.Doe+x@example.co.uk\"", "cannot read \"***@***\""),
            ("phone", "bad phone \"+49 (0)30 901820-12\"", "bad phone \"***12\""),
            ("money stays", "cannot read \"1,299\" or 49.00", "cannot read \"1,299\" or 49.00"),
            ("dates stay", "not a time: 2026-13", "not a time: 2026-13"),
        ];
        for (what, text, expected) in table {
            assert_eq!(super::text(text), expected, "{what}");
        }
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        assert_eq!(super::text(&"ü".repeat(500)).chars().count(), 401);
    }
}
