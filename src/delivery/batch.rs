//! Which ready items travel together.
//!
//! Items go in the order of acceptance, live before backfill and never in one request. One that
//! waits only for items earlier in the same batch comes along. A barrier, and an operation that has a
//! request of its own, travels alone.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::queues::{ItemId, Queues, State, Turn};
use crate::destination::customerio::Encoded;
use crate::spec::Traffic;

/// What a batch may hold.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Items.
    pub items: usize,
    /// Bytes of the whole body.
    pub bytes: usize,
}

/// Bytes of `{"batch":[]}`.
const ENVELOPE: usize = 12;

/// Picks the items of the next request, in the order in which they stand in it; empty when nothing
/// is ready.
pub fn compose(queues: &Queues, room: Room) -> Vec<ItemId> {
    let Some(&Turn { traffic, id: first, .. }) = queues.ready().first() else { return Vec::new() };
    let Some(entry) = queues.entry(first) else { return Vec::new() };
    if entry.item.barrier || matches!(entry.item.payload, Encoded::Call { .. }) {
        return vec![first];
    }
    Composition {
        queues,
        room,
        traffic,
        company: entry.company,
        bytes: ENVELOPE,
        batch: Vec::new(),
        unlocked: BTreeSet::new(),
        ahead: HashMap::new(),
        taken: HashMap::new(),
    }
    .fill()
}

/// Picks the one item that shows whether Customer.io is back: the one that was least in requests that
/// failed. The oldest may be what fails whoever is well, and would keep everybody waiting.
pub fn probe(queues: &Queues) -> Vec<ItemId> {
    let ready = queues.ready().iter().filter_map(|turn| Some((turn.id, queues.entry(turn.id)?)));
    let least = ready.min_by_key(|(_, entry)| (std::cmp::Reverse(entry.company), entry.tries));
    least.map(|(id, _)| id).into_iter().collect()
}

struct Composition<'a> {
    queues: &'a Queues,
    room: Room,
    traffic: Traffic,
    company: usize,
    bytes: usize,
    batch: Vec<ItemId>,
    /// Items that wait only for items of this batch.
    unlocked: BTreeSet<Turn>,
    ahead: HashMap<ItemId, usize>,
    taken: HashMap<Arc<str>, usize>,
}

impl Composition<'_> {
    fn fill(mut self) -> Vec<ItemId> {
        let (queues, traffic) = (self.queues, self.traffic);
        let mut ready =
            queues.ready().iter().copied().take_while(|turn| turn.traffic == traffic).peekable();
        loop {
            let from_ready = ready.peek().copied();
            let next = match (from_ready, self.unlocked.first().copied()) {
                (Some(ready), Some(unlocked)) => ready.min(unlocked),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => break,
            };
            if from_ready == Some(next) {
                ready.next();
            } else {
                self.unlocked.remove(&next);
            }
            if self.fits_the_company(next.id) && !self.take(next.id) {
                break;
            }
        }
        self.batch
    }

    /// Whether an item may travel with the first: both with as many others.
    fn fits_the_company(&self, id: ItemId) -> bool {
        self.queues.entry(id).is_some_and(|entry| {
            entry.company == self.company
                && !entry.item.barrier
                && matches!(entry.item.payload, Encoded::Item(_))
        })
    }

    /// Adds an item, and finds out who waits only for it now; `false` when the batch is full.
    fn take(&mut self, id: ItemId) -> bool {
        let Some(entry) = self.queues.entry(id) else { return true };
        let size = entry.item.size();
        let full = self.batch.len() >= self.room.items.min(self.company)
            || (!self.batch.is_empty() && self.bytes + size > self.room.bytes);
        if full {
            return false;
        }
        self.bytes += size;
        self.batch.push(id);
        for key in &entry.item.keys {
            let taken = self.taken.entry(Arc::clone(key)).or_default();
            *taken += 1;
            if let Some(next) = self.queues.at(key, *taken) {
                self.unlock(next);
            }
        }
        true
    }

    fn unlock(&mut self, id: ItemId) {
        let Some(turn) = self.queues.turn(id) else { return };
        let Some(entry) = self.queues.entry(id) else { return };
        let ahead = self.ahead.entry(id).or_insert(entry.ahead);
        *ahead = ahead.saturating_sub(1);
        if *ahead == 0 && entry.state == State::Waiting && turn.traffic == self.traffic {
            self.unlocked.insert(turn);
        }
    }
}
