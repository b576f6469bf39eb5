//! The pure half: spec, scripts, guard, contract. Runs in parallel, an event at a time.

use std::sync::Arc;

use super::{Check, Origin, Part, Prepared};
use crate::clock::Time;
use crate::config::{Config, SourceConfig};
use crate::contract::Violation;
use crate::guard::{self, Case, Kind};
use crate::outcome::{DeadCode, DeadLetter, DropReason, Outcome, Stage};
use crate::spec::{self, Arrival, Call, Event, RawCall, Replay, ids};
use crate::transform::{Context, Made, Runner, Scripted, StageTrace};

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
    prepare_with(config, runner, call, (attempt, now), &mut |runner, event, original, context| {
        match runner.run_with_original(event, original, context) {
            // The machine was too busy, not the script too slow: once more.
            Made::Failed(error) if error.retryable => match original() {
                Some(event) => runner.run_with_original(event, original, context),
                None => Made::Failed(error),
            },
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
    let prepared =
        prepare_with(config, runner, call, (0, now), &mut |runner, event, _, context| {
            let (made, steps) = runner.trace(event, context);
            trace = steps;
            made
        });
    (prepared, trace)
}

/// Runs the scripts on an event; makes the event again where a run must start again, which is rare.
type RunScripts<'a> =
    dyn FnMut(&mut Runner, Event, &mut dyn FnMut() -> Option<Event>, &Context) -> Made + 'a;

fn prepare_with(
    config: &Config,
    runner: &mut Runner,
    mut call: RawCall,
    (attempt, now): (u32, Time),
    run: &mut RunScripts<'_>,
) -> Prepared {
    let bundle = runner.hash();
    let mut origin = Origin::of(&call.arrival);
    let over = |origin, outcome| {
        let (result, bundle) = (Err(outcome), Arc::clone(&bundle));
        Prepared { origin, result, checks: Arc::default(), bundle }
    };
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
        Err(letter) => {
            tell_what_can_be_told(&mut origin, &mut call, runner);
            return over(origin, Outcome::DeadLettered(letter));
        }
    };
    origin.message_id = event.message_id().to_owned();
    origin.event = title(event.call(), event.name());
    let canonical = event.name().map(|name| runner.canonical(name)).unwrap_or_default();
    let is_live = call.arrival.replay.is_none();
    origin.happened_at = is_live.then(|| event.time().age_basis());
    origin.exit = Kind::of(event.call(), &canonical) == Kind::Exit;
    let arrived = runner.bundle().contracts().look(&event, &canonical);
    let mut checks = Vec::new();
    if arrived.tells() {
        checks.push(Check { part: None, look: arrived });
    }
    let context = script_context(source, &call.arrival, &event, attempt, now);
    let mut original = || spec::normalise(&mut call, source.kind).ok();
    let result = match run(runner, event, &mut original, &context) {
        Made::Events(events) => Ok(events),
        Made::Dropped { reason, .. } => Err(Outcome::Dropped(DropReason::Script(reason))),
        Made::Failed(error) => Err(Outcome::DeadLettered(error.dead_letter())),
    };
    let result = result.map(|events| {
        let judge = |(index, scripted)| {
            let judged = part(config, source, &call.arrival, runner, (index, scripted), now);
            compared(judged, runner, &mut checks)
        };
        (0..).zip(events).map(judge).collect()
    });
    Prepared { origin, result, checks: checks.into(), bundle }
}

/// Type and name of an event, as in `track Order Completed`.
fn title(call: Call, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{} {}", call.as_str(), name.chars().take(100).collect::<String>()),
        None => call.as_str().to_owned(),
    }
}

/// An event that cannot be one, because a field of it is wrong, still has a message id and a name for
/// who looks for it, and may be an exit event whose loss must be noticed.
fn tell_what_can_be_told(origin: &mut Origin, call: &mut RawCall, runner: &Runner) {
    let said = call.arrival.call;
    let Some(fields) = call.fields() else { return };
    let text = |name: &str| fields.get(name).and_then(ids::text_id);
    origin.message_id = text("messageId").unwrap_or_default();
    let Some(kind) = said.or_else(|| Call::from_name(&text("type")?)) else { return };
    let name = text("event").or_else(|| text("name"));
    let canonical = name.as_deref().map(|name| runner.canonical(name)).unwrap_or_default();
    origin.event = title(kind, name.as_deref());
    origin.exit = Kind::of(kind, &canonical) == Kind::Exit;
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
    event.remove_ids(|id| source.identity.is_junk(id));
    let canonical = event.name().map(|name| runner.canonical(name)).unwrap_or_default();
    let flagged = hints.replay.clone().map(|label| Replay::Flagged { label: Some(label) });
    let kind = match source.mapping().takes_away(&event) {
        true => Kind::Destructive,
        false => Kind::of(event.call(), &canonical),
    };
    let case = Case {
        call: event.call(),
        kind,
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
    let (ingress, trusted) = (arrival.ingress, arrival.trusted);
    Part { index, event, hints, case, verdict, refused: None, ingress, trusted }
}

/// Compares one of the events that the scripts made with its contract.
fn compared(mut part: Part, runner: &Runner, checks: &mut Vec<Check>) -> Part {
    let contracts = runner.bundle().contracts();
    let (mut look, refused) = contracts.enforce(&mut part.event, &part.case.canonical);
    part.refused = refused;
    let said = part.hints.violations.iter();
    let said = said.map(|said| Violation::of_script(&said.kind, &said.path));
    look.violations.splice(..0, said);
    if look.tells() {
        checks.push(Check { part: Some(part.index), look });
    }
    part
}
