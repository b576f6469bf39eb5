//! The hand-off in memory: what was just committed goes to the reader without a trip over the disk.
//!
//! Decides which part of a queue the reader gets from memory and which from disk, so that it misses
//! nothing and gets nothing twice, however commits and reads interleave. The window holds *every*
//! event of one class between two places in the order. When it is full it stops growing, the reader
//! empties it and takes the rest from disk; as soon as the reader comes for more than the window
//! has, a new window opens behind the last commit and grows while the reader catches up.
//!
//! Not here: the disk itself ([`super::sqlite`]).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Seq, Stored};

/// Where the next events for a reader are.
#[derive(Debug)]
pub(super) enum Next {
    /// Here they are. None: the reader has seen everything.
    Memory(Vec<Stored>),
    /// On disk, behind the reader's place and up to this one; what follows is in memory.
    Disk(Seq),
}

/// The window of one class of traffic.
#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    run: Mutex<Run>,
}

/// Everything with a seq in `(from, end]`, where `end` is the last commit as long as `grows`.
#[derive(Debug)]
struct Run {
    from: Seq,
    committed: Seq,
    grows: bool,
    items: VecDeque<(Stored, usize)>,
    bytes: usize,
}

impl Window {
    /// An empty window of at most `limit` bytes, behind `committed`, the last event on disk.
    pub(super) fn new(committed: Seq, limit: usize) -> Self {
        let items = VecDeque::new();
        let run = Run { from: committed, committed, grows: true, items, bytes: 0 };
        Self { limit, run: Mutex::new(run) }
    }

    /// Takes an event that is now durable. Must be called in the order of acceptance. `shared` is how many
    /// bytes of JSON it brings along that events behind it share.
    pub(super) fn publish(&self, mut stored: Stored, shared: usize) {
        let mut run = self.run();
        run.committed = run.committed.max(stored.seq);
        if !run.grows || stored.seq <= run.from {
            return;
        }
        let cost = memory_cost(&stored) + shared * PARSED;
        if run.bytes + cost > self.limit {
            run.grows = false;
            return;
        }
        run.bytes += cost;
        if let Ok(call) = &mut stored.call {
            call.stand_alone();
        }
        run.items.push_back((stored, cost));
    }

    /// Notes an event that is durable but must be read from disk. When it shares a commit with others,
    /// it comes before them.
    pub(super) fn publish_on_disk(&self, seq: Seq) {
        let mut run = self.run();
        run.committed = run.committed.max(seq);
        run.grows = false;
    }

    /// Where the events behind `after` are; those in memory are taken out.
    pub(super) fn next(&self, after: Seq, max: usize) -> Next {
        let mut run = self.run();
        if after < run.from {
            return Next::Disk(run.from);
        }
        while run.items.front().is_some_and(|(stored, _)| stored.seq <= after) {
            run.pop();
        }
        run.from = after;
        if run.items.is_empty() && !run.grows {
            run.grows = true;
            if after < run.committed {
                run.from = run.committed;
                return Next::Disk(run.from);
            }
        }
        let count = max.min(run.items.len());
        let taken: Vec<Stored> = (0..count).filter_map(|_| run.pop()).collect();
        if let Some(last) = taken.last() {
            run.from = last.seq;
        }
        Next::Memory(taken)
    }

    /// Tells that the disk holds nothing between `last` and `upto`, so that a reader at `last` need
    /// not look there again.
    pub(super) fn nothing_between(&self, last: Seq, upto: Seq) {
        let mut run = self.run();
        if run.from == upto {
            run.from = last;
        }
    }

    /// Drops an event that left the queue before anybody read it here.
    pub(super) fn forget(&self, seq: Seq) {
        let mut run = self.run();
        if let Ok(index) = run.items.binary_search_by_key(&seq, |(stored, _)| stored.seq)
            && let Some((_, cost)) = run.items.remove(index)
        {
            run.bytes -= cost;
        }
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    fn pop(&mut self) -> Option<Stored> {
        let (stored, cost) = self.items.pop_front()?;
        self.bytes -= cost;
        Some(stored)
    }
}

/// Parsed JSON takes so many times the bytes of its text, roughly.
const PARSED: usize = 4;

/// Roughly what an event takes in memory.
fn memory_cost(stored: &Stored) -> usize {
    let body = stored.call.as_ref().map_or(0, |call| call.body.len());
    512 + body
}

#[cfg(test)]
mod tests;
