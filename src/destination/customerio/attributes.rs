//! Attributes of people, events, devices and objects: a view on what the event carries.
//!
//! An event's properties are most of what is sent, so they are not copied: a view borrows them, says
//! which keys are left out and which are set to something else, and is written straight into the
//! request. Segment's conversion of dates happens while it is written.
//!
//! Not here: which keys those are (the mappings), how large they may be (limits).

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::dates;
use crate::spec::Object;

/// What becomes of texts that are dates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dates {
    /// They stay texts.
    AsSent,
    /// They become seconds, in objects at any depth, not in arrays.
    Seconds,
}

/// One attribute that is set by the mapping.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Setting<'e> {
    /// As the event has it.
    Sent(&'e Value),
    /// A text.
    Text(Cow<'e, str>),
    /// A time in seconds.
    Seconds(i64),
    /// Yes or no.
    Flag(bool),
    /// Anything else.
    Owned(Value),
}

impl Setting<'_> {
    /// The text, where it is one.
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Sent(value) => value.as_str(),
            Self::Text(text) => Some(text),
            Self::Owned(value) => value.as_str(),
            Self::Seconds(_) | Self::Flag(_) => None,
        }
    }

    /// The JSON value, where it is one.
    pub(super) fn as_json(&self) -> Option<&Value> {
        match self {
            Self::Sent(value) => Some(value),
            Self::Owned(value) => Some(value),
            _ => None,
        }
    }
}

impl Serialize for Setting<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Sent(value) => value.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Seconds(seconds) => serializer.serialize_i64(*seconds),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Owned(value) => value.serialize(serializer),
        }
    }
}

/// A set of attributes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attributes<'e> {
    base: Option<&'e Object>,
    omitted: &'static [&'static str],
    dates: Dates,
    set: Vec<(Cow<'e, str>, Setting<'e>)>,
}

impl<'e> Attributes<'e> {
    /// No attributes yet.
    pub(super) fn none() -> Self {
        Self::of(None, Dates::AsSent)
    }

    /// All that `base` has.
    pub(super) fn of(base: Option<&'e Object>, dates: Dates) -> Self {
        Self { base, omitted: &[], dates, set: Vec::new() }
    }

    /// Leaves out the keys of `names`. What is set by name stays.
    pub(super) fn without(mut self, names: &'static [&'static str]) -> Self {
        self.omitted = names;
        self
    }

    /// Sets one attribute, over what the event has under that name.
    pub(super) fn set(&mut self, name: impl Into<Cow<'e, str>>, value: Setting<'e>) {
        let name = name.into();
        match self.set.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.set.push((name, value)),
        }
    }

    /// Sets one attribute unless the event has it.
    pub(super) fn set_default(&mut self, name: impl Into<Cow<'e, str>>, value: Setting<'e>) {
        let name = name.into();
        if !self.base.is_some_and(|base| base.contains_key(name.as_ref())) {
            self.set(name, value);
        }
    }

    /// Whether there is an attribute of this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.set.iter().any(|(known, _)| known == name)
            || (self.base.is_some_and(|base| base.contains_key(name))
                && !self.omitted.contains(&name))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.sent().next().is_none()
    }

    /// What is taken over from the event.
    pub(super) fn sent(&self) -> impl Iterator<Item = (&'e String, &'e Value)> {
        self.base.into_iter().flatten().filter(|(name, _)| {
            !self.omitted.contains(&name.as_str())
                && !self.set.iter().any(|(known, _)| known == *name)
        })
    }

    /// What is set by name.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&str, &Setting<'e>)> {
        self.set.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Writes all attributes into a map that may hold more.
    pub(super) fn write_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        for (name, value) in self.sent() {
            match self.dates {
                Dates::AsSent => map.serialize_entry(name, value)?,
                Dates::Seconds => map.serialize_entry(name, &Dated(value))?,
            }
        }
        for (name, value) in self.settings() {
            map.serialize_entry(name, value)?;
        }
        Ok(())
    }
}

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.write_into(&mut map)?;
        map.end()
    }
}

/// A value whose dates are written as seconds.
pub(super) struct Dated<'a>(pub(super) &'a Value);

impl Serialize for Dated<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) => match dates::iso_seconds(text) {
                Some(seconds) => serializer.serialize_i64(seconds),
                None => serializer.serialize_str(text),
            },
            Value::Object(object) => {
                serializer.collect_map(object.iter().map(|(name, value)| (name, Dated(value))))
            }
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_set_wins_over_what_was_sent_and_what_is_left_out_is_not_written() {
        let sent = object(json!({"a": 1, "b": 2, "c": 3}));
        let mut attributes = Attributes::of(Some(&sent), Dates::AsSent).without(&["b"]);
        attributes.set("c", Setting::Text("three".into()));
        attributes.set("d", Setting::Flag(true));
        attributes.set("d", Setting::Flag(false));
        attributes.set_default("a", Setting::Seconds(9));
        assert_eq!(serde_json::to_string(&attributes).unwrap(), r#"{"a":1,"c":"three","d":false}"#);
        assert!(attributes.contains("c") && !attributes.contains("b"));
    }

    #[test]
    fn dates_become_seconds_in_objects_and_stay_in_arrays() {
        let sent = object(json!({
            "at": "2024-01-01", "n": null,
            "deep": {"er": {"at": "2024-01-01T00:00:00Z", "name": "May 15 2024"}},
            "list": ["2024-01-01", {"at": "2024-01-01"}],
        }));
        let written = serde_json::to_value(Attributes::of(Some(&sent), Dates::Seconds)).unwrap();
        assert_eq!(
            written,
            json!({
                "at": 1_704_067_200, "n": null,
                "deep": {"er": {"at": 1_704_067_200, "name": "May 15 2024"}},
                "list": ["2024-01-01", {"at": "2024-01-01"}],
            })
        );
    }
}
