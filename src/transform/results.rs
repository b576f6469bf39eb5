//! What a handler may return, and what it is told when it returned something else.

use rhai::{Dynamic, Position};
use serde_json::Value;

use super::error::code;
use super::handle::{ArrayHandle, MapHandle, Refusal, items_of, to_value, type_word};
use super::helpers::Drop;
use super::session::Session;
use crate::spec::{Call, Event, timestamp};

/// What a handler made of its event.
pub(crate) enum Outcome {
    /// One event, or several.
    Events(Vec<MapHandle>),
    /// Nothing, on purpose.
    Dropped(String),
}

/// Why a result cannot be used.
pub(crate) struct Problem {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) position: Position,
}

impl Problem {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), position: Position::NONE }
    }
}

/// Reads the result of a handler.
pub(crate) fn read_result(
    result: &Dynamic,
    handler: &str,
    original: &Event,
    session: &Session,
) -> Result<Outcome, Problem> {
    if let Some(drop) = result.read_lock::<Drop>() {
        return Ok(Outcome::Dropped(drop.reason.to_string()));
    }
    if let Some(position) = session.dropped.get() {
        let message = "drop(…) was called and its result not returned: write `return drop(…);`";
        return Err(Problem { position, ..Problem::new(code::NO_RESULT, message) });
    }
    if result.is::<ArrayHandle>() || result.is_array() {
        return read_array(&items_of(result).unwrap_or_default(), handler, original, session);
    }
    match read_event(result, original, session)? {
        Some(event) => Ok(Outcome::Events(vec![event])),
        None => Err(Problem::new(
            code::NO_RESULT,
            format!(
                "{handler} returned {}; return event, an array of events, or drop(\"reason\")",
                type_word(result)
            ),
        )),
    }
}

fn read_array(
    items: &[Dynamic],
    handler: &str,
    original: &Event,
    session: &Session,
) -> Result<Outcome, Problem> {
    if items.is_empty() {
        let message =
            format!("{handler} returned an empty array; to drop an event return drop(\"reason\")");
        return Err(Problem::new(code::NO_RESULT, message));
    }
    let most = session.bundle.limits().outputs;
    if items.len() > most {
        let message =
            format!("{handler} returned {} events; [limits] outputs allows {most}", items.len());
        return Err(Problem::new(code::TOO_MANY_OUTPUTS, message));
    }
    let mut events: Vec<MapHandle> = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let Some(event) = read_event(item, original, session)? else {
            let message =
                format!("element {at} of the result is {}, not an event", type_word(item));
            return Err(Problem::new(code::NOT_AN_EVENT, message));
        };
        if let Some(first) = events.iter().position(|other| other.is(&event)) {
            let message = format!(
                "elements {first} and {at} of the result are the same event: what one changes, the \
                 other has too. Make the second with event.copy()"
            );
            return Err(Problem::new(code::NOT_AN_EVENT, message));
        }
        events.push(event);
    }
    Ok(Outcome::Events(events))
}

/// An event: a handle, or a map that the script made itself.
fn read_event(
    value: &Dynamic,
    original: &Event,
    session: &Session,
) -> Result<Option<MapHandle>, Problem> {
    let event = if let Some(handle) = MapHandle::of(value) {
        if handle.is_frozen() {
            return Err(Problem::new(code::NOT_AN_EVENT, "a part of ctx was returned as an event"));
        }
        handle
    } else if value.is_map() {
        match to_value(value, 0, &session.budget) {
            Ok(Value::Object(fields)) => MapHandle::new(fields, 0, false),
            Ok(_) => return Ok(None),
            Err(Refusal::NotJson(what)) => {
                let message = format!("the result holds {what}, which JSON cannot express");
                return Err(Problem::new(code::NOT_JSON, message));
            }
            Err(_) => return Err(Problem::new(code::DATA, "the result is too large or too deep")),
        }
    } else {
        return Ok(None);
    };
    check_fields(&event, original)?;
    Ok(Some(event))
}

fn check_fields(event: &MapHandle, original: &Event) -> Result<(), Problem> {
    let known = |value: &Value| value.as_str().and_then(Call::from_name).is_some();
    if event.with_scalar("type", known) != Some(true) {
        let names = Call::NAMES.join(", ");
        let message = format!("the event that was returned has no type; it is one of {names}");
        return Err(Problem::new(code::NOT_AN_EVENT, message));
    }
    for name in ["properties", "traits", "context", "integrations"] {
        if !event.is_map_or_nothing(name) {
            let field = event.get(name);
            let message = format!(
                "{name} of the event that was returned is {}, not a map",
                type_word(&field)
            );
            return Err(Problem::new(code::NOT_AN_EVENT, message));
        }
    }
    let readable = |time: &Value| {
        Some(time) == original.fields().get("timestamp")
            || time.is_null()
            || timestamp::parse(time).is_some()
    };
    let timestamp = event.with_scalar("timestamp", readable);
    if timestamp == Some(false) || timestamp.is_none() && event.has("timestamp") {
        let message = "timestamp of the event that was returned cannot be read as a time";
        return Err(Problem::new(code::NOT_AN_EVENT, message));
    }
    Ok(())
}
