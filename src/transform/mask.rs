//! Hides what identifies a person in texts for operators.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// The longest message that is kept.
const LONGEST: usize = 400;

static EMAIL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[^\s\x22'<>@,;:()]+@[^\s\x22'<>@,;:()]+").ok());
static DIGITS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\+?\d(?:[ ().\-/]{0,2}\d){8,}").ok());

static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}|\d{1,3}(?:\.\d{1,3}){3}").ok()
});

/// What identifies a person or their means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pii {
    Email,
    Phone,
    Card,
    Ip,
}

impl Pii {
    pub(crate) const ALL: [Self; 4] = [Self::Email, Self::Phone, Self::Card, Self::Ip];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "email" => Self::Email,
            "phone" => Self::Phone,
            "card" => Self::Card,
            "ip" => Self::Ip,
            _ => return None,
        })
    }
}

/// Masks only some kinds. A long number is a card's when its check digit is right, else a phone's.
pub(crate) fn only(text: &str, kinds: &[Pii]) -> String {
    let mut text = text.to_owned();
    if let (Some(address), true) = (&*ADDRESS, kinds.contains(&Pii::Ip)) {
        let masked = address.replace_all(&text, |found: &Captures<'_>| {
            let is_one = found[0].parse::<std::net::IpAddr>().is_ok();
            if is_one { "***.***.***.***".to_owned() } else { found[0].to_owned() }
        });
        text = masked.into_owned();
    }
    if let (Some(email), true) = (&*EMAIL, kinds.contains(&Pii::Email)) {
        text = email.replace_all(&text, "***@***").into_owned();
    }
    if let Some(digits) = &*DIGITS {
        let masked = digits.replace_all(&text, |found: &Captures<'_>| {
            let kind = if is_card(&found[0]) { Pii::Card } else { Pii::Phone };
            if kinds.contains(&kind) { masked_digits(&found[0]) } else { found[0].to_owned() }
        });
        text = masked.into_owned();
    }
    text
}

/// Luhn's check, which every card number passes.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 => *digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    !text.starts_with('+') && (13..=19).contains(&digits.len()) && sum.is_multiple_of(10)
}

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
