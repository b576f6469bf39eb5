//! Dead letters as an operator sees them: which ones, listed without their payload, shown with it,
//! and sent on their way again.
//!
//! The same code answers the API and the command line that opened the journal itself.
//!
//! Not here: why an event becomes one ([`crate::pipeline`]), how they are kept ([`crate::journal`]).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::{AdminError, watch};
use crate::clock::Time;
use crate::config::Span;
use crate::journal::{DeadFilter, DeadRow, Journal, Reply, Seq};
use crate::outcome::DeadCode;
use crate::spec::{Object, RawCall};

/// How many are listed at a time unless somebody says otherwise.
pub const PAGE: usize = 100;
/// How many are listed at a time at most.
pub const LONGEST_PAGE: usize = 1000;
/// Names and ids are cut: they come from outside.
const LONGEST_NAME: usize = 200;
/// More than any journal holds; keeps sums of it from overflowing.
const ALL: u64 = 1 << 40;

/// Which dead letters, as an operator says it. Empty: all of them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// Only the one with this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Only of this reason, as in `script_failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Only of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only those that died under the scripts with this hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// Only those that died at this time or later: `2026-01-15T12:00:00Z`, or `24h` for a day ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only those that died before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// A page of the list, oldest first.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Page {
    /// The rows.
    pub dead_letters: Vec<Row>,
    /// Where the next page begins (`after`), where there is more.
    pub next: Option<u64>,
}

/// One dead letter without its payload.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Row {
    /// Its number.
    pub seq: u64,
    /// When it died.
    pub died_at: String,
    /// When it was accepted; `None`: the record is damaged.
    pub accepted_at: Option<String>,
    /// Why, as a code.
    pub reason: String,
    /// The stage that could not go on.
    pub stage: String,
    /// What happened, in a sentence.
    pub message: String,
    /// The scripts that were in force.
    pub bundle: String,
    /// Its source.
    pub source: String,
    /// Type and name, as in `track Order Completed`; empty when it cannot be read.
    pub event: String,
    /// Its message id; empty when it cannot be read.
    pub message_id: String,
}

/// One dead letter, whole.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Letter {
    /// The row of the list.
    pub dead_letter: Row,
    /// What a machine can use: script position, Customer.io's answer.
    pub detail: Option<Value>,
    /// How it came in.
    pub arrival: Option<Value>,
    /// The original as it was received; a text where it is no JSON, `None` where it is damaged.
    pub payload: Option<Box<RawValue>>,
}

/// What is to be sent on its way again.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redrive {
    /// Which ones.
    pub filter: Selection,
    /// At most so many, the oldest first. Default: no limit.
    pub max: Option<u64>,
    /// Whether all of them are meant when the filter is empty.
    pub all: bool,
}

/// What a redrive did.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Redriven {
    /// How many went back into their queue.
    pub redriven: u64,
}

impl Selection {
    /// The filter that this means at `now`.
    ///
    /// # Errors
    /// An unknown reason, or a time that cannot be read.
    pub fn filter(&self, now: Time) -> Result<DeadFilter, AdminError> {
        Ok(DeadFilter {
            seq: self.seq.map(Seq),
            code: self.code.as_deref().map(read_code).transpose()?,
            source: self.source.clone(),
            bundle: self.bundle.clone(),
            since: self.since.as_deref().map(|text| read_time(text, now)).transpose()?,
            until: self.until.as_deref().map(|text| read_time(text, now)).transpose()?,
        })
    }
}

/// Lists up to `limit` dead letters behind number `after`, oldest first.
///
/// # Errors
/// The filter cannot be read, or the journal fails.
pub fn list(
    journal: &dyn Journal,
    selection: &Selection,
    after: Option<u64>,
    limit: usize,
    now: Time,
) -> Result<Page, AdminError> {
    let filter = selection.filter(now)?;
    let limit = limit.clamp(1, LONGEST_PAGE);
    let mut rows = Vec::new();
    let mut after = after.map(Seq);
    // One more than is asked for tells whether there is more; a read may give less than asked for.
    while rows.len() <= limit {
        let found = journal.dead(&filter, after, limit + 1 - rows.len())?;
        let Some(last) = found.last() else { break };
        after = Some(last.seq);
        rows.extend(found.into_iter().map(Row::of));
    }
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().map(|row| row.seq).filter(|_| more);
    Ok(Page { dead_letters: rows, next })
}

/// Shows one dead letter with its payload.
///
/// # Errors
/// There is none with this number, or the journal fails.
pub fn show(journal: &dyn Journal, seq: u64) -> Result<Letter, AdminError> {
    let row = watch::find(journal, Seq(seq))?.ok_or(AdminError::NoSuchDeadLetter(seq))?;
    let detail = row.letter.detail.clone();
    let call = row.call.as_ref().ok();
    let arrival = call.and_then(|call| serde_json::to_value(&call.arrival).ok());
    let payload = call.and_then(payload);
    Ok(Letter { dead_letter: Row::of(row), detail, arrival, payload })
}

/// Asks the journal to put dead letters back into their queues; damaged ones stay.
///
/// # Errors
/// Nothing says which ones, or the filter cannot be read.
pub fn redrive(
    journal: &dyn Journal,
    request: &Redrive,
    now: Time,
) -> Result<Reply<u64>, AdminError> {
    if request.filter == Selection::default() && !request.all {
        return Err(AdminError::EmptyFilter);
    }
    let max = request.max.unwrap_or(ALL).min(ALL);
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    Ok(journal.redrive(&request.filter.filter(now)?, max))
}

impl Row {
    fn of(row: DeadRow) -> Self {
        let mut this = Self {
            seq: row.seq.0,
            died_at: row.at.to_string(),
            accepted_at: None,
            reason: row.letter.code.as_str().into(),
            stage: row.letter.stage.as_str().into(),
            message: row.letter.message,
            bundle: row.bundle,
            source: String::new(),
            event: String::new(),
            message_id: String::new(),
        };
        if let Ok(mut call) = row.call {
            this.accepted_at = Some(call.arrival.accepted_at.to_string());
            this.source.clone_from(&call.arrival.source);
            this.name(&mut call);
        }
        this
    }

    /// Says which event it is, as far as it can be read.
    fn name(&mut self, call: &mut RawCall) {
        let said = call.arrival.call.map(|call| call.as_str().to_owned());
        let derived = call.fingerprint().message_id();
        let Some(fields) = call.fields() else { return };
        let kind = said.or_else(|| text(fields, "type")).unwrap_or_default();
        let name = text(fields, "event").or_else(|| text(fields, "name")).unwrap_or_default();
        self.event = format!("{kind} {name}").trim().to_owned();
        self.message_id = text(fields, "messageId").unwrap_or(derived);
    }
}

fn text(fields: &Object, name: &str) -> Option<String> {
    let text = match fields.get(name)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let text: String = text.chars().take(LONGEST_NAME).collect();
    (!text.is_empty()).then_some(text)
}

pub(super) fn payload(call: &RawCall) -> Option<Box<RawValue>> {
    match serde_json::from_slice(&call.body) {
        Ok(json) => Some(json),
        Err(_) => to_raw_value(&String::from_utf8_lossy(&call.body)).ok(),
    }
}

fn read_code(text: &str) -> Result<DeadCode, AdminError> {
    let known = DeadCode::ALL.into_iter().find(|code| code.as_str() == text);
    known.ok_or_else(|| AdminError::UnknownReason(text.into()))
}

pub(super) fn read_time(text: &str, now: Time) -> Result<Time, AdminError> {
    let ago = || Span::parse(text).map(|span| now.minus(span.duration()));
    Time::parse(text).or_else(ago).ok_or_else(|| {
        AdminError::BadRequest(format!(
            "{text:?} is no time: write for example 2026-01-15T12:00:00Z, or 24h for a day ago"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{DeadLetter, Stage};
    use crate::spec::Arrival;

    #[test]
    fn a_selection_is_read_or_says_what_is_wrong_with_it() {
        let now = Time::parse("2026-01-15T12:00:00Z").unwrap();
        let since = |text: &str| Selection { since: Some(text.into()), ..Selection::default() };
        let code = |text: &str| Selection { code: Some(text.into()), ..Selection::default() };
        let read = |selection: Selection| selection.filter(now);

        assert_eq!(read(since("2026-01-15T11:00:00Z")).unwrap().since, Some(now.minus(hours(1))));
        assert_eq!(read(since("1h")).unwrap().since, Some(now.minus(hours(1))));
        assert_eq!(read(code("script_failed")).unwrap().code, Some(DeadCode::ScriptFailed));
        assert_eq!(read(since("yesterday")).unwrap_err().code(), "bad_request");
        let unknown = read(code("script_faild")).unwrap_err();
        assert_eq!(unknown.code(), "unknown_reason");
        assert!(unknown.to_string().contains("script_failed"), "{unknown}");
    }

    fn hours(hours: u64) -> std::time::Duration {
        std::time::Duration::from_secs(hours * 3600)
    }

    #[test]
    fn a_misspelt_filter_is_an_error_not_everything() {
        let request = serde_json::from_str::<Redrive>(r#"{"filter":{"reasn":"rejected"}}"#);
        assert!(request.is_err());
    }

    #[test]
    fn a_row_names_the_event_whatever_its_shape() {
        let table = [
            ("as usual", r#"{"type":"track","event":"Paid","messageId":"m"}"#, "track Paid", "m"),
            (
                "a number for an id",
                r#"{"type":"page","name":"Home","messageId":7}"#,
                "page Home",
                "7",
            ),
            ("no name", r#"{"type":"identify","messageId":"m"}"#, "identify", "m"),
            ("an odd type", r#"{"type":[],"messageId":"m"}"#, "", "m"),
            ("no JSON", "{", "", ""),
        ];
        for (what, body, event, message_id) in table {
            let row = Row::of(DeadRow {
                seq: Seq(1),
                at: Time::default(),
                letter: DeadLetter::new(DeadCode::InvalidEvent, Stage::Spec, "odd"),
                bundle: "abc".into(),
                call: Ok(RawCall::new(Arrival::default(), body.to_owned().into())),
            });
            assert_eq!(
                (row.event.as_str(), row.message_id.as_str()),
                (event, message_id),
                "{what}"
            );
        }
    }

    #[test]
    fn the_payload_is_shown_to_the_letter_even_when_it_is_no_json() {
        let shown = |body: &'static str| {
            let call = RawCall::new(Arrival::default(), body.into());
            payload(&call).unwrap().get().to_owned()
        };
        assert_eq!(shown(r#"{"total": 49.00, "n": 1e400}"#), r#"{"total": 49.00, "n": 1e400}"#);
        assert_eq!(shown("{nope"), r#""{nope""#);
    }
}
