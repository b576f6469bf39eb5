//! Which ready items travel together.
//!
//! Items go in the order of acceptance, live and backfill never in one request. One that waits only for
//! items earlier in the same batch comes along. A barrier, and an operation that has a request of its
//! own, travels alone. Who may be what fails a request travels without those who are not: the halves of
//! a batch that failed, and the people who failed of late.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::queues::{Entry, Half, ItemId, Queues, State};
use super::ready::Turn;
use super::suspects::Suspects;
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

/// With whom an item travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Company {
    /// Everybody of whom nothing is suspected.
    Everybody,
    /// The same half of a batch that failed.
    Half(Half),
    /// Nobody but its own person.
    OwnPerson,
}

/// Picks the items of the next request of a class, in the order in which they stand in it; empty when
/// nothing is ready.
pub fn compose(queues: &Queues, suspects: &Suspects, traffic: Traffic, room: Room) -> Vec<ItemId> {
    let first = queues.ready(traffic).first().and_then(|first| queues.entry(first));
    let Some(entry) = first else { return Vec::new() };
    if goes_alone(entry) {
        return vec![entry.item.id];
    }
    let company = company_of(entry, suspects);
    let items = match company {
        Company::Half(half) => half.items.min(room.items),
        Company::Everybody | Company::OwnPerson => room.items,
    };
    Composition {
        queues,
        suspects,
        room: Room { items, ..room },
        traffic,
        company,
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
    let ready = [Traffic::Live, Traffic::Backfill].map(|traffic| queues.ready(traffic).turns());
    let entries = ready.into_iter().flatten().filter_map(|id| Some((id, queues.entry(id)?)));
    let least = entries.min_by_key(|(_, entry)| (entry.failures, entry.tries));
    least.map(|(id, _)| id).into_iter().collect()
}

/// Whether an item has a request of its own by what it is.
pub fn goes_alone(entry: &Entry) -> bool {
    entry.item.barrier || matches!(entry.item.payload, Encoded::Call { .. })
}

/// Whether an item travels apart because a request with it, or with its person, failed.
pub fn is_suspect(entry: &Entry, suspects: &Suspects) -> bool {
    company_of(entry, suspects) != Company::Everybody
}

/// The halves of a batch that failed. Each has other people, so that the search ends with a person, and
/// nobody waits with one who fails; the items of one person are halved by their places.
pub fn halves(queues: &Queues, items: &[ItemId]) -> [Vec<ItemId>; 2] {
    let groups = by_people(queues, items);
    let count = groups.iter().max().map_or(0, |last| last + 1);
    let mut halves = [Vec::new(), Vec::new()];
    for (place, (&id, &group)) in items.iter().zip(&groups).enumerate() {
        let is_second = match count {
            1 => place >= items.len().div_ceil(2),
            _ => group >= count.div_ceil(2),
        };
        halves[usize::from(is_second)].push(id);
    }
    halves
}

/// The number of each item's group: items that share a person, directly or through others, have the
/// same. Groups are numbered in the order of their first items.
fn by_people(queues: &Queues, items: &[ItemId]) -> Vec<usize> {
    // Which items belong to the same group as an earlier one.
    let mut parents: Vec<usize> = (0..items.len()).collect();
    let root = |parents: &[usize], mut place: usize| {
        while parents[place] != place {
            place = parents[place];
        }
        place
    };
    let mut first_of: HashMap<&str, usize> = HashMap::new();
    for (place, &id) in items.iter().enumerate() {
        for key in queues.entry(id).into_iter().flat_map(|entry| &entry.item.keys) {
            let earlier = root(&parents, *first_of.entry(key).or_insert(place));
            let own = root(&parents, place);
            parents[earlier.max(own)] = earlier.min(own);
        }
    }
    let mut numbers = HashMap::new();
    let number = |place| {
        let next = numbers.len();
        *numbers.entry(root(&parents, place)).or_insert(next)
    };
    (0..items.len()).map(number).collect()
}

fn company_of(entry: &Entry, suspects: &Suspects) -> Company {
    match entry.half {
        Some(half) => Company::Half(half),
        None if suspects.any(&entry.item.keys) => Company::OwnPerson,
        None => Company::Everybody,
    }
}

struct Composition<'a> {
    queues: &'a Queues,
    suspects: &'a Suspects,
    room: Room,
    traffic: Traffic,
    company: Company,
    bytes: usize,
    batch: Vec<ItemId>,
    /// Items that wait only for items of this batch.
    unlocked: BTreeSet<Turn>,
    ahead: HashMap<ItemId, usize>,
    taken: HashMap<Arc<str>, usize>,
}

impl Composition<'_> {
    fn fill(mut self) -> Vec<ItemId> {
        let ready = self.queues.ready(self.traffic).turns().map(Turn::from);
        // What else of its own person is ready waits for it.
        let most = if self.company == Company::OwnPerson { 1 } else { usize::MAX };
        let mut ready = ready.take(most).peekable();
        while self.batch.len() < self.room.items {
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

    /// Whether an item may travel with the first.
    fn fits_the_company(&self, id: ItemId) -> bool {
        self.queues.entry(id).is_some_and(|entry| {
            !entry.item.barrier
                && matches!(entry.item.payload, Encoded::Item(_))
                && company_of(entry, self.suspects) == self.company
        })
    }

    /// Adds an item, and finds out who waits only for it now; `false` when the batch is full.
    fn take(&mut self, id: ItemId) -> bool {
        let Some(entry) = self.queues.entry(id) else { return true };
        let size = entry.item.size();
        if !self.batch.is_empty() && self.bytes + size > self.room.bytes {
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
        let Some(entry) = self.queues.entry(id) else { return };
        let ahead = self.ahead.entry(id).or_insert(entry.ahead);
        *ahead = ahead.saturating_sub(1);
        if *ahead == 0 && entry.state == State::Waiting && entry.traffic == self.traffic {
            self.unlocked.insert(id.into());
        }
    }
}
