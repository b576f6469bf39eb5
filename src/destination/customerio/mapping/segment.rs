//! What Segment's destination "Customer.io (Actions)" does with the mappings it suggests.

use std::borrow::Cow;

use serde_json::Value;

use super::{MapError, Mapped, actor, creation, id_at, known, name_text, object_id, value_at};
use crate::clock::Time;
use crate::destination::customerio::attributes::{Attributes, Dates, Setting};
use crate::destination::customerio::operation::{
    self, Content, Device, EventKind, Identify, Metric, ObjectAction, ObjectChange, ObjectId,
    Operation, Relationship,
};
use crate::destination::customerio::{PersonId, Subject, Who, dates};
use crate::spec::{Call, Event, Object, timestamp};

/// Traits of an identify that say something about it and are not stored as they are.
const NOT_ATTRIBUTES: [&str; 6] = [
    "createdAt",
    "created_at",
    "object_type_id",
    "objectTypeId",
    "relationshipAttributes",
    "_timestamp",
];

/// What may become of a message.
const METRICS: [&str; 8] =
    ["delivered", "opened", "clicked", "converted", "spammed", "bounced", "dropped", "deferred"];

/// `userId`, and for an identify the e-mail address among its traits.
pub(super) fn person(event: &Event) -> Option<PersonId> {
    let from_traits = || match event.call() {
        Call::Identify => id_at(event.traits(), &["email"]),
        _ => None,
    };
    let text = event.user_id().map(str::to_owned).or_else(from_traits)?;
    Some(PersonId::from_text(&text))
}

pub(super) fn operations<'e>(event: &'e Event, subject: &Subject) -> Result<Mapped<'e>, MapError> {
    match event.call() {
        Call::Identify => identify(event, subject),
        Call::Group => group(event, subject),
        Call::Track => track(event, subject),
        Call::Page => {
            let url = value_at(event.properties(), &["url"]);
            let name = name_text(url).ok_or(MapError::Unmappable {
                message: "a page is named by properties.url, and there is none",
            })?;
            behaviour(event, subject, EventKind::Page, name)
        }
        Call::Screen => {
            let name = name_text(event.fields().get("name"))
                .ok_or(MapError::Malformed { message: "a screen needs a name" })?;
            behaviour(event, subject, EventKind::Screen, name)
        }
        Call::Alias | Call::Delete => Err(MapError::Unmappable {
            message: "this type of event is mapped before the vendor's rules",
        }),
    }
}

fn identify<'e>(event: &'e Event, subject: &Subject) -> Result<Mapped<'e>, MapError> {
    let who = subject.who().ok_or(MapError::NoIdentity {
        message: "an identify needs a userId, an email or an anonymousId",
    })?;
    let traits = event.traits();
    let mut attributes = Attributes::of(traits, Dates::Seconds).without(&NOT_ATTRIBUTES);
    if let Some(at) = created_at(event) {
        attributes.set("created_at", at);
    }
    inject_anonymous_id(&mut attributes, subject, &who);
    let object = object_id(value_at(traits, &["objectId"]));
    let relationship = object.map(|id| Relationship {
        object: ObjectId { type_id: object_type(event.traits()), id },
        // They travel in an array, and arrays are not searched for dates.
        attributes: value_at(traits, &["relationshipAttributes"])
            .and_then(Value::as_object)
            .map(|object| Attributes::of(Some(object), Dates::AsSent)),
    });
    let timestamp = event.time().at;
    let instructs = false;
    let identify = Identify { who, attributes, relationship, instructs, timestamp };
    Ok(Mapped::one(Operation::Identify(identify)))
}

/// When somebody or something was created. `created_at` wins, and an empty one hides the other;
/// milliseconds become seconds, a text that is no ISO date stays one.
fn created_at(event: &Event) -> Option<Setting<'_>> {
    let traits = event.traits();
    let given = value_at(traits, &["created_at"])
        .filter(|value| !value.is_null())
        .or_else(|| value_at(traits, &["createdAt"]))?;
    match given {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => match dates::iso_seconds(text) {
            Some(seconds) => {
                creation(Time::from_millis(seconds.saturating_mul(1000))).map(Setting::Seconds)
            }
            None if text.bytes().all(|c| c.is_ascii_digit()) => seconds(given),
            None => Some(Setting::Sent(given)),
        },
        Value::Number(_) => seconds(given),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn seconds(given: &Value) -> Option<Setting<'_>> {
    timestamp::parse(given).and_then(creation).map(Setting::Seconds)
}

/// The anonymous id goes along as an attribute unless it is the identifier: campaigns use it.
fn inject_anonymous_id(attributes: &mut Attributes<'_>, subject: &Subject, who: &Who) {
    if let (Some(anonymous), Who::Person(_)) = (&subject.anonymous, who) {
        attributes.set("anonymous_id", Setting::Text(anonymous.clone().into()));
    }
}

fn object_type(object: Option<&Object>) -> String {
    object_id(value_at(object, &["object_type_id"]))
        .or_else(|| object_id(value_at(object, &["objectTypeId"])))
        .unwrap_or_else(|| "1".into())
}

fn group<'e>(event: &'e Event, subject: &Subject) -> Result<Mapped<'e>, MapError> {
    let id = object_id(event.fields().get("groupId"))
        .ok_or(MapError::Malformed { message: "a group needs a groupId" })?;
    let traits = event.traits();
    let of_object = value_at(traits, &["objectAttributes"]).and_then(Value::as_object);
    let mut attributes = Attributes::of(of_object, Dates::Seconds).without(&["object_type_id"]);
    if let Some(anonymous) = &subject.anonymous {
        attributes.set("anonymous_id", Setting::Text(anonymous.clone().into()));
    }
    let related = subject.who();
    let action = match related {
        Some(Who::Anonymous(_)) => ObjectAction::IdentifyAnonymous,
        _ => ObjectAction::Identify,
    };
    Ok(Mapped::one(Operation::Object(ObjectChange {
        action,
        object: ObjectId { type_id: object_type(traits), id },
        attributes,
        created_at: created_at(event),
        related,
        relationship_attributes: value_at(traits, &["relationshipAttributes"])
            .and_then(Value::as_object)
            .map(|object| Attributes::of(Some(object), Dates::Seconds)),
    })))
}

/// Twelve names are instructions to Customer.io, on track and on nothing else.
fn track<'e>(event: &'e Event, subject: &Subject) -> Result<Mapped<'e>, MapError> {
    let name = name_text(event.fields().get("event"))
        .ok_or(MapError::Malformed { message: "a track event needs a name: event" })?;
    let person = |needed| known(subject, needed);
    let operation = match name.as_ref() {
        "Application Installed" | "Application Opened" => {
            return Ok(device(event, subject).map_or_else(|_| Mapped::nothing(), Mapped::one));
        }
        "Application Uninstalled" => {
            return Ok(forget(event, subject).map_or_else(|_| Mapped::nothing(), Mapped::one));
        }
        "Device Created or Updated" => device(event, subject)?,
        "Device Deleted" => forget(event, subject)?,
        "User Deleted" => Operation::Delete { person: person("User Deleted needs a userId")? },
        "User Suppressed" => {
            Operation::Suppress { person: person("User Suppressed needs a userId")? }
        }
        "User Unsuppressed" => {
            Operation::Unsuppress { person: person("User Unsuppressed needs a userId")? }
        }
        "Relationship Deleted" => {
            let person = person("Relationship Deleted needs a userId")?;
            object_of(event, ObjectAction::DeleteRelationships, Some(person))?
        }
        "Object Deleted" => object_of(event, ObjectAction::Delete, None)?,
        "Report Delivery Event" => metric(event)?,
        "Report Content Event" => content(event, subject)?,
        _ => return behaviour(event, subject, EventKind::Event, name),
    };
    Ok(Mapped::one(operation))
}

fn device<'e>(event: &'e Event, subject: &Subject) -> Result<Operation<'e>, MapError> {
    let person = known(subject, "a device needs a userId")?;
    let token = token(event)?;
    let platform = value_at(event.context(), &["device", "type"])
        .and_then(Value::as_str)
        .filter(|kind| !kind.trim().is_empty())
        .ok_or(MapError::Unmappable { message: "a device needs context.device.type" })?;
    let mut attributes = Attributes::of(event.properties(), Dates::Seconds);
    if let Some(version) = name_text(value_at(event.context(), &["app", "version"])) {
        attributes.set("app_version", Setting::Text(version));
    }
    let platform = Some(platform.to_lowercase());
    let last_used = event.time().at;
    Ok(Operation::AddDevice(Device { person, token, platform, last_used, attributes }))
}

fn forget<'e>(event: &Event, subject: &Subject) -> Result<Operation<'e>, MapError> {
    let person = known(subject, "a device needs a userId")?;
    Ok(Operation::DeleteDevice { person, token: token(event)? })
}

fn token(event: &Event) -> Result<String, MapError> {
    id_at(event.context(), &["device", "token"])
        .ok_or(MapError::Unmappable { message: "a device needs context.device.token" })
}

fn object_of<'e>(
    event: &Event,
    action: ObjectAction,
    person: Option<PersonId>,
) -> Result<Operation<'e>, MapError> {
    let properties = event.properties();
    let id = object_id(value_at(properties, &["objectId"]))
        .ok_or(MapError::Malformed { message: "an object needs properties.objectId" })?;
    Ok(Operation::Object(ObjectChange {
        action,
        object: ObjectId { type_id: object_type(properties), id },
        attributes: Attributes::none(),
        created_at: None,
        related: person.map(Who::Person),
        relationship_attributes: None,
    }))
}

fn metric(event: &Event) -> Result<Operation<'_>, MapError> {
    let property = |name: &str| name_text(value_at(event.properties(), &[name]));
    let delivery_id = property("deliveryId").ok_or(MapError::Malformed {
        message: "Report Delivery Event needs properties.deliveryId",
    })?;
    let metric = property("metric").filter(|metric| METRICS.contains(&metric.as_ref())).ok_or(
        MapError::Malformed {
            message: "Report Delivery Event needs properties.metric: delivered, opened, clicked, \
                      converted, spammed, bounced, dropped or deferred",
        },
    )?;
    let named = |names: &[(&'static str, &str)]| -> Vec<(&'static str, Cow<'_, str>)> {
        names.iter().filter_map(|(name, from)| Some((*name, property(from)?))).collect()
    };
    Ok(Operation::Metric(Metric {
        delivery_id,
        metric,
        timestamp: event.time().at,
        details: named(&[("recipient", "recipient"), ("reason", "reason"), ("href", "href")]),
        metadata: named(&[("action_name", "actionName"), ("action_value", "actionValue")]),
    }))
}

/// Content is reported for the browser, by its anonymous id, whoever is using it; for the person
/// where there is no such id.
fn content<'e>(event: &'e Event, subject: &Subject) -> Result<Operation<'e>, MapError> {
    let action = match value_at(event.properties(), &["actionType"]).and_then(Value::as_str) {
        Some("viewed_content") => "viewed_content",
        Some("clicked_content") => "clicked_content",
        _ => {
            return Err(MapError::Malformed {
                message: "Report Content Event needs properties.actionType: viewed_content or \
                          clicked_content",
            });
        }
    };
    let who = match &subject.anonymous {
        Some(anonymous) => Who::Anonymous(anonymous.clone()),
        None => Who::Person(known(subject, "Report Content Event needs an anonymousId")?),
    };
    let attributes = Attributes::of(event.properties(), Dates::Seconds).without(&["actionType"]);
    Ok(Operation::Content(Content { action, who, timestamp: event.time().at, attributes }))
}

fn behaviour<'e>(
    event: &'e Event,
    subject: &Subject,
    kind: EventKind,
    name: Cow<'e, str>,
) -> Result<Mapped<'e>, MapError> {
    let who = actor(subject)?;
    let mut attributes = Attributes::of(event.properties(), Dates::Seconds);
    inject_anonymous_id(&mut attributes, subject, &who);
    Ok(Mapped::one(Operation::Event(operation::Event {
        kind,
        who,
        name,
        id: event.fingerprint().ulid(),
        timestamp: event.time().at,
        attributes,
    })))
}
