//! How much the journal keeps, and for how long.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Base;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How much a journal keeps, and for how long. What can be configured has its default from here.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Where its files are. Default: `data`.
    pub directory: PathBuf,
    /// How long a deduplication key is kept at least. Default: 7 days.
    pub dedupe_window: Duration,
    /// How many deduplication keys are kept at most; beyond it the oldest go early. One takes 16 bytes
    /// on disk and 1.5 in memory. Default: 50 million.
    pub dedupe_max_keys: usize,
    /// How many bytes of events wait in memory for processing, for each class of traffic; the rest
    /// waits on disk. Default: 8 MiB.
    pub window_bytes: usize,
    /// How many bytes of accepted batches may wait for their commit; beyond it batches are refused. Those
    /// of a backfill have a quarter of it, besides. Default: 64 MiB.
    pub max_waiting_bytes: usize,
    /// How many events may be pending; beyond it batches are refused. Default: 20 million.
    pub max_pending_rows: u64,
    /// How many bytes of data the file may hold; beyond it batches are refused. Default: 50 GiB.
    pub max_bytes: u64,
    /// How many bytes must stay free on the disk; below it batches are refused. Default: 256 MiB.
    pub disk_floor_bytes: u64,
    /// The size of the reserve that is given up when the disk is full all the same. Default: 16 MiB.
    pub ballast_bytes: u64,
    /// How long the trail is kept. Default: 30 days.
    pub trail_keep: Duration,
    /// How many events the trail remembers at most, about 250 bytes each. Default: 5 million.
    pub trail_max_entries: u64,
    /// How many facts are kept at most: who is who, and business keys; beyond it those that would end
    /// first go early. Default: 20 million.
    pub max_facts: u64,
    /// How long dead letters are kept. Default: 30 days.
    pub dead_keep: Duration,
    /// How long the originals of events that were delivered or dropped are kept. Default: zero, that is
    /// not at all.
    pub record_keep: Duration,
    /// How many originals are kept at most; beyond it the oldest go early. Default: 1 million.
    pub record_max: u64,
    /// Leave the note of how the last process stopped as it is. For commands that only look or repair:
    /// the next server must still learn that the last one went down. Default: off.
    pub keep_stop_note: bool,
    /// Another journal that this one is laid over: what it knows of messages, facts and people who are
    /// gone is known here too, as long as nothing newer is. For plans. Default: none.
    pub base: Option<Arc<Base>>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            directory: "data".into(),
            dedupe_window: 7 * DAY,
            dedupe_max_keys: 50_000_000,
            window_bytes: 8 << 20,
            max_waiting_bytes: 64 << 20,
            max_pending_rows: 20_000_000,
            max_bytes: 50 << 30,
            disk_floor_bytes: 256 << 20,
            ballast_bytes: 16 << 20,
            trail_keep: 30 * DAY,
            trail_max_entries: 5_000_000,
            max_facts: 20_000_000,
            dead_keep: 30 * DAY,
            record_keep: Duration::ZERO,
            record_max: 1_000_000,
            keep_stop_note: false,
            base: None,
        }
    }
}
