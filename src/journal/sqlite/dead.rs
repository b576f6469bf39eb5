//! Dead letters: kept with their original, listed, and put back into their queue.
//!
//! Not here: when an event becomes one ([`crate::pipeline`]), when they are forgotten
//! ([`super::upkeep`]).

use rusqlite::{Connection, Row, ToSql};

use super::draft::Draft;
use super::queues::{LAST, PAGE_BYTES, Page, number, seq_of};
use super::record::{between, found};
use super::trouble::Trouble;
use super::{DeadFilter, DeadRow, Place, Seq, Settlement};
use crate::clock::Time;
use crate::outcome::{DeadCode, DeadLetter, Stage};
use crate::spec::Traffic;

/// So many letters a redrive looks at in one transaction, however few of them it moves: others wait for it.
const LOOKS: i64 = 1000;

/// Conditions of a [`DeadFilter`]; parameters 1 to 8 are those of [`parameters`].
const MATCHES: &str =
    "seq > ?1 AND seq <= ?8 AND (?2 IS NULL OR seq = ?2) AND (?3 IS NULL OR code = ?3)
    AND (?4 IS NULL OR source = ?4) AND (?5 IS NULL OR bundle = ?5)
    AND (?6 IS NULL OR died >= ?6) AND (?7 IS NULL OR died < ?7)";

/// Copies an event from its place to the dead letters.
pub(super) fn keep(
    connection: &Connection,
    end: &Settlement,
    letter: &DeadLetter,
) -> Result<(), Trouble> {
    let sql = match end.place {
        Place::Queue(Traffic::Live) => {
            "INSERT OR REPLACE INTO dead
             SELECT seq, ?2, ?3, ?4, ?5, ?6, at, crc, envelope, body, ?7
             FROM live WHERE seq = ?1"
        }
        Place::Queue(Traffic::Backfill) => {
            "INSERT OR REPLACE INTO dead
             SELECT seq, ?2, ?3, ?4, ?5, ?6, at, crc, envelope, body, ?7
             FROM backfill WHERE seq = ?1"
        }
        Place::Deferred => {
            "INSERT OR REPLACE INTO dead
             SELECT seq, ?2, ?3, ?4, ?5, ?6, at, crc, envelope, body, ?7
             FROM deferred WHERE seq = ?1"
        }
    };
    let (trail, text) = (&end.trail, serde_json::to_string(letter)?);
    let done = if end.done.is_empty() { None } else { Some(serde_json::to_string(&end.done)?) };
    connection.prepare_cached(sql)?.execute((
        number(end.seq),
        trail.at.millis(),
        letter.code.as_str(),
        &trail.source,
        &trail.bundle,
        text,
        done,
    ))?;
    Ok(())
}

/// Removes a dead letter with its original. What was counted stays counted.
pub(super) fn forget(connection: &Connection, seq: Seq) -> Result<(), Trouble> {
    connection.prepare_cached("DELETE FROM dead WHERE seq = ?1")?.execute([number(seq)])?;
    Ok(())
}

/// Lists dead letters behind `after` and up to `upto`.
pub(super) fn list(
    connection: &Connection,
    filter: &DeadFilter,
    place: (Seq, Seq),
    max: usize,
) -> Result<Page<DeadRow>, Trouble> {
    let sql = format!(
        "SELECT seq, died, letter, bundle, crc, envelope, body FROM dead
         WHERE {MATCHES} ORDER BY seq"
    );
    let mut select = connection.prepare_cached(&sql)?;
    let parameters = parameters(filter, place);
    let mut rows = select.query(&parameters.each_ref().map(AsRef::as_ref)[..])?;
    let mut page = Page { rows: Vec::new(), complete: false, strays: 0 };
    let mut size = 0;
    while page.rows.len() < max && size < PAGE_BYTES {
        let Some(row) = rows.next()? else {
            page.complete = true;
            break;
        };
        let (letter, bytes) = read(row)?;
        size += bytes;
        page.rows.push(letter);
    }
    Ok(page)
}

/// Puts up to `max` dead letters behind `after` and up to `upto` back into their queues. Damaged ones stay.
/// Answers how many went back, and the last one that was looked at if there may be more.
pub(super) fn redrive(
    connection: &Connection,
    filter: &DeadFilter,
    (after, upto): (Seq, Option<Seq>),
    max: usize,
    draft: &mut Draft,
) -> Result<(u64, Option<Seq>), Trouble> {
    let upto = upto.unwrap_or(LAST);
    let end: Option<i64> = connection
        .prepare_cached(
            "SELECT max(seq) FROM
             (SELECT seq FROM dead WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3)",
        )?
        .query_row((number(after), number(upto), LOOKS), |row| row.get(0))?;
    let Some(end) = end.and_then(|end| u64::try_from(end).ok()).map(Seq) else {
        return Ok((0, None));
    };
    let page = list(connection, filter, (after, end), max)?;
    let last = page.rows.last().map(|letter| letter.seq).filter(|_| !page.complete);
    let mut count = 0;
    for letter in page.rows {
        let Ok(call) = &letter.call else { continue };
        let arrival = &call.arrival;
        let traffic = arrival.traffic();
        let seq = draft.state.next_seq();
        move_back(connection, letter.seq, seq, traffic)?;
        *draft.state.queue(traffic) += 1;
        draft.redriven.push((traffic, seq));
        draft.tally.add(&arrival.source, arrival.label(), "redriven", letter.letter.code.as_str());
        count += 1;
    }
    Ok((count, Some(last.unwrap_or(end)).filter(|last| *last < upto)))
}

fn move_back(
    connection: &Connection,
    dead: Seq,
    seq: Seq,
    traffic: Traffic,
) -> Result<(), Trouble> {
    // SQLite has no exclusive or.
    let sql = match traffic {
        Traffic::Live => {
            "INSERT INTO live
             SELECT ?2, at, (crc | ?3) - (crc & ?3), envelope, body, done_parts FROM dead WHERE seq = ?1"
        }
        Traffic::Backfill => {
            "INSERT INTO backfill
             SELECT ?2, at, (crc | ?3) - (crc & ?3), envelope, body, done_parts FROM dead WHERE seq = ?1"
        }
    };
    let moved = i64::from(between(dead, seq));
    connection.prepare_cached(sql)?.execute([number(dead), number(seq), moved])?;
    connection.prepare_cached("DELETE FROM dead WHERE seq = ?1")?.execute([number(dead)])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<(DeadRow, usize), rusqlite::Error> {
    let seq = seq_of(row, 0)?;
    let letter: String = row.get(2)?;
    let letter = serde_json::from_str(&letter).unwrap_or_else(|_| {
        let message = "the note of why it died is unreadable";
        DeadLetter::new(DeadCode::CorruptRecord, Stage::Delivery, message)
    });
    let found = found(seq, row, 4)?;
    let at = Time::from_millis(row.get(1)?);
    Ok((DeadRow { seq, at, letter, bundle: row.get(3)?, call: found.call }, found.size))
}

fn parameters(filter: &DeadFilter, (after, upto): (Seq, Seq)) -> [Box<dyn ToSql>; 8] {
    [
        Box::new(number(after)),
        Box::new(filter.seq.map(number)),
        Box::new(filter.code.map(DeadCode::as_str)),
        Box::new(filter.source.clone()),
        Box::new(filter.bundle.clone()),
        Box::new(filter.since.map(|at| at.millis())),
        Box::new(filter.until.map(|at| at.millis())),
        Box::new(number(upto)),
    ]
}
