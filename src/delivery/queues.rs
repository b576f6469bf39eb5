//! Key queues: who waits for whom.
//!
//! An item carries the keys of the people it concerns. It may travel when everything ahead of it, in
//! the queue of each of its keys, is settled or travels earlier in the same batch. Nothing else holds
//! it up: one person's failure delays nobody else. What a live item waits for is as urgent as it is:
//! items of a backfill that are ahead of it travel with live traffic.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::ready::Ready;
use crate::clock::Time;
use crate::destination::customerio::Encoded;
use crate::journal::Seq;
use crate::spec::Traffic;

/// The identity of an item, and its place in the order in which items travel.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ItemId {
    /// Live goes before backfill.
    pub traffic: Traffic,
    /// The event's place in the order of acceptance.
    pub seq: Seq,
    /// Which of the events that a script made of it.
    pub part: u32,
    /// Which of the operations of that.
    pub op: u32,
}

/// One operation, frozen: the same bytes on every try.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its identity.
    pub id: ItemId,
    /// The people it concerns; empty for an object.
    pub keys: Vec<Arc<str>>,
    /// What is sent.
    pub payload: Encoded,
    /// Whether it travels alone and must be settled durably before anything behind it: a merge, a
    /// deletion, a suppression.
    pub barrier: bool,
    /// When the guard's verdict must be taken again.
    pub valid_until: Option<Time>,
    /// When it was first tried without success, pauses left out.
    pub first_failed: Option<Time>,
    /// How often it was tried alone without success.
    pub tries: u32,
}

impl Item {
    /// Its size in a batch, in bytes.
    pub fn size(&self) -> usize {
        match &self.payload {
            Encoded::Item(bytes) => bytes.len() + 1,
            Encoded::Call { body, .. } => body.as_ref().map_or(0, Vec::len),
        }
    }
}

/// What the queues know about an item.
#[derive(Debug)]
pub struct Entry {
    /// The item.
    pub item: Arc<Item>,
    /// In how many of its queues something is ahead of it.
    pub ahead: usize,
    /// With which class it travels: a backfill's item that a live one waits for goes as that.
    pub traffic: Traffic,
    /// What it is doing.
    pub state: State,
    /// With whom it travels since a batch with it failed; `None`: with everybody.
    pub half: Option<Half>,
    /// How often it was in a request that failed.
    pub failures: u32,
    /// How often it was tried alone without success.
    pub tries: u32,
    /// When it was first tried without success, pauses left out.
    pub first_failed: Option<Time>,
}

/// A half of a batch that failed: its items travel together and with nobody else, until it is known
/// whose fault it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Half {
    /// Its number.
    pub number: u64,
    /// How many items it has.
    pub items: usize,
}

/// What an item is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Waiting for what is ahead of it, or ready when nothing is.
    Waiting,
    /// On its way.
    InFlight,
    /// Waiting for its next try.
    Sleeping(Time),
    /// Accepted by Customer.io; holds the queue until that is durable.
    Landed,
    /// Asked about; holds the queue until it is taken out.
    Aside,
}

/// All queues. In each of them what travels as live is ahead of what travels as backfill.
#[derive(Debug, Default)]
pub struct Queues {
    entries: BTreeMap<ItemId, Entry>,
    queues: HashMap<Arc<str>, VecDeque<ItemId>>,
    /// By class; see [`Queues::ready`].
    ready: [Ready; 2],
    /// How many entries travel as backfill.
    backfill: usize,
    sleeping: BTreeSet<(Time, ItemId)>,
    bytes: usize,
}

impl Queues {
    /// Adds an item behind everything that is there.
    pub fn push(&mut self, item: Item) {
        let id = item.id;
        let mut ahead = 0;
        for key in &item.keys {
            let queue = self.queues.entry(Arc::clone(key)).or_default();
            ahead += usize::from(!queue.is_empty());
            queue.push_back(id);
        }
        self.bytes += item.size();
        let (tries, first_failed) = (item.tries, item.first_failed);
        let entry = Entry {
            item: Arc::new(item),
            ahead,
            traffic: id.traffic,
            state: State::Waiting,
            half: None,
            failures: 0,
            tries,
            first_failed,
        };
        self.entries.insert(id, entry);
        match id.traffic {
            Traffic::Backfill => self.backfill += 1,
            Traffic::Live if self.backfill > 0 && ahead > 0 => self.lift_what_is_ahead_of(id),
            Traffic::Live => {}
        }
        if ahead == 0 {
            self.make_ready(id);
        }
    }

    /// Lets all that a live item waits for, directly or through another key, travel as live.
    fn lift_what_is_ahead_of(&mut self, id: ItemId) {
        let mut lifted = HashSet::from([id]);
        let mut keys =
            self.entries.get(&id).map(|entry| entry.item.keys.clone()).unwrap_or_default();
        while let Some(key) = keys.pop() {
            let Some(queue) = self.queues.get(&key) else { continue };
            let is_live = |id: &ItemId| {
                self.entries.get(id).is_some_and(|entry| entry.traffic == Traffic::Live)
            };
            // Ahead of what was live before, all is live.
            let behind = queue.iter().rev().skip_while(|id| !is_live(id));
            let ahead: Vec<ItemId> = behind
                .take_while(|id| lifted.contains(*id) || !is_live(id))
                .filter(|id| !lifted.contains(*id))
                .copied()
                .collect();
            for other in ahead {
                lifted.insert(other);
                let Some(entry) = self.entries.get_mut(&other) else { continue };
                if self.ready[Traffic::Backfill as usize].remove(&entry.item) {
                    self.ready[Traffic::Live as usize].insert(&entry.item);
                }
                entry.traffic = Traffic::Live;
                self.backfill -= 1;
                keys.extend(entry.item.keys.iter().filter(|own| **own != key).cloned());
            }
        }
    }

    /// The items that may travel now as that class.
    pub fn ready(&self, traffic: Traffic) -> &Ready {
        &self.ready[traffic as usize]
    }

    /// The bytes of all items.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// An item.
    pub fn entry(&self, id: ItemId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// The item that is `place` behind the head of a key's queue.
    pub fn at(&self, key: &str, place: usize) -> Option<ItemId> {
        self.queues.get(key)?.get(place).copied()
    }

    /// How many items are in the longest queue that an item is in.
    pub fn length(&self, id: ItemId) -> usize {
        let keys = self.entries.get(&id).into_iter().flat_map(|entry| &entry.item.keys);
        keys.filter_map(|key| self.queues.get(key)).map(VecDeque::len).max().unwrap_or(0)
    }

    /// All items of one event.
    pub fn of_event(&self, traffic: Traffic, seq: Seq) -> Vec<ItemId> {
        let id = |part, op| ItemId { traffic, seq, part, op };
        self.entries.range(id(0, 0)..=id(u32::MAX, u32::MAX)).map(|(id, _)| *id).collect()
    }

    /// Sends an item on its way.
    pub fn depart(&mut self, id: ItemId) {
        self.set_state(id, State::InFlight);
    }

    /// An item is back without success: changes what is known about it and lets it wait, until
    /// `until` where that is given.
    pub fn came_back(&mut self, id: ItemId, until: Option<Time>, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(&id) {
            change(entry);
        }
        self.set_state(id, until.map_or(State::Waiting, State::Sleeping));
    }

    /// Notes that Customer.io accepted an item whose settlement must be durable before anything
    /// behind it leaves.
    pub fn landed(&mut self, id: ItemId) {
        self.set_state(id, State::Landed);
    }

    /// Lets an item neither travel nor anything behind it, until it is taken out.
    pub fn set_aside(&mut self, id: ItemId) {
        self.set_state(id, State::Aside);
    }

    /// Takes an item out, whatever it is doing, and lets those behind it move up.
    pub fn remove(&mut self, id: ItemId) -> Option<Entry> {
        self.leave_state(id);
        let entry = self.entries.remove(&id)?;
        self.backfill -= usize::from(entry.traffic == Traffic::Backfill);
        self.bytes -= entry.item.size();
        for key in &entry.item.keys {
            self.leave_queue(key, id);
        }
        Some(entry)
    }

    fn leave_queue(&mut self, key: &Arc<str>, id: ItemId) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        let was_first = queue.front() == Some(&id);
        if was_first {
            queue.pop_front();
        } else if let Some(place) = queue.iter().position(|other| *other == id) {
            queue.remove(place);
        }
        let next = queue.front().copied();
        if queue.is_empty() {
            self.queues.remove(key);
        }
        if was_first && let Some(next) = next {
            self.move_up(next);
        }
    }

    fn move_up(&mut self, id: ItemId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.ahead -= 1;
        if entry.ahead == 0 && entry.state == State::Waiting {
            self.make_ready(id);
        }
    }

    /// Wakes the items whose time has come.
    pub fn wake(&mut self, now: Time) {
        while let Some(&(at, id)) = self.sleeping.first()
            && at <= now
        {
            self.set_state(id, State::Waiting);
        }
    }

    /// When the next sleeping item wakes.
    pub fn next_wake(&self) -> Option<Time> {
        self.sleeping.first().map(|(at, _)| *at)
    }

    /// Everything that waits behind `id`, directly or through another key, with `id` itself. Items on
    /// their way are part of it.
    pub fn behind(&self, id: ItemId) -> BTreeSet<ItemId> {
        let mut found = BTreeSet::from([id]);
        let mut open = vec![id];
        // Of each key that was looked at: who is where, and from which place on all is found.
        let mut looked: HashMap<&Arc<str>, (HashMap<ItemId, usize>, usize)> = HashMap::new();
        while let Some(id) = open.pop() {
            let Some(entry) = self.entries.get(&id) else { continue };
            for key in &entry.item.keys {
                let Some(queue) = self.queues.get(key) else { continue };
                let (places, from) = looked.entry(key).or_insert_with(|| {
                    let places = queue.iter().enumerate().map(|(place, id)| (*id, place));
                    (places.collect(), queue.len())
                });
                let Some(&place) = places.get(&id) else { continue };
                for &other in queue.range((place + 1).min(*from)..*from) {
                    if found.insert(other) {
                        open.push(other);
                    }
                }
                *from = place.min(*from);
            }
        }
        found
    }

    fn set_state(&mut self, id: ItemId, state: State) {
        self.leave_state(id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.state = state;
        match state {
            State::Waiting if entry.ahead == 0 => self.make_ready(id),
            State::Sleeping(until) => {
                self.sleeping.insert((until, id));
            }
            _ => {}
        }
    }

    fn leave_state(&mut self, id: ItemId) {
        let Some(entry) = self.entries.get(&id) else { return };
        self.ready[entry.traffic as usize].remove(&entry.item);
        if let State::Sleeping(until) = entry.state {
            self.sleeping.remove(&(until, id));
        }
    }

    fn make_ready(&mut self, id: ItemId) {
        if let Some(entry) = self.entries.get(&id) {
            self.ready[entry.traffic as usize].insert(&entry.item);
        }
    }
}
