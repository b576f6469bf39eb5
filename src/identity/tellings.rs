//! One fact that was told twice, such as an order by the shop and by the browser: it has one customer, so
//! what one telling leaves open the other one answers.
//!
//! Not here: what makes two events one fact ([`crate::guard::keys`]), and that the second telling is not
//! sent ([`crate::pipeline`]).

use super::{Facts, Question, Resolution, memory, people, visitors};
use crate::clock::Time;
use crate::destination::customerio::PersonId;
use crate::journal::JournalError;

/// Whom the first telling was about.
#[derive(Clone, Debug, Default)]
pub struct FirstTelling {
    /// The person, where one is known.
    pub person: Option<PersonId>,
    /// The anonymous id, where it was told of nobody else, and when it was seen.
    pub visitor: Option<(String, Time)>,
}

/// Adds to the `resolution` of a second telling what the two show together. Answers the person and the
/// anonymous ids of which Customer.io does not know yet that they are that person's; `None`: no person
/// is known, or each names another one, and they show nothing.
///
/// # Errors
/// When the journal cannot be read.
pub fn join_tellings(
    question: &Question<'_>,
    first: FirstTelling,
    facts: &mut Facts,
    now: Time,
    resolution: &mut Resolution,
) -> Result<Option<(PersonId, Vec<String>)>, JournalError> {
    let before = match first.person {
        Some(person) => {
            let (root, _) = memory::root_of(person, facts, now, &mut resolution.taught)?;
            // What belongs to the time before is dropped; the rest is not about somebody who is gone.
            let has_left = facts.has_left(&root.key(), question.when(now));
            Some(root).filter(|_| !has_left)
        }
        None => None,
    };
    let person = match (resolution.subject.person.clone(), before) {
        (Some(named), Some(before)) if named.key() != before.key() => return Ok(None),
        (Some(person), _) | (None, Some(person)) => person,
        (None, None) => return Ok(None),
    };
    // What an event that names its person shows by itself is known already.
    let own = resolution.subject.anonymous.clone();
    let own = own.filter(|_| people::named(question).person.is_none());
    let own = own.map(|anonymous| (anonymous, question.seen_at));
    let is_told = |anonymous: &String| {
        resolution.newly_joined && resolution.subject.anonymous.as_ref() == Some(anonymous)
    };
    let visitors: Vec<_> =
        first.visitor.into_iter().chain(own).filter(|(anonymous, _)| !is_told(anonymous)).collect();
    let mut untold = Vec::new();
    for (anonymous, seen_at) in visitors {
        let question = Question { seen_at, ..question.clone() };
        let mut joined = Resolution::default();
        visitors::join(&question, person.clone(), anonymous.clone(), (facts, now), &mut joined)?;
        resolution.keys.append(&mut joined.keys);
        resolution.taught.append(&mut joined.taught);
        resolution.notices.append(&mut joined.notices);
        if joined.newly_joined {
            untold.push(anonymous);
        }
        if resolution.subject.person.is_none() {
            resolution.subject = joined.subject;
            resolution.is_unknown_visitor = false;
            resolution.reason = "another event that says the same names the person";
        }
    }
    Ok(Some((person, untold)))
}
