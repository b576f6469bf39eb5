//! The mappings: what the native destination of a vendor would have sent for an event.
//!
//! A team switches to Segue without touching a campaign because these rules have the same effect in
//! Customer.io as that vendor's own destination. Where the native one has a bug, Segue does better;
//! every such place is a row of the table in `docs/mapping.md`, with its reason and a case in
//! `fixtures/mapping` that holds it down.
//!
//! Not here: whose event it is beyond what the event itself says ([`crate::identity`]), what an old
//! event may do ([`crate::guard`]), how operations are written ([`super::operation`]).

mod error;
mod rudderstack;
mod segment;

pub use error::MapError;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::operation::Operation;
use super::{PersonId, Subject, Who};
use crate::clock::Time;
use crate::outcome::DropReason;
use crate::spec::{Call, Event, Object, Vendor, ids};

/// Under which names an event may say that Customer.io must not get it, without case, spaces and
/// punctuation. `Customer.io Audience` is another destination.
const NAMES: [&str; 6] = [
    "customerio",
    "customerioactions",
    "actionscustomerio",
    "customerioclassic",
    "customeriolegacy",
    "customeriojourneys",
];

/// When people can have been created, in seconds: from 1990 to 2100.
const POSSIBLE_CREATION: std::ops::Range<i64> = 631_152_000..4_102_444_800;

/// Whose native destination is reproduced.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mapping {
    /// Segment's destination "Customer.io (Actions)" with its default mappings.
    #[default]
    Segment,
    /// RudderStack's destination "Customer IO" in cloud mode.
    Rudderstack,
}

impl From<Vendor> for Mapping {
    fn from(vendor: Vendor) -> Self {
        match vendor {
            Vendor::Segment => Self::Segment,
            Vendor::Rudderstack => Self::Rudderstack,
        }
    }
}

/// What a source may choose.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// RudderStack: a track event of this name registers the device that its context names.
    pub device_token_event: Option<String>,
    /// Whether `integrations: {"All": false}` without a true name of Customer.io is an opt-out: it
    /// is for clients of the HTTP API, it is not for webhooks (the vendor chose them by that).
    pub all_false_opts_out: bool,
}

/// What an event became.
#[derive(Clone, Debug, PartialEq)]
pub enum Mapped<'e> {
    /// To be sent, in this order; never empty.
    Operations(Vec<Operation<'e>>),
    /// Nothing is to be sent: [`DropReason::OptedOut`] or [`DropReason::NoEffect`].
    Dropped(DropReason),
}

impl<'e> Mapped<'e> {
    fn one(operation: Operation<'e>) -> Self {
        Self::Operations(vec![operation])
    }

    fn nothing() -> Self {
        Self::Dropped(DropReason::NoEffect)
    }
}

impl Mapping {
    /// Both mappings.
    pub const ALL: [Self; 2] = [Self::Segment, Self::Rudderstack];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Rudderstack => "rudderstack",
        }
    }

    /// Whose rules of normalisation belong to it.
    pub fn vendor(self) -> Vendor {
        match self {
            Self::Segment => Vendor::Segment,
            Self::Rudderstack => Vendor::Rudderstack,
        }
    }

    /// To whom the native destination would attach an event, by the event alone.
    pub fn subject(self, event: &Event) -> Subject {
        let person = match self {
            Self::Segment => segment::person(event),
            Self::Rudderstack => rudderstack::person(event),
        };
        Subject { person, anonymous: event.anonymous_id().map(str::to_owned) }
    }

    /// Whether an event takes away what cannot be given back, although neither its type nor its name says
    /// so.
    pub fn takes_away(self, event: &Event) -> bool {
        self == Self::Rudderstack && event.call() == Call::Group && rudderstack::takes_away(event)
    }

    /// What the native destination would send for an event of `subject`: the one of
    /// [`Self::subject`], or what the identity stage knows beyond it.
    ///
    /// # Errors
    /// The event lacks what its operation needs, or has it in a form that Customer.io cannot take.
    pub fn operations<'e>(
        self,
        event: &'e Event,
        subject: &Subject,
        options: &Options,
    ) -> Result<Mapped<'e>, MapError> {
        if opted_out(event, options) {
            return Ok(Mapped::Dropped(DropReason::OptedOut));
        }
        match (self, event.call()) {
            (_, Call::Alias) => alias(event, subject),
            (_, Call::Delete) => {
                let person = known(subject, "a deletion needs a userId")?;
                Ok(Mapped::one(Operation::Delete { person }))
            }
            (Self::Segment, _) => segment::operations(event, subject),
            (Self::Rudderstack, _) => rudderstack::operations(event, subject, options),
        }
    }
}

/// Whether the sender said that Customer.io must not get this event.
fn opted_out(event: &Event, options: &Options) -> bool {
    let Some(integrations) = event.integrations() else { return false };
    let mut named = false;
    for (name, value) in integrations {
        let name: String =
            name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        if NAMES.contains(&name.as_str()) {
            if *value == Value::Bool(false) {
                return true;
            }
            named |= !value.is_null();
        }
    }
    options.all_false_opts_out && !named && integrations.get("All") == Some(&Value::Bool(false))
}

/// An alias makes two people one, unless there is only one, or the old id is an anonymous one: that
/// is nobody's id, so the person learns it instead.
fn alias<'e>(event: &'e Event, subject: &Subject) -> Result<Mapped<'e>, MapError> {
    let primary = known(subject, "an alias needs a userId")?;
    let previous = event
        .previous_id()
        .ok_or(MapError::NoIdentity { message: "an alias needs a previousId" })?;
    let secondary = PersonId::from_text(previous);
    if secondary.key() == primary.key() {
        return Ok(Mapped::nothing());
    }
    Ok(Mapped::one(if subject.anonymous.as_deref() == Some(previous) {
        Operation::link(primary, previous, event.time().at)
    } else {
        Operation::Merge { primary, secondary }
    }))
}

/// Who did something: a person, else somebody anonymous.
fn actor(subject: &Subject) -> Result<Who, MapError> {
    subject
        .who()
        .ok_or(MapError::NoIdentity { message: "an event needs a userId or an anonymousId" })
}

/// The person of a subject, where an operation is nothing without one.
fn known(subject: &Subject, needed: &'static str) -> Result<PersonId, MapError> {
    subject.person.clone().ok_or(MapError::NoIdentity { message: needed })
}

/// When somebody or something was created, in seconds, where that can be: the epoch and the year 1 are
/// what programs write for a missing time.
fn creation(at: Time) -> Option<i64> {
    Some(at.secs()).filter(|seconds| POSSIBLE_CREATION.contains(seconds))
}

/// The id of an object or of its type: a text that is neither blank nor junk, or any number.
fn object_id(value: Option<&Value>) -> Option<String> {
    match value? {
        number @ Value::Number(_) => ids::text_id(number),
        other => ids::person_id(other),
    }
}

/// An identifier at a path of objects.
fn id_at(object: Option<&Object>, names: &[&str]) -> Option<String> {
    ids::person_id(value_at(object, names)?)
}

/// A value at a path of objects.
fn value_at<'e>(object: Option<&'e Object>, names: &[&str]) -> Option<&'e Value> {
    let (last, path) = names.split_last()?;
    let mut object = object?;
    for name in path {
        object = object.get(*name)?.as_object()?;
    }
    object.get(*last)
}

/// A text that is not blank, or a number or boolean as one: what JavaScript makes of a name.
fn name_text(value: Option<&Value>) -> Option<Cow<'_, str>> {
    match value? {
        Value::String(text) if !text.trim().is_empty() => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(ids::number_text(number))),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
