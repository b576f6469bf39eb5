//! The ordered half: identity, business key, mapping. What one event teaches counts for the next.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Frozen, Leaving, Part, Resolved};
use crate::clock::Time;
use crate::config::{AnonymousPolicy, Config, SourceConfig, StitchPolicy};
use crate::destination::customerio::mapping::{MapError, Mapped, Options};
use crate::destination::customerio::operation::Operation;
use crate::destination::customerio::{PersonId, Subject, Transport};
use crate::guard::keys::Holder;
use crate::guard::{self, Action};
use crate::identity::{self, Departure, Facts, FirstTelling, Previous, Question, Resolution, When};
use crate::journal::{Fact, FactKey, JournalError};
use crate::outcome::{DeadCode, DeadLetter, DropReason, Outcome, Stage};
use crate::spec::{Ingress, Replay};
use crate::transform::IdentifyAs;

/// How long it is remembered that a person was deleted or suppressed.
pub const REMEMBERS_GONE: Duration = Duration::from_secs(30 * 24 * 3600);

/// The facts that [`resolve`] will ask for, so that they can be loaded for many parts at once.
pub fn facts_about(config: &Config, part: &Part) -> Vec<FactKey> {
    let Some(source) = config.source(&part.case.source) else { return Vec::new() };
    let mut keys = identity::facts_about(&question(source, part));
    keys.extend(
        part.hints.dedupe_by.as_ref().map(|key| guard::keys::fact_key(key, &source.dedupe_scope)),
    );
    keys
}

/// Decides whose event a part is and what is sent for it, at `now`. Where `may_hold` is off, nothing is
/// held.
///
/// # Errors
/// When the journal cannot be read; what was taught until then is to be undone ([`Facts::end`]).
pub fn resolve(
    config: &Config,
    part: &Part,
    facts: &mut Facts,
    may_hold: bool,
    now: Time,
) -> Result<Resolved, JournalError> {
    let Some(source) = config.source(&part.case.source) else {
        return Ok(Resolved::over(Outcome::DeadLettered(DeadLetter::new(
            DeadCode::UnknownSource,
            Stage::Identity,
            "its source is no longer configured",
        ))));
    };
    if let Some(outcome) = decided_before(part) {
        return Ok(Resolved::over(outcome));
    }
    let question = question(source, part);
    let mut resolution = identity::resolve(&question, facts, now)?;
    // What a copy of it says may tell whose it is.
    let claim = claim(source, part, &question, facts, now, &mut resolution)?;
    let mut resolved = Resolved::of(&resolution);
    resolved.hold_until = hold_until(source, part, &resolution, now).filter(|_| may_hold);
    if resolved.hold_until.is_some() {
        return Ok(resolved);
    }
    if happened_before_deletion(part, &resolution, facts, now) {
        resolved.end = Some(Outcome::Dropped(DropReason::PersonDeleted));
        return Ok(resolved);
    }
    if let Claim::Ours(Some((key, holder))) = &claim {
        facts.teach(key.clone(), Some(holder.clone()));
        resolved.taught.push((key.clone(), Some(holder.clone())));
        resolved.holds = Some(key.clone());
    }
    let (mut operations, end) = send(config, source, part, &resolution, claim);
    resolved.end = Some(end);
    if operations.iter().any(Operation::says_all) {
        resolution.taught.clear();
        resolution.newly_joined = false;
    }
    if let Some(person) = operations.iter().find_map(Operation::person_gone) {
        resolved.leaving = Some(leave(person, part, facts, now)?);
    }
    // A copy is dropped, but what it showed is true, and nobody else would tell it.
    let shown = matches!(
        resolved.end,
        Some(Outcome::Delivered | Outcome::Dropped(DropReason::DuplicateKey))
    );
    if shown {
        tell_first(source, part, &resolution, &mut operations);
        merge_last(&resolution, &mut operations);
        merge_into_somebody(part, &resolution, &mut operations);
        create_nobody(source, part, &mut operations);
    }
    match freeze(operations, part, config.customerio.transport, &mut resolved) {
        Ok(()) if shown => {
            for (key, fact) in resolution.taught {
                facts.teach(key.clone(), fact.clone());
                resolved.taught.push((key, fact));
            }
        }
        Ok(()) => {}
        Err(error) => {
            resolved.operations.clear();
            resolved.end = Some(Outcome::DeadLettered(error.into()));
        }
    }
    Ok(resolved)
}

/// What is sent for a part, and how it ends when that is delivered.
fn send<'e>(
    config: &Config,
    source: &SourceConfig,
    part: &'e Part,
    resolution: &Resolution,
    claim: Claim,
) -> (Vec<Operation<'e>>, Outcome) {
    let nothing = |outcome| (Vec::new(), outcome);
    match (claim, map(config, source, part, resolution)) {
        // Whoever is not to be sent is not to be told about either.
        (_, Ok(Mapped::Dropped(reason @ DropReason::OptedOut))) => {
            nothing(Outcome::Dropped(reason))
        }
        (Claim::Copy { untold }, _) => {
            let at = told_at(part);
            let link = |(person, anonymous)| Operation::link(person, anonymous, at);
            let links = untold.into_iter().map(link).collect();
            (links, Outcome::Dropped(DropReason::DuplicateKey))
        }
        (Claim::Ours(_), Ok(Mapped::Operations(operations))) => {
            match unvouched(part, &operations) {
                Some(letter) => nothing(Outcome::DeadLettered(letter)),
                None => (operations, Outcome::Delivered),
            }
        }
        (Claim::Ours(_), Ok(Mapped::Dropped(reason))) => nothing(Outcome::Dropped(reason)),
        (Claim::Ours(_), Err(error)) => nothing(Outcome::DeadLettered(error.into())),
    }
}

/// Takes leave of a person whom the part deletes or suppresses: from here on it counts as done.
fn leave(
    person: &PersonId,
    part: &Part,
    facts: &mut Facts,
    now: Time,
) -> Result<Leaving, JournalError> {
    let forgets = identity::forget(person, facts, now)?;
    let (person, at) = (person.key(), part.event.time().at);
    let accepted = part.case.accepted_at;
    let departure = Departure { at, accepted, done: now, until: now.plus(REMEMBERS_GONE) };
    facts.expect_gone(&person, departure);
    for key in &forgets {
        facts.teach(key.clone(), None);
    }
    Ok(Leaving { person, departure, forgets })
}

/// Why a part is not sent that only a public write key vouches for.
fn unvouched(part: &Part, operations: &[Operation<'_>]) -> Option<DeadLetter> {
    let operation = operations.iter().find(|operation| operation.needs_secret())?;
    let message = format!(
        "{} takes away what cannot be given back, and only a public write key came with it; send it with \
         a secret that covers this very event",
        operation.name()
    );
    (!part.trusted).then(|| DeadLetter::new(DeadCode::NeedsSecret, Stage::Mapping, message))
}

/// Whether its person was deleted or suppressed after it happened, or after it was accepted: sent now,
/// it would bring the person back.
fn happened_before_deletion(
    part: &Part,
    resolution: &Resolution,
    facts: &Facts,
    now: Time,
) -> bool {
    let person = resolution.subject.person.as_ref();
    let (happened, accepted) = (part.event.time().at, part.case.accepted_at);
    let when = When { happened, accepted, now };
    person.is_some_and(|person| facts.is_of_the_gone(&person.key(), when))
}

impl Resolved {
    fn over(outcome: Outcome) -> Self {
        Self { end: Some(outcome), ..Self::default() }
    }

    /// Whose event it is, with nothing done about it yet.
    fn of(resolution: &Resolution) -> Self {
        Self {
            keys: resolution.keys.clone(),
            person: trail_name(&resolution.subject),
            identity: resolution.reason,
            subject: resolution.subject.clone(),
            notices: resolution.notices.clone(),
            ..Self::default()
        }
    }
}

/// Tells Customer.io first that the anonymous id is the person's, where nothing else that is sent says
/// it.
fn tell_first(
    source: &SourceConfig,
    part: &Part,
    resolution: &Resolution,
    operations: &mut Vec<Operation<'_>>,
) {
    if !resolution.newly_joined || source.identity.stitch == StitchPolicy::Off {
        return;
    }
    let (Some(person), Some(anonymous)) =
        (&resolution.subject.person, resolution.subject.anonymous.as_deref())
    else {
        return;
    };
    // An identify says it itself.
    let says_it = |operation: &Operation<'_>| {
        operation.name() == "identify" && operation.anonymous_id() == Some(anonymous)
    };
    if !operations.iter().any(says_it) {
        operations.insert(0, Operation::link(person.clone(), anonymous.to_owned(), told_at(part)));
    }
}

/// How a part ends that the guard or its contract does not let pass.
fn decided_before(part: &Part) -> Option<Outcome> {
    match (part.verdict.action, &part.verdict.drop) {
        (Action::Drop, Some(reason)) => Some(Outcome::Dropped(reason.clone())),
        _ => part.refused.clone().map(Outcome::DeadLettered),
    }
}

/// Merges whom Customer.io knows twice. The identify goes first: nobody can be merged into somebody who is
/// not there yet.
fn merge_last(resolution: &Resolution, operations: &mut Vec<Operation<'_>>) {
    let identifies = operations.iter().any(|operation| operation.name() == "identify");
    if let (true, Some(secondary), Some(primary)) =
        (identifies, resolution.merges.clone(), resolution.subject.person.clone())
    {
        operations.push(Operation::Merge { primary, secondary });
    }
}

/// An alias may be the first word about the new id: an identify goes ahead of it, or the merge would do
/// nothing and leave two people.
fn merge_into_somebody(part: &Part, resolution: &Resolution, operations: &mut Vec<Operation<'_>>) {
    let Some(person) =
        resolution.subject.person.as_ref().filter(|_| resolution.merges_into_unknown)
    else {
        return;
    };
    if let [Operation::Merge { .. }] = &operations[..] {
        operations.insert(0, Operation::existence(person.clone(), told_at(part)));
    }
}

/// What somebody says is a replay changes people who are there, and creates none unless that is asked for.
fn create_nobody(source: &SourceConfig, part: &Part, operations: &mut [Operation<'_>]) {
    let is_replay = matches!(part.case.replay, Some(Replay::Flagged { .. }));
    if !is_replay || source.identity.replay_creates_people {
        return;
    }
    for operation in operations {
        if operation.people().next().is_some() {
            operation.only_existing();
        }
    }
}

/// Until when an event whose person is not known is held, where the source holds such events.
fn hold_until(
    source: &SourceConfig,
    part: &Part,
    resolution: &Resolution,
    now: Time,
) -> Option<Time> {
    let holds = source.identity.anonymous == AnonymousPolicy::Hold && resolution.is_unknown_visitor;
    let until = part.case.accepted_at.plus(source.identity.hold_for.duration());
    (holds && now < until).then_some(until)
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
        seen_at: told_at(part).min(part.case.accepted_at),
        accepted_at: part.case.accepted_at,
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
    /// It is sent, and holds this key where a script named one.
    Ours(Option<(FactKey, Fact)>),
    /// Another event says the same. The two may show that an anonymous id is a person's.
    Copy { untold: Vec<(PersonId, String)> },
}

/// Claims the business key that a script named, where it did. What a copy shows together with the holder
/// comes into `resolution`.
fn claim(
    source: &SourceConfig,
    part: &Part,
    question: &Question<'_>,
    facts: &mut Facts,
    now: Time,
    resolution: &mut Resolution,
) -> Result<Claim, JournalError> {
    let Some(key) = &part.hints.dedupe_by else { return Ok(Claim::Ours(None)) };
    let key = guard::keys::fact_key(key, &source.dedupe_scope);
    let event = part.event.fingerprint();
    let holder = facts.get(&key, now)?.and_then(|fact| Holder::from_fact(&fact));
    let Some(holder) = holder.filter(|holder| !holder.is(event)) else {
        let Subject { person, anonymous } = &resolution.subject;
        let holder = match person {
            Some(person) => Holder::of_person(event, person.key()),
            None => Holder::of_visitor(event, anonymous.clone(), question.seen_at),
        };
        return Ok(Claim::Ours(Some((key, holder.to_fact(now)))));
    };
    let first = FirstTelling {
        person: holder.person.as_deref().and_then(PersonId::from_key),
        visitor: holder.anonymous.clone().zip(holder.seen_at),
    };
    let joined = identity::join_tellings(question, first, facts, now, resolution)?;
    let Some((person, untold)) = joined else { return Ok(Claim::Copy { untold: Vec::new() }) };
    if holder.person.is_none() {
        resolution.taught.push((key, Some(holder.named(person.key()).to_fact(now))));
    }
    let untold = untold.into_iter().map(|anonymous| (person.clone(), anonymous)).collect();
    Ok(Claim::Copy { untold })
}

fn map<'e>(
    config: &Config,
    source: &SourceConfig,
    part: &'e Part,
    resolution: &Resolution,
) -> Result<Mapped<'e>, MapError> {
    let options = Options {
        device_token_event: config.customerio.device_token_event.clone(),
        all_false_opts_out: part.ingress == Ingress::Api,
    };
    let mut mapped = source.mapping().operations(&part.event, &resolution.subject, &options)?;
    if let Mapped::Operations(operations) = &mut mapped
        && let [Operation::Merge { primary, secondary }] = &mut operations[..]
    {
        match &resolution.previous {
            // The old id of somebody who was merged before is no longer anybody's there.
            Some(Previous::Person(previous)) if previous.key() != primary.key() => {
                *secondary = previous.clone();
            }
            Some(Previous::Person(_)) | None => {}
            Some(Previous::Anonymous) => return Ok(Mapped::Dropped(DropReason::NoEffect)),
        }
    }
    Ok(mapped)
}

/// Marks and freezes operations.
fn freeze(
    operations: Vec<Operation<'_>>,
    part: &Part,
    transport: Transport,
    resolved: &mut Resolved,
) -> Result<(), MapError> {
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
