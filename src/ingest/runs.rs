//! The names of replays: every one of them becomes counters that are kept for good, and whoever has a
//! public write key can name one. So there is an end to them; what comes after shares one name.
//!
//! Not here: what a replay is ([`crate::guard::replay`]).

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::journal::Total;
use crate::spec::Replay;

/// So many replays have a name of their own.
const NAMES: usize = 1000;
/// What all others are called.
const OTHERS: &str = "others";

/// The names that were seen, over restarts.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<HashSet<String>>);

impl Runs {
    /// The names that the journal counts by.
    pub(super) fn of(totals: Vec<Total>) -> Self {
        Self(Mutex::new(totals.into_iter().map(|total| total.label).collect()))
    }

    /// The replay under the name by which it is counted.
    pub(super) fn counted(&self, replay: Option<Replay>) -> Option<Replay> {
        let Some(Replay::Flagged { label: Some(label) }) = replay else { return replay };
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let label = if names.contains(&label) {
            label
        } else if names.len() < NAMES {
            names.insert(label.clone());
            label
        } else {
            OTHERS.to_owned()
        };
        Some(Replay::Flagged { label: Some(label) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Option<Replay> {
        Some(Replay::Flagged { label: Some(name.into()) })
    }

    #[test]
    fn names_of_replays_have_an_end_and_known_ones_stay() {
        let total = Total {
            source: "web".into(),
            label: "june".into(),
            outcome: "accepted".into(),
            reason: String::new(),
            count: 1,
        };
        let runs = Runs::of(vec![total]);
        for number in 1..NAMES {
            let name = number.to_string();
            assert_eq!(runs.counted(named(&name)), named(&name));
        }
        assert_eq!(runs.counted(named("one more")), named(OTHERS));
        assert_eq!(runs.counted(named("june")), named("june"));
        for unnamed in [None, Some(Replay::ReceivedAge), Some(Replay::Flagged { label: None })] {
            assert_eq!(runs.counted(unnamed.clone()), unnamed);
        }
    }
}
