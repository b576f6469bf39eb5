//! Arrays as a whole. Elements that are maps stay the very maps: changing one found here changes the
//! event.

use std::collections::HashSet;

use rhai::{Array, Dynamic, EvalAltResult};
use serde_json::Value;

use super::edit::answer;
use super::maps::is_present;
use super::money::float;
use super::{Answer, Call, Group, Helper};
use crate::spec::Object;
use crate::transform::handle::path::read;
use crate::transform::handle::{MapHandle, equal, items_of};

pub(super) const HELPERS: &[Helper] = &[
    Helper {
        group: Group::Arrays,
        name: "as_array",
        signature: "as_array(value)",
        doc: "The value as an array: an array is itself, `()` is empty, anything else is one element.",
        example: "as_array(#{sku: \"a\"})",
        gives: "[{\"sku\": \"a\"}]",
        arity: (1, 1),
        run: |call| {
            let value = call.arg(0).clone();
            Ok(match items_of(&value) {
                Some(_) => value,
                None if value.is_unit() => Dynamic::from_array(Array::new()),
                None => Dynamic::from_array(vec![value]),
            })
        },
    },
    Helper {
        group: Group::Arrays,
        name: "unique",
        signature: "unique(array [, path])",
        doc: "The array without repetitions; with a path, without elements that have the same there.",
        example: "unique([1, 2, 1, 2.0])",
        gives: "[1, 2]",
        arity: (1, 2),
        run: unique,
    },
    Helper {
        group: Group::Arrays,
        name: "pluck",
        signature: "pluck(array, path)",
        doc: "What every element has at a path, where it has something.",
        example: "pluck([#{sku: \"a\"}, #{}, #{sku: \"b\"}], \"sku\")",
        gives: "[\"a\", \"b\"]",
        arity: (2, 2),
        run: |call| {
            let found = at_path(call)?.into_iter().map(|(_, value)| value);
            Ok(Dynamic::from_array(found.filter(is_present).collect()))
        },
    },
    Helper {
        group: Group::Arrays,
        name: "sum_by",
        signature: "sum_by(array, path)",
        doc: "The sum of the numbers at a path; what is no number counts nothing.",
        example: "sum_by([#{price: 2}, #{price: 1.5}, #{}], \"price\")",
        gives: "3.5",
        arity: (2, 2),
        run: |call| {
            // Rust's sum of nothing is minus zero.
            let sum: f64 =
                at_path(call)?.iter().filter_map(|(_, value)| float(value)).fold(0.0, |a, b| a + b);
            Ok(Dynamic::from_float(sum))
        },
    },
    Helper {
        group: Group::Arrays,
        name: "index_by",
        signature: "index_by(array, path)",
        doc: "A map from what is at a path to the element; the last of several wins.",
        example: "index_by([#{sku: \"a\", n: 1}], \"sku\")",
        gives: "{\"a\": {\"n\": 1, \"sku\": \"a\"}}",
        arity: (2, 2),
        run: |call| {
            let mut index = Object::new();
            for (item, key) in at_path(call)? {
                if let Some(key) = super::reading::string(&key) {
                    index.insert(key.to_string(), call.session.to_value(&item)?);
                }
            }
            answer(Value::Object(index))
        },
    },
    Helper {
        group: Group::Arrays,
        name: "group_by",
        signature: "group_by(array, path)",
        doc: "A map from what is at a path to the array of elements that have it.",
        example: "group_by([#{t: \"x\"}, #{t: \"x\"}], \"t\")",
        gives: "{\"x\": [{\"t\": \"x\"}, {\"t\": \"x\"}]}",
        arity: (2, 2),
        run: group_by,
    },
    Helper {
        group: Group::Arrays,
        name: "unnest",
        signature: "unnest(event, path)",
        doc: "One copy of the event for every element of the array at a path, with the element in the \
              array's place.",
        example: "unnest(#{id: 1, items: [\"a\", \"b\"]}, \"items\")",
        gives: "[{\"id\": 1, \"items\": \"a\"}, {\"id\": 1, \"items\": \"b\"}]",
        arity: (2, 2),
        run: unnest,
    },
];

fn items(call: &Call<'_, '_>, at: usize) -> Result<Vec<Dynamic>, Box<EvalAltResult>> {
    match items_of(call.arg(at)) {
        Some(items) => Ok(items),
        None if call.arg(at).is_unit() => Ok(Vec::new()),
        None => Err(call.wrong(at, "an array")),
    }
}

/// Every element with what it has at the path of the second argument.
fn at_path(call: &Call<'_, '_>) -> Result<Vec<(Dynamic, Dynamic)>, Box<EvalAltResult>> {
    let path = call.session.path(&call.text(1)?)?;
    let pair = |item: Dynamic| {
        let found = read(&item, &path.steps).unwrap_or_default();
        (item, found)
    };
    Ok(items(call, 0)?.into_iter().map(pair).collect())
}

fn unique(call: &mut Call<'_, '_>) -> Answer {
    let pairs = match call.count() {
        1 => items(call, 0)?.into_iter().map(|item| (item.clone(), item)).collect(),
        _ => at_path(call)?,
    };
    let mut seen_texts = HashSet::new();
    let mut seen: Array = Array::new();
    let mut kept = Array::new();
    for (item, key) in pairs {
        let is_new = match crate::transform::handle::as_text(&key) {
            Some(text) => seen_texts.insert(text),
            None => {
                call.session
                    .budget
                    .spend(seen.len(), 0)
                    .map_err(crate::transform::error::refused)?;
                let is_new = !seen.iter().any(|other| equal(other, &key));
                if is_new {
                    seen.push(key);
                }
                is_new
            }
        };
        if is_new {
            kept.push(item);
        }
    }
    Ok(Dynamic::from_array(kept))
}

fn group_by(call: &mut Call<'_, '_>) -> Answer {
    let mut groups = Object::new();
    for (item, key) in at_path(call)? {
        let Some(key) = super::reading::string(&key) else { continue };
        let value = call.session.to_value(&item)?;
        match groups.entry(key.as_str()).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(group) => group.push(value),
            _ => continue,
        }
    }
    answer(Value::Object(groups))
}

fn unnest(call: &mut Call<'_, '_>) -> Answer {
    let path = call.session.path(&call.text(1)?)?;
    let elements = read(call.arg(0), &path.steps).and_then(|found| items_of(&found));
    let Some(elements) = elements else {
        return Ok(Dynamic::from_array(vec![call.arg(0).clone()]));
    };
    let mut copies = Array::new();
    for element in elements {
        let copy = call.session.copied(call.arg(0))?;
        if let Some(map) = MapHandle::of(&copy) {
            crate::transform::handle::path::visit(&map, &path.steps, &mut |slot, _| {
                slot.set(&element, &call.session.budget).map_err(crate::transform::error::refused)
            })?;
        }
        copies.push(copy);
    }
    Ok(Dynamic::from_array(copies))
}
