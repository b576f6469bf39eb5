//! Stage 6: whose event it is.
//!
//! The mapping says who the native destination would attach an event to. This stage knows more: what
//! earlier events taught. Any call with both ids teaches that an anonymous id is a person's; from
//! then on an event that carries only the anonymous id belongs to that person. An anonymous id is
//! never used as a person's id, and one that is seen with two people belongs to neither.
//!
//! [`resolve`] runs in the order of acceptance, on one thread, over [`Facts`]: what an event teaches
//! counts at once for those behind it, and is written in the transaction that settles it. What is not
//! sent teaches nothing: else Customer.io would never hear of it.
//!
//! Not here: Customer.io's own merging of what was sent anonymously (the [`crate::emulator`] shows
//! it), or who may delete whom ([`crate::pipeline`]).

mod facts;
mod memory;
mod mention;

pub use facts::Facts;
pub use memory::{Alias, Link};
pub use mention::mentioned;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use self::memory::Moment;
use crate::clock::Time;
use crate::config::{IdentityConfig, PrimaryId};
use crate::destination::customerio::{PersonId, Subject};
use crate::journal::{Fact, FactKey, JournalError};
use crate::spec::{Call, Event};

/// How long a pair of ids is believed after it was last seen, as Customer.io keeps anonymous events.
const PAIR_HOLDS: Duration = Duration::from_secs(30 * 24 * 3600);
/// A pair that is seen again is written down again no more often than this.
const REFRESH_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The event.
    pub event: &'a Event,
    /// Who the mapping would attach it to.
    pub subject: Subject,
    /// Whom a script named.
    pub identify_as: Option<PersonId>,
    /// The source's settings.
    pub config: &'a IdentityConfig,
    /// When its ids were seen together: when it was accepted, and for a replay, which shows what was
    /// once, when it happened.
    pub seen_at: Time,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolution {
    /// Whose event it is. The anonymous id is absent when the person must not claim it.
    pub subject: Subject,
    /// Whether the event showed for the first time that the anonymous id is the person's: Customer.io
    /// does not know yet.
    pub newly_joined: bool,
    /// Whose old id an alias names.
    pub previous: Option<Previous>,
    /// Whose order the event keeps.
    pub keys: Vec<Arc<str>>,
    /// What it teaches.
    pub taught: Vec<(FactKey, Option<Fact>)>,
    /// Whether the anonymous id was now seen with a second person.
    pub newly_contested: bool,
    /// How it was decided, for people.
    pub reason: &'static str,
}

/// Whose the old id of an alias is.
#[derive(Clone, Debug, PartialEq)]
pub enum Previous {
    /// A person's, who may have been merged into this one before.
    Person(PersonId),
    /// An anonymous one, which is nobody's id.
    Anonymous,
}

/// The facts that [`resolve`] will ask for, so that they can be loaded for many events at once.
pub fn facts_about(question: &Question<'_>) -> Vec<FactKey> {
    let people = [&question.subject.person, &question.identify_as].into_iter().flatten();
    let mut keys: Vec<FactKey> = people.map(|person| memory::alias_key(&person.key())).collect();
    keys.extend(question.subject.anonymous.as_deref().map(memory::link_key));
    keys.extend(email_of(question.event).map(|email| memory::alias_key(&email.key())));
    keys
}

/// Decides whose event it is at `now`. What it teaches counts from the moment at which the caller
/// teaches it to the facts: an event that is not sent teaches nothing.
///
/// # Errors
/// When the journal cannot be read.
pub fn resolve(
    question: &Question<'_>,
    facts: &mut Facts,
    now: Time,
) -> Result<Resolution, JournalError> {
    let mut resolution = Resolution::default();
    let mut anonymous =
        question.subject.anonymous.clone().filter(|id| !question.config.is_junk(id));
    if let Some(previous) = question.event.previous_id().filter(|_| is_alias(question)) {
        let event = question.event.fingerprint();
        let lessons = &mut resolution.taught;
        let whose = match memory::was_merged_by(previous, event, facts, now)? {
            Some(person) => Previous::Person(person),
            None => whose(previous, &anonymous, facts, now, lessons)?,
        };
        resolution.previous = Some(whose);
        if resolution.previous == Some(Previous::Anonymous) {
            anonymous = Some(previous.to_owned());
        }
    }
    let person = match named_person(question) {
        Some(person) => Some(memory::follow_alias(person, facts, now, &mut resolution.taught)?),
        None => None,
    };
    match (person, anonymous) {
        (Some(person), Some(anonymous)) => {
            join(question, person, anonymous, (facts, now), &mut resolution)?;
        }
        (Some(person), None) => {
            resolution.keys.push(person.key().into());
            resolution.subject.person = Some(person);
            resolution.reason = "the event names the person";
        }
        (None, Some(anonymous)) => {
            attach(question, anonymous, (facts, now), &mut resolution)?;
        }
        (None, None) => resolution.reason = "nobody is named",
    }
    if resolution.subject.person.is_none() && has_property_email(question.event) {
        // The deviation `who-it-is`: whoever moves over looks for these.
        resolution.reason = match resolution.subject.anonymous {
            Some(_) => "no person; properties.email may be anybody's and is not taken for one",
            None => "nobody is named; properties.email may be anybody's and is not taken for one",
        };
    }
    if let Some(person) = resolution.subject.person.clone() {
        learn_email(question.event, &person, facts, now, &mut resolution)?;
        learn_alias(question, &person, now, &mut resolution);
    }
    Ok(resolution)
}

fn is_alias(question: &Question<'_>) -> bool {
    question.event.call() == Call::Alias
}

/// Whose the old id of an alias is: an id that came as an anonymous one is no person's.
fn whose(
    previous: &str,
    anonymous: &Option<String>,
    facts: &mut Facts,
    now: Time,
    lessons: &mut memory::Lessons,
) -> Result<Previous, JournalError> {
    if anonymous.as_deref() == Some(previous) || Link::load(previous, facts, now)?.is_some() {
        return Ok(Previous::Anonymous);
    }
    let person = PersonId::from_text(previous);
    Ok(Previous::Person(memory::follow_alias(person, facts, now, lessons)?))
}

/// Who the event itself names: the script's word, the primary identifier, the mapping's rule.
fn named_person(question: &Question<'_>) -> Option<PersonId> {
    let person =
        question.subject.person.clone().filter(|person| !question.config.is_junk(person.value()));
    if question.event.user_id().is_none()
        && let Some(named) = &question.identify_as
    {
        return Some(named.clone());
    }
    match question.config.primary {
        PrimaryId::UserId => person,
        PrimaryId::Email => email_of(question.event).or(person),
    }
}

/// Both ids: teaches the pair, unless the anonymous id is already somebody else's.
fn join(
    question: &Question<'_>,
    person: PersonId,
    anonymous: String,
    (facts, now): (&mut Facts, Time),
    resolution: &mut Resolution,
) -> Result<(), JournalError> {
    let person_key = person.key();
    let at = question.seen_at;
    resolution.keys.push(person_key.as_str().into());
    resolution.reason = "the event names the person";
    let known = Link::load(&anonymous, facts, now)?.map(|link| (link.moment(at), link));
    if let Some((Moment::Before | Moment::During, link)) = &known {
        let owner = memory::follow_alias(link.person(), facts, now, &mut resolution.taught)?;
        let is_theirs = owner.key() == person_key;
        if link.contested {
            resolution.subject = Subject { person: Some(person), anonymous: None };
            refresh(link, &anonymous, (at, now), resolution);
            return Ok(());
        }
        if is_theirs && !link.was_taught_by(question.event.fingerprint()) {
            let refreshed = link.refreshed(&person, at);
            resolution.taught.extend(refreshed.map(|link| link.to_fact(&anonymous, now)));
            resolution.subject = Subject { person: Some(person), anonymous: Some(anonymous) };
            return Ok(());
        }
        if !is_theirs && link.moment(at) == Moment::Before {
            resolution.reason =
                "the event names the person; its anonymous id became another person's later";
            resolution.subject = Subject { person: Some(person), anonymous: None };
            return Ok(());
        }
        if !is_theirs && !is_upgrade(&link.person(), &person) {
            resolution.taught.push(link.seen_with_another(at).to_fact(&anonymous, now));
            resolution.newly_contested = true;
            resolution.reason =
                "the event names the person; its anonymous id was another person's before";
            resolution.subject = Subject { person: Some(person), anonymous: None };
            return Ok(());
        }
    }
    resolution.keys.push(format!("anonymous:{anonymous}").into());
    resolution.keys.extend(known.iter().map(|(_, link)| Arc::from(link.person().key())));
    let link = Link::new(&person, at).taught_by(question.event.fingerprint());
    resolution.taught.push(link.to_fact(&anonymous, now));
    resolution.newly_joined = true;
    resolution.subject = Subject { person: Some(person), anonymous: Some(anonymous) };
    Ok(())
}

/// A device that several people go on using stays contested: else it would be the next one's after a
/// month.
fn refresh(link: &Link, anonymous: &str, (at, now): (Time, Time), resolution: &mut Resolution) {
    let refreshed = link.refreshed(&link.person(), at);
    resolution.taught.extend(refreshed.map(|link| link.to_fact(anonymous, now)));
}

/// Somebody of whom only the e-mail address was known now has an id: nobody else came.
fn is_upgrade(known: &PersonId, now: &PersonId) -> bool {
    matches!((known, now), (PersonId::Email(_), PersonId::Id(_) | PersonId::CioId(_)))
}

/// Only an anonymous id: the person's, if one is known and nobody else claims it.
fn attach(
    question: &Question<'_>,
    anonymous: String,
    (facts, now): (&mut Facts, Time),
    resolution: &mut Resolution,
) -> Result<(), JournalError> {
    let at = question.seen_at;
    let known =
        Link::load(&anonymous, facts, now)?.filter(|link| link.moment(at) == Moment::During);
    match known {
        Some(link) if !link.contested => {
            let person = memory::follow_alias(link.person(), facts, now, &mut resolution.taught)?;
            let refreshed = link.refreshed(&person, at);
            resolution.taught.extend(refreshed.map(|link| link.to_fact(&anonymous, now)));
            resolution.keys.push(person.key().into());
            resolution.subject = Subject { person: Some(person), anonymous: Some(anonymous) };
            resolution.reason = "its anonymous id was seen with this person before";
        }
        known => {
            if let Some(link) = &known {
                refresh(link, &anonymous, (at, now), resolution);
            }
            resolution.keys.push(format!("anonymous:{anonymous}").into());
            resolution.subject = Subject { person: None, anonymous: Some(anonymous) };
            resolution.reason = match known {
                Some(_) => "its anonymous id was seen with two people and belongs to neither",
                None => "its anonymous id was not seen with a person yet",
            };
        }
    }
    Ok(())
}

/// Whether the event holds an address by which RudderStack's own integration would have attached it.
fn has_property_email(event: &Event) -> bool {
    let email = event.properties().and_then(|properties| properties.get("email"));
    email.and_then(Value::as_str).is_some_and(|email| email.contains('@'))
}

/// An identify with an address: whoever was known by it alone is this person.
fn learn_email(
    event: &Event,
    person: &PersonId,
    facts: &mut Facts,
    now: Time,
    resolution: &mut Resolution,
) -> Result<(), JournalError> {
    let Some(email) = email_of(event).filter(|_| !matches!(person, PersonId::Email(_))) else {
        return Ok(());
    };
    let root = memory::follow_alias(email.clone(), facts, now, &mut resolution.taught)?;
    if root == email {
        resolution.taught.push(Alias::new(person, now).to_fact(&email.key()));
        resolution.keys.push(email.key().into());
    }
    Ok(())
}

/// A merge: the old id is this person from now on.
fn learn_alias(question: &Question<'_>, person: &PersonId, now: Time, resolution: &mut Resolution) {
    let Some(Previous::Person(previous)) = &resolution.previous else { return };
    if previous.key() == person.key() {
        return;
    }
    let named = question.event.previous_id().map(PersonId::from_text);
    let event = question.event.fingerprint();
    let aliases = [Some(previous.clone()), named.filter(|named| named != previous)];
    for old in aliases.into_iter().flatten() {
        let alias = Alias::new(person, now).taught_by(event, previous);
        resolution.taught.push(alias.to_fact(&old.key()));
        resolution.keys.push(old.key().into());
    }
}

/// The address that an identify states.
fn email_of(event: &Event) -> Option<PersonId> {
    if event.call() != Call::Identify {
        return None;
    }
    let email = event.traits()?.get("email")?.as_str()?.trim();
    match PersonId::from_text(email) {
        email @ PersonId::Email(_) => Some(email),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
