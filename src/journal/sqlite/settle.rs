//! How events leave their place: settled, or put out of line.
//!
//! Decides nothing about an event; makes sure that one which is no longer there changes no number and
//! teaches nothing.
//!
//! Not here: how dead letters are listed and come back ([`super::dead`]).

use rusqlite::{Connection, OptionalExtension};

use super::draft::Draft;
use super::queues::{number, why_named};
use super::trouble::Trouble;
use super::{
    Change, Deferral, Fact, FactKey, Forget, Hasten, Place, Release, Seq, Settlement,
    SqliteOptions, Why, dead, gone, recorded,
};
use crate::outcome::{DropReason, Outcome};
use crate::spec::Traffic;

/// Applies one change inside the transaction.
pub(super) fn apply(
    connection: &Connection,
    change: &Change,
    options: &SqliteOptions,
    draft: &mut Draft,
) -> Result<(), Trouble> {
    match change {
        Change::Settle(settlement) => settle(connection, settlement, options, draft),
        Change::Defer(deferral) => defer(connection, deferral, draft),
        Change::Forget(Forget::Person(person)) => gone::remember(connection, person),
        Change::Forget(Forget::Searched(person)) => gone::searched(connection, person),
        Change::Forget(Forget::Dead(seq)) => dead::forget(connection, *seq),
        Change::Forget(Forget::Recorded(number)) => recorded::forget(connection, *number),
        Change::Release(held) => release(connection, held),
        Change::Hasten(late) => hasten(connection, late),
    }
}

fn settle(
    connection: &Connection,
    end: &Settlement,
    options: &SqliteOptions,
    draft: &mut Draft,
) -> Result<(), Trouble> {
    match &end.outcome {
        Outcome::DeadLettered(letter) => dead::keep(connection, end, letter)?,
        Outcome::Dropped(DropReason::PersonDeleted) => {}
        _ if options.record_keep.is_zero() => {}
        _ => recorded::keep(connection, end)?,
    }
    let Some(why) = remove(connection, end.seq, end.place)? else { return Ok(()) };
    draft.left(end.seq, end.place, why);
    let trail = &end.trail;
    draft.tally.add(&trail.source, &trail.label, end.outcome.label(), end.outcome.reason());
    for (key, fact) in &end.facts {
        write_fact(connection, key, fact.as_ref())?;
    }
    draft.trail.add(trail)
}

fn defer(connection: &Connection, deferral: &Deferral, draft: &mut Draft) -> Result<(), Trouble> {
    let moved = match deferral.place {
        Place::Queue(traffic) => move_out_of_line(connection, traffic, deferral)?.then_some(None),
        Place::Deferred => stay_out_of_line(connection, deferral)?,
    };
    let Some(why) = moved else { return Ok(()) };
    draft.left(deferral.seq, deferral.place, why);
    *draft.state.deferred(deferral.why) += 1;
    let mut insert = connection.prepare_cached(
        "INSERT INTO deferred_key(key, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    )?;
    for key in &deferral.keys {
        insert.execute((key, number(deferral.seq)))?;
    }
    for (key, fact) in &deferral.facts {
        write_fact(connection, key, fact.as_ref())?;
    }
    Ok(())
}

/// Removes a row; answers `None` if there was none, else why it was out of line, if it was.
fn remove(connection: &Connection, seq: Seq, place: Place) -> Result<Option<Option<Why>>, Trouble> {
    match place {
        Place::Queue(traffic) => Ok(remove_queued(connection, seq, traffic)?.then_some(None)),
        Place::Deferred => {
            let why: Option<String> = connection
                .prepare_cached("DELETE FROM deferred WHERE seq = ?1 RETURNING why")?
                .query_row([number(seq)], |row| row.get(0))
                .optional()?;
            let Some(why) = why else { return Ok(None) };
            remove_keys(connection, seq)?;
            Ok(Some(why_named(&why)))
        }
    }
}

fn remove_queued(connection: &Connection, seq: Seq, traffic: Traffic) -> Result<bool, Trouble> {
    let sql = match traffic {
        Traffic::Live => "DELETE FROM live WHERE seq = ?1",
        Traffic::Backfill => "DELETE FROM backfill WHERE seq = ?1",
    };
    Ok(connection.prepare_cached(sql)?.execute([number(seq)])? > 0)
}

fn remove_keys(connection: &Connection, seq: Seq) -> Result<(), Trouble> {
    connection.prepare_cached("DELETE FROM deferred_key WHERE seq = ?1")?.execute([number(seq)])?;
    Ok(())
}

/// Moves a row from its queue; answers whether it was there.
fn move_out_of_line(
    connection: &Connection,
    traffic: Traffic,
    deferral: &Deferral,
) -> Result<bool, Trouble> {
    let sql = match traffic {
        Traffic::Live => {
            "INSERT INTO deferred
             SELECT seq, ?2, ?3, ?4, ?5, ?6, ?7, ?8, at, crc, envelope, body
             FROM live WHERE seq = ?1"
        }
        Traffic::Backfill => {
            "INSERT INTO deferred
             SELECT seq, ?2, ?3, ?4, ?5, ?6, ?7, ?8, at, crc, envelope, body
             FROM backfill WHERE seq = ?1"
        }
    };
    let moved = execute_with(connection, sql, deferral)?;
    Ok(moved && remove_queued(connection, deferral.seq, traffic)?)
}

/// Changes a row that is out of line; answers why it was there before, if it was.
fn stay_out_of_line(
    connection: &Connection,
    deferral: &Deferral,
) -> Result<Option<Option<Why>>, Trouble> {
    let before: Option<String> = connection
        .prepare_cached("SELECT why FROM deferred WHERE seq = ?1")?
        .query_row([number(deferral.seq)], |row| row.get(0))
        .optional()?;
    let Some(before) = before else { return Ok(None) };
    let sql = "UPDATE deferred SET why = ?2, due = ?3, tries = ?4, first_at = ?5, done_parts = ?6,
               status = ?7, error = ?8 WHERE seq = ?1";
    execute_with(connection, sql, deferral)?;
    remove_keys(connection, deferral.seq)?;
    Ok(Some(why_named(&before)))
}

/// Runs a statement whose parameters are a deferral; answers whether it changed a row.
fn execute_with(connection: &Connection, sql: &str, deferral: &Deferral) -> Result<bool, Trouble> {
    let attempts = &deferral.attempts;
    let changed = connection.prepare_cached(sql)?.execute((
        number(deferral.seq),
        deferral.why.as_str(),
        deferral.due.millis(),
        attempts.tries,
        attempts.first_at.map(|at| at.millis()),
        serde_json::to_string(&(&attempts.done, &attempts.holds))?,
        deferral.status,
        &deferral.error,
    ))?;
    Ok(changed > 0)
}

fn release(connection: &Connection, held: &Release) -> Result<(), Trouble> {
    let mut update = connection
        .prepare_cached("UPDATE deferred SET due = ?2 WHERE seq = ?1 AND why = ?3 AND due > ?2")?;
    for seq in &held.seqs {
        update.execute((number(*seq), held.due.millis(), Why::Held.as_str()))?;
    }
    Ok(())
}

fn hasten(connection: &Connection, late: &Hasten) -> Result<(), Trouble> {
    connection
        .prepare_cached(
            "UPDATE deferred SET due = ?1 WHERE why <> 'parked' AND due > ?2 AND why = ?3",
        )?
        .execute((late.due.millis(), late.beyond.millis(), Why::Retry.as_str()))?;
    Ok(())
}

fn write_fact(connection: &Connection, key: &FactKey, fact: Option<&Fact>) -> Result<(), Trouble> {
    match fact {
        Some(fact) => connection
            .prepare_cached(
                "INSERT INTO fact VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET v = excluded.v, until = excluded.until",
            )?
            .execute((&key.0, &fact.value, fact.until.millis()))?,
        None => connection.prepare_cached("DELETE FROM fact WHERE k = ?1")?.execute([&key.0])?,
    };
    Ok(())
}
