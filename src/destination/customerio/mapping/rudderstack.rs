//! What RudderStack's destination "Customer IO" does in its default form, which is Track v1: today's
//! campaigns were built on it. Its newer v2 form differs in details that do not matter here, because
//! an event becomes the same operations on either transport.

use std::borrow::Cow;

use serde_json::Value;

use super::{MapError, Mapped, Options, actor, creation, id_at, name_text, object_id, value_at};
use crate::destination::customerio::attributes::{Attributes, Dates, Setting};
use crate::destination::customerio::operation::{
    self, Device, EventKind, Identify, ObjectAction, ObjectChange, ObjectId, Operation,
};
use crate::destination::customerio::{PersonId, Subject, Who, limits};
use crate::spec::{Call, Event, Object, ids, timestamp};

/// Traits that are not attributes: ids, what becomes `created_at`, what is lifted, and the control
/// key whose place the event time takes.
const NOT_ATTRIBUTES: [&str; 6] =
    ["createdAt", "userId", "anonymousId", "address", "id", "_timestamp"];

/// The parts of an address that are lifted to the top of a profile.
const ADDRESS: [&str; 5] = ["city", "country", "postalCode", "state", "street"];

/// What `Viewed ` and ` Screen` leave of an event's name.
const SCREEN_BYTES: usize = limits::EVENT_NAME_BYTES - "Viewed  Screen".len();

/// `userId`, else an id in the traits, else an e-mail address in them. The traits of a group
/// describe the object and name nobody; an alias takes ids only.
pub(super) fn person(event: &Event) -> Option<PersonId> {
    let traits = event.traits().filter(|_| event.call() != Call::Group);
    let from_context = event.context_traits();
    let id = mapped_id(event)
        .or_else(|| event.user_id().map(str::to_owned))
        .or_else(|| id_at(traits, &["userId"]))
        .or_else(|| id_at(traits, &["id"]))
        .or_else(|| id_at(from_context, &["userId"]))
        .or_else(|| id_at(from_context, &["id"]));
    let text = match id {
        None if event.call() != Call::Alias => {
            id_at(traits, &["email"]).or_else(|| id_at(from_context, &["email"]))?
        }
        other => other?,
    };
    Some(PersonId::from_text(&text))
}

/// The id that reverse ETL gives to a row; any other `externalId` belongs to another vendor.
fn mapped_id(event: &Event) -> Option<String> {
    ids::person_id(external_id(event)?.get("id")?)
}

fn external_id(event: &Event) -> Option<&Object> {
    let context = event.context()?;
    if !is_truthy(context.get("mappedToDestination")?) {
        return None;
    }
    context.get("externalId")?.get(0)?.as_object()
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

pub(super) fn operations<'e>(
    event: &'e Event,
    subject: &Subject,
    options: &Options,
) -> Result<Mapped<'e>, MapError> {
    match event.call() {
        Call::Identify => identify(event, subject),
        Call::Group => group(event, subject),
        Call::Track => track(event, subject, options),
        Call::Page => {
            let name = page_name(event);
            behaviour(event, subject, EventKind::Page, cut(event, name, limits::EVENT_NAME_BYTES))
        }
        Call::Screen => {
            let name = screen_name(event).ok_or(MapError::Malformed {
                message: "a screen needs a name: event, properties.name or name",
            })?;
            let name = format!("Viewed {} Screen", cut(event, name, SCREEN_BYTES));
            behaviour(event, subject, EventKind::ViewedScreen, name.into())
        }
        Call::Alias | Call::Delete => Err(MapError::Unmappable {
            message: "this type of event is mapped before the vendor's rules",
        }),
    }
}

fn identify<'e>(event: &'e Event, subject: &Subject) -> Result<Mapped<'e>, MapError> {
    let Some(person) = &subject.person else {
        return match subject.anonymous {
            Some(_) => Ok(Mapped::nothing()),
            None => Err(MapError::NoIdentity { message: "an identify needs a userId or an email" }),
        };
    };
    let traits = event.traits();
    let mut attributes = Attributes::of(traits, Dates::AsSent).without(&NOT_ATTRIBUTES);
    if let Some(address) = value_at(traits, &["address"]).and_then(Value::as_object) {
        for part in ADDRESS {
            if let Some(value) = address.get(part) {
                attributes.set_default(part, Setting::Sent(value));
            }
        }
    }
    set_mapped_identifier(event, &mut attributes);
    // Deprecated, and still over the traits.
    let deprecated = event.fields().get("user_properties").and_then(Value::as_object);
    for (name, value) in deprecated.into_iter().flatten().filter(|(name, _)| *name != "id") {
        attributes.set(name.as_str(), Setting::Sent(value));
    }
    if let Some(at) = created_at(event) {
        attributes.set("created_at", Setting::Seconds(at));
    }
    if let Some(anonymous) = &subject.anonymous {
        attributes.set("anonymous_id", Setting::Text(anonymous.clone().into()));
    }
    let who = Who::Person(person.clone());
    let timestamp = event.time().at;
    let instructs = attributes.contains("cio_relationships");
    let identify = Identify { who, attributes, relationship: None, instructs, timestamp };
    Ok(Mapped::one(Operation::Identify(identify)))
}

/// Reverse ETL names the column that identifies a row; it is an attribute too, where there are any.
fn set_mapped_identifier<'e>(event: &'e Event, attributes: &mut Attributes<'e>) {
    let Some(external) = external_id(event) else { return };
    if let (Some(Value::String(name)), Some(value), Some(_)) =
        (external.get("identifierType"), external.get("id"), event.traits())
        && !NOT_ATTRIBUTES.contains(&name.as_str())
    {
        attributes.set(name.as_str(), Setting::Sent(value));
    }
}

/// When the profile was created, in seconds. What cannot be read is left out: `null` would erase
/// what Customer.io knows.
fn created_at(event: &Event) -> Option<i64> {
    let given = value_at(event.traits(), &["createdAt"])
        .filter(|value| is_truthy(value))
        .or_else(|| value_at(event.context_traits(), &["createdAt"]).filter(|v| is_truthy(v)))?;
    timestamp::parse(given).and_then(creation)
}

fn group<'e>(event: &'e Event, subject: &Subject) -> Result<Mapped<'e>, MapError> {
    let traits = event.traits();
    let id = object_id(event.fields().get("groupId"))
        .or_else(|| object_id(value_at(traits, &["groupId"])))
        .ok_or(MapError::Malformed { message: "a group needs a groupId" })?;
    let type_id = object_id(value_at(traits, &["objectTypeId"])).unwrap_or_else(|| "1".into());
    let action = group_action(event);
    let about_people =
        matches!(action, ObjectAction::AddRelationships | ObjectAction::DeleteRelationships);
    if about_people && subject.person.is_none() {
        return Ok(Mapped::nothing());
    }
    Ok(Mapped::one(Operation::Object(ObjectChange {
        action,
        object: ObjectId { type_id, id },
        attributes: Attributes::of(traits, Dates::AsSent).without(&["action"]),
        created_at: None,
        related: subject.person.clone().map(Who::Person),
        relationship_attributes: None,
    })))
}

/// What a group asks for.
fn group_action(event: &Event) -> ObjectAction {
    let asked = value_at(event.traits(), &["action"])
        .filter(|value| is_truthy(value))
        .or_else(|| value_at(event.properties(), &["action"]));
    match asked.and_then(Value::as_str) {
        Some("delete") => ObjectAction::Delete,
        Some("add_relationships") => ObjectAction::AddRelationships,
        Some("delete_relationships") => ObjectAction::DeleteRelationships,
        _ => ObjectAction::Identify,
    }
}

/// Whether a group deletes its object or takes somebody out of it.
pub(super) fn takes_away(event: &Event) -> bool {
    matches!(group_action(event), ObjectAction::Delete | ObjectAction::DeleteRelationships)
}

/// A lifecycle event of a known person's device is about the device; any other is an event.
fn track<'e>(
    event: &'e Event,
    subject: &Subject,
    options: &Options,
) -> Result<Mapped<'e>, MapError> {
    let name = event.name().ok_or(MapError::Malformed {
        message: "a track event needs a name: event must be a text",
    })?;
    let registers = matches!(name, "Application Installed" | "Application Opened")
        || options.device_token_event.as_deref() == Some(name);
    let token = || id_at(event.context(), &["device", "token"]);
    if name == "Application Uninstalled" {
        let (Some(person), Some(token)) = (subject.person.clone(), token()) else {
            return Ok(Mapped::nothing());
        };
        return Ok(Mapped::one(Operation::DeleteDevice { person, token }));
    }
    if registers
        && let Some(person) = &subject.person
        && let Some(token) = token()
    {
        return Ok(Mapped::one(register(event, person.clone(), token)));
    }
    let name = cut(event, Cow::Borrowed(name), limits::EVENT_NAME_BYTES);
    behaviour(event, subject, EventKind::Event, name)
}

fn register(event: &Event, person: PersonId, token: String) -> Operation<'_> {
    let context = event.context();
    let mut attributes = Attributes::of(event.properties(), Dates::AsSent);
    let known: [(&str, &[&str]); 4] = [
        ("device_os", &["os", "name"]),
        ("device_model", &["device", "model"]),
        ("app_version", &["app", "version"]),
        ("device_locale", &["locale"]),
    ];
    for (name, path) in known {
        if let Some(value) = value_at(context, path).filter(|value| !value.is_null()) {
            attributes.set_default(name, Setting::Sent(value));
        }
    }
    let platform = value_at(context, &["device", "type"])
        .and_then(Value::as_str)
        .filter(|kind| !kind.is_empty())
        .map(|kind| match kind.to_lowercase() {
            kind if matches!(kind.as_str(), "ios" | "watchos" | "ipados" | "tvos") => "ios".into(),
            kind => kind,
        });
    Operation::AddDevice(Device { person, token, platform, last_used: event.time().at, attributes })
}

/// Customer.io finds pages by name, so every page has one.
fn page_name(event: &Event) -> Cow<'_, str> {
    named(event.fields().get("name"))
        .or_else(|| named(value_at(event.properties(), &["url"])))
        .or_else(|| named(value_at(event.context(), &["page", "url"])))
        .or_else(|| named(event.fields().get("category")))
        .unwrap_or(Cow::Borrowed("Page Viewed"))
}

/// `event` and `properties.name` are where RudderStack's SDKs put it, `name` is where Segment's do.
fn screen_name(event: &Event) -> Option<Cow<'_, str>> {
    named(event.fields().get("event"))
        .or_else(|| named(value_at(event.properties(), &["name"])))
        .or_else(|| named(event.fields().get("name")))
}

fn named(value: Option<&Value>) -> Option<Cow<'_, str>> {
    name_text(value.filter(|value| is_truthy(value)))
}

/// Names of anonymous events are cut, on a character boundary; nothing else is.
fn cut<'e>(event: &Event, name: Cow<'e, str>, limit: usize) -> Cow<'e, str> {
    if name.len() <= limit || person(event).is_some() {
        return name;
    }
    let end = (0..=limit).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(&name[..end]),
        Cow::Owned(name) => Cow::Owned(name[..end].into()),
    }
}

fn behaviour<'e>(
    event: &'e Event,
    subject: &Subject,
    kind: EventKind,
    name: Cow<'e, str>,
) -> Result<Mapped<'e>, MapError> {
    let who = actor(subject)?;
    Ok(Mapped::one(Operation::Event(operation::Event {
        kind,
        who,
        name,
        id: event.fingerprint().ulid(),
        timestamp: event.time().at,
        attributes: Attributes::of(event.properties(), Dates::AsSent),
    })))
}
