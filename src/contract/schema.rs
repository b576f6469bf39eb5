//! A compiled schema: what one value must be, ready to be compared.
//!
//! Not here: how the file is read (`reader`).

use std::collections::HashSet;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::Policy;

/// The contract of one event.
#[derive(Clone, Debug)]
pub struct Contract {
    /// The canonical key of the event, or the type of call.
    pub event: Arc<str>,
    /// The file, relative to the transforms folder.
    pub file: String,
    /// What the event is for, in the words of the team.
    pub description: String,
    /// What happens to events that break it.
    pub policy: Policy,
    /// Whether properties that it does not name are taken out.
    pub omits_additional: bool,
    pub(super) root: Node,
}

/// What one value must be.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) types: Types,
    pub(super) properties: Vec<Property>,
    pub(super) either: Vec<Either>,
    /// The names of all properties, where no others may be there.
    pub(super) closed: Option<HashSet<Arc<str>>>,
    pub(super) items: Option<Box<Node>>,
    pub(super) bounds: Option<Box<Bounds>>,
    /// The types in words, for people.
    pub(super) wanted: Arc<str>,
    pub(super) description: String,
}

#[derive(Clone, Debug)]
pub(super) struct Property {
    pub(super) name: Arc<str>,
    pub(super) node: Node,
    pub(super) required: bool,
}

/// One of several properties, or groups of properties, must be there.
#[derive(Clone, Debug)]
pub(super) struct Either {
    pub(super) names: Vec<Vec<Arc<str>>>,
    /// The names as one: `revenue|total`.
    pub(super) joined: Arc<str>,
    pub(super) wanted: Arc<str>,
}

/// What of the right type is allowed.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    pub(super) one_of: Vec<Value>,
    pub(super) pattern: Option<Regex>,
    pub(super) least_length: Option<usize>,
    pub(super) most_length: Option<usize>,
    pub(super) minimum: Option<f64>,
    pub(super) maximum: Option<f64>,
    pub(super) above: Option<f64>,
    pub(super) below: Option<f64>,
    pub(super) least_items: Option<usize>,
    pub(super) most_items: Option<usize>,
    pub(super) wanted: Arc<str>,
}

/// A set of JSON's types.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const NAMES: [(&'static str, u8, &'static str); 7] = [
        ("string", 1, "a text"),
        ("number", 2, "a number"),
        ("integer", 4, "a whole number"),
        ("boolean", 8, "true or false"),
        ("array", 16, "a list"),
        ("object", 32, "an object"),
        ("null", 64, "null"),
    ];
    pub(super) const ANY: Self = Self(127);
    pub(super) const OBJECT: Self = Self(32);
    pub(super) const NONE: Self = Self(0);

    pub(super) fn of(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, ..)| *known == name).map(|(_, bit, _)| Self(*bit))
    }

    /// Whether `null` is named as a type: else it counts as absent.
    pub(super) fn names_null(self) -> bool {
        self != Self::ANY && self.0 & 64 != 0
    }

    pub(super) fn admit(self, value: &Value) -> bool {
        let bits = match value {
            Value::String(_) => 1,
            Value::Number(_) if self.0 & 2 != 0 => 2,
            Value::Number(number) => {
                let is_whole = number.is_i64()
                    || number.is_u64()
                    || number.as_f64().is_some_and(|number| number.fract() == 0.0);
                if is_whole { 4 } else { 0 }
            }
            Value::Bool(_) => 8,
            Value::Array(_) => 16,
            Value::Object(_) => 32,
            Value::Null => 64,
        };
        self.0 & bits != 0
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// In words.
    pub(super) fn words(self) -> String {
        if self == Self::ANY {
            return "a value".into();
        }
        let names = Self::NAMES.iter().filter(|(_, bit, _)| self.0 & bit != 0);
        names.map(|(.., words)| *words).collect::<Vec<_>>().join(" or ")
    }

    /// As in a schema.
    pub(super) fn names(self) -> String {
        if self == Self::ANY {
            return "any".into();
        }
        let names = Self::NAMES.iter().filter(|(_, bit, _)| self.0 & bit != 0);
        names.map(|(name, ..)| *name).collect::<Vec<_>>().join(" or ")
    }
}

impl Contract {
    /// The object of an event that it is about.
    pub fn field(&self) -> &'static str {
        match &*self.event {
            "identify" | "group" => "traits",
            _ => "properties",
        }
    }

    /// Whether it is about all calls of a type, not about a tracked event.
    pub(super) fn is_of_a_call(&self) -> bool {
        ["identify", "group", "page", "screen"].contains(&&*self.event)
    }
}
