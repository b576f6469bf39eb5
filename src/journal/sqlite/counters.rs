//! The numbers that must always agree: what was accepted, what became of it, what waits.
//!
//! They are written in the transaction that changes them and read once, at the start: nothing counts
//! rows while events flow.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::schema::{meta, set_meta};
use super::trouble::Trouble;
use super::{Pending, Place, Seq, Total, Why};
use crate::spec::Traffic;

/// The numbers that change with every commit, kept as one row.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct State {
    /// The last place in the order that was given away. Never goes back: a place names one event.
    pub(super) last_seq: u64,
    /// What waits where.
    pub(super) pending: Pending,
    /// How many events the trail remembers.
    pub(super) trail: u64,
}

impl State {
    /// Reads it from the file; a new file has none.
    pub(super) fn load(connection: &Connection) -> Result<Self, Trouble> {
        match meta(connection, "state")? {
            Some(text) => Ok(serde_json::from_str(&text)?),
            None => Ok(Self::default()),
        }
    }

    /// Writes it.
    pub(super) fn save(&self, connection: &Connection) -> Result<(), Trouble> {
        set_meta(connection, "state", Some(&serde_json::to_string(self)?))
    }

    /// Gives the next place in the order away.
    pub(super) fn next_seq(&mut self) -> Seq {
        self.last_seq += 1;
        Seq(self.last_seq)
    }

    /// The number of events in a queue.
    pub(super) fn queue(&mut self, traffic: Traffic) -> &mut u64 {
        match traffic {
            Traffic::Live => &mut self.pending.live,
            Traffic::Backfill => &mut self.pending.backfill,
        }
    }

    /// The number of events that are out of line for a reason.
    pub(super) fn deferred(&mut self, why: Why) -> &mut u64 {
        match why {
            Why::Parked => &mut self.pending.parked,
            Why::Held => &mut self.pending.held,
            Why::Retry => &mut self.pending.retry,
        }
    }

    /// Notes that an event left a place; `why` is known for deferred ones.
    pub(super) fn left(&mut self, place: Place, why: Option<Why>) {
        let number = match (place, why) {
            (Place::Queue(traffic), _) => self.queue(traffic),
            (Place::Deferred, Some(why)) => self.deferred(why),
            (Place::Deferred, None) => return,
        };
        *number = number.saturating_sub(1);
    }
}

/// The name of one counter.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct TotalKey {
    source: String,
    label: String,
    outcome: String,
    reason: String,
}

/// What one transaction adds to the counters.
#[derive(Debug, Default)]
pub(super) struct Tally(Vec<(TotalKey, u64)>);

impl Tally {
    /// Counts one event.
    pub(super) fn add(&mut self, source: &str, label: &str, outcome: &str, reason: &str) {
        let known = self.0.iter_mut().find(|(key, _)| {
            key.source == source
                && key.label == label
                && key.outcome == outcome
                && key.reason == reason
        });
        match known {
            Some((_, count)) => *count += 1,
            None => {
                let [source, label, outcome, reason] =
                    [source, label, outcome, reason].map(String::from);
                self.0.push((TotalKey { source, label, outcome, reason }, 1));
            }
        }
    }

    /// Whether nothing was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes it.
    pub(super) fn save(&self, connection: &Connection) -> Result<(), Trouble> {
        let mut upsert = connection.prepare_cached(
            "INSERT INTO total VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET n = n + excluded.n",
        )?;
        for (key, count) in &self.0 {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            upsert.execute((&key.source, &key.label, &key.outcome, &key.reason, count))?;
        }
        Ok(())
    }
}

/// The counters in memory, as they are on disk.
#[derive(Debug, Default)]
pub(super) struct Counters {
    totals: BTreeMap<TotalKey, u64>,
    pending: Pending,
}

impl Counters {
    /// Reads the totals from the file.
    pub(super) fn load(connection: &Connection, pending: Pending) -> Result<Self, Trouble> {
        let mut select =
            connection.prepare("SELECT source, label, outcome, reason, n FROM total")?;
        let rows = select.query_map([], |row| {
            let key = TotalKey {
                source: row.get(0)?,
                label: row.get(1)?,
                outcome: row.get(2)?,
                reason: row.get(3)?,
            };
            Ok((key, row.get::<_, i64>(4)?))
        })?;
        let mut totals = BTreeMap::new();
        for row in rows {
            let (key, count) = row?;
            totals.insert(key, u64::try_from(count).unwrap_or(0));
        }
        Ok(Self { totals, pending })
    }

    /// Takes over what a transaction changed.
    pub(super) fn apply(&mut self, tally: Tally, pending: Pending) {
        for (key, count) in tally.0 {
            *self.totals.entry(key).or_default() += count;
        }
        self.pending = pending;
    }

    /// What waits.
    pub(super) fn pending(&self) -> Pending {
        self.pending
    }

    /// All counters, in a stable order.
    pub(super) fn totals(&self) -> Vec<Total> {
        let total = |(key, count): (&TotalKey, &u64)| Total {
            source: key.source.clone(),
            label: key.label.clone(),
            outcome: key.outcome.clone(),
            reason: key.reason.clone(),
            count: *count,
        };
        self.totals.iter().map(total).collect()
    }
}
