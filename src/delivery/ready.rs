//! The items of a class that may travel now, in the order of acceptance.
//!
//! Not here: who may ([`super::queues`]).

use std::collections::BTreeSet;

use super::queues::{Item, ItemId};
use crate::journal::Seq;

/// The place of an item among those of its class that may travel: as they were accepted.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Turn {
    seq: Seq,
    /// The item.
    pub id: ItemId,
}

impl From<ItemId> for Turn {
    fn from(id: ItemId) -> Self {
        Self { seq: id.seq, id }
    }
}

/// The items of a class that may travel now.
#[derive(Debug, Default)]
pub struct Ready {
    turns: BTreeSet<Turn>,
    bytes: usize,
}

impl Ready {
    /// The items, in order.
    pub fn turns(&self) -> impl Iterator<Item = ItemId> {
        self.turns.iter().map(|turn| turn.id)
    }

    /// The first of them.
    pub fn first(&self) -> Option<ItemId> {
        self.turns.first().map(|turn| turn.id)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.turns.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an item.
    pub fn insert(&mut self, item: &Item) {
        if self.turns.insert(item.id.into()) {
            self.bytes += item.size();
        }
    }

    /// Takes an item out; answers whether it was there.
    pub fn remove(&mut self, item: &Item) -> bool {
        let was_there = self.turns.remove(&item.id.into());
        self.bytes -= if was_there { item.size() } else { 0 };
        was_there
    }
}
