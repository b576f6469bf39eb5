//! Maps as a whole. These give new maps and leave their arguments as they are.

use rhai::{Dynamic, EvalAltResult, FnPtr};
use serde_json::Value;

use super::edit::answer;
use super::presence::is_blank;
use super::{Answer, Call, Group, Helper};
use crate::spec::Object;
use crate::transform::error::{code, refused, throw};
use crate::transform::handle::path::{Obstacle, Slot, make_way, read, visit};
use crate::transform::handle::{MapHandle, fields_of, to_dynamic};

pub(super) const HELPERS: &[Helper] = &[
    Helper {
        group: Group::Maps,
        name: "pick",
        signature: "pick(map, [path, …])",
        doc: "A new map with only what is at the paths.",
        example: "pick(#{a: 1, b: #{c: 2, d: 3}}, [\"a\", \"b.c\"])",
        gives: "{\"a\": 1, \"b\": {\"c\": 2}}",
        arity: (2, 2),
        run: pick,
    },
    Helper {
        group: Group::Maps,
        name: "omit",
        signature: "omit(map, [path, …])",
        doc: "A copy of the map without what is at some paths.",
        example: "omit(#{a: 1, b: 2}, [\"b\"])",
        gives: "{\"a\": 1}",
        arity: (2, 2),
        run: |call| {
            let copy = MapHandle::new(object(call, 0)?, 0, false);
            for text in call.texts(1)? {
                let path = call.session.path(&text)?;
                visit(&copy, &path.steps, &mut |slot, _| {
                    if let Slot::Field(holder, key) = slot {
                        holder.remove(key).map_err(refused)?;
                    }
                    Ok::<(), Box<EvalAltResult>>(())
                })?;
            }
            answer(Value::Object(copy.take()))
        },
    },
    Helper {
        group: Group::Maps,
        name: "merge",
        signature: "merge(map, over)",
        doc: "A new map of both; where both have a key the second wins, and maps merge in turn.",
        example: "merge(#{a: 1, b: #{x: 1}}, #{b: #{y: 2}})",
        gives: "{\"a\": 1, \"b\": {\"x\": 1, \"y\": 2}}",
        arity: (2, 2),
        run: |call| {
            let mut fields = object(call, 0)?;
            merge(&mut fields, object(call, 1)?);
            answer(Value::Object(fields))
        },
    },
    Helper {
        group: Group::Maps,
        name: "defaults",
        signature: "defaults(map, defaults)",
        doc: "A new map of both; where both have a key the first wins, and maps merge in turn.",
        example: "defaults(#{a: 1}, #{a: 9, b: 2})",
        gives: "{\"a\": 1, \"b\": 2}",
        arity: (2, 2),
        run: |call| {
            let mut fields = object(call, 1)?;
            merge(&mut fields, object(call, 0)?);
            answer(Value::Object(fields))
        },
    },
    Helper {
        group: Group::Maps,
        name: "compact",
        signature: "compact(map [, deep])",
        doc: "A copy of the map without blank values; with `true` also in nested maps.",
        example: "compact(#{a: 1, b: (), c: \"\"})",
        gives: "{\"a\": 1}",
        arity: (1, 2),
        run: |call| {
            let deep = call.count() == 2 && call.arg(1).as_bool().unwrap_or(false);
            let mut fields = object(call, 0)?;
            compact(&mut fields, deep);
            answer(Value::Object(fields))
        },
    },
    Helper {
        group: Group::Maps,
        name: "flatten",
        signature: "flatten(map [, separator])",
        doc: "A new map without nested maps: `#{a: #{b: 1}}` becomes `#{\"a.b\": 1}`.",
        example: "flatten(#{a: #{b: 1}}, \"_\")",
        gives: "{\"a_b\": 1}",
        arity: (1, 2),
        run: |call| {
            let separator = if call.count() == 2 { call.text(1)? } else { ".".into() };
            let mut flat = Object::new();
            flatten(object(call, 0)?, "", &separator, &mut flat);
            answer(Value::Object(flat))
        },
    },
    Helper {
        group: Group::Maps,
        name: "unflatten",
        signature: "unflatten(map [, separator])",
        doc: "The opposite of `flatten`.",
        example: "unflatten(#{\"a.b\": 1})",
        gives: "{\"a\": {\"b\": 1}}",
        arity: (1, 2),
        run: |call| {
            let separator = if call.count() == 2 { call.text(1)? } else { ".".into() };
            unflatten(object(call, 0)?, &separator)
        },
    },
    Helper {
        group: Group::Maps,
        name: "map_keys",
        signature: "map_keys(map, |key| …)",
        doc: "A copy of the map with every key renamed by a function.",
        example: "map_keys(#{a: 1}, |key| `x_${key}`)",
        gives: "{\"x_a\": 1}",
        arity: (2, 2),
        run: map_keys,
    },
];

/// An argument as a copied object.
pub(super) fn object(call: &Call<'_, '_>, at: usize) -> Result<Object, Box<EvalAltResult>> {
    if fields_of(call.arg(at)).is_none() {
        return Err(call.wrong(at, "a map"));
    }
    match call.session.to_value(call.arg(at))? {
        Value::Object(fields) => Ok(fields),
        _ => Err(call.wrong(at, "a map")),
    }
}

fn pick(call: &mut Call<'_, '_>) -> Answer {
    let picked = MapHandle::new(Object::new(), 0, false);
    let budget = &call.session.budget;
    for text in call.texts(1)? {
        let path = call.session.path(&text)?;
        let Some(value) = read(call.arg(0), &path.steps) else { continue };
        let (holder, key) =
            make_way(&picked, &path, budget).map_err(|obstacle| match obstacle {
                Obstacle::Refused(refusal) => refused(refusal),
                _ => throw(code::SCRIPT, format!("pick: {text:?} must lead through maps to a key")),
            })?;
        holder.put(&key, call.session.to_value(&value)?);
    }
    Ok(Dynamic::from(picked))
}

fn merge(fields: &mut Object, over: Object) {
    for (key, value) in over {
        match (fields.get_mut(&key), value) {
            (Some(Value::Object(own)), Value::Object(more)) => merge(own, more),
            (_, value) => {
                fields.insert(key, value);
            }
        }
    }
}

fn compact(fields: &mut Object, deep: bool) {
    if deep {
        for value in fields.values_mut() {
            if let Value::Object(inner) = value {
                compact(inner, true);
            }
        }
    }
    fields.retain(|_, value| !blank(value));
}

fn blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn flatten(fields: Object, prefix: &str, separator: &str, flat: &mut Object) {
    for (key, value) in fields {
        let name = if prefix.is_empty() { key } else { format!("{prefix}{separator}{key}") };
        match value {
            Value::Object(inner) if !inner.is_empty() => flatten(inner, &name, separator, flat),
            value => {
                flat.insert(name, value);
            }
        }
    }
}

fn unflatten(flat: Object, separator: &str) -> Answer {
    if separator.is_empty() {
        return Err(throw(code::SCRIPT, "unflatten: the separator must not be empty"));
    }
    let mut fields = Object::new();
    for (name, value) in flat {
        let mut holder = &mut fields;
        let mut keys = name.split(separator).peekable();
        let mut value = Some(value);
        while let Some(key) = keys.next() {
            if keys.peek().is_none() {
                holder.insert(key.to_owned(), value.take().unwrap_or_default());
                break;
            }
            let slot = holder.entry(key).or_insert_with(|| Value::Object(Object::new()));
            if !slot.is_object() {
                *slot = Value::Object(Object::new());
            }
            let Value::Object(inner) = slot else { break };
            holder = inner;
        }
        if name.matches(separator).count() > crate::transform::handle::MAX_DEPTH {
            return Err(throw(code::DATA, "unflatten: a key has too many parts"));
        }
    }
    answer(Value::Object(fields))
}

fn map_keys(call: &mut Call<'_, '_>) -> Answer {
    let rename = call
        .arg(1)
        .read_lock::<FnPtr>()
        .map(|function| function.clone())
        .ok_or_else(|| call.wrong(1, "a function such as |key| snake_case(key)"))?;
    let mut renamed = Object::new();
    for (key, value) in object(call, 0)? {
        let new: Dynamic = rename.call_within_context(call.context, (key.clone(),))?;
        let new = crate::transform::handle::as_text(&new)
            .ok_or_else(|| throw(code::SCRIPT, "map_keys: the function must give a string"))?;
        renamed.insert(new.to_string(), value);
    }
    Ok(to_dynamic(Value::Object(renamed)))
}

/// Whether a script's value is blank; here for arrays of maps.
pub(super) fn is_present(value: &Dynamic) -> bool {
    !is_blank(value)
}
