//! Invented people in place of real ones, the same for the same value.
//!
//! What is put there is chosen by a hash of what was there, so that two events that were captured on
//! different days still show one person, and so that capturing again changes nothing. Many values
//! share one replacement: there is no way back.

use std::collections::HashMap;

use serde_json::{Number, Value};
use sha2::{Digest as _, Sha256};

use super::{EMAIL, Personal, is_email, kind_of};
use crate::spec::Object;

const FIRST: [&str; 16] = [
    "Ada", "Ben", "Cleo", "Dario", "Edda", "Femi", "Greta", "Hugo", "Ines", "Jona", "Kaya", "Liam",
    "Mira", "Nils", "Olga", "Pablo",
];
const LAST: [&str; 16] = [
    "Adler", "Brook", "Castro", "Dahl", "Eriksen", "Fischer", "Grant", "Holm", "Ivers", "Jansen",
    "Keller", "Lund", "Moreno", "Novak", "Olsen", "Price",
];
/// The ids that say whose event it is.
const IDS: [&str; 5] = ["userId", "anonymousId", "previousId", "Previous ID", "User ID"];
/// Shorter ids are looked for where ids stand, not in every text.
const SHORTEST_ID: usize = 6;

/// Replaces what says who somebody is.
#[derive(Clone, Debug, Default)]
pub struct Masker {
    /// Ids that were met, with what stands for each.
    ids: HashMap<String, String>,
}

impl Masker {
    /// A copy of an event with invented people. Ids are replaced wherever they stand in it.
    pub fn mask(&mut self, fields: &Object) -> Object {
        for name in IDS {
            if let Some(id) = fields.get(name).and_then(plain) {
                let prefix = if name == "anonymousId" { "anon" } else { "user" };
                let masked = if is_email(&id) { email(&id) } else { masked_id(prefix, &id) };
                self.ids.entry(id).or_insert(masked);
            }
        }
        self.object(fields, "")
    }

    /// A text with invented e-mail addresses, and ids replaced.
    fn text(&self, text: &str) -> String {
        if let Some(masked) = self.ids.get(text) {
            return masked.clone();
        }
        let mut text = text.to_owned();
        for (id, masked) in self.ids.iter().filter(|(id, _)| id.len() >= SHORTEST_ID) {
            text = text.replace(id, masked);
        }
        match &*EMAIL {
            Some(pattern) if text.contains('@') => pattern
                .replace_all(&text, |found: &regex::Captures<'_>| email(&found[0]))
                .into_owned(),
            _ => text,
        }
    }

    fn object(&self, fields: &Object, parent: &str) -> Object {
        fields.iter().map(|(key, value)| (self.text(key), self.value(parent, key, value))).collect()
    }

    fn value(&self, parent: &str, key: &str, value: &Value) -> Value {
        match value {
            Value::Object(fields) => return Value::Object(self.object(fields, key)),
            Value::Array(items) => {
                return items.iter().map(|item| self.value(parent, key, item)).collect();
            }
            _ => {}
        }
        let Some(text) = plain(value) else { return value.clone() };
        if let Some(masked) = self.ids.get(&text) {
            return masked.clone().into();
        }
        let is_number = value.is_number();
        match kind_of(parent, key, value) {
            Some(kind) => replacement(kind, &text, is_number),
            None if is_number => value.clone(),
            None => self.text(&text).into(),
        }
    }
}

/// A text or a number as a text.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn replacement(kind: Personal, text: &str, is_number: bool) -> Value {
    let digits = |text: &str| masked_digits(text);
    let masked = match kind {
        Personal::Email => {
            // Spaces and capitals are what scripts have to deal with: they stay.
            return Value::from(text.replace(text.trim(), &in_case_of(text, email(text.trim()))));
        }
        Personal::Phone if is_number => {
            let text = digits(text);
            return text.parse::<Number>().map_or_else(|_| text.into(), Value::Number);
        }
        Personal::Phone | Personal::PostalCode => digits(text),
        Personal::FirstName => first(text).to_owned(),
        Personal::LastName => last(text).to_owned(),
        Personal::FullName if text.contains(' ') => format!("{} {}", first(text), last(text)),
        Personal::FullName => first(text).to_owned(),
        Personal::Street => format!("{} Street {}", last(text), 1 + hash(text) % 99),
        Personal::Place => format!("{}town", last(text)),
        Personal::Birthday if text.starts_with(|c: char| c.is_ascii_digit()) => {
            format!(
                "19{:02}-{:02}-{:02}",
                50 + hash(text) % 50,
                1 + hash(text) % 12,
                1 + hash(text) % 28
            )
        }
        Personal::Birthday => "1990-01-01".into(),
        // From the range that is kept for examples.
        Personal::Ip => format!("203.0.113.{}", 1 + hash(text) % 254),
        Personal::Token if is_number => return Value::Number(Number::from(hash(text) % 90)),
        Personal::Token => masked_id("token", text),
    };
    masked.into()
}

/// An address that nobody has: `example.com` is kept for this.
fn email(text: &str) -> String {
    let text = text.to_lowercase();
    format!(
        "{}.{}{}@example.com",
        first(&text).to_lowercase(),
        last(&text).to_lowercase(),
        hash(&text) / 256 % 1000
    )
}

/// Capitals where the original was all capitals or began with one.
fn in_case_of(original: &str, masked: String) -> String {
    let letters = || original.chars().filter(|c| c.is_alphabetic());
    if letters().all(char::is_uppercase) {
        return masked.to_uppercase();
    }
    match letters().next().is_some_and(char::is_uppercase) {
        true => masked[..1].to_uppercase() + &masked[1..],
        false => masked,
    }
}

/// The same shape with other digits; the first three stay, so that a country stays that country.
fn masked_digits(text: &str) -> String {
    let mut state = hash(text);
    let kept = text.chars().filter(char::is_ascii_digit).count().min(8) / 3 + 1;
    let mut seen = 0;
    let digit = |c: char| {
        if !c.is_ascii_digit() {
            return c;
        }
        seen += 1;
        if seen <= kept {
            return c;
        }
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from((state >> 33) % 10).unwrap_or(0))
    };
    text.chars().map(digit).collect()
}

fn masked_id(prefix: &str, id: &str) -> String {
    format!("{prefix}-{:06x}", hash(id) & 0x00ff_ffff)
}

fn first(text: &str) -> &'static str {
    FIRST[usize::try_from(hash(text) % 16).unwrap_or(0)]
}

fn last(text: &str) -> &'static str {
    LAST[usize::try_from(hash(text) / 16 % 16).unwrap_or(0)]
}

fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn masked(event: &Value) -> Value {
        Value::Object(Masker::default().mask(event.as_object().unwrap()))
    }

    #[test]
    fn nobody_is_left_and_everybody_is_still_one_person() {
        let event = json!({
            "type": "identify", "messageId": "m-1", "userId": "customer-482913", "anonymousId": 77,
            "traits": {
                "email": "  Ann.Doe@Shop.example.org ", "phone": "+49 (0)30 901820-12", "name": "Ann Doe",
                "first_name": "Ann", "id": "customer-482913", "total": "49.00", "plan": "pro",
                "address": {"street": "Main 1", "postal_code": "10115", "city": "Berlin", "country": "DE"},
            },
            "context": {"ip": "8.8.8.8", "page": {"url": "https://shop.example.org/u/customer-482913?e=ann.doe@shop.example.org"}},
        });
        let found = masked(&event);
        let text = found.to_string();
        for secret in ["482913", "Ann", "ann.doe", "901820", "Main 1", "Berlin", "8.8.8.8", "10115"]
        {
            assert!(!text.contains(secret), "{secret} is still in {text}");
        }
        assert_eq!(found["userId"], found["traits"]["id"]);
        assert!(
            found["context"]["page"]["url"]
                .as_str()
                .unwrap()
                .contains(found["userId"].as_str().unwrap())
        );
        assert!(found["traits"]["email"].as_str().unwrap().starts_with("  "), "spaces stay");
        assert!(found["traits"]["phone"].as_str().unwrap().starts_with("+49 (0)"));
        assert_eq!(found["traits"]["plan"], "pro");
        assert_eq!(found["traits"]["total"], "49.00");
        assert_eq!(found["traits"]["address"]["country"], "DE");
        assert_eq!(found["messageId"], "m-1");
        assert_eq!(masked(&event), found, "the same again");
    }

    #[test]
    fn an_address_that_is_an_id_is_masked_as_an_address() {
        let found = masked(&json!({"userId": "ann@shop.org", "traits": {"email": "ann@shop.org"}}));
        assert_eq!(found["userId"], found["traits"]["email"]);
        assert!(found["userId"].as_str().unwrap().ends_with("@example.com"));
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic_and_no_key_gets_lost(keys in prop::collection::vec("[a-z_]{1,8}", 0..6), text in ".{0,40}") {
            let fields: Object = keys.iter().map(|key| (key.clone(), Value::from(text.clone()))).collect();
            let event: Object = [("traits".to_owned(), Value::Object(fields.clone())), ("userId".to_owned(), text.into())].into_iter().collect();
            let found = Masker::default().mask(&event);
            prop_assert!(found["traits"].as_object().unwrap().len() <= fields.len());
        }
    }
}
