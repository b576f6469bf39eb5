//! Edits by a team's own tables: values get one spelling, traits stay with those who own them.

use rhai::{Dynamic, EvalAltResult, ImmutableString};
use serde_json::Value;

use super::edit::on_map;
use super::names::table;
use super::{Answer, Call, Group, Helper};
use crate::spec::names;
use crate::transform::bundle::Table;
use crate::transform::error::refused;
use crate::transform::handle::MapHandle;
use crate::transform::handle::path::visit;
use crate::transform::made::Violation;

/// What a script is told about a trait that somebody else owns.
const NOT_THE_OWNER: &str = "not_the_owner";

pub(super) const HELPERS: &[Helper] = &[
    Helper {
        group: Group::Edit,
        name: "fold_values",
        signature: "event.fold_values(path, table)",
        doc: "Replaces the text at a path (or at each of an array of paths) by what a table in `data/` \
              says for it, or for its `slug`. What the table does not know stays as it is. Gives how \
              many values changed.",
        example: "let m = #{p: [#{category: \"Skin Care\"}]}; m.fold_values(\"p[].category\", \"taxonomy\"); m",
        gives: "{\"p\": [{\"category\": \"skincare\"}]}",
        arity: (3, 3),
        run: |call| on_map(call, fold_values),
    },
    Helper {
        group: Group::Edit,
        name: "keep_owned",
        signature: "event.keep_owned(path, table, source)",
        doc: "Removes from the map at a path what a table in `data/` gives to other sources, and reports \
              each as a violation. The table names for a key the sources that may set it, separated by \
              spaces; what it does not name belongs to everybody. Gives how many were removed.",
        example: "let m = #{traits: #{plan: \"pro\"}}; m.keep_owned(\"traits\", \"owners\", \"web\"); m",
        gives: "{\"traits\": {\"plan\": \"pro\"}}",
        arity: (4, 4),
        run: |call| on_map(call, keep_owned),
    },
];

fn fold_values(call: &Call<'_, '_>, map: &MapHandle) -> Answer {
    let table = table(call, 2)?;
    let mut folded = 0;
    for path in call.texts(1)? {
        let path = call.session.path(&path)?;
        visit(map, &path.steps, &mut |slot, _| {
            let known =
                slot.with_scalar(|value| value.as_str().and_then(|text| known(table, text)));
            if let Some(known) = known.flatten() {
                slot.set(&known.into(), &call.session.budget).map_err(refused)?;
                folded += 1;
            }
            Ok::<(), Box<EvalAltResult>>(())
        })?;
    }
    Ok(Dynamic::from_int(folded))
}

/// What a table says for a text, where that is another text.
fn known(table: &Table, text: &str) -> Option<ImmutableString> {
    let trimmed = text.trim();
    if table.is_empty() || trimmed.is_empty() {
        return None;
    }
    let said = match table.get(trimmed) {
        Some(said) => said,
        None => table.get(&names::words(trimmed).join("-"))?,
    };
    said.as_str().filter(|said| *said != text).map(Into::into)
}

fn keep_owned(call: &Call<'_, '_>, map: &MapHandle) -> Answer {
    let (owners, source) = (table(call, 2)?, call.text(3)?);
    if owners.is_empty() {
        return Ok(Dynamic::from_int(0));
    }
    let path = call.session.path(&call.text(1)?)?;
    let mut removed = 0;
    visit(map, &path.steps, &mut |slot, at| {
        let Some(holder) = slot.map() else { return Ok(()) };
        for key in holder.keys() {
            let Some(sources) = owners.get(&key).and_then(Value::as_str) else { continue };
            let mut sources = sources.split_whitespace().peekable();
            if sources.peek().is_none() || sources.any(|owner| owner == source.as_str()) {
                continue;
            }
            holder.remove(&key).map_err(refused)?;
            let violation = Violation { kind: NOT_THE_OWNER.into(), path: format!("{at}.{key}") };
            call.session.hint(None, |hints| hints.violations.push(violation));
            removed += 1;
        }
        Ok::<(), Box<EvalAltResult>>(())
    })?;
    Ok(Dynamic::from_int(removed))
}
