//! The reasons that scripts give for dropping: each becomes counters that are kept for good, and a script
//! may make them of what an event says. So there is an end to them; what comes after shares one name.
//! The trail, which forgets, keeps every word.

use crate::journal::{Labels, Total};
use crate::outcome::{DropReason, Outcome};

/// So many characters of a reason count.
const CHARACTERS: usize = 100;

/// The reasons that were seen, over restarts.
#[derive(Debug, Default)]
pub(super) struct Reasons(Labels);

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
        *reason = self.0.counted(std::mem::take(reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::total;

    fn counted(reasons: &mut Reasons, text: &str) -> String {
        let mut outcome = Outcome::Dropped(DropReason::Script(text.into()));
        reasons.bound(&mut outcome);
        outcome.reason().to_owned()
    }

    #[test]
    fn reasons_of_scripts_have_an_end_and_known_ones_stay() {
        let total = total("web", "", "dropped", "internal", 1);
        let mut reasons = Reasons::of(vec![total]);
        for number in 1..Labels::MOST {
            let reason = format!("order {number}");
            assert_eq!(counted(&mut reasons, &reason), reason);
        }
        assert_eq!(counted(&mut reasons, "one more"), Labels::OTHERS);
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
