//! Event names and lookup tables.

use rhai::{Dynamic, EvalAltResult};
use serde_json::Value;

use super::edit::answer;
use super::{Answer, Call, Group, Helper};
use crate::transform::bundle::Table;
use crate::transform::error::{code, refused, throw};
use crate::transform::handle::as_text;
use crate::transform::handle::path::child;

pub(super) const HELPERS: &[Helper] = &[
    Helper {
        group: Group::Names,
        name: "canonical",
        signature: "canonical(name)",
        doc: "The key of an event name, the same for every spelling and synonym: `Order Completed`, \
              `orderCompleted` and `Purchase` are all `order_completed`. Never fails.",
        example: "canonical(\"Purchase\")",
        gives: "\"order_completed\"",
        arity: (1, 1),
        run: |call| {
            let name = as_text(call.arg(0)).unwrap_or_default();
            Ok(call.session.canonical(&name).into())
        },
    },
    Helper {
        group: Group::Names,
        name: "name_key",
        signature: "name_key(name)",
        doc: "The key of an event name without synonyms: only the spelling is folded.",
        example: "name_key(\"ecommerce.OrderCompleted\")",
        gives: "\"order_completed\"",
        arity: (1, 1),
        run: |call| {
            let name = as_text(call.arg(0)).unwrap_or_default();
            Ok(call.session.name_key(&name).into())
        },
    },
    Helper {
        group: Group::Names,
        name: "event_name",
        signature: "event_name(name, #{names, spellings, synonyms})",
        doc: "The name that a business event should have; `()` where it keeps its own. `names` is \
              the style: `title` or `snake`. With `spellings` the tables fold other spellings, with \
              `synonyms` other words. `ctx.vars` holds all three.",
        example: "event_name(\"purchase\", #{names: \"title\", synonyms: true})",
        gives: "\"Order Completed\"",
        arity: (2, 2),
        run: event_name,
    },
    Helper {
        group: Group::Names,
        name: "lookup",
        signature: "lookup(table, key [, default])",
        doc: "What a table in `data/` says for a key; the default, or `()`, where it says nothing. A \
              table that is not there is an error.",
        example: "lookup(\"spellings\", \"order_completed\")",
        gives: "\"Order Completed\"",
        arity: (2, 3),
        run: lookup,
    },
];

/// The table that an argument names.
pub(super) fn table<'c>(
    call: &'c Call<'_, '_>,
    at: usize,
) -> Result<&'c Table, Box<EvalAltResult>> {
    named_table(call, &call.text(at)?)
}

fn named_table<'c>(call: &'c Call<'_, '_>, name: &str) -> Result<&'c Table, Box<EvalAltResult>> {
    let bundle = &call.session.bundle;
    bundle.table(name).ok_or_else(|| {
        let known: Vec<&str> = bundle.table_names().collect();
        let message =
            format!("there is no table {name:?} in data/; there are {}", known.join(", "));
        throw(code::UNKNOWN_TABLE, message)
    })
}

fn event_name(call: &mut Call<'_, '_>) -> Answer {
    let option = |name: &str| child(call.arg(1), name).unwrap_or_default();
    let is_on = |name: &str| option(name).as_bool() == Ok(true);
    let style = as_text(&option("names")).unwrap_or_default();
    if style != "title" && style != "snake" {
        return Ok(Dynamic::UNIT);
    }
    let spelt = call.session.name_key(&as_text(call.arg(0)).unwrap_or_default());
    let synonym = match is_on("synonyms") {
        true => named_table(call, "synonyms")?.get(spelt.as_str()).and_then(Value::as_str),
        false => None,
    };
    let synonym = synonym.filter(|key| *key != spelt.as_str());
    if synonym.is_none() && !is_on("spellings") {
        return Ok(Dynamic::UNIT);
    }
    let key = synonym.unwrap_or(&spelt);
    let title = named_table(call, "spellings")?.get(key).and_then(Value::as_str);
    Ok(match title {
        Some(title) if style == "title" => title.into(),
        Some(_) => key.into(),
        None => Dynamic::UNIT,
    })
}

fn lookup(call: &mut Call<'_, '_>) -> Answer {
    let key = super::reading::string(call.arg(1)).unwrap_or_default();
    let Some(value) = table(call, 0)?.get(key.as_str()) else {
        return Ok(if call.count() == 3 { call.arg(2).clone() } else { Dynamic::UNIT });
    };
    let bytes = value.as_str().map_or(0, str::len);
    call.session.budget.spend(1, bytes).map_err(refused)?;
    answer(value.clone())
}
