//! Deduplication: has this key been accepted before?
//!
//! The answer is exact: a key counts as new only when it is in none of the buckets. Keys are random,
//! and random keys put straight into a table dirty a page each; so they are appended to a log, kept
//! in memory while their bucket is open, and merged, sorted, into a table of their own in small
//! slices once it is full or a while has passed. A sealed bucket is asked only when its filter (in
//! memory) says "perhaps", and expires as a whole by dropping its table.
//!
//! Bounded in memory (one open bucket, one in the making, 12 bits for each sealed key) and on disk
//! (`max_keys`: beyond it the oldest bucket goes before its time).
//!
//! Not here: how a key is made ([`crate::spec::Fingerprint`]).

mod filter;
mod sealed;

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::Connection;

use self::filter::Filter;
use self::sealed::Sealed;
use super::trouble::Trouble;
use crate::clock::Time;

/// At most this many keys are in the open bucket.
const BUCKET: usize = 1 << 19;

/// At most this many keys are merged, or rows of the log removed, in one transaction.
const SLICE: usize = 4000;

/// All known keys. Memory is changed only by a transaction that succeeded, except for the keys that
/// [`Seen::first_sight`] takes in: a failed one gives them to [`Seen::undo`].
#[derive(Debug)]
pub(super) struct Seen {
    window: Duration,
    max_keys: usize,
    open: Open,
    merging: Option<Merge>,
    sealed: Vec<Sealed>,
    /// The log holds rows of sealed buckets up to this one.
    trim: Option<i64>,
}

/// The bucket that takes new keys.
#[derive(Debug)]
struct Open {
    id: i64,
    since: Option<Time>,
    last: Time,
    keys: HashSet<u128>,
}

/// A bucket on its way from the log into its table.
#[derive(Debug)]
struct Merge {
    id: i64,
    last: Time,
    keys: Vec<u128>,
    filter: Filter,
    written: usize,
}

/// What a transaction did to the buckets, to be told to [`Seen::stepped`] when it succeeded.
#[derive(Debug)]
pub(super) enum Step {
    /// The bucket in the making is written up to here.
    Merged(usize),
    /// It is written completely.
    Sealed,
    /// The log has no more rows of sealed buckets.
    Trimmed,
    /// The oldest sealed bucket is gone.
    Expired,
}

impl Seen {
    /// Reads what the file knows. `window` is how long keys are kept at least.
    pub(super) fn load(
        connection: &Connection,
        window: Duration,
        max_keys: usize,
    ) -> Result<Self, Trouble> {
        let sealed = sealed::load(connection)?;
        let newest = sealed.last().map_or(0, |bucket| bucket.id);
        let trim = sealed.last().map(|bucket| bucket.id);
        let open =
            Open { id: newest + 1, since: None, last: Time::default(), keys: HashSet::new() };
        let mut seen = Self { window, max_keys, open, merging: None, sealed, trim };
        seen.replay_log(connection, newest)?;
        Ok(seen)
    }

    /// Whether the key is new; from now on it is not.
    pub(super) fn first_sight(
        &mut self,
        connection: &Connection,
        key: u128,
    ) -> Result<bool, Trouble> {
        Ok(!self.knows(connection, key)? && self.open.keys.insert(key))
    }

    /// Whether the key was seen before.
    pub(super) fn knows(&self, connection: &Connection, key: u128) -> Result<bool, Trouble> {
        if self.open.keys.contains(&key) {
            return Ok(true);
        }
        if let Some(merging) = &self.merging
            && merging.keys.binary_search(&key).is_ok()
        {
            return Ok(true);
        }
        for bucket in self.sealed.iter().rev() {
            if bucket.contains(connection, key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes keys back whose transaction failed.
    pub(super) fn undo(&mut self, keys: &[u128]) {
        for key in keys {
            self.open.keys.remove(key);
        }
    }

    /// Writes new keys to the log: after this commit they are known for good.
    pub(super) fn log(
        &self,
        connection: &Connection,
        keys: &[u128],
        at: Time,
    ) -> Result<(), Trouble> {
        let bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_be_bytes()).collect();
        connection
            .prepare_cached("INSERT INTO seen_log(bucket, at, keys) VALUES (?1, ?2, ?3)")?
            .execute((self.open.id, at.millis(), bytes))?;
        Ok(())
    }

    /// Notes that keys were logged at `at`, and closes the open bucket when it is full or has been
    /// open long enough.
    pub(super) fn logged(&mut self, at: Time) {
        self.open.since.get_or_insert(at);
        self.open.last = self.open.last.max(at);
        self.seal(at);
    }

    /// Closes the open bucket when it is full, or when it has been open for a small part of the
    /// window. Only memory changes: the log knows which key is in which bucket.
    pub(super) fn seal(&mut self, now: Time) {
        let Some(since) = self.open.since else { return };
        let full = self.open.keys.len() >= BUCKET.min(self.max_keys / 32).max(1);
        let old = now.since(since) >= self.window / 28;
        if self.merging.is_some() || !(full || old) {
            return;
        }
        let next =
            Open { id: self.open.id + 1, since: None, last: self.open.last, keys: HashSet::new() };
        let done = std::mem::replace(&mut self.open, next);
        self.merging = Some(Merge::new(done.id, done.last, done.keys.into_iter().collect()));
    }

    /// Does a little of what is to be done, if anything: at most one slice.
    pub(super) fn step(&self, connection: &Connection) -> Result<Option<Step>, Trouble> {
        if let Some(merging) = &self.merging {
            return merging.step(connection).map(Some);
        }
        if let Some(bucket) = self.trim {
            return Ok(trim(connection, bucket)?.then_some(Step::Trimmed));
        }
        let sealed: usize = self.sealed.iter().map(|bucket| bucket.count).sum();
        if sealed + self.open.keys.len() > self.max_keys
            && let Some(oldest) = self.sealed.first()
        {
            oldest.remove(connection)?;
            return Ok(Some(Step::Expired));
        }
        Ok(None)
    }

    /// Drops the oldest bucket when all of its keys are older than the window.
    pub(super) fn expire(
        &self,
        connection: &Connection,
        now: Time,
    ) -> Result<Option<Step>, Trouble> {
        match self.sealed.first() {
            Some(oldest) if now.since(oldest.last) > self.window => {
                oldest.remove(connection)?;
                Ok(Some(Step::Expired))
            }
            _ => Ok(None),
        }
    }

    /// Takes over what a successful transaction did.
    pub(super) fn stepped(&mut self, step: Step) {
        match step {
            Step::Merged(written) => {
                if let Some(merging) = &mut self.merging {
                    merging.written = written;
                }
            }
            Step::Sealed => {
                if let Some(done) = self.merging.take() {
                    self.trim = Some(done.id);
                    self.sealed.push(Sealed {
                        id: done.id,
                        last: done.last,
                        count: done.keys.len(),
                        filter: done.filter,
                    });
                }
            }
            Step::Trimmed => self.trim = None,
            Step::Expired => {
                self.sealed.remove(0);
            }
        }
    }

    /// Reads the keys of the buckets that are not sealed. The newest of these is open; the others
    /// were in the making and start again.
    fn replay_log(&mut self, connection: &Connection, newest: i64) -> Result<(), Trouble> {
        let mut select = connection
            .prepare("SELECT bucket, at, keys FROM seen_log WHERE bucket > ?1 ORDER BY id")?;
        let mut rows = select.query([newest])?;
        let mut unmerged = Vec::new();
        let mut last = Time::default();
        while let Some(row) = rows.next()? {
            let bucket: i64 = row.get(0)?;
            let at = Time::from_millis(row.get(1)?);
            if bucket != self.open.id {
                unmerged.extend(self.open.keys.drain());
                self.open.id = bucket;
                self.open.since = None;
            }
            if unmerged.is_empty() {
                last = last.max(at);
            }
            self.open.since.get_or_insert(at);
            self.open.last = self.open.last.max(at);
            self.open.keys.extend(sealed::split(row.get_ref(2)?.as_blob().unwrap_or_default()));
        }
        if !unmerged.is_empty() {
            self.merging = Some(Merge::new(self.open.id - 1, last, unmerged));
        }
        Ok(())
    }
}

impl Merge {
    fn new(id: i64, last: Time, mut keys: Vec<u128>) -> Self {
        keys.sort_unstable();
        let filter = Filter::of(&keys);
        Self { id, last, keys, filter, written: 0 }
    }

    fn step(&self, connection: &Connection) -> Result<Step, Trouble> {
        if self.written == 0 {
            sealed::create(connection, self.id)?;
        }
        if self.written < self.keys.len() {
            let rest = &self.keys[self.written..];
            let count = sealed::append(connection, self.id, rest, SLICE)?;
            return Ok(Step::Merged(self.written + count));
        }
        sealed::register(connection, self.id, self.last, self.keys.len(), &self.filter)?;
        Ok(Step::Sealed)
    }
}

/// Removes a slice of the log's rows up to `bucket`; answers whether none were left.
fn trim(connection: &Connection, bucket: i64) -> Result<bool, Trouble> {
    let slice = i64::try_from(SLICE).unwrap_or(i64::MAX);
    let removed = connection
        .prepare_cached(
            "DELETE FROM seen_log
             WHERE id < (SELECT min(id) FROM seen_log) + ?1 AND bucket <= ?2",
        )?
        .execute((slice, bucket))?;
    Ok(removed == 0)
}

#[cfg(test)]
mod tests;
