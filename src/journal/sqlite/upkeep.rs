//! Forgetting: everything that is kept for a time goes in small steps, so that no event waits for it.
//!
//! Not here: deduplication keys, which go by whole tables ([`super::seen`]).

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::draft::Draft;
use super::trouble::Trouble;
use super::{SqliteOptions, gone, recorded};
use crate::clock::Time;

/// Facts looked at in one step.
const FACTS: usize = 2000;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Free pages are given back when they are more than this, and more than a quarter of the file; the
/// rest is reused by the next events.
const SPARE_PAGES: i64 = 4096;

/// Does one step of everything that has a limit of time or number. `sweep` is how far the step before came
/// with the facts. Answers what could not be done and why: a damaged page keeps nothing from being forgotten
/// but what is on it.
pub(super) fn step(
    connection: &Connection,
    options: &SqliteOptions,
    (now, sweep): (Time, &Sweep),
    draft: &mut Draft,
) -> Result<Vec<String>, Trouble> {
    let mut failed = Vec::new();
    let mut do_alone = |what, step: &mut dyn FnMut() -> Result<(), Trouble>| {
        failed.extend(alone(connection, step)?.map(|why| format!("{what}: {why}")));
        Ok::<_, Trouble>(())
    };
    let mut sweep = sweep.clone();
    do_alone("facts", &mut || sweep.go_on(connection, options, now))?;
    draft.sweep = Some(sweep);
    do_alone("trail", &mut || forget_trail(connection, options, now, draft))?;
    do_alone("dead letters", &mut || forget_dead(connection, options, now))?;
    do_alone("recorded originals", &mut || {
        recorded::forget_old(connection, options, now, used_bytes(connection)?)
    })?;
    do_alone("people who are gone", &mut || gone::forget_old(connection, now))?;
    do_alone("free pages", &mut || give_pages_back(connection))?;
    Ok(failed)
}

/// Takes a step that may fail without the others; answers why it did. Where there is no room, or somebody
/// else has the file, all of them fail.
fn alone(
    connection: &Connection,
    step: &mut dyn FnMut() -> Result<(), Trouble>,
) -> Result<Option<String>, Trouble> {
    let run = |sql| connection.prepare_cached(sql)?.execute([]);
    run("SAVEPOINT step")?;
    let failed = match step() {
        Ok(()) => None,
        Err(Trouble::Other(why)) if !connection.is_autocommit() => {
            run("ROLLBACK TO step")?;
            Some(why)
        }
        Err(trouble) => return Err(trouble),
    };
    run("RELEASE step")?;
    Ok(failed)
}

/// The way through the facts, from the first to the last and again.
#[derive(Clone, Debug, Default)]
pub(super) struct Sweep {
    /// The last fact that was looked at.
    after: String,
    /// How many facts there are by the day on which they end, as far as they were looked at.
    ends: BTreeMap<i64, u64>,
    /// How many there were the last time.
    total: u64,
    /// What ends before this is forgotten now, because there are too many.
    forget_before: i64,
}

impl Sweep {
    /// Removes the expired ones among the next facts, and those that end first when there are too many.
    /// An index on their end would cost every event that teaches something a random page.
    fn go_on(
        &mut self,
        connection: &Connection,
        options: &SqliteOptions,
        now: Time,
    ) -> Result<(), Trouble> {
        // Once through all of them a day at least: there is a step every second.
        let most = usize::try_from(self.total / (24 * 3600)).unwrap_or(usize::MAX).max(FACTS);
        let mut select = connection
            .prepare_cached("SELECT k, until FROM fact WHERE k > ?1 ORDER BY k LIMIT ?2")?;
        let mut rows = select.query((&self.after, i64::try_from(most).unwrap_or(i64::MAX)))?;
        let mut gone = Vec::new();
        let mut count = 0;
        while let Some(row) = rows.next()? {
            self.after = row.get(0)?;
            count += 1;
            let until: i64 = row.get(1)?;
            if until <= now.millis().max(self.forget_before) {
                gone.push(self.after.clone());
            } else {
                *self.ends.entry(until.div_euclid(DAY_MS)).or_default() += 1;
            }
        }
        let mut delete = connection.prepare_cached("DELETE FROM fact WHERE k = ?1")?;
        for key in gone {
            delete.execute([key])?;
        }
        if count < most {
            self.begin_again(options.max_facts);
        }
        Ok(())
    }

    fn begin_again(&mut self, most: u64) {
        self.after.clear();
        self.total = self.ends.values().sum();
        self.forget_before = 0;
        let mut too_many = self.total.saturating_sub(most);
        for (day, count) in std::mem::take(&mut self.ends) {
            if too_many == 0 {
                break;
            }
            too_many = too_many.saturating_sub(count);
            self.forget_before = (day + 1) * DAY_MS;
        }
    }
}

fn forget_dead(connection: &Connection, options: &SqliteOptions, now: Time) -> Result<(), Trouble> {
    connection
        .prepare_cached(
            "DELETE FROM dead WHERE seq IN
             (SELECT seq FROM dead WHERE died < ?1 ORDER BY died LIMIT 256)",
        )?
        .execute([now.minus(options.dead_keep).millis()])?;
    Ok(())
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
    let mut left = draft.state.trail;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(1)? >= before && left <= options.trail_max_entries {
            break;
        }
        last = Some(row.get::<_, i64>(0)?);
        let count = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
        left = left.saturating_sub(count);
    }
    if let Some(last) = last {
        connection.prepare_cached("DELETE FROM trail WHERE id <= ?1")?.execute([last])?;
        connection.prepare_cached("DELETE FROM trail_key WHERE id <= ?1")?.execute([last])?;
    }
    draft.state.trail = left;
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
