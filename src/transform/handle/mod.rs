//! The event as a script sees it: handles on our own JSON tree instead of Rhai's maps.
//!
//! The rule is *reads alias, writes copy*. Reading a map or an array out of the event gives a handle
//! on the very node, so `let p = event.properties; p.total = 1` changes the event. Writing one into
//! the event copies it, so no cycle can ever come to be. A subtree that no script touches stays the
//! `serde_json` value it was: big integers, the text of numbers and the order of keys survive.
//!
//! Not here: what Rhai calls on a handle ([`register`]), and the helpers that scripts use.

mod array;
mod convert;
mod map;
pub(crate) mod path;
pub(crate) mod register;

use rhai::{Dynamic, ImmutableString};
use serde_json::Value;

pub(crate) use array::ArrayHandle;
pub(crate) use convert::{as_text, equal, fields_of, items_of, to_dynamic, to_value};
pub(crate) use map::MapHandle;

/// How deep an event may be nested. `serde_json` reads 127 levels; the rest is for scripts.
pub(crate) const MAX_DEPTH: usize = 160;

/// Why a value cannot become part of an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// No JSON can express it.
    NotJson(String),
    /// It would be nested too deeply.
    TooDeep,
    /// The script has written as much as one run may.
    TooMuch,
    /// It belongs to `ctx`, which scripts may only read.
    ReadOnly,
}

/// One slot of a node: untouched JSON, or a child that a script holds a handle on.
#[derive(Debug)]
pub(crate) enum Node {
    /// JSON as it came, or a scalar.
    Plain(Value),
    /// A map that has been handed out.
    Map(MapHandle),
    /// An array that has been handed out.
    Array(ArrayHandle),
}

/// A container that has been handed out.
pub(crate) enum Opened {
    Map(MapHandle),
    Array(ArrayHandle),
}

impl Node {
    /// The container of this slot, if it has been handed out.
    pub(crate) fn opened(&self) -> Option<Opened> {
        match self {
            Self::Plain(_) => None,
            Self::Map(map) => Some(Opened::Map(map.clone())),
            Self::Array(array) => Some(Opened::Array(array.clone())),
        }
    }

    /// Wraps a container so that it can be handed out; a scalar stays as it is.
    pub(crate) fn open(value: Value, depth: usize, frozen: bool) -> Self {
        match value {
            Value::Object(fields) => Self::Map(MapHandle::new(fields, depth, frozen)),
            Value::Array(items) => Self::Array(ArrayHandle::new(items, depth, frozen)),
            scalar => Self::Plain(scalar),
        }
    }

    /// What a script gets when it reads this slot.
    pub(crate) fn read(&self) -> Dynamic {
        match self {
            Self::Plain(value) => convert::scalar(value),
            Self::Map(map) => Dynamic::from(map.clone()),
            Self::Array(array) => Dynamic::from(array.clone()),
        }
    }

    /// What a script gets when it takes this slot out of its container.
    pub(crate) fn detach(self) -> Dynamic {
        match self {
            Self::Plain(value) => convert::to_dynamic(value),
            open => {
                open.settle_at(0);
                open.read()
            }
        }
    }

    /// The JSON of this slot, taken out of the handles.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Plain(value) => value,
            Self::Map(map) => Value::Object(map.take()),
            Self::Array(array) => Value::Array(array.take()),
        }
    }

    /// A copy of the JSON of this slot.
    pub(crate) fn copy(&self) -> Value {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Map(map) => Value::Object(map.copy()),
            Self::Array(array) => Value::Array(array.copy()),
        }
    }

    /// How many levels of containers this slot has.
    pub(crate) fn height(&self) -> usize {
        match self {
            Self::Plain(value) => convert::height(value),
            Self::Map(map) => map.height(),
            Self::Array(array) => array.height(),
        }
    }

    /// Tells handed-out containers that they now live at another depth.
    pub(crate) fn settle_at(&self, depth: usize) {
        match self {
            Self::Plain(_) => {}
            Self::Map(map) => map.settle_at(depth),
            Self::Array(array) => array.settle_at(depth),
        }
    }

    /// Whether `value` is what [`Self::read`] gave: then writing it back changes nothing.
    pub(crate) fn is_same(&self, value: &Dynamic) -> bool {
        match self {
            Self::Plain(own) => convert::same_scalar(own, value),
            Self::Map(map) => MapHandle::of(value).is_some_and(|other| other.is(map)),
            Self::Array(array) => ArrayHandle::of(value).is_some_and(|other| other.is(array)),
        }
    }
}

/// What scripts call the type of a value, for messages.
pub(crate) fn type_word(value: &Dynamic) -> &'static str {
    if value.is_unit() {
        "()"
    } else if value.is_bool() {
        "a bool"
    } else if value.is_int() || value.is_float() {
        "a number"
    } else if value.is::<ImmutableString>() || value.is_char() {
        "a string"
    } else if value.is::<MapHandle>() || value.is_map() {
        "a map"
    } else if value.is::<ArrayHandle>() || value.is_array() {
        "an array"
    } else if value.is_fnptr() {
        "a function"
    } else {
        "no JSON value"
    }
}
