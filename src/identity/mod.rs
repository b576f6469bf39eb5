//! Stage 6: whose event it is.
//!
//! The mapping says who the native destination would attach an event to. This stage knows more: what
//! earlier events taught. Any call with both ids teaches that an anonymous id is a person's; from
//! then on an event that carries only the anonymous id belongs to that person. An anonymous id is
//! never used as a person's id, and one that is seen with two people belongs to neither.
//!
//! [`resolve`] runs in the order of acceptance, on one thread, over [`Facts`]: what an event teaches
//! counts at once for those behind it, and is written in the transaction that settles it.
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

use crate::clock::Time;
use crate::config::{IdentityConfig, PrimaryId, StitchPolicy};
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
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolution {
    /// Whose event it is. The anonymous id is absent when the person must not claim it.
    pub subject: Subject,
    /// Whether Customer.io must be told first that the anonymous id is the person's.
    pub tell_first: bool,
    /// Whose order the event keeps.
    pub keys: Vec<Arc<str>>,
    /// What it teaches.
    pub taught: Vec<(FactKey, Option<Fact>)>,
    /// Whether the anonymous id was now seen with a second person.
    pub newly_contested: bool,
    /// How it was decided, for people.
    pub reason: &'static str,
}

/// The facts that [`resolve`] will ask for, so that they can be loaded for many events at once.
pub fn facts_about(question: &Question<'_>) -> Vec<FactKey> {
    let people = [&question.subject.person, &question.identify_as].into_iter().flatten();
    let mut keys: Vec<FactKey> = people.map(|person| memory::alias_key(&person.key())).collect();
    keys.extend(question.subject.anonymous.as_deref().map(memory::link_key));
    keys.extend(email_of(question.event).map(|email| memory::alias_key(&email.key())));
    keys
}

/// Decides whose event it is at `now`, and notes in `facts` what it teaches.
///
/// # Errors
/// When the journal cannot be read; nothing was taught then.
pub fn resolve(
    question: &Question<'_>,
    facts: &mut Facts,
    now: Time,
) -> Result<Resolution, JournalError> {
    let anonymous = question.subject.anonymous.clone().filter(|id| !is_junk(id, question.config));
    let person = match named_person(question) {
        Some(person) => Some(memory::follow_alias(person, facts, now)?),
        None => None,
    };
    let mut resolution = Resolution::default();
    match (person, anonymous) {
        (Some(person), Some(anonymous)) => {
            join(question, person, anonymous, facts, now, &mut resolution)?;
        }
        (Some(person), None) => {
            resolution.keys.push(person.key().into());
            resolution.subject.person = Some(person);
            resolution.reason = "the event names the person";
        }
        (None, Some(anonymous)) => attach(anonymous, facts, now, &mut resolution)?,
        (None, None) => resolution.reason = "nobody is named",
    }
    if let Some(person) = resolution.subject.person.clone() {
        learn_email(question.event, &person, facts, now, &mut resolution)?;
        learn_alias(question.event, &person, now, &mut resolution);
    }
    for (key, fact) in &resolution.taught {
        facts.teach(key.clone(), fact.clone());
    }
    Ok(resolution)
}

/// Who the event itself names: the script's word, the primary identifier, the mapping's rule.
fn named_person(question: &Question<'_>) -> Option<PersonId> {
    let person =
        question.subject.person.clone().filter(|person| !is_junk(person.value(), question.config));
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
    facts: &mut Facts,
    now: Time,
    resolution: &mut Resolution,
) -> Result<(), JournalError> {
    let person_key = person.key();
    resolution.keys.push(person_key.as_str().into());
    resolution.reason = "the event names the person";
    let known = Link::load(&anonymous, facts, now)?;
    let known_person = match &known {
        Some(link) => Some(memory::follow_alias(link.person(), facts, now)?.key()),
        None => None,
    };
    match (&known, known_person) {
        (Some(link), _) if link.contested => {
            refresh_contest(link, &anonymous, now, resolution);
            resolution.subject = Subject { person: Some(person), anonymous: None };
            return Ok(());
        }
        (Some(link), Some(known_person))
            if known_person == person_key && !link.was_taught_by(question.event.fingerprint()) =>
        {
            if now.since(link.seen_at) > REFRESH_AFTER {
                resolution.taught.push(Link::new(&person, now).to_fact(&anonymous));
            }
            resolution.subject = Subject { person: Some(person), anonymous: Some(anonymous) };
            return Ok(());
        }
        (Some(link), Some(known_person))
            if known_person != person_key && !is_upgrade(&link.person(), &person) =>
        {
            resolution.taught.push(Link::contested(&link.person(), now).to_fact(&anonymous));
            resolution.newly_contested = true;
            resolution.reason =
                "the event names the person; its anonymous id was another person's before";
            resolution.subject = Subject { person: Some(person), anonymous: None };
            return Ok(());
        }
        _ => {}
    }
    resolution.keys.push(format!("anonymous:{anonymous}").into());
    resolution.keys.extend(known.iter().map(|link| Arc::from(link.person().key())));
    let link = Link::new(&person, now).taught_by(question.event.fingerprint());
    resolution.taught.push(link.to_fact(&anonymous));
    // An identify says it itself.
    resolution.tell_first =
        question.event.call() != Call::Identify && question.config.stitch == StitchPolicy::Identify;
    resolution.subject = Subject { person: Some(person), anonymous: Some(anonymous) };
    Ok(())
}

/// A device that several people go on using stays contested: else it would be the next one's after a
/// month.
fn refresh_contest(link: &Link, anonymous: &str, now: Time, resolution: &mut Resolution) {
    if now.since(link.seen_at) > REFRESH_AFTER {
        resolution.taught.push(Link::contested(&link.person(), now).to_fact(anonymous));
    }
}

/// Somebody of whom only the e-mail address was known now has an id: nobody else came.
fn is_upgrade(known: &PersonId, now: &PersonId) -> bool {
    matches!((known, now), (PersonId::Email(_), PersonId::Id(_) | PersonId::CioId(_)))
}

/// Only an anonymous id: the person's, if one is known and nobody else claims it.
fn attach(
    anonymous: String,
    facts: &mut Facts,
    now: Time,
    resolution: &mut Resolution,
) -> Result<(), JournalError> {
    match Link::load(&anonymous, facts, now)? {
        Some(link) if !link.contested => {
            let person = memory::follow_alias(link.person(), facts, now)?;
            if now.since(link.seen_at) > REFRESH_AFTER {
                resolution.taught.push(Link::new(&person, now).to_fact(&anonymous));
            }
            resolution.keys.push(person.key().into());
            resolution.subject = Subject { person: Some(person), anonymous: Some(anonymous) };
            resolution.reason = "its anonymous id was seen with this person before";
        }
        known => {
            if let Some(link) = &known {
                refresh_contest(link, &anonymous, now, resolution);
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
    let root = memory::follow_alias(email.clone(), facts, now)?;
    if root == email {
        resolution.taught.push(Alias::new(person, now).to_fact(&email.key()));
        resolution.keys.push(email.key().into());
    }
    Ok(())
}

/// A merge: the old id is this person from now on.
fn learn_alias(event: &Event, person: &PersonId, now: Time, resolution: &mut Resolution) {
    if event.call() != Call::Alias {
        return;
    }
    let Some(previous) = event.previous_id().map(PersonId::from_text) else { return };
    if previous.key() != person.key() && event.previous_id() != event.anonymous_id() {
        resolution.taught.push(Alias::new(person, now).to_fact(&previous.key()));
        resolution.keys.push(previous.key().into());
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

/// A configured pattern: a text, or its beginning before a `*`.
fn is_junk(id: &str, config: &IdentityConfig) -> bool {
    config.junk.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => id.starts_with(start),
        None => id == pattern,
    })
}

#[cfg(test)]
mod tests;
