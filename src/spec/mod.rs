//! Stage 2: a raw call becomes an [`Event`]: ids are texts, times are times, traits are in one place.
//!
//! Decides by the published rules of the vendor that sent it (`Vendor`): where traits live, whether a
//! time is corrected for a wrong device clock, what a batch hands down to its elements. Everything
//! behind this stage, scripts included, sees one shape.
//!
//! Not here: who may send ([`crate::ingest`]), how old is too old ([`crate::guard`]), whose event it
//! is ([`crate::identity`]).

mod arrival;
mod event;
mod fingerprint;
pub mod ids;
mod mend;
pub mod names;
mod object;
pub mod personal;
mod sketch;
pub mod timestamp;

pub use arrival::{Arrival, BatchDefaults, Ingress, RawCall, Replay, Traffic};
pub use event::{Call, Event, EventTime, TimeOrigin};
pub use fingerprint::Fingerprint;
pub(crate) use object::{field, field_mut};
pub use sketch::Sketch;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::outcome::{DeadCode, DeadLetter, Stage};

/// A JSON object with its keys in the order in which they were written.
pub type Object = Map<String, Value>;

/// Whose rules a source follows.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// Segment: times are always corrected, batch-level `context` is merged.
    #[default]
    Segment,
    /// RudderStack: a readable `timestamp` is kept, traits may be in `context.traits`.
    Rudderstack,
}

impl Vendor {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Rudderstack => "rudderstack",
        }
    }
}

/// Turns one raw call into an event by the rules of `vendor`.
///
/// # Errors
/// The dead letter to write when the call is no JSON object, has an unknown `type`, or has `traits`,
/// `properties`, `context` or `integrations` that are not objects.
pub fn normalise(call: &mut RawCall, vendor: Vendor) -> Result<Event, DeadLetter> {
    let fingerprint = call.fingerprint();
    let mut fields = call.take_fields().map_err(|problem| {
        DeadLetter::new(
            DeadCode::InvalidJson,
            Stage::Spec,
            format!("the event cannot be read: {problem}"),
        )
    })?;
    let arrival = &call.arrival;
    let kind = read_call(arrival, &fields)?;
    if vendor == Vendor::Segment
        && let Some(defaults) = &arrival.batch
    {
        defaults.merge_into(&mut fields);
    }
    for name in ["properties", "traits", "context", "integrations"] {
        expect_object(&mut fields, name)?;
    }
    if kind == Call::Alias {
        read_documented_alias(&mut fields);
    }
    ids::normalise(&mut fields);
    if vendor == Vendor::Rudderstack {
        lift_context_traits(kind, &mut fields);
    }
    let times = timestamp::read(vendor, arrival, &fields);
    if !ids::is_present(field(&fields, "messageId")) {
        fields.insert("messageId".into(), Value::String(fingerprint.message_id()));
    }
    fields.insert("type".into(), Value::String(kind.as_str().into()));
    keep_unreadable_time(&times, &mut fields);
    fields.insert("timestamp".into(), Value::String(times.event.at.to_string()));
    fields.insert("receivedAt".into(), Value::String(times.received_at.to_string()));
    Ok(Event::new(kind, fields, times.event, times.received_at, fingerprint))
}

/// A stated time that nobody can read is kept under its old name, so that a script can: the time of
/// receipt stands in its place.
fn keep_unreadable_time(times: &timestamp::Times, fields: &mut Object) {
    if times.event.origin == TimeOrigin::Received
        && !fields.contains_key("originalTimestamp")
        && let Some(stated @ Value::String(text)) = field(fields, "timestamp")
        && !text.trim().is_empty()
    {
        fields.insert("originalTimestamp".into(), stated.clone());
    }
}

/// The type of a call: what its path says, else its `type`.
fn read_call(arrival: &Arrival, fields: &Object) -> Result<Call, DeadLetter> {
    if let Some(call) = arrival.call {
        return Ok(call);
    }
    let unknown = |said: String| {
        let message = format!("{said}; expected one of {}", Call::NAMES.join(", "));
        Err(DeadLetter::new(DeadCode::UnknownType, Stage::Spec, message))
    };
    match field(fields, "type") {
        Some(Value::String(name)) => match Call::from_name(name) {
            Some(call) => Ok(call),
            None => unknown(format!("type {:?} is not known", shortened(name))),
        },
        None | Some(Value::Null) => unknown("the event has no type".into()),
        Some(_) => unknown("type is not a text".into()),
    }
}

/// Ids and names in messages are cut: they come from outside.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// `null` and an empty list are absent; anything else that is not an object cannot be mapped.
fn expect_object(fields: &mut Object, name: &str) -> Result<(), DeadLetter> {
    match field(fields, name) {
        None | Some(Value::Object(_)) => Ok(()),
        Some(Value::Null) => {
            fields.shift_remove(name);
            Ok(())
        }
        // What PHP makes of a map without entries.
        Some(Value::Array(items)) if items.is_empty() => {
            fields.shift_remove(name);
            Ok(())
        }
        Some(other) => Err(DeadLetter::new(
            DeadCode::InvalidEvent,
            Stage::Spec,
            format!("{name} must be an object, not {}", json_kind(other)),
        )),
    }
}

/// What a value is called in messages.
pub(crate) fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Segment's documentation shows alias with the keys `Previous ID` and `User ID`.
fn read_documented_alias(fields: &mut Object) {
    for (documented, name) in [("Previous ID", "previousId"), ("User ID", "userId")] {
        if !fields.contains_key(name)
            && let Some(value) = fields.shift_remove(documented)
        {
            fields.insert(name.into(), value);
        }
    }
}

/// RudderStack's SDKs put a person's traits into `context.traits`; the root wins when it is there,
/// and the two are never merged. A group's traits describe the group and stay where they are.
fn lift_context_traits(call: Call, fields: &mut Object) {
    if call != Call::Identify || fields.contains_key("traits") {
        return;
    }
    let lifted = fields.get("context").and_then(|context| context.get("traits")).cloned();
    if let Some(traits @ Value::Object(_)) = lifted {
        fields.insert("traits".into(), traits);
    }
}

#[cfg(test)]
mod tests;
