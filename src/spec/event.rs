//! The event: one message of the Segment / RudderStack spec in the shape that everybody behind this
//! stage relies on.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Fingerprint, Object, field, ids, timestamp};
use crate::clock::Time;
use crate::outcome::{DeadCode, DeadLetter, Stage};

/// The calls of the spec, and Segment's notice of a deletion.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// Who somebody is.
    Identify,
    /// What somebody did.
    Track,
    /// A page was viewed.
    Page,
    /// A screen was viewed.
    Screen,
    /// Somebody belongs to a group.
    Group,
    /// Two ids are one person.
    Alias,
    /// Segment's notice to webhooks that a person must be deleted.
    Delete,
}

impl Call {
    /// The names of all calls, as in `type`.
    pub const NAMES: [&'static str; 7] =
        ["identify", "track", "page", "screen", "group", "alias", "delete"];

    /// Reads a `type`, whatever its case.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.trim();
        let calls = [
            Self::Track,
            Self::Identify,
            Self::Page,
            Self::Screen,
            Self::Group,
            Self::Alias,
            Self::Delete,
        ];
        calls.into_iter().find(|call| call.as_str().eq_ignore_ascii_case(name))
    }

    /// The name as in `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Track => "track",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
            Self::Delete => "delete",
        }
    }
}

/// Where an event time comes from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeOrigin {
    /// The sender's own time.
    Given,
    /// The sender's time, corrected by how wrong its clock was when it sent.
    Corrected,
    /// No usable time was sent: the time of receipt stands in.
    Received,
}

/// When something happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EventTime {
    /// The event time.
    pub at: Time,
    /// Where it comes from.
    pub origin: TimeOrigin,
    /// What the event's age is measured from, when a wrong device clock makes that another time.
    pub for_age: Option<Time>,
}

impl EventTime {
    /// The time from which the guard measures the event's age.
    pub fn age_basis(&self) -> Time {
        self.for_age.unwrap_or(self.at)
    }
}

/// One event. Its fields are those of the spec, with the spec's names.
///
/// Guaranteed: `type`, `messageId`, `timestamp` and `receivedAt` are texts; ids are texts or absent;
/// `properties`, `traits`, `context` and `integrations` are objects or absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    call: Call,
    fields: Object,
    time: EventTime,
    received_at: Time,
    fingerprint: Fingerprint,
}

impl Event {
    pub(super) fn new(
        call: Call,
        fields: Object,
        time: EventTime,
        received_at: Time,
        fingerprint: Fingerprint,
    ) -> Self {
        Self { call, fields, time, received_at, fingerprint }
    }

    /// The event that a script made of this one: `fields` instead of its own, as its `child`-th
    /// result (0 for the first), with the guarantees of this type checked again.
    ///
    /// # Errors
    /// The dead letter to write when the script left something that is no event.
    pub fn rewritten(&self, mut fields: Object, child: u32) -> Result<Self, DeadLetter> {
        let wrong =
            |message: String| DeadLetter::new(DeadCode::ScriptResult, Stage::Transform, message);
        let call = match field(&fields, "type").and_then(Value::as_str).and_then(Call::from_name) {
            Some(call) => call,
            None => {
                let known = Call::NAMES.join(", ");
                return Err(wrong(format!(
                    "the script returned an event whose type is none of {known}"
                )));
            }
        };
        for name in ["properties", "traits", "context", "integrations"] {
            match field(&fields, name) {
                None | Some(Value::Object(_)) => {}
                Some(Value::Null) => {
                    fields.shift_remove(name);
                }
                Some(_) => {
                    return Err(wrong(format!(
                        "the script returned an event whose {name} is no map"
                    )));
                }
            }
        }
        ids::normalise(&mut fields);
        let time = self.time_after_script(&mut fields).map_err(wrong)?;
        if field(&fields, "messageId").is_none() {
            fields.insert("messageId".into(), Value::String(self.message_id().to_owned()));
        }
        let fingerprint = self.fingerprint.child(child);
        Ok(Self { call, fields, time, received_at: self.received_at, fingerprint })
    }

    fn time_after_script(&self, fields: &mut Object) -> Result<EventTime, String> {
        let before = field(&self.fields, "timestamp");
        let after = field(fields, "timestamp");
        if after == before {
            return Ok(self.time);
        }
        let at = match after {
            None | Some(Value::Null) => self.time.at,
            Some(value) => timestamp::parse(value)
                .ok_or("the script returned an event whose timestamp cannot be read as a time")?,
        };
        fields.insert("timestamp".into(), Value::String(at.to_string()));
        // The same moment in other words, or none: what is known about the time stays known, above
        // all that it is only the time of receipt.
        if at == self.time.at {
            return Ok(self.time);
        }
        Ok(EventTime { at, origin: TimeOrigin::Given, for_age: None })
    }

    /// The type of call.
    pub fn call(&self) -> Call {
        self.call
    }

    /// When it happened.
    pub fn time(&self) -> EventTime {
        self.time
    }

    /// Moves the event time, for a clock that was certainly wrong.
    pub fn set_time(&mut self, time: EventTime) {
        self.time = time;
        self.fields.insert("timestamp".into(), Value::String(time.at.to_string()));
    }

    /// When the vendor received it, or Segue where the vendor does not say.
    pub fn received_at(&self) -> Time {
        self.received_at
    }

    /// What identifies this event for Customer.io, the same on every resend.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Takes the ids of people away that are none: to everything behind, they are absent.
    pub fn remove_ids(&mut self, is_none: impl Fn(&str) -> bool) {
        for name in ids::PERSON_FIELDS {
            if self.text(name).is_some_and(&is_none) {
                self.fields.shift_remove(name);
            }
        }
    }

    /// Gives an event another id for Customer.io than its place among its siblings says, because
    /// another one was sent with that.
    pub fn set_apart(&mut self) {
        self.fingerprint = self.fingerprint.child(u32::MAX);
    }

    /// All fields, as a script sees them.
    pub fn fields(&self) -> &Object {
        &self.fields
    }

    /// All fields, for the scripts to take and to put back by [`Event::rewritten`].
    pub(crate) fn fields_mut(&mut self) -> &mut Object {
        &mut self.fields
    }

    /// The message id: the sender's, or a hash of the content.
    pub fn message_id(&self) -> &str {
        self.text("messageId").unwrap_or_default()
    }

    /// The person's id, where the sender knows it.
    pub fn user_id(&self) -> Option<&str> {
        self.text("userId")
    }

    /// The device's or browser's id.
    pub fn anonymous_id(&self) -> Option<&str> {
        self.text("anonymousId")
    }

    /// The group of a group call.
    pub fn group_id(&self) -> Option<&str> {
        self.text("groupId")
    }

    /// The old id of an alias call.
    pub fn previous_id(&self) -> Option<&str> {
        self.text("previousId")
    }

    /// The name of what happened: `event` of a track, `name` of a page or screen; `None` when it is
    /// absent, blank or no text.
    pub fn name(&self) -> Option<&str> {
        let name = match self.call {
            Call::Track => self.text("event"),
            _ => self.text("name").or_else(|| self.text("event")),
        };
        name.filter(|name| !name.trim().is_empty())
    }

    /// `properties`, where there are any.
    pub fn properties(&self) -> Option<&Object> {
        self.object("properties")
    }

    /// `traits`, where there are any.
    pub fn traits(&self) -> Option<&Object> {
        self.object("traits")
    }

    /// `context`, where there is any.
    pub fn context(&self) -> Option<&Object> {
        self.object("context")
    }

    /// `context.traits`, where there are any.
    pub fn context_traits(&self) -> Option<&Object> {
        field(self.context()?, "traits")?.as_object()
    }

    /// `integrations`, where there are any.
    pub fn integrations(&self) -> Option<&Object> {
        self.object("integrations")
    }

    fn text(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)?.as_str()
    }

    fn object(&self, name: &str) -> Option<&Object> {
        field(&self.fields, name)?.as_object()
    }
}
