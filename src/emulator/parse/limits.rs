//! The limits that Customer.io publishes.

use serde_json::Value;

use super::Problem;
use crate::spec::Object;

const ID_BYTES: usize = 150;
const ATTRIBUTE_NAME_BYTES: usize = 150;
const ATTRIBUTE_VALUE_BYTES: usize = 1000;
const EVENT_NAME_BYTES: usize = 100;
const EVENT_DATA_BYTES: usize = 100_000;
const OBJECT_BYTES: usize = 100_000;
pub(super) const SEGMENT_IDS: usize = 1000;

/// Attributes of one person, and in one call.
pub(in crate::emulator) const ATTRIBUTES: usize = 300;

/// Kilobytes of one v2 item.
const ITEM_KILOBYTES: usize = 32;
/// Kilobytes of one v2 batch.
const BATCH_KILOBYTES: usize = 500;

/// The id of a person or an object.
pub(super) fn id(field: &str, id: &str) -> Result<(), Problem> {
    at_most(field, "identifier", id.len(), ID_BYTES)
}

/// The name of an event. Pages and screens are named by addresses and have no such limit.
pub(super) fn event_name(field: &str, name: &str) -> Result<(), Problem> {
    at_most(field, "event name", name.len(), EVENT_NAME_BYTES)
}

/// The data of a v1 event.
pub(super) fn event_data(field: &str, data: &Object) -> Result<(), Problem> {
    at_most(field, "event data", size_of(data), EVENT_DATA_BYTES)
}

/// Attributes of a person: their number, names and values.
pub(super) fn attributes(field: &str, attributes: &Object) -> Result<(), Problem> {
    if attributes.len() > ATTRIBUTES {
        return Err(Problem::invalid(
            field,
            format!("cannot have more than {ATTRIBUTES} attributes"),
        ));
    }
    for (name, value) in attributes {
        let place = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
        at_most(&place, "property name", name.len(), ATTRIBUTE_NAME_BYTES)?;
        // Preferences are a tree of topics with a limit of its own.
        if name == "cio_subscription_preferences" {
            continue;
        }
        at_most(&place, "property value", value_bytes(value), ATTRIBUTE_VALUE_BYTES)?;
    }
    Ok(())
}

/// Attributes of an object or of a relationship.
pub(super) fn object_attributes(field: &str, given: &Object) -> Result<(), Problem> {
    attributes(field, given)?;
    at_most(field, "attributes", size_of(given), OBJECT_BYTES)
}

/// One v2 item, as sent.
pub(super) fn item(bytes: usize, kilobyte: usize) -> Result<(), Problem> {
    at_most("", "request", bytes, ITEM_KILOBYTES.saturating_mul(kilobyte))
}

/// One v2 batch, as sent.
pub(super) fn batch(bytes: usize, kilobyte: usize) -> Result<(), Problem> {
    at_most("batch", "request", bytes, BATCH_KILOBYTES.saturating_mul(kilobyte))
}

fn at_most(field: &str, what: &str, bytes: usize, limit: usize) -> Result<(), Problem> {
    if bytes <= limit {
        return Ok(());
    }
    Err(Problem::invalid(field, format!("{what} cannot be longer than {limit} bytes")))
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Null => 0,
        other => other.to_string().len(),
    }
}

fn size_of(object: &Object) -> usize {
    serde_json::to_vec(object).map_or(usize::MAX, |bytes| bytes.len())
}
