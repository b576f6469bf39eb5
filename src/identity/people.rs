//! People: which of their identifiers names them, and what else stands for them.
//!
//! The primary identifier is the source's choice. Every other one that an identify states stands for the
//! same person from then on. Where two identifiers disagree, the primary one names the person.

use super::memory::{self, Alias, Known};
use super::{Facts, Notice, Previous, Question, Resolution};
use crate::clock::Time;
use crate::config::PrimaryId;
use crate::destination::customerio::PersonId;
use crate::journal::{FactKey, JournalError};
use crate::spec::{Call, Event, ids};

/// The identifiers that an event states.
pub(super) struct Named {
    /// Who it names.
    pub(super) person: Option<PersonId>,
    /// What else it states about the same person.
    pub(super) others: Vec<PersonId>,
    /// Whether the person is named by the primary identifier.
    pub(super) by_primary: bool,
}

/// Who the event itself names: the script's word, the primary identifier, the mapping's rule.
pub(super) fn named(question: &Question<'_>) -> Named {
    let event = question.event;
    let usable = |person: &PersonId| !question.config.is_junk(person.value());
    let of_mapping = question.subject.person.clone().filter(usable);
    if event.user_id().is_none()
        && let Some(named) = &question.identify_as
    {
        let by_primary = is_primary(&question.config.primary, named);
        return Named { person: Some(named.clone()), others: Vec::new(), by_primary };
    }
    let primary = match &question.config.primary {
        PrimaryId::UserId => None,
        PrimaryId::Email => stated_email(event).filter(usable),
        PrimaryId::Trait(name) => {
            stated(event, name).map(|id| PersonId::from_text(&id)).filter(usable)
        }
    };
    let by_primary = match &question.config.primary {
        PrimaryId::Trait(_) => primary.is_some(),
        other => primary.as_ref().or(of_mapping.as_ref()).is_some_and(|one| is_primary(other, one)),
    };
    let email = email_of(event);
    let others = match &primary {
        None => vec![email],
        Some(_) => vec![event.user_id().map(PersonId::from_text), email],
    };
    let person = primary.or(of_mapping);
    let key = person.as_ref().map(PersonId::key);
    let mut others: Vec<PersonId> = others.into_iter().flatten().filter(usable).collect();
    others.retain(|other| Some(other.key()) != key);
    Named { person, others, by_primary }
}

fn is_primary(primary: &PrimaryId, person: &PersonId) -> bool {
    match primary {
        PrimaryId::UserId => !matches!(person, PersonId::Email(_)),
        PrimaryId::Email => matches!(person, PersonId::Email(_)),
        PrimaryId::Trait(_) => false,
    }
}

/// The facts about people that will be asked for.
pub(super) fn facts_about(question: &Question<'_>) -> Vec<FactKey> {
    let Named { person, others, by_primary } = named(question);
    let mut keys: Vec<FactKey> =
        person.iter().chain(&others).map(|person| memory::alias_key(&person.key())).collect();
    if question.event.call() == Call::Identify || !by_primary {
        keys.extend(person.iter().chain(&others).map(|person| memory::known_key(&person.key())));
    }
    keys
}

/// Learns that all identifiers that an event states are the same `person`.
pub(super) fn unify(
    question: &Question<'_>,
    person: &PersonId,
    others: &[PersonId],
    (facts, now): (&mut Facts, Time),
    resolution: &mut Resolution,
) -> Result<(), JournalError> {
    let event = question.event.fingerprint();
    for other in others {
        let key = other.key();
        let alias = Alias::load(&key, facts, now)?;
        if let Some(merged) = alias.and_then(|alias| alias.merged_by(event)) {
            let alias = Alias::new(person, now).taught_by(event, &merged);
            resolution.taught.push(alias.to_fact(&key));
            resolution.taught.push((memory::known_key(&merged.key()), None));
            resolution.unified.push(merged.key());
            resolution.merges = Some(merged);
            continue;
        }
        let when = question.when(now);
        let root = memory::follow_alias(other.clone(), facts, when, &mut resolution.taught)?;
        if root.key() == person.key() {
            continue;
        }
        if root.key() != key && is_still_of(&root, other, (facts, now), question, resolution)? {
            continue;
        }
        resolution.keys.push(key.as_str().into());
        resolution.keys.push(root.key().into());
        resolution.unified.push(root.key());
        let mut alias = Alias::new(person, now);
        if is_separate(&root, other, facts, now)? {
            if question.config.merge_email_people {
                alias = alias.taught_by(event, &root);
                resolution.merges = Some(root.clone());
                resolution.taught.push((memory::known_key(&root.key()), None));
            } else {
                resolution.notices.push(Notice::PeopleNotMerged);
            }
        }
        resolution.taught.push(alias.to_fact(&key));
    }
    Ok(())
}

/// Whether an identifier goes on standing for the person that it stood for, although the event states it
/// about another one. An e-mail address is somebody else's until that person has given it up; a user id
/// follows the primary identifier, which is how that changes.
fn is_still_of(
    root: &PersonId,
    other: &PersonId,
    (facts, now): (&mut Facts, Time),
    question: &Question<'_>,
    resolution: &mut Resolution,
) -> Result<bool, JournalError> {
    let is_user_id = question.event.user_id().map(PersonId::from_text).as_ref() == Some(other);
    if is_user_id {
        resolution.notices.push(Notice::PrimaryIdChanged);
        return Ok(false);
    }
    let known = Known::load(&root.key(), facts, now)?;
    let has_it = known.is_none_or(|known| known.email.is_none_or(|email| email == other.key()));
    if has_it {
        resolution.notices.push(Notice::EmailOfAnotherPerson);
    }
    Ok(has_it)
}

/// Whether something was sent about `root` as a person of its own, and not as one who had the identifier
/// `other` for a time.
fn is_separate(
    root: &PersonId,
    other: &PersonId,
    facts: &mut Facts,
    now: Time,
) -> Result<bool, JournalError> {
    let stood_for_itself = root.key() == other.key() || !matches!(other, PersonId::Email(_));
    Ok(stood_for_itself && Known::load(&root.key(), facts, now)?.is_some())
}

/// Remembers when somebody was last identified and with which address, and that somebody exists who is
/// not named by the primary identifier.
pub(super) fn remember(
    question: &Question<'_>,
    person: &PersonId,
    by_primary: bool,
    (facts, now): (&mut Facts, Time),
    resolution: &mut Resolution,
) -> Result<(), JournalError> {
    let is_identify = question.event.call() == Call::Identify;
    if !is_identify && by_primary {
        return Ok(());
    }
    let key = person.key();
    let known = Known::load(&key, facts, now)?;
    let at = question.event.time().at;
    if !is_identify {
        if known.is_none() {
            resolution.taught.push(Known::default().to_fact(&key, now));
        }
        return Ok(());
    }
    let known = known.unwrap_or_default();
    if at.secs() < known.identified_at.secs() {
        resolution.notices.push(Notice::StaleIdentify);
        return Ok(());
    }
    let email = email_of(question.event).map(|email| email.key());
    if let (Some(before), Some(email)) = (&known.email, &email)
        && before != email
    {
        resolution.notices.push(Notice::EmailChanged);
    }
    resolution.taught.push(known.identified(at, email).to_fact(&key, now));
    Ok(())
}

/// Notes whether an alias merges into a person who may not be there: nobody has identified it yet, or
/// only this very alias when it was processed before.
pub(super) fn expect_there(
    question: &Question<'_>,
    person: &PersonId,
    (facts, now): (&mut Facts, Time),
    resolution: &mut Resolution,
) -> Result<(), JournalError> {
    let Some(Previous::Person(previous)) = &resolution.previous else { return Ok(()) };
    if previous.key() == person.key() {
        return Ok(());
    }
    let key = person.key();
    let old = question.event.previous_id().unwrap_or_default();
    let again = memory::was_merged_by(old, question.event.fingerprint(), facts, now)?.is_some();
    let is_known = Known::load(&key, facts, now)?.is_some();
    resolution.merges_into_unknown = again || !is_known;
    if !is_known {
        resolution.taught.push(Known::default().to_fact(&key, now));
    }
    Ok(())
}

/// A merge: the old id is this person from now on.
pub(super) fn learn_alias(
    question: &Question<'_>,
    person: &PersonId,
    now: Time,
    resolution: &mut Resolution,
) {
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
pub(super) fn email_of(event: &Event) -> Option<PersonId> {
    if event.call() != Call::Identify {
        return None;
    }
    let email = event.traits()?.get("email")?.as_str()?.trim();
    match PersonId::from_text(email) {
        email @ PersonId::Email(_) => Some(email),
        _ => None,
    }
}

/// The address that an event states about its person, identify or not.
fn stated_email(event: &Event) -> Option<PersonId> {
    let email = stated(event, "email").map(|email| PersonId::from_text(email.trim()));
    email.filter(|email| matches!(email, PersonId::Email(_)))
}

/// A trait of the person, as the event states it.
fn stated(event: &Event, name: &str) -> Option<String> {
    // The traits of a group describe the group.
    let traits = event.traits().filter(|_| event.call() != Call::Group);
    let places = [traits, event.context_traits()];
    places.into_iter().flatten().find_map(|traits| ids::person_id(traits.get(name)?))
}
