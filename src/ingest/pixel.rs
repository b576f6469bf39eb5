//! Tracking pixels: an event in the query of a picture.
//!
//! Segment's carries it as `data=` base64url of JSON, or like RudderStack's as one parameter for each
//! field, with a dotted name (`properties.subject=Hi`).

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::IngestError;
use super::query::Query;
use crate::clock::Time;
use crate::spec::Object;

/// A transparent picture of one pixel.
pub(super) const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\
    \x21\xf9\x04\x01\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// Names are taken apart at their dots, this often at most: a name is written by anybody.
const MAX_DEPTH: usize = 8;

/// Parameters that are meant for Segue and are no part of the event.
const OWN_PARAMETERS: [&str; 3] = ["writeKey", "token", "replay"];

const PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const ALPHABETS: [GeneralPurpose; 2] =
    [GeneralPurpose::new(&URL_SAFE, PADDING), GeneralPurpose::new(&STANDARD, PADDING)];

/// The event of a pixel, as JSON. One without a time happens now: only that tells a mail that was
/// opened twice from a repeated request.
///
/// # Errors
/// `data` cannot be read.
pub(super) fn event(query: &Query, now: Time) -> Result<Vec<u8>, IngestError> {
    let mut event = match query.get("data") {
        Some(data) => read_data(data)?,
        None => read_parameters(query),
    };
    if !["timestamp", "originalTimestamp"].iter().any(|name| event.contains_key(*name)) {
        event.insert("timestamp".into(), Value::String(now.to_string()));
    }
    serde_json::to_vec(&event).map_err(|error| IngestError::InvalidJson(error.to_string()))
}

fn read_data(data: &str) -> Result<Object, IngestError> {
    let data = data.trim().replace(' ', "+");
    let json = ALPHABETS
        .iter()
        .find_map(|alphabet| alphabet.decode(&data).ok())
        .ok_or_else(|| IngestError::InvalidJson("data= is not base64".into()))?;
    serde_json::from_slice(&json).map_err(|error| IngestError::InvalidJson(error.to_string()))
}

fn read_parameters(query: &Query) -> Object {
    let mut event = Object::new();
    for (name, value) in query.pairs().filter(|(name, _)| !OWN_PARAMETERS.contains(name)) {
        // RudderStack's snippet puts the anonymous id in quotes.
        let value = if name == "anonymousId" { value.trim_matches('"') } else { value };
        insert(&mut event, name, value);
    }
    event
}

/// Sets a field by its dotted name. Where a shorter name already has a text, the text stays.
fn insert(event: &mut Object, name: &str, value: &str) {
    let mut at = event;
    let mut parts = name.splitn(MAX_DEPTH, '.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            at.entry(part).or_insert_with(|| Value::String(value.into()));
            return;
        }
        match at.entry(part).or_insert_with(|| Value::Object(Object::new())) {
            Value::Object(inner) => at = inner,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pixels_query_is_an_event() {
        let now = Time::parse("2026-01-15T12:00:00.000Z").unwrap();
        let at = "2026-01-15T12:00:00.000Z";
        let table = [
            (
                "dotted names nest",
                "event=Email%20Opened&properties.subject=Hi&properties.a.b=1&writeKey=k",
                json!({"event": "Email Opened", "properties": {"subject": "Hi", "a": {"b": "1"}}, "timestamp": at}),
            ),
            (
                "a quoted anonymous id",
                "anonymousId=%22anon-77%22",
                json!({"anonymousId": "anon-77", "timestamp": at}),
            ),
            ("a name that goes into a text", "a=1&a.b=2", json!({"a": "1", "timestamp": at})),
            (
                "base64 of JSON without padding",
                "data=eyJ1c2VySWQiOiJ1MSJ9",
                json!({"userId": "u1", "timestamp": at}),
            ),
            (
                "its own time stays",
                "userId=u&timestamp=2020-01-01T00:00:00Z",
                json!({"userId": "u", "timestamp": "2020-01-01T00:00:00Z"}),
            ),
        ];
        for (what, query, expected) in table {
            let event = event(&Query::parse(query), now).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&event).unwrap(), expected, "{what}");
        }
    }

    #[test]
    fn a_name_of_a_thousand_dots_is_no_deep_event() {
        let query = format!("{}=x", "a.".repeat(60_000));
        let event = event(&Query::parse(&query), Time::default()).unwrap();
        let event: Value = serde_json::from_slice(&event).unwrap();
        assert!(event.pointer("/a/a/a/a/a/a/a").is_some_and(Value::is_object));
    }
}
