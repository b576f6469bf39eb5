//! Business keys: one order is one order, whichever source says so first.
//!
//! A script names the business fact (`event.dedupe_by("order_completed", order_id)`); the first event
//! that names it holds the key. A copy is dropped while its holder was delivered or is on its way. A
//! holder that was dropped, parked or became a dead letter gives the key up, and the next copy takes
//! it over: better late from the second source than never.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Time;
use crate::journal::{Fact, FactKey};
use crate::spec::Fingerprint;
use crate::transform::BusinessKey;

/// How long a business key is remembered.
const KEPT: std::time::Duration = std::time::Duration::from_secs(400 * 24 * 3600);

/// Longer keys are remembered by their hash.
const LONGEST: usize = 100;

/// The name under which the holder of a business key is remembered, within `scope`.
///
/// Orders that are numbered one after the other have names side by side: the store writes the names
/// that lie together at once, and a hash would scatter them.
pub fn fact_key(key: &BusinessKey, scope: &str) -> FactKey {
    let parts = || [scope, &key.name].into_iter().chain(key.parts.iter().map(String::as_str));
    if parts().map(str::len).sum::<usize>() <= LONGEST {
        let mut name = String::from("key:");
        for part in parts() {
            // With its length no part can pass for two.
            name.push_str(&part.len().to_string());
            name.push(':');
            name.push_str(part);
        }
        return FactKey(name);
    }
    let mut hash = Sha256::new();
    for part in parts() {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    FactKey(format!("key:#{}", hex::encode(&hash.finalize()[..16])))
}

/// Who holds a business key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Holder {
    /// The holder's fingerprint.
    owner: String,
    /// The person that it was sent for, or whom a copy has named since; `None` when nobody is known.
    pub person: Option<String>,
    /// The anonymous id that it was sent for, where nobody was known.
    pub anonymous: Option<String>,
    /// When it was seen with that anonymous id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Time>,
}

impl Holder {
    /// An event that is sent for a person.
    pub fn of_person(owner: Fingerprint, person: String) -> Self {
        let owner = owner.ulid().to_string();
        Self { owner, person: Some(person), anonymous: None, seen_at: None }
    }

    /// An event that is sent for nobody, or for a visitor who was seen then.
    pub fn of_visitor(owner: Fingerprint, anonymous: Option<String>, seen_at: Time) -> Self {
        let seen_at = anonymous.is_some().then_some(seen_at);
        Self { owner: owner.ulid().to_string(), person: None, anonymous, seen_at }
    }

    /// The same, now that a copy has named the person.
    #[must_use]
    pub fn named(self, person: String) -> Self {
        Self { person: Some(person), ..self }
    }

    /// Whether this very event holds the key: a resend or a redrive of itself is no copy.
    pub fn is(&self, event: Fingerprint) -> bool {
        self.owner == event.ulid().to_string()
    }

    /// The ULID of the event that holds the key.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// What is remembered.
    pub fn to_fact(&self, now: Time) -> Fact {
        Fact { value: serde_json::to_string(self).unwrap_or_default(), until: now.plus(KEPT) }
    }

    /// What was remembered.
    pub fn from_fact(fact: &Fact) -> Option<Self> {
        serde_json::from_str(&fact.value).ok()
    }
}
