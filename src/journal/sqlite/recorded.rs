//! Originals of events that have ended, kept for a while where the configuration asks for it.
//!
//! They are written at the end in the order of their numbers and forgotten from the front, so they
//! cost a commit no random page. They never keep an event out: when the journal is nearly full, the
//! oldest go early.
//!
//! Not here: dead letters, which keep their original in any case ([`super::dead`]).

use rusqlite::{Connection, OptionalExtension};

use super::queues::{PAGE_BYTES, number, seq_of};
use super::record::found;
use super::trouble::Trouble;
use super::{Place, RecordedFilter, RecordedRow, Settlement, SqliteOptions};
use crate::clock::Time;
use crate::spec::Traffic;

/// How many go in one step, which is taken once a second.
const STEP: i64 = 10_000;

/// Copies an event from its place to the recorded.
pub(super) fn keep(connection: &Connection, end: &Settlement) -> Result<(), Trouble> {
    let sql = match end.place {
        Place::Queue(Traffic::Live) => {
            "INSERT INTO recorded
             SELECT NULL, seq, ?2, ?3, ?4, ?5, at, crc, envelope, body FROM live WHERE seq = ?1"
        }
        Place::Queue(Traffic::Backfill) => {
            "INSERT INTO recorded
             SELECT NULL, seq, ?2, ?3, ?4, ?5, at, crc, envelope, body FROM backfill WHERE seq = ?1"
        }
        Place::Deferred => {
            "INSERT INTO recorded
             SELECT NULL, seq, ?2, ?3, ?4, ?5, at, crc, envelope, body FROM deferred WHERE seq = ?1"
        }
    };
    let (trail, outcome) = (&end.trail, &end.outcome);
    connection.prepare_cached(sql)?.execute((
        number(end.seq),
        trail.at.millis(),
        &trail.source,
        outcome.label(),
        outcome.reason(),
    ))?;
    Ok(())
}

/// Lists them behind the number `after`.
pub(super) fn list(
    connection: &Connection,
    filter: &RecordedFilter,
    after: u64,
    max: usize,
) -> Result<Vec<RecordedRow>, Trouble> {
    let mut select = connection.prepare_cached(
        "SELECT id, seq, ended, outcome, reason, crc, envelope, body FROM recorded
         WHERE id > ?1 AND (?2 IS NULL OR source = ?2) AND (?3 IS NULL OR at >= ?3)
           AND (?4 IS NULL OR at < ?4) ORDER BY id",
    )?;
    let (since, until) = (filter.since.map(Time::millis), filter.until.map(Time::millis));
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = select.query((after, &filter.source, since, until))?;
    let mut found_rows = Vec::new();
    let mut size = 0;
    while found_rows.len() < max
        && size < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let seq = seq_of(row, 1)?;
        let found = found(seq, row, 5)?;
        size += found.size;
        found_rows.push(RecordedRow {
            number: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
            seq,
            ended: Time::from_millis(row.get(2)?),
            outcome: row.get(3)?,
            reason: row.get(4)?,
            call: found.call,
        });
    }
    Ok(found_rows)
}

/// Removes one.
pub(super) fn forget(connection: &Connection, number: u64) -> Result<(), Trouble> {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    connection.prepare_cached("DELETE FROM recorded WHERE id = ?1")?.execute([number])?;
    Ok(())
}

/// Removes the oldest when they are too old, too many, or in the way of new events.
pub(super) fn forget_old(
    connection: &Connection,
    options: &SqliteOptions,
    now: Time,
    used: u64,
) -> Result<(), Trouble> {
    let oldest = connection
        .prepare_cached("SELECT id, ended FROM recorded ORDER BY id LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let Some((first, ended)) = oldest else { return Ok(()) };
    let last: i64 = connection
        .prepare_cached("SELECT max(id) FROM recorded")?
        .query_row([], |row| row.get(0))?;
    let most = i64::try_from(options.record_max).unwrap_or(i64::MAX);
    let nearly_full = used > options.max_bytes / 10 * 9;
    let too_many = if nearly_full { i64::MAX } else { last.saturating_sub(most) };
    let before = now.minus(options.record_keep).millis();
    // The clock was wrong when it ended: nobody knows how long it has been here.
    let beyond = now.plus(options.record_keep).millis();
    if first > too_many && (before..=beyond).contains(&ended) {
        return Ok(());
    }
    connection
        .prepare_cached(
            "DELETE FROM recorded WHERE id < ?1 AND (id <= ?2 OR ended < ?3 OR ended > ?4)",
        )?
        .execute((first.saturating_add(STEP), too_many, before, beyond))?;
    Ok(())
}
