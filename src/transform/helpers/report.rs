//! How a script speaks: to the stages behind it, and to the people who look at its events.

use rhai::{Dynamic, EvalAltResult, ImmutableString};

use super::reading::string;
use super::{Answer, Call, Group, Helper, ids, people};
use crate::transform::error::{code, throw};
use crate::transform::handle::{MapHandle, fields_of};
use crate::transform::made::{BusinessKey, IdentifyAs, Violation, Warning};

/// The answer of a handler that drops its event.
#[derive(Clone, Debug)]
pub(crate) struct Drop {
    /// The reason, a metric label.
    pub(crate) reason: ImmutableString,
}

pub(super) const HELPERS: &[Helper] = &[
    Helper {
        group: Group::Report,
        name: "drop",
        signature: "return drop(reason [, details])",
        doc: "Ends the event here, on purpose. It must be returned. The reason is counted, so it is a \
              fixed text; details are shown when the event is traced.",
        example: "if event.event == \"Ping\" { return drop(\"ping\"); }",
        gives: "",
        arity: (1, 2),
        run: drop,
    },
    Helper {
        group: Group::Report,
        name: "is_drop",
        signature: "is_drop(value)",
        doc: "Whether a value is what `drop` gives, for handlers that call one another.",
        example: "is_drop(#{})",
        gives: "false",
        arity: (1, 1),
        run: |call| Ok(call.arg(0).is::<Drop>().into()),
    },
    Helper {
        group: Group::Report,
        name: "fail",
        signature: "fail(reason)",
        doc: "Stops the handler: the event is wrong. What happens to it is the stage's `on_error`.",
        example: "try { fail(\"no order id\"); } catch (e) { return e.message; }",
        gives: "\"no order id\"",
        arity: (1, 1),
        run: |call| Err(throw(code::FAILED, string(call.arg(0)).unwrap_or_default().to_string())),
    },
    Helper {
        group: Group::Report,
        name: "expect",
        signature: "expect(condition, reason)",
        doc: "Calls `fail(reason)` unless the condition is `true`.",
        example: "expect(1 < 2, \"numbers are broken\")",
        gives: "",
        arity: (2, 2),
        run: |call| match call.arg(0).as_bool() {
            Ok(true) => Ok(Dynamic::UNIT),
            Ok(false) => Err(throw(code::FAILED, call.text(1)?.to_string())),
            Err(_) => Err(call.wrong(0, "true or false")),
        },
    },
    Helper {
        group: Group::Report,
        name: "warn",
        signature: "warn(code [, value])",
        doc: "Counts a warning; the value is shown when the event is traced.",
        example: "warn(\"names.unplanned\", \"Quiz Done\")",
        gives: "",
        arity: (1, 2),
        run: |call| {
            let value = if call.count() == 2 { call.arg(1).clone() } else { Dynamic::UNIT };
            let value = call.session.to_value(&value)?;
            let code = call.text(0)?.to_string();
            call.session.hint(None, |hints| hints.warnings.push(Warning { code, value }));
            Ok(Dynamic::UNIT)
        },
    },
    Helper {
        group: Group::Report,
        name: "violation",
        signature: "violation(kind, path)  or  event.violation(kind, path)",
        doc: "Reports that something in the event breaks its contract; the event goes on.",
        example: "violation(\"unreadable_money\", \"properties.total\")",
        gives: "",
        arity: (2, 3),
        run: |call| {
            let (event, at) = receiver(call, 2)?;
            let (kind, path) = (call.text(at)?.to_string(), call.text(at + 1)?.to_string());
            let violation = Violation { kind, path };
            call.session.hint(event.as_ref(), |hints| hints.violations.push(violation));
            Ok(Dynamic::UNIT)
        },
    },
    Helper {
        group: Group::Report,
        name: "note",
        signature: "event.note(name, value)",
        doc: "Keeps a value to be shown when the event is traced.",
        example: "let e = #{}; note(\"renamed_from\", \"Purchase\")",
        gives: "",
        arity: (2, 3),
        run: |call| {
            let (event, at) = receiver(call, 2)?;
            let name = call.text(at)?.to_string();
            let value = call.session.to_value(call.arg(at + 1))?;
            call.session.hint(event.as_ref(), |hints| hints.notes.push((name, value)));
            Ok(Dynamic::UNIT)
        },
    },
    Helper {
        group: Group::Report,
        name: "label",
        signature: "event.label(text)",
        doc: "Labels the event for the guard's rules and for people.",
        example: "label(\"backfill\")",
        gives: "",
        arity: (1, 2),
        run: |call| {
            let (event, at) = receiver(call, 1)?;
            let label = call.text(at)?.to_string();
            call.session.hint(event.as_ref(), |hints| {
                if !hints.labels.contains(&label) {
                    hints.labels.push(label);
                }
            });
            Ok(Dynamic::UNIT)
        },
    },
    Helper {
        group: Group::Report,
        name: "replay",
        signature: "event.replay(reason)",
        doc: "Says that the event is a re-send of old data, so the guard treats it as a replay.",
        example: "replay(\"nightly export\")",
        gives: "",
        arity: (1, 2),
        run: |call| {
            let (event, at) = receiver(call, 1)?;
            let reason = call.text(at)?.to_string();
            call.session.hint(event.as_ref(), |hints| hints.replay = Some(reason));
            Ok(Dynamic::UNIT)
        },
    },
    Helper {
        group: Group::Report,
        name: "dedupe_by",
        signature: "event.dedupe_by(name, part [, …])",
        doc: "Gives the event a business key of up to four parts: a second event with the same key is \
              the same thing reported twice. A blank part gives no key and a violation.",
        example: "dedupe_by(#{}, \"order_completed\", 1001)",
        gives: "",
        arity: (3, 6),
        run: dedupe_by,
    },
    Helper {
        group: Group::Report,
        name: "identify_as",
        signature: "event.identify_as(#{id, email})",
        doc: "Says whose event it is, where the event itself does not: an id, an e-mail address, or \
              both. What is blank or no address is left out.",
        example: "identify_as(#{}, #{email: \"ann@example.com\"})",
        gives: "",
        arity: (2, 2),
        run: identify_as,
    },
];

/// The event of a method call, and where the other arguments start. Without one it is about the event
/// that the handler was called with.
fn receiver(
    call: &Call<'_, '_>,
    others: usize,
) -> Result<(Option<MapHandle>, usize), Box<EvalAltResult>> {
    if call.count() == others {
        return Ok((None, 0));
    }
    if let Some(event) = MapHandle::of(call.arg(0)) {
        return Ok((Some(event), 1));
    }
    if call.arg(0).is_map() {
        // A map that the script made itself: it has no identity, so it is about the handler's event.
        return Ok((None, 1));
    }
    Err(call.wrong(0, "an event"))
}

fn drop(call: &mut Call<'_, '_>) -> Answer {
    let reason = call.text(0)?;
    if call.count() == 2 {
        let details = call.session.to_value(call.arg(1))?;
        call.session.hint(None, |hints| hints.notes.push(("dropped".into(), details)));
    }
    call.session.dropped.set(Some(call.context.call_position()));
    Ok(Dynamic::from(Drop { reason }))
}

fn dedupe_by(call: &mut Call<'_, '_>) -> Answer {
    let (event, _) = receiver(call, usize::MAX)?;
    let name = call.text(1)?.to_string();
    let mut parts = Vec::new();
    for at in 2..call.count() {
        let part = ids::id(call.arg(at))
            .or_else(|| call.arg(at).as_bool().ok().and_then(|_| string(call.arg(at))));
        match part {
            Some(part) => parts.push(part.to_string()),
            None => {
                let violation =
                    Violation { kind: "blank_key".into(), path: format!("dedupe_by {name}") };
                call.session.hint(event.as_ref(), |hints| hints.violations.push(violation));
                return Ok(Dynamic::UNIT);
            }
        }
    }
    call.session.hint(event.as_ref(), |hints| {
        hints.dedupe_by = Some(BusinessKey { name, parts });
    });
    Ok(Dynamic::UNIT)
}

fn identify_as(call: &mut Call<'_, '_>) -> Answer {
    let (event, at) = receiver(call, usize::MAX)?;
    let fields = fields_of(call.arg(at)).ok_or_else(|| call.wrong(at, "a map such as #{email}"))?;
    let mut person = IdentifyAs::default();
    for (name, value) in fields {
        match name.as_str() {
            "id" => person.id = ids::id(&value).map(|id| id.to_string()),
            "email" => person.email = people::email(&value).map(|email| email.to_string()),
            other => {
                return Err(throw(
                    code::SCRIPT,
                    format!("identify_as knows id and email, not {other:?}"),
                ));
            }
        }
    }
    if person != IdentifyAs::default() {
        call.session.hint(event.as_ref(), |hints| hints.identify_as = Some(person));
    }
    Ok(Dynamic::UNIT)
}
