//! Stage 5: what an old, repeated or replayed event may still do.
//!
//! Customer.io starts event-triggered campaigns for events of the last 72 hours, and an event without
//! a time counts as happening now. So the age of an event decides what it may do: [`judge`] compares
//! its time with `now` and answers with a [`Verdict`]. It does no I/O and reads no clock; every rule
//! is a row of a table test.
//!
//! Age moves on while an event waits: a verdict says until when it holds ([`Verdict::valid_until`])
//! and is taken again after that. Whether an event is a *replay* is fixed once, at acceptance
//! ([`replay`]).
//!
//! Not here: message deduplication ([`crate::journal`]).

mod config;
pub mod keys;
mod kind;
mod reason;
pub mod replay;

pub use config::{GuardConfig, GuardRule, Wrong};
pub use kind::Kind;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::outcome::DropReason;
use crate::spec::{Call, EventTime, Replay, TimeOrigin};

/// How old an event is, in the words of the rules.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Just happened.
    Live,
    /// Older than `late_after`, young enough to start campaigns.
    Late,
    /// Too old to start campaigns: more than 72 hours and a margin.
    Historical,
    /// The vendor received it more than `replay_after` ago; nobody said that it is a replay.
    ReplayByAge,
    /// Somebody said that it is a replay.
    Replay,
}

impl Class {
    /// The name in rules, metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Late => "late",
            Self::Historical => "historical",
            Self::ReplayByAge => "replay_by_age",
            Self::Replay => "replay",
        }
    }
}

/// What is done with an event.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Send it as it is, with its true time.
    Deliver,
    /// Send it with properties that campaigns can filter on.
    Mark,
    /// Keep it until it can start nothing, then send it.
    Park,
    /// Let profile updates through and drop behaviour.
    ProfileOnly,
    /// Do not send it.
    Drop,
}

impl Action {
    /// The name in rules, metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Mark => "mark",
            Self::Park => "park",
            Self::ProfileOnly => "profile_only",
            Self::Drop => "drop",
        }
    }
}

/// What the guard is asked about: all that a verdict depends on beside the rules and the time, small
/// enough to be kept until the event is sent.
#[derive(Clone, Debug)]
pub struct Case {
    /// The type of call, after the scripts.
    pub call: Call,
    /// What it is to a campaign, after the scripts.
    pub kind: Kind,
    /// The event time, after the scripts.
    pub time: EventTime,
    /// When the vendor received it.
    pub received_at: Time,
    /// The canonical key of its name.
    pub canonical: String,
    /// Its source.
    pub source: String,
    /// When Segue accepted it.
    pub accepted_at: Time,
    /// Whether it is a replay, as decided at acceptance or said by a script.
    pub replay: Option<Replay>,
    /// The source's own `late_after`, where it has one.
    pub late_after: Option<Duration>,
    /// The source's `cutover`, where it has one.
    pub cutover: Option<Time>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// How old the event is.
    pub class: Class,
    /// What is done.
    pub action: Action,
    /// Why it is dropped, where it is.
    pub drop: Option<DropReason>,
    /// The same for people: one sentence.
    pub reason: String,
    /// When a parked event may leave.
    pub park_until: Option<Time>,
    /// When the answer would be another one.
    pub valid_until: Option<Time>,
    /// The name to send instead, where a rule that marks says so.
    pub rename: Option<String>,
    /// The time to use instead of the event's own, which is impossible.
    pub corrected_time: Option<EventTime>,
    /// Whether the sender's clock was certainly wrong.
    pub clock_wrong: bool,
    /// Whole hours between the event and now.
    pub age_hours: i64,
}

/// Decides what an event may do at `now`.
pub fn judge(config: &GuardConfig, case: &Case, now: Time) -> Verdict {
    let mut verdict = judge_at(config, case, now);
    let time = verdict.corrected_time.unwrap_or(case.time);
    verdict.valid_until = boundaries(config, case, time)
        .into_iter()
        .filter(|boundary| *boundary > now)
        .find(|boundary| {
            let then = judge_at(config, case, *boundary);
            // A mark says how old the event is, and may say it in its name.
            let marked = then.action == Action::Mark
                && (then.class != verdict.class || then.rename != verdict.rename);
            then.action != verdict.action || marked
        });
    verdict
}

/// The moments at which the class of an event with this time changes, in order.
fn boundaries(config: &GuardConfig, case: &Case, time: EventTime) -> [Time; 2] {
    let tick = Duration::from_millis(1);
    let late = time.age_basis().plus(late_after(config, case)).plus(tick);
    let history = history_from(time).plus(config.history_begins()).plus(tick);
    [late.min(history), history]
}

/// What Customer.io measures the age of an event from is the time that it is sent: where that is
/// later than when the event certainly happened, it can start campaigns for longer.
fn history_from(time: EventTime) -> Time {
    time.at.max(time.age_basis())
}

fn late_after(config: &GuardConfig, case: &Case) -> Duration {
    case.late_after.unwrap_or(config.late_after.duration())
}

fn judge_at(config: &GuardConfig, case: &Case, now: Time) -> Verdict {
    let (time, corrected_time) = possible_time(config, case);
    let age = Age { at: time.age_basis(), now };
    let history = Age { at: history_from(time), now }.is_over(config.history_begins());
    let class = classify(case, age, history, late_after(config, case));
    let kind = case.kind;
    let told = reason::Told { kind, class, case, age, history };
    let mut verdict = Verdict {
        class,
        action: Action::Deliver,
        drop: None,
        reason: String::new(),
        park_until: None,
        valid_until: None,
        rename: None,
        corrected_time,
        clock_wrong: corrected_time.is_some() || case.time.for_age.is_some(),
        age_hours: age.hours(),
    };
    let replayed = matches!(class, Class::Replay | Class::ReplayByAge);
    if replayed && let Some(cutover) = case.cutover.filter(|cutover| time.at < *cutover) {
        let words = format!("dropped, the native destination delivered all before {cutover}");
        return verdict.dropped(DropReason::BeforeCutover, told.so(&words, None));
    }
    if class == Class::Replay && time.origin == TimeOrigin::Received && kind != Kind::Destructive {
        let words = "dropped, without a readable time it would count as happening now";
        return verdict.dropped(DropReason::ReplayWithoutTime, told.so(words, None));
    }
    let number = config.rule.iter().position(|rule| rule.matches(case, class));
    let rule = number.map(|number| &config.rule[number]);
    if let Some(limit) = rule.and_then(|rule| rule.max_age)
        && (Age { at: time.age_basis(), now: case.accepted_at }).is_over(limit.duration())
    {
        let words = format!("dropped, it came in more than {limit} after it happened");
        return verdict.dropped(DropReason::TooOld, told.so(&words, number));
    }
    // A rule that only limits the age leaves the default for the class.
    let ruled = number.filter(|_| rule.is_some_and(|rule| rule.action.is_some()));
    let action = rule.and_then(|rule| rule.action).unwrap_or_else(|| by_default(kind, class));
    verdict.rename = rule.and_then(|rule| rule.rename.clone());
    match action {
        Action::Park if !history => {
            let until = history_from(time).plus(config.history_begins());
            let until = until.plus(Duration::from_millis(1));
            verdict.park_until = Some(until);
            let words =
                format!("kept until {until}, then sent as history that can start no campaign");
            verdict.reason = told.so(&words, ruled);
            verdict.action = Action::Park;
        }
        Action::ProfileOnly if kind != Kind::Profile => {
            let words = "dropped, only profile updates pass";
            return verdict.dropped(DropReason::ProfileOnly, told.so(words, ruled));
        }
        Action::Drop if kind == Kind::Destructive && ruled.is_none() => {
            let words = "dropped, deletions, suppressions and merges are not repeated";
            return verdict.dropped(DropReason::ReplayedDestructive, told.so(words, None));
        }
        Action::Drop => return verdict.dropped(DropReason::GuardRule, told.so("dropped", ruled)),
        Action::Park | Action::Deliver => verdict.reason = told.so(told.sent(), ruled),
        Action::Mark => {
            let name = verdict.rename.as_deref().map(|name| format!(" renamed {name:?},"));
            let words = format!("marked,{} {}", name.unwrap_or_default(), told.sent());
            verdict.reason = told.so(&words, ruled);
            verdict.action = action;
        }
        Action::ProfileOnly => {
            verdict.reason = told.so(told.sent(), ruled);
            verdict.action = action;
        }
    }
    verdict
}

impl Verdict {
    fn dropped(mut self, drop: DropReason, reason: String) -> Self {
        self.action = Action::Drop;
        self.drop = Some(drop);
        self.reason = reason;
        self
    }
}

/// A time further ahead than clocks go wrong is none: the corrected one stands in where there is one,
/// else the time of receipt.
fn possible_time(config: &GuardConfig, case: &Case) -> (EventTime, Option<EventTime>) {
    let time = case.time;
    let ahead = time.at.millis_since(case.accepted_at);
    if i128::from(ahead) <= config.future_after.duration().as_millis().cast_signed() {
        return (time, None);
    }
    let possible = match time.for_age.filter(|at| *at <= case.accepted_at) {
        // How wrong the clock was is known, and so is when it happened.
        Some(at) => EventTime { at, origin: TimeOrigin::Corrected, for_age: None },
        None => EventTime { at: case.received_at, origin: TimeOrigin::Received, for_age: None },
    };
    (possible, Some(possible))
}

fn classify(case: &Case, age: Age, history: bool, late_after: Duration) -> Class {
    match &case.replay {
        Some(Replay::Flagged { .. }) => Class::Replay,
        Some(Replay::ReceivedAge) => Class::ReplayByAge,
        None if history => Class::Historical,
        None if age.is_over(late_after) => Class::Late,
        None => Class::Live,
    }
}

/// What happens where no rule speaks.
fn by_default(kind: Kind, class: Class) -> Action {
    match (kind, class) {
        (Kind::Destructive, Class::Replay | Class::ReplayByAge) => Action::Drop,
        (Kind::Profile, Class::Replay) => Action::Mark,
        (Kind::Profile | Kind::Destructive, _) => Action::Deliver,
        (_, Class::Replay) | (Kind::Intent, Class::Late | Class::ReplayByAge) => Action::Park,
        (Kind::Intent | Kind::Exit | Kind::Other, _) => Action::Deliver,
    }
}

#[derive(Clone, Copy)]
struct Age {
    at: Time,
    now: Time,
}

impl Age {
    fn is_over(self, limit: Duration) -> bool {
        self.now.since(self.at) > limit
    }

    fn hours(self) -> i64 {
        self.now.millis_since(self.at) / 3_600_000
    }
}

#[cfg(test)]
mod tests;
