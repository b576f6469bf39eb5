//! The activity log: what each operation that came did, and what each event could have started.
//!
//! One entry for each operation, with `effect_of` unset, followed by one for each further effect it
//! had: a person created on the way, an identifier that could not be set, an anonymous event that
//! found its person.

use std::collections::VecDeque;

use serde::{Serialize, Serializer};

use super::operation::{EventKind, Identifier, Note};
use crate::clock::Time;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Activity {
    /// Counts up from 1.
    pub seq: u64,
    /// When it was done.
    #[serde(serialize_with = "rfc3339")]
    pub at: Time,
    /// The request that asked for it.
    pub request: u64,
    /// Its place in a v2 batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_index: Option<usize>,
    /// What was asked for: `identify`, `event`, `merge`, …
    pub operation: &'static str,
    /// What came of it.
    pub outcome: Did,
    /// The person concerned, by Customer.io's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cio_id: Option<String>,
    /// Whom the request named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<Identifier>,
    /// For an event: which, and whether it could have started a campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventFacts>,
    /// Why, where the outcome does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The attributes that got another value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// What looked like a mistake of the sender.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// For a further effect: the entry of the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect_of: Option<u64>,
}

/// What an operation did.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Did {
    /// A new person.
    CreatedPerson,
    /// Attributes or identifiers of a person changed.
    UpdatedPerson,
    /// Everything was so already.
    Unchanged,
    /// Older than what the profile holds: dropped.
    IgnoredStale,
    /// An identifier or attribute could not be set, or `_update` met nobody.
    FailedAttributeChange,
    /// An anonymous id that belongs to another person already.
    AnonymousIdContested,
    /// An event on a person.
    StoredEvent,
    /// An event that belongs to nobody yet.
    StoredAnonymousEvent,
    /// An anonymous event found its person.
    AttachedAnonymousEvent,
    /// An event with an id that was seen before: dropped.
    DuplicateEvent,
    /// Two people became one.
    MergedPeople,
    /// A person was deleted.
    DeletedPerson,
    /// A person was deleted and its identifiers blocked.
    SuppressedPerson,
    /// Identifiers are no longer blocked.
    UnsuppressedPerson,
    /// Dropped, because it names a suppressed person.
    Suppressed,
    /// A device was added or updated.
    StoredDevice,
    /// A device was removed.
    DeletedDevice,
    /// A new object.
    CreatedObject,
    /// Attributes or relationships of an object changed.
    UpdatedObject,
    /// An object was deleted.
    DeletedObject,
    /// Relationships of a person changed.
    ChangedRelationships,
    /// A delivery metric was counted.
    CountedMetric,
    /// A manual segment was changed (segments are not kept).
    ChangedSegment,
    /// A form was submitted.
    SubmittedForm,
    /// Valid, and without any effect; `reason` says why.
    Ignored,
    /// Refused as invalid; `reason` says why.
    Rejected,
}

/// An event in the activity log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventFacts {
    /// Its number among the stored events; absent when it was not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Event, page or screen.
    pub kind: EventKind,
    /// Its name.
    pub name: String,
    /// Its deduplication id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When it happened.
    #[serde(serialize_with = "rfc3339")]
    pub time: Time,
    /// Whether it could have started an event-triggered campaign at this moment.
    pub could_trigger: bool,
    /// Why, or why not.
    pub trigger_reason: TriggerReason,
}

/// Why an event could, or could not, start an event-triggered campaign.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerReason {
    /// It could: it happened within the last 72 hours.
    Recent,
    /// It could: it has no time, which means now.
    NoTimestamp,
    /// It happened in the future: it could, unless the settings say otherwise.
    Future,
    /// It could not: it happened more than 72 hours ago.
    TooOld,
    /// It could not: its id was seen before.
    Duplicate,
    /// It could not: it belongs to nobody yet.
    Nobody,
    /// It could not: its anonymous id is a person's, but it came after the five minutes.
    WindowClosed,
    /// It could not: it was not stored.
    NotStored,
}

impl TriggerReason {
    /// A sentence for people.
    pub fn explain(self) -> &'static str {
        match self {
            Self::Recent => "it happened within the last 72 hours",
            Self::NoTimestamp => "it has no timestamp, which means now",
            Self::Future => "it lies in the future",
            Self::TooOld => "it happened more than 72 hours ago",
            Self::Duplicate => "its id was seen before",
            Self::Nobody => "it belongs to nobody yet",
            Self::WindowClosed => "it came more than five minutes after its visitor was identified",
            Self::NotStored => "it was not stored",
        }
    }
}

/// What happened, before the log gives it a number and a time.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) outcome: Did,
    pub(super) cio_id: Option<String>,
    pub(super) who: Option<Identifier>,
    pub(super) event: Option<EventFacts>,
    pub(super) reason: Option<String>,
    pub(super) changed: Vec<String>,
}

impl Entry {
    pub(super) fn new(outcome: Did) -> Self {
        Self { outcome, cio_id: None, who: None, event: None, reason: None, changed: Vec::new() }
    }

    pub(super) fn on(mut self, cio_id: &str) -> Self {
        self.cio_id = Some(cio_id.into());
        self
    }

    pub(super) fn named(mut self, who: &Identifier) -> Self {
        self.who = Some(who.clone());
        self
    }

    pub(super) fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    pub(super) fn with_event(mut self, event: EventFacts) -> Self {
        self.event = Some(event);
        self
    }

    pub(super) fn changing(mut self, changed: Vec<String>) -> Self {
        self.changed = changed;
        self
    }
}

/// Where an operation came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) request: u64,
    pub(super) batch_index: Option<usize>,
    pub(super) at: Time,
}

/// The log, bounded.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Activity>,
    last: u64,
    forgotten: u64,
}

impl Log {
    /// Writes the entries of one operation; the first is the operation's own.
    pub(super) fn write(
        &mut self,
        origin: Origin,
        operation: &'static str,
        notes: Vec<Note>,
        entries: Vec<Entry>,
        keep: usize,
    ) {
        let own = self.last + 1;
        let mut notes = Some(notes);
        for entry in entries {
            self.last += 1;
            self.entries.push_back(Activity {
                seq: self.last,
                at: origin.at,
                request: origin.request,
                batch_index: origin.batch_index,
                operation,
                outcome: entry.outcome,
                cio_id: entry.cio_id,
                who: entry.who,
                event: entry.event,
                reason: entry.reason,
                changed: entry.changed,
                notes: notes.take().unwrap_or_default(),
                effect_of: (self.last != own).then_some(own),
            });
        }
        while self.entries.len() > keep {
            self.entries.pop_front();
            self.forgotten += 1;
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Activity> {
        self.entries.iter()
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

/// Times in the views are texts that people can read.
pub(super) fn rfc3339<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}
