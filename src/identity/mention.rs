//! Whom an original mentions: to find what lies here of a person who is to be forgotten.
//!
//! It finds more than [`super::resolve`] would: every id and address of the event counts, and an
//! anonymous id stands for the person that it was seen with.
//!
//! Not here: what is done with it ([`crate::relay`]).

use serde_json::Value;

use super::memory::{self, Link};
use super::{Facts, PersonId};
use crate::clock::Time;
use crate::journal::JournalError;
use crate::spec::Object;
use crate::spec::ids::person_id;

/// Where vendors put addresses.
const ADDRESSES: [&[&str]; 5] = [
    &["traits", "email"],
    &["context", "traits", "email"],
    &["properties", "email"],
    &["properties", "customer_email"],
    &["email"],
];

/// The keys of everybody whom a call mentions, each once.
///
/// # Errors
/// When the journal cannot be read.
pub fn mentioned(
    fields: &Object,
    facts: &mut Facts,
    now: Time,
) -> Result<Vec<String>, JournalError> {
    let mut keys = Vec::new();
    // Whoever only looks teaches nothing.
    let mut lessons = Vec::new();
    let id = |name: &str| fields.get(name).and_then(person_id);
    let named = ["userId", "previousId"].into_iter().filter_map(id);
    let addresses = ADDRESSES.iter().filter_map(|path| text_at(fields, path));
    for text in named.chain(addresses) {
        let person = PersonId::from_text(text.trim());
        keys.push(person.key());
        keys.push(memory::root_of(person, facts, now, &mut lessons)?.0.key());
    }
    if let Some(anonymous) = id("anonymousId") {
        let link = Link::load(&anonymous, facts, now)?;
        if let Some(link) = link.filter(|link| !link.contested) {
            keys.push(memory::root_of(link.person(), facts, now, &mut lessons)?.0.key());
        }
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

fn text_at(fields: &Object, path: &[&str]) -> Option<String> {
    let (last, folders) = path.split_last()?;
    let mut place = fields;
    for folder in folders {
        place = place.get(*folder)?.as_object()?;
    }
    place.get(*last).and_then(Value::as_str).map(str::to_owned)
}
