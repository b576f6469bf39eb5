//! Event time: when something happened, read from what senders call a time.
//!
//! Segment corrects every time by how wrong the device's clock was when it sent
//! (`receivedAt - (sentAt - originalTimestamp)`); RudderStack keeps a readable `timestamp` and
//! corrects only where there is none. A time that cannot be read is never guessed: the time of
//! receipt stands in, and says so.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::{Arrival, EventTime, Ingress, Object, TimeOrigin, Vendor, field};
use crate::clock::Time;

/// A device whose clock is this far off is not believed about the age of its events.
const WRONG_CLOCK: Duration = Duration::from_secs(5 * 60);

/// What the time fields of a call say.
pub(super) struct Times {
    pub(super) event: EventTime,
    pub(super) received_at: Time,
}

/// Reads the times of a call by its vendor's rules.
pub(super) fn read(vendor: Vendor, arrival: &Arrival, fields: &Object) -> Times {
    let time = |name: &str| field(fields, name).and_then(parse);
    let received_at = match arrival.ingress {
        Ingress::Api => arrival.accepted_at,
        Ingress::Webhook => time("receivedAt")
            .filter(|said| said.millis_since(arrival.accepted_at) < 300_000)
            .unwrap_or(arrival.accepted_at),
    };
    let original = time("originalTimestamp").or_else(|| time("timestamp"));
    let sent = time("sentAt");
    let corrected = original.zip(sent).map(|(original, sent)| {
        Time::from_millis(received_at.millis().saturating_sub(sent.millis_since(original)))
    });
    let stated = match (vendor, arrival.ingress) {
        // The SDK's own `timestamp` is what Segment calls `originalTimestamp`: not yet corrected.
        (Vendor::Segment, Ingress::Api) => None,
        (Vendor::Rudderstack, Ingress::Api) => time("timestamp"),
        // A vendor's webhook passes on what was corrected already.
        (_, Ingress::Webhook) => time("timestamp").or(original),
    };
    let event = match (stated, corrected, original) {
        (Some(at), _, _) => given(at, vendor, sent, received_at, corrected),
        (None, Some(at), _) => EventTime { at, origin: TimeOrigin::Corrected, for_age: None },
        (None, None, Some(at)) => EventTime { at, origin: TimeOrigin::Given, for_age: None },
        (None, None, None) => {
            // Without a time of receipt the time of sending is nearer to the event than now is.
            let at = match arrival.ingress {
                Ingress::Webhook if time("receivedAt").is_none() => {
                    sent.filter(|sent| *sent < received_at).unwrap_or(received_at)
                }
                _ => received_at,
            };
            EventTime { at, origin: TimeOrigin::Received, for_age: None }
        }
    };
    Times { event, received_at }
}

/// A stated time stands; but where the sender's clock is certainly wrong, RudderStack's uncorrected
/// time is not what the event's age is measured from.
fn given(
    at: Time,
    vendor: Vendor,
    sent: Option<Time>,
    received_at: Time,
    corrected: Option<Time>,
) -> EventTime {
    let wrong_clock = sent.is_some_and(|sent| {
        sent.millis_since(received_at).unsigned_abs() > WRONG_CLOCK.as_millis() as u64
    });
    let for_age = corrected.filter(|_| vendor == Vendor::Rudderstack && wrong_clock);
    EventTime { at, origin: TimeOrigin::Given, for_age }
}

/// Reads a time in any dialect that senders use: ISO 8601 with or without a zone (none is UTC),
/// seconds, milliseconds, microseconds or nanoseconds since the epoch as a number or as digits,
/// RFC 2822, `MM/DD/YYYY`, `May 15 2024`, and what Ruby, Go, C and JavaScript print.
pub fn parse(value: &Value) -> Option<Time> {
    match value {
        Value::String(text) => parse_text(text.trim()),
        Value::Number(number) => number.as_f64().and_then(from_epoch),
        _ => None,
    }
}

/// Reads a time from a text; see [`parse`].
pub fn parse_text(text: &str) -> Option<Time> {
    if text.is_empty() || text.len() > 100 {
        return None;
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(Time::from_millis(at.as_millisecond()));
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().all(|c| c.is_ascii_digit() || c == b'.') {
        return (digits.len() >= 9).then(|| text.parse().ok().and_then(from_epoch)).flatten();
    }
    if text.starts_with(|c: char| c.is_ascii_digit())
        && let Ok(at) = text.parse::<DateTime>()
    {
        return in_utc(at);
    }
    if let Ok(at) = jiff::fmt::rfc2822::parse(text) {
        return Some(Time::from_millis(at.timestamp().as_millisecond()));
    }
    // JavaScript says the zone a second time, in brackets, and puts narrow spaces before AM and PM.
    let text = text.split(" (").next().unwrap_or(text).replace(['\u{202f}', '\u{a0}'], " ");
    parse_with_zone(&text).or_else(|| parse_written_out(&text))
}

/// What programs print of a time with its zone: `2026-03-14 09:26:53 +0000` (Ruby), the same with a
/// name behind (Go), `Sat Mar 14 2026 09:26:53 GMT+0000` (JavaScript). The name of a zone alone says
/// nothing, unless it is UTC's: there are three `CST`.
fn parse_with_zone(text: &str) -> Option<Time> {
    const FORMATS: [&str; 5] = [
        "%Y-%m-%d %H:%M:%S%.f %z",
        "%Y/%m/%d %H:%M:%S%.f %z",
        "%a %b %d %Y %H:%M:%S GMT%z",
        "%a %b %d %H:%M:%S %z %Y",
        "%m/%d/%Y %H:%M:%S %z",
    ];
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_offset = |word: &str| word.starts_with(['+', '-']) && word.len() >= 3;
    let is_name = |word: &str| {
        (1..=5).contains(&word.len()) && word.bytes().all(|letter| letter.is_ascii_uppercase())
    };
    let mut kept: Vec<&str> = Vec::with_capacity(words.len());
    for word in words {
        match word {
            name if is_name(name) && kept.last().is_some_and(|before| is_offset(before)) => {}
            "UTC" | "GMT" | "Z" => kept.push("+0000"),
            other => kept.push(other),
        }
    }
    let text = kept.join(" ");
    let read = |format: &&str| BrokenDownTime::parse(format, &text).ok()?.to_timestamp().ok();
    FORMATS.iter().find_map(read).map(|at| Time::from_millis(at.as_millisecond()))
}

/// The dialects that JavaScript's `Date` reads and people write.
fn parse_written_out(text: &str) -> Option<Time> {
    const WITH_TIME: [&str; 8] = [
        "%m/%d/%Y %H:%M:%S",
        "%m/%d/%Y %H:%M",
        "%m/%d/%Y, %I:%M:%S %p",
        "%m/%d/%Y, %H:%M:%S",
        "%Y/%m/%d %H:%M:%S%.f",
        "%b %d, %Y %H:%M:%S",
        "%b %d %Y %H:%M:%S",
        "%a %b %d %H:%M:%S %Y",
    ];
    const DATES: [&str; 8] = [
        "%m/%d/%Y",
        "%Y/%m/%d",
        "%b %d, %Y",
        "%b %d %Y",
        "%d %b %Y",
        "%B %d, %Y",
        "%B %d %Y",
        "%d %B %Y",
    ];
    let with_time = WITH_TIME.iter().find_map(|format| DateTime::strptime(format, text).ok());
    let date = || DATES.iter().find_map(|format| Date::strptime(format, text).ok());
    in_utc(with_time.or_else(|| date().map(DateTime::from))?)
}

fn in_utc(at: DateTime) -> Option<Time> {
    let zoned = at.to_zoned(TimeZone::UTC).ok()?;
    Some(Time::from_millis(zoned.timestamp().as_millisecond()))
}

/// The unit follows from the size: no real event has a time for which two units make sense.
fn from_epoch(value: f64) -> Option<Time> {
    let millis = match value.abs() {
        size if !size.is_finite() || size > 1e20 => return None,
        size if size > 1e17 => value / 1e6,
        size if size > 1e14 => value / 1e3,
        size if size > 1e11 => value,
        _ => value * 1e3,
    };
    // Whole milliseconds of a size that an i64 holds exactly.
    #[allow(clippy::cast_possible_truncation)]
    Some(Time::from_millis(millis.round() as i64))
}
