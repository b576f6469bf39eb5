//! A call as far as the door needs it: read in place, and gone when the request is answered.
//!
//! Who deduplicates looks at every event and keeps none. A tree that owns its texts costs several
//! times as much as one that points into the bytes, and whoever processes the event makes that tree
//! anyway, later and elsewhere.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::mend::mend;

/// The name under which serde_json hands over a number that fits no integer, with its text.
const NUMBER: &str = "$serde_json::private::Number";

/// JSON that points into the text that it was read from.
#[derive(Clone, Debug, PartialEq)]
pub enum Sketch<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, its digits as they were written.
    Number(Cow<'a, str>),
    /// A text, its escapes undone.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Sketch<'a>>),
    /// An object as it was written: where a key comes twice, the last one counts.
    Object(Vec<(Cow<'a, str>, Sketch<'a>)>),
}

impl<'a> Sketch<'a> {
    /// Reads `bytes`, where they are JSON.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Reads `bytes` and hands the sketch on, `None` where they are no JSON, also not when mended.
    pub fn read<R>(bytes: &[u8], then: impl FnOnce(Option<&Sketch<'_>>) -> R) -> R {
        if let Some(sketch) = Sketch::of(bytes) {
            return then(Some(&sketch));
        }
        let mended = mend(bytes);
        let sketch = mended.as_deref().and_then(Sketch::of);
        then(sketch.as_ref())
    }

    /// The member of an object with this name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// What is at a path of names with dots between them.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, name| value.get(name))
    }

    /// Its text, where it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text, a number or a boolean as a value of its own; anything else is `null`.
    pub fn scalar(&self) -> Value {
        match self {
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Number(text) => text.parse().map_or(Value::Null, Value::Number),
            Self::Text(text) => Value::String(text.clone().into_owned()),
            Self::Null | Self::Array(_) | Self::Object(_) => Value::Null,
        }
    }
}

impl<'a> From<&'a Value> for Sketch<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => Self::Number(number.as_str().into()),
            Value::String(text) => Self::Text(text.into()),
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Object(object) => Self::Object(
                object.iter().map(|(key, value)| (key.into(), Self::from(value))).collect(),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Sketch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Sketch<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Sketch<'de>, E> {
        Ok(Sketch::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Sketch<'de>, E> {
        Ok(Sketch::Bool(flag))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Sketch<'de>, E> {
        Ok(Sketch::Number(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Sketch<'de>, E> {
        Ok(Sketch::Number(Cow::Owned(number.to_string())))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Sketch<'de>, E> {
        Ok(Sketch::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Sketch<'de>, E> {
        Ok(Sketch::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sketch<'de>, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element()? {
            found.push(item);
        }
        Ok(Sketch::Array(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Sketch<'de>, A::Error> {
        let mut found = Vec::with_capacity(8);
        while let Some(Name(name)) = members.next_key()? {
            if found.is_empty() && name == NUMBER {
                return Ok(Sketch::Number(Cow::Owned(members.next_value()?)));
            }
            found.push((name, members.next_value()?));
        }
        Ok(Sketch::Object(found))
    }
}

/// A name, in place where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(Anything)? {
            Sketch::Text(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("a name is a text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,8}|[\"\\\\\\n\\u{0}é]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec(("[a-c\"\\\\é]{0,3}", inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_read_in_place_is_what_a_tree_would_hold(value in any_json()) {
            let text = value.to_string();
            prop_assert_eq!(Sketch::of(text.as_bytes()), Some(Sketch::from(&value)));
        }
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_one_counts() {
        let sketch = Sketch::of(br#"{"a": 1, "b": {"c": "x"}, "a": 1e400}"#).unwrap();
        assert_eq!(sketch.get("a"), Some(&Sketch::Number("1e+400".into())));
        assert_eq!(sketch.at("b.c").and_then(Sketch::as_str), Some("x"));
        assert_eq!(sketch.at("b.c.d"), None);
        assert_eq!(sketch.at("c"), None);
    }

    #[test]
    fn what_is_no_json_has_no_sketch() {
        let deep = [b"[".repeat(200), b"]".repeat(200)].concat();
        for bytes in [&b"{"[..], b"{} x", b"\"\xff\"", br#""\ud800""#, &deep] {
            assert_eq!(Sketch::of(bytes), None);
        }
    }
}
