//! Converting what is in an event, by paths or by a table of kinds.
//!
//! Not here: how a value is read as a kind ([`super::reading`]).

use rhai::{Dynamic, EvalAltResult};
use serde_json::Value;

use super::edit::on_map;
use super::presence::is_blank;
use super::reading::{Kind, Unread};
use super::{Answer, Call, Group, Helper};
use crate::transform::error::{code, quoted, refused, throw, throw_about};
use crate::transform::handle::MapHandle;
use crate::transform::handle::path::{Slot, Trail, visit};
use crate::transform::made::Violation;

pub(super) const HELPERS: &[Helper] = &[
    Helper {
        group: Group::Edit,
        name: "convert",
        signature: "event.convert(path, kind [, \"keep\"])",
        doc: "Reads what is at a path (or at each of an array of paths) as `money`, `number`, `int`, \
              `bool`, `time`, `unix`, `string`, `id`, `email`, `phone` or `upper`, and writes the \
              result; gives how many values changed. What is absent or blank is left. What cannot be \
              read is an error; with `\"keep\"` it stays as it was sent and becomes a violation.",
        example: "let m = #{total: \"$49.00\"}; m.convert(\"total\", \"money\"); m",
        gives: "{\"total\": 49.0}",
        arity: (3, 4),
        run: |call| on_map(call, convert),
    },
    Helper {
        group: Group::Edit,
        name: "convert_keys",
        signature: "event.convert_keys(path, table [, \"keep\"])",
        doc: "Converts the fields of the map (or with `[]` the maps) at a path by a table in `data/` \
              that gives the kind of a field, as `convert` does each. Gives how many values changed.",
        example: "let m = #{p: [#{price: \"$5\", sku: 7}]}; m.convert_keys(\"p[]\", \"item_kinds\"); m",
        gives: "{\"p\": [{\"price\": 5.0, \"sku\": \"7\"}]}",
        arity: (3, 4),
        run: |call| on_map(call, convert_keys),
    },
];

fn convert(call: &Call<'_, '_>, map: &MapHandle) -> Answer {
    let name = call.text(2)?;
    let kind = Kind::from_name(&name)
        .ok_or_else(|| call.wrong(2, &format!("one of {}", Kind::NAMES.join(", "))))?;
    let keep = keeps(call)?;
    let mut changed = 0;
    for text in call.texts(1)? {
        let path = call.session.path(&text)?;
        visit(map, &path.steps, &mut |slot, at| {
            changed += i64::from(convert_slot(call, &slot, at, kind, keep)?);
            Ok::<(), Box<EvalAltResult>>(())
        })?;
    }
    Ok(Dynamic::from_int(changed))
}

fn convert_keys(call: &Call<'_, '_>, map: &MapHandle) -> Answer {
    let path = call.session.path(&call.text(1)?)?;
    let table = super::names::table(call, 2)?;
    let keep = keeps(call)?;
    let mut changed = 0;
    visit(map, &path.steps, &mut |slot, at| {
        let Some(holder) = slot.map() else { return Ok(()) };
        let reads = |value: &Value, name: &str| {
            Kind::from_name(name).is_none_or(|kind| !kind.needs_no_reading(value))
        };
        for (key, name) in holder.matching(table, reads) {
            let kind = Kind::from_name(name).ok_or_else(|| {
                let known = Kind::NAMES.join(", ");
                let message = format!("the table gives {key} the kind {name:?}; there are {known}");
                throw(code::SCRIPT, message)
            })?;
            let slot = Slot::Field(&holder, key);
            changed += i64::from(convert_slot(call, &slot, &at.key(key), kind, keep)?);
        }
        Ok::<(), Box<EvalAltResult>>(())
    })?;
    Ok(Dynamic::from_int(changed))
}

/// Whether the call ends in `"keep"`: what cannot be read stays.
fn keeps(call: &Call<'_, '_>) -> Result<bool, Box<EvalAltResult>> {
    match call.count() {
        3 => Ok(false),
        _ if call.text(3)? == "keep" => Ok(true),
        _ => Err(call.wrong(3, "\"keep\"")),
    }
}

/// Reads what is in a slot and writes the result; says whether that changed anything.
fn convert_slot(
    call: &Call<'_, '_>,
    slot: &Slot<'_>,
    at: &Trail<'_>,
    kind: Kind,
    keep: bool,
) -> Result<bool, Box<EvalAltResult>> {
    if slot.with_scalar(|value| kind.needs_no_reading(value)) == Some(true) {
        return Ok(false);
    }
    let value = slot.get();
    if is_blank(&value) {
        return Ok(false);
    }
    match kind.read(&value, call.session) {
        Ok(read) if kind.is_already(&value, &read) => Ok(false),
        Ok(read) => slot.set(&read, &call.session.budget).map(|()| true).map_err(refused),
        Err(_) if keep => {
            let kind = format!("unreadable_{}", kind.noun());
            let violation = Violation { kind, path: at.to_string() };
            call.session.hint(None, |hints| {
                if !hints.violations.contains(&violation) {
                    hints.violations.push(violation);
                }
            });
            Ok(false)
        }
        Err(unread) => Err(unreadable_at(&value, kind, unread, at)),
    }
}

fn unreadable_at(
    value: &Dynamic,
    kind: Kind,
    unread: Unread,
    at: &Trail<'_>,
) -> Box<EvalAltResult> {
    let message = format!("{at}: {}", unread.message(value, kind.noun()));
    throw_about(
        code::UNREADABLE,
        message,
        &[
            ("value", quoted(value).into()),
            ("want", kind.noun().into()),
            ("path", at.to_string().into()),
        ],
    )
}
