//! How an operation is written: as an item of a v2 batch, or as a request of Track v1.
//!
//! The transports differ in more than their addresses. On v1 the person is in the path, the token of
//! a device is its `id`, the payload of an event is `data`, and an identify carries its time as
//! `_timestamp` among the attributes; on v2 these are `identifiers`, `token`, `attributes` and a
//! `timestamp` beside the attributes. Each carries something that the other cannot: objects and
//! content reports are v2 only, delivery metrics and events over 32,000 bytes are v1 only. Such an
//! operation goes by the other one.
//!
//! Not here: what an operation says ([`super::mapping`]), how items become requests
//! ([`super::request`]).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::attributes::Attributes;
use super::limits;
use super::mapping::MapError;
use super::operation::{
    Device, Event, Identify, Metric, ObjectAction, ObjectChange, ObjectId, Operation, Relationship,
};
use super::request::Method;
use super::{PersonId, Transport, Who};

/// What `encodeURIComponent` leaves bare, so that paths look as those of the native destinations.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

const EVENTS: &str = "/api/v1/events";
const MERGE: &str = "/api/v1/merge_customers";
const METRICS: &str = "/api/v1/metrics";

/// An operation in its final bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Encoded {
    /// An element of `{"batch":[…]}`.
    Item(Vec<u8>),
    /// A request of its own.
    Call {
        /// The method.
        method: Method,
        /// The path, percent-encoded, from its first slash on.
        path: String,
        /// The JSON body, where there is one.
        body: Option<Vec<u8>>,
    },
}

/// Writes an operation whose fields are within the limits.
pub(super) fn encode(operation: &Operation<'_>, transport: Transport) -> Result<Encoded, MapError> {
    match (operation, transport) {
        (Operation::Metric(metric), _) => call(Method::Post, METRICS.into(), Some(metric)),
        (_, Transport::V1) | (Operation::Identify(Identify { instructs: true, .. }), _) => {
            v1(operation)?.map_or_else(|| item(operation), Ok)
        }
        (Operation::Event(event), Transport::V2) => {
            let bytes = json(operation)?;
            if bytes.len() <= limits::ITEM_BYTES {
                return Ok(Encoded::Item(bytes));
            }
            v1_event(event)?.ok_or(MapError::Limit {
                field: "the event".into(),
                limit: limits::ITEM_BYTES,
                size: bytes.len(),
                unit: "bytes",
            })
        }
        (_, Transport::V2) => item(operation),
    }
}

fn item(operation: &Operation<'_>) -> Result<Encoded, MapError> {
    let bytes = json(operation)?;
    limits::within(operation.name(), bytes.len(), limits::ITEM_BYTES)?;
    Ok(Encoded::Item(bytes))
}

/// The request of Track v1, or `None` where v1 has none.
fn v1(operation: &Operation<'_>) -> Result<Option<Encoded>, MapError> {
    match operation {
        // What is only an attribute on v2 would be an instruction here.
        Operation::Identify(identify)
            if !identify.instructs && identify.attributes.contains("cio_relationships") =>
        {
            Ok(None)
        }
        Operation::Identify(identify) => match person_path(identify.who.person(), "") {
            Some(path) => call(Method::Put, path, Some(&V1Identify(identify))).map(Some),
            None => Ok(None),
        },
        Operation::Event(event) => v1_event(event),
        Operation::AddDevice(device) => match person_path(Some(&device.person), "/devices") {
            Some(path) => call(Method::Put, path, Some(&V1Device(device))).map(Some),
            None => Ok(None),
        },
        Operation::DeleteDevice { person, token } => {
            let Some(token) = component(token) else { return Ok(None) };
            at(Method::Delete, person, &format!("/devices/{token}"))
        }
        Operation::Delete { person } => at(Method::Delete, person, ""),
        Operation::Suppress { person } => at(Method::Post, person, "/suppress"),
        Operation::Unsuppress { person } => at(Method::Post, person, "/unsuppress"),
        Operation::Merge { primary, secondary } => {
            let body = Merge { primary, secondary };
            call(Method::Post, MERGE.into(), Some(&body)).map(Some)
        }
        Operation::Metric(metric) => call(Method::Post, METRICS.into(), Some(metric)).map(Some),
        Operation::Object(_) | Operation::Content(_) => Ok(None),
    }
}

fn v1_event(event: &Event<'_>) -> Result<Option<Encoded>, MapError> {
    let path = match &event.who {
        Who::Anonymous(_) => Some(EVENTS.to_owned()),
        Who::Person(person) => person_path(Some(person), "/events"),
    };
    let Some(path) = path else { return Ok(None) };
    let body = json(&V1Event(event))?;
    if body.len() > limits::EVENT_DATA_BYTES {
        limits::within("properties", json(&event.attributes)?.len(), limits::EVENT_DATA_BYTES)?;
    }
    Ok(Some(Encoded::Call { method: Method::Post, path, body: Some(body) }))
}

/// A request about a person without a body.
fn at(method: Method, person: &PersonId, rest: &str) -> Result<Option<Encoded>, MapError> {
    Ok(person_path(Some(person), rest).map(|path| Encoded::Call { method, path, body: None }))
}

fn call<T: Serialize>(method: Method, path: String, body: Option<&T>) -> Result<Encoded, MapError> {
    Ok(Encoded::Call { method, path, body: body.map(json).transpose()? })
}

/// The path of a person, or `None` when there is none that arrives.
fn person_path(person: Option<&PersonId>, rest: &str) -> Option<String> {
    let prefix = match person? {
        PersonId::CioId(_) => "cio_",
        PersonId::Id(_) | PersonId::Email(_) => "",
    };
    let id = component(person?.value())?;
    Some(format!("/api/v1/customers/{prefix}{id}{rest}"))
}

/// One segment of a path. HTTP clients resolve `.` and `..` away, encoded or not, so an id of that
/// kind would reach another address.
fn component(text: &str) -> Option<String> {
    (!matches!(text, "" | "." | "..")).then(|| utf8_percent_encode(text, COMPONENT).to_string())
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, MapError> {
    let mut bytes = Vec::with_capacity(512);
    match serde_json::to_writer(&mut bytes, value) {
        Ok(()) => Ok(bytes),
        // Maps with text keys, texts and numbers are all there is, and a Vec takes every write.
        Err(_) => Err(MapError::Unmappable { message: "the operation cannot be written as JSON" }),
    }
}

/// The item of a v2 batch. A delivery metric has none: this is then the body of its own request.
impl Serialize for Operation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Self::Metric(metric) = self {
            return metric.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        let kind = if matches!(self, Self::Object(_)) { "object" } else { "person" };
        map.serialize_entry("type", kind)?;
        match self {
            Self::Identify(identify) => write_identify(&mut map, identify)?,
            Self::Event(event) => write_event(&mut map, event)?,
            Self::AddDevice(device) => {
                write_head(&mut map, "add_device", &device.person)?;
                map.serialize_entry("device", &V2Device(device))?;
            }
            Self::DeleteDevice { person, token } => {
                write_head(&mut map, "delete_device", person)?;
                map.serialize_entry("device", &Pair("token", token))?;
            }
            Self::Delete { person } | Self::Suppress { person } | Self::Unsuppress { person } => {
                write_head(&mut map, self.name(), person)?;
            }
            Self::Merge { primary, secondary } => {
                map.serialize_entry("action", "merge")?;
                map.serialize_entry("primary", primary)?;
                map.serialize_entry("secondary", secondary)?;
            }
            Self::Object(change) => write_object(&mut map, change)?,
            Self::Metric(_) => {}
            Self::Content(content) => {
                write_head(&mut map, content.action, &content.who)?;
                map.serialize_entry("name", content.action)?;
                map.serialize_entry("timestamp", &content.timestamp.secs())?;
                map.serialize_entry("attributes", &content.attributes)?;
            }
        }
        map.end()
    }
}

fn write_head<M: SerializeMap, T: Serialize>(
    map: &mut M,
    action: &str,
    identifiers: &T,
) -> Result<(), M::Error> {
    map.serialize_entry("action", action)?;
    map.serialize_entry("identifiers", identifiers)
}

fn write_identify<M: SerializeMap>(map: &mut M, identify: &Identify<'_>) -> Result<(), M::Error> {
    write_head(map, "identify", &identify.who)?;
    map.serialize_entry("timestamp", &identify.timestamp.secs())?;
    map.serialize_entry("attributes", &identify.attributes)?;
    if let Some(relationship) = &identify.relationship {
        map.serialize_entry("cio_relationships", &[relationship])?;
    }
    Ok(())
}

fn write_event<M: SerializeMap>(map: &mut M, event: &Event<'_>) -> Result<(), M::Error> {
    write_head(map, event.kind.action(), &event.who)?;
    map.serialize_entry("id", &Ulid(event.id))?;
    map.serialize_entry("name", &event.name)?;
    map.serialize_entry("timestamp", &event.timestamp.secs())?;
    map.serialize_entry("attributes", &event.attributes)
}

fn write_object<M: SerializeMap>(map: &mut M, change: &ObjectChange<'_>) -> Result<(), M::Error> {
    write_head(map, change.action.as_str(), &change.object)?;
    if change.action == ObjectAction::Delete {
        return Ok(());
    }
    if let Some(created_at) = &change.created_at {
        map.serialize_entry("created_at", created_at)?;
    }
    if change.action != ObjectAction::DeleteRelationships {
        map.serialize_entry("attributes", &change.attributes)?;
    }
    if let Some(who) = &change.related {
        let attributes = change.relationship_attributes.as_ref();
        map.serialize_entry("cio_relationships", &[Related { who, attributes }])?;
    }
    Ok(())
}

/// An identify on v1: attributes and instructions in one object.
struct V1Identify<'a>(&'a Identify<'a>);

impl Serialize for V1Identify<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.0.attributes.write_into(&mut map)?;
        if let Some(relationship) = &self.0.relationship {
            map.serialize_entry("cio_relationships", &V1Relationship(relationship))?;
        }
        map.serialize_entry("_timestamp", &self.0.timestamp.secs())?;
        map.end()
    }
}

struct V1Relationship<'a>(&'a Relationship<'a>);

impl Serialize for V1Relationship<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("action", "add_relationships")?;
        map.serialize_entry("relationships", &[self.0])?;
        map.end()
    }
}

/// An event on v1: the person is in the path, the anonymous id in the body.
struct V1Event<'a>(&'a Event<'a>);

impl Serialize for V1Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &event.name)?;
        map.serialize_entry("type", event.kind.action())?;
        map.serialize_entry("id", &Ulid(event.id))?;
        map.serialize_entry("timestamp", &event.timestamp.secs())?;
        map.serialize_entry("data", &event.attributes)?;
        if let Who::Anonymous(id) = &event.who {
            map.serialize_entry("anonymous_id", id)?;
        }
        map.end()
    }
}

struct V1Device<'a>(&'a Device<'a>);

impl Serialize for V1Device<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Pair("device", DeviceFields { device: self.0, token: "id" }).serialize(serializer)
    }
}

struct V2Device<'a>(&'a Device<'a>);

impl Serialize for V2Device<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        DeviceFields { device: self.0, token: "token" }.serialize(serializer)
    }
}

struct DeviceFields<'a> {
    device: &'a Device<'a>,
    token: &'static str,
}

impl Serialize for DeviceFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let device = self.device;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.token, &device.token)?;
        if let Some(platform) = &device.platform {
            map.serialize_entry("platform", platform)?;
        }
        map.serialize_entry("last_used", &device.last_used.secs())?;
        if !device.attributes.is_empty() {
            map.serialize_entry("attributes", &device.attributes)?;
        }
        map.end()
    }
}

/// Somebody related to an object.
struct Related<'a> {
    who: &'a Who,
    attributes: Option<&'a Attributes<'a>>,
}

impl Serialize for Related<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("identifiers", self.who)?;
        if let Some(attributes) = self.attributes {
            map.serialize_entry("relationship_attributes", attributes)?;
        }
        map.end()
    }
}

impl Serialize for Relationship<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("identifiers", &self.object)?;
        if let Some(attributes) = &self.attributes {
            map.serialize_entry("relationship_attributes", attributes)?;
        }
        map.end()
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = [("object_type_id", &self.type_id), ("object_id", &self.id)];
        serializer.collect_map(fields)
    }
}

impl Serialize for Metric<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("delivery_id", &self.delivery_id)?;
        map.serialize_entry("metric", &self.metric)?;
        map.serialize_entry("timestamp", &self.timestamp.secs())?;
        for (name, value) in &self.details {
            map.serialize_entry(name, value)?;
        }
        if !self.metadata.is_empty() {
            map.serialize_entry("metadata", &Entries(&self.metadata))?;
        }
        map.end()
    }
}

struct Entries<'a, T>(&'a [(&'static str, T)]);

impl<T: Serialize> Serialize for Entries<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

struct Merge<'a> {
    primary: &'a PersonId,
    secondary: &'a PersonId,
}

impl Serialize for Merge<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("primary", self.primary), ("secondary", self.secondary)])
    }
}

/// An object with one key.
struct Pair<T>(&'static str, T);

impl<T: Serialize> Serialize for Pair<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, &self.1)])
    }
}

/// The 26 characters of a ULID.
struct Ulid(ulid::Ulid);

impl Serialize for Ulid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; ulid::ULID_LEN];
        serializer.serialize_str(self.0.array_to_str(&mut text))
    }
}
