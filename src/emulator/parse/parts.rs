//! The parts of a call that v1 and v2 share: identifiers, attributes, names of events, devices,
//! relationships.

use serde_json::Value;

use super::fields::{Fields, object_in, odd_time, whole_number};
use super::{Problem, limits};
use crate::emulator::operation::{
    DeviceCall, EventKind, Identifier, Kind, Note, ObjectName, ObjectRelationship,
};
use crate::emulator::settings::{Dedupe, Settings, Undocumented};
use crate::spec::Object;

/// A key with the kind of identifier that it holds.
pub(super) type NamedKind = (&'static str, Kind);

pub(super) const ID: NamedKind = ("id", Identifier::Id);
pub(super) const EMAIL: NamedKind = ("email", Identifier::Email);
pub(super) const PHONE: NamedKind = ("phone", Identifier::Phone);
pub(super) const CIO_ID: NamedKind = ("cio_id", Identifier::CioId);
pub(super) const ANONYMOUS_ID: NamedKind = ("anonymous_id", Identifier::AnonymousId);

/// Checks the attributes of a person and takes the identifiers out of them.
pub(super) fn person_attributes(
    attributes: &mut Object,
    place: &str,
    notes: &mut Vec<Note>,
) -> Result<(Vec<Identifier>, Option<String>), Problem> {
    limits::attributes(place, attributes)?;
    match attributes.get("created_at").map(|value| (value, whole_number(value))) {
        None => {}
        Some((_, Some(seconds))) => notes.extend(odd_time(seconds)),
        Some((Value::Null, None)) => {}
        // Attributes are stored as texts, so digits are as good as a number.
        Some((Value::String(text), None)) if text.parse::<i64>().is_ok() => {}
        Some(_) => notes.push(Note::CreatedAtIsNotSeconds),
    }
    let mut claims = Vec::new();
    for (name, kind) in [ID, EMAIL, PHONE] {
        if let Some(text) = identifying_text(attributes, place, name, notes)? {
            claims.push(kind(text));
        }
    }
    let anonymous_id = identifying_text(attributes, place, "anonymous_id", notes)?;
    Ok((claims, anonymous_id))
}

fn identifying_text(
    attributes: &mut Object,
    place: &str,
    name: &str,
    notes: &mut Vec<Note>,
) -> Result<Option<String>, Problem> {
    if attributes.get(name).is_some_and(Value::is_null) {
        attributes.shift_remove(name);
        notes.push(Note::BlankIdentifier);
        return Ok(None);
    }
    let mut fields = Fields::new(attributes, place);
    let text = fields.text(name)?;
    let path = fields.path(name);
    attributes.shift_remove(name);
    match text {
        Some(text) if text.trim().is_empty() => {
            notes.push(Note::BlankIdentifier);
            Ok(None)
        }
        Some(text) => {
            limits::id(&path, &text)?;
            Ok(Some(text))
        }
        None => Ok(None),
    }
}

/// The name of an event, without the spaces around it: Customer.io trims them.
pub(super) fn event_name(fields: &mut Fields<'_>, kind: EventKind) -> Result<String, Problem> {
    let name = fields.required_text("name")?;
    if kind == EventKind::Event {
        limits::event_name(&fields.path("name"), &name)?;
    }
    Ok(name.trim().to_owned())
}

/// The id by which Customer.io recognises a repeated event.
pub(super) fn event_id(
    fields: &mut Fields<'_>,
    settings: &Settings,
    notes: &mut Vec<Note>,
) -> Result<Option<String>, Problem> {
    let Some(id) = fields.text("id")? else { return Ok(None) };
    if as_ulid(&id).is_none() {
        if settings.dedupe == Dedupe::UlidOnly {
            return Err(Problem::invalid(fields.path("id"), "must be a ULID"));
        }
        notes.push(Note::EventIdIsNotUlid);
    }
    Ok(Some(id))
}

/// The 128 bits of a ULID. Its 26 characters have room for 130: the first is at most `7`.
pub(in crate::emulator) fn as_ulid(text: &str) -> Option<u128> {
    if !text.starts_with(|first: char| ('0'..='7').contains(&first)) {
        return None;
    }
    ulid::Ulid::from_string(text).ok().map(u128::from)
}

/// A device, under the key that this version of the API has for the token.
pub(super) fn device_call(
    mut device: Object,
    token: &str,
    settings: &Settings,
    notes: &mut Vec<Note>,
) -> Result<DeviceCall, Problem> {
    let mut fields = Fields::new(&mut device, "device");
    let token = fields.required_text(token)?;
    let platform = fields.required_text("platform")?;
    if !matches!(platform.as_str(), "ios" | "android") {
        match settings.undocumented {
            Undocumented::Accept => notes.push(Note::Undocumented),
            Undocumented::Reject => {
                return Err(Problem::invalid(fields.path("platform"), "must be ios or android"));
            }
        }
    }
    let last_used = fields.seconds("last_used", notes)?;
    let attributes = fields.object("attributes")?.unwrap_or_default();
    limits::attributes("device.attributes", &attributes)?;
    Ok(DeviceCall { token, platform, last_used, attributes })
}

/// One of the two people of a merge: exactly one of `id`, `email`, `cio_id`.
pub(super) fn merge_side(mut side: Object, place: &str) -> Result<Identifier, Problem> {
    one_identifier(&mut side, place, &[ID, EMAIL, CIO_ID])
}

/// The one identifier of an object that may hold only one.
pub(super) fn one_identifier(
    given: &mut Object,
    place: &str,
    kinds: &[NamedKind],
) -> Result<Identifier, Problem> {
    let names = || kinds.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let mut keys = given.keys();
    let (Some(key), None) = (keys.next().cloned(), keys.next()) else {
        let message = format!("must have exactly one identifier of {}", names());
        return Err(Problem::invalid(place, message));
    };
    let Some((_, kind)) = kinds.iter().find(|(name, _)| *name == key) else {
        let message = format!("must be identified by one of {}", names());
        return Err(Problem::invalid(place, message));
    };
    let mut fields = Fields::new(given, place);
    let text = fields.required_text(&key)?;
    limits::id(&fields.path(&key), &text)?;
    Ok(kind(text))
}

/// Relationships of a person to objects.
pub(super) fn object_relationships(
    list: Vec<Value>,
    place: &str,
) -> Result<Vec<ObjectRelationship>, Problem> {
    list.into_iter()
        .enumerate()
        .map(|(index, entry)| {
            let place = format!("{place}.{index}");
            let mut entry = object_in(entry, &place)?;
            let mut fields = Fields::new(&mut entry, &place);
            let identifiers = fields.required_object("identifiers")?;
            let attributes = fields.object("relationship_attributes")?.unwrap_or_default();
            limits::object_attributes(&fields.path("relationship_attributes"), &attributes)?;
            let object = object_name(identifiers, &fields.path("identifiers"))?;
            Ok(ObjectRelationship { object, attributes })
        })
        .collect()
}

/// Which object: its type and id, or Customer.io's own id alone.
pub(super) fn object_name(mut identifiers: Object, place: &str) -> Result<ObjectName, Problem> {
    let mut fields = Fields::new(&mut identifiers, place);
    if fields.has("cio_object_id") {
        if fields.has("object_id") || fields.has("object_type_id") {
            return Err(Problem::invalid(place, "cio_object_id stands alone"));
        }
        return Ok(ObjectName::CioObjectId(fields.required_text("cio_object_id")?));
    }
    let object_type_id = fields.required_text("object_type_id")?;
    let object_id = fields.required_text("object_id")?;
    limits::id(&fields.path("object_id"), &object_id)?;
    Ok(ObjectName::Key { object_type_id, object_id })
}
