//! Anonymous ids: whose they are, as far as is known.

use std::sync::Arc;

use super::memory::{self, Link, Moment};
use super::{Facts, Notice, Question, Resolution};
use crate::clock::Time;
use crate::destination::customerio::{PersonId, Subject};
use crate::journal::JournalError;

/// Both ids: teaches the pair, unless the anonymous id is already somebody else's.
pub(super) fn join(
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
    let known = owner(question, &anonymous, (facts, now), resolution)?;
    let known = known.map(|(link, owner)| (link.moment(at), link, owner));
    if let Some((Moment::Before | Moment::During, link, owner)) = &known {
        let is_theirs = owner.key() == person_key || resolution.unified.contains(&owner.key());
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
            resolution.notices.push(Notice::AnonymousIdContested);
            resolution.reason =
                "the event names the person; its anonymous id was another person's before";
            resolution.subject = Subject { person: Some(person), anonymous: None };
            return Ok(());
        }
    }
    resolution.keys.push(format!("anonymous:{anonymous}").into());
    resolution.keys.extend(known.iter().map(|(_, link, _)| Arc::from(link.person().key())));
    let link = Link::new(&person, at).taught_by(question.event.fingerprint());
    resolution.taught.push(link.to_fact(&anonymous, now));
    resolution.newly_joined = true;
    resolution.subject = Subject { person: Some(person), anonymous: Some(anonymous) };
    Ok(())
}

/// Only an anonymous id: the person's, if one is known and nobody else claims it.
pub(super) fn attach(
    question: &Question<'_>,
    anonymous: String,
    (facts, now): (&mut Facts, Time),
    resolution: &mut Resolution,
) -> Result<(), JournalError> {
    let at = question.seen_at;
    let known = owner(question, &anonymous, (facts, now), resolution)?
        .filter(|(link, _)| link.moment(at) == Moment::During);
    match known {
        Some((link, person)) if !link.contested => {
            let refreshed = link.refreshed(&person, at);
            resolution.taught.extend(refreshed.map(|link| link.to_fact(&anonymous, now)));
            resolution.keys.push(person.key().into());
            resolution.subject = Subject { person: Some(person), anonymous: Some(anonymous) };
            resolution.reason = "its anonymous id was seen with this person before";
        }
        known => {
            if let Some((link, _)) = &known {
                refresh(link, &anonymous, (at, now), resolution);
            }
            resolution.is_unknown_visitor = known.is_none();
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

/// Whose an anonymous id is. Of somebody who is gone it is no more: else what its browser does next would
/// bring the person back.
fn owner(
    question: &Question<'_>,
    anonymous: &str,
    (facts, now): (&mut Facts, Time),
    resolution: &mut Resolution,
) -> Result<Option<(Link, PersonId)>, JournalError> {
    let Some(link) = Link::load(anonymous, facts, now)? else { return Ok(None) };
    let (owner, _) = memory::root_of(link.person(), facts, now, &mut resolution.taught)?;
    let is_void = facts.is_void(&owner.key(), link.seen_at, question.when(now)) && !link.contested;
    Ok(Some((link, owner)).filter(|_| !is_void))
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
