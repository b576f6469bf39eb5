//! Who is held: anonymous events that wait for their person, by their anonymous ids.
//!
//! Not here: whether an event is held ([`crate::pipeline`]), and that it leaves by itself after a while,
//! which is the journal's due time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::journal::Seq;

/// So many events are held at most; what comes beyond is sent as if nothing were held.
const MOST: usize = 100_000;

/// What marks, in the journal, that an event is held for an anonymous id and holds up nobody.
const MARK: &str = "held:";

/// The events that are held.
#[derive(Debug, Default)]
pub(super) struct Hold {
    of: HashMap<Arc<str>, BTreeSet<Seq>>,
    ids: HashMap<Seq, Vec<Arc<str>>>,
}

/// The name under which the journal remembers that an event is held for an anonymous id.
pub(in crate::relay) fn key_of(anonymous: &str) -> String {
    format!("{MARK}{anonymous}")
}

impl Hold {
    /// Whether one more can be held.
    pub(super) fn has_room(&self) -> bool {
        self.ids.len() < MOST
    }

    /// Notes that an event is held, where the journal's `key` says so; answers whether it does.
    pub(super) fn note(&mut self, key: &str, seq: Seq) -> bool {
        let Some(anonymous) = key.strip_prefix(MARK) else { return false };
        let anonymous: Arc<str> = anonymous.into();
        self.of.entry(Arc::clone(&anonymous)).or_default().insert(seq);
        self.ids.entry(seq).or_default().push(anonymous);
        true
    }

    /// Notes that an event is not held any more.
    pub(super) fn let_go(&mut self, seq: Seq) {
        for anonymous in self.ids.remove(&seq).into_iter().flatten() {
            if let Some(held) = self.of.get_mut(&anonymous) {
                held.remove(&seq);
                if held.is_empty() {
                    self.of.remove(&anonymous);
                }
            }
        }
    }

    /// Lets all events of an anonymous id go; answers which, in order.
    pub(super) fn release(&mut self, anonymous: &str) -> Vec<Seq> {
        let released: Vec<Seq> = self.of.remove(anonymous).into_iter().flatten().collect();
        for seq in &released {
            self.let_go(*seq);
        }
        released
    }
}
