//! The ledger: what is known about every event that has no end yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Sighting;
use super::core::{held_key, what};
use crate::clock::Time;
use crate::delivery::{Fate, ItemId};
use crate::destination::customerio::Subject;
use crate::guard::Case;
use crate::identity::{Notice, told_by};
use crate::journal::{
    Attempts, Change, Deferral, DonePart, Fact, FactKey, Held, Place, Seq, Settlement, Stored,
    TrailEntry, Why,
};
use crate::outcome::{DeadCode, DeadLetter, Outcome, Stage};
use crate::pipeline::{Check, Leaving, Origin, Part, Prepared, Resolved};
use crate::spec::Fingerprint;

/// An event between the journal and its end.
#[derive(Debug)]
pub(super) struct Unsettled {
    pub(super) place: Place,
    pub(super) attempts: Attempts,
    pub(super) origin: Origin,
    /// In the order of their numbers.
    pub(super) parts: Vec<Progress>,
    pub(super) keys: BTreeSet<Arc<str>>,
    pub(super) taught: Vec<(FactKey, Option<Fact>)>,
    /// Its place in the order in which events taught.
    pub(super) lesson: u64,
    /// Who is deleted or suppressed by it, and by which part.
    leaving: Vec<(u32, Leaving)>,
    /// Barriers that Customer.io accepted: what is behind them leaves when this is written down.
    pub(super) landed: Vec<ItemId>,
    /// The first reason to put the whole event out of line.
    pub(super) postponed: Option<Postponed>,
    /// The end of an event that has no parts.
    ended: Option<Outcome>,
    checks: Arc<[Check]>,
    trail: TrailEntry,
}

/// One part on its way.
#[derive(Debug)]
pub(super) struct Progress {
    /// Its number among its siblings.
    pub(super) index: u32,
    /// How many of its siblings before it are the same.
    nth: u32,
    /// What its business key is held by.
    owner: Fingerprint,
    /// Operations without an end.
    pub(super) open: usize,
    /// The operations that Customer.io has, a bit for each: a part has a handful of them.
    delivered: u32,
    /// How it ends when they all are delivered.
    pub(super) end: Option<Outcome>,
    /// Until when it is parked or held.
    pub(super) parked_until: Option<Time>,
    /// Whether it is held: its person may become known.
    is_held: bool,
    /// The names of its operations.
    operations: Vec<&'static str>,
    /// What Customer.io refused of it.
    rejected: Vec<Value>,
    /// What kind of problem the refused ones are.
    rejected_as: Option<(DeadCode, String)>,
    /// What it shows about the data.
    seen: Sighting,
    /// What the guard was asked, to be asked again.
    pub(super) case: Case,
    /// The business key that it holds.
    pub(super) holds: Option<FactKey>,
    /// Whose it is.
    subject: Subject,
    /// How that was found out.
    identity: &'static str,
    /// What was noticed about its identifiers.
    notices: Vec<Notice>,
}

/// Why and how an event leaves the line.
#[derive(Clone, Debug)]
pub(super) struct Postponed {
    pub(super) why: Why,
    pub(super) due: Time,
    pub(super) first_failed: Option<Time>,
    /// How often it was tried; `None`: not at all, as often as before.
    pub(super) tries: Option<u32>,
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
}

impl Postponed {
    /// Nobody failed: it is taken up again at `due`, and until then those behind it wait.
    pub(super) fn at(due: Time, error: &str) -> Self {
        let error = Some(error.to_owned());
        Self { why: Why::Retry, due, first_failed: None, tries: None, status: None, error }
    }
}

/// How an event ended, for whoever watches.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The event.
    pub seq: Seq,
    /// What is remembered about it. Its outcome is `parked` or `retry` when it goes out of line.
    pub trail: TrailEntry,
    /// The dead letter, where it became one.
    pub letter: Option<DeadLetter>,
    /// Whether it is one of the events that end what others started.
    pub exit: bool,
    /// When it happened; absent for replays.
    pub happened_at: Option<Time>,
    /// Whether it came straight from its queue: one that was out of line was reported before.
    pub first: bool,
    /// What was decided about each event that the scripts made of it, by their numbers.
    pub parts: Vec<Decided>,
    /// How it compares with the contracts, as it arrived and as the scripts left it.
    pub checks: Arc<[Check]>,
}

/// What was decided about one of the events that the scripts made.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Its number among its siblings.
    pub index: u32,
    /// Whose it is.
    pub subject: Subject,
    /// How that was found out; empty for what was not asked.
    pub identity: &'static str,
    /// What was noticed about its person's identifiers.
    pub notices: Vec<Notice>,
    /// The names of its operations, in order.
    pub operations: Vec<&'static str>,
    /// Its own outcome: a label of [`Outcome`], `parked` or `held`; empty where it has none yet.
    pub outcome: &'static str,
    /// The reason of that.
    pub reason: String,
    /// What it shows about the data.
    pub seen: Sighting,
}

impl Unsettled {
    pub(super) fn new(stored: &Stored, prepared: &Prepared, lesson: u64) -> Self {
        Self {
            place: stored.place,
            attempts: stored.attempts.clone(),
            origin: prepared.origin.clone(),
            parts: Vec::new(),
            keys: BTreeSet::new(),
            taught: Vec::new(),
            lesson,
            leaving: Vec::new(),
            landed: Vec::new(),
            postponed: None,
            ended: None,
            checks: Arc::clone(&prepared.checks),
            trail: TrailEntry {
                source: prepared.origin.source.clone(),
                label: prepared.origin.label.clone(),
                message_id: prepared.origin.message_id.clone(),
                event: prepared.origin.event.clone(),
                bundle: prepared.bundle.to_string(),
                ..TrailEntry::default()
            },
        }
    }

    /// The same event, ended before any part came about.
    pub(super) fn over(mut self, outcome: Outcome) -> Self {
        self.ended = Some(outcome);
        self
    }

    /// Notes what was decided about a part.
    pub(super) fn add(
        &mut self,
        part: &Part,
        nth: u32,
        resolved: Resolved,
        operations: Vec<&'static str>,
    ) {
        if self.trail.class.is_empty() {
            part.verdict.class.as_str().clone_into(&mut self.trail.class);
            part.verdict.action.as_str().clone_into(&mut self.trail.action);
        }
        self.trail.person = self.trail.person.take().or(resolved.person);
        self.keys.extend(resolved.keys);
        self.taught.extend(resolved.taught);
        self.leaving.extend(resolved.leaving.map(|leaving| (part.index, leaving)));
        let notices = resolved.notices.iter().map(|notice| notice.as_str().to_owned());
        self.trail.notices.extend(notices);
        let progress = Progress {
            index: part.index,
            nth,
            owner: part.event.fingerprint(),
            open: operations.len(),
            delivered: 0,
            end: resolved.end,
            parked_until: resolved.hold_until,
            is_held: resolved.hold_until.is_some(),
            operations,
            rejected: Vec::new(),
            rejected_as: None,
            seen: Sighting::of(part),
            case: part.case.clone(),
            holds: resolved.holds,
            subject: resolved.subject,
            identity: resolved.identity,
            notices: resolved.notices,
        };
        let place = self.parts.partition_point(|other| other.index < part.index);
        // One is what nearly every event has, and thousands of events wait here.
        self.parts.reserve_exact(1);
        self.parts.insert(place, progress);
    }

    /// What is known about a part.
    pub(super) fn part(&mut self, index: u32) -> Option<&mut Progress> {
        self.parts.iter_mut().find(|progress| progress.index == index)
    }

    /// Notes that a part is parked.
    pub(super) fn park(&mut self, part: &Part, nth: u32, until: Time) {
        self.add(part, nth, Resolved::default(), Vec::new());
        if let Some(progress) = self.part(part.index) {
            progress.parked_until = Some(until);
        }
    }

    /// Notes how an operation ended.
    pub(super) fn end_operation(&mut self, part: u32, op: u32, fate: Fate) {
        let parts = &mut self.parts;
        let Some(progress) = parts.iter_mut().find(|progress| progress.index == part) else {
            return;
        };
        progress.open = progress.open.saturating_sub(1);
        let name = progress.operations.get(op as usize).copied().unwrap_or_default();
        let mut reject = |code: DeadCode, message: String, detail: Value| {
            progress.rejected.push(detail);
            progress.rejected_as.get_or_insert((code, message));
        };
        match fate {
            Fate::Delivered | Fate::DeliveredBarrier => {
                progress.delivered |= bit(op);
                self.trail.answer = "200".into();
            }
            Fate::Rejected(error, status) => {
                self.trail.answer = status.to_string();
                let said = [error.reason.as_str(), &error.field, &error.message];
                let said: Vec<&str> = said.into_iter().filter(|text| !text.is_empty()).collect();
                let message =
                    format!("Customer.io refused the operation {name}: {}", said.join(", "));
                let detail = json!({"operation": name, "status": status, "reason": error.reason,
                    "field": error.field, "message": error.message});
                reject(DeadCode::Rejected, message, detail);
            }
            Fate::TooLarge => {
                let message = format!("the operation {name} is larger than Customer.io takes");
                reject(DeadCode::LimitExceeded, message, json!({"operation": name, "status": 413}));
            }
            Fate::Expired => {
                let message =
                    format!("the operation {name} could not be delivered within the age budget");
                reject(DeadCode::Expired, message, json!({"operation": name}));
            }
            Fate::Postponed { due, first_failed, tries, status } => {
                let error = match status {
                    Some(status) => format!("Customer.io answered {status}"),
                    None => "Customer.io did not answer".into(),
                };
                self.postponed.get_or_insert(Postponed {
                    why: Why::Retry,
                    due,
                    first_failed,
                    tries: Some(tries),
                    status,
                    error: Some(error),
                });
            }
            Fate::Stale => {}
        }
    }

    /// Whether nothing of it is on its way any more.
    pub(super) fn is_over(&self) -> bool {
        self.parts.iter().all(|progress| progress.open == 0)
    }

    /// The business keys that it gives up by ending as it does: who waits for days, was dropped or
    /// died must not keep others from arriving.
    pub(super) fn given_up(&self) -> Vec<FactKey> {
        let gives_up = |progress: &&Progress| {
            progress.parked_until.is_some()
                || progress.rejected_as.is_some()
                || !matches!(progress.end, Some(Outcome::Delivered))
        };
        let parts = self.parts.iter().filter(gives_up).filter(|_| !self.is_retried());
        parts.filter_map(|progress| progress.holds.clone()).collect()
    }

    /// What it taught of which Customer.io was not told, and is not going to be by this event: what is not
    /// sent teaches nothing. With each, the event that taught it.
    pub(super) fn untold(&self) -> Vec<(FactKey, Fact, Fingerprint)> {
        let mut untold = Vec::new();
        if self.is_retried() {
            return untold;
        }
        for progress in self.parts.iter().filter(|progress| !progress.is_delivered()) {
            for (key, fact) in &self.taught {
                let Some(fact) = fact else { continue };
                let told_by = told_by(key, fact, progress.owner);
                if told_by.is_some_and(|operation| !progress.has_told(operation)) {
                    untold.push((key.clone(), fact.clone(), progress.owner));
                }
            }
        }
        untold
    }

    /// Takes out who is deleted or suppressed by it, and whether Customer.io has done that.
    pub(super) fn take_leaving(&mut self) -> Vec<(Leaving, bool)> {
        let leaving = std::mem::take(&mut self.leaving).into_iter();
        let is_done = |part: u32| {
            let mut parts = self.parts.iter();
            parts.any(|progress| progress.index == part && progress.is_delivered())
        };
        leaving.map(|(part, leaving)| (leaving, is_done(part))).collect()
    }

    fn is_retried(&self) -> bool {
        self.postponed.as_ref().is_some_and(|postponed| postponed.why == Why::Retry)
    }

    /// The change that ends it here, one way or the other.
    pub(super) fn conclude(mut self, seq: Seq, now: Time) -> (Change, Report) {
        let parked = self.parts.iter().filter_map(|progress| progress.parked_until).min();
        let postponed = self.postponed.take().or_else(|| {
            parked.map(|due| Postponed {
                why: if self.parts.iter().any(|part| part.is_held) {
                    Why::Held
                } else {
                    Why::Parked
                },
                due,
                first_failed: None,
                tries: None,
                status: None,
                error: None,
            })
        });
        match postponed {
            Some(postponed) => self.defer(seq, postponed, now),
            None => self.settle(seq, now),
        }
    }

    /// The anonymous ids that it is held for.
    fn held_for(&self) -> impl Iterator<Item = String> {
        let held = self.parts.iter().filter(|progress| progress.is_held);
        held.filter_map(|progress| progress.subject.anonymous.clone())
    }

    /// What is told about it, but for how it ends.
    fn report(&self, seq: Seq) -> Report {
        Report {
            seq,
            trail: TrailEntry::default(),
            letter: None,
            exit: self.origin.exit,
            happened_at: self.origin.happened_at,
            first: self.place != Place::Deferred,
            parts: self.decided(),
            checks: Arc::clone(&self.checks),
        }
    }

    fn defer(mut self, seq: Seq, postponed: Postponed, now: Time) -> (Change, Report) {
        let report = self.report(seq);
        let keys = match postponed.why {
            Why::Retry => self.keys.iter().map(|key| key.to_string()).collect(),
            Why::Held => self.held_for().map(|anonymous| held_key(&anonymous)).collect(),
            Why::Parked => Vec::new(),
        };
        let done: Vec<DonePart> = self.done(postponed.why).collect();
        let mut attempts = self.attempts;
        attempts.holds.clear();
        attempts.done.extend(done);
        if postponed.why == Why::Retry {
            let waiting = self.parts.iter().filter(|progress| !progress.is_done(Why::Retry));
            attempts.holds.extend(waiting.filter_map(Progress::held));
        }
        attempts.tries = postponed.tries.unwrap_or(attempts.tries);
        attempts.first_at = postponed.first_failed.or(attempts.first_at);
        self.trail.at = now;
        postponed.why.as_str().clone_into(&mut self.trail.outcome);
        let deferral = Deferral {
            seq,
            place: self.place,
            why: postponed.why,
            due: postponed.due,
            keys,
            attempts,
            status: postponed.status,
            error: postponed.error,
            facts: self.taught,
        };
        (Change::Defer(deferral), Report { trail: self.trail, ..report })
    }

    /// What need not be looked at again when the event comes back.
    fn done(&self, why: Why) -> impl Iterator<Item = DonePart> {
        let done = self.parts.iter().filter(move |progress| progress.is_done(why));
        done.map(|progress| DonePart {
            index: progress.index,
            what: what(&progress.case),
            nth: progress.nth,
        })
    }

    fn settle(mut self, seq: Seq, now: Time) -> (Change, Report) {
        let report = self.report(seq);
        let outcome = self.outcome();
        self.trail.at = now;
        outcome.label().clone_into(&mut self.trail.outcome);
        outcome.reason().clone_into(&mut self.trail.reason);
        let letter = match &outcome {
            Outcome::DeadLettered(letter) => Some(letter.clone()),
            _ => None,
        };
        let mut done = Vec::new();
        if letter.is_some() {
            done.append(&mut self.attempts.done);
            done.extend(self.done(Why::Retry));
        }
        let report = Report { trail: self.trail.clone(), letter, ..report };
        let (place, facts, trail) = (self.place, self.taught, self.trail);
        let settlement = Settlement { seq, place, outcome, done, facts, trail };
        (Change::Settle(settlement), report)
    }

    /// What was decided about the parts, for the report.
    fn decided(&self) -> Vec<Decided> {
        self.parts.iter().map(Progress::decided).collect()
    }

    /// One outcome for all parts: a dead letter counts more than a delivery, a delivery more than a
    /// drop.
    fn outcome(&mut self) -> Outcome {
        if let Some(ended) = self.ended.take() {
            return ended;
        }
        let mut ends: Vec<Outcome> = self.parts.iter().map(Progress::outcome).collect();
        ends.sort_by_key(|end| match end {
            Outcome::DeadLettered(_) => 0,
            Outcome::Delivered => 1,
            Outcome::Dropped(_) => 2,
        });
        // A part that was done before the event was deferred was delivered.
        ends.into_iter().next().unwrap_or(Outcome::Delivered)
    }
}

/// The bit of an operation among those of its part.
fn bit(operation: u32) -> u32 {
    1u32.checked_shl(operation).unwrap_or_default()
}

impl Progress {
    /// Whether it need not be looked at again when the event comes back. What was refused is tried
    /// again with it: else nothing would remember that it was.
    fn is_done(&self, why: Why) -> bool {
        let failed =
            self.rejected_as.is_some() || matches!(self.end, Some(Outcome::DeadLettered(_)));
        let waits = match why {
            Why::Retry => !self.is_delivered(),
            Why::Parked | Why::Held => false,
        };
        self.parked_until.is_none() && !failed && !waits
    }

    /// Whether something was sent, and Customer.io has all of it.
    fn is_delivered(&self) -> bool {
        self.delivered != 0 && self.delivered.count_ones() as usize == self.operations.len()
    }

    /// Whether Customer.io has all of its operations of this name.
    fn has_told(&self, operation: &str) -> bool {
        let mut named = (0..).zip(&self.operations).filter(|(_, name)| **name == operation);
        named.all(|(number, _)| self.delivered & bit(number) != 0)
    }

    /// The business key that it keeps while the event waits.
    fn held(&self) -> Option<Held> {
        let key = self.holds.as_ref()?;
        Some(Held { key: key.0.clone(), owner: self.owner.ulid().to_string() })
    }

    fn decided(&self) -> Decided {
        let (outcome, reason) = match (&self.rejected_as, self.parked_until, &self.end) {
            (Some((code, _)), ..) => ("dead_lettered", code.as_str().to_owned()),
            (None, Some(_), _) if self.is_held => ("held", String::new()),
            (None, Some(_), _) => ("parked", String::new()),
            (None, None, Some(end)) if self.open == 0 => (end.label(), end.reason().to_owned()),
            (None, None, _) => ("", String::new()),
        };
        Decided {
            index: self.index,
            subject: self.subject.clone(),
            identity: self.identity,
            notices: self.notices.clone(),
            operations: self.operations.clone(),
            outcome,
            reason,
            seen: self.seen,
        }
    }

    fn outcome(&self) -> Outcome {
        match &self.rejected_as {
            Some((code, message)) => {
                let detail = json!({"part": self.index, "operations": self.rejected});
                let letter = DeadLetter::new(*code, Stage::Delivery, message.as_str());
                Outcome::DeadLettered(letter.with_detail(detail))
            }
            None => self.end.clone().unwrap_or(Outcome::Delivered),
        }
    }
}
