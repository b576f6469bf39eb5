//! The kinds of values that a text can be read as: one reader each, used by `convert` and by the
//! `parse_…` helpers alike.

use rhai::{Dynamic, EvalAltResult, ImmutableString};
use serde_json::Value;

use super::{Answer, Call, ids, money, people, phone, time};
use crate::transform::error::{code, quoted, throw_about};
use crate::transform::handle::as_text;
use crate::transform::session::Session;

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unread {
    /// It is no such thing.
    Not,
    /// It can be read in two ways.
    Ambiguous(&'static str),
}

impl Unread {
    /// The message for a script's author.
    pub(crate) fn message(self, value: &Dynamic, noun: &str) -> String {
        let (value, named) = (quoted(value), noun.replace('_', " "));
        match self {
            Self::Not => format!("cannot read {named} from {value}; wanted is {}", wanted(noun)),
            Self::Ambiguous(why) => format!("cannot read {named} from {value}: {why}"),
        }
    }
}

/// How a value looks that can be read.
pub(super) fn wanted(noun: &str) -> &'static str {
    match noun {
        "money" => "an amount such as 49, \"49.00\", \"$1,249.00\" or \"1.234,50 €\"",
        "number" => "a number such as 49, \"49.5\" or \"1,234,567\"",
        "whole_number" => "a whole number such as 2 or \"2\"",
        "yes_or_no" => "true, false, 1, 0 or a word such as yes, no, subscribed, opted_out",
        "time" => {
            "a time such as \"2026-01-02T03:04:05Z\", \"2026-01-02\" or the seconds since 1970"
        }
        "id" => "a text or a number that names something",
        "email" => "one address with @ and a domain such as example.com",
        "phone" => "a valid number, with + and the country's code where no region is given",
        "country" => "a country such as \"DE\", \"DEU\" or \"Germany\"",
        "base64" => "base64 of a text",
        "json" => "JSON text",
        _ => "a text or a number",
    }
}

/// What a value can be converted to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Money,
    Number,
    Int,
    Bool,
    Time,
    Unix,
    String,
    Id,
    Email,
    Phone,
    Upper,
}

impl Kind {
    pub(crate) const NAMES: [&'static str; 11] = [
        "money", "number", "int", "bool", "time", "unix", "string", "id", "email", "phone", "upper",
    ];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "money" => Self::Money,
            "number" => Self::Number,
            "int" => Self::Int,
            "bool" => Self::Bool,
            "time" => Self::Time,
            "unix" => Self::Unix,
            "string" => Self::String,
            "id" => Self::Id,
            "email" => Self::Email,
            "phone" => Self::Phone,
            "upper" => Self::Upper,
            _ => return None,
        })
    }

    /// What it is called in messages and violations.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Money => "money",
            Self::Number => "number",
            Self::Int => "whole_number",
            Self::Bool => "yes_or_no",
            Self::Time | Self::Unix => "time",
            Self::String | Self::Upper => "text",
            Self::Id => "id",
            Self::Email => "email",
            Self::Phone => "phone",
        }
    }

    /// Reads a value as this kind.
    pub(crate) fn read(self, value: &Dynamic, session: &Session) -> Result<Dynamic, Unread> {
        match self {
            Self::Money => money::money(value, session.bundle.decimal()).map(Dynamic::from_float),
            Self::Number => money::number(value, session.bundle.decimal()),
            Self::Int => money::whole(value, session.bundle.decimal()).map(Dynamic::from_int),
            Self::Bool => ids::boolean(value).map(Dynamic::from_bool).ok_or(Unread::Not),
            Self::Time => time::read(value).map(|at| at.to_string().into()).ok_or(Unread::Not),
            Self::Unix => time::read(value).map(|at| at.secs().into()).ok_or(Unread::Not),
            Self::String => string(value).map(Dynamic::from).ok_or(Unread::Not),
            Self::Id => ids::id(value).map(Dynamic::from).ok_or(Unread::Not),
            Self::Email => people::email(value).map(Dynamic::from).ok_or(Unread::Not),
            Self::Phone => phone::read(value, session.bundle.region(), session),
            Self::Upper => as_text(value)
                .map(|text| Dynamic::from(text.trim().to_uppercase()))
                .ok_or(Unread::Not),
        }
    }

    /// Whether a JSON value certainly stays as it is, so that no script's value need be made of it.
    pub(crate) fn needs_no_reading(self, value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Number(number) => match self {
                Self::Money | Self::Number => true,
                Self::Int => number.as_i64().is_some(),
                _ => false,
            },
            Value::String(text) => match self {
                Self::String => true,
                Self::Id => ids::is_id(text),
                Self::Upper => text.bytes().all(|c| c.is_ascii_uppercase()),
                _ => false,
            },
            Value::Bool(_) => self == Self::Bool,
            _ => false,
        }
    }

    /// Whether the value needs no rewriting: numbers keep the form in which they were sent.
    pub(crate) fn is_already(self, value: &Dynamic, read: &Dynamic) -> bool {
        match self {
            Self::Money | Self::Number => value.is_int() || value.is_float(),
            _ => value.type_id() == read.type_id() && crate::transform::handle::equal(value, read),
        }
    }
}

/// A scalar as a text.
pub(super) fn string(value: &Dynamic) -> Option<ImmutableString> {
    if let Some(text) = as_text(value) {
        return Some(text);
    }
    if value.is_int() || value.is_float() || value.is_bool() {
        return Some(ids::id(value).unwrap_or_else(|| value.to_string().into()));
    }
    None
}

/// Reads the first argument; a default at `default_at` stands in for what cannot be read.
pub(super) fn parse(
    call: &Call<'_, '_>,
    default_at: usize,
    noun: &str,
    read: impl FnOnce(&Dynamic) -> Result<Dynamic, Unread>,
) -> Answer {
    match read(call.arg(0)) {
        Ok(value) => Ok(value),
        Err(_) if call.count() > default_at => Ok(call.arg(default_at).clone()),
        Err(unread) => Err(unreadable(call.arg(0), noun, unread)),
    }
}

/// The error for a value that cannot be read.
pub(super) fn unreadable(value: &Dynamic, noun: &str, unread: Unread) -> Box<EvalAltResult> {
    throw_about(
        code::UNREADABLE,
        unread.message(value, noun),
        &[("value", quoted(value).into()), ("want", noun.into())],
    )
}
