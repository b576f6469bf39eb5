//! The rows that wait: both queues and the deferred events, and the facts.
//!
//! Decides how they are written at acceptance and read for processing. An answer is also bounded in
//! bytes: a page of large events must not fill the memory.
//!
//! Not here: how rows leave ([`super::settle`]), what is still in memory ([`crate::journal`]'s
//! window).

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row};

use super::record::{Record, found, sealed};
use super::trouble::Trouble;
use super::{Attempts, Fact, FactKey, Place, Seq, Stored, Waiting, Why};
use crate::clock::Time;
use crate::spec::Traffic;

/// About this many bytes are read at once; one event is always read, whatever its size.
pub(super) const PAGE_BYTES: usize = 8 << 20;

/// The last place in the order that there can be.
pub(super) const LAST: Seq = Seq(i64::MAX.cast_unsigned());

/// Rows as far as they were read.
pub(super) struct Page<T> {
    pub(super) rows: Vec<T>,
    /// Whether there are no more behind them.
    pub(super) complete: bool,
    /// Rows of a damaged page whose place cannot be theirs; they are left out.
    pub(super) strays: u64,
}

/// Writes an accepted event at its place.
pub(super) fn insert(connection: &Connection, seq: Seq, record: &Record) -> Result<(), Trouble> {
    let sql = match record.traffic {
        Traffic::Live => "INSERT INTO live VALUES (?1, ?2, ?3, ?4, ?5, NULL)",
        Traffic::Backfill => "INSERT INTO backfill VALUES (?1, ?2, ?3, ?4, ?5, NULL)",
    };
    let body: &[u8] = &record.call.body;
    let crc = sealed(record.crc, seq);
    let row = (number(seq), record.at().millis(), crc, &record.envelope, body);
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// Reads the events of a class behind `after` and up to `upto`.
pub(super) fn read(
    connection: &Connection,
    traffic: Traffic,
    (after, upto): (Seq, Seq),
    max: usize,
) -> Result<Page<Stored>, Trouble> {
    let sql = match traffic {
        Traffic::Live => {
            "SELECT seq, crc, envelope, body, done_parts FROM live
             WHERE seq > ?1 AND seq <= ?2 ORDER BY seq"
        }
        Traffic::Backfill => {
            "SELECT seq, crc, envelope, body, done_parts FROM backfill
             WHERE seq > ?1 AND seq <= ?2 ORDER BY seq"
        }
    };
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query((number(after), number(upto)))?;
    let mut page = Page { rows: Vec::new(), complete: false, strays: 0 };
    let (mut size, mut last) = (0, after);
    while page.rows.len() < max && size < PAGE_BYTES {
        let Some(row) = rows.next()? else {
            page.complete = true;
            break;
        };
        let seq = seq_of(row, 0)?;
        // Whoever reads goes on behind the last row: one that leads back would never end.
        if seq <= last {
            page.strays += 1;
            continue;
        }
        last = seq;
        let found = found(seq, row, 1)?;
        size += found.size;
        // Only what was redriven has any. Damaged: everything is sent again, with the ids that it had.
        let done: Option<String> = row.get(4)?;
        let done = done.and_then(|done| serde_json::from_str(&done).ok()).unwrap_or_default();
        page.rows.push(Stored {
            seq,
            place: Place::Queue(traffic),
            call: found.call,
            why: None,
            attempts: Attempts { done, ..Attempts::default() },
        });
    }
    Ok(page)
}

/// Reads deferred events that are due and not in `taken`. What is parked comes last: it may be a whole
/// backfill, and live events wait behind what is tried again.
pub(super) fn read_due(
    connection: &Connection,
    now: Time,
    taken: &HashSet<Seq>,
    max: usize,
) -> Result<Vec<Stored>, Trouble> {
    // The indices alone answer this, however many were taken before.
    let mut due = Vec::new();
    for sql in [
        "SELECT seq FROM deferred WHERE why <> 'parked' AND due <= ?1 ORDER BY due, seq",
        "SELECT seq FROM deferred WHERE why = 'parked' AND due <= ?1 ORDER BY due, seq",
    ] {
        let mut select = connection.prepare_cached(sql)?;
        let mut rows = select.query([now.millis()])?;
        while due.len() < max
            && let Some(row) = rows.next()?
        {
            let seq = seq_of(row, 0)?;
            if !taken.contains(&seq) {
                due.push(seq);
            }
        }
    }
    let mut select = connection.prepare_cached(
        "SELECT why, tries, first_at, done_parts, crc, envelope, body FROM deferred WHERE seq = ?1",
    )?;
    let mut events = Vec::with_capacity(due.len());
    let mut size = 0;
    for seq in due {
        let row = select.query_row([number(seq)], |row| {
            let found = found(seq, row, 4)?;
            size += found.size;
            Ok(Stored {
                seq,
                place: Place::Deferred,
                call: found.call,
                why: why_named(&row.get::<_, String>(0)?),
                attempts: attempts(row)?,
            })
        });
        events.extend(row.optional()?);
        if size >= PAGE_BYTES {
            break;
        }
    }
    Ok(events)
}

/// Lists what waits at a place behind `after`, for people.
pub(super) fn waiting(
    connection: &Connection,
    place: Place,
    after: Seq,
    max: usize,
) -> Result<Vec<Waiting>, Trouble> {
    if let Place::Queue(traffic) = place {
        let page = read(connection, traffic, (after, LAST), max)?;
        let shown = |event| Waiting { event, due: None, status: None, error: None };
        return Ok(page.rows.into_iter().map(shown).collect());
    }
    let mut select = connection.prepare_cached(
        "SELECT why, tries, first_at, done_parts, crc, envelope, body, seq, due, status, error
         FROM deferred WHERE seq > ?1 ORDER BY seq",
    )?;
    let mut rows = select.query([number(after)])?;
    let mut events = Vec::new();
    let mut size = 0;
    while events.len() < max
        && size < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let seq = seq_of(row, 7)?;
        let found = found(seq, row, 4)?;
        size += found.size;
        let event = Stored {
            seq,
            place: Place::Deferred,
            call: found.call,
            why: why_named(&row.get::<_, String>(0)?),
            attempts: attempts(row)?,
        };
        let due = Some(Time::from_millis(row.get(8)?));
        events.push(Waiting { event, due, status: row.get(9)?, error: row.get(10)? });
    }
    Ok(events)
}

/// When the next deferred event is due that is not in `taken`.
pub(super) fn next_due(
    connection: &Connection,
    taken: &HashSet<Seq>,
) -> Result<Option<Time>, Trouble> {
    let mut next = None;
    for sql in [
        "SELECT seq, due FROM deferred WHERE why <> 'parked' ORDER BY due, seq",
        "SELECT seq, due FROM deferred WHERE why = 'parked' ORDER BY due, seq",
    ] {
        let mut select = connection.prepare_cached(sql)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            if !taken.contains(&seq_of(row, 0)?) {
                next = earlier(next, Some(Time::from_millis(row.get(1)?)));
                break;
            }
        }
    }
    Ok(next)
}

/// The keys of deferred events.
pub(super) fn blocked_keys(connection: &Connection) -> Result<Vec<(String, Seq)>, Trouble> {
    let mut select =
        connection.prepare_cached("SELECT key, seq FROM deferred_key ORDER BY seq, key")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, seq_of(row, 1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Looks facts up.
pub(super) fn load(
    connection: &Connection,
    keys: &[FactKey],
    now: Time,
) -> Result<Vec<Option<Fact>>, Trouble> {
    // One snapshot for all of them: the locks for a reading transaction cost more than a look-up.
    let snapshot = connection.unchecked_transaction()?;
    let mut select =
        snapshot.prepare_cached("SELECT v, until FROM fact WHERE k = ?1 AND until > ?2")?;
    let mut facts = Vec::with_capacity(keys.len());
    for key in keys {
        let fact = select.query_row((&key.0, now.millis()), |row| {
            Ok(Fact { value: row.get(0)?, until: Time::from_millis(row.get(1)?) })
        });
        facts.push(fact.optional()?);
    }
    Ok(facts)
}

/// When the oldest event in the queues was accepted.
pub(super) fn oldest(connection: &Connection) -> Result<Option<Time>, Trouble> {
    let mut oldest = None;
    for sql in
        ["SELECT at FROM live ORDER BY seq LIMIT 1", "SELECT at FROM backfill ORDER BY seq LIMIT 1"]
    {
        oldest = earlier(oldest, first_time(connection, sql)?);
    }
    Ok(oldest)
}

/// When the oldest event that is tried again was accepted.
pub(super) fn oldest_retry(connection: &Connection) -> Result<Option<Time>, Trouble> {
    first_time(connection, "SELECT at FROM deferred WHERE why = 'retry' ORDER BY seq LIMIT 1")
}

fn first_time(connection: &Connection, sql: &str) -> Result<Option<Time>, Trouble> {
    let at = connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(at.map(Time::from_millis))
}

fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    one.into_iter().chain(other).min()
}

/// The last place that is taken in a queue.
pub(super) fn last(connection: &Connection, traffic: Traffic) -> Result<Seq, Trouble> {
    let sql = match traffic {
        Traffic::Live => "SELECT coalesce(max(seq), 0) FROM live",
        Traffic::Backfill => "SELECT coalesce(max(seq), 0) FROM backfill",
    };
    Ok(connection.query_row(sql, [], |row| seq_of(row, 0))?)
}

/// A place in the order as SQLite keeps it.
pub(super) fn number(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// A place in the order from a column.
pub(super) fn seq_of(row: &Row<'_>, column: usize) -> Result<Seq, rusqlite::Error> {
    Ok(Seq(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0)))
}

/// The reason with this name.
pub(super) fn why_named(name: &str) -> Option<Why> {
    [Why::Parked, Why::Held, Why::Retry].into_iter().find(|why| why.as_str() == name)
}

fn attempts(row: &Row<'_>) -> Result<Attempts, rusqlite::Error> {
    let progress: String = row.get(3)?;
    // Damaged: everything is sent again, with the ids that it had.
    let (done, holds) = serde_json::from_str(&progress).unwrap_or_default();
    let first_at = row.get::<_, Option<i64>>(2)?.map(Time::from_millis);
    Ok(Attempts { tries: row.get(1)?, first_at, done, holds })
}
