//! Paths into an event: `a.b`, `products[].price` for every element, `products[0]`, `a\.b` for a key
//! with a dot in it.

use std::fmt;

use rhai::{Array, Dynamic, Map};
use serde_json::Value;

use super::{ArrayHandle, MapHandle, Opened, Refusal};
use crate::transform::limits::Budget;
use crate::transform::script_context::ScriptContext;

/// One step of a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Into a field of a map.
    Key(String),
    /// Into every element of an array.
    Every,
    /// Into one element, counted from the end when negative.
    At(i64),
}

/// A parsed path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Path {
    pub(crate) steps: Vec<Step>,
}

impl Path {
    /// Reads a path; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("the path {text:?} cannot be read: {what}");
        let mut steps = Vec::new();
        let mut key = String::new();
        let mut after_bracket = false;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => key.push(chars.next().ok_or_else(|| wrong("it ends with a backslash"))?),
                '.' => {
                    if !after_bracket {
                        push_key(&mut steps, &mut key).map_err(wrong)?;
                    }
                    after_bracket = false;
                    if chars.as_str().is_empty() {
                        return Err(wrong("it ends with a dot"));
                    }
                }
                '[' => {
                    if !(after_bracket || steps.is_empty() && key.is_empty()) {
                        push_key(&mut steps, &mut key).map_err(wrong)?;
                    }
                    let (inside, rest) =
                        chars.as_str().split_once(']').ok_or_else(|| wrong("a ] is missing"))?;
                    chars = rest.chars();
                    steps.push(match inside {
                        "" => Step::Every,
                        digits => Step::At(
                            digits.parse().map_err(|_| wrong("between [ ] belongs a number"))?,
                        ),
                    });
                    after_bracket = true;
                }
                _ if after_bracket => return Err(wrong("after ] belongs a dot")),
                other => key.push(other),
            }
        }
        if !after_bracket {
            push_key(&mut steps, &mut key).map_err(wrong)?;
        }
        Ok(Self { steps })
    }
}

fn push_key(steps: &mut Vec<Step>, key: &mut String) -> Result<(), &'static str> {
    if key.is_empty() {
        return Err("a key is empty");
    }
    steps.push(Step::Key(std::mem::take(key)));
    Ok(())
}

/// A slot in the event that a path leads to.
pub(crate) enum Slot<'a> {
    /// A field, which may be absent.
    Field(&'a MapHandle, &'a str),
    /// An element.
    Item(&'a ArrayHandle, usize),
}

impl Slot<'_> {
    /// What is there, as a script sees it.
    pub(crate) fn get(&self) -> Dynamic {
        match self {
            Self::Field(map, key) => map.get(key),
            Self::Item(array, at) => array.get(*at).unwrap_or_default(),
        }
    }

    /// The map that is there.
    pub(crate) fn map(&self) -> Option<MapHandle> {
        let opened = match self {
            Self::Field(map, key) => map.open(key),
            Self::Item(array, at) => array.open(*at),
        };
        match opened {
            Some(Opened::Map(map)) => Some(map),
            _ => None,
        }
    }

    /// Lets `read` look at a scalar that is there, without making a script's value of it.
    pub(crate) fn with_scalar<R>(&self, read: impl FnOnce(&Value) -> R) -> Option<R> {
        match self {
            Self::Field(map, key) => map.with_scalar(key, read),
            Self::Item(array, at) => array.with_scalar(*at, read),
        }
    }

    /// Writes a copy of `value`.
    pub(crate) fn set(&self, value: &Dynamic, budget: &Budget) -> Result<(), Refusal> {
        match self {
            Self::Field(map, key) if value.is_unit() && !map.has(key) => {
                map.check_writable()?;
                budget.spend(1, key.len())?;
                map.put(key, Value::Null);
                Ok(())
            }
            Self::Field(map, key) => map.set(key, value, budget),
            Self::Item(array, at) => array.set(*at, value, budget).map(|_| ()),
        }
    }
}

/// The way to a slot, written out only when somebody wants to read it.
pub(crate) struct Trail<'a> {
    before: Option<&'a Trail<'a>>,
    step: TrailStep<'a>,
}

enum TrailStep<'a> {
    Root,
    Key(&'a str),
    At(usize),
}

impl Trail<'_> {
    /// The way on to a field.
    pub(crate) fn key<'t>(&'t self, key: &'t str) -> Trail<'t> {
        Trail { before: Some(self), step: TrailStep::Key(key) }
    }
}

/// `properties.products[2].price`
impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(before) = self.before {
            write!(f, "{before}")?;
        }
        match self.step {
            TrailStep::Root => Ok(()),
            TrailStep::At(index) => write!(f, "[{index}]"),
            TrailStep::Key(key) => match self.before {
                Some(Trail { step: TrailStep::Root, .. }) | None => f.write_str(key),
                Some(_) => write!(f, ".{key}"),
            },
        }
    }
}

/// What is done with a slot.
type Visit<'v, E> = &'v mut dyn FnMut(Slot<'_>, &Trail<'_>) -> Result<(), E>;

/// Calls `visit` for every slot that the steps lead to, with the way to that very slot. A slot whose
/// holder is not there is none.
pub(crate) fn visit<E>(root: &MapHandle, steps: &[Step], visit: Visit<'_, E>) -> Result<(), E> {
    let trail = Trail { before: None, step: TrailStep::Root };
    visit_map(root, steps, &trail, visit)
}

fn visit_map<E>(
    map: &MapHandle,
    steps: &[Step],
    trail: &Trail<'_>,
    visit: Visit<'_, E>,
) -> Result<(), E> {
    let Some((Step::Key(key), rest)) = steps.split_first() else { return Ok(()) };
    let trail = Trail { before: Some(trail), step: TrailStep::Key(key) };
    if rest.is_empty() {
        return visit(Slot::Field(map, key), &trail);
    }
    match map.open(key) {
        Some(child) => visit_open(&child, rest, &trail, visit),
        None => Ok(()),
    }
}

fn visit_open<E>(
    child: &Opened,
    steps: &[Step],
    trail: &Trail<'_>,
    visit: Visit<'_, E>,
) -> Result<(), E> {
    let array = match child {
        Opened::Map(map) => return visit_map(map, steps, trail, visit),
        Opened::Array(array) => array,
    };
    let range = match steps.first() {
        Some(Step::Every) => 0..array.len(),
        Some(Step::At(index)) => match place(array.len(), *index) {
            Some(index) => index..index + 1,
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let rest = &steps[1..];
    for index in range {
        let trail = Trail { before: Some(trail), step: TrailStep::At(index) };
        if rest.is_empty() {
            visit(Slot::Item(array, index), &trail)?;
        } else if let Some(item) = array.open(index) {
            visit_open(&item, rest, &trail, visit)?;
        }
    }
    Ok(())
}

/// Reads what a path leads to in any kind of map; `None` when nothing is there. With `[]` it is the
/// array of what every element has, `()` where it has nothing.
pub(crate) fn read(value: &Dynamic, steps: &[Step]) -> Option<Dynamic> {
    let Some((step, rest)) = steps.split_first() else { return Some(value.clone()) };
    match step {
        Step::Key(key) => {
            let child = child(value, key)?;
            read(&child, rest)
        }
        Step::At(index) => {
            let child = match ArrayHandle::of(value) {
                Some(array) => array.get(place(array.len(), *index)?)?,
                None => {
                    let items = value.read_lock::<Array>()?;
                    items.get(place(items.len(), *index)?)?.clone()
                }
            };
            read(&child, rest)
        }
        Step::Every => {
            let items = super::items_of(value)?;
            let found = items.iter().map(|item| read(item, rest).unwrap_or_default());
            Some(Dynamic::from_array(found.collect()))
        }
    }
}

/// A field of any kind of map.
pub(crate) fn child(value: &Dynamic, key: &str) -> Option<Dynamic> {
    if let Some(map) = MapHandle::of(value) {
        return map.has(key).then(|| map.get(key));
    }
    if let Some(map) = value.read_lock::<Map>() {
        return map.get(key).cloned();
    }
    let context = ScriptContext::of(value)?;
    context.as_map().has(key).then(|| context.get(key))
}

/// Makes sure that every holder on the way is there, and gives the last one with its key.
///
/// # Errors
/// The path up to where something else than a map is in the way, or a refusal to write.
pub(crate) fn make_way(
    root: &MapHandle,
    path: &Path,
    budget: &Budget,
) -> Result<(MapHandle, String), Obstacle> {
    let Some((Step::Key(last), holders)) = path.steps.split_last() else {
        return Err(Obstacle::NoKey);
    };
    let mut map = root.clone();
    let mut array: Option<ArrayHandle> = None;
    let mut steps = holders.iter().peekable();
    while let Some(step) = steps.next() {
        let wants_array = matches!(steps.peek(), Some(Step::At(_)));
        match (step, array.take()) {
            (Step::Key(key), None) if wants_array => {
                array = Some(map.array_at(key).ok_or_else(|| Obstacle::InTheWay(key.clone()))?);
            }
            (Step::Key(key), None) => {
                map = map
                    .map_or_new(key, budget)
                    .map_err(Obstacle::Refused)?
                    .ok_or_else(|| Obstacle::InTheWay(key.clone()))?;
            }
            (Step::At(index), Some(holder)) => {
                let item = place(holder.len(), *index).and_then(|at| holder.map_at(at));
                map = item.ok_or_else(|| Obstacle::InTheWay(format!("[{index}]")))?;
            }
            _ => return Err(Obstacle::NoKey),
        }
    }
    if array.is_some() {
        return Err(Obstacle::NoKey);
    }
    Ok((map, last.clone()))
}

/// Why a path cannot be written.
pub(crate) enum Obstacle {
    /// Something that is no map, or an element that is not there, stands in the way.
    InTheWay(String),
    /// The path does not end in a key.
    NoKey,
    /// The write is refused.
    Refused(Refusal),
}

fn place(length: usize, at: i64) -> Option<usize> {
    let at = if at < 0 { i64::try_from(length).ok()?.checked_add(at)? } else { at };
    usize::try_from(at).ok().filter(|at| *at < length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_keys_elements_and_every_element() {
        let key = |key: &str| Step::Key(key.into());
        let table = [
            ("a", vec![key("a")]),
            ("a.b", vec![key("a"), key("b")]),
            ("products[].price", vec![key("products"), Step::Every, key("price")]),
            ("products[-1].a.b", vec![key("products"), Step::At(-1), key("a"), key("b")]),
            ("m[][0]", vec![key("m"), Step::Every, Step::At(0)]),
            ("a\\.b.c", vec![key("a.b"), key("c")]),
            ("Größe XL", vec![key("Größe XL")]),
        ];
        for (text, steps) in table {
            assert_eq!(Path::parse(text).unwrap().steps, steps, "{text}");
        }
    }

    #[test]
    fn a_path_that_makes_no_sense_is_refused_with_the_reason() {
        for text in ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[]b", "a\\"] {
            let problem = Path::parse(text).unwrap_err();
            assert!(problem.contains(&format!("{text:?}")), "{text}: {problem}");
        }
    }
}
