//! Visitors: anonymous ids, the events that wait under them, and whose they turn out to be.
//!
//! When a person gets an `anonymous_id`, its events of the last 30 days become the person's; later
//! ones do for five minutes more. An anonymous id is one person's for ever.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Context, PersonKey, Workspace};
use crate::clock::Time;
use crate::emulator::activity::{Did, Entry};
use crate::emulator::operation::Identifier;
use crate::emulator::settings::{AnonymousAge, AnonymousReuse, Reidentify};

/// How old an anonymous event may be when its visitor is identified.
const ATTACHABLE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long after the identify events of the visitor still find the person.
const WINDOW: Duration = Duration::from_secs(5 * 60);

#[derive(Clone, Debug, Default)]
pub(super) struct Visitor {
    pub(super) owner: Option<PersonKey>,
    open_until: Option<Time>,
    pub(super) waiting: BTreeSet<u64>,
    /// Objects related to the visitor.
    pub(super) objects: BTreeSet<u64>,
}

impl Visitor {
    /// The person that an event of this visitor belongs to if it comes now.
    pub(super) fn receives(&self, now: Time) -> Option<PersonKey> {
        self.owner.filter(|_| self.open_until.is_some_and(|until| now <= until))
    }

    pub(super) fn is_blank(&self) -> bool {
        self.owner.is_none() && self.waiting.is_empty() && self.objects.is_empty()
    }
}

impl Workspace {
    /// Whether that person may have this anonymous id.
    pub(super) fn may_claim(&self, key: PersonKey, anonymous_id: &str, cx: Context<'_>) -> bool {
        cx.settings.anonymous_reuse == AnonymousReuse::Moves
            || self
                .visitors
                .get(anonymous_id)
                .and_then(|visitor| visitor.owner)
                .is_none_or(|owner| owner == key)
    }

    /// A person is identified with an anonymous id: what waited under it becomes the person's.
    pub(super) fn claim_visitor(
        &mut self,
        key: PersonKey,
        anonymous_id: &str,
        cx: Context<'_>,
    ) -> Vec<Entry> {
        if !cx.settings.anonymous_merge {
            return Vec::new();
        }
        let visitor = self.visitors.entry(anonymous_id.to_owned()).or_default();
        if visitor.owner == Some(key) && cx.settings.reidentify == Reidentify::Once {
            return Vec::new();
        }
        let before = visitor.owner.replace(key).filter(|before| *before != key);
        visitor.open_until = Some(cx.now.plus(WINDOW));
        let waiting = std::mem::take(&mut visitor.waiting);
        let objects = std::mem::take(&mut visitor.objects);
        if let Some(before) = before.and_then(|before| self.people.get_mut(&before)) {
            before.anonymous_ids.remove(anonymous_id);
        }
        if let Some(profile) = self.people.get_mut(&key) {
            profile.anonymous_ids.insert(anonymous_id.to_owned());
            profile.objects.extend(&objects);
        }
        for object in objects {
            self.relate_visitor_object(object, key, anonymous_id);
        }
        waiting.into_iter().filter_map(|seq| self.attach(seq, key, anonymous_id, cx)).collect()
    }

    /// Gives a waiting event to the person, or forgets it when it is too old for that.
    fn attach(
        &mut self,
        seq: u64,
        key: PersonKey,
        anonymous_id: &str,
        cx: Context<'_>,
    ) -> Option<Entry> {
        let event = self.events.get(&seq)?;
        let from = match cx.settings.anonymous_age {
            AnonymousAge::Received => event.received_at,
            AnonymousAge::EventTime => event.time,
        };
        if from.plus(ATTACHABLE) < cx.now {
            self.events.remove(&seq);
            return None;
        }
        let cio_id = self.cio_id(key).to_owned();
        let event = self.events.get_mut(&seq)?;
        event.attach(&cio_id, cx);
        let facts = event.facts();
        self.people.get_mut(&key)?.events.insert(seq);
        let who = Identifier::AnonymousId(anonymous_id.to_owned());
        Some(Entry::new(Did::AttachedAnonymousEvent).on(&cio_id).named(&who).with_event(facts))
    }
}
