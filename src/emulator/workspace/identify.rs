//! Identify: who is meant, which identifiers may be set, and which attributes are newer.
//!
//! The person is the one that the call's own identifier names. If it names nobody, it is the one
//! that an identifier among the attributes names, who then gets the call's identifier too; otherwise
//! a new one. An identifier that is set already changes only in a call by `cio_id` (or an e-mail
//! address by id, if the workspace allows it), and one that belongs to somebody else is a failed
//! change, or a merge where the two people have nothing that contradicts.

use serde_json::{Map, Value};

use super::{Attribute, Context, PersonKey, Workspace};
use crate::emulator::activity::{Did, Entry};
use crate::emulator::operation::{Identifier, Identify};
use crate::emulator::parse::ATTRIBUTES;
use crate::emulator::settings::{Conflict, Stale};
use crate::spec::Object;

/// What users see when an identifier is somebody else's.
const TAKEN: &str = "The identifier is already associated with a different profile.";
const FIXED: &str = "An identifier that is set can only be changed in a request by cio_id.";

/// Attributes that Customer.io sets itself.
const SYSTEM: [&str; 2] = ["cio_id", "_created_in_customerio_at"];

/// With a dot and the name of a topic, one subscription instead of all.
const PREFERENCES: &str = "cio_subscription_preferences";

/// Removed attributes are remembered up to this many on a profile.
const REMEMBERED: usize = 4 * ATTRIBUTES;

/// Whom a call is about.
enum Subject {
    Known(PersonKey),
    New,
    Nobody(Entry),
}

/// What may become of an identifier that a call claims for a person.
enum Claim {
    Same,
    Free,
    Merge(PersonKey),
    Fails(&'static str),
}

/// A change that could not be made.
struct Failure {
    outcome: Did,
    name: String,
    reason: String,
}

impl Failure {
    fn new(name: &str, reason: impl Into<String>) -> Self {
        Self { outcome: Did::FailedAttributeChange, name: name.into(), reason: reason.into() }
    }
}

/// What became of the parts of a call.
#[derive(Default)]
struct Effects {
    changed: Vec<String>,
    failures: Vec<Failure>,
    entries: Vec<Entry>,
}

impl Workspace {
    pub(super) fn identify(&mut self, call: Identify, cx: Context<'_>) -> Vec<Entry> {
        let at = call.timestamp.unwrap_or_else(|| cx.now.secs());
        let (key, created) = match self.subject(&call, cx) {
            Subject::Nobody(entry) => return vec![entry],
            Subject::New => (self.create(cx.now), true),
            Subject::Known(key) => {
                if let Some(entry) = self.refuse_whole(key, &call, at, cx) {
                    return vec![entry];
                }
                (key, false)
            }
        };
        let mut effects = Effects::default();
        let key = self.claim_all(key, &call, cx, &mut effects);
        let remove = call.remove_relationships;
        let related = self.relate_person(key, call.relationships, remove);
        self.store_attributes(key, (call.attributes, at), cx, &mut effects);
        if created {
            self.set_created_at(key, cx.now.secs());
        }
        if let Some(profile) = self.people.get_mut(&key) {
            profile.last_edit = profile.last_edit.max(at);
        }
        let cio_id = self.cio_id(key).to_owned();
        if let Some(anonymous_id) = call.anonymous_id {
            self.learn_anonymous_id(key, (&anonymous_id, at), cx, &mut effects);
        }
        let Effects { changed, failures, entries } = effects;
        let outcome = match (created, changed.is_empty() && !related) {
            (true, _) => Did::CreatedPerson,
            (false, false) => Did::UpdatedPerson,
            (false, true) => Did::Unchanged,
        };
        let own = Entry::new(outcome).on(&cio_id).named(&call.who).changing(changed);
        let failed = failures.into_iter().map(|failure| {
            Entry::new(failure.outcome)
                .on(&cio_id)
                .named(&call.who)
                .because(failure.reason)
                .changing(vec![failure.name])
        });
        std::iter::once(own).chain(failed).chain(entries).collect()
    }

    /// Finds out whom a call is about, without changing anything.
    fn subject(&self, call: &Identify, cx: Context<'_>) -> Subject {
        let nobody = |outcome, reason: &str| {
            Subject::Nobody(Entry::new(outcome).named(&call.who).because(reason))
        };
        if matches!(call.who, Identifier::AnonymousId(_)) {
            return nobody(Did::Ignored, "an anonymous_id alone identifies nobody");
        }
        if let Some(key) = self.find(&call.who) {
            return Subject::Known(key);
        }
        if matches!(call.who, Identifier::CioId(_)) {
            return nobody(Did::Ignored, "nobody has this cio_id");
        }
        let mut conflict = false;
        for owner in call.claims.iter().filter_map(|claim| self.find(claim)) {
            match self.people.get(&owner).map(|profile| profile.slot(&call.who)) {
                Some(None) => return Subject::Known(owner),
                _ => conflict = true,
            }
        }
        if call.update_only {
            return nobody(
                Did::FailedAttributeChange,
                "_update is set, and nobody has this identifier",
            );
        }
        if conflict && cx.settings.conflict == Conflict::Call {
            return nobody(Did::FailedAttributeChange, TAKEN);
        }
        Subject::New
    }

    /// Reasons to drop a call about a known person as a whole.
    fn refuse_whole(
        &self,
        key: PersonKey,
        call: &Identify,
        at: i64,
        cx: Context<'_>,
    ) -> Option<Entry> {
        let profile = self.people.get(&key)?;
        let entry = |outcome| Entry::new(outcome).on(&profile.cio_id).named(&call.who);
        if cx.settings.stale == Stale::Profile && at < profile.last_edit {
            let age = profile.last_edit.saturating_sub(at);
            return Some(
                entry(Did::IgnoredStale).because(format!("{age} s older than the profile")),
            );
        }
        if cx.settings.conflict == Conflict::Call {
            for claim in call.claims.iter() {
                if let Claim::Fails(reason) = self.judge(key, claim, &call.who, cx) {
                    let name = vec![claim.kind().to_owned()];
                    return Some(entry(Did::FailedAttributeChange).because(reason).changing(name));
                }
            }
        }
        None
    }

    /// Sets every identifier of a call that may be set. The person is another one after a merge.
    fn claim_all(
        &mut self,
        mut key: PersonKey,
        call: &Identify,
        cx: Context<'_>,
        effects: &mut Effects,
    ) -> PersonKey {
        for claim in std::iter::once(&call.who).chain(&call.claims) {
            match self.judge(key, claim, &call.who, cx) {
                Claim::Same => {}
                Claim::Free => {
                    self.give(key, claim);
                    effects.changed.push(claim.kind().to_owned());
                }
                Claim::Merge(other) => {
                    // Numbers grow with time: the older person is the primary one.
                    let (primary, secondary) = (key.min(other), key.max(other));
                    let merged = self.merge_into(primary, secondary);
                    effects.entries.push(merged.because("automatic merge"));
                    key = primary;
                }
                Claim::Fails(reason) => effects.failures.push(Failure::new(claim.kind(), reason)),
            }
        }
        key
    }

    /// What may become of an identifier claimed for a person by a call that names it as `by`.
    fn judge(&self, key: PersonKey, claim: &Identifier, by: &Identifier, cx: Context<'_>) -> Claim {
        let Some(profile) = self.people.get(&key) else { return Claim::Same };
        match self.find(claim) {
            Some(owner) if owner == key => Claim::Same,
            Some(owner) => {
                if cx.settings.auto_merge && self.are_halves(key, by, owner, claim) {
                    Claim::Merge(owner)
                } else {
                    Claim::Fails(TAKEN)
                }
            }
            None => {
                let may_change = match (claim, by) {
                    (_, Identifier::CioId(_)) => true,
                    (Identifier::Email(_), Identifier::Id(_)) => cx.settings.email_change,
                    _ => false,
                };
                if profile.slot(claim).is_none() || may_change {
                    Claim::Free
                } else {
                    Claim::Fails(FIXED)
                }
            }
        }
    }

    /// Whether one person is known by id only and the other by e-mail only, and the call names both
    /// by just these.
    fn are_halves(
        &self,
        named: PersonKey,
        by: &Identifier,
        owner: PersonKey,
        claim: &Identifier,
    ) -> bool {
        let (by_id, by_email) = match (by, claim) {
            (Identifier::Id(_), Identifier::Email(_)) => (named, owner),
            (Identifier::Email(_), Identifier::Id(_)) => (owner, named),
            _ => return false,
        };
        let has_no_email = self.people.get(&by_id).is_some_and(|person| person.email.is_none());
        let has_no_id = self.people.get(&by_email).is_some_and(|person| person.id.is_none());
        has_no_email && has_no_id
    }

    /// Stores the attributes that are newer than what is there.
    fn store_attributes(
        &mut self,
        key: PersonKey,
        (attributes, at): (Object, i64),
        cx: Context<'_>,
        effects: &mut Effects,
    ) {
        let Effects { changed, failures, .. } = effects;
        let Some(profile) = self.people.get_mut(&key) else { return };
        let stored = &mut profile.attributes;
        let mut count = stored.values().filter(|attribute| attribute.value.is_some()).count();
        for (name, value) in attributes {
            if SYSTEM.contains(&name.as_str()) {
                failures.push(Failure::new(&name, "Customer.io sets this attribute itself."));
                continue;
            }
            let (name, value) = one_topic(stored.get(PREFERENCES), name, value);
            let old = stored.get(&name);
            if cx.settings.stale == Stale::Attribute && old.is_some_and(|old| at < old.at) {
                let reason = "older than the stored value".into();
                failures.push(Failure { outcome: Did::IgnoredStale, name, reason });
                continue;
            }
            let value = Some(value).filter(|value| !is_blank(value));
            let before = old.and_then(|old| old.value.as_ref());
            match (before.is_some(), value.is_some()) {
                (false, true) if count >= ATTRIBUTES => {
                    let reason = format!("a person has at most {ATTRIBUTES} attributes");
                    failures.push(Failure::new(&name, reason));
                    continue;
                }
                (false, true) => count += 1,
                (true, false) => count -= 1,
                (false, false) if old.is_none() => continue,
                _ => {}
            }
            if before != value.as_ref() {
                changed.push(name.clone());
            }
            stored.insert(name, Attribute { value, at });
        }
        if stored.len() > REMEMBERED {
            stored.retain(|_, attribute| attribute.value.is_some());
        }
    }

    /// The `anonymous_id` of an identify: an attribute, and the claim on what the visitor did.
    fn learn_anonymous_id(
        &mut self,
        key: PersonKey,
        (anonymous_id, at): (&str, i64),
        cx: Context<'_>,
        effects: &mut Effects,
    ) {
        if !self.may_claim(key, anonymous_id, cx) {
            let who = Identifier::AnonymousId(anonymous_id.to_owned());
            let entry = Entry::new(Did::AnonymousIdContested).on(self.cio_id(key)).named(&who);
            effects.entries.push(entry.because("the anonymous_id belongs to another person"));
            return;
        }
        if let Some(profile) = self.people.get_mut(&key) {
            let value = Some(Value::String(anonymous_id.to_owned()));
            let old = profile
                .attributes
                .insert("anonymous_id".into(), Attribute { value: value.clone(), at });
            if old.and_then(|old| old.value) != value {
                effects.changed.push("anonymous_id".into());
            }
        }
        let attached = self.claim_visitor(key, anonymous_id, cx);
        effects.entries.extend(attached);
    }
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}

/// `cio_subscription_preferences.topics.topic_1` changes one topic of the stored preferences.
fn one_topic(stored: Option<&Attribute>, name: String, value: Value) -> (String, Value) {
    let Some(path) = name.strip_prefix(PREFERENCES).and_then(|rest| rest.strip_prefix('.')) else {
        return (name, value);
    };
    let mut tree = stored.and_then(|attribute| attribute.value.clone()).unwrap_or_default();
    let mut place = &mut tree;
    for step in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[step];
    }
    *place = value;
    (PREFERENCES.into(), tree)
}
