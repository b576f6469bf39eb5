//! The journal in one SQLite file: durable, ordered, for one process.
//!
//! One thread writes (`writer`) and one copies behind it (`checkpoint`), two connections read: one for
//! the path of events, one for people's questions. A request to write becomes part of a transaction and is answered after its commit; what
//! was committed goes to the reader through memory (`journal::window`).
//!
//! | module | what is in it |
//! |---|---|
//! | `line`, `writer`, `transaction` | which requests share a commit; the commits; what each does in one |
//! | `queues`, `settle` | events in, events out |
//! | `seen` | deduplication |
//! | `dead`, `trail`, `counters` | dead letters, what happened to whom, the conservation law |
//! | `mark`, `suspicion` | what stands beside the file for the next start |
//! | `recorded`, `gone` | originals that are kept for a while; people who are not |
//! | `space`, `upkeep`, `checkpoint` | limits and a full disk; forgetting; from the log into the file |
//! | `schema`, `record` | the file; one event in it |

mod base;
mod checkpoint;
mod counters;
mod dead;
mod draft;
mod gone;
mod line;
mod mark;
mod options;
mod queues;
mod record;
mod recorded;
mod requests;
mod schema;
mod seen;
mod settle;
mod shared;
mod space;
mod suspicion;
mod trail;
mod transaction;
mod trouble;
mod upkeep;
mod writer;

use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::Connection;

pub use self::base::Base;
pub use self::options::SqliteOptions;

use self::counters::{Counters, State};
use self::line::Line;
use self::mark::Mark;
use self::record::Record;
use self::requests::{Redrive, ReplyTo, Request, Room, answered};
use self::seen::Seen;
use self::shared::{Shared, locked, with};
use self::space::Space;
use self::suspicion::Suspicion;
use self::trouble::Trouble;
use self::upkeep::Sweep;
use self::writer::Writer;
use super::window::{Next, Window};
use super::{
    Accepted, Attempts, Change, DeadFilter, DeadRow, Deferral, Fact, FactKey, Forget, Gone, Hasten,
    Journal, JournalError, JournalHealth, Opened, Pending, Place, Receipt, RecordedFilter,
    RecordedRow, Release, Reply, Seq, Settlement, Stored, Total, TrailEntry, Waiting, Why,
};
use crate::clock::{Clock, Time};
use crate::spec::Traffic;

/// The stack of the writing thread: SQLite needs little, dropping deep JSON a bit more.
const WRITER_STACK: usize = 4 << 20;

/// The journal of one process. Dropping it without [`Journal::close`] is like a crash, except that it
/// waits for the requests that were made.
#[derive(Debug)]
pub struct SqliteJournal {
    shared: Arc<Shared>,
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
    opened: Opened,
    suspicion: Suspicion,
    max_waiting_bytes: usize,
}

impl SqliteJournal {
    /// Opens the journal in `options.directory`, and makes it if it is not there. Fails when another
    /// process has it, when it is of a newer version, or when the disk does not answer.
    pub fn open(options: SqliteOptions, clock: Arc<dyn Clock>) -> Result<Self, JournalError> {
        let lock = schema::lock(&options.directory)?;
        let path = options.directory.join("journal.db");
        let mut writing = schema::open_writer(&path)?;
        checkpoint::install(&path, &mut writing)?;
        let connections =
            [writing, schema::open_reader(&path)?, schema::open_reader(&path)?].map(database);
        Self::start(connections, Some(lock), options, clock)
    }

    /// A journal that is gone when it is dropped; the same code without files. The directory and the
    /// limits of the disk are not looked at.
    pub fn in_memory(options: SqliteOptions, clock: Arc<dyn Clock>) -> Result<Self, JournalError> {
        let connection = database(schema::open_in_memory()?);
        let connections = [Arc::clone(&connection), Arc::clone(&connection), connection];
        Self::start(connections, None, options, clock)
    }

    fn start(
        connections: [shared::Database; 3],
        lock: Option<File>,
        options: SqliteOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, JournalError> {
        let [writing, reading, asking] = connections;
        let space = Space::new(&options, lock.is_some());
        space.restore_ballast();
        let max_waiting_bytes = options.max_waiting_bytes;
        let directory = lock.is_some().then_some(options.directory.as_path());
        let suspicion = Suspicion::open(directory)?;
        let mut mark = Mark::open(directory)?;
        let noted = (suspicion.noted(), &mark);
        let found = with(&writing, |connection| Found::read(connection, &options, noted))?;
        if !options.keep_stop_note {
            suspicion.note(None)?;
            mark.begin(found.state.last_seq);
        }
        let shared = Arc::new(Shared {
            writing,
            reading,
            asking,
            counters: Mutex::new(found.counters),
            live: Window::new(found.last_live, options.window_bytes),
            backfill: Window::new(found.last_backfill, options.window_bytes),
            taken: Mutex::new(HashSet::new()),
            wakes: Mutex::new(Vec::new()),
            space,
            failing: Mutex::new(None),
            unreadable: Mutex::new(None),
            untidy: Mutex::new(None),
            used_bytes: AtomicU64::new(found.used_bytes),
            waiting_bytes: Default::default(),
            corrupt_records: AtomicU64::new(0),
            base: options.base.clone(),
        });
        let (requests, receiver) = mpsc::channel();
        let writer = Writer {
            line: Line::new(receiver),
            shared: Arc::clone(&shared),
            options,
            clock,
            seen: found.seen,
            state: found.state,
            sweep: Sweep::default(),
            mark,
            lock,
            tidies: true,
        };
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .stack_size(WRITER_STACK)
            .spawn(move || writer.run())
            .map_err(|error| JournalError::Failed(format!("no thread to write: {error}")))?;
        let (requests, thread) = (Some(requests), Some(thread));
        let opened = found.opened;
        Ok(Self { shared, requests, thread, opened, suspicion, max_waiting_bytes })
    }

    fn ask<T>(&self, request: impl FnOnce(ReplyTo<T>) -> Request) -> Reply<T> {
        let (reply, receiver) = ReplyTo::new();
        let request = request(reply);
        if let Some(requests) = &self.requests {
            // One that cannot be sent is dropped, and so answered.
            let _ = requests.send(request);
        }
        receiver
    }

    fn count_damaged(&self, events: &[Stored]) {
        let damaged = events.iter().filter(|stored| stored.call.is_err()).count();
        if damaged > 0 {
            let damaged = u64::try_from(damaged).unwrap_or(u64::MAX);
            self.shared.corrupt_records.fetch_add(damaged, Ordering::Relaxed);
        }
    }
}

impl Journal for SqliteJournal {
    fn accept(&self, batch: Vec<Accepted>) -> Reply<Vec<Receipt>> {
        let ready = Record::all_of(batch).and_then(|records| {
            let room = Room::take(&self.shared, &records, self.max_waiting_bytes)?;
            Ok((records, room))
        });
        match ready {
            Ok((records, _)) if records.is_empty() => answered(Ok(Vec::new())),
            Ok((records, room)) => self.ask(|reply| {
                let receipts = Vec::with_capacity(records.len());
                Request::Accept { records, receipts, room, reply }
            }),
            Err(error) => answered(Err(error)),
        }
    }

    fn on_accepted(&self, wake: Box<dyn Fn() + Send + Sync>) {
        locked(&self.shared.wakes).push(wake);
    }

    fn read(
        &self,
        traffic: Traffic,
        after: Option<Seq>,
        max: usize,
    ) -> Result<Vec<Stored>, JournalError> {
        let window = self.shared.window(traffic);
        let mut after = after.unwrap_or(Seq(0));
        loop {
            let upto = match window.next(after, max) {
                Next::Memory(events) => {
                    // In memory nothing would fail: the end must be noticed all the same.
                    return with(&self.shared.reading, |_| Ok(events));
                }
                Next::Disk(upto) => upto,
            };
            let page = self.shared.noting(with(&self.shared.reading, |connection| {
                queues::read(connection, traffic, (after, upto), max)
            }))?;
            self.shared.corrupt_records.fetch_add(page.strays, Ordering::Relaxed);
            let Some(last) = page.rows.last() else {
                if !page.complete {
                    return Ok(Vec::new());
                }
                after = upto;
                continue;
            };
            if page.complete {
                window.nothing_between(last.seq, upto);
            }
            self.count_damaged(&page.rows);
            return Ok(page.rows);
        }
    }

    fn take_due(&self, now: Time, max: usize) -> Result<Vec<Stored>, JournalError> {
        // Held all the while: an event that is deferred anew meanwhile must not be given again.
        let mut taken = locked(&self.shared.taken);
        let events = self.shared.noting(with(&self.shared.reading, |connection| {
            queues::read_due(connection, now, &taken, max)
        }))?;
        taken.extend(events.iter().map(|stored| stored.seq));
        drop(taken);
        self.count_damaged(&events);
        Ok(events)
    }

    fn take(&self, seq: Seq) -> bool {
        locked(&self.shared.taken).insert(seq)
    }

    fn give_back(&self, seqs: &[Seq]) {
        let mut taken = locked(&self.shared.taken);
        for seq in seqs {
            taken.remove(seq);
        }
    }

    fn next_due(&self) -> Result<Option<Time>, JournalError> {
        let taken = locked(&self.shared.taken);
        with(&self.shared.reading, |connection| queues::next_due(connection, &taken))
    }

    fn blocked_keys(&self) -> Result<Vec<(String, Seq)>, JournalError> {
        with(&self.shared.reading, queues::blocked_keys)
    }

    fn load(&self, keys: &[FactKey], now: Time) -> Result<Vec<Option<Fact>>, JournalError> {
        let mut found =
            with(&self.shared.reading, |connection| queues::load(connection, keys, now))?;
        if let Some(base) = &self.shared.base {
            for (fact, below) in found.iter_mut().zip(base.load(keys, now)?) {
                *fact = fact.take().or(below);
            }
        }
        Ok(found)
    }

    fn commit(&self, changes: Arc<Vec<Change>>) -> Reply<()> {
        if changes.is_empty() {
            return answered(Ok(()));
        }
        self.ask(|reply| Request::Commit { changes, reply })
    }

    fn totals(&self) -> Vec<Total> {
        locked(&self.shared.counters).totals()
    }

    fn pending(&self) -> Pending {
        locked(&self.shared.counters).pending()
    }

    fn balance(&self) -> (Vec<Total>, Pending) {
        let counters = locked(&self.shared.counters);
        (counters.totals(), counters.pending())
    }

    fn dead(
        &self,
        filter: &DeadFilter,
        after: Option<Seq>,
        max: usize,
    ) -> Result<Vec<DeadRow>, JournalError> {
        let after = after.unwrap_or(Seq(0));
        with(&self.shared.asking, |connection| {
            Ok(dead::list(connection, filter, (after, queues::LAST), max)?.rows)
        })
    }

    fn recorded(
        &self,
        filter: &RecordedFilter,
        after: Option<u64>,
        max: usize,
    ) -> Result<Vec<RecordedRow>, JournalError> {
        with(&self.shared.asking, |connection| {
            recorded::list(connection, filter, after.unwrap_or(0), max)
        })
    }

    fn waiting(
        &self,
        place: Place,
        after: Option<Seq>,
        max: usize,
    ) -> Result<Vec<Waiting>, JournalError> {
        let after = after.unwrap_or(Seq(0));
        with(&self.shared.asking, |connection| queues::waiting(connection, place, after, max))
    }

    fn gone(&self) -> Result<Vec<Gone>, JournalError> {
        let mut gone = with(&self.shared.asking, gone::list)?;
        if let Some(base) = &self.shared.base {
            gone.append(&mut base.gone()?);
        }
        Ok(gone)
    }

    fn redrive(&self, filter: &DeadFilter, max: usize) -> Reply<u64> {
        let filter = filter.clone();
        self.ask(|reply| {
            let after = filter.seq.map_or(Seq(0), |seq| Seq(seq.0.saturating_sub(1)));
            let upto = filter.seq;
            Request::Redrive(Redrive { filter, after, upto, left: max, moved: 0, reply })
        })
    }

    fn trail(&self, needle: &str, max: usize) -> Result<Vec<TrailEntry>, JournalError> {
        with(&self.shared.asking, |connection| trail::search(connection, needle, max))
    }

    fn opened(&self) -> Opened {
        self.opened
    }

    fn note_trying(&self, seq: Option<Seq>) -> Result<(), JournalError> {
        self.suspicion.note(seq)
    }

    fn maintain(&self, now: Time) -> Reply<()> {
        self.ask(|reply| Request::Maintain { now, reply })
    }

    fn health(&self) -> JournalHealth {
        let shared = &self.shared;
        let used = shared.used_bytes.load(Ordering::Relaxed);
        let closed = locked(&shared.reading).is_none()
            || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        let full = closed
            .then(|| "it is closed".to_owned())
            .or_else(|| locked(&shared.failing).clone())
            .or_else(|| shared.space.refusal(self.pending().total(), 1, used));
        JournalHealth {
            full,
            disk_free_bytes: shared.space.free(),
            size_bytes: shared.space.files_size().unwrap_or(used),
            corrupt_records: shared.corrupt_records.load(Ordering::Relaxed),
            missing_events: self.opened.missing,
            unreadable: locked(&shared.unreadable).clone(),
            untidy: locked(&shared.untidy).clone(),
            oldest_pending: with(&shared.reading, queues::oldest).ok().flatten(),
            oldest_retry: with(&shared.reading, queues::oldest_retry).ok().flatten(),
        }
    }

    fn close(&self) -> Reply<()> {
        self.ask(|reply| Request::Close { reply })
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            // A callback on the writer's own thread may hold the last reference.
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// What a file holds when it is opened.
struct Found {
    state: State,
    counters: Counters,
    seen: Seen,
    opened: Opened,
    last_live: Seq,
    last_backfill: Seq,
    used_bytes: u64,
}

impl Found {
    /// Reads it, and notes that from now on somebody is at work. Beside the file stood which event was
    /// tried, and how far the journal had come.
    fn read(
        connection: &Connection,
        options: &SqliteOptions,
        (trying, mark): (Option<Seq>, &Mark),
    ) -> Result<Self, Trouble> {
        let state = State::load(connection)?;
        let stopped = schema::meta(connection, "stopped")?;
        let opened = Opened {
            // A new file has no note: nothing went down with it.
            clean: stopped.is_none_or(|how| how == "clean"),
            trying,
            tried: suspicion::times(connection, options, trying)?,
            pending: state.pending,
            missing: mark.missing(state.last_seq),
        };
        if !options.keep_stop_note {
            schema::set_meta(connection, "stopped", Some("running"))?;
        }
        // The end of a queue whose last page is damaged may look like its beginning.
        let last =
            |traffic| Ok::<_, Trouble>(queues::last(connection, traffic)?.max(Seq(state.last_seq)));
        Ok(Self {
            state,
            counters: Counters::load(connection, state.pending)?,
            seen: Seen::load(connection, options.dedupe_window, options.dedupe_max_keys)?,
            opened,
            last_live: last(Traffic::Live)?,
            last_backfill: last(Traffic::Backfill)?,
            used_bytes: upkeep::used_bytes(connection)?,
        })
    }
}

fn database(connection: Connection) -> shared::Database {
    Arc::new(Mutex::new(Some(connection)))
}

#[cfg(test)]
mod tests;
