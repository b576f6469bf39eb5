//! The event ids that were seen, for as long and as many as the settings say.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::Context;
use crate::clock::Time;
use crate::emulator::parse::as_ulid;
use crate::emulator::settings::Dedupe;

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Key {
    Ulid(u128),
    Text(Box<str>),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    first: HashMap<Key, Time>,
    order: VecDeque<Key>,
}

impl Seen {
    /// Whether this id came before.
    pub(super) fn knows(&self, id: &str, cx: Context<'_>) -> bool {
        let window =
            cx.settings.dedupe_hours.map(|hours| Duration::from_secs(hours.saturating_mul(3600)));
        key(id, cx)
            .and_then(|key| self.first.get(&key))
            .is_some_and(|at| window.is_none_or(|window| cx.now <= at.plus(window)))
    }

    /// Remembers an id.
    pub(super) fn remember(&mut self, id: &str, cx: Context<'_>) {
        let Some(key) = key(id, cx) else { return };
        if self.first.insert(key.clone(), cx.now).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > cx.settings.history.event_ids {
            if let Some(oldest) = self.order.pop_front() {
                self.first.remove(&oldest);
            }
        }
    }
}

/// What is compared: the 128 bits of a ULID; any other text only if the settings say so.
fn key(id: &str, cx: Context<'_>) -> Option<Key> {
    match as_ulid(id) {
        Some(bits) => Some(Key::Ulid(bits)),
        None => (cx.settings.dedupe == Dedupe::Any).then(|| Key::Text(id.into())),
    }
}
