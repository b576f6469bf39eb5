//! What a transaction will have changed in memory, kept apart until it has succeeded.

use rusqlite::Connection;

use super::counters::{State, Tally};
use super::trouble::Trouble;
use super::upkeep::Sweep;
use super::{JournalError, Place, Receipt, Seq, Why, seen, trail};
use crate::spec::Traffic;

/// The effects of one transaction.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The numbers as they will be.
    pub(super) state: State,
    /// What it adds to the totals.
    pub(super) tally: Tally,
    /// New deduplication keys.
    pub(super) keys: Vec<u128>,
    /// New entries of the trail.
    pub(super) trail: trail::Block,
    /// Events that left a place.
    pub(super) gone: Vec<(Place, Seq)>,
    /// Dead letters that are back in a queue.
    pub(super) redriven: Vec<(Traffic, Seq)>,
    /// What was done to the buckets of keys.
    pub(super) step: Option<seen::Step>,
    /// Where the search for expired facts goes on.
    pub(super) sweep: Option<Sweep>,
    /// What each request of the transaction is answered.
    pub(super) answers: Vec<Answer>,
}

/// What a request has come to.
#[derive(Debug)]
pub(super) enum Answer {
    /// So many of its events were taken.
    Receipts(Vec<Receipt>),
    /// Nothing of it took effect.
    Refused(JournalError),
    /// It is done.
    Done,
    /// So many dead letters went back; there may be more behind the last.
    Moved(u64, Option<Seq>),
}

impl Draft {
    /// Nothing changed yet.
    pub(super) fn new(state: State) -> Self {
        Self { state, ..Self::default() }
    }

    /// Notes that an event left its place; `why` it was there, if it was deferred.
    pub(super) fn left(&mut self, seq: Seq, place: Place, why: Option<Why>) {
        self.state.left(place, why);
        self.gone.push((place, seq));
    }

    /// Writes the numbers that changed since `before`.
    pub(super) fn save(&mut self, connection: &Connection, before: State) -> Result<(), Trouble> {
        if !self.tally.is_empty() {
            self.tally.save(connection)?;
        }
        if self.trail.count() > 0 {
            self.state.trail += self.trail.count();
            self.trail.save(connection)?;
        }
        if self.state != before {
            self.state.save(connection)?;
        }
        Ok(())
    }
}
