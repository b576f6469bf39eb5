//! Reads the keys of one JSON object, each with the type that the specification gives it.

use serde_json::Value;

use super::Problem;
use crate::emulator::operation::Note;
use crate::spec::{Object, json_kind};

/// A time in seconds beyond this is certainly in milliseconds: the year 5138.
const PLAUSIBLE_SECONDS: i64 = 100_000_000_000;

/// An object that is being read, with its place in the body for messages.
pub(super) struct Fields<'a> {
    object: &'a mut Object,
    place: &'a str,
}

impl<'a> Fields<'a> {
    /// `place` is the path of the object, empty for the body itself.
    pub(super) fn new(object: &'a mut Object, place: &'a str) -> Self {
        Self { object, place }
    }

    /// The full path of a key.
    pub(super) fn path(&self, name: &str) -> String {
        if self.place.is_empty() { name.into() } else { format!("{}.{name}", self.place) }
    }

    /// Moves a value out instead of copying it: the object is read once.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.object.get_mut(name).map(Value::take)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// A text, if the key is there.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(self.path(name), "a string", &other)),
        }
    }

    /// A text that must be there and not blank.
    pub(super) fn required_text(&mut self, name: &str) -> Result<String, Problem> {
        match self.text(name)? {
            None => Err(Problem::required(self.path(name))),
            Some(text) if text.trim().is_empty() => {
                Err(Problem::invalid(self.path(name), "must not be blank"))
            }
            Some(text) => Ok(text),
        }
    }

    /// A boolean, if the key is there.
    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        match self.object.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_type(self.path(name), "a boolean", other)),
        }
    }

    /// An object, if the key is there.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Object>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(other) => Err(wrong_type(self.path(name), "an object", &other)),
        }
    }

    /// An object that must be there.
    pub(super) fn required_object(&mut self, name: &str) -> Result<Object, Problem> {
        self.object(name)?.ok_or_else(|| Problem::required(self.path(name)))
    }

    /// An array, if the key is there.
    pub(super) fn array(&mut self, name: &str) -> Result<Option<Vec<Value>>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(other) => Err(wrong_type(self.path(name), "an array", &other)),
        }
    }

    /// A time in whole seconds since 1970, if the key is there. Milliseconds and times before 1970
    /// are integers too: they are let through, with a note.
    pub(super) fn seconds(
        &mut self,
        name: &str,
        notes: &mut Vec<Note>,
    ) -> Result<Option<i64>, Problem> {
        let Some(value) = self.object.get(name) else { return Ok(None) };
        let Some(seconds) = whole_number(value) else {
            return Err(wrong_type(self.path(name), "an integer, in seconds since 1970", value));
        };
        notes.extend(odd_time(seconds));
        Ok(Some(seconds))
    }
}

/// An object out of a list.
pub(super) fn object_in(value: Value, place: &str) -> Result<Object, Problem> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(wrong_type(place.into(), "an object", &other)),
    }
}

/// A whole number; `1.0` is one, as in JSON Schema.
pub(super) fn whole_number(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    number.as_i64().or_else(|| {
        let value = number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() < 9e15)?;
        // A whole number that an i64 holds exactly.
        #[allow(clippy::cast_possible_truncation)]
        Some(value as i64)
    })
}

/// What is odd about a time.
pub(super) fn odd_time(seconds: i64) -> Option<Note> {
    if seconds < 0 {
        Some(Note::TimeBefore1970)
    } else {
        (seconds > PLAUSIBLE_SECONDS).then_some(Note::TimeInMilliseconds)
    }
}

fn wrong_type(field: String, expected: &str, value: &Value) -> Problem {
    Problem::invalid(field, format!("must be {expected}, not {}", json_kind(value)))
}
