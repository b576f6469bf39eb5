//! The data dictionary: what a contract wants, a row for each property.

use super::schema::{Contract, Node};

/// One property of an event, as the team agreed on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its path: `products[].price`.
    pub property: String,
    /// Whether it must be there.
    pub required: bool,
    /// Its types, as in the schema.
    pub types: String,
    /// What of that type is allowed, where not everything is.
    pub allowed: String,
    /// What it is, in the words of the team.
    pub description: String,
}

impl Contract {
    /// All properties that the contract names, in its order.
    pub fn dictionary(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        list(&self.root, "", &mut entries);
        entries
    }
}

fn list(node: &Node, prefix: &str, entries: &mut Vec<Entry>) {
    for property in &node.properties {
        let path = format!("{prefix}{}", property.name);
        let inner = &property.node;
        let allowed = inner.bounds.as_ref().map(|bounds| bounds.wanted.to_string());
        entries.push(Entry {
            property: path.clone(),
            required: property.required,
            types: inner.types.names(),
            allowed: allowed.unwrap_or_default(),
            description: inner.description.clone(),
        });
        list(inner, &format!("{path}."), entries);
        if let Some(items) = &inner.items {
            list(items, &format!("{path}[]."), entries);
        }
    }
    for either in &node.either {
        entries.push(Entry {
            property: format!("{prefix}{}", either.joined),
            required: true,
            types: "any".into(),
            allowed: either.wanted.to_string(),
            description: String::new(),
        });
    }
}
