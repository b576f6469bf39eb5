//! `ctx`: what a script may know beside the event. It is read on demand, and read only.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{Dynamic, ImmutableString};
use serde_json::Value;

use super::handle::MapHandle;
use crate::clock::Time;
use crate::spec::{Ingress, Object, Vendor};

/// What the pipeline tells the scripts about an event's arrival. Scripts see it as `ctx`, with
/// `vars`, `stage` and `bundle` added.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The kind of the source.
    pub platform: Vendor,
    /// The name of the source.
    pub source: String,
    /// The door through which it came.
    pub ingress: Ingress,
    /// The time now; fixtures freeze it.
    pub now: Time,
    /// When the vendor received the event, or Segue did.
    pub received_at: Time,
    /// How old the event is.
    pub age_seconds: i64,
    /// Whether it is a re-send of old data.
    pub replay: bool,
    /// Why it counts as one.
    pub replay_reason: Option<String>,
    /// How often it was processed before.
    pub attempt: u32,
    /// The request headers that scripts may see.
    pub headers: BTreeMap<String, String>,
    /// The client's address.
    pub ip: Option<String>,
}

/// The names of everything in `ctx`.
pub(crate) const NAMES: [&str; 14] = [
    "platform",
    "source",
    "ingress",
    "now",
    "received_at",
    "age_seconds",
    "replay",
    "replay_reason",
    "attempt",
    "headers",
    "ip",
    "vars",
    "stage",
    "bundle",
];

/// `ctx` in a script.
#[derive(Clone)]
pub(crate) struct ScriptContext(Rc<Inner>);

struct Inner {
    context: Rc<Context>,
    vars: MapHandle,
    stage: ImmutableString,
    bundle: ImmutableString,
    whole: OnceCell<MapHandle>,
}

impl ScriptContext {
    pub(crate) fn new(
        context: Rc<Context>,
        vars: MapHandle,
        stage: ImmutableString,
        bundle: ImmutableString,
    ) -> Self {
        Self(Rc::new(Inner { context, vars, stage, bundle, whole: OnceCell::new() }))
    }

    /// The context in a script's value.
    pub(crate) fn of(value: &Dynamic) -> Option<Self> {
        value.read_lock::<Self>().map(|context| context.clone())
    }

    /// Reads one entry; `()` when there is none.
    pub(crate) fn get(&self, name: &str) -> Dynamic {
        let context = &self.0.context;
        match name {
            "platform" => context.platform.as_str().into(),
            "source" => context.source.as_str().into(),
            "ingress" => ingress(context.ingress).into(),
            "now" => context.now.to_string().into(),
            "received_at" => context.received_at.to_string().into(),
            "age_seconds" => context.age_seconds.into(),
            "replay" => context.replay.into(),
            "replay_reason" => optional(context.replay_reason.as_deref()),
            "attempt" => i64::from(context.attempt).into(),
            "ip" => optional(context.ip.as_deref()),
            "vars" => Dynamic::from(self.0.vars.clone()),
            "stage" => self.0.stage.clone().into(),
            "bundle" => self.0.bundle.clone().into(),
            _ => self.as_map().get(name),
        }
    }

    /// All of it as a map that cannot be changed.
    pub(crate) fn as_map(&self) -> MapHandle {
        self.0.whole.get_or_init(|| MapHandle::new(self.fields(), 0, true)).clone()
    }

    fn fields(&self) -> Object {
        let mut fields = Object::new();
        for name in NAMES {
            let value = match name {
                "vars" => Value::Object(self.0.vars.copy()),
                "headers" => self
                    .0
                    .context
                    .headers
                    .iter()
                    .map(|(name, value)| (name.clone(), Value::String(value.clone())))
                    .collect::<Object>()
                    .into(),
                "age_seconds" => self.0.context.age_seconds.into(),
                "attempt" => self.0.context.attempt.into(),
                "replay" => self.0.context.replay.into(),
                text => match self.get(text).into_immutable_string() {
                    Ok(text) => Value::String(text.to_string()),
                    Err(_) => Value::Null,
                },
            };
            fields.insert(name.into(), value);
        }
        fields
    }
}

fn optional(text: Option<&str>) -> Dynamic {
    text.map_or(Dynamic::UNIT, Into::into)
}

fn ingress(ingress: Ingress) -> &'static str {
    match ingress {
        Ingress::Api => "api",
        Ingress::Webhook => "webhook",
    }
}
