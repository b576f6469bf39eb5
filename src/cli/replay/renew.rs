//! What is done to recorded events before they are planned or sent: chosen by their people, or made new
//! for a rehearsal.
//!
//! A rehearsal moves all times by one span, so that the newest is now and the gaps stay, and gives
//! people, messages, orders and devices names of their own: nothing of it meets what the workspace
//! holds already. Products and the like keep their ids, which catalogues know.
//!
//! Not here: what the events become ([`super::plan`]).

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::people::People;
use crate::clock::Time;
use crate::destination::customerio::PersonId;
use crate::fixture::bodies::Body;
use crate::journal::sqlite::Base;
use crate::spec::{Object, names, timestamp};

/// The time fields of an event and of a batch.
const TIMES: [&str; 4] = ["timestamp", "originalTimestamp", "sentAt", "receivedAt"];
/// The ids of an event.
const IDS: [&str; 5] = ["messageId", "userId", "anonymousId", "previousId", "groupId"];
/// What properties ending in `id` name that exists once for everybody.
const SHARED: [&str; 12] = [
    "product",
    "variant",
    "item",
    "sku",
    "category",
    "collection",
    "list",
    "promotion",
    "coupon",
    "store",
    "campaign",
    "template",
];

/// What is done to every body.
#[derive(Debug, Default)]
pub(super) struct Preparation {
    people: Option<People>,
    existing_only: bool,
    renewal: Option<Renewal>,
}

/// How times and ids become new.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Renewal {
    run: String,
    by: i64,
}

impl Renewal {
    /// A rehearsal of the name `run` in which `newest` is `now`.
    pub(super) fn new(run: &str, newest: Time, now: Time) -> Self {
        Self { run: run.to_owned(), by: now.millis_since(newest) }
    }
}

impl Preparation {
    /// The journal that the plan is laid over.
    pub(super) fn journal(&self) -> Option<Arc<Base>> {
        self.people.as_ref().and_then(People::journal).cloned()
    }

    /// The people whom the workspace has, where that is known.
    pub(super) fn people(&self) -> Option<&People> {
        self.people.as_ref()
    }

    /// With `existing_only` nothing of people outside of `people` passes.
    pub(super) fn new(
        people: Option<People>,
        existing_only: bool,
        renewal: Option<Renewal>,
    ) -> Self {
        Self { people, existing_only, renewal }
    }

    /// What of a body is planned or sent; `None`: nothing.
    ///
    /// # Errors
    /// Whether somebody is known cannot be found out.
    pub(super) fn apply(&self, body: Body) -> anyhow::Result<Option<Body>> {
        if !self.existing_only && self.renewal.is_none() {
            return Ok(Some(body));
        }
        // What is no JSON is for the door to refuse.
        let Ok(mut value) = serde_json::from_slice::<Value>(&body.bytes) else {
            return Ok(Some(body));
        };
        let is_left = self.change(&mut value)?;
        Ok(is_left.then(|| Body { bytes: Bytes::from(value.to_string()), ..body }))
    }

    /// Changes a body; says whether anything is left of it.
    fn change(&self, value: &mut Value) -> anyhow::Result<bool> {
        match value {
            Value::Array(events) => self.change_all(events),
            Value::Object(fields) => match fields.get_mut("batch") {
                Some(Value::Array(events)) => {
                    let any = self.change_all(events)?;
                    self.move_times(fields);
                    Ok(any)
                }
                _ => match fields.get_mut("json") {
                    Some(event @ Value::Object(_)) => self.change(event),
                    _ => self.change_event(fields),
                },
            },
            _ => Ok(true),
        }
    }

    fn change_all(&self, events: &mut Vec<Value>) -> anyhow::Result<bool> {
        let mut left = Vec::with_capacity(events.len());
        for mut event in std::mem::take(events) {
            if self.change(&mut event)? {
                left.push(event);
            }
        }
        *events = left;
        Ok(!events.is_empty())
    }

    fn change_event(&self, event: &mut Object) -> anyhow::Result<bool> {
        if self.existing_only && !self.is_known(event)? {
            return Ok(false);
        }
        if let Some(renewal) = &self.renewal {
            self.move_times(event);
            renewal.rename(event);
        }
        Ok(true)
    }

    fn move_times(&self, fields: &mut Object) {
        let Some(Renewal { by, .. }) = &self.renewal else { return };
        for name in TIMES {
            if let Some(field) = fields.get_mut(name)
                && let Some(at) = timestamp::parse(field)
            {
                let moved = Time::from_millis(at.millis().saturating_add(*by));
                *field = Value::String(moved.to_string());
            }
        }
    }

    fn is_known(&self, event: &Object) -> anyhow::Result<bool> {
        let Some(people) = &self.people else { return Ok(true) };
        let field = |holder: &Object, name: &str| holder.get(name).and_then(id_text);
        let email = |holder: &str| field(event.get(holder)?.as_object()?, "email");
        let of_context = || field(event.get("context")?.get("traits")?.as_object()?, "email");
        let person = field(event, "userId")
            .or_else(|| email("traits"))
            .or_else(of_context)
            .or_else(|| email("properties"));
        match (person, field(event, "anonymousId")) {
            (Some(person), _) => people.have(&PersonId::from_text(&person)),
            (None, Some(anonymous)) => people.have_visitor(&anonymous),
            (None, None) => Ok(false),
        }
    }
}

impl Renewal {
    fn rename(&self, event: &mut Object) {
        for name in IDS {
            self.rename_field(event, name);
        }
        for holder in ["traits", "properties"] {
            if let Some(Value::Object(fields)) = event.get_mut(holder) {
                self.rename_within(fields);
            }
        }
        if let Some(Value::Object(context)) = event.get_mut("context") {
            if let Some(Value::Object(traits)) = context.get_mut("traits") {
                self.rename_within(traits);
            }
            if let Some(Value::Object(device)) = context.get_mut("device") {
                self.rename_field(device, "token");
                self.rename_field(device, "id");
            }
        }
    }

    fn rename_within(&self, fields: &mut Object) {
        let names: Vec<String> = fields.keys().filter(|name| is_own_id(name)).cloned().collect();
        for name in names {
            self.rename_field(fields, &name);
        }
    }

    fn rename_field(&self, fields: &mut Object, name: &str) {
        if let Some(field) = fields.get_mut(name)
            && let Some(id) = id_text(field)
        {
            *field = Value::String(self.named(&id));
        }
    }

    /// An address goes on reaching its owner: `ann+run@example.com`.
    fn named(&self, id: &str) -> String {
        let run = &self.run;
        match id.split_once('@') {
            Some((local, domain)) => format!("{local}+{run}@{domain}"),
            None => format!("{run}-{id}"),
        }
    }
}

/// The newest of the times in a body.
pub(super) fn newest(body: &Body) -> Option<Time> {
    fn within(value: &Value) -> Option<Time> {
        match value {
            Value::Array(events) => events.iter().filter_map(within).max(),
            Value::Object(fields) => {
                let own = TIMES.iter().filter_map(|name| timestamp::parse(fields.get(*name)?));
                let below = ["batch", "json"].iter().filter_map(|name| within(fields.get(*name)?));
                own.chain(below).max()
            }
            _ => None,
        }
    }
    within(&serde_json::from_slice(&body.bytes).ok()?)
}

fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether a property names something that belongs to one person: an order, a cart, an address.
fn is_own_id(name: &str) -> bool {
    let key = names::key(name);
    match key.strip_suffix("_id").or_else(|| key.strip_suffix("_number")) {
        Some(of) => {
            !SHARED.iter().any(|shared| of == *shared || of.ends_with(&format!("_{shared}")))
        }
        None => matches!(key.as_str(), "id" | "email"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    fn body(value: &Value) -> Body {
        Body { bytes: value.to_string().into(), line: 1 }
    }

    fn read(body: Body) -> Value {
        serde_json::from_slice(&body.bytes).unwrap()
    }

    #[test]
    fn a_rehearsal_is_now_and_nobody_whom_the_workspace_knows() {
        let event = json!({"type": "track", "messageId": "m", "userId": 7, "anonymousId": "a",
            "timestamp": "2026-01-01T10:00:00Z", "receivedAt": "2026-01-01T10:00:01.500Z",
            "context": {"device": {"token": "t"}, "traits": {"email": "Ann@example.com"}},
            "properties": {"orderId": 12, "cart_id": "c", "product_id": "p", "total": 49.00, "products": [{"id": "s"}]}});
        let newest = newest(&body(&json!([{"json": event}]))).unwrap();
        assert_eq!(newest, at("2026-01-01T10:00:01.500Z"));
        let renewal = Renewal::new("r1", newest, at("2026-03-01T00:00:00Z"));
        let preparation = Preparation::new(None, false, Some(renewal));
        let made = read(
            preparation
                .apply(body(&json!({"batch": [event], "sentAt": "2026-01-01T10:00:00Z"})))
                .unwrap()
                .unwrap(),
        );
        assert_eq!(
            made,
            json!({"batch": [{"type": "track", "messageId": "r1-m", "userId": "r1-7", "anonymousId": "r1-a",
            "timestamp": "2026-02-28T23:59:58.500Z", "receivedAt": "2026-03-01T00:00:00.000Z",
            "context": {"device": {"token": "r1-t"}, "traits": {"email": "Ann+r1@example.com"}},
            "properties": {"orderId": "r1-12", "cart_id": "r1-c", "product_id": "p", "total": 49.00, "products": [{"id": "s"}]}}],
            "sentAt": "2026-02-28T23:59:58.500Z"})
        );
    }

    #[test]
    fn only_those_whom_the_workspace_has_pass() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("people.csv");
        std::fs::write(&file, "id,email\nu1,x@example.com\n\"ann@example.com\"\n").unwrap();
        let preparation =
            Preparation::new(People::of(Some(&file), None, Time::default()).unwrap(), true, None);
        let table = [
            ("a known id", json!({"userId": "u1"}), true),
            ("a known address", json!({"traits": {"email": "Ann@Example.com"}}), true),
            ("somebody else", json!({"userId": "u2"}), false),
            ("a visitor", json!({"anonymousId": "a"}), false),
            ("no event", json!("x"), true),
        ];
        for (what, event, passes) in table {
            assert_eq!(preparation.apply(body(&event)).unwrap().is_some(), passes, "{what}");
        }
        let batch = json!({"batch": [{"userId": "u1"}, {"userId": "u2"}]});
        assert_eq!(
            read(preparation.apply(body(&batch)).unwrap().unwrap()),
            json!({"batch": [{"userId": "u1"}]})
        );
    }
}
