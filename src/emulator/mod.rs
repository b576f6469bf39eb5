//! A Customer.io that runs here: the Track API v1 and v2 as their vendor documents them, with an
//! activity log that says for every event whether it could have started a campaign.
//!
//! Fixtures, tests, demonstrations and QA look at it, so it is strict: what the specification calls
//! an integer must be one, an identifier must stand alone, a limit is a limit. It is honest, too:
//! where Customer.io documents nothing, a switch in [`Settings`] decides, with its default written
//! beside it. Nothing was ever compared with a live workspace.
//!
//! [`Emulator::handle`] is the whole of it: a request and a time in, an answer out, no clock and no
//! sockets. Within:
//!
//! 1. `routes` finds the call that a path means,
//! 2. `parse` reads the body into operations, or says what is wrong with it,
//! 3. [`faults`] may have something to go wrong,
//! 4. `workspace` does the operations and reports what they did,
//! 5. `answer` spells the answer, [`activity`] and [`requests`] remember.
//!
//! The paths under `/emulator` are its own: `views` shows what it holds. [`http`] puts it on a
//! socket.
//!
//! Not here: which requests Segue makes ([`crate::destination`]).

pub mod activity;
mod answer;
pub mod faults;
pub mod http;
pub mod message;
pub mod operation;
mod parse;
mod people;
pub mod reminders;
pub mod requests;
mod routes;
pub mod settings;
mod views;
mod workspace;

#[cfg(test)]
mod tests;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

pub use activity::{Activity, Did, TriggerReason};
pub use faults::{Fault, FaultRule};
pub use http::{Running, serve};
pub use message::{Request, Response};
pub use people::Person;
pub use reminders::Reminder;
pub use requests::RequestRecord;
pub use settings::Settings;
pub use workspace::{Device, EventRecord, ObjectRecord};

use crate::clock::Time;
use activity::{Entry, Log, Origin};
use faults::{Faults, Injected};
use operation::Operation;
use parse::{Parsed, Problem};
use requests::Requests;
use routes::{NoRoute, Route};
use settings::Region;
use workspace::{Context, Workspace};

/// The emulator: one workspace with its history.
#[derive(Clone, Debug)]
pub struct Emulator {
    settings: Settings,
    workspace: Workspace,
    log: Log,
    requests: Requests,
    faults: Faults,
    rate: Rate,
}

/// How many requests came within the current second.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    second: i64,
    count: u32,
}

/// The answer to a request with what its record says about it.
struct Handled {
    response: Response,
    applied: usize,
    fault: Option<String>,
}

impl Default for Emulator {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Emulator {
    /// An empty workspace.
    pub fn new(settings: Settings) -> Self {
        Self {
            faults: Faults::new(settings.faults.clone()),
            settings,
            workspace: Workspace::default(),
            log: Log::default(),
            requests: Requests::default(),
            rate: Rate::default(),
        }
    }

    /// Answers one request that came at `now`.
    ///
    /// Never fails and never waits: delays and resets are in [`Response::fault`], for the transport
    /// to carry out.
    pub fn handle(&mut self, request: &Request, now: Time) -> Response {
        let route = routes::find(&request.method, &request.path);
        if let Ok(Route::View(parts)) = &route {
            return views::answer(self, request, parts, now);
        }
        let handled = match route {
            Err(NoRoute::UnknownPath) => refusal(404, "there is nothing at this path"),
            Err(NoRoute::WrongMethod) => refusal(405, "this path has another method"),
            Ok(route) => self.call(request, &route, now),
        };
        let Handled { response, applied, fault } = handled;
        let facts = (response.status, applied, fault);
        self.requests.write(request, now, facts, &self.settings.history);
        response
    }

    /// Forgets everything, and begins the faults of the settings again.
    pub fn reset(&mut self) {
        *self = Self::new(self.settings.clone());
    }

    /// Replaces the fault rules.
    pub fn set_faults(&mut self, rules: Vec<FaultRule>) {
        self.faults = Faults::new(rules);
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Every person, the oldest first.
    pub fn people(&self) -> Vec<Person> {
        self.workspace.people(0).collect()
    }

    /// How many people there are.
    pub fn people_count(&self) -> usize {
        self.workspace.people_count()
    }

    /// The person with that id, e-mail address, phone number, `cio_id` or anonymous id.
    pub fn person(&self, identifier: &str) -> Option<Person> {
        self.workspace.lookup(identifier)
    }

    /// The runs of a reminder campaign that a person's timeline would have started until `now`; none
    /// for a person that is not there.
    pub fn reminders(
        &self,
        who: &str,
        reminder: &Reminder,
        now: Time,
    ) -> Option<Vec<reminders::Run>> {
        Some(reminder.runs(&self.person(who)?.events, now))
    }

    /// Every object.
    pub fn objects(&self) -> Vec<ObjectRecord> {
        self.workspace.object_records()
    }

    /// Every event that is remembered, in the order of receipt, whoever's it is.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &EventRecord> {
        self.workspace.events()
    }

    /// The activity log, the oldest entry first.
    pub fn activity(&self) -> impl DoubleEndedIterator<Item = &Activity> {
        self.log.iter()
    }

    /// The requests to the Track API as they came, the oldest first.
    pub fn requests(&self) -> impl DoubleEndedIterator<Item = &RequestRecord> {
        self.requests.iter()
    }

    /// A call of the Track API.
    fn call(&mut self, request: &Request, route: &Route, now: Time) -> Handled {
        let parsed = parse::read(route, request, &self.settings);
        let injected = self.inject(request, &parsed);
        let fault = injected.as_ref().and_then(|injected| injected.step.describe());
        let refused = match &injected {
            Some(Injected { step, .. }) if !step.applies() => Some(Response::accepted()),
            _ => self.refuse(request, route, now),
        };
        let (response, applied) = match (refused, parsed) {
            (Some(response), _) => (response, 0),
            (None, Parsed::Refused(problem)) => {
                self.reject(None, &problem, now);
                (answer::refused(route, &problem), 0)
            }
            (None, Parsed::Items(_)) if *route == Route::Region => {
                (Response::json(200, &self.region(request)), 0)
            }
            (None, Parsed::Items(items)) => self.apply(route, items, injected.as_ref(), now),
        };
        let mut response = match injected {
            Some(injected) => injected.step.spoil(response),
            None => response,
        };
        response.fault.delay += Duration::from_millis(self.settings.latency_ms);
        Handled { response, applied, fault }
    }

    /// The fault that this request takes.
    fn inject(&mut self, request: &Request, parsed: &Parsed) -> Option<Injected> {
        let operations: Vec<&Operation> = match parsed {
            Parsed::Refused(_) => Vec::new(),
            Parsed::Items(items) => items.iter().flatten().map(|item| &item.operation).collect(),
        };
        self.faults.take(&request.path, self.requests.next(), &operations)
    }

    /// Reasons to refuse a request that do not depend on its content.
    fn refuse(&mut self, request: &Request, route: &Route, now: Time) -> Option<Response> {
        let is_v2 = route.is_v2();
        if !route.is_public() && !self.is_authorised(request) {
            return Some(answer::failed(401, is_v2, "unauthorized", "Unauthorized request"));
        }
        if self.is_over_rate(now) {
            let response = answer::failed(429, is_v2, "rate_limited", "too many requests");
            let seconds = self.settings.retry_after.to_string();
            return Some(response.with_header("retry-after", seconds));
        }
        if self.workspace.is_full(&self.settings) {
            let message = "the emulator is full: raise history.profiles or reset it";
            return Some(answer::failed(503, is_v2, "full", message));
        }
        None
    }

    fn is_authorised(&self, request: &Request) -> bool {
        let Some((site_id, api_key)) = basic_credentials(request) else { return false };
        self.settings.site_id.as_ref().is_none_or(|wanted| *wanted == site_id)
            && self.settings.api_key.as_ref().is_none_or(|wanted| wanted.is(&api_key))
    }

    fn is_over_rate(&mut self, now: Time) -> bool {
        let Some(limit) = self.settings.rate_limit else { return false };
        if self.rate.second != now.secs() {
            self.rate = Rate { second: now.secs(), count: 0 };
        }
        self.rate.count = self.rate.count.saturating_add(1);
        self.rate.count > limit
    }

    /// Does the valid items of a request; the answer, and how many were done.
    fn apply(
        &mut self,
        route: &Route,
        items: Vec<Result<operation::Item, Problem>>,
        injected: Option<&Injected>,
        now: Time,
    ) -> (Response, usize) {
        let request = self.requests.next();
        let rejection = injected.and_then(|injected| {
            injected.step.reject.as_ref().map(|reject| (&injected.when, reject))
        });
        let mut problems = Vec::new();
        let mut applied = 0;
        for (index, item) in items.into_iter().enumerate() {
            let batch_index = (*route == Route::Batch).then_some(index);
            let item = item.and_then(|item| match rejection {
                Some((when, reject)) if when.matches_item(&item.operation) => Err(reject.problem()),
                _ => Ok(item),
            });
            match item {
                Err(problem) => {
                    self.reject(batch_index, &problem, now);
                    problems.push((index, problem));
                }
                Ok(item) => {
                    applied += 1;
                    let name = item.operation.name();
                    let cx = Context { settings: &self.settings, now, request };
                    let entries = self.workspace.apply(item.operation, cx);
                    let origin = Origin { request, batch_index, at: now };
                    let keep = self.settings.history.activity;
                    self.log.write(origin, name, item.notes, entries, keep);
                }
            }
        }
        let mut response = answer::to_items(route, &problems);
        if let Some((_, reject)) = rejection
            && *route == Route::Batch
            && !problems.is_empty()
        {
            response.status = reject.status;
        }
        (response, applied)
    }

    fn reject(&mut self, batch_index: Option<usize>, problem: &Problem, now: Time) {
        let origin = Origin { request: self.requests.next(), batch_index, at: now };
        let reason = format!("{} {}: {}", problem.reason, problem.field, problem.message);
        let entry = Entry::new(Did::Rejected).because(reason);
        self.log.write(origin, "invalid", Vec::new(), vec![entry], self.settings.history.activity);
    }

    /// The answer of the region endpoint. Its `url` is the emulator's own: a client that follows it
    /// must not end up at the real Customer.io.
    fn region(&self, request: &Request) -> serde_json::Value {
        let region = match self.settings.region {
            Region::Us => "us",
            Region::Eu => "eu",
        };
        let host = request.header("host").unwrap_or("localhost");
        json!({ "url": format!("http://{host}"), "region": region, "environment_id": 1 })
    }
}

fn refusal(status: u16, message: &str) -> Handled {
    let response = answer::failed(status, false, "", message);
    Handled { response, applied: 0, fault: None }
}

/// Site id and API key of an `Authorization: Basic` header.
fn basic_credentials(request: &Request) -> Option<(String, String)> {
    let (scheme, encoded) = request.header("authorization")?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (site_id, api_key) = decoded.split_once(':')?;
    Some((site_id.to_owned(), api_key.to_owned()))
}
