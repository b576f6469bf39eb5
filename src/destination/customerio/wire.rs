//! The bodies of operations, field by field: the only place that knows what Customer.io calls things.
//!
//! On v1 the person is in the path, the token of a device is its `id`, the payload of an event is
//! `data`, and an identify carries its time as `_timestamp` among the attributes; on v2 these are
//! `identifiers`, `token`, `attributes` and a `timestamp` beside the attributes. Everything is
//! written straight from the operation, nothing is built first.
//!
//! Not here: addresses, and which transport carries what (`encode.rs`).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::attributes::Attributes;
use super::operation::{
    Device, Event, Identify, Metric, ObjectAction, ObjectChange, ObjectId, Operation, Relationship,
};
use super::{PersonId, Who};

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
pub(super) struct V1Identify<'a>(pub(super) &'a Identify<'a>);

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
pub(super) struct V1Event<'a>(pub(super) &'a Event<'a>);

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

pub(super) struct V1Device<'a>(pub(super) &'a Device<'a>);

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

pub(super) struct Merge<'a> {
    pub(super) primary: &'a PersonId,
    pub(super) secondary: &'a PersonId,
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
