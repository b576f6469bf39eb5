//! Events: duplicates, whom they belong to, and whether they could have started a campaign.

use std::time::Duration;

use serde::Serialize;

use super::{Context, PersonKey, Workspace};
use crate::clock::Time;
use crate::emulator::activity::{Did, Entry, EventFacts, TriggerReason, rfc3339};
use crate::emulator::operation::{EventCall, EventKind, Identifier};
use crate::spec::Object;

/// An event older than this starts no campaign.
const TRIGGERS: Duration = Duration::from_secs(72 * 3600);

/// An event as stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRecord {
    /// Counts up from 1, in the order of receipt.
    pub seq: u64,
    /// The request that brought it.
    pub request: u64,
    /// When it came.
    #[serde(serialize_with = "rfc3339")]
    pub received_at: Time,
    /// Event, page or screen.
    pub kind: EventKind,
    /// Its name.
    pub name: String,
    /// Its deduplication id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The time as sent, in seconds; absent means now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// When it happened.
    #[serde(serialize_with = "rfc3339")]
    pub time: Time,
    /// `data` in v1, `attributes` in v2.
    pub data: Object,
    /// The person it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cio_id: Option<String>,
    /// The visitor it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_id: Option<String>,
    /// For an anonymous event: when it found its person.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_rfc3339")]
    pub attached_at: Option<Time>,
    /// Whether it could have started an event-triggered campaign.
    pub could_trigger: bool,
    /// Why, or why not.
    pub trigger_reason: TriggerReason,
}

impl EventRecord {
    /// An anonymous event becomes a person's, and only now can start that person's campaigns.
    pub(super) fn attach(&mut self, cio_id: &str, cx: Context<'_>) {
        self.cio_id = Some(cio_id.to_owned());
        self.attached_at = Some(cx.now);
        (self.could_trigger, self.trigger_reason) = by_age(self.timestamp, self.time, cx);
    }

    pub(super) fn facts(&self) -> EventFacts {
        EventFacts {
            seq: Some(self.seq),
            kind: self.kind,
            name: self.name.clone(),
            id: self.id.clone(),
            time: self.time,
            could_trigger: self.could_trigger,
            trigger_reason: self.trigger_reason,
        }
    }
}

impl Workspace {
    /// Stores an event, once.
    pub(super) fn track(&mut self, call: EventCall, cx: Context<'_>) -> Vec<Entry> {
        if call.id.as_deref().is_some_and(|id| self.seen.knows(id, cx)) {
            let facts = refused(&call, TriggerReason::Duplicate, cx);
            let mut entry = Entry::new(Did::DuplicateEvent).with_event(facts);
            entry.who.clone_from(&call.who);
            return vec![entry];
        }
        match call.who.clone() {
            None => vec![self.store_for_nobody(call, cx)],
            Some(Identifier::AnonymousId(anonymous_id)) => {
                vec![self.store_for_visitor(call, anonymous_id, cx)]
            }
            Some(who) => match self.find_or_create(&who, cx) {
                Err(mut ignored) => {
                    ignored.event = Some(refused(&call, TriggerReason::NotStored, cx));
                    vec![*ignored]
                }
                Ok(found) => {
                    let entry = self.store_for_person(call, found.key, None, cx);
                    std::iter::once(entry.named(&who)).chain(found.created).collect()
                }
            },
        }
    }

    /// An invite event: nobody's, and with a recipient still able to start a campaign.
    fn store_for_nobody(&mut self, call: EventCall, cx: Context<'_>) -> Entry {
        let time = time_of(&call, cx);
        let verdict = if call.data.contains_key("recipient") {
            by_age(call.timestamp, time, cx)
        } else {
            (false, TriggerReason::Nobody)
        };
        let seq = self.store(call, verdict, cx);
        self.stored(seq, Did::StoredAnonymousEvent)
    }

    fn store_for_visitor(
        &mut self,
        call: EventCall,
        anonymous_id: String,
        cx: Context<'_>,
    ) -> Entry {
        let who = Identifier::AnonymousId(anonymous_id.clone());
        let visitor = self.visitors.get(&anonymous_id);
        if let Some(key) = visitor.and_then(|visitor| visitor.receives(cx.now)) {
            return self.store_for_person(call, key, Some(anonymous_id), cx).named(&who);
        }
        let reason = match visitor.and_then(|visitor| visitor.owner) {
            Some(_) => TriggerReason::WindowClosed,
            None => TriggerReason::Nobody,
        };
        let seq = self.store(call, (false, reason), cx);
        if let Some(event) = self.events.get_mut(&seq) {
            event.anonymous_id = Some(anonymous_id.clone());
        }
        if self.events.contains_key(&seq) {
            self.visitors.entry(anonymous_id).or_default().waiting.insert(seq);
        }
        self.stored(seq, Did::StoredAnonymousEvent).named(&who)
    }

    fn store_for_person(
        &mut self,
        call: EventCall,
        key: PersonKey,
        anonymous_id: Option<String>,
        cx: Context<'_>,
    ) -> Entry {
        let cio_id = self.cio_id(key).to_owned();
        let verdict = by_age(call.timestamp, time_of(&call, cx), cx);
        let seq = self.store(call, verdict, cx);
        if let Some(event) = self.events.get_mut(&seq) {
            event.cio_id = Some(cio_id.clone());
            event.attached_at = anonymous_id.is_some().then_some(cx.now);
            event.anonymous_id = anonymous_id;
            if let Some(profile) = self.people.get_mut(&key) {
                profile.events.insert(seq);
            }
        }
        self.stored(seq, Did::StoredEvent).on(&cio_id)
    }

    /// Writes the event down; the oldest of all makes room.
    fn store(&mut self, call: EventCall, verdict: (bool, TriggerReason), cx: Context<'_>) -> u64 {
        let time = time_of(&call, cx);
        if let Some(id) = &call.id {
            self.seen.remember(id, cx);
        }
        self.last_event += 1;
        let seq = self.last_event;
        let record = EventRecord {
            seq,
            request: cx.request,
            received_at: cx.now,
            kind: call.kind,
            name: call.name,
            id: call.id,
            timestamp: call.timestamp,
            time,
            data: call.data,
            cio_id: None,
            anonymous_id: None,
            attached_at: None,
            could_trigger: verdict.0,
            trigger_reason: verdict.1,
        };
        self.events.insert(seq, record);
        while self.events.len() > cx.settings.history.events.max(1) {
            self.forget_oldest_event();
        }
        seq
    }

    fn forget_oldest_event(&mut self) {
        let Some((seq, event)) = self.events.pop_first() else { return };
        self.forgotten_events += 1;
        let owner = event.cio_id.map(Identifier::CioId).and_then(|who| self.find(&who));
        if let Some(profile) = owner.and_then(|key| self.people.get_mut(&key)) {
            profile.events.remove(&seq);
        }
        if let Some(anonymous_id) = event.anonymous_id
            && let Some(visitor) = self.visitors.get_mut(&anonymous_id)
        {
            visitor.waiting.remove(&seq);
            if visitor.is_blank() {
                self.visitors.remove(&anonymous_id);
            }
        }
    }

    fn stored(&self, seq: u64, outcome: Did) -> Entry {
        match self.events.get(&seq) {
            Some(event) => Entry::new(outcome).with_event(event.facts()),
            None => Entry::new(outcome),
        }
    }
}

/// Whether a person's event of that time could start a campaign now.
fn by_age(timestamp: Option<i64>, time: Time, cx: Context<'_>) -> (bool, TriggerReason) {
    if timestamp.is_none() && time == cx.now {
        (true, TriggerReason::NoTimestamp)
    } else if time > cx.now {
        (cx.settings.future_triggers, TriggerReason::Future)
    } else if time.plus(TRIGGERS) < cx.now {
        (false, TriggerReason::TooOld)
    } else {
        (true, TriggerReason::Recent)
    }
}

/// An event without a time happens when it comes.
fn time_of(call: &EventCall, cx: Context<'_>) -> Time {
    call.timestamp.map_or(cx.now, Time::from_secs)
}

/// What the log says of an event that is not stored.
pub(super) fn refused(call: &EventCall, reason: TriggerReason, cx: Context<'_>) -> EventFacts {
    EventFacts {
        seq: None,
        kind: call.kind,
        name: call.name.clone(),
        id: call.id.clone(),
        time: time_of(call, cx),
        could_trigger: false,
        trigger_reason: reason,
    }
}

fn some_rfc3339<S: serde::Serializer>(
    time: &Option<Time>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}
