//! Forgetting: everything that is kept for a time goes in small steps, so that no event waits for it.
//!
//! Not here: deduplication keys, which go by whole tables ([`super::seen`]).

use rusqlite::Connection;

use super::draft::Draft;
use super::trouble::Trouble;
use super::{SqliteOptions, gone, recorded};
use crate::clock::Time;

/// Facts looked at in one step.
const FACTS: usize = 2000;

/// Free pages are given back when they are more than this, and more than a quarter of the file; the
/// rest is reused by the next events.
const SPARE_PAGES: i64 = 4096;

/// Does one step of everything that has a time limit. `facts_after` is the last fact that the step
/// before looked at.
pub(super) fn step(
    connection: &Connection,
    options: &SqliteOptions,
    (now, facts_after): (Time, &str),
    draft: &mut Draft,
) -> Result<(), Trouble> {
    draft.facts_after = Some(forget_facts(connection, now, facts_after)?);
    forget_trail(connection, options, now, draft)?;
    connection
        .prepare_cached(
            "DELETE FROM dead WHERE seq IN
             (SELECT seq FROM dead WHERE died < ?1 ORDER BY died LIMIT 256)",
        )?
        .execute([now.minus(options.dead_keep).millis()])?;
    recorded::forget_old(connection, options, now, used_bytes(connection)?)?;
    gone::forget_old(connection, now)?;
    give_pages_back(connection)
}

/// Removes the expired ones among the next facts; answers the last one that was looked at, empty at
/// the end. An index on their end would cost every event that teaches something a random page.
fn forget_facts(connection: &Connection, now: Time, after: &str) -> Result<String, Trouble> {
    let mut select =
        connection.prepare_cached("SELECT k, until FROM fact WHERE k > ?1 ORDER BY k LIMIT ?2")?;
    let mut rows = select.query((after, i64::try_from(FACTS).unwrap_or(i64::MAX)))?;
    let mut expired = Vec::new();
    let mut last = String::new();
    let mut count = 0;
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        count += 1;
        if row.get::<_, i64>(1)? <= now.millis() {
            expired.push(last.clone());
        }
    }
    let mut delete = connection.prepare_cached("DELETE FROM fact WHERE k = ?1")?;
    for key in expired {
        delete.execute([key])?;
    }
    Ok(if count < FACTS { String::new() } else { last })
}

/// Removes the oldest blocks of the trail when they are too old or too many.
fn forget_trail(
    connection: &Connection,
    options: &SqliteOptions,
    now: Time,
    draft: &mut Draft,
) -> Result<(), Trouble> {
    let before = now.minus(options.trail_keep).millis();
    let mut select =
        connection.prepare_cached("SELECT id, at, n FROM trail ORDER BY id LIMIT 256")?;
    let mut rows = select.query([])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(1)? >= before && draft.state.trail <= options.trail_max_entries {
            break;
        }
        last = Some(row.get::<_, i64>(0)?);
        let count = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
        draft.state.trail = draft.state.trail.saturating_sub(count);
    }
    if let Some(last) = last {
        connection.prepare_cached("DELETE FROM trail WHERE id <= ?1")?.execute([last])?;
        connection.prepare_cached("DELETE FROM trail_key WHERE id <= ?1")?.execute([last])?;
    }
    Ok(())
}

fn give_pages_back(connection: &Connection) -> Result<(), Trouble> {
    let [free, all] = pages(connection)?;
    if free > SPARE_PAGES && free > all / 4 {
        // A page is given back with every row of the answer.
        let mut vacuum = connection.prepare_cached("PRAGMA incremental_vacuum(1024)")?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}

/// The bytes that hold data.
pub(super) fn used_bytes(connection: &Connection) -> Result<u64, Trouble> {
    let [free, all] = pages(connection)?;
    Ok(u64::try_from(all - free).unwrap_or(0).saturating_mul(page_size(connection)?))
}

fn pages(connection: &Connection) -> Result<[i64; 2], Trouble> {
    let read = |sql| connection.prepare_cached(sql)?.query_row([], |row| row.get(0));
    Ok([read("PRAGMA freelist_count")?, read("PRAGMA page_count")?])
}

fn page_size(connection: &Connection) -> Result<u64, Trouble> {
    let size: i64 =
        connection.prepare_cached("PRAGMA page_size")?.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(size).unwrap_or(0))
}
