//! Times in any dialect that senders use, see [`crate::spec::timestamp`].

use rhai::{Dynamic, EvalAltResult};
use serde_json::{Number, Value};

use super::reading::{Kind, Unread, parse, unreadable};
use super::{Answer, Call, Group, Helper};
use crate::clock::Time;
use crate::spec::timestamp;
use crate::transform::handle::as_text;

pub(super) const HELPERS: &[Helper] = &[
    Helper {
        group: Group::Time,
        name: "parse_time",
        signature: "parse_time(value [, default])",
        doc: "Reads a time (ISO 8601, RFC 2822, seconds or milliseconds since 1970, `05/15/2024`) and \
              writes it as RFC 3339 in UTC.",
        example: "parse_time(1767323045)",
        gives: "\"2026-01-02T03:04:05.000Z\"",
        arity: (1, 2),
        run: |call| parse_as(call, Kind::Time),
    },
    Helper {
        group: Group::Time,
        name: "unix_time",
        signature: "unix_time(value [, default])",
        doc: "Reads a time and gives whole seconds since 1970, as date attributes of Customer.io want \
              them.",
        example: "unix_time(\"2026-01-02T03:04:05Z\")",
        gives: "1767323045",
        arity: (1, 2),
        run: |call| parse_as(call, Kind::Unix),
    },
    Helper {
        group: Group::Time,
        name: "seconds_between",
        signature: "seconds_between(from, to)",
        doc: "The seconds from one time to another; negative when the second is earlier.",
        example: "seconds_between(\"2026-01-01T00:00:00Z\", \"2026-01-01T00:01:30Z\")",
        gives: "90",
        arity: (2, 2),
        run: |call| Ok((time(call, 1)?.millis_since(time(call, 0)?) / 1000).into()),
    },
    Helper {
        group: Group::Time,
        name: "add_seconds",
        signature: "add_seconds(time, seconds)",
        doc: "A time so many seconds later.",
        example: "add_seconds(\"2026-01-01T00:00:00Z\", 90)",
        gives: "\"2026-01-01T00:01:30.000Z\"",
        arity: (2, 2),
        run: |call| {
            let millis = call.int(1)?.saturating_mul(1000);
            let at = time(call, 0)?.millis().saturating_add(millis);
            Ok(Time::from_millis(at).to_string().into())
        },
    },
    Helper {
        group: Group::Time,
        name: "is_before",
        signature: "is_before(a, b)",
        doc: "Whether the first time is earlier than the second.",
        example: "is_before(\"2026-01-01\", \"2026-01-02T00:00:00+02:00\")",
        gives: "true",
        arity: (2, 2),
        run: |call| Ok((time(call, 0)? < time(call, 1)?).into()),
    },
];

fn parse_as(call: &mut Call<'_, '_>, kind: Kind) -> Answer {
    let session = call.session;
    parse(call, 1, kind.noun(), |value| kind.read(value, session))
}

fn time(call: &Call<'_, '_>, at: usize) -> Result<Time, Box<EvalAltResult>> {
    read(call.arg(at)).ok_or_else(|| unreadable(call.arg(at), "time", Unread::Not))
}

/// A number below this is a count or a date in digits (`20260102`), not seconds since 1970: those
/// have had nine digits since 1973.
const FEWEST_SECONDS: f64 = 1e8;

/// Reads a time.
pub(super) fn read(value: &Dynamic) -> Option<Time> {
    if let Some(number) = super::money::float(value) {
        if number.abs() < FEWEST_SECONDS {
            return None;
        }
        return timestamp::parse(&Value::Number(Number::from_f64(number)?));
    }
    timestamp::parse_text(as_text(value)?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_many_dialects_are_one_time() {
        let text = |text: &str| Dynamic::from(text.to_owned());
        let expected = 1_767_323_045;
        let table = [
            ("iso", text("2026-01-02T03:04:05Z")),
            ("iso with millis", text("2026-01-02T03:04:05.000Z")),
            ("iso with offset", text("2026-01-02T05:04:05+02:00")),
            ("iso without zone", text("2026-01-02T03:04:05")),
            ("a blank between", text("2026-01-02 03:04:05")),
            ("seconds", Dynamic::from_int(1_767_323_045)),
            ("milliseconds", Dynamic::from_int(1_767_323_045_000)),
            ("seconds as a float", Dynamic::from_float(1_767_323_045.0)),
            ("seconds as a text", text("1767323045")),
            ("milliseconds as a text", text(" 1767323045000 ")),
            ("rfc 2822", text("Fri, 02 Jan 2026 03:04:05 +0000")),
            ("american", text("01/02/2026 03:04:05")),
        ];
        for (what, value) in table {
            assert_eq!(read(&value).map(Time::secs), Some(expected), "{what}");
        }
        let none = [
            ("words", text("yesterday")),
            ("blank", text("")),
            ("a date in digits", Dynamic::from_int(20_260_102)),
            ("a count", Dynamic::from_int(5)),
            ("a flag", Dynamic::from_bool(true)),
            ("nothing", Dynamic::UNIT),
            ("no such day", text("2026-02-30")),
        ];
        for (what, value) in none {
            assert_eq!(read(&value), None, "{what}");
        }
    }
}
