//! Originals for export, with their payload: recorded events, and dead letters.
//!
//! The same code answers the API and the command line that opened the journal itself.
//!
//! Not here: how long they are kept ([`crate::journal`]), what they are replayed as
//! ([`crate::cli`]).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::AdminError;
use super::dead_letters::{LONGEST_PAGE, Selection, payload, read_time};
use crate::clock::Time;
use crate::journal::{DeadFilter, Journal, Place, RecordedFilter};
use crate::spec::{RawCall, Traffic};

/// Which recorded originals, as an operator says it. Empty: all of them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Which {
    /// Only of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only those that were accepted at this time or later: `2026-01-15T12:00:00Z`, or `24h` for a day
    /// ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only those that were accepted before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// A page of originals.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Originals {
    /// The originals, in their order.
    pub originals: Vec<Original>,
    /// Where the next page begins (`after`), where there may be more.
    pub next: Option<u64>,
}

/// One original, as it came in, and what became of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Original {
    /// The event's place in the order of acceptance.
    pub seq: u64,
    /// When it ended.
    pub ended_at: String,
    /// `delivered`, `dropped` or `dead_lettered`.
    pub outcome: String,
    /// The reason of that.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What happened, in a sentence, to a dead letter.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Its source; empty when it is damaged.
    pub source: String,
    /// How it came in; `None`: it is damaged.
    pub arrival: Option<Value>,
    /// The original as it was received; a text where it is no JSON, `None` where it is damaged.
    pub payload: Option<Box<RawValue>>,
}

/// Lists up to `limit` recorded originals behind number `after`.
///
/// # Errors
/// The filter cannot be read, or the journal fails.
pub fn recorded(
    journal: &dyn Journal,
    which: &Which,
    after: Option<u64>,
    limit: usize,
    now: Time,
) -> Result<Originals, AdminError> {
    let time = |text: &Option<String>| text.as_deref().map(|text| read_time(text, now)).transpose();
    let filter = RecordedFilter {
        source: which.source.clone(),
        since: time(&which.since)?,
        until: time(&which.until)?,
    };
    let rows = journal.recorded(&filter, after, limit.clamp(1, LONGEST_PAGE))?;
    let next = rows.last().map(|row| row.number);
    let originals = rows.into_iter().map(|row| {
        let original = Original::of(row.seq.0, row.ended, row.call);
        Original { outcome: row.outcome, reason: row.reason, ..original }
    });
    Ok(Originals { originals: originals.collect(), next })
}

/// Lists up to `limit` dead letters with their originals behind number `after`.
///
/// # Errors
/// The filter cannot be read, or the journal fails.
pub fn dead(
    journal: &dyn Journal,
    selection: &Selection,
    after: Option<u64>,
    limit: usize,
    now: Time,
) -> Result<Originals, AdminError> {
    let filter = selection.filter(now)?;
    let after = after.map(crate::journal::Seq);
    let rows = journal.dead(&filter, after, limit.clamp(1, LONGEST_PAGE))?;
    let next = rows.last().map(|row| row.seq.0);
    let originals = rows.into_iter().map(|row| {
        let original = Original::of(row.seq.0, row.at, row.call);
        let (reason, message) = (row.letter.code.as_str().into(), row.letter.message);
        Original { outcome: "dead_lettered".into(), reason, message, ..original }
    });
    Ok(Originals { originals: originals.collect(), next })
}

/// The original of one event: a dead letter, one that waits, or one that was recorded. `id` is its
/// message id, or its number. The newest, where there are several.
///
/// # Errors
/// The journal fails.
pub fn find(journal: &dyn Journal, id: &str) -> Result<Option<Original>, AdminError> {
    let number: Option<u64> = id.parse().ok();
    let mut found = None;
    let mut look = |seq: u64, outcome: &str, ended: Time, call: Result<RawCall, String>| {
        let Ok(mut call) = call else { return };
        if number == Some(seq) || is_called(&mut call, id) {
            found =
                Some(Original { outcome: outcome.into(), ..Original::of(seq, ended, Ok(call)) });
        }
    };
    let mut after = None;
    while let rows @ [.., _] =
        &*journal.recorded(&RecordedFilter::default(), after, LONGEST_PAGE)?
    {
        after = rows.last().map(|row| row.number);
        for row in rows {
            look(row.seq.0, &row.outcome, row.ended, row.call.clone());
        }
    }
    let mut after = None;
    while let rows @ [.., _] = &*journal.dead(&DeadFilter::default(), after, LONGEST_PAGE)? {
        after = rows.last().map(|row| row.seq);
        rows.iter().for_each(|row| look(row.seq.0, "dead_lettered", row.at, row.call.clone()));
    }
    for place in [Place::Queue(Traffic::Live), Place::Queue(Traffic::Backfill), Place::Deferred] {
        let mut after = None;
        while let rows @ [.., _] = &*journal.waiting(place, after, LONGEST_PAGE)? {
            after = rows.last().map(|row| row.event.seq);
            for row in rows {
                look(row.event.seq.0, "pending", Time::default(), row.event.call.clone());
            }
        }
    }
    Ok(found)
}

/// Whether an event has this message id: its sender's, or the one that is made for it.
pub fn is_called(call: &mut RawCall, id: &str) -> bool {
    let derived = call.fingerprint().message_id();
    let Some(fields) = call.fields() else { return derived == id };
    match fields.get("messageId") {
        Some(Value::String(own)) if !own.is_empty() => own == id,
        Some(Value::Number(own)) => own.to_string() == id,
        _ => derived == id,
    }
}

impl Original {
    fn of(seq: u64, ended: Time, call: Result<RawCall, String>) -> Self {
        let call = call.ok();
        Self {
            seq,
            ended_at: ended.to_string(),
            outcome: String::new(),
            reason: String::new(),
            message: String::new(),
            source: call.as_ref().map(|call| call.arrival.source.clone()).unwrap_or_default(),
            arrival: call.as_ref().and_then(|call| serde_json::to_value(&call.arrival).ok()),
            payload: call.as_ref().and_then(payload),
        }
    }
}
