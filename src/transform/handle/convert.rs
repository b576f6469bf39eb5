//! Values between JSON and Rhai, without losing what Rhai cannot express.
//!
//! An integer beyond 64 bits is a text to a script; written back unchanged it is the number again,
//! because a write of what was read changes nothing. Numbers that are not finite, functions and the
//! like are refused where they are written, so that the error names the line.

use std::collections::BTreeMap;

use rhai::{Array, Dynamic, ImmutableString, Map};
use serde_json::{Number, Value};

use super::{ArrayHandle, MAX_DEPTH, MapHandle, Node, Refusal};
use crate::spec::Object;
use crate::transform::limits::Budget;
use crate::transform::script_context::ScriptContext;

/// A scalar as a script sees it.
pub(crate) fn scalar(value: &Value) -> Dynamic {
    match value {
        Value::Bool(flag) => Dynamic::from_bool(*flag),
        Value::Number(own) => number(own),
        Value::String(text) => Dynamic::from(ImmutableString::from(text.as_str())),
        Value::Null | Value::Array(_) | Value::Object(_) => Dynamic::UNIT,
    }
}

/// A number as a script sees it: an integer, a float, or the digits where neither holds it.
pub(crate) fn number(number: &Number) -> Dynamic {
    let text = number.as_str();
    if let Ok(integer) = text.parse::<i64>() {
        return Dynamic::from_int(integer);
    }
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() && text.contains(['.', 'e', 'E']) => {
            Dynamic::from_float(float)
        }
        _ => Dynamic::from(ImmutableString::from(text)),
    }
}

/// Whether scripts see this number as a text.
pub(super) fn is_odd(own: &Number) -> bool {
    number(own).is::<ImmutableString>()
}

/// Whether `value` is what a script reads from the scalar `own`.
pub(super) fn same_scalar(own: &Value, value: &Dynamic) -> bool {
    match own {
        Value::Null => value.is_unit(),
        Value::Bool(flag) => value.as_bool() == Ok(*flag),
        Value::String(text) => {
            value.read_lock::<ImmutableString>().is_some_and(|other| other.as_str() == text)
        }
        Value::Number(own) if value.is_int() => {
            value.as_int().ok() == own.as_str().parse::<i64>().ok()
        }
        Value::Number(own) if value.is_float() => {
            let read = number(own);
            read.is_float()
                && read.as_float().map(f64::to_bits) == value.as_float().map(f64::to_bits)
        }
        Value::Number(own) => {
            value.read_lock::<ImmutableString>().is_some_and(|other| other.as_str() == own.as_str())
                && is_odd(own)
        }
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// A JSON value as a script's value of its own: containers become handles outside of any event.
pub(crate) fn to_dynamic(value: Value) -> Dynamic {
    Node::open(value, 0, false).read()
}

/// A copy of a script's value as JSON, to be put at `depth` below the event.
///
/// # Errors
/// When it is no JSON, too deep, or more than the budget allows; then nothing was copied that counts.
pub(crate) fn to_value(value: &Dynamic, depth: usize, budget: &Budget) -> Result<Value, Refusal> {
    if depth > MAX_DEPTH {
        return Err(Refusal::TooDeep);
    }
    budget.spend(1, 0)?;
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(Value::Bool(flag));
    }
    if let Ok(integer) = value.as_int() {
        return Ok(Value::from(integer));
    }
    if let Ok(float) = value.as_float() {
        let number = Number::from_f64(float);
        return number.map(Value::Number).ok_or_else(|| Refusal::NotJson(format!("{float}")));
    }
    if let Some(text) = value.read_lock::<ImmutableString>() {
        budget.spend(0, text.len())?;
        return Ok(Value::String(text.to_string()));
    }
    if let Ok(letter) = value.as_char() {
        return Ok(Value::String(letter.to_string()));
    }
    if let Some(map) = MapHandle::of(value) {
        return copy_map(&map, depth, budget).map(Value::Object);
    }
    if let Some(array) = ArrayHandle::of(value) {
        return copy_array(&array, depth, budget).map(Value::Array);
    }
    if let Some(map) = value.read_lock::<Map>() {
        let mut fields = Object::new();
        for (key, item) in map.iter() {
            budget.spend(0, key.len())?;
            fields.insert(key.to_string(), to_value(item, depth + 1, budget)?);
        }
        return Ok(Value::Object(fields));
    }
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().map(|item| to_value(item, depth + 1, budget)).collect();
    }
    if let Some(context) = ScriptContext::of(value) {
        return copy_map(&context.as_map(), depth, budget).map(Value::Object);
    }
    Err(Refusal::NotJson(rhai_type(value)))
}

fn rhai_type(value: &Dynamic) -> String {
    let name = if value.is_fnptr() { "a function" } else { value.type_name() };
    name.rsplit("::").next().unwrap_or(name).to_owned()
}

fn copy_map(map: &MapHandle, depth: usize, budget: &Budget) -> Result<Object, Refusal> {
    let fields = std::cell::RefCell::new(Object::with_capacity(map.len()));
    map.for_each_node(
        |key, node| {
            budget.spend(0, key.len())?;
            let value = copy_node(node, depth + 1, budget)?;
            fields.borrow_mut().insert(key.to_owned(), value);
            Ok(())
        },
        |key, value| {
            budget.spend(0, key.len())?;
            let value = copy_plain(value, depth + 1, budget)?;
            fields.borrow_mut().insert(key.to_owned(), value);
            Ok(())
        },
    )?;
    Ok(fields.into_inner())
}

fn copy_array(array: &ArrayHandle, depth: usize, budget: &Budget) -> Result<Vec<Value>, Refusal> {
    let mut items = Vec::with_capacity(array.len());
    array.for_each_node(|node| {
        items.push(copy_node(node, depth + 1, budget)?);
        Ok(())
    })?;
    Ok(items)
}

fn copy_node(node: &Node, depth: usize, budget: &Budget) -> Result<Value, Refusal> {
    if depth > MAX_DEPTH {
        return Err(Refusal::TooDeep);
    }
    match node {
        Node::Plain(value) => copy_plain(value, depth, budget),
        Node::Map(map) => copy_map(map, depth, budget).map(Value::Object),
        Node::Array(array) => copy_array(array, depth, budget).map(Value::Array),
    }
}

/// Pays for the whole value, then copies it.
fn copy_plain(value: &Value, depth: usize, budget: &Budget) -> Result<Value, Refusal> {
    if depth + height(value) > MAX_DEPTH {
        return Err(Refusal::TooDeep);
    }
    pay(value, budget)?;
    Ok(value.clone())
}

fn pay(value: &Value, budget: &Budget) -> Result<(), Refusal> {
    match value {
        Value::Null | Value::Bool(_) => budget.spend(1, 0),
        Value::Number(number) => budget.spend(1, number.as_str().len()),
        Value::String(text) => budget.spend(1, text.len()),
        Value::Array(items) => {
            budget.spend(1, 0)?;
            items.iter().try_for_each(|item| pay(item, budget))
        }
        Value::Object(fields) => {
            budget.spend(1, 0)?;
            fields.iter().try_for_each(|(key, item)| {
                budget.spend(0, key.len())?;
                pay(item, budget)
            })
        }
    }
}

/// How many levels of containers a value has.
pub(super) fn height(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(height).max().unwrap_or(0),
        _ => 0,
    }
}

/// The fields of any kind of map, each as a script sees it.
pub(crate) fn fields_of(value: &Dynamic) -> Option<Vec<(String, Dynamic)>> {
    if let Some(map) = MapHandle::of(value) {
        return Some(map.keys().into_iter().map(|key| (key.clone(), map.get(&key))).collect());
    }
    if let Some(context) = ScriptContext::of(value) {
        return fields_of(&Dynamic::from(context.as_map()));
    }
    let map = value.read_lock::<Map>()?;
    Some(map.iter().map(|(key, item)| (key.to_string(), item.clone())).collect())
}

/// The elements of any kind of array, each as a script sees it.
pub(crate) fn items_of(value: &Dynamic) -> Option<Vec<Dynamic>> {
    if let Some(array) = ArrayHandle::of(value) {
        return Some(array.snapshot());
    }
    value.read_lock::<Array>().map(|items| items.clone())
}

/// Whether two values are the same data, whichever kind of map or array holds it. Numbers compare by
/// value, as `==` does in Rhai.
pub(crate) fn equal(a: &Dynamic, b: &Dynamic) -> bool {
    equal_within(a, b, MAX_DEPTH)
}

fn equal_within(a: &Dynamic, b: &Dynamic, levels: usize) -> bool {
    let Some(levels) = levels.checked_sub(1) else { return false };
    match (fields_of(a), fields_of(b)) {
        (Some(a), Some(b)) => {
            let others: BTreeMap<String, Dynamic> = b.into_iter().collect();
            return a.len() == others.len()
                && a.iter().all(|(key, value)| {
                    others.get(key).is_some_and(|other| equal_within(value, other, levels))
                });
        }
        (None, None) => {}
        _ => return false,
    }
    match (items_of(a), items_of(b)) {
        (Some(a), Some(b)) => {
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| equal_within(a, b, levels))
        }
        (None, None) => equal_scalars(a, b),
        _ => false,
    }
}

fn equal_scalars(a: &Dynamic, b: &Dynamic) -> bool {
    if a.is_unit() || b.is_unit() {
        return a.is_unit() && b.is_unit();
    }
    if let (Some(a), Some(b)) = (as_number(a), as_number(b)) {
        return match (a, b) {
            (Figure::Whole(a), Figure::Whole(b)) => a == b,
            (a, b) => (a.float() - b.float()).abs() <= f64::EPSILON,
        };
    }
    if let (Ok(a), Ok(b)) = (a.as_bool(), b.as_bool()) {
        return a == b;
    }
    match (as_text(a), as_text(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

enum Figure {
    Whole(i64),
    Float(f64),
}

impl Figure {
    #[allow(clippy::cast_precision_loss)]
    fn float(&self) -> f64 {
        match self {
            Self::Whole(whole) => *whole as f64,
            Self::Float(float) => *float,
        }
    }
}

fn as_number(value: &Dynamic) -> Option<Figure> {
    value.as_int().map(Figure::Whole).or_else(|_| value.as_float().map(Figure::Float)).ok()
}

/// A text or a character.
pub(crate) fn as_text(value: &Dynamic) -> Option<ImmutableString> {
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Some(text.clone());
    }
    value.as_char().ok().map(|letter| ImmutableString::from(&*letter.encode_utf8(&mut [0; 4])))
}
