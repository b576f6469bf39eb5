//! Forgets what lies here of people who were deleted or suppressed: parked events, dead letters,
//! recorded originals.
//!
//! Nothing here has an index by person, which would cost every event a random page. So everything is
//! looked through once for all who are to be forgotten, some thousand rows a second, beside the work.
//! What waits in a queue is not searched for: when its turn comes, the tombstone drops it
//! ([`crate::pipeline`]).
//!
//! Not here: who is gone ([`super::core`] notes it when Customer.io has the deletion).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Time;
use crate::identity::{Departure, Facts, mentioned};
use crate::journal::{
    Change, DeadFilter, Forget, Gone, Journal, JournalError, Place, RecordedFilter, Seq,
    Settlement, Stored, TrailEntry, Why,
};
use crate::outcome::{DropReason, Outcome};
use crate::pipeline::{Leaving, Origin, REMEMBERS_GONE};
use crate::spec::RawCall;

/// How many rows are looked at in one step.
const ROWS: usize = 2000;

/// A search that goes on from step to step.
pub struct Purge {
    journal: Arc<dyn Journal>,
    pass: Option<Pass>,
}

/// One time through everything.
struct Pass {
    wanted: BTreeMap<String, Gone>,
    place: Shelf,
}

/// Where the search stands.
#[derive(Clone, Copy)]
enum Shelf {
    Waiting(Option<Seq>),
    Dead(Option<Seq>),
    Recorded(Option<u64>),
}

impl Purge {
    /// A search that has not begun.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal, pass: None }
    }

    /// Looks at some rows and forgets what it found there; `ended` learns which events out of line have
    /// ended by that. Waits for the disk. Nothing to do costs next to nothing.
    ///
    /// # Errors
    /// When the journal cannot be read or written; the search begins again.
    pub fn step(&mut self, now: Time, ended: impl FnOnce(Vec<Seq>)) -> Result<(), JournalError> {
        let pass = match self.pass.take() {
            Some(pass) => pass,
            None => match self.wanted()? {
                wanted if wanted.is_empty() => return Ok(()),
                wanted => Pass { wanted, place: Shelf::Waiting(None) },
            },
        };
        let mut facts = Facts::new(Arc::clone(&self.journal));
        let (wanted, facts) = (&pass.wanted, &mut facts);
        let (found, taken) = (Vec::new(), Vec::new());
        let mut search =
            Search { journal: self.journal.as_ref(), wanted, facts, now, found, taken };
        let next = search.look_at(pass.place);
        let Search { found: mut changes, taken, .. } = search;
        let done = next.and_then(|next| {
            if next.is_none() {
                let everybody = pass.wanted.values().cloned().map(Forget::Searched);
                changes.extend(everybody.map(Change::Forget));
            }
            let closed = |_| JournalError::Failed("it was closed".into());
            self.journal.commit(changes.into()).blocking_recv().map_err(closed)??;
            Ok(next)
        });
        // What has ended is there no more.
        self.journal.give_back(&taken);
        self.pass = done?.map(|place| Pass { place, ..pass });
        if !taken.is_empty() {
            ended(taken);
        }
        Ok(())
    }

    fn wanted(&self) -> Result<BTreeMap<String, Gone>, JournalError> {
        let gone = self.journal.gone()?.into_iter().filter(|gone| !gone.searched);
        Ok(gone.map(|gone| (gone.person.clone(), gone)).collect())
    }
}

/// What is written down about the people whom an event was to delete or suppress, each with whether
/// Customer.io has done it: only then they are gone, whatever becomes of the rest of the event.
pub(super) fn tombstones(
    leaving: Vec<(Leaving, bool)>,
    facts: &mut Facts,
    now: Time,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (Leaving { person, departure, .. }, landed) in leaving {
        if landed {
            let done = Departure { done: now, until: now.plus(REMEMBERS_GONE), ..departure };
            facts.is_gone(&person, departure, done);
            let Departure { at, done, until, .. } = done;
            let gone = Gone { person, at, done, until, searched: false };
            changes.push(Change::Forget(Forget::Person(gone)));
        } else {
            facts.is_not_gone(&person, departure);
        }
    }
    changes
}

struct Search<'a> {
    journal: &'a dyn Journal,
    wanted: &'a BTreeMap<String, Gone>,
    facts: &'a mut Facts,
    now: Time,
    found: Vec<Change>,
    /// The events out of line that end.
    taken: Vec<Seq>,
}

impl Search<'_> {
    /// Looks at the rows behind a place; answers where it goes on.
    fn look_at(&mut self, place: Shelf) -> Result<Option<Shelf>, JournalError> {
        Ok(match place {
            Shelf::Waiting(after) => {
                let rows = self.journal.waiting(Place::Deferred, after, ROWS)?;
                let last = rows.last().map(|row| row.event.seq);
                rows.into_iter().try_for_each(|row| self.waiting(row.event))?;
                Some(last.map_or(Shelf::Dead(None), |last| Shelf::Waiting(Some(last))))
            }
            Shelf::Dead(after) => {
                let rows = self.journal.dead(&DeadFilter::default(), after, ROWS)?;
                let last = rows.last().map(|row| row.seq);
                for row in rows {
                    self.look(row.call, Forget::Dead(row.seq))?;
                }
                Some(last.map_or(Shelf::Recorded(None), |last| Shelf::Dead(Some(last))))
            }
            Shelf::Recorded(after) => {
                let rows = self.journal.recorded(&RecordedFilter::default(), after, ROWS)?;
                let last = rows.last().map(|row| row.number);
                for row in rows {
                    self.look(row.call, Forget::Recorded(row.number))?;
                }
                last.map(|last| Shelf::Recorded(Some(last)))
            }
        })
    }

    /// A damaged record names nobody: it goes when its time is over.
    fn look(&mut self, call: Result<RawCall, String>, forget: Forget) -> Result<(), JournalError> {
        if let Ok(mut call) = call
            && self.concerns(&mut call)?
        {
            self.found.push(Change::Forget(forget));
        }
        Ok(())
    }

    /// An event out of line ends here. One that is tried again holds up others of its person, and
    /// ends in its turn; so does one that somebody has taken up again meanwhile.
    fn waiting(&mut self, event: Stored) -> Result<(), JournalError> {
        let seq = event.seq;
        let Ok(mut call) = event.call else { return Ok(()) };
        if event.why == Some(Why::Retry) || !self.concerns(&mut call)? || !self.take(seq)? {
            return Ok(());
        }
        let origin = Origin::of(&call.arrival);
        let outcome = Outcome::Dropped(DropReason::PersonDeleted);
        let trail = TrailEntry {
            at: self.now,
            source: origin.source,
            label: origin.label,
            outcome: outcome.label().into(),
            reason: outcome.reason().into(),
            ..TrailEntry::default()
        };
        let place = Place::Deferred;
        let end = Settlement { seq, place, outcome, done: Vec::new(), facts: Vec::new(), trail };
        self.found.push(Change::Settle(end));
        self.taken.push(seq);
        Ok(())
    }

    /// Takes an event, if it is still where it was seen.
    fn take(&self, seq: Seq) -> Result<bool, JournalError> {
        if !self.journal.take(seq) {
            return Ok(false);
        }
        let before = Seq(seq.0.saturating_sub(1));
        let row = self.journal.waiting(Place::Deferred, Some(before), 1);
        let is_there = row.map(|rows| {
            rows.first()
                .is_some_and(|row| row.event.seq == seq && row.event.why != Some(Why::Retry))
        });
        if !matches!(is_there, Ok(true)) {
            self.journal.give_back(&[seq]);
        }
        is_there
    }

    fn concerns(&mut self, call: &mut RawCall) -> Result<bool, JournalError> {
        let accepted = call.arrival.accepted_at;
        let Some(fields) = call.fields() else { return Ok(false) };
        let people = mentioned(fields, self.facts, self.now)?;
        let gone = people.iter().filter_map(|person| self.wanted.get(person));
        Ok(gone.into_iter().any(|gone| accepted <= gone.done))
    }
}
