//! The stages behind the journal, in their order. Start reading here.
//!
//! [`prepare`] is pure and runs in parallel, an event at a time: spec, scripts, guard. [`resolve`]
//! runs in the order of acceptance, on one thread, because what one event teaches counts for the
//! next: identity, business key, mapping. What comes out of it are bytes for Customer.io.
//!
//! Neither does I/O beyond looking facts up, and neither reads a clock: fixtures run the same code.
//!
//! Not here: what happens to an event over time ([`crate::relay`]).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock::Time;
use crate::config::{Config, SourceConfig};
use crate::destination::customerio::mapping::{Mapped, Options};
use crate::destination::customerio::operation::Operation;
use crate::destination::customerio::{Encoded, PersonId, Subject, Transport};
use crate::guard::keys::Holder;
use crate::guard::{self, Action, Case, Kind, Verdict};
use crate::identity::{self, Facts, Question, Resolution};
use crate::journal::{Fact, FactKey, JournalError};
use crate::outcome::{DeadCode, DeadLetter, DropReason, Outcome, Stage};
use crate::spec::{self, Arrival, Call, Event, Ingress, RawCall, Replay, Traffic};
use crate::transform::{Context, Hints, IdentifyAs, Made, Runner, Scripted, StageTrace};

/// An event behind the pure stages.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Where it comes from, for counters and the trail.
    pub origin: Origin,
    /// What became of it.
    pub result: Result<Vec<Part>, Outcome>,
    /// The hash of the scripts that made it.
    pub bundle: Arc<str>,
}

/// What is told about an event whatever becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The source.
    pub source: String,
    /// The name of the replay that it belongs to; empty otherwise.
    pub label: String,
    /// The message id.
    pub message_id: String,
    /// Type and name, as they arrived.
    pub event: String,
    /// When it was accepted.
    pub accepted_at: Time,
    /// The class of traffic.
    pub traffic: Traffic,
    /// Whether it ends what other events started: a purchase that never arrives is what fires wrong
    /// messages.
    pub exit: bool,
}

impl Origin {
    /// What is known before the call is read.
    pub fn of(arrival: &Arrival) -> Self {
        Self {
            source: arrival.source.clone(),
            label: arrival.label().to_owned(),
            message_id: String::new(),
            event: String::new(),
            accepted_at: arrival.accepted_at,
            traffic: arrival.traffic(),
            exit: false,
        }
    }
}

/// One of the events that the scripts made, with the guard's verdict.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its number among its siblings.
    pub index: u32,
    /// The event.
    pub event: Event,
    /// What the scripts said about it.
    pub hints: Hints,
    /// What the guard was asked.
    pub case: Case,
    /// What the guard answered.
    pub verdict: Verdict,
    /// The door through which it came.
    pub ingress: Ingress,
}

/// A part with its person, ready to travel.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// The operations, frozen, in their order.
    pub operations: Vec<Frozen>,
    /// Whose order they keep.
    pub keys: Vec<Arc<str>>,
    /// What the event taught.
    pub taught: Vec<(FactKey, Option<Fact>)>,
    /// The business key that the event holds now.
    pub holds: Option<FactKey>,
    /// The person or anonymous id for the trail; never an e-mail address.
    pub person: Option<String>,
    /// How the person was found.
    pub identity: &'static str,
    /// Whose event it is.
    pub subject: Subject,
    /// The end of the part: at once where there are no operations, else when they are delivered.
    pub end: Option<Outcome>,
}

/// One operation as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Frozen {
    /// Its name, for reports.
    pub name: &'static str,
    /// The bytes.
    pub payload: Encoded,
    /// Whether it must travel alone.
    pub barrier: bool,
}

/// Runs the pure stages on one call.
///
/// `attempt` counts how often it was processed before.
pub fn prepare(
    config: &Config,
    runner: &mut Runner,
    call: RawCall,
    attempt: u32,
    now: Time,
) -> Prepared {
    prepare_with(config, runner, call, (attempt, now), &mut |runner, event, context| {
        let made = runner.run(event.clone(), context);
        match made {
            // The machine was too busy, not the script too slow: once more.
            Made::Failed(error) if error.retryable => runner.run(event, context),
            made => made,
        }
    })
}

/// As [`prepare`], and tells what every stage of the scripts did.
pub fn prepare_traced(
    config: &Config,
    runner: &mut Runner,
    call: RawCall,
    now: Time,
) -> (Prepared, Vec<StageTrace>) {
    let mut trace = Vec::new();
    let prepared = prepare_with(config, runner, call, (0, now), &mut |runner, event, context| {
        let (made, steps) = runner.trace(event, context);
        trace = steps;
        made
    });
    (prepared, trace)
}

type RunScripts<'a> = dyn FnMut(&mut Runner, Event, &Context) -> Made + 'a;

fn prepare_with(
    config: &Config,
    runner: &mut Runner,
    mut call: RawCall,
    (attempt, now): (u32, Time),
    run: &mut RunScripts<'_>,
) -> Prepared {
    let bundle = Arc::from(runner.bundle().hash());
    let mut origin = Origin::of(&call.arrival);
    let over =
        |origin, outcome| Prepared { origin, result: Err(outcome), bundle: Arc::clone(&bundle) };
    let Some(source) = config.source(&call.arrival.source) else {
        let letter = DeadLetter::new(
            DeadCode::UnknownSource,
            Stage::Spec,
            "its source is no longer configured; configure it again and redrive",
        );
        return over(origin, Outcome::DeadLettered(letter));
    };
    let event = match spec::normalise(&mut call, source.kind) {
        Ok(event) => event,
        Err(letter) => return over(origin, Outcome::DeadLettered(letter)),
    };
    origin.message_id = event.message_id().to_owned();
    origin.event = title(&event);
    let canonical = event.name().map(|name| runner.bundle().canonical(name)).unwrap_or_default();
    origin.exit = Kind::of(event.call(), &canonical) == Kind::Exit;
    let context = script_context(source, &call.arrival, &event, attempt, now);
    let result = match run(runner, event, &context) {
        Made::Events(events) => Ok(events),
        Made::Dropped { reason, .. } => Err(Outcome::Dropped(DropReason::Script(reason))),
        Made::Failed(error) => Err(Outcome::DeadLettered(error.dead_letter())),
    };
    let result = result.map(|events| {
        let judge =
            |(index, scripted)| part(config, source, &call.arrival, runner, (index, scripted), now);
        (0..).zip(events).map(judge).collect()
    });
    Prepared { origin, result, bundle }
}

/// Type and name of an event, as in `track Order Completed`.
fn title(event: &Event) -> String {
    match event.name() {
        Some(name) => {
            format!("{} {}", event.call().as_str(), name.chars().take(100).collect::<String>())
        }
        None => event.call().as_str().to_owned(),
    }
}

fn script_context(
    source: &SourceConfig,
    arrival: &Arrival,
    event: &Event,
    attempt: u32,
    now: Time,
) -> Context {
    let replay_reason = arrival.replay.as_ref().map(|replay| match replay {
        Replay::Flagged { label } => label.clone().unwrap_or_else(|| "flagged".into()),
        Replay::ReceivedAge => "received_age".into(),
    });
    Context {
        platform: source.kind,
        source: source.name.clone(),
        ingress: arrival.ingress,
        now,
        received_at: event.received_at(),
        age_seconds: now.millis_since(event.time().age_basis()) / 1000,
        replay: replay_reason.is_some(),
        replay_reason,
        attempt,
        headers: arrival.headers.clone(),
        ip: arrival.ip.clone(),
    }
}

/// Judges one of the events that the scripts made.
fn part(
    config: &Config,
    source: &SourceConfig,
    arrival: &Arrival,
    runner: &Runner,
    (index, scripted): (u32, Scripted),
    now: Time,
) -> Part {
    let Scripted { mut event, hints } = scripted;
    let canonical = event.name().map(|name| runner.bundle().canonical(name)).unwrap_or_default();
    let flagged = hints.replay.clone().map(|label| Replay::Flagged { label: Some(label) });
    let case = Case {
        call: event.call(),
        time: event.time(),
        received_at: event.received_at(),
        canonical,
        source: source.name.clone(),
        accepted_at: arrival.accepted_at,
        replay: flagged.or_else(|| arrival.replay.clone()),
        late_after: source.late_after.map(|span| span.duration()),
        cutover: source.cutover.as_deref().and_then(Time::parse),
    };
    let verdict = guard::judge(&config.guard, &case, now);
    if let Some(time) = verdict.corrected_time {
        event.set_time(time);
    }
    let mut part = Part { index, event, hints, case, verdict, ingress: arrival.ingress };
    if needs_secret(&part) && !arrival.trusted {
        part.verdict.action = Action::Drop;
        part.verdict.drop = None;
        part.verdict.reason = "a deletion or suppression needs a secret that covers it".into();
    }
    part
}

/// Whether the event takes something away that cannot be given back: a public write key is not
/// enough for that.
fn needs_secret(part: &Part) -> bool {
    part.event.call() == Call::Delete
        || matches!(
            part.case.canonical.as_str(),
            "user_deleted" | "user_suppressed" | "user_unsuppressed"
        )
}

/// The facts that [`resolve`] will ask for, so that they can be loaded for many parts at once.
pub fn facts_about(config: &Config, part: &Part) -> Vec<FactKey> {
    let Some(source) = config.source(&part.case.source) else { return Vec::new() };
    let mut keys = identity::facts_about(&question(source, part));
    keys.extend(
        part.hints.dedupe_by.as_ref().map(|key| guard::keys::fact_key(key, &source.dedupe_scope)),
    );
    keys
}

/// Decides whose event a part is and what is sent for it, at `now`.
///
/// # Errors
/// When the journal cannot be read; nothing was taught then.
pub fn resolve(
    config: &Config,
    part: &Part,
    facts: &mut Facts,
    now: Time,
) -> Result<Resolved, JournalError> {
    let Some(source) = config.source(&part.case.source) else {
        return Ok(Resolved::over(Outcome::DeadLettered(DeadLetter::new(
            DeadCode::UnknownSource,
            Stage::Identity,
            "its source is no longer configured",
        ))));
    };
    match (part.verdict.action, &part.verdict.drop) {
        (Action::Drop, Some(reason)) => {
            return Ok(Resolved::over(Outcome::Dropped(reason.clone())));
        }
        (Action::Drop, None) => {
            return Ok(Resolved::over(Outcome::DeadLettered(DeadLetter::new(
                DeadCode::NeedsSecret,
                Stage::Guard,
                part.verdict.reason.clone(),
            ))));
        }
        _ => {}
    }
    let question = question(source, part);
    let resolution = identity::resolve(&question, facts, now)?;
    let mut resolved = Resolved {
        keys: resolution.keys.clone(),
        taught: resolution.taught.clone(),
        person: trail_name(&resolution.subject),
        identity: resolution.reason,
        subject: resolution.subject.clone(),
        ..Resolved::default()
    };
    let mut operations = Vec::new();
    match claim(source, part, &resolution, facts, now, &mut resolved)? {
        Claim::Ours => match map(config, source, part, &resolution) {
            Ok(Mapped::Operations(mapped)) => {
                operations = mapped;
                resolved.end = Some(Outcome::Delivered);
            }
            Ok(Mapped::Dropped(reason)) => resolved.end = Some(Outcome::Dropped(reason)),
            Err(error) => resolved.end = Some(Outcome::DeadLettered(error.into())),
        },
        Claim::Copy => resolved.end = Some(Outcome::Dropped(DropReason::DuplicateKey)),
        Claim::CopyThatNames { person, anonymous } => {
            operations.push(Operation::link(person, anonymous, part.event.time().at));
            resolved.end = Some(Outcome::Dropped(DropReason::DuplicateKey));
        }
    }
    let sends = matches!(resolved.end, Some(Outcome::Delivered));
    if sends
        && resolution.tell_first
        && let (Some(person), Some(anonymous)) =
            (&resolution.subject.person, &resolution.subject.anonymous)
    {
        operations.insert(0, Operation::link(person.clone(), anonymous.clone(), told_at(part)));
    }
    if let Err(error) = freeze(operations, part, config.customerio.transport, &mut resolved) {
        resolved.operations.clear();
        resolved.end = Some(Outcome::DeadLettered(error.into()));
    }
    Ok(resolved)
}

impl Resolved {
    fn over(outcome: Outcome) -> Self {
        Self { end: Some(outcome), ..Self::default() }
    }
}

/// When a person and an anonymous id were joined: now, for live traffic. Customer.io ignores what is
/// older than the newest change of a profile, and a late event must not keep it from learning this.
fn told_at(part: &Part) -> Time {
    match part.case.replay {
        None => part.case.accepted_at,
        Some(_) => part.event.time().at,
    }
}

fn question<'a>(source: &'a SourceConfig, part: &'a Part) -> Question<'a> {
    Question {
        event: &part.event,
        subject: source.mapping().subject(&part.event),
        identify_as: part.hints.identify_as.as_ref().and_then(named_by_script),
        config: &source.identity,
    }
}

fn named_by_script(named: &IdentifyAs) -> Option<PersonId> {
    let id = named.id.as_deref().map(PersonId::from_text);
    id.or_else(|| named.email.clone().map(PersonId::Email))
}

/// What the trail says about whose event it was: never an e-mail address.
fn trail_name(subject: &Subject) -> Option<String> {
    match &subject.person {
        Some(PersonId::Email(_)) | None => subject.anonymous.clone(),
        Some(person) => Some(person.to_text()),
    }
}

enum Claim {
    Ours,
    Copy,
    CopyThatNames { person: PersonId, anonymous: String },
}

/// Claims the business key that a script named, where it did.
fn claim(
    source: &SourceConfig,
    part: &Part,
    resolution: &Resolution,
    facts: &mut Facts,
    now: Time,
    resolved: &mut Resolved,
) -> Result<Claim, JournalError> {
    let Some(key) = &part.hints.dedupe_by else { return Ok(Claim::Ours) };
    let key = guard::keys::fact_key(key, &source.dedupe_scope);
    let event = part.event.fingerprint();
    let holder = facts.get(&key, now)?.and_then(|fact| Holder::from_fact(&fact));
    match holder {
        Some(holder) if !holder.is(event) => {
            Ok(match (holder.person, holder.anonymous, &resolution.subject.person) {
                (None, Some(anonymous), Some(person)) => {
                    let taken = Holder::new(event, Some(person.key()), None).to_fact(now);
                    facts.teach(key.clone(), Some(taken.clone()));
                    resolved.taught.push((key, Some(taken)));
                    Claim::CopyThatNames { person: person.clone(), anonymous }
                }
                _ => Claim::Copy,
            })
        }
        _ => {
            let person = resolution.subject.person.as_ref().map(PersonId::key);
            let holder =
                Holder::new(event, person, resolution.subject.anonymous.clone()).to_fact(now);
            facts.teach(key.clone(), Some(holder.clone()));
            resolved.taught.push((key.clone(), Some(holder)));
            resolved.holds = Some(key);
            Ok(Claim::Ours)
        }
    }
}

fn map<'e>(
    config: &Config,
    source: &SourceConfig,
    part: &'e Part,
    resolution: &Resolution,
) -> Result<Mapped<'e>, crate::destination::customerio::mapping::MapError> {
    let options = Options {
        device_token_event: config.customerio.device_token_event.clone(),
        all_false_opts_out: part.ingress == Ingress::Api,
    };
    source.mapping().operations(&part.event, &resolution.subject, &options)
}

/// Marks and freezes operations.
fn freeze(
    operations: Vec<Operation<'_>>,
    part: &Part,
    transport: Transport,
    resolved: &mut Resolved,
) -> Result<(), crate::destination::customerio::mapping::MapError> {
    for mut operation in operations {
        if part.verdict.action == Action::Mark {
            operation.mark("replay", Value::Bool(part.verdict.class != guard::Class::Late));
            operation.mark("event_age_hours", json!(part.verdict.age_hours));
            if let Some(name) = &part.verdict.rename {
                operation.rename(name.as_str());
            }
        }
        resolved.operations.push(Frozen {
            name: operation.name(),
            payload: operation.encode(transport)?,
            barrier: operation.is_barrier(),
        });
    }
    Ok(())
}
