//! What an answer of Customer.io means for the request that it answers.
//!
//! The vendor declares little: 200, 207 for a batch with bad items, 400 for a request that is bad as
//! a whole, 401. The rest is read so that nothing is lost and nothing is repeated without need: what
//! certainly was not processed may be judged anew before it is sent again, a body of unknown fate is
//! sent again unchanged (its ids make Customer.io ignore what it already has).
//!
//! Where the answer is a list of bad items, it is believed whatever the status: one was seen inside a
//! 200, another as JSON within a JSON text. A 2xx whose body cannot be read counts as accepted, for
//! nothing depends on what a 200 says beside that list, with two exceptions: a page of HTML comes
//! from something between us and Customer.io, and a 207 certainly has a list.
//!
//! Not here: what is done then, and when ([`crate::delivery`]).

use std::time::Duration;

use serde_json::Value;

use crate::clock::Time;

/// Nobody waits longer than this because a header says so.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Messages of Customer.io are kept up to this many characters.
const MESSAGE_CHARS: usize = 300;

/// What became of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Customer.io has it, except the items that it lists. They are bad for good: repeating them is
    /// useless.
    Accepted {
        /// What was refused, in the order of the answer; one item may have several errors.
        rejected: Vec<ItemError>,
    },
    /// Nothing of it was taken, and repeating it as it is would be useless: 400, 414, 422, 431, or a
    /// list of errors that does not say which items it is about. A half of the batch may be good.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What Customer.io says, without e-mail addresses; may be empty.
        message: String,
    },
    /// Too much at once (413). Nothing of it was taken.
    TooLarge,
    /// The credentials are wrong or not enough (401, 403). Nothing of it was taken, and everything
    /// else would get the same answer.
    Unauthorized {
        /// The HTTP status.
        status: u16,
    },
    /// It may work later.
    TryAgain {
        /// The HTTP status; `None` when there was no answer.
        status: Option<u16>,
        /// How long Customer.io asks to wait, at most 300 s.
        retry_after: Option<Duration>,
        /// Whether it may have been processed all the same.
        unknown_fate: bool,
    },
}

/// One error about one item of a batch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ItemError {
    /// The item's place in the batch, from 0.
    pub index: usize,
    /// The kind of error, such as `invalid`.
    pub reason: String,
    /// The field, such as `attributes.plan`.
    pub field: String,
    /// The vendor's sentence, without e-mail addresses.
    pub message: String,
}

/// Reads an answer.
///
/// `retry_after` is the header of that name as it came (seconds or an HTTP date, measured against
/// `now`), `body` is what was read of the body.
pub fn read(status: u16, retry_after: Option<&str>, body: &[u8], now: Time) -> Answer {
    let try_again = |unknown_fate| Answer::TryAgain {
        status: Some(status),
        retry_after: retry_after.and_then(|header| wait(header, now)),
        unknown_fate,
    };
    match status {
        200..=299 => match Said::from(body) {
            Said::Nothing => Answer::Accepted { rejected: Vec::new() },
            Said::Errors(errors) => match attributed(&errors) {
                Some(rejected) => Answer::Accepted { rejected },
                None => Answer::Refused { status, message: sentence(&errors) },
            },
            Said::Unreadable if status == 207 => Answer::Refused {
                status,
                message: "the list of rejected items cannot be read".into(),
            },
            Said::Unreadable if is_html(body) => try_again(true),
            Said::Unreadable => Answer::Accepted { rejected: Vec::new() },
        },
        400 | 414 | 422 | 431 => {
            let message = match Said::from(body) {
                Said::Errors(errors) => sentence(&errors),
                Said::Nothing | Said::Unreadable => String::new(),
            };
            Answer::Refused { status, message }
        }
        401 | 403 => Answer::Unauthorized { status },
        413 => Answer::TooLarge,
        // A server that gave up waiting for the rest, or failed, may have processed what it had.
        408 | 500.. => try_again(true),
        // Too many requests; and whatever says that the address is wrong concerns every request, so
        // nothing is thrown away for it.
        _ => try_again(false),
    }
}

/// Whether an answer was taken as accepted although its body is not what Customer.io sends.
pub fn is_odd(status: u16, body: &[u8]) -> bool {
    (200..300).contains(&status) && matches!(Said::from(body), Said::Unreadable)
}

/// What a body says about errors.
enum Said {
    Nothing,
    Errors(Vec<Value>),
    Unreadable,
}

impl Said {
    fn from(body: &[u8]) -> Self {
        let body = body.trim_ascii();
        if body.is_empty() || body == b"{}" {
            return Self::Nothing;
        }
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::String(inner)) => match serde_json::from_str(&inner) {
                Ok(value) => Self::about(value),
                Err(_) if inner.trim().is_empty() => Self::Nothing,
                Err(_) => Self::Unreadable,
            },
            Ok(value) => Self::about(value),
            Err(_) => Self::Unreadable,
        }
    }

    /// v2 lists `errors`, v1 has `meta.errors` or `meta.error`.
    fn about(mut body: Value) -> Self {
        let Some(object) = body.as_object_mut() else { return Self::Unreadable };
        let found = object.remove("errors").or_else(|| {
            let meta = object.get_mut("meta")?.as_object_mut()?;
            meta.remove("errors").or_else(|| meta.remove("error"))
        });
        match found {
            None | Some(Value::Null) => Self::Nothing,
            Some(Value::Array(errors)) if errors.is_empty() => Self::Nothing,
            Some(Value::Array(errors)) => Self::Errors(errors),
            Some(other) => Self::Errors(vec![other]),
        }
    }
}

/// The errors with their items, unless one of them does not say which item it is about.
fn attributed(errors: &[Value]) -> Option<Vec<ItemError>> {
    errors
        .iter()
        .map(|error| {
            let index = match error.get("batch_index")? {
                Value::Number(number) => number.as_u64()?,
                Value::String(text) => text.parse().ok()?,
                _ => return None,
            };
            Some(ItemError {
                index: usize::try_from(index).ok()?,
                reason: text(error, "reason"),
                field: text(error, "field"),
                message: text(error, "message"),
            })
        })
        .collect()
}

fn text(error: &Value, name: &str) -> String {
    error.get(name).and_then(Value::as_str).map(without_addresses).unwrap_or_default()
}

/// All errors as one text for a person.
fn sentence(errors: &[Value]) -> String {
    let sentences: Vec<String> = errors
        .iter()
        .map(|error| match error {
            Value::String(sentence) => without_addresses(sentence),
            other => ["field", "reason", "message"]
                .iter()
                .map(|name| text(other, name))
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(": "),
        })
        .filter(|sentence| !sentence.is_empty())
        .collect();
    sentences.join("; ").chars().take(MESSAGE_CHARS).collect()
}

/// What goes into dead letters and logs must not say who somebody is.
fn without_addresses(message: &str) -> String {
    let words = message.split(' ').map(|word| if word.contains('@') { "[e-mail]" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(MESSAGE_CHARS).collect()
}

fn is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

/// Reads `Retry-After`.
fn wait(header: &str, now: Time) -> Option<Duration> {
    let header = header.trim();
    let asked = if header.bytes().all(|c| c.is_ascii_digit()) && !header.is_empty() {
        Duration::from_secs(header.parse().unwrap_or(u64::MAX))
    } else {
        let until = jiff::fmt::rfc2822::parse(header).ok()?.timestamp();
        Time::from_millis(until.as_millisecond()).since(now)
    };
    Some(asked.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1_800_000_000);

    fn accepted() -> Answer {
        Answer::Accepted { rejected: Vec::new() }
    }

    fn refused(status: u16, message: &str) -> Answer {
        Answer::Refused { status, message: message.into() }
    }

    fn again(status: u16, unknown_fate: bool) -> Answer {
        Answer::TryAgain { status: Some(status), retry_after: None, unknown_fate }
    }

    fn rejected(index: usize, reason: &str, field: &str, message: &str) -> Answer {
        let (reason, field, message) = (reason.into(), field.into(), message.into());
        Answer::Accepted { rejected: vec![ItemError { index, reason, field, message }] }
    }

    #[test]
    fn status_and_body_say_what_became_of_a_request() {
        let item = r#"{"errors":[{"batch_index":1,"reason":"invalid","field":"attributes.plan","message":"too long"}]}"#;
        let in_text = serde_json::to_string(item).unwrap();
        let found = rejected(1, "invalid", "attributes.plan", "too long");
        #[rustfmt::skip]
        let table = [
            ("nothing to say",                    200, "{}",                                   accepted()),
            ("an empty body",                     200, "",                                     accepted()),
            ("no content",                        204, "",                                     accepted()),
            ("an empty list",                     200, r#"{"errors":[]}"#,                     accepted()),
            ("an empty list in a 207",            207, r#"{"errors":[]}"#,                     accepted()),
            ("a bad item in a 207",               207, item,                                   found.clone()),
            ("a bad item in a 200",               200, item,                                   found.clone()),
            ("the list as JSON in a text",        207, in_text.as_str(),                       found),
            ("an index as a text",                207, r#"{"errors":[{"batch_index":"3"}]}"#,  rejected(3, "", "", "")),
            ("an error about no item",            207, r#"{"errors":[{"reason":"invalid"}]}"#, refused(207, "invalid")),
            ("a negative index",                  207, r#"{"errors":[{"batch_index":-1}]}"#,   refused(207, "")),
            ("a list that is cut off",            207, r#"{"errors":[{"batch_in"#,             refused(207, "the list of rejected items cannot be read")),
            ("a word after a 200",                200, "ok",                                   accepted()),
            ("a page of a proxy",                 200, "<html>Please log in</html>",           again(200, true)),
            ("a v2 request that is bad",          400, r#"{"errors":[{"reason":"required","field":"batch","message":"is missing"}]}"#, refused(400, "batch: required: is missing")),
            ("a v1 request that is bad",          400, r#"{"meta":{"errors":["name is missing","id too"]}}"#, refused(400, "name is missing; id too")),
            ("a v1 merge that is bad",            400, r#"{"meta":{"error":"primary is missing"}}"#, refused(400, "primary is missing")),
            ("bad without a reason",              400, "Bad Request",                          refused(400, "")),
            ("an address in a message",           400, r#"{"meta":{"error":"ann@x.io is taken"}}"#, refused(400, "[e-mail] is taken")),
            ("cannot be processed",               422, "{}",                                   refused(422, "")),
            ("wrong credentials",                 401, "{}",                                   Answer::Unauthorized { status: 401 }),
            ("not allowed",                       403, "{}",                                   Answer::Unauthorized { status: 403 }),
            ("too large",                         413, "",                                     Answer::TooLarge),
            ("the server waited in vain",         408, "",                                     again(408, true)),
            ("too many requests",                 429, "",                                     again(429, false)),
            ("the server failed",                 500, "",                                     again(500, true)),
            ("a gateway failed",                  502, "<html>",                               again(502, true)),
            ("unavailable",                       503, "",                                     again(503, true)),
            ("the origin was too slow",           524, "",                                     again(524, true)),
            ("an address that does not exist",    404, "",                                     again(404, false)),
            ("a redirect nobody may follow",      302, "",                                     again(302, false)),
        ];
        for (what, status, body, expected) in table {
            assert_eq!(read(status, None, body.as_bytes(), NOW), expected, "{what}");
        }
    }

    #[test]
    fn the_time_to_wait_is_read_in_seconds_or_as_a_date_and_has_a_limit() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        #[rustfmt::skip]
        let table = [
            ("seconds",               "7",                              seconds(7)),
            ("spaces around",         " 7 ",                            seconds(7)),
            ("none",                  "0",                              seconds(0)),
            ("too many",              "86400",                          seconds(300)),
            ("far too many",          "99999999999999999999999",        seconds(300)),
            ("a date",                "Fri, 15 Jan 2027 08:00:20 GMT",  seconds(20)),
            ("a date in the past",    "Fri, 15 Jan 2027 07:00:00 GMT",  seconds(0)),
            ("a date far ahead",      "Sat, 15 Jan 2028 08:00:00 GMT",  seconds(300)),
            ("a word",                "soon",                           None),
            ("nothing",               "",                               None),
        ];
        for (what, header, expected) in table {
            let Answer::TryAgain { retry_after, .. } = read(429, Some(header), b"", NOW) else {
                panic!("{what}: a 429 may be tried again");
            };
            assert_eq!(retry_after, expected, "{what}");
        }
    }

    #[test]
    fn two_errors_of_one_item_are_both_kept() {
        let body = br#"{"errors":[{"batch_index":0,"reason":"a"},{"batch_index":0,"reason":"b"}]}"#;
        let Answer::Accepted { rejected } = read(207, None, body, NOW) else { panic!("accepted") };
        let reasons: Vec<_> = rejected.iter().map(|error| error.reason.as_str()).collect();
        assert_eq!(reasons, ["a", "b"]);
    }

    #[test]
    fn only_a_body_that_customer_io_does_not_send_is_odd() {
        assert!(is_odd(200, b"ok"));
        assert!(!is_odd(200, b"{}"));
        assert!(!is_odd(500, b"ok"));
    }
}
