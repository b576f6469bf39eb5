//! The limits that Customer.io publishes, and what is measured against them before anything is sent.
//!
//! Over a limit Customer.io refuses an item, or stores nothing and still answers 200, so Segue says
//! it first and names the field. Sizes are bytes of UTF-8. Where the vendor writes "kb" without
//! saying whether that is 1000 or 1024, the smaller one holds, as in its own clients.
//!
//! Not here: what a mapping shortens (the mappings), how batches are filled ([`crate::delivery`]).

use serde_json::Value;

use super::attributes::Attributes;
use super::mapping::MapError;
use super::{PersonId, Who};

/// The identifier of a person or an object, and the type of an object.
pub const ID_BYTES: usize = 150;
/// The name of an attribute.
pub const ATTRIBUTE_NAME_BYTES: usize = 150;
/// The value of an attribute of a person, an object or a relationship. Properties of events have no
/// limit of their own.
pub const ATTRIBUTE_VALUE_BYTES: usize = 1_000;
/// Attributes in one call.
pub const ATTRIBUTES: usize = 300;
/// The name of an event; names of pages and screens have no limit.
pub const EVENT_NAME_BYTES: usize = 100;
/// The data of an event on Track v1.
pub const EVENT_DATA_BYTES: usize = 100_000;
/// An item of a v2 batch.
pub const ITEM_BYTES: usize = 32_000;
/// A v2 batch: 500 kb are published, the vendor's own Python client stays at this.
pub const BATCH_BYTES: usize = 475_000;
/// Items of a v2 batch. The vendor publishes no number; this bounds what one failure concerns.
pub const BATCH_ITEMS: usize = 500;

/// Attributes that instruct Customer.io instead of being stored.
const INSTRUCTIONS: [&str; 7] =
    ["id", "email", "cio_id", "anonymous_id", "_update", "_timestamp", "cio_relationships"];

/// Refuses `size` over `limit`.
pub(super) fn within(field: &str, size: usize, limit: usize) -> Result<(), MapError> {
    if size <= limit {
        return Ok(());
    }
    Err(MapError::Limit { field: shortened(field), limit, size, unit: "bytes" })
}

/// Measures the identifier of a person.
pub(super) fn person(person: &PersonId) -> Result<(), MapError> {
    within(person.kind(), person.value().len(), ID_BYTES)
}

/// Measures the identifier of a person; for anonymous ids nothing is published.
pub(super) fn who(who: &Who) -> Result<(), MapError> {
    who.person().map_or(Ok(()), person)
}

/// Measures attributes that are stored: how many, how long their names and values. In objects within
/// them it is the texts that count, for nothing is published about the whole.
pub(super) fn attributes(place: &str, attributes: &Attributes<'_>) -> Result<(), MapError> {
    let mut count = 0;
    for (name, value) in attributes.sent() {
        count += usize::from(!INSTRUCTIONS.contains(&name.as_str()));
        attribute(place, name, value)?;
    }
    for (name, value) in attributes.settings() {
        count += usize::from(!INSTRUCTIONS.contains(&name));
        within_name(place, name)?;
        match (value.as_json(), value.as_str()) {
            (Some(value), _) => attribute(place, name, value)?,
            (None, Some(text)) => within_value(place, name, text)?,
            (None, None) => {}
        }
    }
    if count > ATTRIBUTES {
        let field = place.to_owned();
        return Err(MapError::Limit { field, limit: ATTRIBUTES, size: count, unit: "entries" });
    }
    Ok(())
}

fn attribute(place: &str, name: &str, value: &Value) -> Result<(), MapError> {
    within_name(place, name)?;
    stored(place, name, value)
}

fn stored(place: &str, name: &str, value: &Value) -> Result<(), MapError> {
    match value {
        Value::String(text) => within_value(place, name, text),
        Value::Object(inner) if name != "cio_relationships" && !inner.is_empty() => {
            let place = format!("{place}.{}", shortened(name));
            inner.iter().try_for_each(|(name, value)| attribute(&place, name, value))
        }
        Value::Array(items) => items.iter().try_for_each(|item| stored(place, name, item)),
        _ => Ok(()),
    }
}

fn within_name(place: &str, name: &str) -> Result<(), MapError> {
    if name.len() <= ATTRIBUTE_NAME_BYTES {
        return Ok(());
    }
    let field = format!("{place}: the name {}…", shortened(name));
    Err(MapError::Limit { field, limit: ATTRIBUTE_NAME_BYTES, size: name.len(), unit: "bytes" })
}

fn within_value(place: &str, name: &str, text: &str) -> Result<(), MapError> {
    if text.len() <= ATTRIBUTE_VALUE_BYTES {
        return Ok(());
    }
    let field = format!("{place}.{}", shortened(name));
    Err(MapError::Limit { field, limit: ATTRIBUTE_VALUE_BYTES, size: text.len(), unit: "bytes" })
}

/// Names come from outside: in a message they are cut.
fn shortened(name: &str) -> String {
    name.chars().take(60).collect()
}
