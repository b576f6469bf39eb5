//! Scripts as teams write them, run as the pipeline runs them.

#![allow(clippy::too_many_lines, clippy::type_complexity)]

mod contract;
mod corpus;
mod hostile;
mod mistakes;
mod shipped;
mod speed;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::clock::Time;
use crate::spec::{Arrival, Event, Ingress, RawCall, Vendor, normalise};

/// An event as it comes out of `spec`.
pub(super) fn event(body: &Value) -> Event {
    let accepted_at = Time::parse("2026-01-15T12:00:00Z").unwrap();
    let arrival = Arrival {
        source: "web".into(),
        ingress: Ingress::Webhook,
        accepted_at,
        ..Arrival::default()
    };
    let mut call = RawCall::new(arrival, Bytes::from(body.to_string()));
    normalise(&mut call, Vendor::Segment).unwrap()
}

/// A track with these properties.
pub(super) fn track(name: &str, properties: Value) -> Event {
    event(&json!({"type": "track", "event": name, "messageId": "m1", "userId": "u1",
        "timestamp": "2026-01-15T11:59:00Z", "properties": properties}))
}

pub(super) fn context() -> Context {
    Context {
        source: "web".into(),
        ingress: Ingress::Webhook,
        now: Time::parse("2026-01-15T12:00:00Z").unwrap(),
        received_at: Time::parse("2026-01-15T12:00:00Z").unwrap(),
        age_seconds: 60,
        ..Context::default()
    }
}

pub(super) fn bundle_of(files: &[(&str, &str)]) -> Result<Bundle, Vec<Diagnostic>> {
    let files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(path, text)| ((*path).into(), text.as_bytes().to_vec())).collect();
    Bundle::from_files(files)
}

pub(super) fn runner(files: &[(&str, &str)]) -> Runner {
    match bundle_of(files) {
        Ok(bundle) => Runner::new(Arc::new(bundle)),
        Err(findings) => {
            let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
            panic!("{}", texts.join("\n"));
        }
    }
}

/// Runs one script of one stage on one event.
pub(super) fn run(script: &str, event: Event) -> Made {
    runner(&[("10_test.rhai", script)]).run(event, &context())
}

/// The body of `on_track`, run on a track with these properties.
pub(super) fn run_body(body: &str, properties: Value) -> Made {
    run(&format!("fn on_track(event, ctx) {{\n{body}\n}}"), track("Test Event", properties))
}

/// The events that came out; a test that expects events fails otherwise.
pub(super) fn events(made: Made) -> Vec<Scripted> {
    match made {
        Made::Events(events) => events,
        Made::Dropped { stage, reason } => panic!("dropped by {stage}: {reason}"),
        Made::Failed(error) => panic!("{error}\n{:?}", error.source_line),
    }
}

/// The properties of the one event that came out.
pub(super) fn properties(made: Made) -> Value {
    let events = events(made);
    assert_eq!(events.len(), 1);
    Value::Object(events[0].event.properties().cloned().unwrap_or_default())
}

pub(super) fn failure(made: Made) -> ScriptError {
    match made {
        Made::Failed(error) => error,
        other => panic!("expected a failure, not {other:?}"),
    }
}
