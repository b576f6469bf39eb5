//! Who waits behind whom out of line: the events that are tried again later, by the keys of their people.
//!
//! Not here: the order of what is on its way ([`crate::delivery`]).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Time;
use crate::journal::Seq;

/// How soon an event that waits behind another one out of line is looked after again at the earliest.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The events that are out of line and hold up later ones of their people.
#[derive(Debug, Default)]
pub(super) struct Line {
    blocked: HashMap<Arc<str>, Blocked>,
    /// The keys that each event blocks: taken up again, it may turn out to have others.
    blocking: HashMap<Seq, Vec<Arc<str>>>,
}

/// Events of one key that wait out of line, and when they are tried again.
#[derive(Debug)]
struct Blocked {
    events: BTreeSet<Seq>,
    due: Time,
}

impl Line {
    /// Those of the key behind the event wait for it, until it was looked after at `due`.
    pub(super) fn block(&mut self, key: Arc<str>, seq: Seq, due: Time) {
        let blocked = self
            .blocked
            .entry(Arc::clone(&key))
            .or_insert_with(|| Blocked { events: BTreeSet::new(), due });
        blocked.events.insert(seq);
        blocked.due = blocked.due.max(due);
        self.blocking.entry(seq).or_default().push(key);
    }

    /// The event has ended, or is back on its way: from here on the courier knows who is behind it.
    pub(super) fn unblock(&mut self, seq: Seq) {
        for key in self.blocking.remove(&seq).into_iter().flatten() {
            if let Some(blocked) = self.blocked.get_mut(&key) {
                blocked.events.remove(&seq);
                if blocked.events.is_empty() {
                    self.blocked.remove(&key);
                }
            }
        }
    }

    /// The clock was set back to `now`: nobody waits for what it was before.
    pub(super) fn clock_went_back(&mut self, now: Time) {
        for blocked in self.blocked.values_mut() {
            blocked.due = blocked.due.min(now);
        }
    }

    /// Whether an event with these keys must wait behind earlier ones; until when.
    pub(super) fn wait<'k>(
        &self,
        keys: impl Iterator<Item = &'k Arc<str>>,
        seq: Seq,
        now: Time,
    ) -> Option<Time> {
        keys.filter_map(|key| self.blocked.get(key))
            .filter(|blocked| blocked.events.first().is_some_and(|first| *first < seq))
            .map(|blocked| blocked.due)
            .max()
            // After a restart it is not known when the first of them is due: looked after again soon,
            // never at once.
            .map(|due| due.max(now.plus(LOOK_AGAIN)))
    }
}
