//! Events as they pass, before and after: for `segue tap`.
//!
//! A thread of its own for each listener works out what is shown, with an engine and a copy of the
//! scripts of its own: the path hands over the bytes and the report, and waits for nothing. Lines of
//! JSON come out. Values that say who somebody is are hidden unless they were asked for.
//!
//! Not here: how events are handed over ([`crate::relay::Tap`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Admin, AdminError};
use crate::config::Config;
use crate::fixture::explanation::{Change, Script, scripts};
use crate::journal::TrailEntry;
use crate::pipeline;
use crate::relay::{Heard, Listener, Passed};
use crate::spec::{self, Object, RawCall, names, personal};
use crate::transform::{Bundle, Runner, StageTrace};

/// Lines that wait for a client.
const LINES: usize = 64;
/// How long nothing is said at most. An empty line is sent then: only who writes learns that nobody
/// reads any more.
const BEAT: Duration = Duration::from_millis(500);
/// Events that are not shown, after which an empty line is sent too.
const UNSHOWN: usize = 500;
/// The rest of this time goes to the path: at most 500 events a second are worked out.
const BREATH: Duration = Duration::from_millis(2);
/// As on the script threads.
const STACK: usize = 16 * 1024 * 1024;

/// Which events, and how they are shown. Empty: all.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wanted {
    /// Only of this source.
    pub source: Option<String>,
    /// Only events of this name, in any spelling; `*` at the end stands for any rest.
    pub event: Option<String>,
    /// Only events that this stage changed, dropped or failed on: a script's name, or `guard`,
    /// `identity`, `mapping`, `delivery`, …
    pub stage: Option<String>,
    /// Only events that end like this: `delivered`, `dropped`, `dead_lettered`, `parked`, `retry`; or for
    /// this reason.
    pub outcome: Option<String>,
    /// Whether values that say who somebody is are shown.
    pub unmasked: bool,
}

/// One event on its line.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Tapped {
    /// When the scripts ran.
    pub at: String,
    /// Its place in the order of acceptance.
    pub seq: u64,
    /// Its source.
    pub source: String,
    /// Type and name, as they arrived.
    pub event: String,
    /// Its message id.
    pub message_id: String,
    /// The person's or the anonymous id that it was sent for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The guard's class.
    pub class: String,
    /// What the guard did.
    pub action: String,
    /// `delivered`, `dropped`, `dead_lettered`, `parked`, `retry`.
    pub outcome: String,
    /// The reason of that.
    pub reason: String,
    /// The stage that dropped it or failed on it; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ended_in: String,
    /// The scripts.
    pub bundle: String,
    /// What each stage of the scripts did, without those that left it alone.
    pub stages: Vec<Value>,
    /// The operations that were sent.
    pub operations: Vec<String>,
    /// The event before the scripts.
    pub before: Value,
    /// The events behind them.
    pub after: Vec<Value>,
}

/// Begins to listen; lines of JSON come out until the other end is dropped. A line
/// `{"missed": 7}` says how many events passed unseen, an empty one says nothing.
///
/// # Errors
/// Too many listen already.
pub(super) fn open(admin: &Admin, wanted: Wanted) -> Result<mpsc::Receiver<Bytes>, AdminError> {
    let listener = admin.tap.listen().ok_or(AdminError::TooManyTaps)?;
    let (tell, lines) = mpsc::channel(LINES);
    let (config, scripts) = (Arc::clone(&admin.config), Arc::clone(&admin.bundle));
    let thread = std::thread::Builder::new().name("tap".into()).stack_size(STACK);
    let started = thread.spawn(move || {
        let mut desk = Desk { config, wanted, scripts: None };
        listen(&listener, &tell, |passed| desk.show(passed, &scripts.load_full()));
    });
    started.map(|_| lines).map_err(|_| AdminError::Unfinished)
}

/// Passes on what is heard until nobody wants it any more.
fn listen(
    listener: &Listener,
    tell: &mpsc::Sender<Bytes>,
    mut show: impl FnMut(&Passed) -> Option<Value>,
) {
    let mut unshown = 0;
    while !tell.is_closed() {
        let line = match listener.next(BEAT) {
            Heard::Event(passed) => show(&passed),
            Heard::Silence => {
                unshown = UNSHOWN;
                None
            }
            Heard::End => return,
        };
        let missed = listener.take_missed();
        let missed = (missed > 0).then(|| json!({ "missed": missed }));
        let mut lines: Vec<String> =
            missed.into_iter().chain(line).map(|line| line.to_string()).collect();
        unshown = if lines.is_empty() { unshown + 1 } else { 0 };
        if unshown > UNSHOWN {
            lines.push(String::new());
            unshown = 0;
        }
        for line in lines {
            if tell.blocking_send(format!("{line}\n").into()).is_err() {
                return;
            }
            std::thread::sleep(BREATH);
        }
    }
}

/// What one listener wants, and with what it is worked out.
struct Desk {
    config: Arc<Config>,
    wanted: Wanted,
    scripts: Option<Runner>,
}

impl Desk {
    fn show(&mut self, passed: &Passed, bundle: &Bundle) -> Option<Value> {
        let trail = &passed.report.trail;
        if !self.wanted.fits(trail) {
            return None;
        }
        let kind = self.config.source(&passed.call.arrival.source)?.kind;
        let mut call = RawCall::new(passed.call.arrival.clone(), passed.call.body.clone());
        let before = spec::normalise(&mut call, kind).ok().map(|event| event.fields().clone());
        // The scripts are pure: here they do what they did there.
        let config = Arc::clone(&self.config);
        let runner = self.runner(bundle)?;
        let (prepared, traces) = pipeline::prepare_traced(&config, runner, call, passed.at);
        let after = prepared.result.as_deref().unwrap_or_default();
        let after: Vec<&Object> = after.iter().map(|part| part.event.fields()).collect();
        let stages = scripts(&traces, before.clone().map(Value::Object));
        let ended_in = ended_in(passed, &traces);
        if !self.wanted.fits_stage(&ended_in, &stages) {
            return None;
        }
        let shown = Tapped {
            at: passed.at.to_string(),
            seq: passed.report.seq.0,
            source: trail.source.clone(),
            event: trail.event.clone(),
            message_id: personal::without_emails(&trail.message_id),
            person: trail.person.clone(),
            class: trail.class.clone(),
            action: trail.action.clone(),
            outcome: trail.outcome.clone(),
            reason: trail.reason.clone(),
            ended_in,
            bundle: trail.bundle.clone(),
            stages: stages
                .iter()
                .filter(|stage| did_something(stage))
                .map(|stage| self.stage(stage))
                .collect(),
            operations: operations(passed),
            before: before.as_ref().map_or(Value::Null, |fields| self.fields(fields)),
            after: after.into_iter().map(|fields| self.fields(fields)).collect(),
        };
        serde_json::to_value(shown).ok()
    }

    /// An engine with the scripts in force. They are a copy: what is worked out here must not count for
    /// live traffic.
    fn runner(&mut self, bundle: &Bundle) -> Option<&mut Runner> {
        let stale =
            self.scripts.as_ref().is_none_or(|runner| runner.bundle().hash() != bundle.hash());
        if stale {
            let files = bundle.files().map(|(path, text)| (path.to_owned(), text.into())).collect();
            self.scripts = Some(Runner::new(Arc::new(Bundle::from_files(files).ok()?)));
        }
        self.scripts.as_mut()
    }

    fn fields(&self, fields: &Object) -> Value {
        match self.wanted.unmasked {
            true => Value::Object(fields.clone()),
            false => Value::Object(personal::redacted(fields)),
        }
    }

    fn stage(&self, stage: &Script) -> Value {
        let value = |path: &str, value: &Option<Value>| match (value, self.wanted.unmasked) {
            (Some(value), false) => Some(personal::redacted_at(&plain_path(path), value)),
            (value, _) => value.clone(),
        };
        let changes = stage.changes.iter().map(|Change { path, old, new }| {
            json!({ "path": path, "old": value(path, old), "new": value(path, new) })
        });
        json!({
            "stage": stage.stage,
            "outcome": stage.outcome,
            "reason": stage.reason,
            "error": stage.error,
            "changes": changes.collect::<Vec<_>>(),
        })
    }
}

impl Wanted {
    /// Whether an event is of the source, name and outcome that are wanted.
    fn fits(&self, trail: &TrailEntry) -> bool {
        let is = |wanted: &Option<String>, there: &[&str]| {
            wanted.as_deref().is_none_or(|wanted| there.contains(&wanted))
        };
        let name = trail.event.split_once(' ').map_or(trail.event.as_str(), |(_, name)| name);
        is(&self.source, &[&trail.source])
            && is(&self.outcome, &[&trail.outcome, &trail.reason])
            && self.event.as_deref().is_none_or(|wanted| is_named(name, wanted))
    }

    fn fits_stage(&self, ended_in: &str, stages: &[Script]) -> bool {
        let Some(wanted) = &self.stage else { return true };
        wanted == ended_in
            || stages.iter().any(|stage| stage.stage == *wanted && did_something(stage))
    }
}

fn is_named(name: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => names::key(name).starts_with(&names::key(start)),
        None => names::canonical(name) == names::canonical(wanted),
    }
}

fn did_something(stage: &Script) -> bool {
    !matches!(stage.outcome, "skipped" | "unchanged")
}

/// The stage that dropped an event or failed on it.
fn ended_in(passed: &Passed, traces: &[StageTrace]) -> String {
    let report = &passed.report;
    match (&report.letter, report.trail.outcome.as_str()) {
        (Some(letter), _) => letter
            .detail
            .as_ref()
            .and_then(|detail| detail.get("stage")?.as_str())
            .unwrap_or(letter.stage.as_str())
            .to_owned(),
        (None, "dropped") => {
            crate::fixture::explanation::dropping_stage(traces, &report.trail.reason)
        }
        _ => String::new(),
    }
}

fn operations(passed: &Passed) -> Vec<String> {
    let parts = passed.report.parts.iter();
    parts.flat_map(|part| &part.operations).map(|name| (*name).to_owned()).collect()
}

/// A path without the places in lists: `properties.products[0].name` is about a product's name.
fn plain_path(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut within = false;
    for c in path.chars() {
        match c {
            '[' => within = true,
            ']' => within = false,
            c if !within => plain.push(c),
            _ => {}
        }
    }
    plain
}
