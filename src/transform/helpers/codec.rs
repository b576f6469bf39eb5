//! Hashes, encodings and masks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use rhai::{Dynamic, EvalAltResult, ImmutableString};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::edit::answer;
use super::reading::{Unread, string, unreadable};
use super::{Answer, Call, Group, Helper};
use crate::spec::Object;
use crate::transform::error::{code, throw};
use crate::transform::mask::{self, Pii};

pub(super) const HELPERS: &[Helper] = &[
    Helper {
        group: Group::Codec,
        name: "sha256",
        signature: "sha256(text)",
        doc: "The SHA-256 of a text, as hex digits.",
        example: "sha256(\"abc\")",
        gives: "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"",
        arity: (1, 1),
        run: |call| Ok(hex::encode(Sha256::digest(scalar(call, 0)?.as_bytes())).into()),
    },
    Helper {
        group: Group::Codec,
        name: "hmac_sha256",
        signature: "hmac_sha256(key, text)",
        doc: "The HMAC-SHA-256 of a text, as hex digits.",
        example: "hmac_sha256(\"key\", \"abc\")",
        gives: "\"9c196e32dc0175f86f4b1cb89289d6619de6bee699e4c378e68309ed97a1a6ab\"",
        arity: (2, 2),
        run: |call| {
            let mut mac = Hmac::<Sha256>::new_from_slice(call.text(0)?.as_bytes())
                .map_err(|_| throw(code::SCRIPT, "hmac_sha256: this key cannot be used"))?;
            mac.update(scalar(call, 1)?.as_bytes());
            Ok(hex::encode(mac.finalize().into_bytes()).into())
        },
    },
    Helper {
        group: Group::Codec,
        name: "hash_pii",
        signature: "hash_pii(value [, key])",
        doc: "The SHA-256 of what names a person, as hex digits: an e-mail address or another text \
              without blanks around it and in small letters, a phone number with `+` as its digits. \
              With a key it is the HMAC-SHA-256. `()` for what is blank.",
        example: "hash_pii(\" Ann@Example.com \") == sha256(\"ann@example.com\")",
        gives: "true",
        arity: (1, 2),
        run: hash_pii,
    },
    Helper {
        group: Group::Codec,
        name: "base64_encode",
        signature: "base64_encode(text)",
        doc: "A text in base64.",
        example: "base64_encode(\"hello\")",
        gives: "\"aGVsbG8=\"",
        arity: (1, 1),
        run: |call| Ok(STANDARD.encode(scalar(call, 0)?.as_bytes()).into()),
    },
    Helper {
        group: Group::Codec,
        name: "base64_decode",
        signature: "base64_decode(text [, default])",
        doc: "The text that base64 stands for.",
        example: "base64_decode(\"aGVsbG8=\")",
        gives: "\"hello\"",
        arity: (1, 2),
        run: |call| {
            let text = call.text(0)?;
            let decoded = STANDARD.decode(text.trim()).ok().and_then(|b| String::from_utf8(b).ok());
            or_default(call, decoded.map(Dynamic::from), "base64")
        },
    },
    Helper {
        group: Group::Codec,
        name: "url_decode",
        signature: "url_decode(text)",
        doc: "A text with `%20` and the like turned back, and `+` into a blank.",
        example: "url_decode(\"a%20b+c\")",
        gives: "\"a b c\"",
        arity: (1, 1),
        run: |call| Ok(url_decode(&call.text(0)?).into()),
    },
    Helper {
        group: Group::Codec,
        name: "query_params",
        signature: "query_params(url)",
        doc: "The parameters of an address as a map; the first of several with one name counts.",
        example: "query_params(\"https://x.test/?utm_source=mail&b=1%202\")",
        gives: "{\"b\": \"1 2\", \"utm_source\": \"mail\"}",
        arity: (1, 1),
        run: query_params,
    },
    Helper {
        group: Group::Codec,
        name: "to_json",
        signature: "to_json(value)",
        doc: "A value as JSON text.",
        example: "to_json([1, \"a\", ()])",
        gives: "\"[1,\\\"a\\\",null]\"",
        arity: (1, 1),
        run: |call| Ok(call.session.to_value(call.arg(0))?.to_string().into()),
    },
    Helper {
        group: Group::Codec,
        name: "from_json",
        signature: "from_json(text [, default])",
        doc: "The value that a JSON text stands for.",
        example: "from_json(\"{\\\"a\\\": [1]}\")",
        gives: "{\"a\": [1]}",
        arity: (1, 2),
        run: |call| {
            let text = call.text(0)?;
            call.session.budget.spend(1, text.len()).map_err(crate::transform::error::refused)?;
            let value = serde_json::from_str::<Value>(&text).ok();
            or_default(call, value.map(crate::transform::handle::to_dynamic), "json")
        },
    },
    Helper {
        group: Group::Codec,
        name: "mask",
        signature: "mask(text [, keep])",
        doc: "A text with all but its last characters hidden (none are kept unless asked for).",
        example: "mask(\"4111111111111111\", 4)",
        gives: "\"************1111\"",
        arity: (1, 2),
        run: |call| {
            let text = string(call.arg(0)).unwrap_or_default();
            let keep =
                if call.count() == 2 { usize::try_from(call.int(1)?).unwrap_or(0) } else { 0 };
            let hidden = text.chars().count().saturating_sub(keep);
            let masked: String =
                text.chars().enumerate().map(|(at, c)| if at < hidden { '*' } else { c }).collect();
            Ok(masked.into())
        },
    },
    Helper {
        group: Group::Codec,
        name: "redact",
        signature: "redact(value [, kinds])",
        doc: "A copy of a value in which e-mail addresses, phone and card numbers and IP addresses are \
              masked in every text; with kinds (of `email`, `phone`, `card`, `ip`) only those. A card \
              number is one whose check digit is right.",
        example: "redact(#{note: \"ask ann@example.com\"})",
        gives: "{\"note\": \"ask ***@***\"}",
        arity: (1, 2),
        run: |call| {
            let kinds = match call.count() {
                1 => Pii::ALL.to_vec(),
                _ => kinds(call)?,
            };
            let mut value = call.session.to_value(call.arg(0))?;
            redact(&mut value, &kinds);
            answer(value)
        },
    },
];

fn scalar(call: &Call<'_, '_>, at: usize) -> Result<ImmutableString, Box<EvalAltResult>> {
    string(call.arg(at)).ok_or_else(|| call.wrong(at, "a string"))
}

fn or_default(call: &Call<'_, '_>, read: Option<Dynamic>, noun: &str) -> Answer {
    match read {
        Some(value) => Ok(value),
        None if call.count() == 2 => Ok(call.arg(1).clone()),
        None => Err(unreadable(call.arg(0), noun, Unread::Not)),
    }
}

fn url_decode(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

fn query_params(call: &mut Call<'_, '_>) -> Answer {
    let url = string(call.arg(0)).unwrap_or_default();
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    call.session.budget.spend(1, query.len()).map_err(crate::transform::error::refused)?;
    let mut params = Object::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        params.entry(url_decode(name)).or_insert_with(|| Value::String(url_decode(value)));
    }
    answer(Value::Object(params))
}

fn hash_pii(call: &mut Call<'_, '_>) -> Answer {
    if super::presence::is_blank(call.arg(0)) && !call.arg(0).is_array() {
        return Ok(Dynamic::UNIT);
    }
    let text = scalar(call, 0)?;
    let text = text.trim();
    let plain = match text.strip_prefix('+') {
        Some(rest) => format!("+{}", rest.replace(|c: char| !c.is_ascii_digit(), "")),
        None => text.to_lowercase(),
    };
    if call.count() == 1 {
        return Ok(hex::encode(Sha256::digest(plain.as_bytes())).into());
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(call.text(1)?.as_bytes())
        .map_err(|_| throw(code::SCRIPT, "hash_pii: this key cannot be used"))?;
    mac.update(plain.as_bytes());
    Ok(hex::encode(mac.finalize().into_bytes()).into())
}

/// The kinds that the second argument names.
fn kinds(call: &Call<'_, '_>) -> Result<Vec<Pii>, Box<EvalAltResult>> {
    let named = call.texts(1)?;
    let kinds = named.iter().map(|name| Pii::from_name(name)).collect::<Option<Vec<_>>>();
    kinds.ok_or_else(|| call.wrong(1, "one of email, phone, card, ip, or several"))
}

fn redact(value: &mut Value, kinds: &[Pii]) {
    match value {
        Value::String(text) => {
            let masked = mask::only(text, kinds);
            if masked != *text {
                *text = masked;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, kinds)),
        Value::Object(fields) => fields.values_mut().for_each(|item| redact(item, kinds)),
        _ => {}
    }
}
