//! One Customer.io action on one person or object, whatever transport carries it.
//!
//! An operation borrows the event it was made from; what must outlive the event is its encoded form.
//!
//! Not here: which operations an event becomes ([`super::mapping`]), how they are written
//! (`encode.rs`, `wire.rs`).

use std::borrow::Cow;

use serde_json::Value;
use ulid::Ulid;

use super::attributes::{Attributes, Setting};
use super::limits;
use super::mapping::MapError;
use super::{Encoded, PersonId, Transport, Who, encode};
use crate::clock::Time;

/// One action.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation<'e> {
    /// Creates a person or changes attributes.
    Identify(Identify<'e>),
    /// Something happened.
    Event(Event<'e>),
    /// Registers a device for push messages.
    AddDevice(Device<'e>),
    /// Forgets a device.
    DeleteDevice {
        /// Whose device.
        person: PersonId,
        /// The push token.
        token: String,
    },
    /// Deletes a person.
    Delete {
        /// Whom.
        person: PersonId,
    },
    /// Deletes a person for good and blocks the identifiers.
    Suppress {
        /// Whom.
        person: PersonId,
    },
    /// Lifts the block of a suppressed person.
    Unsuppress {
        /// Whom.
        person: PersonId,
    },
    /// Makes two people one. It cannot be undone.
    Merge {
        /// Who stays.
        primary: PersonId,
        /// Who becomes part of the other.
        secondary: PersonId,
    },
    /// Changes an object or its relationships.
    Object(ObjectChange<'e>),
    /// Reports what became of a message that Customer.io sent.
    Metric(Metric<'e>),
    /// Reports that somebody saw or used content.
    Content(Content<'e>),
}

/// The payload of an identify.
#[derive(Clone, Debug, PartialEq)]
pub struct Identify<'e> {
    pub(super) who: Who,
    pub(super) attributes: Attributes<'e>,
    pub(super) relationship: Option<Relationship<'e>>,
    /// Whether an attribute called `cio_relationships` is the instruction that Track v1 knows, and
    /// no attribute.
    pub(super) instructs: bool,
    pub(super) timestamp: Time,
}

/// A person's relationship to an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Relationship<'e> {
    pub(super) object: ObjectId,
    pub(super) attributes: Option<Attributes<'e>>,
}

/// The identifier of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectId {
    /// The type of object, by its id: `1` is the workspace's first.
    pub type_id: String,
    /// The object's own id.
    pub id: String,
}

/// What kind of event it is to Customer.io.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventKind {
    /// An event with a name of the team's own.
    Event,
    /// A page view.
    Page,
    /// A screen view.
    Screen,
    /// A screen view in RudderStack's form: an event called `Viewed X Screen`.
    ViewedScreen,
}

impl EventKind {
    /// The action on v2 and the `type` on v1.
    pub(super) fn action(self) -> &'static str {
        match self {
            Self::Event | Self::ViewedScreen => "event",
            Self::Page => "page",
            Self::Screen => "screen",
        }
    }
}

/// The payload of an event, page or screen.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'e> {
    pub(super) kind: EventKind,
    pub(super) who: Who,
    pub(super) name: Cow<'e, str>,
    pub(super) id: Ulid,
    pub(super) timestamp: Time,
    pub(super) attributes: Attributes<'e>,
}

/// The payload of a device registration.
#[derive(Clone, Debug, PartialEq)]
pub struct Device<'e> {
    pub(super) person: PersonId,
    pub(super) token: String,
    pub(super) platform: Option<String>,
    pub(super) last_used: Time,
    pub(super) attributes: Attributes<'e>,
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ObjectAction {
    /// Creates it or changes attributes.
    Identify,
    /// The same, related to somebody anonymous.
    IdentifyAnonymous,
    /// Deletes it.
    Delete,
    /// Adds relationships.
    AddRelationships,
    /// Removes relationships.
    DeleteRelationships,
}

impl ObjectAction {
    /// The action's name on v2.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::IdentifyAnonymous => "identify_anonymous",
            Self::Delete => "delete",
            Self::AddRelationships => "add_relationships",
            Self::DeleteRelationships => "delete_relationships",
        }
    }
}

/// The payload of an object operation.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectChange<'e> {
    pub(super) action: ObjectAction,
    pub(super) object: ObjectId,
    pub(super) attributes: Attributes<'e>,
    pub(super) created_at: Option<Setting<'e>>,
    pub(super) related: Option<Who>,
    pub(super) relationship_attributes: Option<Attributes<'e>>,
}

/// The payload of a delivery metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric<'e> {
    pub(super) delivery_id: Cow<'e, str>,
    pub(super) metric: Cow<'e, str>,
    pub(super) timestamp: Time,
    /// `recipient`, `reason` and `href`, as far as known.
    pub(super) details: Vec<(&'static str, Cow<'e, str>)>,
    /// `action_name` and `action_value` of an in-app message, as far as known.
    pub(super) metadata: Vec<(&'static str, Cow<'e, str>)>,
}

/// The payload of a content report.
#[derive(Clone, Debug, PartialEq)]
pub struct Content<'e> {
    pub(super) action: &'static str,
    pub(super) who: Who,
    pub(super) timestamp: Time,
    pub(super) attributes: Attributes<'e>,
}

impl<'e> Operation<'e> {
    /// The identify that teaches Customer.io that an anonymous id is a person's, and nothing else.
    pub fn link(person: PersonId, anonymous_id: impl Into<Cow<'e, str>>, timestamp: Time) -> Self {
        let mut attributes = Attributes::none();
        attributes.set("anonymous_id", Setting::Text(anonymous_id.into()));
        let who = Who::Person(person);
        let (relationship, instructs) = (None, false);
        Self::Identify(Identify { who, attributes, relationship, instructs, timestamp })
    }

    /// An identify that says no more than that a person is there.
    pub fn existence(person: PersonId, timestamp: Time) -> Self {
        let (who, attributes) = (Who::Person(person), Attributes::none());
        let (relationship, instructs) = (None, false);
        Self::Identify(Identify { who, attributes, relationship, instructs, timestamp })
    }

    /// The name in traces and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Identify(_) => "identify",
            Self::Event(event) => event.kind.action(),
            Self::AddDevice(_) => "add_device",
            Self::DeleteDevice { .. } => "delete_device",
            Self::Delete { .. } => "delete",
            Self::Suppress { .. } => "suppress",
            Self::Unsuppress { .. } => "unsuppress",
            Self::Merge { .. } => "merge",
            Self::Object(change) => match change.action {
                ObjectAction::Identify => "object_identify",
                ObjectAction::IdentifyAnonymous => "object_identify_anonymous",
                ObjectAction::Delete => "object_delete",
                ObjectAction::AddRelationships => "object_add_relationships",
                ObjectAction::DeleteRelationships => "object_delete_relationships",
            },
            Self::Metric(_) => "metric",
            Self::Content(content) => content.action,
        }
    }

    /// Whether nothing else of the same people may be on its way with it: Customer.io does not
    /// promise an order, and what overtakes a merge or a deletion is lost or brings the person back.
    pub fn is_barrier(&self) -> bool {
        matches!(
            self,
            Self::Merge { .. }
                | Self::Delete { .. }
                | Self::Suppress { .. }
                | Self::Unsuppress { .. }
        )
    }

    /// Whether it takes something away from people who did not ask for it and cannot be given back: a
    /// public write key is not enough for that.
    pub fn needs_secret(&self) -> bool {
        match self {
            Self::Object(change) => change.action == ObjectAction::Delete,
            other => other.is_barrier(),
        }
    }

    /// Whether nothing may be said of its person with it: an identify ahead of it would create whom it
    /// deletes, or be lost with who is blocked still.
    pub fn says_all(&self) -> bool {
        matches!(self, Self::Delete { .. } | Self::Suppress { .. } | Self::Unsuppress { .. })
    }

    /// The person that it deletes or suppresses.
    pub fn person_gone(&self) -> Option<&PersonId> {
        match self {
            Self::Delete { person } | Self::Suppress { person } => Some(person),
            _ => None,
        }
    }

    /// The people it touches: two for a merge, none for what is anonymous or about no person.
    pub fn people(&self) -> impl Iterator<Item = &PersonId> {
        let (first, second) = match self {
            Self::Merge { primary, secondary } => (Some(primary), Some(secondary)),
            Self::AddDevice(device) => (Some(&device.person), None),
            Self::DeleteDevice { person, .. }
            | Self::Delete { person }
            | Self::Suppress { person }
            | Self::Unsuppress { person } => (Some(person), None),
            _ => (self.who().and_then(Who::person), None),
        };
        first.into_iter().chain(second)
    }

    /// The anonymous id it is about: its subject where no person is known, or the one that an
    /// identify claims for its person.
    pub fn anonymous_id(&self) -> Option<&str> {
        if let Some(Who::Anonymous(id)) = self.who() {
            return Some(id);
        }
        let Self::Identify(identify) = self else { return None };
        identify
            .attributes
            .settings()
            .find(|(name, _)| *name == "anonymous_id")
            .and_then(|(_, id)| id.as_str())
    }

    fn who(&self) -> Option<&Who> {
        match self {
            Self::Identify(identify) => Some(&identify.who),
            Self::Event(event) => Some(&event.who),
            Self::Object(change) => change.related.as_ref(),
            Self::Content(content) => Some(&content.who),
            _ => None,
        }
    }

    /// Lets an identify change existing people only, never create one (`_update`). Nothing else can
    /// be told that; the result says whether it could.
    pub fn only_existing(&mut self) -> bool {
        let Self::Identify(identify) = self else { return false };
        identify.attributes.set("_update", Setting::Flag(true));
        true
    }

    /// Adds a property to an event, page or screen, over one of the same name; the result says
    /// whether the operation is one.
    pub fn mark(&mut self, name: impl Into<Cow<'e, str>>, value: Value) -> bool {
        let Self::Event(event) = self else { return false };
        event.attributes.set(name, Setting::Owned(value));
        true
    }

    /// Gives an event, page or screen another name; the result says whether the operation is one.
    pub fn rename(&mut self, name: impl Into<Cow<'e, str>>) -> bool {
        let Self::Event(event) = self else { return false };
        event.name = name.into();
        true
    }

    /// Measures the fields against what Customer.io publishes. How large the whole is depends on the
    /// transport: [`Self::encode`] measures that, and calls this first.
    ///
    /// # Errors
    /// The field, the limit and the size.
    pub fn check_limits(&self) -> Result<(), MapError> {
        match self {
            Self::Identify(identify) => {
                limits::who(&identify.who)?;
                limits::attributes("traits", &identify.attributes)?;
                if let Some(relationship) = &identify.relationship {
                    object(&relationship.object)?;
                    relationship_attributes(relationship.attributes.as_ref())?;
                }
                Ok(())
            }
            Self::Event(event) => {
                limits::who(&event.who)?;
                if event.kind == EventKind::Event {
                    limits::within("event", event.name.len(), limits::EVENT_NAME_BYTES)?;
                }
                Ok(())
            }
            Self::AddDevice(device) => limits::person(&device.person),
            Self::DeleteDevice { person, .. }
            | Self::Delete { person }
            | Self::Suppress { person }
            | Self::Unsuppress { person } => limits::person(person),
            Self::Merge { primary, secondary } => {
                limits::person(primary)?;
                limits::person(secondary)
            }
            Self::Object(change) => {
                object(&change.object)?;
                change.related.as_ref().map_or(Ok(()), limits::who)?;
                limits::attributes("traits", &change.attributes)?;
                relationship_attributes(change.relationship_attributes.as_ref())
            }
            Self::Metric(_) => Ok(()),
            Self::Content(content) => limits::who(&content.who),
        }
    }

    /// Writes the operation for a transport.
    ///
    /// # Errors
    /// The limit that it exceeds: one of [`Self::check_limits`], or the size of the whole.
    pub fn encode(&self, transport: Transport) -> Result<Encoded, MapError> {
        self.check_limits()?;
        encode::encode(self, transport)
    }
}

fn object(object: &ObjectId) -> Result<(), MapError> {
    limits::within("object_id", object.id.len(), limits::ID_BYTES)?;
    limits::within("object_type_id", object.type_id.len(), limits::ID_BYTES)
}

fn relationship_attributes(attributes: Option<&Attributes<'_>>) -> Result<(), MapError> {
    attributes.map_or(Ok(()), |attributes| limits::attributes("relationshipAttributes", attributes))
}
