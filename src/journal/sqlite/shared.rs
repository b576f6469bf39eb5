//! What the writer and the readers of one journal have in common.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::Base;
use super::counters::Counters;
use super::space::Space;
use super::trouble::Trouble;
use super::{JournalError, Seq};
use crate::journal::window::Window;
use crate::spec::Traffic;

/// A connection; `None` once the journal is closed. On disk each has its own database connection; in
/// memory all are the same one, which the lock then shares out.
pub(super) type Database = Arc<Mutex<Option<Connection>>>;

/// Called when events were added to a queue.
pub(super) type Wake = Box<dyn Fn() + Send + Sync>;

/// Everything that more than one thread touches. No two of its locks are held by the writer at once.
pub(super) struct Shared {
    /// For the writer.
    pub(super) writing: Database,
    /// For the path of events.
    pub(super) reading: Database,
    /// For people's questions, which may take long.
    pub(super) asking: Database,
    pub(super) counters: Mutex<Counters>,
    pub(super) live: Window,
    pub(super) backfill: Window,
    /// Deferred events that were taken and not yet settled or deferred anew.
    pub(super) taken: Mutex<HashSet<Seq>>,
    pub(super) wakes: Mutex<Vec<Wake>>,
    pub(super) space: Space,
    /// What the last transaction failed with, if for lack of room, or if it was to take events.
    pub(super) failing: Mutex<Option<String>>,
    /// What the last look at the queues failed with, if it failed.
    pub(super) unreadable: Mutex<Option<String>>,
    /// What could not be forgotten at the last try, if anything.
    pub(super) untidy: Mutex<Option<String>>,
    pub(super) used_bytes: AtomicU64,
    /// Of batches that wait for their commit, by class.
    pub(super) waiting_bytes: [AtomicUsize; 2],
    pub(super) corrupt_records: AtomicU64,
    /// The journal that this one is laid over.
    pub(super) base: Option<Arc<Base>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Remembers how a look at the queues ended, for an operator.
    pub(super) fn noting<T>(&self, read: Result<T, JournalError>) -> Result<T, JournalError> {
        *locked(&self.unreadable) = read.as_ref().err().map(ToString::to_string);
        read
    }

    /// Remembers what could not be forgotten, for an operator.
    pub(super) fn note_untidy(&self, failed: &[String]) {
        let failed = Some(failed.join("; ")).filter(|failed| !failed.is_empty());
        let mut untidy = locked(&self.untidy);
        if let Some(why) = failed.as_ref().filter(|_| *untidy != failed) {
            tracing::warn!(why, "journal: some of what has expired cannot be forgotten");
        }
        *untidy = failed;
    }

    /// The window of a class.
    pub(super) fn window(&self, traffic: Traffic) -> &Window {
        match traffic {
            Traffic::Live => &self.live,
            Traffic::Backfill => &self.backfill,
        }
    }
}

/// Runs `read` on a connection.
pub(super) fn with<T>(
    database: &Database,
    read: impl FnOnce(&Connection) -> Result<T, Trouble>,
) -> Result<T, JournalError> {
    match locked(database).as_ref() {
        Some(connection) => Ok(read(connection)?),
        None => Err(closed()),
    }
}

/// What everybody is told after the end.
pub(super) fn closed() -> JournalError {
    JournalError::Failed("it is closed".into())
}

/// A lock, also after a panic elsewhere: what it guards is changed in single steps.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
