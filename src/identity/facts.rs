//! The facts as processing sees them: what is stored, under what unsettled events have taught.

use std::collections::HashMap;
use std::sync::Arc;

use moka::sync::Cache;

use crate::clock::Time;
use crate::journal::{Fact, FactKey, Gone, Journal, JournalError};

/// How many facts are kept in memory beside the journal.
const CACHED: u64 = 200_000;

/// A view of the journal's facts with what is not settled yet laid over it.
///
/// The cache may forget at any time. It holds only what there is and what was asked for: most people
/// who are asked about are new, most of what is taught is never asked for, and an entry for each of
/// them would cost more than asking again. Expiry stands in the fact, never in the cache.
pub struct Facts {
    journal: Arc<dyn Journal>,
    cache: Cache<FactKey, Fact>,
    /// What was loaded for the events at hand, what is absent too. Nobody but this view writes facts,
    /// so it holds until one of them is settled.
    loaded: HashMap<FactKey, Option<Fact>>,
    unsettled: HashMap<FactKey, Unsettled>,
    /// People who were deleted or suppressed, or will be when Customer.io does it.
    gone: HashMap<String, Tombs>,
}

/// What is known of a person's deletion.
#[derive(Clone, Copy, Default)]
struct Tombs {
    /// Written down.
    done: Option<Tomb>,
    /// On its way to Customer.io, which may refuse it.
    expected: Option<Tomb>,
}

#[derive(Clone, Copy)]
struct Tomb {
    /// When it happened.
    at: Time,
    /// When it was accepted.
    accepted: Time,
    /// How long it is remembered.
    until: Time,
}

impl Tomb {
    fn merged(self, earlier: Option<Self>) -> Self {
        let Some(other) = earlier else { return self };
        Self {
            at: self.at.max(other.at),
            accepted: self.accepted.max(other.accepted),
            until: self.until.max(other.until),
        }
    }
}

struct Unsettled {
    fact: Option<Fact>,
    by: usize,
    /// The last lesson that is on its way to the journal.
    written: u64,
}

impl Facts {
    /// A view with nothing unsettled.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self {
            journal,
            cache: Cache::new(CACHED),
            loaded: HashMap::new(),
            unsettled: HashMap::new(),
            gone: HashMap::new(),
        }
    }

    /// Takes in who is gone, after a start.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn recall_gone(&mut self) -> Result<(), JournalError> {
        for Gone { person, at, done, until, .. } in self.journal.gone()? {
            // When it was accepted is not written down; it was before it was done.
            let tomb = Tomb { at, accepted: done, until };
            self.gone.insert(person, Tombs { done: Some(tomb), expected: None });
        }
        Ok(())
    }

    /// Notes that the person with this key is being deleted or suppressed, which happened at `at` and was
    /// accepted at `accepted`.
    pub fn note_gone(&mut self, person: &str, (at, accepted): (Time, Time), until: Time) {
        let tombs = self.gone.entry(person.to_owned()).or_default();
        tombs.expected = Some(Tomb { at, accepted, until }.merged(tombs.expected));
    }

    /// Customer.io has done it.
    pub fn is_gone(&mut self, person: &str) {
        if let Some(tombs) = self.gone.get_mut(person)
            && let Some(tomb) = tombs.expected.take()
        {
            tombs.done = Some(tomb.merged(tombs.done));
        }
    }

    /// Customer.io would not do it: what was done before stays done.
    pub fn is_not_gone(&mut self, person: &str) {
        if let Some(tombs) = self.gone.get_mut(person) {
            tombs.expected = None;
        }
    }

    /// Whether an event of the person with this key belongs to the time before a deletion that is
    /// remembered: because it happened before, or because it was accepted before and is behind the
    /// deletion all the same, as what waits in a backfill is.
    pub fn is_of_the_gone(
        &self,
        person: &str,
        (happened, accepted): (Time, Time),
        now: Time,
    ) -> bool {
        let Some(Tombs { done, expected }) = self.gone.get(person) else { return false };
        [done, expected]
            .into_iter()
            .flatten()
            .any(|tomb| tomb.until > now && (happened < tomb.at || accepted < tomb.accepted))
    }

    /// Loads what is asked for next, in one go, and lets go of what was loaded before.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn prefetch(&mut self, mut keys: Vec<FactKey>, now: Time) -> Result<(), JournalError> {
        self.loaded.clear();
        keys.retain(|key| !self.unsettled.contains_key(key) && !self.cache.contains_key(key));
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Ok(());
        }
        let found = self.journal.load(&keys, now)?;
        for (key, fact) in keys.iter().zip(&found) {
            if let Some(fact) = fact {
                self.cache.insert(key.clone(), fact.clone());
            }
        }
        self.loaded.extend(keys.into_iter().zip(found));
        Ok(())
    }

    /// What is known at `now`.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn get(&mut self, key: &FactKey, now: Time) -> Result<Option<Fact>, JournalError> {
        let fact = if let Some(unsettled) = self.unsettled.get(key) {
            unsettled.fact.clone()
        } else if let Some(loaded) = self.loaded.get(key) {
            loaded.clone()
        } else if let Some(cached) = self.cache.get(key) {
            Some(cached)
        } else {
            let found = self.journal.load(std::slice::from_ref(key), now)?.pop().flatten();
            if let Some(found) = &found {
                self.cache.insert(key.clone(), found.clone());
            }
            found
        };
        Ok(fact.filter(|fact| fact.until > now))
    }

    /// Notes what an unsettled event taught; it counts from now on.
    pub fn teach(&mut self, key: FactKey, fact: Option<Fact>) {
        let unsettled =
            self.unsettled.entry(key).or_insert(Unsettled { fact: None, by: 0, written: 0 });
        unsettled.fact = fact;
        unsettled.by += 1;
    }

    /// Whether what the event with this place in the order of teaching taught is to be written: not
    /// when a later lesson was written before it, because answers come in any order.
    pub fn write(&mut self, key: &FactKey, lesson: u64) -> bool {
        let Some(unsettled) = self.unsettled.get_mut(key) else { return true };
        let is_newest = unsettled.written <= lesson;
        unsettled.written = unsettled.written.max(lesson);
        is_newest
    }

    /// Notes that what an event taught is in the journal now.
    pub fn settled(&mut self, key: &FactKey) {
        let Some(unsettled) = self.unsettled.get_mut(key) else { return };
        unsettled.by -= 1;
        if unsettled.by == 0
            && let Some((key, unsettled)) = self.unsettled.remove_entry(key)
        {
            self.loaded.remove(&key);
            if self.cache.contains_key(&key) {
                match unsettled.fact {
                    Some(fact) => self.cache.insert(key, fact),
                    None => self.cache.invalidate(&key),
                }
            }
        }
    }
}
