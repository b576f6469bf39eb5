//! Compiles a schema, and says with file and line what in it cannot be used.
//!
//! The keywords are those of JSON Schema, so that editors and other tools read the same files; two
//! are Segue's: `on_violation` and `additional`. A keyword that is not known is a fault, not
//! something to pass over: a contract that is silently not kept is worse than none. In one thing
//! JSON Schema is stricter: `null` counts as absent unless `type` names it.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::schema::{Contract, Either, Node, Property, Types};
use super::{FOLDER, Policy, place};
use crate::spec::Object;

/// Schemas are not nested deeper than this.
const DEEPEST: usize = 16;

/// Keywords at the top of a file only.
const AT_THE_TOP: [&str; 5] = ["$schema", "$id", "on_violation", "additional", "examples"];
/// Keywords of every schema.
const EVERYWHERE: [&str; 21] = [
    "$comment",
    "title",
    "description",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "anyOf",
    "items",
    "enum",
    "const",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
    "default",
];

/// Every keyword that a schema may use.
pub fn keywords() -> impl Iterator<Item = &'static str> {
    EVERYWHERE.into_iter().chain(AT_THE_TOP)
}

/// Something in a schema that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The file, relative to the transforms folder.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Contract {
    /// Reads a schema. `key` is its file name without `.json`.
    pub(super) fn read(key: &str, text: &str, default: Policy) -> Result<Self, Vec<Fault>> {
        let file = format!("{FOLDER}{key}.json");
        let value: Value = serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            let (line, column) = (error.line().max(1), error.column().max(1));
            vec![Fault { file: file.clone(), line, column, message, hint: None }]
        })?;
        let mut reader = Reader { file: &file, text, way: Vec::new(), faults: Vec::new() };
        let nothing = Object::new();
        let fields = match &value {
            Value::Object(fields) => fields,
            _ => {
                reader.fault("a schema must be an object".into(), None);
                &nothing
            }
        };
        let policy = reader.policy(fields).unwrap_or(default);
        let omits_additional = reader.additional(fields);
        let mut root = reader.node(fields);
        if root.properties.is_empty() && root.either.is_empty() && reader.faults.is_empty() {
            let hint = "\"properties\": {\"order_id\": {\"type\": \"string\"}}, \"required\": [\"order_id\"]";
            reader.fault("it names no property".into(), Some(hint.into()));
        }
        if omits_additional && root.closed.is_none() {
            root.closed = Some(names_of(&root.properties));
        }
        let description = root.description.clone();
        if reader.faults.is_empty() {
            Ok(Self { event: key.into(), file, description, policy, omits_additional, root })
        } else {
            Err(reader.faults)
        }
    }
}

/// Reads nodes and collects faults.
pub(super) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    way: Vec<String>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, message: String, hint: Option<String>) {
        let (line, column) = place::of(self.text, &self.way);
        self.faults.push(Fault { file: self.file.to_owned(), line, column, message, hint });
    }

    pub(super) fn fault_at(&mut self, step: &str, message: String, hint: Option<String>) {
        self.way.push(step.to_owned());
        self.fault(message, hint);
        self.way.pop();
    }

    fn policy(&mut self, fields: &Object) -> Option<Policy> {
        let value = fields.get("on_violation")?;
        let policy = serde_json::from_value(value.clone()).ok();
        if policy.is_none() {
            let hint = "one of \"deliver\" (and report), \"dead_letter\", \"omit\"";
            self.fault_at("on_violation", format!("{value} is no policy"), Some(hint.into()));
        }
        policy
    }

    fn additional(&mut self, fields: &Object) -> bool {
        match fields.get("additional").map(|value| (value, value.as_str())) {
            None | Some((_, Some("keep"))) => false,
            Some((_, Some("omit"))) => true,
            Some((value, _)) => {
                let hint = "\"keep\", or \"omit\" to take out what the schema does not name";
                self.fault_at("additional", format!("it cannot be {value}"), Some(hint.into()));
                false
            }
        }
    }

    fn node(&mut self, fields: &Object) -> Node {
        let is_top = self.way.is_empty();
        for name in fields.keys() {
            if EVERYWHERE.contains(&name.as_str()) || is_top && AT_THE_TOP.contains(&name.as_str())
            {
                continue;
            }
            let known = EVERYWHERE.iter().copied();
            let near = known
                .chain(AT_THE_TOP.into_iter().filter(|_| is_top))
                .map(|known| {
                    (
                        strsim::damerau_levenshtein(&known.to_lowercase(), &name.to_lowercase()),
                        known,
                    )
                })
                .min()
                .filter(|(distance, _)| *distance <= 3);
            let hint = match near {
                Some((_, near)) => format!("did you mean {near:?}?"),
                None if AT_THE_TOP.contains(&name.as_str()) => {
                    "it belongs at the top of the file".into()
                }
                None => format!("known are {}", EVERYWHERE.join(", ")),
            };
            self.fault_at(name, format!("{name:?} is no keyword that Segue knows"), Some(hint));
        }
        let types = self.types(fields, is_top);
        let (properties, either) = (self.properties(fields), self.either(fields));
        let closed = match self.get(fields, "additionalProperties", "true or false", Value::as_bool)
        {
            Some(false) => Some(names_of(&properties)),
            _ => None,
        };
        let items = fields.get("items").and_then(|items| {
            self.inside("items", |reader| match items {
                Value::Object(items) => Some(Box::new(reader.node(items))),
                other => {
                    reader.fault(format!("\"items\" must be a schema, not {}", kind(other)), None);
                    None
                }
            })
        });
        let bounds = self.bounds(fields);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let description = self.get(fields, "description", "a text", text).unwrap_or_default();
        Node {
            wanted: types.words().into(),
            types,
            properties,
            either,
            closed,
            items,
            bounds,
            description,
        }
    }

    fn types(&mut self, fields: &Object, is_top: bool) -> Types {
        let default = if is_top { Types::OBJECT } else { Types::ANY };
        let Some(value) = fields.get("type") else { return default };
        let names: Vec<&Value> = match value {
            Value::Array(names) => names.iter().collect(),
            one => vec![one],
        };
        let mut types = Types::NONE;
        for name in names {
            match name.as_str().and_then(Types::of) {
                Some(one) => types = types.or(one),
                None => {
                    let known = Types::NAMES.map(|(name, ..)| name).join(", ");
                    self.fault_at(
                        "type",
                        format!("{name} is no type"),
                        Some(format!("one of {known}")),
                    );
                    return default;
                }
            }
        }
        if is_top && types != Types::OBJECT {
            let message = "the schema of an event is about an object: its properties or traits";
            self.fault_at("type", message.into(), Some("\"type\": \"object\"".into()));
        }
        types
    }

    fn properties(&mut self, fields: &Object) -> Vec<Property> {
        let mut properties = Vec::new();
        if let Some(value) = fields.get("properties") {
            self.inside("properties", |reader| {
                let Value::Object(named) = value else {
                    let message = format!("it must be an object of schemas, not {}", kind(value));
                    return reader.fault(message, None);
                };
                for (name, value) in named {
                    reader.inside(name, |reader| match value {
                        Value::Object(fields) => properties.push(Property {
                            name: name.as_str().into(),
                            node: reader.node(fields),
                            required: false,
                        }),
                        other => reader
                            .fault(format!("{name} must be a schema, not {}", kind(other)), None),
                    });
                }
            });
        }
        if let Some(value) = fields.get("required") {
            for name in self.inside("required", |reader| reader.names(value)) {
                match properties.iter_mut().find(|property| property.name == name) {
                    Some(property) => property.required = true,
                    None => {
                        let node = Node {
                            types: Types::ANY,
                            properties: Vec::new(),
                            either: Vec::new(),
                            closed: None,
                            items: None,
                            bounds: None,
                            wanted: Types::ANY.words().into(),
                            description: String::new(),
                        };
                        properties.push(Property { name, node, required: true });
                    }
                }
            }
        }
        properties
    }

    /// `anyOf` says only that one of several properties is there: `revenue` or `total`.
    fn either(&mut self, fields: &Object) -> Vec<Either> {
        let Some(value) = fields.get("anyOf") else { return Vec::new() };
        let hint = "\"anyOf\": [{\"required\": [\"revenue\"]}, {\"required\": [\"total\"]}]";
        let mut names = Vec::new();
        self.inside("anyOf", |reader| {
            let Value::Array(choices) = value else {
                return reader
                    .fault(format!("it must be a list, not {}", kind(value)), Some(hint.into()));
            };
            for (index, choice) in choices.iter().enumerate() {
                let required = choice.as_object().filter(|choice| choice.len() == 1);
                match required.and_then(|choice| choice.get("required")) {
                    Some(required) => reader.inside(&index.to_string(), |reader| {
                        names.push(reader.names(required));
                    }),
                    None => {
                        let message = "a choice can only say what is \"required\"".to_owned();
                        reader.fault_at(&index.to_string(), message, Some(hint.into()));
                    }
                }
            }
        });
        if names.is_empty() {
            return Vec::new();
        }
        let each: Vec<String> = names.iter().map(|all| all.join("+")).collect();
        let joined = each.join("|").into();
        vec![Either { names, joined, wanted: format!("one of {}", each.join(", ")).into() }]
    }

    fn names(&mut self, value: &Value) -> Vec<Arc<str>> {
        let names = value
            .as_array()
            .map(|names| names.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        match names {
            Some(Some(names)) => names.into_iter().map(Arc::from).collect(),
            _ => {
                self.fault(
                    "it must be a list of names".into(),
                    Some("\"required\": [\"order_id\"]".into()),
                );
                Vec::new()
            }
        }
    }

    pub(super) fn get<T>(
        &mut self,
        fields: &Object,
        name: &str,
        wanted: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = fields.get(name)?;
        let found = read(value);
        if found.is_none() {
            self.fault_at(name, format!("it must be {wanted}, not {}", kind(value)), None);
        }
        found
    }

    fn inside<T: Default>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.way.push(step.to_owned());
        let read = if self.way.len() > DEEPEST * 2 {
            self.fault("it is nested too deeply".into(), None);
            T::default()
        } else {
            read(self)
        };
        self.way.pop();
        read
    }
}

fn names_of(properties: &[Property]) -> HashSet<Arc<str>> {
    properties.iter().map(|property| Arc::clone(&property.name)).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
