//! Teaches Rhai to use handles as it uses its own maps and arrays.
//!
//! Everything that Rhai's packages can do with a map or an array is found in their metadata and made
//! available on handles: the function runs on a snapshot of the elements (each a handle itself), and
//! what it changed is written back. So nothing is missing, and no borrow is held while a callback of
//! the script runs.
//!
//! Not here: `get` and `set` of maps, which are path helpers for every kind of map
//! ([`mod@crate::transform::helpers`]).

use std::any::TypeId;
use std::collections::BTreeSet;
use std::rc::Rc;

use rhai::{
    Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map, NativeCallContext, Position,
};

use super::{ArrayHandle, MAX_DEPTH, MapHandle, Refusal, equal, fields_of, items_of};
use crate::transform::error::refused;
use crate::transform::script_context::ScriptContext;
use crate::transform::session::Session;

type Answer<T> = Result<T, Box<EvalAltResult>>;

/// Makes handles known to `engine`. `taken` are functions that exist for handles already, by name
/// and number of arguments.
pub(crate) fn register(
    engine: &mut Engine,
    session: &Rc<Session>,
    taken: &BTreeSet<(String, usize)>,
) {
    engine.register_type_with_name::<MapHandle>("map");
    engine.register_type_with_name::<ArrayHandle>("array");
    engine.register_type_with_name::<ScriptContext>("map");
    let natives = natives(engine);
    register_maps(engine, session);
    register_arrays(engine, session);
    register_context(engine);
    register_equality(engine);
    register_printing(engine);
    for (kind, name, arity) in natives {
        let known = (name.clone(), arity);
        match kind {
            _ if PRINTS.contains(&name.as_str()) => {}
            Kind::Array if !ARRAY_OWN.contains(&(name.as_str(), arity)) => {
                delegate_array(engine, session, &name, arity);
            }
            Kind::Map if !MAP_OWN.contains(&(name.as_str(), arity)) && !taken.contains(&known) => {
                delegate_map(engine, session, &name, arity);
            }
            _ => {}
        }
    }
}

/// Lets `property` be read and written on maps without the detour over the indexer.
pub(crate) fn register_property(engine: &mut Engine, session: &Rc<Session>, property: &str) {
    let name = property.to_owned();
    let session = Rc::clone(session);
    let read = name.clone();
    engine.register_get(property, move |map: &mut MapHandle| map.get(&read));
    engine.register_set(property, move |map: &mut MapHandle, value: Dynamic| {
        map.set(&name, &value, &session.budget).map_err(refused)
    });
    if crate::transform::script_context::NAMES.contains(&property) {
        let name = property.to_owned();
        engine.register_get(property, move |context: &mut ScriptContext| context.get(&name));
    }
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    Array,
    Map,
}

/// Functions of maps and arrays that have their own code below.
const MAP_OWN: [(&str, usize); 9] = [
    ("len", 1),
    ("contains", 2),
    ("keys", 1),
    ("values", 1),
    ("clear", 1),
    ("remove", 2),
    ("to_json", 1),
    ("==", 2),
    ("!=", 2),
];
const PRINTS: [&str; 4] = ["print", "debug", "to_string", "to_debug"];
const ARRAY_OWN: [(&str, usize); 5] = [("len", 1), ("push", 2), ("+=", 2), ("==", 2), ("!=", 2)];

/// Everything that Rhai's packages can do with a map or an array as the first argument.
fn natives(engine: &Engine) -> BTreeSet<(Kind, String, usize)> {
    let found = engine.collect_fn_metadata(
        None,
        |function| {
            let types = &function.metadata.param_types;
            let kind = match types.first() {
                Some(first) if *first == TypeId::of::<Array>() => Kind::Array,
                Some(first) if *first == TypeId::of::<Map>() => Kind::Map,
                _ => return None,
            };
            Some((kind, function.metadata.name.to_string(), types.len()))
        },
        true,
    );
    found.into_iter().collect()
}

fn register_maps(engine: &mut Engine, session: &Rc<Session>) {
    engine.register_indexer_get(|map: &mut MapHandle, key: ImmutableString| map.get(&key));
    let own = Rc::clone(session);
    engine.register_indexer_set(
        move |map: &mut MapHandle, key: ImmutableString, value: Dynamic| {
            map.set(&key, &value, &own.budget).map_err(refused)
        },
    );
    engine.register_fn("len", |map: &mut MapHandle| as_int(map.len()));
    engine.register_fn("contains", |map: &mut MapHandle, key: ImmutableString| map.has(&key));
    engine.register_fn("keys", |map: &mut MapHandle| -> Array {
        map.keys().into_iter().map(Dynamic::from).collect()
    });
    engine.register_fn("values", |map: &mut MapHandle| -> Array {
        map.keys().iter().map(|key| map.get(key)).collect()
    });
    engine.register_fn("clear", |map: &mut MapHandle| map.clear().map_err(refused));
    engine.register_fn("remove", |map: &mut MapHandle, key: ImmutableString| -> Answer<Dynamic> {
        let node = map.remove(&key).map_err(refused)?;
        Ok(node.map_or(Dynamic::UNIT, |node| node.detach()))
    });
    let own = Rc::clone(session);
    engine.register_fn("copy", move |map: &mut MapHandle| -> Answer<Dynamic> {
        own.copied(&Dynamic::from(map.clone()))
    });
}

fn register_arrays(engine: &mut Engine, session: &Rc<Session>) {
    engine.register_iterator::<ArrayHandle>();
    engine.register_indexer_get(|array: &mut ArrayHandle, at: i64| -> Answer<Dynamic> {
        let length = array.len();
        place(length, at).and_then(|at| array.get(at)).ok_or_else(|| out_of_bounds(length, at))
    });
    let own = Rc::clone(session);
    engine.register_indexer_set(
        move |array: &mut ArrayHandle, at: i64, value: Dynamic| -> Answer<()> {
            let length = array.len();
            let slot = place(length, at).ok_or_else(|| out_of_bounds(length, at))?;
            array.set(slot, &value, &own.budget).map_err(refused)?;
            Ok(())
        },
    );
    engine.register_fn("len", |array: &mut ArrayHandle| as_int(array.len()));
    let own = Rc::clone(session);
    engine.register_fn("push", move |array: &mut ArrayHandle, value: Dynamic| {
        array.push(&value, &own.budget).map_err(refused)
    });
    let own = Rc::clone(session);
    engine.register_fn("+=", move |array: &mut ArrayHandle, value: Dynamic| -> Answer<()> {
        match items_of(&value) {
            Some(items) => items.iter().try_for_each(|item| array.push(item, &own.budget)),
            None => array.push(&value, &own.budget),
        }
        .map_err(refused)
    });
    let own = Rc::clone(session);
    engine.register_fn("copy", move |array: &mut ArrayHandle| -> Answer<Dynamic> {
        own.copied(&Dynamic::from(array.clone()))
    });
}

fn register_context(engine: &mut Engine) {
    engine.register_indexer_get(|context: &mut ScriptContext, name: ImmutableString| {
        context.get(&name)
    });
    engine.register_indexer_set(
        |_: &mut ScriptContext, _: ImmutableString, _: Dynamic| -> Answer<()> {
            Err(refused(Refusal::ReadOnly))
        },
    );
    engine.register_fn("contains", |context: &mut ScriptContext, name: ImmutableString| {
        context.as_map().has(&name)
    });
    engine.register_fn("keys", |context: &mut ScriptContext| -> Array {
        context.as_map().keys().into_iter().map(Dynamic::from).collect()
    });
    engine.register_fn("copy", |context: &mut ScriptContext| {
        Dynamic::from(MapHandle::new(context.as_map().copy(), 0, false))
    });
}

/// `==` in both directions: Rhai calls values of different types different unless told otherwise.
/// Rhai's own maps and arrays are compared here too, since its own comparison follows a value that is
/// nested without end until the stack is full.
fn register_equality(engine: &mut Engine) {
    let maps = [TypeId::of::<MapHandle>(), TypeId::of::<Map>()];
    let arrays = [TypeId::of::<ArrayHandle>(), TypeId::of::<Array>()];
    for [handle, own] in [maps, arrays] {
        for types in [[handle, handle], [handle, own], [own, handle], [own, own]] {
            for (operator, expected) in [("==", true), ("!=", false)] {
                engine.register_raw_fn(operator, types, move |_: NativeCallContext, args| {
                    Ok(equal(args[0], args[1]) == expected)
                });
            }
        }
    }
}

/// Printing, in the form that Rhai gives its own maps and arrays, and for the same reason as above.
fn register_printing(engine: &mut Engine) {
    let kinds = [
        TypeId::of::<MapHandle>(),
        TypeId::of::<ArrayHandle>(),
        TypeId::of::<Map>(),
        TypeId::of::<Array>(),
        TypeId::of::<ScriptContext>(),
    ];
    for name in PRINTS {
        for kind in kinds {
            engine.register_raw_fn(name, [kind], |_: NativeCallContext, args| {
                let mut text = String::new();
                print(args[0], MAX_DEPTH, &mut text)?;
                Ok(Dynamic::from(text))
            });
        }
    }
}

fn print(value: &Dynamic, levels: usize, text: &mut String) -> Answer<()> {
    let Some(levels) = levels.checked_sub(1) else { return Err(refused(Refusal::TooDeep)) };
    if let Some(fields) = fields_of(value) {
        text.push_str("#{");
        for (at, (key, item)) in fields.iter().enumerate() {
            if at > 0 {
                text.push_str(", ");
            }
            text.push_str(&format!("{key:?}: "));
            print(item, levels, text)?;
        }
        text.push('}');
    } else if let Some(items) = items_of(value) {
        text.push('[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                text.push_str(", ");
            }
            print(item, levels, text)?;
        }
        text.push(']');
    } else if value.is_unit() {
        text.push_str("()");
    } else {
        text.push_str(&format!("{value:?}"));
    }
    Ok(())
}

/// Runs Rhai's own function on a snapshot of the array.
fn delegate_array(engine: &mut Engine, session: &Rc<Session>, name: &str, arity: usize) {
    let function = name.to_owned();
    let session = Rc::clone(session);
    engine.register_raw_fn(
        name,
        types_of::<ArrayHandle>(arity),
        move |context: NativeCallContext, args| -> Answer<Dynamic> {
            let Some(handle) = ArrayHandle::of(args[0]) else { return Ok(Dynamic::UNIT) };
            let before = handle.snapshot();
            let mut array = Dynamic::from_array(before.clone());
            let result = call_native(&context, &function, &mut array, &mut args[1..])?;
            let after = array.into_array().unwrap_or_default();
            let same = before.len() == after.len()
                && before.iter().zip(&after).all(|(before, after)| is_same(before, after));
            if !same {
                handle.replace(&after, &session.budget).map_err(refused)?;
            }
            Ok(result)
        },
    );
}

/// Runs Rhai's own function on a snapshot of the map. The order of the keys that stay is kept.
fn delegate_map(engine: &mut Engine, session: &Rc<Session>, name: &str, arity: usize) {
    let function = name.to_owned();
    let session = Rc::clone(session);
    engine.register_raw_fn(
        name,
        types_of::<MapHandle>(arity),
        move |context: NativeCallContext, args| -> Answer<Dynamic> {
            let Some(handle) = MapHandle::of(args[0]) else { return Ok(Dynamic::UNIT) };
            let before = shallow_map(&handle);
            let mut map = Dynamic::from_map(before.clone());
            let result = call_native(&context, &function, &mut map, &mut args[1..])?;
            let after = map.try_cast::<Map>().unwrap_or_default();
            for key in before.keys().filter(|key| !after.contains_key(*key)) {
                handle.remove(key).map_err(refused)?;
            }
            for (key, value) in &after {
                if !before.get(key).is_some_and(|before| is_same(before, value)) {
                    handle.set(key, value, &session.budget).map_err(refused)?;
                }
            }
            Ok(result)
        },
    );
}

fn types_of<T: 'static>(arity: usize) -> Vec<TypeId> {
    let mut types = vec![TypeId::of::<Dynamic>(); arity];
    types[0] = TypeId::of::<T>();
    types
}

/// Other handles among the arguments become snapshots too: the function knows no handles.
fn call_native(
    context: &NativeCallContext,
    function: &str,
    first: &mut Dynamic,
    rest: &mut [&mut Dynamic],
) -> Answer<Dynamic> {
    let takes_values = matches!(function, "push" | "insert" | "contains" | "index_of" | "pad");
    let mut rest: Vec<Dynamic> = rest
        .iter_mut()
        .map(|argument| {
            let argument = std::mem::take(*argument);
            match (ArrayHandle::of(&argument), MapHandle::of(&argument)) {
                (Some(array), _) if !takes_values => Dynamic::from_array(array.snapshot()),
                (_, Some(map)) if !takes_values => Dynamic::from_map(shallow_map(&map)),
                _ => argument,
            }
        })
        .collect();
    let mut args: Vec<&mut Dynamic> = Vec::with_capacity(rest.len() + 1);
    args.push(first);
    args.extend(rest.iter_mut());
    context.call_native_fn_raw(function, true, &mut args)
}

fn shallow_map(handle: &MapHandle) -> Map {
    handle.keys().into_iter().map(|key| (key.as_str().into(), handle.get(&key))).collect()
}

/// Whether both are the same node, or the same scalar.
fn is_same(a: &Dynamic, b: &Dynamic) -> bool {
    match (MapHandle::of(a), MapHandle::of(b)) {
        (Some(a), Some(b)) => return a.is(&b),
        (None, None) => {}
        _ => return false,
    }
    match (ArrayHandle::of(a), ArrayHandle::of(b)) {
        (Some(a), Some(b)) => return a.is(&b),
        (None, None) => {}
        _ => return false,
    }
    a.type_id() == b.type_id() && !a.is_array() && !a.is_map() && equal(a, b)
}

/// An index from the front, or from the back when negative.
fn place(length: usize, at: i64) -> Option<usize> {
    let at = if at < 0 { i64::try_from(length).ok()?.checked_add(at)? } else { at };
    usize::try_from(at).ok().filter(|at| *at < length)
}

fn out_of_bounds(length: usize, at: i64) -> Box<EvalAltResult> {
    EvalAltResult::ErrorArrayBounds(length, at, Position::NONE).into()
}

fn as_int(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

impl IntoIterator for ArrayHandle {
    type Item = Dynamic;
    type IntoIter = std::vec::IntoIter<Dynamic>;

    fn into_iter(self) -> Self::IntoIter {
        self.snapshot().into_iter()
    }
}
