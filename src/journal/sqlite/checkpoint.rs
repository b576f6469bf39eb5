//! Copies the log into the file, beside the commits and not between them.
//!
//! What is committed stands in SQLite's log first, and is copied into the file when that has grown (a
//! checkpoint). With some 10,000 pages this takes tens of milliseconds, and whoever commits would do it
//! while senders wait for their 200. So a thread of its own copies while commits go on. Only who writes
//! can begin the log anew, and only when nothing is left to copy: that is little then, and the writer
//! does it.
//!
//! Not here: what is committed, and when ([`super::writer`]).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::JournalError;
use super::schema;
use super::trouble::Trouble;

/// So many pages of 4 KiB are copied at a time: most are written again and again, and are copied once.
const PAGES: i32 = 12_000;
/// How often the thread copies: the second time what came during the first.
const ROUNDS: usize = 2;

/// Lets a thread copy what `writing` commits into the file at `path`. It ends with that connection.
pub(super) fn install(path: &Path, writing: &mut Connection) -> Result<(), JournalError> {
    let copier = Copier::start(schema::open_copier(path)?)?;
    let mut turns = Turns::default();
    let hook = move |log: &mut Wal, pages: i32| {
        let is_copied = copier.is_done.swap(false, Ordering::AcqRel);
        match turns.next(pages, is_copied) {
            Turn::Go => {}
            Turn::Copy => copier.ask(),
            Turn::Finish => {
                if let Err(error) = log.checkpoint() {
                    tracing::warn!(%error, "journal: the log was not copied to its end");
                }
            }
        }
        // The commit has succeeded, whatever becomes of the copy.
        Ok(())
    };
    writing.wal_hook(Some(hook)).map_err(Trouble::from)?;
    Ok(())
}

/// The thread.
struct Copier {
    /// It ends when this is gone.
    asks: Option<SyncSender<()>>,
    is_done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Copier {
    fn start(connection: Connection) -> Result<Self, JournalError> {
        let (asks, asked) = mpsc::sync_channel(1);
        let is_done = Arc::<AtomicBool>::default();
        let done = Arc::clone(&is_done);
        let thread = std::thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || copy(&connection, &asked, &done))
            .map_err(|error| JournalError::Failed(format!("no thread to copy: {error}")))?;
        Ok(Self { asks: Some(asks), is_done, thread: Some(thread) })
    }

    /// Asks it to copy. Where it is gone, all is left to the writer.
    fn ask(&self) {
        if self.asks.as_ref().is_none_or(|asks| asks.try_send(()).is_err()) {
            self.is_done.store(true, Ordering::Release);
        }
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.asks.take();
        if let Some(thread) = self.thread.take() {
            // What it could not copy, whoever opens the file next reads from the log.
            drop(thread.join());
        }
    }
}

fn copy(connection: &Connection, asked: &Receiver<()>, done: &AtomicBool) {
    while asked.recv().is_ok() {
        for _ in 0..ROUNDS {
            let copied = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            if let Err(error) = copied {
                tracing::warn!(%error, "journal: the log was not copied");
                break;
            }
        }
        done.store(true, Ordering::Release);
    }
}

/// What is to be done after a commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    /// Nothing.
    Go,
    /// The thread copies.
    Copy,
    /// The writer copies what is left.
    Finish,
}

/// Whose turn it is, by how long the log is.
#[derive(Debug)]
struct Turns {
    /// At so many pages the thread is asked.
    next: i32,
    last: i32,
    is_asked: bool,
}

impl Default for Turns {
    fn default() -> Self {
        Self { next: PAGES, last: 0, is_asked: false }
    }
}

impl Turns {
    /// After a commit with which the log has so many pages.
    fn next(&mut self, pages: i32, is_copied: bool) -> Turn {
        if pages < self.last {
            // It was begun anew.
            self.next = PAGES;
        }
        self.last = pages;
        match self.is_asked {
            true if is_copied => {
                // Where somebody still reads it, the log goes on; then it is copied again later.
                self.is_asked = false;
                self.next = pages.saturating_add(PAGES);
                Turn::Finish
            }
            false if pages >= self.next => {
                self.is_asked = true;
                Turn::Copy
            }
            _ => Turn::Go,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_copies_most_and_the_writer_the_rest() {
        let mut turns = Turns::default();
        let mut after = |pages, is_copied| turns.next(pages, is_copied);
        assert_eq!(after(PAGES - 1, false), Turn::Go);
        assert_eq!(after(PAGES, false), Turn::Copy);
        assert_eq!(after(PAGES + 50, false), Turn::Go, "it is at work");
        assert_eq!(after(PAGES + 90, true), Turn::Finish);
        assert_eq!(after(10, false), Turn::Go, "the log was begun anew");
        assert_eq!(after(PAGES, false), Turn::Copy);
        assert_eq!(after(PAGES + 90, true), Turn::Finish);
        assert_eq!(after(PAGES + 99, false), Turn::Go, "somebody reads the old log");
        assert_eq!(after(PAGES * 2 + 90, false), Turn::Copy);
    }

    #[test]
    fn the_log_does_not_grow_while_much_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let mut writing = schema::open_writer(&path).unwrap();
        install(&path, &mut writing).unwrap();
        // 100 MB in transactions of 100 kB.
        for row in 0..1000 {
            let sql = "INSERT INTO live VALUES (?1, 0, 0, '', zeroblob(100000), NULL)";
            writing.execute(sql, [row]).unwrap();
        }
        let log = path.with_extension("db-wal");
        let size = std::fs::metadata(&log).unwrap().len();
        assert!(size < 80 << 20, "{size} bytes");
        drop(writing);
        assert!(!log.exists(), "whoever goes last copies the rest");
    }
}
