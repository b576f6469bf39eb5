//! Reads what of the right type a schema allows, and puts it in words.

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::reader::Reader;
use super::schema::Bounds;
use crate::spec::Object;

impl Reader<'_> {
    pub(super) fn bounds(&mut self, fields: &Object) -> Option<Box<Bounds>> {
        let count = |value: &Value| value.as_u64().and_then(|count| usize::try_from(count).ok());
        let mut words = Vec::new();
        let mut bounds = Bounds {
            one_of: self.one_of(fields),
            pattern: self.pattern(fields),
            least_length: self.get(fields, "minLength", "a whole number", count),
            most_length: self.get(fields, "maxLength", "a whole number", count),
            minimum: self.get(fields, "minimum", "a number", Value::as_f64),
            maximum: self.get(fields, "maximum", "a number", Value::as_f64),
            above: self.get(fields, "exclusiveMinimum", "a number", Value::as_f64),
            below: self.get(fields, "exclusiveMaximum", "a number", Value::as_f64),
            least_items: self.get(fields, "minItems", "a whole number", count),
            most_items: self.get(fields, "maxItems", "a whole number", count),
            wanted: "".into(),
        };
        if !bounds.one_of.is_empty() {
            let listed: Vec<String> = bounds.one_of.iter().map(plain).collect();
            words.push(format!("one of {}", listed.join(", ")));
        }
        words.extend(
            bounds.pattern.as_ref().map(|pattern| format!("a text like {}", pattern.as_str())),
        );
        for (name, phrase) in [
            ("minLength", "at least LEN characters"),
            ("maxLength", "at most LEN characters"),
            ("minimum", "at least LEN"),
            ("maximum", "at most LEN"),
            ("exclusiveMinimum", "more than LEN"),
            ("exclusiveMaximum", "less than LEN"),
            ("minItems", "at least LEN elements"),
            ("maxItems", "at most LEN elements"),
        ] {
            if let Some(value) = fields.get(name) {
                let phrase = phrase.replace("LEN", &plain(value));
                let is_one = value.as_u64() == Some(1);
                let ends = [" characters", " elements"].iter().any(|end| phrase.ends_with(end));
                let singular = phrase.strip_suffix('s').filter(|_| is_one && ends);
                words.push(singular.unwrap_or(&phrase).to_owned());
            }
        }
        if words.is_empty() {
            return None;
        }
        bounds.wanted = words.join(", ").into();
        Some(Box::new(bounds))
    }

    fn one_of(&mut self, fields: &Object) -> Vec<Value> {
        let mut allowed: Vec<Value> = fields.get("const").cloned().into_iter().collect();
        match fields.get("enum") {
            Some(Value::Array(values)) if !values.is_empty() => {
                allowed.extend(values.iter().cloned())
            }
            Some(_) => self.fault_at("enum", "it must be a list of values".into(), None),
            None => {}
        }
        allowed
    }

    fn pattern(&mut self, fields: &Object) -> Option<Regex> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let pattern = self.get(fields, "pattern", "a text", text)?;
        match RegexBuilder::new(&pattern).size_limit(1 << 20).dfa_size_limit(1 << 20).build() {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let problem = error.to_string();
                let problem = problem.lines().last().unwrap_or_default().trim().to_owned();
                self.fault_at("pattern", format!("the pattern cannot be used: {problem}"), None);
                None
            }
        }
    }
}

/// A value of a schema as it is named to people.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
