//! Compares an object with a compiled schema. Allocates only for what is wrong.

use std::sync::Arc;

use serde_json::Value;

use super::schema::{Bounds, Either, Node, Property};
use super::violation::{Kind, Step, Violation, sample};
use crate::spec::{Object, field};

/// What is wrong with `fields`, at most `most` of it told.
pub(super) fn compare(
    node: &Node,
    field: &'static str,
    fields: &Object,
    most: usize,
) -> Vec<Violation> {
    let mut comparison = Comparison { field, most, found: Vec::new() };
    comparison.object(node, fields, &Here::Top);
    comparison.found
}

/// Removes what is at the end of `steps`.
pub(super) fn remove(fields: &mut Object, steps: &[Step]) {
    match steps {
        [] | [Step::Index(_), ..] => {}
        [Step::Name(name)] => {
            fields.shift_remove(name.as_ref());
        }
        [Step::Name(name), rest @ ..] => {
            if let Some(value) = fields.get_mut(name.as_ref()) {
                remove_inside(value, rest);
            }
        }
    }
}

fn remove_inside(value: &mut Value, steps: &[Step]) {
    match (value, steps) {
        (Value::Object(fields), steps) => remove(fields, steps),
        (Value::Array(list), [Step::Index(index)]) if *index < list.len() => {
            list.remove(*index);
        }
        (Value::Array(list), [Step::Index(index), rest @ ..]) => {
            if let Some(value) = list.get_mut(*index) {
                remove_inside(value, rest);
            }
        }
        _ => {}
    }
}

/// Where a comparison is: a chain of steps on the stack.
enum Here<'a> {
    Top,
    In(&'a Here<'a>, At<'a>),
}

#[derive(Clone, Copy)]
enum At<'a> {
    Name(&'a Arc<str>),
    Index(usize),
}

impl Here<'_> {
    fn steps(&self) -> Vec<Step> {
        match self {
            Self::Top => Vec::new(),
            Self::In(parent, at) => {
                let mut steps = parent.steps();
                steps.push(match at {
                    At::Name(name) => Step::Name(Arc::clone(name)),
                    At::Index(index) => Step::Index(*index),
                });
                steps
            }
        }
    }
}

struct Comparison {
    field: &'static str,
    most: usize,
    found: Vec<Violation>,
}

impl Comparison {
    fn object(&mut self, node: &Node, fields: &Object, here: &Here<'_>) {
        for Property { name, node, required } in &node.properties {
            let here = Here::In(here, At::Name(name));
            match field(fields, name) {
                Some(Value::Null) if node.types.names_null() => {}
                // To a sender, null and nothing are the same: SDKs write one for the other.
                value @ (None | Some(Value::Null)) if *required => {
                    let found = value.map(sample).unwrap_or_default();
                    self.report(Kind::RequiredMissing, &here, &node.wanted, found);
                }
                None | Some(Value::Null) => {}
                Some(value) => self.value(node, value, &here),
            }
        }
        for Either { names, joined, wanted } in &node.either {
            let is_there = |name: &Arc<str>| field(fields, name).is_some_and(|v| !v.is_null());
            if !names.iter().any(|all| all.iter().all(is_there)) {
                let here = Here::In(here, At::Name(joined));
                self.report(Kind::RequiredMissing, &here, wanted, String::new());
            }
        }
        if let Some(known) = &node.closed {
            for (name, value) in fields.iter().filter(|(name, _)| !known.contains(name.as_str())) {
                let name = Arc::from(name.as_str());
                let here = Here::In(here, At::Name(&name));
                let wanted = Arc::from("no property that the schema does not name");
                self.report(Kind::AdditionalProperties, &here, &wanted, sample(value));
            }
        }
    }

    fn value(&mut self, node: &Node, value: &Value, here: &Here<'_>) {
        if !node.types.admit(value) {
            return self.report(Kind::DatatypeMismatch, here, &node.wanted, sample(value));
        }
        if let Some(bounds) = &node.bounds
            && let Some(wanted) = bounds.broken_by(value)
        {
            self.report(Kind::AdvanceRules, here, wanted, sample(value));
        }
        match value {
            Value::Object(fields) => self.object(node, fields, here),
            Value::Array(list) => {
                let Some(items) = &node.items else { return };
                for (index, item) in list.iter().enumerate() {
                    self.value(items, item, &Here::In(here, At::Index(index)));
                }
            }
            _ => {}
        }
    }

    fn report(&mut self, kind: Kind, here: &Here<'_>, wanted: &Arc<str>, found: String) {
        if self.found.len() < self.most {
            let place = (self.field, here.steps());
            self.found.push(Violation::new(kind, place, Arc::clone(wanted), found));
        } else if self.found.len() == self.most {
            self.found.push(Violation::and_more(self.field));
        }
    }
}

impl Bounds {
    /// What is wanted instead of a value of the right type, where it is not allowed.
    fn broken_by(&self, value: &Value) -> Option<&Arc<str>> {
        let allowed = self.one_of.is_empty() || self.one_of.iter().any(|one| is_same(one, value));
        let fits = match value {
            Value::String(text) => {
                let length = |least: &Option<usize>, most: &Option<usize>| {
                    if least.is_none() && most.is_none() {
                        return true;
                    }
                    let length = text.chars().count();
                    least.is_none_or(|least| length >= least)
                        && most.is_none_or(|most| length <= most)
                };
                length(&self.least_length, &self.most_length)
                    && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
            }
            Value::Number(number) => match number.as_f64() {
                Some(number) => {
                    self.minimum.is_none_or(|least| number >= least)
                        && self.maximum.is_none_or(|most| number <= most)
                        && self.above.is_none_or(|limit| number > limit)
                        && self.below.is_none_or(|limit| number < limit)
                }
                None => true,
            },
            Value::Array(list) => {
                self.least_items.is_none_or(|least| list.len() >= least)
                    && self.most_items.is_none_or(|most| list.len() <= most)
            }
            _ => true,
        };
        (!(allowed && fits)).then_some(&self.wanted)
    }
}

/// Whether two values are the same; numbers by what they are worth.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}
