//! What is remembered about people, and how it is written down.

use serde::{Deserialize, Serialize};

use super::{Facts, PAIR_HOLDS, REFRESH_AFTER, When};
use crate::clock::Time;
use crate::destination::customerio::PersonId;
use crate::journal::{Fact, FactKey, JournalError};
use crate::spec::Fingerprint;

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
/// How long it is remembered that two identifiers are one person, after it was last of use.
const ALIAS_HOLDS: std::time::Duration = DAY.saturating_mul(400);
/// How long it is remembered that somebody exists, and what was last said about it.
const KNOWN_HOLDS: std::time::Duration = DAY.saturating_mul(400);
/// So many former addresses of a person are remembered, to be forgotten with it.
const MOST_FORMER: usize = 10;
/// An alias that is still of use is written down again no more often than this.
const REFRESH_ALIAS_AFTER: std::time::Duration = DAY.saturating_mul(30);
/// Longer chains of aliases are not followed to their end at once. Whoever passes along a chain leaves
/// it shorter, so one of this length comes from an attack.
const LONGEST_CHAIN: usize = 256;

/// What an event taught.
pub(super) type Lessons = Vec<(FactKey, Option<Fact>)>;

/// Whose an anonymous id is, and from when to when it was seen so.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Link {
    /// The person, as in a path of Track v1.
    person: String,
    /// When the pair was first seen; absent: then, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Time>,
    /// When the pair was last seen, as far as it was written down.
    pub seen_at: Time,
    /// Whether a second person was seen with it.
    #[serde(default)]
    pub contested: bool,
    /// The event that taught it. Processed again, it must tell Customer.io again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    taught_by: String,
}

/// Where a moment lies, seen from a pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moment {
    /// So long before it was first seen that it says nothing.
    Before,
    /// When it holds.
    During,
    /// So long after it was last seen that it holds no more.
    After,
}

impl Link {
    /// A pair that was seen at `at`.
    pub fn new(person: &PersonId, at: Time) -> Self {
        Self {
            person: person.to_text(),
            since: None,
            seen_at: at,
            contested: false,
            taught_by: String::new(),
        }
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

    /// The first person that it was seen with.
    pub fn person(&self) -> PersonId {
        PersonId::from_text(&self.person)
    }

    /// The same, seen with somebody else too.
    pub(super) fn seen_with_another(&self, at: Time) -> Self {
        Self { contested: true, taught_by: String::new(), ..self.seen(at) }
    }

    /// Where `at` lies.
    pub(super) fn moment(&self, at: Time) -> Moment {
        if at > self.seen_at.plus(PAIR_HOLDS) {
            Moment::After
        } else if at.plus(PAIR_HOLDS) < self.since() {
            Moment::Before
        } else {
            Moment::During
        }
    }

    /// The same of `person` (who may have got another id), seen again at `at`; `None` where that is
    /// not worth a write.
    pub(super) fn refreshed(&self, person: &PersonId, at: Time) -> Option<Self> {
        let apart = at.since(self.seen_at).max(self.since().since(at));
        (apart > REFRESH_AFTER).then(|| Self { person: person.to_text(), ..self.seen(at) })
    }

    fn seen(&self, at: Time) -> Self {
        let since = self.since().min(at);
        let seen_at = self.seen_at.max(at);
        Self { since: (since < seen_at).then_some(since), seen_at, ..self.clone() }
    }

    fn since(&self) -> Time {
        self.since.unwrap_or(self.seen_at)
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

    /// What is written down at `now`. It is kept for those who come now, also where it is about the
    /// past: a replay asks about the past too.
    pub(super) fn to_fact(&self, anonymous: &str, now: Time) -> (FactKey, Option<Fact>) {
        let value = serde_json::to_string(self).unwrap_or_default();
        (link_key(anonymous), Some(Fact { value, until: now.max(self.seen_at).plus(PAIR_HOLDS) }))
    }
}

/// Which person an identifier stands for now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Alias {
    person: String,
    since: Time,
    /// The merge that taught it. Processed again, it must be sent again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    taught_by: String,
    /// Who the identifier stood for before that merge, where that was not itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}

impl Alias {
    /// An alias of `person`, from `now` on.
    pub fn new(person: &PersonId, now: Time) -> Self {
        Self { person: person.to_text(), since: now, taught_by: String::new(), before: None }
    }

    /// The same, taught by this merge of `before`.
    #[must_use]
    pub fn taught_by(mut self, event: Fingerprint, before: &PersonId) -> Self {
        self.taught_by = event.ulid().to_string();
        self.before = Some(before.to_text());
        self
    }

    /// Whom this very event merged, where it taught this.
    pub(super) fn merged_by(&self, event: Fingerprint) -> Option<PersonId> {
        let before = self.before.as_deref().filter(|_| self.taught_by == event.ulid().to_string());
        before.map(PersonId::from_text)
    }

    /// What is written down about the identifier with this key.
    pub(super) fn to_fact(&self, of: &str) -> (FactKey, Option<Fact>) {
        let value = serde_json::to_string(self).unwrap_or_default();
        (alias_key(of), Some(Fact { value, until: self.since.plus(ALIAS_HOLDS) }))
    }

    /// What is known about the identifier with this key.
    pub(super) fn load(
        of: &str,
        facts: &mut Facts,
        now: Time,
    ) -> Result<Option<Self>, JournalError> {
        let fact = facts.get(&alias_key(of), now)?;
        Ok(fact.and_then(|fact| serde_json::from_str(&fact.value).ok()))
    }
}

/// What is known of a person beside its identifiers.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Known {
    /// The newest event time of an identify; the epoch when there was none.
    #[serde(default)]
    pub(super) identified_at: Time,
    /// The key of the address that it stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<String>,
    /// The keys of those that it stated before, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<String>,
}

impl Known {
    /// The same, identified at `at` with this address, if any.
    pub(super) fn identified(mut self, at: Time, email: Option<String>) -> Self {
        self.identified_at = at;
        if let Some(email) = email {
            self.former.retain(|former| *former != email);
            let before = self.email.replace(email);
            self.former.extend(before.filter(|before| Some(before) != self.email.as_ref()));
            self.former.drain(..self.former.len().saturating_sub(MOST_FORMER));
        }
        self
    }

    /// The keys of all its addresses.
    pub(super) fn addresses(self) -> impl Iterator<Item = String> {
        self.former.into_iter().chain(self.email)
    }

    /// What is known of the person with this key.
    pub(super) fn load(
        person: &str,
        facts: &mut Facts,
        now: Time,
    ) -> Result<Option<Self>, JournalError> {
        let fact = facts.get(&known_key(person), now)?;
        Ok(fact.and_then(|fact| serde_json::from_str(&fact.value).ok()))
    }

    /// What is written down about the person with this key.
    pub(super) fn to_fact(&self, person: &str, now: Time) -> (FactKey, Option<Fact>) {
        let value = serde_json::to_string(self).unwrap_or_default();
        (known_key(person), Some(Fact { value, until: now.plus(KNOWN_HOLDS) }))
    }
}

/// Who a person is after all merges, to an event. A chain that was followed
/// is taught as one step; one that leads to somebody who is gone is forgotten.
pub(super) fn follow_alias(
    person: PersonId,
    facts: &mut Facts,
    when: When,
    lessons: &mut Lessons,
) -> Result<PersonId, JournalError> {
    let key = person.key();
    let mut steps = Lessons::new();
    let (root, since) = root_of(person.clone(), facts, when.now, &mut steps)?;
    if since.is_some_and(|since| facts.is_void(&root.key(), since, when)) {
        lessons.push((alias_key(&key), None));
        return Ok(person);
    }
    lessons.append(&mut steps);
    Ok(root)
}

/// Who a person is after all merges, and since when, where that is somebody else: gone or not.
pub(super) fn root_of(
    person: PersonId,
    facts: &mut Facts,
    now: Time,
    lessons: &mut Lessons,
) -> Result<(PersonId, Option<Time>), JournalError> {
    let start = person.key();
    let Some(first) = Alias::load(&start, facts, now)? else { return Ok((person, None)) };
    let mut root = PersonId::from_text(&first.person);
    let mut passed = vec![start];
    while passed.len() < LONGEST_CHAIN {
        let key = root.key();
        if passed.contains(&key) {
            break;
        }
        let next = Alias::load(&key, facts, now)?;
        passed.push(key);
        let Some(next) = next else { break };
        root = PersonId::from_text(&next.person);
    }
    let is_chain = passed.len() > 2 && root.key() != passed[0];
    let since = first.since;
    if is_chain || now.since(since) > REFRESH_ALIAS_AFTER {
        let shorter = Alias { person: root.to_text(), since: now, ..first };
        lessons.push(shorter.to_fact(&passed[0]));
    }
    Ok((root, Some(since)))
}

/// What makes everything forgotten that is known of a person: that it is there, and its addresses.
///
/// # Errors
/// When the journal cannot be read.
pub fn forget(
    person: &PersonId,
    facts: &mut Facts,
    now: Time,
) -> Result<Vec<FactKey>, JournalError> {
    let key = person.key();
    let known = Known::load(&key, facts, now)?;
    let mut forgotten = vec![known_key(&key)];
    for address in known.into_iter().flat_map(Known::addresses) {
        let Some(owner) = PersonId::from_key(&address) else { continue };
        let (owner, since) = root_of(owner, facts, now, &mut Lessons::new())?;
        if since.is_some() && owner.key() == key {
            forgotten.push(alias_key(&address));
        }
    }
    Ok(forgotten)
}

/// The name of the operation without which Customer.io does not know what `event` taught here; `None`
/// where it need not know, or where another event has taught something else since.
pub fn told_by(key: &FactKey, fact: &Fact, event: Fingerprint) -> Option<&'static str> {
    let (kind, _) = key.0.split_once(':')?;
    match kind {
        "link" => {
            let link: Link = serde_json::from_str(&fact.value).ok()?;
            link.was_taught_by(event).then_some("identify")
        }
        "alias" => {
            let alias: Alias = serde_json::from_str(&fact.value).ok()?;
            alias.merged_by(event).map(|_| "merge")
        }
        "person" => {
            let known: Known = serde_json::from_str(&fact.value).ok()?;
            (known == Known::default()).then_some("identify")
        }
        _ => None,
    }
}

/// What is known instead where Customer.io was not told what an event taught: for a merge, whom the
/// identifier stood for before.
pub fn untold(key: &FactKey, fact: &Fact, now: Time) -> Option<Fact> {
    let of = key.0.strip_prefix("alias:")?;
    let alias: Alias = serde_json::from_str(&fact.value).ok()?;
    let before = PersonId::from_text(alias.before.as_deref()?);
    (before.key() != of).then(|| Alias::new(&before, now).to_fact(of).1).flatten()
}

/// Whom this very alias merged when it was processed before.
pub(super) fn was_merged_by(
    previous: &str,
    event: Fingerprint,
    facts: &mut Facts,
    now: Time,
) -> Result<Option<PersonId>, JournalError> {
    let alias = Alias::load(&PersonId::from_text(previous).key(), facts, now)?;
    Ok(alias.and_then(|alias| alias.merged_by(event)))
}

/// Where it is remembered whose an anonymous id is.
pub(super) fn link_key(anonymous: &str) -> FactKey {
    FactKey(format!("link:{anonymous}"))
}

/// Where it is remembered who an identifier is.
pub(super) fn alias_key(person: &str) -> FactKey {
    FactKey(format!("alias:{person}"))
}

/// Where it is remembered what is known of a person.
pub(super) fn known_key(person: &str) -> FactKey {
    FactKey(format!("person:{person}"))
}
