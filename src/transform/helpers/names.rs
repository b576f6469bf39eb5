//! Event names and lookup tables.

use rhai::{Dynamic, EvalAltResult};

use super::edit::answer;
use super::{Answer, Call, Group, Helper};
use crate::spec::{Object, names};
use crate::transform::error::{code, refused, throw};
use crate::transform::handle::as_text;

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
        run: |call| Ok(names::key(&as_text(call.arg(0)).unwrap_or_default()).into()),
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
) -> Result<&'c Object, Box<EvalAltResult>> {
    let name = call.text(at)?;
    let bundle = &call.session.bundle;
    bundle.table(&name).ok_or_else(|| {
        let known: Vec<&str> = bundle.table_names().collect();
        let message =
            format!("there is no table {name:?} in data/; there are {}", known.join(", "));
        throw(code::UNKNOWN_TABLE, message)
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
