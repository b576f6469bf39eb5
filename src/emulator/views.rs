//! What the emulator shows of itself, under `/emulator`: JSON over GET, and the two things that can
//! be done to it, a reset and faults.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::faults::{FaultRule, Faults};
use super::message::{Request, Response};
use super::{Emulator, Person, Reminder, routes};
use crate::clock::Time;

/// How many entries a view shows unless `limit` says otherwise.
const LIMIT: usize = 1000;

const NOBODY: &str = "nobody has this id, e-mail address, cio_id or anonymous id";

/// Answers a request to a view.
pub(super) fn answer(
    emulator: &mut Emulator,
    request: &Request,
    parts: &[String],
    now: Time,
) -> Response {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let page = Page::of(request);
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", []) => Response::json(200, &index(emulator)),
        ("DELETE", []) => {
            emulator.reset();
            Response::json(200, &json!({}))
        }
        ("GET", ["people"]) => people(emulator, page),
        ("GET", ["people", identifier]) => match emulator.person(identifier) {
            Some(person) => Response::json(200, &person),
            None => error(404, NOBODY),
        },
        ("GET", ["people", identifier, "reminders"]) => {
            reminders(emulator, identifier, &request.path, now)
        }
        ("GET", ["objects"]) => Response::json(200, &json!({ "objects": emulator.objects() })),
        ("GET", ["events"]) => {
            let shown = emulator.workspace.events_since(page.since).take(page.limit);
            let forgotten = emulator.workspace.forgotten_events();
            page.show("events", shown, |event| event.seq, forgotten)
        }
        ("GET", ["activity"]) => {
            let shown = emulator.log.iter().filter(|entry| entry.seq > page.since);
            page.show(
                "activity",
                shown.take(page.limit),
                |entry| entry.seq,
                emulator.log.forgotten(),
            )
        }
        ("GET", ["requests"]) => {
            let shown = emulator.requests.iter().filter(|record| record.seq > page.since);
            let forgotten = emulator.requests.forgotten();
            page.show("requests", shown.take(page.limit), |record| record.seq, forgotten)
        }
        ("GET", ["settings"]) => Response::json(200, &emulator.settings),
        ("GET", ["faults"]) => faults(emulator),
        ("POST", ["faults"]) => set_faults(emulator, request),
        ("DELETE", ["faults"]) => {
            emulator.set_faults(Vec::new());
            faults(emulator)
        }
        (
            _,
            []
            | ["people" | "objects" | "events" | "activity" | "requests" | "settings" | "faults"],
        )
        | (_, ["people", _] | ["people", _, "reminders"]) => {
            error(405, "this view has another method")
        }
        _ => error(404, "there is no such view; GET /emulator lists them"),
    }
}

/// What the start page says.
fn index(emulator: &Emulator) -> Value {
    json!({
        "what": "an emulator of Customer.io's Track API",
        "people": emulator.workspace.people_count(),
        "requests": emulator.requests.total(),
        "views": {
            "GET /emulator/people": "everybody, without events; since=NUMBER of people to skip, limit=",
            "GET /emulator/people/{id|email|cio_id|anonymous id}": "one person with its timeline",
            "GET /emulator/people/{…}/reminders": "which reminders the timeline would have started; start=Added to Cart, stop=Order Completed, hours=4",
            "GET /emulator/objects": "objects and their people",
            "GET /emulator/events": "every event; since=SEQ, limit=",
            "GET /emulator/activity": "what each operation did; since=SEQ, limit=",
            "GET /emulator/requests": "raw requests as received; since=SEQ, limit=",
            "GET /emulator/settings": "the switches in force",
            "GET|POST|DELETE /emulator/faults": "the faults to come",
            "DELETE /emulator": "forget everything",
        },
    })
}

/// Which part of a list is shown.
#[derive(Clone, Copy)]
struct Page {
    since: u64,
    limit: usize,
}

impl Page {
    fn of(request: &Request) -> Self {
        let number = |name| routes::query(&request.path, name)?.parse::<u64>().ok();
        Self {
            since: number("since").unwrap_or(0),
            limit: number("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LIMIT),
        }
    }

    /// A list with `next`, the `since` that continues it.
    fn show<'a, T: Serialize + 'a>(
        self,
        name: &str,
        shown: impl Iterator<Item = &'a T>,
        seq: impl Fn(&T) -> u64,
        forgotten: u64,
    ) -> Response {
        let shown: Vec<&T> = shown.collect();
        let next = shown.last().map_or(self.since, |last| seq(last));
        let mut body = json!({ "next": next, "forgotten": forgotten });
        body[name] = serde_json::to_value(shown).unwrap_or(Value::Null);
        Response::json(200, &body)
    }
}

/// Everybody in short: the timeline is one request away.
fn people(emulator: &Emulator, page: Page) -> Response {
    let skipped = usize::try_from(page.since).unwrap_or(usize::MAX);
    let shown: Vec<Value> =
        emulator.workspace.people(skipped).take(page.limit).map(summary).collect();
    let next = skipped.saturating_add(shown.len());
    let total = emulator.workspace.people_count();
    Response::json(200, &json!({ "people": shown, "next": next, "total": total }))
}

fn summary(mut person: Person) -> Value {
    let events = std::mem::take(&mut person.events).len();
    let mut shown = serde_json::to_value(person).unwrap_or(Value::Null);
    shown["events"] = events.into();
    shown
}

/// The cart reminder that every shop has, unless the query names other events or another wait.
fn reminders(emulator: &Emulator, who: &str, path: &str, now: Time) -> Response {
    let names = |name, default: &str| {
        let given = routes::query(path, name).unwrap_or_else(|| default.into());
        given.split(',').map(|name| name.trim().to_owned()).collect()
    };
    let hours = routes::query(path, "hours").map_or(Some(4.0), |hours| hours.parse::<f64>().ok());
    let wait = hours.and_then(|hours| Duration::try_from_secs_f64(hours * 3600.0).ok());
    let Some(wait) = wait else { return error(400, "hours must be a number of hours") };
    let start = names("start", "Added to Cart");
    let stop = names("stop", "Order Completed");
    match emulator.reminders(who, &Reminder { start, stop, wait }, now) {
        Some(runs) => Response::json(200, &json!({ "runs": runs })),
        None => error(404, NOBODY),
    }
}

fn faults(emulator: &Emulator) -> Response {
    Response::json(200, &json!({ "rules": emulator.faults.rules() }))
}

/// Replaces the rules: an array of rules in the long form, of texts in the short form, or of both.
fn set_faults(emulator: &mut Emulator, request: &Request) -> Response {
    let given: Vec<Value> = match serde_json::from_slice(&request.body) {
        Ok(given) => given,
        Err(problem) => {
            return error(400, &format!("an array of fault rules is expected: {problem}"));
        }
    };
    let rules = given.into_iter().map(|rule| match rule {
        Value::String(text) => FaultRule::parse(&text),
        other => serde_json::from_value(other).map_err(|problem| problem.to_string()),
    });
    match rules.collect::<Result<Vec<FaultRule>, String>>() {
        Ok(rules) => {
            emulator.faults = Faults::new(rules);
            faults(emulator)
        }
        Err(problem) => error(400, &problem),
    }
}

fn error(status: u16, message: &str) -> Response {
    Response::json(status, &json!({ "error": message }))
}
