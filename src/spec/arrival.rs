//! What is known about how a call came in. It is decided once, at the door, and stored with the call.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::mend::mend;
use super::{Call, Fingerprint, Object, Sketch};
use crate::clock::Time;

/// The door through which a call came.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ingress {
    /// The Segment / RudderStack HTTP API: the client is the source itself.
    #[default]
    Api,
    /// A webhook destination: the vendor is the client, and its `receivedAt` is believed.
    Webhook,
}

/// The class of traffic: what waits for what.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Traffic {
    /// Goes first.
    Live,
    /// Uses what live traffic leaves.
    Backfill,
}

impl Traffic {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Backfill => "backfill",
        }
    }
}

/// Why a call counts as a re-send of old data. Fixed at acceptance: time spent inside Segue never
/// makes a replay.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// Somebody said so: the URL, a header, `context.replay`, a configured path.
    Flagged {
        /// The name of the run, where one was given.
        label: Option<String>,
    },
    /// The vendor received it long ago.
    ReceivedAge,
}

/// How a call came in.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Arrival {
    /// The configured source, by name.
    pub source: String,
    /// The door.
    pub ingress: Ingress,
    /// The type that the path says (`/v1/track`); `None` where the body says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// When Segue accepted it.
    pub accepted_at: Time,
    /// Whether it is a re-send of old data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// Whether a secret (not a public write key) vouches for this very element.
    #[serde(default)]
    pub trusted: bool,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The request headers that scripts may see, names in lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What the batch says for all of its elements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Arc<BatchDefaults>>,
}

impl Arrival {
    /// The class of traffic.
    pub fn traffic(&self) -> Traffic {
        if self.replay.is_some() { Traffic::Backfill } else { Traffic::Live }
    }

    /// The name of the run that this call belongs to; empty for ordinary traffic.
    pub fn label(&self) -> &str {
        match &self.replay {
            Some(Replay::Flagged { label: Some(label) }) => label,
            _ => "",
        }
    }
}

/// The fields of a batch beside its elements.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct BatchDefaults {
    /// When the client sent the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Value>,
    /// Context for every element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Object>,
    /// Integrations for every element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrations: Option<Object>,
}

impl BatchDefaults {
    /// Whether the batch says nothing.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Gives an element what the batch says and the element does not (Segment's rule).
    pub(super) fn merge_into(&self, fields: &mut Object) {
        if let Some(sent_at) = &self.sent_at
            && matches!(fields.get("sentAt"), None | Some(Value::Null))
        {
            fields.insert("sentAt".into(), sent_at.clone());
        }
        for (name, defaults) in [("context", &self.context), ("integrations", &self.integrations)] {
            let Some(defaults) = defaults else { continue };
            match fields.get_mut(name) {
                None | Some(Value::Null) => {
                    fields.insert(name.into(), Value::Object(defaults.clone()));
                }
                Some(Value::Object(own)) => merge(own, defaults),
                Some(_) => {}
            }
        }
    }
}

/// Deep merge; what is there wins.
fn merge(own: &mut Object, defaults: &Object) {
    for (key, value) in defaults {
        match (own.get_mut(key), value) {
            (None, _) => {
                own.insert(key.clone(), value.clone());
            }
            (Some(Value::Object(inner)), Value::Object(more)) => merge(inner, more),
            _ => {}
        }
    }
}

/// One element as it was sent, with how it came in.
#[derive(Clone, Debug, PartialEq)]
pub struct RawCall {
    /// How it came in; shared by the elements of a batch of which the same is to be said.
    pub arrival: Arc<Arrival>,
    /// The element's bytes, exactly as received.
    pub body: Bytes,
    fields: Option<Result<Object, String>>,
    fingerprint: Option<Fingerprint>,
}

impl RawCall {
    /// A larger call, in bytes, is never read: a tree of it takes forty times its size. Far beyond what
    /// is sent on purpose: Segment allows 32 KB, RudderStack some hundred.
    pub const MAX_BYTES: usize = 1 << 20;

    /// A call from its bytes. They are parsed when somebody asks, and once.
    pub fn new(arrival: impl Into<Arc<Arrival>>, body: Bytes) -> Self {
        Self { arrival: arrival.into(), body, fields: None, fingerprint: None }
    }

    /// A call of which it is known already what identifies it.
    pub fn known(arrival: Arc<Arrival>, body: Bytes, fingerprint: Fingerprint) -> Self {
        Self { arrival, body, fields: None, fingerprint: Some(fingerprint) }
    }

    /// Keeps nothing but a copy of its own bytes: a part of a request's body keeps all of that in memory,
    /// however little of it is events.
    pub fn stand_alone(&mut self) {
        self.body = Bytes::copy_from_slice(&self.body);
        self.fields = None;
    }

    /// Reads the body of a call as far as the door needs it, and hands that on; `None` where it is no
    /// JSON or too large.
    pub fn sketch<R>(body: &[u8], then: impl FnOnce(Option<&Sketch<'_>>) -> R) -> R {
        if body.len() > Self::MAX_BYTES { then(None) } else { Sketch::read(body, then) }
    }

    /// What identifies this call.
    pub fn fingerprint(&mut self) -> Fingerprint {
        let find_out = || {
            Self::sketch(&self.body, |sketch| Fingerprint::of(&self.arrival, &self.body, sketch))
        };
        *self.fingerprint.get_or_insert_with(find_out)
    }

    /// The fields, where the bytes are a JSON object.
    pub fn fields(&mut self) -> Option<&Object> {
        self.parse();
        self.fields.as_ref().and_then(|fields| fields.as_ref().ok())
    }

    /// Takes the fields out; a later call parses the bytes again.
    pub(super) fn take_fields(&mut self) -> Result<Object, String> {
        self.parse();
        self.fields.take().unwrap_or_else(|| Err("it is empty".into()))
    }

    fn parse(&mut self) {
        if self.fields.is_none() {
            self.fields = Some(parse(&self.body));
        }
    }
}

/// Messages carry positions, never content.
fn parse(body: &[u8]) -> Result<Object, String> {
    if body.len() > RawCall::MAX_BYTES {
        return Err(format!(
            "it has {} bytes and may have {}: send less in one event",
            body.len(),
            RawCall::MAX_BYTES
        ));
    }
    let read = serde_json::from_slice::<Value>(body);
    let read = match (read, mend(body)) {
        (Err(_), Some(mended)) => serde_json::from_slice(&mended),
        (read, _) => read,
    };
    match read {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(format!("it is {}, not an object", super::json_kind(&other))),
        Err(error) => Err(match error.to_string() {
            deep if deep.starts_with("recursion limit exceeded") => {
                "it is nested more than 128 levels deep".into()
            }
            problem => problem,
        }),
    }
}
