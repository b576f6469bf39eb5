//! What in an event says who somebody is: by the name of a key, its neighbours, and the value.
//!
//! Two things are made of it. [`redacted`] hides such values from whoever looks at traffic. [`Masker`]
//! puts invented people in their place, the same ones for the same values, so that a recorded event
//! can be kept as a fixture: whose event it is stays as clear as it was, who it is does not.
//!
//! It errs on the side of hiding. What it cannot know is a name inside a free text.
//!
//! Not here: masking in messages of scripts ([`crate::transform`]).

mod masker;

pub use masker::Masker;

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::{Object, names};

/// What stands for a hidden value.
const HIDDEN: &str = "***";

static EMAIL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"[^\s\x22'<>@,;:()=?&/]+@[^\s\x22'<>@,;:()?&/]+\.[A-Za-z]{2,}").ok()
});
static INTERNATIONAL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^\s*(?:\+|00)\d(?:[ ().\-/]{0,2}\d){7,14}\s*$").ok());

/// What a value tells about a person.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Personal {
    /// An e-mail address.
    Email,
    /// A phone number.
    Phone,
    /// A first name.
    FirstName,
    /// A last name.
    LastName,
    /// A whole name.
    FullName,
    /// A street with its number.
    Street,
    /// A postal code.
    PostalCode,
    /// A place.
    Place,
    /// A day of birth.
    Birthday,
    /// An address on the network.
    Ip,
    /// A token of a device, or a click id: it leads to one device.
    Token,
}

/// Keys, as [`names::key`] writes them, and what their values tell.
const KEYS: [(&str, Personal); 44] = [
    ("phone", Personal::Phone),
    ("phone_number", Personal::Phone),
    ("mobile", Personal::Phone),
    ("mobile_number", Personal::Phone),
    ("mobile_phone", Personal::Phone),
    ("telephone", Personal::Phone),
    ("msisdn", Personal::Phone),
    ("fax", Personal::Phone),
    ("whatsapp", Personal::Phone),
    ("first_name", Personal::FirstName),
    ("firstname", Personal::FirstName),
    ("given_name", Personal::FirstName),
    ("nickname", Personal::FirstName),
    ("last_name", Personal::LastName),
    ("lastname", Personal::LastName),
    ("family_name", Personal::LastName),
    ("surname", Personal::LastName),
    ("maiden_name", Personal::LastName),
    ("full_name", Personal::FullName),
    ("fullname", Personal::FullName),
    ("display_name", Personal::FullName),
    ("customer_name", Personal::FullName),
    ("recipient_name", Personal::FullName),
    ("username", Personal::FullName),
    ("user_name", Personal::FullName),
    ("street", Personal::Street),
    ("street_address", Personal::Street),
    ("address", Personal::Street),
    ("address_1", Personal::Street),
    ("address_2", Personal::Street),
    ("address1", Personal::Street),
    ("address2", Personal::Street),
    ("postal_code", Personal::PostalCode),
    ("postcode", Personal::PostalCode),
    ("zip", Personal::PostalCode),
    ("zip_code", Personal::PostalCode),
    ("zipcode", Personal::PostalCode),
    ("city", Personal::Place),
    ("birthday", Personal::Birthday),
    ("birth_date", Personal::Birthday),
    ("birthdate", Personal::Birthday),
    ("date_of_birth", Personal::Birthday),
    ("ip", Personal::Ip),
    ("ip_address", Personal::Ip),
];

/// Keys whose `name` is a person's.
const PEOPLE: [&str; 14] = [
    "traits",
    "user",
    "customer",
    "person",
    "contact",
    "recipient",
    "shipping",
    "billing",
    "shipping_address",
    "billing_address",
    "address",
    "profile",
    "buyer",
    "subscriber",
];

/// Keys of what leads to one device.
const TOKENS: [&str; 8] = [
    "token",
    "device_token",
    "advertising_id",
    "gclid",
    "fbclid",
    "latitude",
    "longitude",
    "user_agent_data",
];

/// What the value at `key` tells, where `parent` is the key of the object around it.
pub fn kind_of(parent: &str, key: &str, value: &Value) -> Option<Personal> {
    let text = match value {
        Value::String(text) if !text.trim().is_empty() => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let folded = names::key(key);
    if is_email(&text) {
        return Some(Personal::Email);
    }
    if let Some((_, kind)) = KEYS.iter().find(|(known, _)| *known == folded) {
        return Some(*kind);
    }
    if folded == "name" && PEOPLE.contains(&names::key(parent).as_str()) {
        return Some(Personal::FullName);
    }
    // `billing_phone`, `customer_first_name`: a word in front says whose it is.
    let tail = KEYS.iter().find(|(known, _)| {
        known.len() > 3 && folded.strip_suffix(known).is_some_and(|front| front.ends_with('_'))
    });
    if let Some((_, kind)) = tail {
        return Some(*kind);
    }
    if TOKENS.contains(&folded.as_str()) {
        return Some(Personal::Token);
    }
    INTERNATIONAL.as_ref().is_some_and(|phone| phone.is_match(&text)).then_some(Personal::Phone)
}

/// Whether the whole text is an e-mail address.
fn is_email(text: &str) -> bool {
    let text = text.trim();
    EMAIL.as_ref().and_then(|email| email.find(text)).is_some_and(|found| found.len() == text.len())
}

/// A copy of an event in which nothing tells who somebody is, but for the ids.
pub fn redacted(fields: &Object) -> Object {
    redacted_object(fields, "")
}

/// A value as [`redacted`] shows it at this path, such as `properties.products[].name`.
pub fn redacted_at(path: &str, value: &Value) -> Value {
    let keys: Vec<&str> = path.split('.').map(|key| key.trim_end_matches("[]")).collect();
    let key = keys.last().copied().unwrap_or_default();
    let parent = keys.len().checked_sub(2).map_or("", |at| keys[at]);
    redacted_value(parent, key, value)
}

fn redacted_object(fields: &Object, parent: &str) -> Object {
    fields
        .iter()
        .map(|(key, value)| (without_emails(key), redacted_value(parent, key, value)))
        .collect()
}

fn redacted_value(parent: &str, key: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(redacted_object(fields, key)),
        Value::Array(items) => items.iter().map(|item| redacted_value(parent, key, item)).collect(),
        value if kind_of(parent, key, value).is_some() => Value::from(HIDDEN),
        Value::String(text) => without_emails(text).into(),
        other => other.clone(),
    }
}

/// A text with every e-mail address hidden.
pub fn without_emails(text: &str) -> String {
    match &*EMAIL {
        Some(email) if text.contains('@') => email.replace_all(text, "***@***").into_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_names_a_person_is_found_by_its_key_its_neighbours_or_its_value() {
        #[rustfmt::skip]
        let table = [
            ("an e-mail address under any key", "properties", "referrer", json!("ann@example.com"), Some(Personal::Email)),
            ("a phone number", "traits", "phoneNumber", json!("030 1234567"), Some(Personal::Phone)),
            ("one that is a number", "traits", "phone", json!(491234567890_u64), Some(Personal::Phone)),
            ("one under any key", "properties", "contact_via", json!("+49 30 901820"), Some(Personal::Phone)),
            ("a word in front", "properties", "billing_first_name", json!("Ann"), Some(Personal::FirstName)),
            ("a person's name", "traits", "name", json!("Ann Doe"), Some(Personal::FullName)),
            ("a product's name", "products", "name", json!("Mug"), None),
            ("a first name in camel case", "traits", "firstName", json!("Ann"), Some(Personal::FirstName)),
            ("a street", "address", "street", json!("Main St 1"), Some(Personal::Street)),
            ("an address on the network", "context", "ip", json!("10.0.0.1"), Some(Personal::Ip)),
            ("words that only end alike", "properties", "recipe", json!("tarte"), None),
            ("an order's number", "properties", "order_id", json!("1001002003004"), None),
            ("nothing", "traits", "phone", json!(null), None),
        ];
        for (what, parent, key, value, expected) in table {
            assert_eq!(kind_of(parent, key, &value), expected, "{what}");
        }
    }

    #[test]
    fn a_redacted_event_tells_what_happened_and_not_to_whom() {
        let event = json!({
            "type": "track", "event": "Order Completed", "userId": "u-1",
            "properties": {
                "order_id": "1001", "email": "ann@example.com", "total": 49.00,
                "note": "call ann@example.com", "customer": {"name": "Ann", "vip": true},
                "products": [{"name": "Mug"}], "phones": ["+4930901820"],
            },
        });
        let shown = redacted(event.as_object().unwrap());
        let properties = &shown["properties"];
        assert_eq!(shown["userId"], "u-1");
        assert_eq!(properties["email"], "***");
        assert_eq!(properties["note"], "call ***@***");
        assert_eq!(properties["customer"], json!({"name": "***", "vip": true}));
        assert_eq!(properties["products"][0]["name"], "Mug");
        assert_eq!(properties["phones"], json!(["***"]));
        assert_eq!(properties["total"], 49.0);
        assert_eq!(redacted_at("properties.products[].name", &json!("Mug")), "Mug");
        assert_eq!(redacted_at("traits.name", &json!("Ann")), "***");
    }
}
