//! Is it there? Blank is what says nothing: absent, `null`, an empty or blank text, an empty container.

use rhai::{Dynamic, ImmutableString};

use super::{Answer, Call, Group, Helper};
use crate::transform::handle::path::read;
use crate::transform::handle::{ArrayHandle, MapHandle};

pub(super) const HELPERS: &[Helper] = &[
    Helper {
        group: Group::Presence,
        name: "is_blank",
        signature: "is_blank(value)",
        doc: "Whether a value says nothing: `()`, an empty or blank string, an empty array or map.",
        example: "is_blank(\"  \")",
        gives: "true",
        arity: (1, 1),
        run: |call| Ok(is_blank(call.arg(0)).into()),
    },
    Helper {
        group: Group::Presence,
        name: "has",
        signature: "has(map, path)",
        doc: "Whether something is at a path, be it `null`.",
        example: "has(#{a: #{b: ()}}, \"a.b\")",
        gives: "true",
        arity: (2, 2),
        run: |call| {
            let path = call.session.path(&call.text(1)?)?;
            Ok(read(call.arg(0), &path.steps).is_some().into())
        },
    },
    Helper {
        group: Group::Presence,
        name: "get",
        signature: "get(map, path [, default])",
        doc: "What is at a path; the default, or `()`, where nothing or `null` is. With `[]` in the \
              path it is an array of what each element has.",
        example: "get(#{items: [#{price: 1}, #{price: 2}]}, \"items[].price\")",
        gives: "[1, 2]",
        arity: (2, 3),
        run: get,
    },
    Helper {
        group: Group::Presence,
        name: "first_of",
        signature: "first_of(map, [path, …])",
        doc: "What is at the first of several paths that is not blank; `()` when all are.",
        example: "first_of(#{orderId: \"\", id: 7}, [\"order_id\", \"orderId\", \"id\"])",
        gives: "7",
        arity: (2, 2),
        run: first_of,
    },
    Helper {
        group: Group::Presence,
        name: "coalesce",
        signature: "coalesce(value, value [, …])",
        doc: "The first of up to six values that is not blank; `()` when all are.",
        example: "coalesce((), \"\", \"USD\")",
        gives: "\"USD\"",
        arity: (2, 6),
        run: |call| {
            let found = (0..call.count()).find(|at| !is_blank(call.arg(*at)));
            Ok(found.map(|at| call.arg(at).clone()).unwrap_or_default())
        },
    },
];

/// Whether a value says nothing.
pub(super) fn is_blank(value: &Dynamic) -> bool {
    if value.is_unit() {
        return true;
    }
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return text.trim().is_empty();
    }
    if let Some(map) = MapHandle::of(value) {
        return map.len() == 0;
    }
    if let Some(array) = ArrayHandle::of(value) {
        return array.len() == 0;
    }
    value.read_lock::<rhai::Map>().is_some_and(|map| map.is_empty())
        || value.read_lock::<rhai::Array>().is_some_and(|array| array.is_empty())
}

fn get(call: &mut Call<'_, '_>) -> Answer {
    let path = call.session.path(&call.text(1)?)?;
    let found = read(call.arg(0), &path.steps).unwrap_or_default();
    if found.is_unit() && call.count() == 3 {
        return Ok(call.arg(2).clone());
    }
    Ok(found)
}

fn first_of(call: &mut Call<'_, '_>) -> Answer {
    for text in call.texts(1)? {
        let path = call.session.path(&text)?;
        match read(call.arg(0), &path.steps) {
            Some(found) if !is_blank(&found) => return Ok(found),
            _ => {}
        }
    }
    Ok(Dynamic::UNIT)
}
