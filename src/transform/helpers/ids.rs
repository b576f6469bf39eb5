//! Identifiers, and yes or no.

use rhai::{Dynamic, ImmutableString};
use serde_json::{Number, Value};
use uuid::Uuid;

use super::reading::{Kind, parse};
use super::{Answer, Call, Group, Helper};
use crate::spec::ids;
use crate::transform::handle::as_text;

pub(super) const HELPERS: &[Helper] = &[
    Helper {
        group: Group::Ids,
        name: "as_id",
        signature: "as_id(value)",
        doc: "An identifier as a string: `1001`, `1001.0` and `\" 1001 \"` are all `\"1001\"`; `()` \
              for what names nothing (`null`, blank, `\"undefined\"`, 0, a map).",
        example: "as_id(1001.0)",
        gives: "\"1001\"",
        arity: (1, 1),
        run: |call| Ok(id(call.arg(0)).map_or(Dynamic::UNIT, Dynamic::from)),
    },
    Helper {
        group: Group::Ids,
        name: "uuid5",
        signature: "uuid5(namespace, text)",
        doc: "A UUID made from a text: the same text gives the same UUID. The namespace is a UUID or \
              any text.",
        example: "uuid5(\"6ba7b810-9dad-11d1-80b4-00c04fd430c8\", \"www.example.com\")",
        gives: "\"2ed6657d-e927-568b-95e1-2665a8aea6a2\"",
        arity: (2, 2),
        run: |call| {
            let namespace = call.text(0)?;
            let namespace = Uuid::parse_str(&namespace)
                .unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, namespace.as_bytes()));
            Ok(Uuid::new_v5(&namespace, call.text(1)?.as_bytes()).to_string().into())
        },
    },
];

pub(super) const CONSENT: &[Helper] = &[Helper {
    group: Group::Consent,
    name: "parse_bool",
    signature: "parse_bool(value [, default])",
    doc: "Reads yes or no: `true`, `1`, `yes`, `on`, `opted_in`, `subscribed`, `granted` and their \
          opposites, in any casing.",
    example: "parse_bool(\"Opted Out\")",
    gives: "false",
    arity: (1, 2),
    run: parse_bool,
}];

fn parse_bool(call: &mut Call<'_, '_>) -> Answer {
    let session = call.session;
    parse(call, 1, Kind::Bool.noun(), |value| Kind::Bool.read(value, session))
}

/// Reads an identifier.
pub(super) fn id(value: &Dynamic) -> Option<ImmutableString> {
    let value = if let Ok(whole) = value.as_int() {
        Value::from(whole)
    } else if let Ok(float) = value.as_float() {
        Value::Number(Number::from_f64(float)?)
    } else {
        Value::String(as_text(value)?.trim().to_owned())
    };
    ids::person_id(&value).map(ImmutableString::from)
}

/// Whether a text is an id as it stands.
pub(super) fn is_id(text: &str) -> bool {
    text.trim().len() == text.len() && ids::names_a_person(text)
}

const YES: [&str; 22] = [
    "true",
    "t",
    "1",
    "yes",
    "y",
    "on",
    "in",
    "opted_in",
    "opt_in",
    "subscribed",
    "granted",
    "grant",
    "accepted",
    "allowed",
    "allow",
    "agreed",
    "consented",
    "enabled",
    "confirmed",
    "ja",
    "oui",
    "si",
];
const NO: [&str; 21] = [
    "false",
    "f",
    "0",
    "no",
    "n",
    "off",
    "out",
    "opted_out",
    "opt_out",
    "unsubscribed",
    "denied",
    "deny",
    "declined",
    "rejected",
    "disallowed",
    "refused",
    "revoked",
    "disabled",
    "withdrawn",
    "nein",
    "non",
];

/// Reads yes or no.
pub(super) fn boolean(value: &Dynamic) -> Option<bool> {
    if let Ok(flag) = value.as_bool() {
        return Some(flag);
    }
    if let Some(number) = super::money::float(value) {
        return match number {
            1.0 => Some(true),
            0.0 => Some(false),
            _ => None,
        };
    }
    let text = as_text(value)?;
    let word = text.trim().to_lowercase().replace([' ', '-'], "_").replace('í', "i");
    if YES.contains(&word.as_str()) {
        return Some(true);
    }
    NO.contains(&word.as_str()).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Dynamic {
        Dynamic::from(text.to_owned())
    }

    #[test]
    fn yes_and_no_have_many_words_and_the_rest_is_neither() {
        let table = [
            ("true", Some(true)),
            ("TRUE", Some(true)),
            (" Yes ", Some(true)),
            ("1", Some(true)),
            ("on", Some(true)),
            ("opted-in", Some(true)),
            ("Opt In", Some(true)),
            ("SUBSCRIBED", Some(true)),
            ("granted", Some(true)),
            ("Sí", Some(true)),
            ("false", Some(false)),
            ("No", Some(false)),
            ("0", Some(false)),
            ("off", Some(false)),
            ("opted_out", Some(false)),
            ("Unsubscribed", Some(false)),
            ("denied", Some(false)),
            ("pending", None),
            ("maybe", None),
            ("", None),
            ("2", None),
            ("null", None),
            ("none", None),
            ("yes please", None),
        ];
        for (word, expected) in table {
            assert_eq!(boolean(&text(word)), expected, "{word:?}");
        }
        assert_eq!(boolean(&Dynamic::from_int(1)), Some(true));
        assert_eq!(boolean(&Dynamic::from_float(0.0)), Some(false));
        assert_eq!(boolean(&Dynamic::from_int(2)), None);
        assert_eq!(boolean(&Dynamic::UNIT), None);
    }

    #[test]
    fn an_id_is_a_text_and_what_names_nothing_is_none() {
        let table = [
            ("a number", Dynamic::from_int(1001), Some("1001")),
            ("a whole float", Dynamic::from_float(1001.0), Some("1001")),
            ("blanks around", text(" A-1001 "), Some("A-1001")),
            ("leading zeros", text("007"), Some("007")),
            ("blank", text("  "), None),
            ("undefined", text("undefined"), None),
            ("null", text("null"), None),
            ("a map printed", text("[object Object]"), None),
            ("zero", Dynamic::from_int(0), None),
            ("nothing", Dynamic::UNIT, None),
            ("a flag", Dynamic::from_bool(true), None),
        ];
        for (what, value, expected) in table {
            assert_eq!(id(&value).as_deref(), expected, "{what}");
        }
    }
}
