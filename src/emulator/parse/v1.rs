//! Track v1: the identifier is in the path, attributes are flat, an event's payload is `data`.

use serde_json::Value;

use super::fields::{Fields, object_in};
use super::parts::{
    EMAIL, ID, device_call, event_id, event_name, merge_side, object_relationships, one_identifier,
    person_attributes,
};
use super::{Problem, limits};
use crate::emulator::message::Request;
use crate::emulator::operation::{
    EventCall, EventKind, Identifier, Identify, Item, Note, Operation,
};
use crate::emulator::routes::{self, Route};
use crate::emulator::settings::Settings;
use crate::spec::Object;

/// What a delivery metric may be called; which of them a channel knows depends on the delivery.
const METRICS: [&str; 8] =
    ["bounced", "clicked", "converted", "deferred", "delivered", "dropped", "opened", "spammed"];

/// What the older push endpoint calls a metric.
const PUSH_METRICS: [&str; 3] = ["opened", "converted", "delivered"];

/// Keys of a form that Customer.io sets itself.
const FORM_KEYS: [&str; 5] = ["form_id", "form_name", "form_type", "form_url", "form_url_param"];

/// Reads a v1 call.
pub(super) fn read(route: &Route, request: &Request, settings: &Settings) -> Result<Item, Problem> {
    let mut notes = Vec::new();
    let body = || body_object(request);
    let operation = match route {
        Route::Identify(who) => Operation::Identify(identify(who, body()?, &mut notes)?),
        Route::Event(who) => {
            Operation::Event(event(Some(path_id(who)?), body()?, settings, &mut notes)?)
        }
        Route::AnonymousEvent => {
            let mut body = body()?;
            let anonymous_id = Fields::new(&mut body, "").text("anonymous_id")?;
            let who = anonymous_id.filter(|id| !id.is_empty()).map(Identifier::AnonymousId);
            if let Some(who) = &who {
                limits::id("anonymous_id", who.text())?;
            }
            Operation::Event(event(who, body, settings, &mut notes)?)
        }
        Route::AddDevice(who) => {
            let who = path_id(who)?;
            let device = Fields::new(&mut body()?, "").required_object("device")?;
            Operation::AddDevice { who, device: device_call(device, "id", settings, &mut notes)? }
        }
        Route::DeleteDevice(who, token) => {
            Operation::DeleteDevice { who: path_id(who)?, token: token.clone() }
        }
        Route::Delete(who) => Operation::Delete(path_id(who)?),
        Route::Suppress(who) => Operation::Suppress(path_id(who)?),
        Route::Unsuppress(who) => Operation::Unsuppress(path_id(who)?),
        Route::Merge => merge(body()?)?,
        Route::Metrics => metric(body()?, &mut notes)?,
        Route::PushEvents => push_metric(body()?, &mut notes)?,
        Route::Form(form_id) => form(form_id, body()?)?,
        Route::Segment { remove } => segment(*remove, &request.path, body()?)?,
        Route::Region | Route::Entity | Route::Batch | Route::View(_) => {
            return Err(Problem::invalid("", "is no call of Track v1"));
        }
    };
    Ok(Item { operation, notes })
}

fn body_object(request: &Request) -> Result<Object, Problem> {
    if request.body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Object::new());
    }
    match serde_json::from_slice::<Value>(&request.body) {
        Ok(value) => object_in(value, ""),
        Err(error) => Err(Problem::unreadable(&error)),
    }
}

fn path_id(text: &str) -> Result<Identifier, Problem> {
    limits::id("identifier", text)?;
    Ok(Identifier::by_shape(text))
}

fn identify(who: &str, mut body: Object, notes: &mut Vec<Note>) -> Result<Identify, Problem> {
    let who = path_id(who)?;
    let mut fields = Fields::new(&mut body, "");
    let timestamp = fields.seconds("_timestamp", notes)?;
    let update_only = fields.boolean("_update")?.unwrap_or(false);
    let mut relationships = Vec::new();
    let mut remove_relationships = false;
    if let Some(mut given) = fields.object("cio_relationships")? {
        let mut given = Fields::new(&mut given, "cio_relationships");
        remove_relationships = match given.required_text("action")?.as_str() {
            "add_relationships" => false,
            "delete_relationships" => true,
            _ => {
                let path = given.path("action");
                return Err(Problem::invalid(
                    path,
                    "must be add_relationships or delete_relationships",
                ));
            }
        };
        let list = given.array("relationships")?;
        let list = list.ok_or_else(|| Problem::required(given.path("relationships")))?;
        relationships = object_relationships(list, "cio_relationships.relationships")?;
    }
    for name in ["_timestamp", "_update", "cio_relationships"] {
        body.shift_remove(name);
    }
    let (claims, anonymous_id) = person_attributes(&mut body, "", notes)?;
    Ok(Identify {
        who,
        claims,
        anonymous_id,
        attributes: body,
        timestamp,
        update_only,
        relationships,
        remove_relationships,
    })
}

fn event(
    who: Option<Identifier>,
    mut body: Object,
    settings: &Settings,
    notes: &mut Vec<Note>,
) -> Result<EventCall, Problem> {
    let mut fields = Fields::new(&mut body, "");
    let kind = match fields.text("type")? {
        None => EventKind::Event,
        Some(name) => EventKind::from_name(&name)
            .ok_or_else(|| Problem::invalid("type", "must be event, page or screen"))?,
    };
    let name = event_name(&mut fields, kind)?;
    let id = event_id(&mut fields, settings, notes)?;
    let timestamp = fields.seconds("timestamp", notes)?;
    let data = fields.object("data")?.unwrap_or_default();
    limits::event_data("data", &data)?;
    Ok(EventCall { who, kind, name, id, timestamp, data })
}

fn merge(mut body: Object) -> Result<Operation, Problem> {
    let mut fields = Fields::new(&mut body, "");
    let primary = merge_side(fields.required_object("primary")?, "primary")?;
    let secondary = merge_side(fields.required_object("secondary")?, "secondary")?;
    Ok(Operation::Merge { primary, secondary })
}

fn metric(mut body: Object, notes: &mut Vec<Note>) -> Result<Operation, Problem> {
    let mut fields = Fields::new(&mut body, "");
    let delivery_id = fields.required_text("delivery_id")?;
    let metric = fields.required_text("metric")?;
    if !METRICS.contains(&metric.as_str()) {
        return Err(Problem::invalid("metric", "must be one of the published metrics"));
    }
    fields.seconds("timestamp", notes)?;
    for name in ["recipient", "reason", "href"] {
        fields.text(name)?;
    }
    Ok(Operation::Metric { delivery_id, metric })
}

fn push_metric(mut body: Object, notes: &mut Vec<Note>) -> Result<Operation, Problem> {
    let mut fields = Fields::new(&mut body, "");
    let delivery_id = fields.required_text("delivery_id")?;
    let metric = fields.required_text("event")?;
    if !PUSH_METRICS.contains(&metric.as_str()) {
        return Err(Problem::invalid("event", "must be opened, converted or delivered"));
    }
    fields.required_text("device_id")?;
    fields.seconds("timestamp", notes)?;
    Ok(Operation::Metric { delivery_id, metric })
}

fn form(form_id: &str, mut body: Object) -> Result<Operation, Problem> {
    let mut data = Fields::new(&mut body, "").required_object("data")?;
    if let Some(name) = data.iter().find(|(_, value)| !value.is_string()).map(|(name, _)| name) {
        return Err(Problem::invalid(format!("data.{name}"), "must be a string"));
    }
    let mut named = Object::new();
    for name in ["id", "email"] {
        if let Some(value) = data.shift_remove(name) {
            named.insert(name.into(), value);
        }
    }
    let who = one_identifier(&mut named, "data", &[ID, EMAIL])?;
    for name in FORM_KEYS {
        data.shift_remove(name);
    }
    limits::attributes("data", &data)?;
    let person = Identify {
        who,
        claims: Vec::new(),
        anonymous_id: None,
        attributes: data,
        timestamp: None,
        update_only: false,
        relationships: Vec::new(),
        remove_relationships: false,
    };
    Ok(Operation::Form { form_id: form_id.into(), person })
}

fn segment(remove: bool, path: &str, mut body: Object) -> Result<Operation, Problem> {
    let id_type = routes::query(path, "id_type").unwrap_or_else(|| "id".into());
    if !matches!(id_type.as_str(), "id" | "email" | "cio_id") {
        return Err(Problem::invalid("id_type", "must be id, email or cio_id"));
    }
    let mut fields = Fields::new(&mut body, "");
    let ids = fields.array("ids")?.ok_or_else(|| Problem::required("ids"))?;
    if ids.is_empty() || ids.len() > limits::SEGMENT_IDS {
        let message = format!("must have between 1 and {} entries", limits::SEGMENT_IDS);
        return Err(Problem::invalid("ids", message));
    }
    if let Some(place) = ids.iter().position(|id| !id.is_string()) {
        return Err(Problem::invalid(format!("ids.{place}"), "must be a string"));
    }
    Ok(Operation::Segment { people: ids.len(), remove })
}
