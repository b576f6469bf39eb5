//! Casing and text. These never change their argument: they give a new text.

use rhai::{Array, Dynamic, EvalAltResult, ImmutableString};

use super::{Answer, Call, Group, Helper};
use crate::spec::names::words;
use crate::transform::error::{code, refused, throw};

pub(super) const HELPERS: &[Helper] = &[
    casing(
        "snake_case",
        "snake_case(text)",
        "Words joined by `_`: `orderTotal` becomes `order_total`.",
        "snake_case(\"orderTotal\")",
        "\"order_total\"",
        |call| cased(call, |words| words.join("_")),
    ),
    casing(
        "kebab_case",
        "kebab_case(text)",
        "Words joined by `-`: `orderTotal` becomes `order-total`.",
        "kebab_case(\"Order Total\")",
        "\"order-total\"",
        |call| cased(call, |words| words.join("-")),
    ),
    casing(
        "camel_case",
        "camel_case(text)",
        "Words joined, each but the first with a capital.",
        "camel_case(\"order_total\")",
        "\"orderTotal\"",
        |call| cased(call, |words| camel_of(&words)),
    ),
    casing(
        "pascal_case",
        "pascal_case(text)",
        "Words joined, each with a capital letter.",
        "pascal_case(\"order_total\")",
        "\"OrderTotal\"",
        |call| cased(call, |words| words.iter().map(|word| capital(word)).collect()),
    ),
    casing(
        "title_case",
        "title_case(text)",
        "Words with capitals and blanks between.",
        "title_case(\"order_completed\")",
        "\"Order Completed\"",
        |call| {
            cased(call, |words| {
                words.iter().map(|word| capital(word)).collect::<Vec<_>>().join(" ")
            })
        },
    ),
    casing(
        "sentence_case",
        "sentence_case(text)",
        "Words with blanks between, the first with a capital.",
        "sentence_case(\"orderCompleted\")",
        "\"Order completed\"",
        |call| cased(call, |words| capital(&words.join(" "))),
    ),
    casing(
        "slug",
        "slug(text)",
        "Words joined by `-`, for addresses and keys of tables.",
        "slug(\"Skin & Care\")",
        "\"skin-care\"",
        |call| cased(call, |words| words.join("-")),
    ),
    casing(
        "upper",
        "upper(text)",
        "The text in capitals; `()` stays `()`.",
        "upper(\"usd\")",
        "\"USD\"",
        |call| mapped(call, |text| text.to_uppercase()),
    ),
    casing(
        "lower",
        "lower(text)",
        "The text in small letters; `()` stays `()`.",
        "lower(\"USD\")",
        "\"usd\"",
        |call| mapped(call, |text| text.to_lowercase()),
    ),
    casing(
        "trimmed",
        "trimmed(text)",
        "The text without blanks around it; `()` stays `()`.",
        "trimmed(\"  a b \")",
        "\"a b\"",
        |call| mapped(call, |text| text.trim().to_owned()),
    ),
    casing(
        "squeeze",
        "squeeze(text)",
        "The text with every run of blanks made one, none around it.",
        "squeeze(\"  a   b \")",
        "\"a b\"",
        |call| mapped(call, |text| text.split_whitespace().collect::<Vec<_>>().join(" ")),
    ),
    Helper {
        group: Group::Text,
        name: "replaced",
        signature: "replaced(text, find, with)",
        doc: "The text with every occurrence replaced.",
        example: "replaced(\"a-b-c\", \"-\", \"+\")",
        gives: "\"a+b+c\"",
        arity: (3, 3),
        run: |call| {
            let (text, find, with) = (call.text(0)?, call.text(1)?, call.text(2)?);
            let most = call.session.bundle.limits().string_bytes;
            Ok(replace_within(&text, &find, &with, most)?.into())
        },
    },
    Helper {
        group: Group::Text,
        name: "truncated",
        signature: "truncated(text, characters)",
        doc: "The text cut to so many characters.",
        example: "truncated(\"Grüße\", 3)",
        gives: "\"Grü\"",
        arity: (2, 2),
        run: |call| {
            let most = usize::try_from(call.int(1)?).unwrap_or(0);
            mapped(call, |text| text.chars().take(most).collect())
        },
    },
    Helper {
        group: Group::Text,
        name: "matches",
        signature: "matches(text, pattern)",
        doc: "Whether a regular expression is found in the text.",
        example: "matches(\"SKU-17\", `^SKU-\\d+$`)",
        gives: "true",
        arity: (2, 2),
        run: |call| {
            let text = super::reading::string(call.arg(0)).unwrap_or_default();
            let found =
                call.session.with_regex(&call.text(1)?, &text, |regex| regex.is_match(&text))?;
            Ok(found.into())
        },
    },
    Helper {
        group: Group::Text,
        name: "captures",
        signature: "captures(text, pattern)",
        doc: "What a regular expression finds: the whole match and each group; `()` when nothing.",
        example: "captures(\"SKU-17\", `^(\\w+)-(\\d+)$`)",
        gives: "[\"SKU-17\", \"SKU\", \"17\"]",
        arity: (2, 2),
        run: captures,
    },
];

const fn casing(
    name: &'static str,
    signature: &'static str,
    doc: &'static str,
    example: &'static str,
    gives: &'static str,
    run: fn(&mut Call<'_, '_>) -> Answer,
) -> Helper {
    Helper { group: Group::Text, name, signature, doc, example, gives, arity: (1, 1), run }
}

fn cased(call: &Call<'_, '_>, join: impl FnOnce(Vec<String>) -> String) -> Answer {
    mapped(call, |text| join(words(text)))
}

/// Applies `change` to the first argument; nothing stays nothing.
fn mapped(call: &Call<'_, '_>, change: impl FnOnce(&str) -> String) -> Answer {
    if call.arg(0).is_unit() {
        return Ok(Dynamic::UNIT);
    }
    let text = super::reading::string(call.arg(0)).ok_or_else(|| call.wrong(0, "a string"))?;
    call.session.budget.spend(1, text.len()).map_err(refused)?;
    Ok(change(&text).into())
}

/// A key in camel case.
pub(super) fn camel(key: &str) -> String {
    camel_of(&words(key))
}

fn camel_of(words: &[String]) -> String {
    let mut text = words.first().cloned().unwrap_or_default();
    for word in words.iter().skip(1) {
        text.push_str(&capital(word));
    }
    text
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Replaces, unless the result would be longer than a script may make a text. The length is known
/// before anything is allocated.
pub(crate) fn replace_within(
    text: &str,
    find: &str,
    with: &str,
    most: usize,
) -> Result<ImmutableString, Box<EvalAltResult>> {
    let found = text.matches(find).count();
    let grown = with.len().saturating_sub(find.len()).saturating_mul(found);
    if text.len().saturating_add(grown) > most {
        return Err(throw(
            code::DATA,
            "the replaced text would be longer than [limits] string_bytes",
        ));
    }
    Ok(text.replace(find, with).into())
}

fn captures(call: &mut Call<'_, '_>) -> Answer {
    let text = super::reading::string(call.arg(0)).unwrap_or_default();
    let pattern = call.text(1)?;
    call.session.with_regex(&pattern, &text, |regex| {
        regex.captures(&text).map_or(Dynamic::UNIT, |found| {
            let groups = found.iter().map(|group| {
                group.map_or(Dynamic::UNIT, |group| Dynamic::from(group.as_str().to_owned()))
            });
            Dynamic::from_array(groups.collect::<Array>())
        })
    })
}
