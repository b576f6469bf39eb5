//! Track v2: items with a type, an action and one identifier; an event's payload is `attributes`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::fields::{Fields, object_in};
use super::parts::{
    ANONYMOUS_ID, CIO_ID, EMAIL, ID, PHONE, device_call, event_id, event_name, merge_side,
    object_name, object_relationships, one_identifier, person_attributes,
};
use super::{Parsed, Problem, limits};
use crate::emulator::operation::{
    EventCall, EventKind, Identifier, Identify, Item, Note, ObjectAction, ObjectCall, Operation,
};
use crate::emulator::settings::{IdentifyTime, Settings, Undocumented};
use crate::spec::Object;

/// Actions that Segment sends in production and the specification does not list.
const UNLISTED_ACTIONS: [&str; 2] = ["viewed_content", "clicked_content"];

/// Reads `/api/v2/entity`.
pub(super) fn entity(body: &Bytes, settings: &Settings) -> Result<Item, Problem> {
    limits::item(body.len(), settings.kilobyte)?;
    read_item(body, settings)
}

/// Reads `/api/v2/batch`. An empty batch is refused: it can only be a mistake.
pub(super) fn batch(body: &Bytes, settings: &Settings) -> Parsed {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        batch: Vec<&'a RawValue>,
    }
    if let Err(problem) = limits::batch(body.len(), settings.kilobyte) {
        return Parsed::Refused(problem);
    }
    let batch = match serde_json::from_slice::<Batch<'_>>(body) {
        Ok(Batch { batch }) if batch.is_empty() => {
            return Parsed::Refused(Problem::invalid("batch", "must not be empty"));
        }
        Ok(Batch { batch }) => batch,
        Err(error) => return Parsed::Refused(Problem::unreadable(&error)),
    };
    let items = batch.into_iter().map(|item| {
        limits::item(item.get().len(), settings.kilobyte)?;
        read_item(item.get().as_bytes(), settings)
    });
    Parsed::Items(items.collect())
}

fn read_item(bytes: &[u8], settings: &Settings) -> Result<Item, Problem> {
    let value = serde_json::from_slice(bytes).map_err(|error| Problem::unreadable(&error))?;
    let mut item = object_in(value, "")?;
    let mut notes = Vec::new();
    let mut fields = Fields::new(&mut item, "");
    let kind = fields.required_text("type")?;
    let action = fields.required_text("action")?;
    let operation = match kind.as_str() {
        "person" => person(&action, item, settings, &mut notes)?,
        "object" => object(&action, item, settings, &mut notes)?,
        "delivery" => delivery(&action, item, &mut notes)?,
        _ => return Err(Problem::invalid("type", "must be person, object or delivery")),
    };
    Ok(Item { operation, notes })
}

fn person(
    action: &str,
    mut item: Object,
    settings: &Settings,
    notes: &mut Vec<Note>,
) -> Result<Operation, Problem> {
    let mut fields = Fields::new(&mut item, "");
    if action == "merge" {
        let primary = merge_side(fields.required_object("primary")?, "primary")?;
        let secondary = merge_side(fields.required_object("secondary")?, "secondary")?;
        return Ok(Operation::Merge { primary, secondary });
    }
    let identifiers = fields.required_object("identifiers")?;
    let who = person_identifier(identifiers, "identifiers", settings, notes)?;
    match action {
        "identify" => Ok(Operation::Identify(identify(who, fields, settings, notes)?)),
        "event" | "page" | "screen" => {
            let kind = EventKind::from_name(action).unwrap_or(EventKind::Event);
            Ok(Operation::Event(event(who, kind, fields, settings, notes)?))
        }
        "delete" => Ok(Operation::Delete(who)),
        "suppress" => Ok(Operation::Suppress(who)),
        "unsuppress" => Ok(Operation::Unsuppress(who)),
        "add_device" => {
            let device = device_call(fields.required_object("device")?, "token", settings, notes)?;
            Ok(Operation::AddDevice { who, device })
        }
        "delete_device" => {
            let mut device = fields.required_object("device")?;
            let token = Fields::new(&mut device, "device").required_text("token")?;
            Ok(Operation::DeleteDevice { who, token })
        }
        "add_relationships" | "delete_relationships" => {
            let list = fields.array("cio_relationships")?;
            let list = list.ok_or_else(|| Problem::required("cio_relationships"))?;
            let relationships = object_relationships(list, "cio_relationships")?;
            Ok(Operation::Relate { who, relationships, remove: action.starts_with("delete") })
        }
        other if UNLISTED_ACTIONS.contains(&other) => {
            undocumented("action", settings, notes)?;
            Ok(Operation::Event(event(who, EventKind::Event, fields, settings, notes)?))
        }
        _ => Err(Problem::invalid("action", "is not an action on a person")),
    }
}

/// Exactly one of the documented identifiers; `anonymous_id` is not among them, and sent all the
/// same.
fn person_identifier(
    mut identifiers: Object,
    place: &str,
    settings: &Settings,
    notes: &mut Vec<Note>,
) -> Result<Identifier, Problem> {
    if identifiers.len() == 1 && identifiers.contains_key("anonymous_id") {
        undocumented(&format!("{place}.anonymous_id"), settings, notes)?;
        return one_identifier(&mut identifiers, place, &[ANONYMOUS_ID]);
    }
    let who = one_identifier(&mut identifiers, place, &[ID, EMAIL, PHONE, CIO_ID])?;
    match &who {
        Identifier::Phone(number) if !is_e164(number) => {
            Err(Problem::invalid(format!("{place}.phone"), "must be a phone number in E.164 form"))
        }
        _ => Ok(who),
    }
}

fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (2..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}

fn undocumented(field: &str, settings: &Settings, notes: &mut Vec<Note>) -> Result<(), Problem> {
    match settings.undocumented {
        Undocumented::Reject => Err(Problem::invalid(field, "is not part of the specification")),
        Undocumented::Accept => {
            notes.push(Note::Undocumented);
            Ok(())
        }
    }
}

fn identify(
    who: Identifier,
    mut fields: Fields<'_>,
    settings: &Settings,
    notes: &mut Vec<Note>,
) -> Result<Identify, Problem> {
    let anywhere = settings.identify_time == IdentifyTime::Anywhere;
    let mut timestamp = fields.seconds("timestamp", notes)?;
    if fields.has("_timestamp") {
        if anywhere {
            timestamp = timestamp.or(fields.seconds("_timestamp", notes)?);
        } else {
            notes.push(Note::OrderingFieldIgnored);
        }
    }
    let mut attributes = fields.object("attributes")?.unwrap_or_default();
    let mut inner = Fields::new(&mut attributes, "attributes");
    let update_only = inner.boolean("_update")?.unwrap_or(false);
    if inner.has("_timestamp") {
        if anywhere {
            timestamp = timestamp.or(inner.seconds("_timestamp", notes)?);
        } else {
            notes.push(Note::OrderingFieldIgnored);
        }
    }
    for name in ["_timestamp", "_update"] {
        attributes.shift_remove(name);
    }
    let list = fields.array("cio_relationships")?.unwrap_or_default();
    let relationships = object_relationships(list, "cio_relationships")?;
    let (claims, anonymous_id) = person_attributes(&mut attributes, "attributes", notes)?;
    Ok(Identify {
        who,
        claims,
        anonymous_id,
        attributes,
        timestamp,
        update_only,
        relationships,
        remove_relationships: false,
    })
}

fn event(
    who: Identifier,
    kind: EventKind,
    mut fields: Fields<'_>,
    settings: &Settings,
    notes: &mut Vec<Note>,
) -> Result<EventCall, Problem> {
    let name = event_name(&mut fields, kind)?;
    let id = event_id(&mut fields, settings, notes)?;
    let timestamp = fields.seconds("timestamp", notes)?;
    let data = fields.object("attributes")?.unwrap_or_default();
    Ok(EventCall { who: Some(who), kind, name, id, timestamp, data })
}

fn object(
    action: &str,
    mut item: Object,
    settings: &Settings,
    notes: &mut Vec<Note>,
) -> Result<Operation, Problem> {
    let action = match action {
        "identify" => ObjectAction::Identify,
        "identify_anonymous" => ObjectAction::IdentifyAnonymous,
        "delete" => ObjectAction::Delete,
        "add_relationships" => ObjectAction::AddRelationships,
        "delete_relationships" => ObjectAction::DeleteRelationships,
        _ => return Err(Problem::invalid("action", "is not an action on an object")),
    };
    let mut fields = Fields::new(&mut item, "");
    let name = object_name(fields.required_object("identifiers")?, "identifiers")?;
    let attributes = fields.object("attributes")?.unwrap_or_default();
    limits::object_attributes("attributes", &attributes)?;
    let list = fields.array("cio_relationships")?;
    let wants_list =
        matches!(action, ObjectAction::AddRelationships | ObjectAction::DeleteRelationships);
    if wants_list && list.is_none() {
        return Err(Problem::required("cio_relationships"));
    }
    let mut people = Vec::new();
    for (index, entry) in list.unwrap_or_default().into_iter().enumerate() {
        people.push(related_person(action, entry, index, settings, notes)?);
    }
    Ok(Operation::Object(ObjectCall { object: name, action, attributes, people }))
}

fn related_person(
    action: ObjectAction,
    entry: Value,
    index: usize,
    settings: &Settings,
    notes: &mut Vec<Note>,
) -> Result<(Identifier, Object), Problem> {
    let place = format!("cio_relationships.{index}");
    let mut entry = object_in(entry, &place)?;
    let mut fields = Fields::new(&mut entry, &place);
    let mut identifiers = fields.required_object("identifiers")?;
    let attributes = fields.object("relationship_attributes")?.unwrap_or_default();
    limits::object_attributes(&fields.path("relationship_attributes"), &attributes)?;
    let place = fields.path("identifiers");
    let who = if action == ObjectAction::IdentifyAnonymous {
        one_identifier(&mut identifiers, &place, &[ANONYMOUS_ID])?
    } else {
        person_identifier(identifiers, &place, settings, notes)?
    };
    Ok((who, attributes))
}

fn delivery(action: &str, mut item: Object, notes: &mut Vec<Note>) -> Result<Operation, Problem> {
    if action != "event" {
        return Err(Problem::invalid("action", "must be event"));
    }
    let mut fields = Fields::new(&mut item, "");
    let mut identifiers = fields.required_object("identifiers")?;
    let delivery_id = Fields::new(&mut identifiers, "identifiers").required_text("id")?;
    let metric = fields.required_text("name")?;
    if !matches!(metric.as_str(), "opened" | "converted" | "delivered") {
        return Err(Problem::invalid("name", "must be opened, converted or delivered"));
    }
    fields.seconds("timestamp", notes)?;
    fields.object("attributes")?;
    Ok(Operation::Metric { delivery_id, metric })
}
