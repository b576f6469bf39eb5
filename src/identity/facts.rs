//! The facts as processing sees them: what is stored, under what unsettled events have taught.

use std::collections::HashMap;
use std::sync::Arc;

use moka::sync::Cache;

use super::departures::{Departure, Departures, When};

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
    /// What the event at hand has done here, while it is not clear whether it can be taken.
    at_hand: Option<AtHand>,
    /// People who were deleted or suppressed.
    gone: Departures,
}

#[derive(Default)]
struct AtHand {
    /// What it taught, each with what had been taught before and is not settled either.
    taught: Vec<(FactKey, Option<Fact>)>,
    /// Whose deletion or suppression it brought.
    expected: Vec<(String, Departure)>,
}

#[derive(Default)]
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
            at_hand: None,
            gone: Departures::default(),
        }
    }

    /// Takes in who is gone, after a start.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn recall_gone(&mut self) -> Result<(), JournalError> {
        for Gone { person, at, done, until, .. } in self.journal.gone()? {
            // When it was accepted is not written down; it was before it was done.
            self.gone.confirm(&person, Departure { at, accepted: done, done, until });
        }
        Ok(())
    }

    /// Notes that a deletion or suppression of the person with this key is on its way: it counts from now
    /// on.
    pub fn expect_gone(&mut self, person: &str, departure: Departure) {
        if let Some(at_hand) = &mut self.at_hand {
            at_hand.expected.push((person.to_owned(), departure));
        }
        self.gone.expect(person, departure);
    }

    /// Takes that back: Customer.io would not do it, or it waits for another try.
    pub fn is_not_gone(&mut self, person: &str, departure: Departure) {
        self.gone.withdraw(person, departure);
    }

    /// Notes that Customer.io has done what was expected, at `departure.done`.
    pub fn is_gone(&mut self, person: &str, expected: Departure, departure: Departure) {
        self.gone.confirm(person, departure);
        self.gone.withdraw(person, expected);
    }

    /// Whether an event of the person with this key belongs to the time before a deletion that is
    /// remembered: because it happened before, or because it was accepted before and is behind the
    /// deletion all the same, as what waits in a backfill is.
    pub fn is_of_the_gone(&self, person: &str, when: When) -> bool {
        let gone = self.gone.of(person, when.now);
        gone.is_some_and(|gone| when.happened < gone.at || when.accepted < gone.accepted)
    }

    /// Whether what was last learnt of a person at `learnt` is void for an event: the person was deleted or
    /// suppressed meanwhile. What belongs to the time before is still that person's.
    pub(super) fn is_void(&self, person: &str, learnt: Time, when: When) -> bool {
        let gone = self.gone.of(person, when.now);
        gone.is_some_and(|gone| learnt <= gone.done) && !self.is_of_the_gone(person, when)
    }

    /// Whether the person with this key is gone for an event: it was deleted or suppressed before.
    pub(super) fn has_left(&self, person: &str, when: When) -> bool {
        self.gone.of(person, when.now).is_some() && !self.is_of_the_gone(person, when)
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

    /// An event is looked at: until [`Facts::end`], what is taught and who is expected to be gone is its
    /// own.
    pub fn begin(&mut self) {
        self.at_hand = Some(AtHand::default());
    }

    /// The event was taken, or could not be: then it has done nothing here, and will when it is looked at
    /// again.
    pub fn end(&mut self, taken: bool) {
        let Some(AtHand { taught, expected }) = self.at_hand.take().filter(|_| !taken) else {
            return;
        };
        for (key, before) in taught.into_iter().rev() {
            self.untaught(&key, before);
        }
        for (person, departure) in expected {
            self.is_not_gone(&person, departure);
        }
    }

    /// Notes what an unsettled event taught; it counts from now on.
    pub fn teach(&mut self, key: FactKey, fact: Option<Fact>) {
        let noted = self.at_hand.is_some().then(|| key.clone());
        let unsettled = self.unsettled.entry(key).or_default();
        let before = std::mem::replace(&mut unsettled.fact, fact);
        unsettled.by += 1;
        if let (Some(at_hand), Some(key)) = (&mut self.at_hand, noted) {
            at_hand.taught.push((key, before));
        }
    }

    /// As if it had never been taught: the journal will not have it.
    fn untaught(&mut self, key: &FactKey, before: Option<Fact>) {
        let Some(unsettled) = self.unsettled.get_mut(key) else { return };
        unsettled.by -= 1;
        unsettled.fact = before;
        if unsettled.by == 0 {
            self.unsettled.remove(key);
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::journal::sqlite::{SqliteJournal, SqliteOptions};
    use crate::journal::{Accepted, Change, Place, Seq, Settlement, TrailEntry};
    use crate::outcome::Outcome;
    use crate::spec::{Arrival, RawCall, Traffic};

    const NOW: Time = Time::from_secs(1_000_000);

    /// A view over a journal that knows that `link:a` is u's.
    fn facts() -> Facts {
        let clock = Arc::new(ManualClock::at(NOW));
        let journal = SqliteJournal::in_memory(SqliteOptions::default(), clock).unwrap();
        let arrival = Arrival { accepted_at: NOW, ..Arrival::default() };
        let call = RawCall::new(arrival, "{}".into());
        journal.accept(vec![Accepted { key: 1, call }]).blocking_recv().unwrap().unwrap();
        let settlement = Settlement {
            seq: Seq(1),
            place: Place::Queue(Traffic::Live),
            outcome: Outcome::Delivered,
            done: Vec::new(),
            facts: vec![(key(), fact("u"))],
            trail: TrailEntry::default(),
        };
        let changes = Arc::new(vec![Change::Settle(settlement)]);
        journal.commit(changes).blocking_recv().unwrap().unwrap();
        Facts::new(Arc::new(journal))
    }

    fn key() -> FactKey {
        FactKey("link:a".into())
    }

    fn fact(value: &str) -> Option<Fact> {
        Some(Fact { value: value.into(), until: NOW.plus(Duration::from_secs(9)) })
    }

    /// Teaches `values` as an event that is taken or not.
    fn look_at(facts: &mut Facts, values: &[&str], taken: bool) {
        facts.begin();
        values.iter().for_each(|value| facts.teach(key(), fact(value)));
        let last = values.last().and_then(|value| fact(value));
        assert_eq!(facts.get(&key(), NOW).unwrap(), last, "it counts while it is looked at");
        facts.end(taken);
    }

    #[test]
    fn an_event_that_could_not_be_taken_has_taught_nothing() {
        let mut facts = facts();
        // Asked for before, it is kept in memory.
        assert_eq!(facts.get(&key(), NOW).unwrap(), fact("u"));
        look_at(&mut facts, &["v", "w"], false);
        assert_eq!(facts.get(&key(), NOW).unwrap(), fact("u"));
        assert!(facts.unsettled.is_empty(), "nobody would ever settle it");

        look_at(&mut facts, &["v"], true);
        assert_eq!(facts.get(&key(), NOW).unwrap(), fact("v"));
    }

    #[test]
    fn an_event_that_could_not_be_taken_leaves_what_one_before_it_taught() {
        let mut facts = facts();
        look_at(&mut facts, &["v"], true);
        look_at(&mut facts, &["w", "x"], false);
        assert_eq!(facts.get(&key(), NOW).unwrap(), fact("v"));
        facts.settled(&key());
        assert!(facts.unsettled.is_empty(), "the one who taught it has settled it");
    }

    #[test]
    fn a_deletion_that_could_not_be_taken_is_not_expected_twice() {
        let mut facts = facts();
        let departure = Departure { at: NOW, accepted: NOW, done: NOW, until: Time::NEVER };
        let when = When { happened: Time::default(), accepted: Time::default(), now: NOW };
        for taken in [false, true] {
            facts.begin();
            facts.expect_gone("id:u", departure);
            facts.end(taken);
            assert_eq!(facts.is_of_the_gone("id:u", when), taken);
        }
        facts.is_not_gone("id:u", departure);
        assert!(!facts.is_of_the_gone("id:u", when), "Customer.io would not do it");
    }
}
