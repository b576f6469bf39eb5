//! What is remembered about people, and how it is written down.

use serde::{Deserialize, Serialize};

use super::{Facts, PAIR_HOLDS};
use crate::clock::Time;
use crate::destination::customerio::PersonId;
use crate::journal::{Fact, FactKey, JournalError};
use crate::spec::Fingerprint;

/// How long it is remembered that two identifiers are one person.
const ALIAS_HOLDS: std::time::Duration = std::time::Duration::from_secs(400 * 24 * 3600);
/// Longer chains of aliases are not followed: they come from a loop or an attack.
const LONGEST_CHAIN: usize = 8;

/// Whose an anonymous id is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Link {
    /// The person, as in a path of Track v1.
    person: String,
    /// When the pair was last written down.
    pub seen_at: Time,
    /// Whether a second person was seen with it.
    #[serde(default)]
    pub contested: bool,
    /// The event that taught it. Processed again, it must tell Customer.io again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    taught_by: String,
}

impl Link {
    /// A pair that was seen at `now`.
    pub fn new(person: &PersonId, now: Time) -> Self {
        Self { person: person.to_text(), seen_at: now, contested: false, taught_by: String::new() }
    }

    /// The same, taught by this event.
    #[must_use]
    pub fn taught_by(mut self, event: Fingerprint) -> Self {
        self.taught_by = event.ulid().to_string();
        self
    }

    /// Whether this very event taught it.
    pub fn was_taught_by(&self, event: Fingerprint) -> bool {
        self.taught_by == event.ulid().to_string()
    }

    /// The same, seen with somebody else too.
    pub fn contested(person: &PersonId, now: Time) -> Self {
        Self { contested: true, ..Self::new(person, now) }
    }

    /// The first person that it was seen with.
    pub fn person(&self) -> PersonId {
        PersonId::from_text(&self.person)
    }

    /// What is known about an anonymous id.
    pub(super) fn load(
        anonymous: &str,
        facts: &mut Facts,
        now: Time,
    ) -> Result<Option<Self>, JournalError> {
        let fact = facts.get(&link_key(anonymous), now)?;
        Ok(fact.and_then(|fact| serde_json::from_str(&fact.value).ok()))
    }

    /// What is written down.
    pub(super) fn to_fact(&self, anonymous: &str) -> (FactKey, Option<Fact>) {
        let value = serde_json::to_string(self).unwrap_or_default();
        (link_key(anonymous), Some(Fact { value, until: self.seen_at.plus(PAIR_HOLDS) }))
    }
}

/// Which person an identifier stands for now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Alias {
    person: String,
    since: Time,
}

impl Alias {
    /// An alias of `person`, from `now` on.
    pub fn new(person: &PersonId, now: Time) -> Self {
        Self { person: person.to_text(), since: now }
    }

    /// What is written down about the identifier with this key.
    pub(super) fn to_fact(&self, of: &str) -> (FactKey, Option<Fact>) {
        let value = serde_json::to_string(self).unwrap_or_default();
        (alias_key(of), Some(Fact { value, until: self.since.plus(ALIAS_HOLDS) }))
    }
}

/// Who a person is after all merges.
pub(super) fn follow_alias(
    mut person: PersonId,
    facts: &mut Facts,
    now: Time,
) -> Result<PersonId, JournalError> {
    for _ in 0..LONGEST_CHAIN {
        let Some(fact) = facts.get(&alias_key(&person.key()), now)? else { break };
        let Ok(alias) = serde_json::from_str::<Alias>(&fact.value) else { break };
        person = PersonId::from_text(&alias.person);
    }
    Ok(person)
}

/// Where it is remembered whose an anonymous id is.
pub(super) fn link_key(anonymous: &str) -> FactKey {
    FactKey(format!("link:{anonymous}"))
}

/// Where it is remembered who an identifier is.
pub(super) fn alias_key(person: &str) -> FactKey {
    FactKey(format!("alias:{person}"))
}
