//! What every journal must do, whatever its engine: one suite, run for each.
//!
//! Not here: what only one engine can show, such as a damaged file ([`super::sqlite`]).

mod law;
mod leaving;
mod memory;
mod taking;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tempfile::TempDir;

use super::sqlite::{SqliteJournal, SqliteOptions};
use super::{
    Accepted, Change, DeadFilter, Deferral, Fact, FactKey, Forget, Gone, Journal, JournalError,
    Opened, Pending, Place, Receipt, RecordedFilter, Reply, Seq, Settlement, Stored, TrailEntry,
    Why,
};
use crate::clock::{ManualClock, Time};
use crate::outcome::{DeadCode, DeadLetter, DropReason, Outcome, Stage};
use crate::spec::{Arrival, RawCall, Replay, Traffic};

/// Where the suite's journals live.
pub(super) enum Engine {
    /// SQLite on disk: survives being opened again.
    Disk(TempDir),
    /// SQLite in memory.
    Memory,
}

/// One of each.
pub(super) fn engines() -> [Engine; 2] {
    [Engine::disk(), Engine::Memory]
}

impl Engine {
    pub(super) fn disk() -> Self {
        Self::Disk(tempfile::tempdir().unwrap())
    }

    pub(super) fn open(&self) -> SqliteJournal {
        self.open_with(SqliteOptions::default())
    }

    /// Opens it, or opens it again.
    pub(super) fn open_with(&self, options: SqliteOptions) -> SqliteJournal {
        self.try_open(options).unwrap()
    }

    pub(super) fn try_open(&self, options: SqliteOptions) -> Result<SqliteJournal, JournalError> {
        let clock = Arc::new(ManualClock::at(at(0)));
        match self {
            Self::Disk(directory) => {
                let options = SqliteOptions {
                    directory: directory.path().into(),
                    ballast_bytes: 0,
                    disk_floor_bytes: 0,
                    ..options
                };
                SqliteJournal::open(options, clock)
            }
            Self::Memory => SqliteJournal::in_memory(options, clock),
        }
    }

    /// The directory, where there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Disk(directory) => Some(directory.path()),
            Self::Memory => None,
        }
    }
}

/// A time of the suite, in seconds.
pub(super) fn at(seconds: u64) -> Time {
    Time::from_secs(1_767_225_600).plus(Duration::from_secs(seconds))
}

/// A live event with this key.
pub(super) fn live(key: u128) -> Accepted {
    accepted(key, None)
}

/// An event of the replay `june` with this key.
pub(super) fn replayed(key: u128) -> Accepted {
    accepted(key, Some(Replay::Flagged { label: Some("june".into()) }))
}

fn accepted(key: u128, replay: Option<Replay>) -> Accepted {
    let arrival =
        Arrival { source: "web".into(), accepted_at: at(1), replay, ..Arrival::default() };
    let body = json!({ "type": "track", "event": "Song Played", "messageId": message_id(key) });
    Accepted { key, call: RawCall::new(arrival, Bytes::from(body.to_string())) }
}

pub(super) fn message_id(key: u128) -> String {
    format!("m-{key}")
}

/// The key of an event that [`live`] or [`replayed`] made.
pub(super) fn key_of(stored: &Stored) -> u128 {
    let mut call = stored.call.clone().unwrap();
    let id = call.fields().unwrap()["messageId"].as_str().unwrap().to_owned();
    id.trim_start_matches("m-").parse().unwrap()
}

pub(super) fn done<T>(reply: Reply<T>) -> T {
    reply.blocking_recv().unwrap().unwrap()
}

pub(super) fn refused<T: std::fmt::Debug>(reply: Reply<T>) -> JournalError {
    reply.blocking_recv().unwrap().unwrap_err()
}

/// Accepts live events with these keys; answers their places.
pub(super) fn accept(journal: &dyn Journal, keys: impl IntoIterator<Item = u128>) -> Vec<Seq> {
    let receipts = done(journal.accept(keys.into_iter().map(live).collect()));
    receipts
        .into_iter()
        .map(|receipt| match receipt {
            Receipt::First(seq) => seq,
            Receipt::Duplicate => panic!("a duplicate"),
        })
        .collect()
}

/// The keys of all events in a queue, in order.
pub(super) fn queued(journal: &dyn Journal, traffic: Traffic) -> Vec<u128> {
    let mut keys = Vec::new();
    let mut after = None;
    loop {
        let page = journal.read(traffic, after, 3).unwrap();
        let Some(last) = page.last() else { return keys };
        after = Some(last.seq);
        keys.extend(page.iter().map(key_of));
    }
}

/// The end of an event in the live queue.
pub(super) fn settlement(seq: Seq, outcome: Outcome) -> Settlement {
    let trail = TrailEntry {
        at: at(10),
        source: "web".into(),
        message_id: format!("s-{}", seq.0),
        event: "track Song Played".into(),
        outcome: outcome.label().into(),
        reason: outcome.reason().into(),
        bundle: "b1".into(),
        ..TrailEntry::default()
    };
    let place = Place::Queue(Traffic::Live);
    Settlement { seq, place, outcome, done: Vec::new(), facts: Vec::new(), trail }
}

pub(super) fn settle(journal: &dyn Journal, end: Settlement) {
    done(journal.commit(vec![Change::Settle(end)].into()));
}

pub(super) fn deliver(journal: &dyn Journal, seq: Seq) {
    settle(journal, settlement(seq, Outcome::Delivered));
}

pub(super) fn dropped() -> Outcome {
    Outcome::Dropped(DropReason::OptedOut)
}

pub(super) fn died(code: DeadCode) -> Outcome {
    Outcome::DeadLettered(DeadLetter::new(code, Stage::Transform, "it went wrong"))
}

/// A live event that is taken up again at `due`.
pub(super) fn deferral(seq: Seq, why: Why, due: Time) -> Deferral {
    Deferral {
        seq,
        place: Place::Queue(Traffic::Live),
        why,
        due,
        keys: Vec::new(),
        attempts: super::Attempts::default(),
        status: None,
        error: None,
        facts: Vec::new(),
    }
}

pub(super) fn defer(journal: &dyn Journal, deferral: Deferral) {
    done(journal.commit(vec![Change::Defer(deferral)].into()));
}

/// How often something was counted, over all sources and reasons.
pub(super) fn counted(journal: &dyn Journal, outcome: &str) -> u64 {
    let totals = journal.totals();
    totals.iter().filter(|total| total.outcome == outcome).map(|total| total.count).sum()
}
