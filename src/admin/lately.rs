//! How events ended in the last minutes: when most of them die, somebody should look, whatever they die
//! of.
//!
//! Not here: exit events among the dead letters, which count one by one ([`super::watch`]).

use std::collections::BTreeMap;

use super::recent::Recent;
use crate::clock::Time;
use crate::outcome::DeadCode;

/// What is lately, in minutes.
const MINUTES: usize = 5;
/// Fewer dead letters than this say nothing.
const FEWEST: u64 = 20;

/// How events ended, minute by minute.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// The last minute in which one did: a clock that was set back counts on in it.
    last: i64,
    delivered: Recent<MINUTES>,
    dead: BTreeMap<&'static str, Recent<MINUTES>>,
}

/// Most events that were to be sent lately are dead letters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dying {
    /// How many of them.
    pub dead: u64,
    /// How many there were, those that were delivered with them.
    pub of: u64,
    /// What most of them died of.
    pub reason: &'static str,
}

impl Ends {
    /// Notes that an event was delivered at this time, or what it died of.
    pub(super) fn note(&mut self, at: Time, dead: Option<DeadCode>) {
        self.last = self.last.max(minute_of(at));
        match dead {
            None => self.delivered.add(self.last),
            Some(code) => self.dead.entry(code.as_str()).or_default().add(self.last),
        }
    }

    /// Whether most events die, as far as the last minutes before `now` tell.
    pub(super) fn dying(&self, now: Time) -> Option<Dying> {
        let now = minute_of(now);
        let reasons = || self.dead.iter().map(|(reason, recent)| (*reason, recent.count(now)));
        let dead = reasons().map(|(_, count)| count).sum();
        let of = dead + self.delivered.count(now);
        let (reason, _) = reasons().max_by_key(|(_, count)| *count)?;
        (dead >= FEWEST && dead * 2 > of).then_some(Dying { dead, of, reason })
    }
}

fn minute_of(at: Time) -> i64 {
    at.millis().div_euclid(60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_the_last_minutes_events_must_die_before_anything_is_said() {
        let at = |minutes: i64| Time::from_secs(1_000_000 + minutes * 60);
        let mut ends = Ends::default();
        for _ in 0..100 {
            ends.note(at(0), None);
        }
        for _ in 0..60 {
            ends.note(at(3), Some(DeadCode::Rejected));
        }
        ends.note(at(3), Some(DeadCode::Expired));
        assert_eq!(ends.dying(at(3)), None, "more were delivered");

        let dying = Some(Dying { dead: 61, of: 61, reason: "rejected" });
        assert_eq!(ends.dying(at(5)), dying, "what was delivered is long ago");
        assert_eq!(ends.dying(at(8)), None, "that is long ago too");

        let mut few = Ends::default();
        (1..FEWEST).for_each(|_| few.note(at(0), Some(DeadCode::Rejected)));
        assert_eq!(few.dying(at(0)), None);
        few.note(at(-9), Some(DeadCode::Rejected));
        assert!(few.dying(at(0)).is_some(), "the clock was set back meanwhile");
    }
}
