//! Changing an event by paths. These work on the event's own nodes, without a detour over the script.

use rhai::{Dynamic, EvalAltResult, Map};

use super::presence::is_blank;
use super::{Answer, Call, Group, Helper};
use crate::spec::names;
use crate::transform::error::{code, refused, throw};
use crate::transform::handle::path::{Obstacle, Slot, Step, make_way, visit};
use crate::transform::handle::{ArrayHandle, MapHandle, as_text, to_dynamic};

pub(super) const HELPERS: &[Helper] = &[
    Helper {
        group: Group::Edit,
        name: "set",
        signature: "event.set(path, value)",
        doc: "Writes a value at a path and makes the maps on the way. With `[]` it writes into every \
              element. `()` writes `null`.",
        example: "let m = #{}; m.set(\"a.b\", 1); m",
        gives: "{\"a\": {\"b\": 1}}",
        arity: (3, 3),
        run: |call| on_map(call, set),
    },
    Helper {
        group: Group::Edit,
        name: "del",
        signature: "event.del(path)",
        doc: "Removes what is at a path; says whether something was there.",
        example: "let m = #{a: [#{x: 1, y: 2}]}; m.del(\"a[].x\"); m",
        gives: "{\"a\": [{\"y\": 2}]}",
        arity: (2, 2),
        run: |call| on_map(call, delete),
    },
    Helper {
        group: Group::Edit,
        name: "rename",
        signature: "event.rename(from, to [, type])",
        doc: "Moves what is at one path to another, unless something that is not blank is there \
              already; says whether it did. `from` may be an array: the first that is not blank is \
              taken. With a type (a word of `type_of`) only a value of that type is taken. With `[]` \
              in both paths it does so in every element.",
        example: "let m = #{items: 2, lines: [7]}; m.rename([\"items\", \"lines\"], \"products\", \"array\"); m",
        gives: "{\"items\": 2, \"products\": [7]}",
        arity: (3, 4),
        run: |call| on_map(call, rename),
    },
    Helper {
        group: Group::Edit,
        name: "move",
        signature: "event.move(from, to)",
        doc: "Moves what is at one path to another, over whatever is there; says whether there was \
              something to move, be it `null`. Otherwise as `rename`.",
        example: "let m = #{total: 49, value: 0}; m.move(\"total\", \"value\"); m",
        gives: "{\"value\": 49}",
        arity: (3, 3),
        run: |call| on_map(call, move_over),
    },
    Helper {
        group: Group::Edit,
        name: "fold_keys",
        signature: "event.fold_keys(path, table)",
        doc: "Renames the keys of the map (or with `[]` the maps) at a path by a table in `data/` that \
              gives the new name of a key. A key stays when something that is not blank has its new \
              name. Gives how many keys were renamed.",
        example: "let m = #{p: [#{qty: 2, sku: \"a\"}]}; m.fold_keys(\"p[]\", \"item_keys\"); m",
        gives: "{\"p\": [{\"quantity\": 2, \"sku\": \"a\"}]}",
        arity: (3, 3),
        run: |call| on_map(call, fold_keys),
    },
    Helper {
        group: Group::Edit,
        name: "rename_keys",
        signature: "event.rename_keys(\"snake\" | \"camel\" [, path])",
        doc: "Changes the casing of all keys, also of nested maps, at a path or everywhere. A key \
              whose new name is taken stays.",
        example: "let m = #{orderId: 7, line: #{itemName: \"x\"}}; m.rename_keys(\"snake\"); m",
        gives: "{\"line\": {\"item_name\": \"x\"}, \"order_id\": 7}",
        arity: (2, 3),
        run: |call| on_map(call, rename_keys),
    },
];

/// Runs an edit on the first argument. A map of Rhai's own is edited as a copy and written back.
pub(super) fn on_map(
    call: &mut Call<'_, '_>,
    edit: fn(&Call<'_, '_>, &MapHandle) -> Answer,
) -> Answer {
    if let Some(map) = MapHandle::of(call.arg(0)) {
        return edit(call, &map);
    }
    if !call.arg(0).is_map() {
        return Err(call.wrong(0, "a map"));
    }
    let copy = call.session.copied(call.arg(0))?;
    let Some(map) = MapHandle::of(&copy) else { return Err(call.wrong(0, "a map")) };
    let result = edit(call, &map)?;
    let edited: Map =
        map.keys().into_iter().map(|key| (key.as_str().into(), map.get(&key))).collect();
    *call.args[0] = Dynamic::from_map(edited);
    Ok(result)
}

fn set(call: &Call<'_, '_>, map: &MapHandle) -> Answer {
    let path = call.session.path(&call.text(1)?)?;
    let value = call.arg(2);
    let budget = &call.session.budget;
    if path.steps.contains(&Step::Every) {
        visit(map, &path.steps, &mut |slot, _| slot.set(value, budget).map_err(refused))?;
        return Ok(Dynamic::UNIT);
    }
    if let Some(Step::At(_)) = path.steps.last() {
        visit(map, &path.steps, &mut |slot, _| slot.set(value, budget).map_err(refused))?;
        return Ok(Dynamic::UNIT);
    }
    let (holder, key) = make_way(map, &path, budget).map_err(|obstacle| blocked(call, obstacle))?;
    Slot::Field(&holder, &key).set(value, budget).map_err(refused)?;
    Ok(Dynamic::UNIT)
}

fn delete(call: &Call<'_, '_>, map: &MapHandle) -> Answer {
    let path = call.session.path(&call.text(1)?)?;
    let mut deleted = false;
    visit(map, &path.steps, &mut |slot, _| {
        match slot {
            Slot::Field(holder, key) => {
                if holder.has(key) {
                    deleted |= holder.remove(key).map_err(refused)?.is_some();
                }
            }
            Slot::Item(..) => {
                return Err(throw(code::SCRIPT, "del takes fields out, not elements"));
            }
        }
        Ok(())
    })?;
    Ok(deleted.into())
}

fn rename(call: &Call<'_, '_>, map: &MapHandle) -> Answer {
    rename_over(call, map, false)
}

fn move_over(call: &Call<'_, '_>, map: &MapHandle) -> Answer {
    rename_over(call, map, true)
}

fn rename_over(call: &Call<'_, '_>, map: &MapHandle, over: bool) -> Answer {
    let to = call.session.path(&call.text(2)?)?;
    if call.count() == 4 && !TYPES.contains(&call.text(3)?.as_str()) {
        return Err(call.wrong(3, &format!("one of {}", TYPES.join(", "))));
    }
    for text in call.texts(1)? {
        let from = call.session.path(&text)?;
        if rename_within(call, map, (&from.steps, &to.steps), over)? {
            return Ok(true.into());
        }
    }
    Ok(false.into())
}

/// Renames below the part that both paths share, so that `[]` means the same element in both.
fn rename_within(
    call: &Call<'_, '_>,
    map: &MapHandle,
    (from, to): (&[Step], &[Step]),
    over: bool,
) -> Result<bool, Box<EvalAltResult>> {
    let Some(every) = from.iter().position(|step| *step == Step::Every) else {
        return rename_one(call, map, (from, to), over);
    };
    if to.get(..=every) != from.get(..=every) {
        return Err(throw(
            code::SCRIPT,
            "rename: with [] both paths must be the same up to there, as in \
             rename(\"products[].qty\", \"products[].quantity\")",
        ));
    }
    let mut renamed = false;
    visit(map, &from[..=every], &mut |slot, _| {
        if let Some(item) = slot.map() {
            let below = (&from[every + 1..], &to[every + 1..]);
            renamed |= rename_within(call, &item, below, over)?;
        }
        Ok::<(), Box<EvalAltResult>>(())
    })?;
    Ok(renamed)
}

fn rename_one(
    call: &Call<'_, '_>,
    map: &MapHandle,
    (from, to): (&[Step], &[Step]),
    over: bool,
) -> Result<bool, Box<EvalAltResult>> {
    let (Some((Step::Key(old), way)), Some((Step::Key(new), way_to))) =
        (from.split_last(), to.split_last())
    else {
        return Err(throw(code::SCRIPT, "rename: both paths must end in a key"));
    };
    let Some(holder) = holder_at(map, way) else { return Ok(false) };
    let value = holder.get(old);
    if !holder.has(old) || !over && is_blank(&value) || !is_wanted(call, &value) {
        return Ok(false);
    }
    let target = if way == way_to {
        holder.clone()
    } else {
        let to = crate::transform::handle::path::Path { steps: to.to_vec() };
        make_way(map, &to, &call.session.budget).map_err(|obstacle| blocked(call, obstacle))?.0
    };
    if target.is(&holder) && old == new || !over && !is_blank(&target.get(new)) {
        return Ok(false);
    }
    target.check_writable().map_err(refused)?;
    let Some(node) = holder.remove(old).map_err(refused)? else { return Ok(false) };
    target.place(new, node).map_err(refused)?;
    Ok(true)
}

/// What `type_of` answers for values of an event.
const TYPES: [&str; 6] = ["map", "array", "string", "i64", "f64", "bool"];

/// Whether a value is of the type that the call asks for, if it does.
fn is_wanted(call: &Call<'_, '_>, value: &Dynamic) -> bool {
    let Some(wanted) = (call.count() == 4).then(|| as_text(call.arg(3))).flatten() else {
        return true;
    };
    call.context.engine().map_type_name(value.type_name()) == wanted.as_str()
}

/// The map at the end of plain steps.
fn holder_at(map: &MapHandle, steps: &[Step]) -> Option<MapHandle> {
    let mut found = None;
    visit(map, steps, &mut |slot, _| {
        found = slot.map();
        Ok::<(), ()>(())
    })
    .ok()?;
    if steps.is_empty() { Some(map.clone()) } else { found }
}

fn rename_keys(call: &Call<'_, '_>, map: &MapHandle) -> Answer {
    let style = call.text(1)?;
    let casing: fn(&str) -> String = match style.as_str() {
        "snake" => |key| names::words(key).join("_"),
        "camel" => super::text::camel,
        _ => return Err(call.wrong(1, "\"snake\" or \"camel\"")),
    };
    if call.count() == 2 {
        recase(&Dynamic::from(map.clone()), casing)?;
        return Ok(Dynamic::UNIT);
    }
    let path = call.session.path(&call.text(2)?)?;
    visit(map, &path.steps, &mut |slot, _| recase(&slot.get(), casing))?;
    Ok(Dynamic::UNIT)
}

fn fold_keys(call: &Call<'_, '_>, map: &MapHandle) -> Answer {
    let path = call.session.path(&call.text(1)?)?;
    let table = super::names::table(call, 2)?;
    let mut renamed = 0;
    visit(map, &path.steps, &mut |slot, _| {
        let Some(holder) = slot.map() else { return Ok(()) };
        for (key, name) in holder.matching(table, |_, _| true) {
            if key == name || is_blank(&holder.get(key)) || !is_blank(&holder.get(name)) {
                continue;
            }
            if let Some(node) = holder.remove(key).map_err(refused)? {
                holder.place(name, node).map_err(refused)?;
                renamed += 1;
            }
        }
        Ok::<(), Box<EvalAltResult>>(())
    })?;
    Ok(Dynamic::from_int(renamed))
}

fn recase(value: &Dynamic, casing: fn(&str) -> String) -> Result<(), Box<EvalAltResult>> {
    if let Some(array) = ArrayHandle::of(value) {
        return array.snapshot().iter().try_for_each(|item| recase(item, casing));
    }
    let Some(map) = MapHandle::of(value) else { return Ok(()) };
    for key in map.keys() {
        recase(&map.get(&key), casing)?;
        let new = casing(&key);
        if new != key
            && !new.is_empty()
            && !map.has(&new)
            && let Some(node) = map.remove(&key).map_err(refused)?
        {
            map.place(&new, node).map_err(refused)?;
        }
    }
    Ok(())
}

fn blocked(call: &Call<'_, '_>, obstacle: Obstacle) -> Box<EvalAltResult> {
    match obstacle {
        Obstacle::Refused(refusal) => refused(refusal),
        Obstacle::NoKey => {
            throw(code::SCRIPT, format!("{}: the path must end in a key", call.name))
        }
        Obstacle::InTheWay(what) => {
            throw(code::SCRIPT, format!("{}: what is at {what} is no map", call.name))
        }
    }
}

/// A JSON value as the answer of a helper.
pub(super) fn answer(value: serde_json::Value) -> Answer {
    Ok(to_dynamic(value))
}
