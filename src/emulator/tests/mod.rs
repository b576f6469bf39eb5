//! What the emulator answers and keeps, by topic.

mod api;
mod faults;
mod identity;
mod over_http;
mod robustness;
mod timeline;
mod views;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// A fixed moment: 2026-03-14T12:00:00Z.
pub(in crate::emulator) const NOON: i64 = 1_773_489_600;

/// An emulator with a clock of its own.
pub(in crate::emulator) struct Bench {
    pub(in crate::emulator) emulator: Emulator,
    pub(in crate::emulator) now: Time,
}

impl Bench {
    pub(in crate::emulator) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(in crate::emulator) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        Self { emulator: Emulator::new(settings), now: Time::from_secs(NOON) }
    }

    /// Lets time pass.
    pub(in crate::emulator) fn later(&mut self, by: Duration) -> &mut Self {
        self.now = self.now.plus(by);
        self
    }

    pub(in crate::emulator) fn send(&mut self, method: &str, path: &str, body: &Value) -> Response {
        let request = Request::new(method, path, body.to_string())
            .with_header("Authorization", "Basic c2l0ZTprZXk=");
        self.emulator.handle(&request, self.now)
    }

    /// A call that must be accepted.
    pub(in crate::emulator) fn ok(&mut self, method: &str, path: &str, body: Value) -> &mut Self {
        let response = self.send(method, path, &body);
        assert_eq!(response.status, 200, "{method} {path}: {}", response.body_json());
        self
    }

    /// A v1 identify.
    pub(in crate::emulator) fn put(&mut self, who: &str, body: Value) -> &mut Self {
        self.ok("PUT", &format!("/api/v1/customers/{who}"), body)
    }

    /// One v2 item that must be accepted.
    pub(in crate::emulator) fn item(&mut self, item: Value) -> &mut Self {
        self.ok("POST", "/api/v2/batch", json!({ "batch": [item] }))
    }

    /// A v2 event of a person.
    pub(in crate::emulator) fn event(&mut self, id: &str, name: &str, timestamp: i64) -> &mut Self {
        self.item(json!({"type": "person", "action": "event", "identifiers": {"id": id},
            "name": name, "timestamp": timestamp}))
    }

    /// A v1 event of a visitor.
    pub(in crate::emulator) fn visit(
        &mut self,
        anonymous_id: &str,
        name: &str,
        timestamp: i64,
    ) -> &mut Self {
        let body = json!({"name": name, "anonymous_id": anonymous_id, "timestamp": timestamp});
        self.ok("POST", "/api/v1/events", body)
    }

    pub(in crate::emulator) fn person(&self, who: &str) -> Person {
        self.emulator.person(who).unwrap_or_else(|| panic!("nobody is {who}"))
    }

    /// What the latest operation did, effects included.
    pub(in crate::emulator) fn did(&self) -> Vec<Did> {
        let last = self.emulator.activity().last().map_or(0, |entry| entry.request);
        let entries = self.emulator.activity().filter(|entry| entry.request == last);
        entries.map(|entry| entry.outcome).collect()
    }

    /// The names of a person's events.
    pub(in crate::emulator) fn names(&self, who: &str) -> Vec<String> {
        self.person(who).events.into_iter().map(|event| event.name).collect()
    }

    /// What the log says of the latest event.
    pub(in crate::emulator) fn verdict(&self) -> (bool, TriggerReason) {
        let latest = self.emulator.activity().filter_map(|entry| entry.event.as_ref()).next_back();
        let event = latest.expect("there is no event in the log");
        (event.could_trigger, event.trigger_reason)
    }
}

pub(in crate::emulator) fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

pub(in crate::emulator) fn hours(hours: u64) -> Duration {
    minutes(hours * 60)
}
