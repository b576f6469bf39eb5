//! What a valid request asks for, whichever API and version it came by.
//!
//! Not here: reading it from the wire (`parse`), doing it (`workspace`).

use serde::Serialize;

use crate::spec::Object;

/// One identifier of a person, with its kind.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Identifier {
    /// The id that the customer's own system uses; case matters.
    Id(String),
    /// An e-mail address; case does not matter.
    Email(String),
    /// A phone number (v2 only).
    Phone(String),
    /// Customer.io's own id, without the `cio_` prefix.
    CioId(String),
    /// A visitor nobody has identified.
    AnonymousId(String),
}

/// Makes an identifier of one kind.
pub(super) type Kind = fn(String) -> Identifier;

impl Identifier {
    /// Reads an identifier from a v1 path, where its kind follows from its shape: `cio_` announces a
    /// `cio_id`, one `@` with something on both sides and no spaces is an e-mail address, and all
    /// else, phone numbers too, is an `id`.
    pub(super) fn by_shape(text: &str) -> Self {
        if let Some(cio_id) = text.strip_prefix("cio_") {
            return Self::CioId(cio_id.into());
        }
        match text.split_once('@') {
            Some((local, domain))
                if !local.is_empty()
                    && !domain.is_empty()
                    && !domain.contains('@')
                    && !text.contains(char::is_whitespace) =>
            {
                Self::Email(text.into())
            }
            _ => Self::Id(text.into()),
        }
    }

    /// The identifier without its kind.
    pub fn text(&self) -> &str {
        match self {
            Self::Id(text)
            | Self::Email(text)
            | Self::Phone(text)
            | Self::CioId(text)
            | Self::AnonymousId(text) => text,
        }
    }

    /// The name of the kind, as requests spell it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Id(_) => "id",
            Self::Email(_) => "email",
            Self::Phone(_) => "phone",
            Self::CioId(_) => "cio_id",
            Self::AnonymousId(_) => "anonymous_id",
        }
    }

    /// The form under which it is looked up: e-mail addresses in lower case.
    pub(super) fn key(&self) -> Self {
        match self {
            Self::Email(text) => Self::Email(text.to_lowercase()),
            other => other.clone(),
        }
    }
}

/// The three kinds of events.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Anything that happened.
    Event,
    /// A page view; its name is the page.
    Page,
    /// A screen view; its name is the screen.
    Screen,
}

impl EventKind {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "event" => Some(Self::Event),
            "page" => Some(Self::Page),
            "screen" => Some(Self::Screen),
            _ => None,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Page => "page",
            Self::Screen => "screen",
        }
    }
}

/// Something that is valid and yet looks like a mistake of the sender.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// A time that is plausible only as milliseconds; it was read as seconds, as documented.
    TimeInMilliseconds,
    /// A time before 1970, which Customer.io does not support.
    TimeBefore1970,
    /// `created_at` is not a whole number of seconds: no timestamp condition will match it.
    CreatedAtIsNotSeconds,
    /// `_timestamp` where this API does not read it.
    OrderingFieldIgnored,
    /// An event id that is no ULID.
    EventIdIsNotUlid,
    /// An identifier that is blank or `null`, which removes nothing.
    BlankIdentifier,
    /// Outside the specification, and accepted because senders rely on it.
    Undocumented,
}

/// One valid operation with what is odd about it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) operation: Operation,
    pub(super) notes: Vec<Note>,
}

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Identify(Identify),
    Event(EventCall),
    Delete(Identifier),
    Suppress(Identifier),
    Unsuppress(Identifier),
    AddDevice { who: Identifier, device: DeviceCall },
    DeleteDevice { who: Identifier, token: String },
    Merge { primary: Identifier, secondary: Identifier },
    Relate { who: Identifier, relationships: Vec<ObjectRelationship>, remove: bool },
    Object(ObjectCall),
    Metric { delivery_id: String, metric: String },
    Segment { people: usize, remove: bool },
    Form { form_id: String, person: Identify },
}

impl Operation {
    /// What the activity log calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Identify(_) => "identify",
            Self::Event(event) => event.kind.as_str(),
            Self::Delete(_) => "delete",
            Self::Suppress(_) => "suppress",
            Self::Unsuppress(_) => "unsuppress",
            Self::AddDevice { .. } => "add_device",
            Self::DeleteDevice { .. } => "delete_device",
            Self::Merge { .. } => "merge",
            Self::Relate { remove: false, .. } => "add_relationships",
            Self::Relate { remove: true, .. } => "delete_relationships",
            Self::Object(object) => object.action.as_str(),
            Self::Metric { .. } => "metric",
            Self::Segment { remove: false, .. } => "add_to_segment",
            Self::Segment { remove: true, .. } => "remove_from_segment",
            Self::Form { .. } => "form",
        }
    }

    /// The identifiers of people that it names: what a fault rule for a person is compared with.
    pub(super) fn touched(&self) -> Vec<&str> {
        let mut touched = Vec::new();
        match self {
            Self::Identify(call) | Self::Form { person: call, .. } => call.touched(&mut touched),
            Self::Event(event) => touched.extend(event.who.as_ref().map(Identifier::text)),
            Self::Delete(who)
            | Self::Suppress(who)
            | Self::Unsuppress(who)
            | Self::AddDevice { who, .. }
            | Self::DeleteDevice { who, .. }
            | Self::Relate { who, .. } => touched.push(who.text()),
            Self::Merge { primary, secondary } => {
                touched.extend([primary.text(), secondary.text()]);
            }
            Self::Object(object) => touched.extend(object.people.iter().map(|(who, _)| who.text())),
            Self::Metric { .. } | Self::Segment { .. } => {}
        }
        touched
    }

    /// The name of the event, for an event.
    pub(super) fn event_name(&self) -> Option<&str> {
        match self {
            Self::Event(event) => Some(&event.name),
            _ => None,
        }
    }
}

/// Adds or updates a person.
#[derive(Clone, Debug)]
pub(super) struct Identify {
    pub(super) who: Identifier,
    /// Further identifiers in the attributes: each is claimed for the person.
    pub(super) claims: Vec<Identifier>,
    pub(super) anonymous_id: Option<String>,
    /// All other attributes; `null` and `""` remove.
    pub(super) attributes: Object,
    /// When it was true, in seconds; absent: now.
    pub(super) timestamp: Option<i64>,
    /// `_update`: never creates a person.
    pub(super) update_only: bool,
    pub(super) relationships: Vec<ObjectRelationship>,
    pub(super) remove_relationships: bool,
}

impl Identify {
    fn touched<'a>(&'a self, touched: &mut Vec<&'a str>) {
        touched.push(self.who.text());
        touched.extend(self.claims.iter().map(Identifier::text));
        touched.extend(self.anonymous_id.as_deref());
    }
}

/// Something happened.
#[derive(Clone, Debug)]
pub(super) struct EventCall {
    /// Nobody at all for an invite event.
    pub(super) who: Option<Identifier>,
    pub(super) kind: EventKind,
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) timestamp: Option<i64>,
    pub(super) data: Object,
}

/// A device of a person.
#[derive(Clone, Debug)]
pub(super) struct DeviceCall {
    pub(super) token: String,
    pub(super) platform: String,
    pub(super) last_used: Option<i64>,
    pub(super) attributes: Object,
}

/// Which object.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum ObjectName {
    /// The sender's names: type and id.
    Key { object_type_id: String, object_id: String },
    /// Customer.io's name.
    CioObjectId(String),
}

/// A person's relationship to an object.
#[derive(Clone, Debug)]
pub(super) struct ObjectRelationship {
    pub(super) object: ObjectName,
    pub(super) attributes: Object,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ObjectAction {
    Identify,
    IdentifyAnonymous,
    Delete,
    AddRelationships,
    DeleteRelationships,
}

impl ObjectAction {
    fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "object_identify",
            Self::IdentifyAnonymous => "object_identify_anonymous",
            Self::Delete => "object_delete",
            Self::AddRelationships => "object_add_relationships",
            Self::DeleteRelationships => "object_delete_relationships",
        }
    }
}

/// Something done to an object.
#[derive(Clone, Debug)]
pub(super) struct ObjectCall {
    pub(super) object: ObjectName,
    pub(super) action: ObjectAction,
    pub(super) attributes: Object,
    pub(super) people: Vec<(Identifier, Object)>,
}
