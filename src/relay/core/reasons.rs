//! The reasons that scripts give for dropping: each becomes counters that are kept for good, and a script
//! may make them of what an event says. So there is an end to them; what comes after shares one name.
//! The trail, which forgets, keeps every word.

use std::collections::HashSet;

use crate::journal::Total;
use crate::outcome::{DropReason, Outcome};

/// So many reasons are counted by themselves.
const REASONS: usize = 1000;
/// So many characters of them.
const CHARACTERS: usize = 100;
/// What all others are called.
const OTHERS: &str = "others";

/// The reasons that were seen, over restarts.
#[derive(Debug, Default)]
pub(super) struct Reasons(HashSet<String>);

impl Reasons {
    /// The reasons that the journal counts by.
    pub(super) fn of(totals: Vec<Total>) -> Self {
        let dropped = totals.into_iter().filter(|total| total.outcome == "dropped");
        Self(dropped.map(|total| total.reason).collect())
    }

    /// Gives an outcome the reason by which it is counted.
    pub(super) fn bound(&mut self, outcome: &mut Outcome) {
        let Outcome::Dropped(DropReason::Script(reason)) = outcome else { return };
        if let Some((at, _)) = reason.char_indices().nth(CHARACTERS) {
            reason.truncate(at);
        }
        if self.0.contains(reason.as_str()) {
            return;
        }
        if self.0.len() < REASONS {
            self.0.insert(reason.clone());
        } else {
            OTHERS.clone_into(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(reasons: &mut Reasons, text: &str) -> String {
        let mut outcome = Outcome::Dropped(DropReason::Script(text.into()));
        reasons.bound(&mut outcome);
        outcome.reason().to_owned()
    }

    #[test]
    fn reasons_of_scripts_have_an_end_and_known_ones_stay() {
        let total = Total {
            source: "web".into(),
            label: String::new(),
            outcome: "dropped".into(),
            reason: "internal".into(),
            count: 1,
        };
        let mut reasons = Reasons::of(vec![total]);
        for number in 1..REASONS {
            let reason = format!("order {number}");
            assert_eq!(counted(&mut reasons, &reason), reason);
        }
        assert_eq!(counted(&mut reasons, "one more"), OTHERS);
        assert_eq!(counted(&mut reasons, "internal"), "internal");
        let mut ours = Outcome::Dropped(DropReason::OptedOut);
        reasons.bound(&mut ours);
        assert_eq!(ours.reason(), "opted_out");
    }

    #[test]
    fn a_long_reason_is_counted_by_its_beginning() {
        let mut reasons = Reasons::default();
        let long = "é".repeat(CHARACTERS) + "and so on";
        assert_eq!(counted(&mut reasons, &long), "é".repeat(CHARACTERS));
    }
}
