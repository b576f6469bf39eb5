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

mod departures;
mod facts;
mod memory;
mod mention;
mod notice;
mod people;
mod tellings;
mod visitors;

pub use departures::{Departure, When};
pub use facts::Facts;
pub use memory::{Alias, Link, forget, told_by, untold};
pub use mention::mentioned;
pub use notice::Notice;
pub use tellings::{FirstTelling, join_tellings};

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use self::people::Named;

use crate::clock::Time;
use crate::config::IdentityConfig;
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
    /// When it was accepted.
    pub accepted_at: Time,
}

impl Question<'_> {
    fn when(&self, now: Time) -> When {
        When { happened: self.event.time().at, accepted: self.accepted_at, now }
    }
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
    /// Whether it merges somebody into a person of whom Customer.io may not know yet: it merges into
    /// nobody who is not there.
    pub merges_into_unknown: bool,
    /// Whose order the event keeps.
    pub keys: Vec<Arc<str>>,
    /// What it teaches.
    pub taught: Vec<(FactKey, Option<Fact>)>,
    /// A person of Customer.io's who turned out to be this one, and is to be merged into it.
    pub merges: Option<PersonId>,
    /// Whether all that is known is an anonymous id that was not seen with anybody yet.
    pub is_unknown_visitor: bool,
    /// What somebody should look into.
    pub notices: Vec<Notice>,
    /// The keys of people who turned out to be this one.
    unified: Vec<String>,
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
    let mut keys = people::facts_about(question);
    keys.extend(question.subject.anonymous.as_deref().map(memory::link_key));
    if is_alias(question) {
        let previous = question.event.previous_id();
        keys.extend(previous.map(memory::link_key));
        let previous = previous.map(PersonId::from_text);
        keys.extend(previous.map(|person| memory::alias_key(&person.key())));
    }
    keys
}

/// The facts of which at least one is there when somebody was identified, or merged into somebody else,
/// within the time for which that is remembered.
pub fn facts_that_show(person: &PersonId) -> [FactKey; 2] {
    let key = person.key();
    [memory::known_key(&key), memory::alias_key(&key)]
}

/// The fact that is there when an anonymous id was seen with a person within 30 days.
pub fn fact_that_joins(anonymous: &str) -> FactKey {
    memory::link_key(anonymous)
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
            None => whose(previous, &anonymous, (facts, question.when(now)), lessons)?,
        };
        resolution.previous = Some(whose);
        if resolution.previous == Some(Previous::Anonymous) {
            anonymous = Some(previous.to_owned());
        }
    }
    let Named { person, others, by_primary } = people::named(question);
    let person = match person {
        Some(person) => {
            let when = question.when(now);
            Some(memory::follow_alias(person, facts, when, &mut resolution.taught)?)
        }
        None => None,
    };
    if let Some(person) = &person {
        people::unify(question, person, &others, (facts, now), &mut resolution)?;
    }
    match (person, anonymous) {
        (Some(person), Some(anonymous)) => {
            visitors::join(question, person, anonymous, (facts, now), &mut resolution)?;
        }
        (Some(person), None) => {
            resolution.keys.push(person.key().into());
            resolution.subject.person = Some(person);
            resolution.reason = "the event names the person";
        }
        (None, Some(anonymous)) => {
            visitors::attach(question, anonymous, (facts, now), &mut resolution)?;
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
        people::remember(question, &person, by_primary, (facts, now), &mut resolution)?;
        people::expect_there(question, &person, (facts, now), &mut resolution)?;
        people::learn_alias(question, &person, now, &mut resolution);
    }
    Ok(resolution)
}

/// Whether the event holds an address by which RudderStack's own integration would have attached it.
fn has_property_email(event: &Event) -> bool {
    let email = event.properties().and_then(|properties| properties.get("email"));
    email.and_then(Value::as_str).is_some_and(|email| email.contains('@'))
}

fn is_alias(question: &Question<'_>) -> bool {
    question.event.call() == Call::Alias
}

/// Whose the old id of an alias is: an id that came as an anonymous one is no person's.
fn whose(
    previous: &str,
    anonymous: &Option<String>,
    (facts, when): (&mut Facts, When),
    lessons: &mut memory::Lessons,
) -> Result<Previous, JournalError> {
    if anonymous.as_deref() == Some(previous) || Link::load(previous, facts, when.now)?.is_some() {
        return Ok(Previous::Anonymous);
    }
    let person = PersonId::from_text(previous);
    Ok(Previous::Person(memory::follow_alias(person, facts, when, lessons)?))
}

#[cfg(test)]
mod tests;
