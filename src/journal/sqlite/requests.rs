//! What the writer is asked to do, and how the answers get back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::record::Record;
use super::shared::{Shared, closed};
use super::{Change, DeadFilter, JournalError, Receipt, Reply, Seq};
use crate::clock::Time;
use crate::spec::Traffic;

/// Where an answer goes. Whoever asked is always told: a request that is dropped unanswered, because
/// the journal was closed before its turn, answers that.
#[derive(Debug)]
pub(super) struct ReplyTo<T>(Option<oneshot::Sender<Result<T, JournalError>>>);

impl<T> ReplyTo<T> {
    /// A place for an answer, and where it can be awaited.
    pub(super) fn new() -> (Self, Reply<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(sender)), receiver)
    }

    /// Answers; nobody may be waiting any more.
    pub(super) fn answer(mut self, result: Result<T, JournalError>) {
        self.send(result);
    }

    fn send(&mut self, result: Result<T, JournalError>) {
        if let Some(sender) = self.0.take() {
            let _ = sender.send(result);
        }
    }
}

impl<T> Drop for ReplyTo<T> {
    fn drop(&mut self) {
        self.send(Err(closed()));
    }
}

/// One request.
#[derive(Debug)]
pub(super) enum Request {
    /// Store these; `receipts` are of those that were stored before.
    Accept {
        records: VecDeque<Record>,
        receipts: Vec<Receipt>,
        room: Room,
        reply: ReplyTo<Vec<Receipt>>,
    },
    /// Apply these.
    Commit { changes: Arc<Vec<Change>>, reply: ReplyTo<()> },
    /// Put dead letters back.
    Redrive(Redrive),
    /// Forget what has expired.
    Maintain { now: Time, reply: ReplyTo<()> },
    /// Stop in good order.
    Close { reply: ReplyTo<()> },
    /// Let a test at the connection.
    #[cfg(test)]
    Inspect(Inspection),
}

/// A redrive that is on its way: it may take many transactions, and others go between.
#[derive(Debug)]
pub(super) struct Redrive {
    pub(super) filter: DeadFilter,
    pub(super) after: Seq,
    /// The last event that was accepted when it began: what dies again is behind it, and is not sent round and
    /// round.
    pub(super) upto: Option<Seq>,
    pub(super) left: usize,
    pub(super) moved: u64,
    pub(super) reply: ReplyTo<u64>,
}

/// What a test does with the writer's connection.
#[cfg(test)]
pub(super) struct Inspection(pub(super) Box<dyn FnOnce(&rusqlite::Connection) + Send>);

#[cfg(test)]
impl std::fmt::Debug for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inspection")
    }
}

impl Request {
    /// How much of a transaction it fills.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Accept { records, .. } => records.len(),
            Self::Commit { changes, .. } => changes.len(),
            Self::Redrive(redrive) => redrive.left,
            _ => 1,
        }
    }

    /// Whether it brings nothing but what can wait: events of a backfill, dead letters.
    pub(super) fn is_old(&self) -> bool {
        match self {
            Self::Accept { room, .. } => room.traffic == Traffic::Backfill,
            Self::Redrive(_) => true,
            _ => false,
        }
    }

    /// Whether it goes into a transaction, with others.
    pub(super) fn is_shareable(&self) -> bool {
        match self {
            Self::Close { .. } => false,
            #[cfg(test)]
            Self::Inspect(_) => false,
            _ => true,
        }
    }

    /// Answers that nothing of it took effect.
    pub(super) fn fail(self, error: JournalError) {
        match self {
            Self::Accept { reply, .. } => reply.answer(Err(error)),
            Self::Redrive(Redrive { reply, moved: 0, .. }) => reply.answer(Err(error)),
            Self::Redrive(Redrive { reply, moved, .. }) => reply.answer(Ok(moved)),
            Self::Commit { reply, .. } | Self::Maintain { reply, .. } | Self::Close { reply } => {
                reply.answer(Err(error))
            }
            #[cfg(test)]
            Self::Inspect(_) => {}
        }
    }
}

/// The room that a waiting batch takes in memory; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    shared: Arc<Shared>,
    traffic: Traffic,
    bytes: usize,
}

impl Room {
    /// Room for these, of `max` bytes for live traffic and a quarter of it for a backfill: each has its
    /// own, so that the one which takes turns cannot take the room of the other. A batch that is alone
    /// always gets it.
    pub(super) fn take(
        shared: &Arc<Shared>,
        records: &VecDeque<Record>,
        max: usize,
    ) -> Result<Self, JournalError> {
        let bytes = records.iter().map(Record::size).sum();
        let is_of_backfill = records.iter().all(|record| record.traffic == Traffic::Backfill);
        let (traffic, max, why) = match is_of_backfill {
            true => (Traffic::Backfill, max / 4, "of a backfill wait for their turn"),
            false => (Traffic::Live, max, "wait to be written: its disk is too slow"),
        };
        let before = shared.waiting_bytes[traffic as usize].fetch_add(bytes, Ordering::Relaxed);
        let room = Self { shared: Arc::clone(shared), traffic, bytes };
        if before > 0 && before.saturating_add(bytes) > max {
            return Err(JournalError::Full(format!("{before} bytes {why}")));
        }
        Ok(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let waiting = &self.shared.waiting_bytes[self.traffic as usize];
        waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An answer that is there at once.
pub(super) fn answered<T>(result: Result<T, JournalError>) -> Reply<T> {
    let (reply, receiver) = ReplyTo::new();
    reply.answer(result);
    receiver
}
