//! The names of replays: every one of them becomes counters that are kept for good, and whoever has a
//! public write key can name one. So there is an end to them; what comes after shares one name.
//!
//! Not here: what a replay is ([`crate::guard::replay`]).

use std::sync::{Mutex, PoisonError};

use crate::journal::{Labels, Total};
use crate::spec::Replay;

/// The names that were seen, over restarts.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<Labels>);

impl Runs {
    /// The names that the journal counts by.
    pub(super) fn of(totals: Vec<Total>) -> Self {
        Self(Mutex::new(totals.into_iter().map(|total| total.label).collect()))
    }

    /// The replay under the name by which it is counted.
    pub(super) fn counted(&self, replay: Option<Replay>) -> Option<Replay> {
        let Some(Replay::Flagged { label: Some(label) }) = replay else { return replay };
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let label = names.counted(label);
        Some(Replay::Flagged { label: Some(label) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::total;

    fn named(name: &str) -> Option<Replay> {
        Some(Replay::Flagged { label: Some(name.into()) })
    }

    #[test]
    fn names_of_replays_have_an_end_and_known_ones_stay() {
        let total = total("web", "june", "accepted", "", 1);
        let runs = Runs::of(vec![total]);
        for number in 1..Labels::MOST {
            let name = number.to_string();
            assert_eq!(runs.counted(named(&name)), named(&name));
        }
        assert_eq!(runs.counted(named("one more")), named(Labels::OTHERS));
        assert_eq!(runs.counted(named("june")), named("june"));
        for unnamed in [None, Some(Replay::ReceivedAge), Some(Replay::Flagged { label: None })] {
            assert_eq!(runs.counted(unnamed.clone()), unnamed);
        }
    }
}
