//! New scripts are on trial: when clearly more events fail under them than failed under those before,
//! somebody is told, and they are withdrawn.
//!
//! Failures are counted for each name of an event too: scripts that break only orders break few
//! events in a hundred, and the worst ones.
//!
//! Not here: what going back means ([`super::reload`]).

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::manifest::Reload;

/// A tally says nothing before it has counted so many events.
const FEWEST: u64 = 20;
/// So many failures in a row say something before that.
const FEWEST_FAILED: u64 = 10;
/// Counts of the scripts in force are halved beyond this, so that they are of the last time.
const RECENT: u64 = 2000;
/// Names of events that are counted apart; what comes beyond counts with the whole only.
const MOST_NAMES: usize = 500;

/// What is said when the scripts on trial fail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// The scripts.
    pub bundle: String,
    /// Why, for people.
    pub reason: String,
}

/// Counts how events fare under the scripts in force.
#[derive(Debug)]
pub struct Trial {
    counts: Mutex<Counts>,
    verdicts: Sender<Verdict>,
}

#[derive(Debug, Default)]
struct Counts {
    bundle: String,
    /// What ends the trial; `None`: these scripts are not on trial.
    rules: Option<Reload>,
    whole: Tally,
    by_event: BTreeMap<String, Tally>,
    before: Tally,
    before_by_event: BTreeMap<String, Tally>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    seen: u64,
    failed: u64,
}

impl Tally {
    fn count(&mut self, failed: bool) {
        self.seen += 1;
        self.failed += u64::from(failed);
        if self.seen > RECENT {
            self.seen /= 2;
            self.failed /= 2;
        }
    }

    fn ratio(self) -> f64 {
        // Both are small.
        #[allow(clippy::cast_precision_loss)]
        if self.seen == 0 { 0.0 } else { self.failed as f64 / self.seen as f64 }
    }

    /// Whether so many more fail than before that it cannot be chance.
    fn jumped(self, before: Self, by: f64) -> bool {
        let is_enough = self.seen >= FEWEST || self.failed >= FEWEST_FAILED;
        is_enough && self.failed >= 5 && self.ratio() - before.ratio() >= by
    }
}

impl Trial {
    /// Watches over the scripts `bundle`, which are in force and trusted. Verdicts go to `verdicts`.
    pub fn new(bundle: &str, verdicts: Sender<Verdict>) -> Self {
        let counts = Counts { bundle: bundle.to_owned(), ..Counts::default() };
        Self { counts: Mutex::new(counts), verdicts }
    }

    /// Other scripts come into force: on trial by these rules, or trusted.
    pub fn begin(&self, bundle: &str, rules: Option<Reload>) {
        let mut counts = self.lock();
        let is_watched = rules.as_ref().is_some_and(|rules| rules.rollback_error_ratio > 0.0);
        let before = std::mem::take(&mut *counts);
        *counts = Counts {
            bundle: bundle.to_owned(),
            rules: rules.filter(|_| is_watched),
            before: before.whole,
            before_by_event: before.by_event,
            ..Counts::default()
        };
    }

    /// Notes how the scripts `bundle` fared with an event of this name.
    pub fn note(&self, bundle: &str, event: &str, failed: bool) {
        let mut counts = self.lock();
        // Threads finish what they began with the scripts before.
        if counts.bundle != bundle {
            return;
        }
        counts.whole.count(failed);
        let has_room = counts.by_event.len() < MOST_NAMES;
        if let Some(tally) = counts.by_event.get_mut(event) {
            tally.count(failed);
        } else if has_room {
            counts.by_event.entry(event.to_owned()).or_default().count(failed);
        }
        let Some(rules) = counts.rules.clone() else { return };
        if failed && let Some(reason) = counts.verdict(event, &rules) {
            counts.rules = None;
            let verdict = Verdict { bundle: bundle.to_owned(), reason };
            // Nobody listens any more when Segue stops.
            let _ = self.verdicts.send(verdict);
        } else if counts.whole.seen >= rules.rollback_events {
            counts.rules = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn verdict(&self, event: &str, rules: &Reload) -> Option<String> {
        let by = rules.rollback_error_ratio;
        let said = |what: &str, now: Tally, before: Tally| {
            let percent = before.ratio() * 100.0;
            format!(
                "scripts failed on {} of {} {what} under them, and on {percent:.0} % before",
                now.failed, now.seen
            )
        };
        if self.whole.jumped(self.before, by) {
            return Some(said("events", self.whole, self.before));
        }
        let now = self.by_event.get(event).copied()?;
        let before = self.before_by_event.get(event).copied().unwrap_or(self.before);
        now.jumped(before, by).then(|| said(&format!("events {event:?}"), now, before))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn trial(before: &[(&str, u64, u64)]) -> (Trial, Receiver<Verdict>) {
        let (sender, verdicts) = channel();
        let trial = Trial::new("old", sender);
        for (event, seen, failed) in before {
            (0..*seen).for_each(|at| trial.note("old", event, at < *failed));
        }
        trial.begin("new", Some(Reload::default()));
        (trial, verdicts)
    }

    /// Events of one name, the failed ones spread among them.
    fn send(trial: &Trial, bundle: &str, event: &str, seen: u64, failed: u64) {
        for at in 0..seen {
            let is_failed = (at + 1) * failed / seen > at * failed / seen;
            trial.note(bundle, event, is_failed);
        }
    }

    #[test]
    fn scripts_are_withdrawn_when_clearly_more_fails_than_before() {
        type Row = (
            &'static str,
            &'static [(&'static str, u64, u64)],
            &'static [(&'static str, u64, u64)],
            Option<&'static str>,
        );
        #[rustfmt::skip]
        let table: [Row; 8] = [
            ("all is well", &[("track A", 200, 0)], &[("track A", 200, 0)], None),
            ("everything fails", &[("track A", 200, 0)], &[("track A", 30, 30)], Some("10 of 10 events under them, and on 0 % before")),
            ("a third fails", &[("track A", 200, 0)], &[("track A", 60, 20)], Some("of")),
            ("a few always fail", &[("track A", 200, 0)], &[("track A", 400, 20)], None),
            ("as many failed before", &[("track A", 200, 100)], &[("track A", 200, 110)], None),
            ("only orders fail", &[("track A", 500, 0), ("track Order", 40, 0)], &[("track A", 200, 0), ("track Order", 30, 30)], Some("10 of 10 events \"track Order\"")),
            ("orders failed before too", &[("track A", 500, 0), ("track Order", 40, 40)], &[("track A", 200, 0), ("track Order", 30, 30)], None),
            ("nothing is known from before", &[], &[("track A", 40, 40)], Some("10 of 10")),
        ];
        for (what, before, now, expected) in table {
            let (trial, verdicts) = trial(before);
            for (event, seen, failed) in now {
                send(&trial, "new", event, *seen, *failed);
            }
            let verdict = verdicts.try_recv().ok();
            assert_eq!(verdict.is_some(), expected.is_some(), "{what}: {verdict:?}");
            if let (Some(verdict), Some(says)) = (verdict, expected) {
                assert_eq!(verdict.bundle, "new", "{what}");
                assert!(verdict.reason.contains(says), "{what}: {}", verdict.reason);
                assert!(verdicts.try_recv().is_err(), "{what}: it is said once");
            }
        }
    }

    #[test]
    fn a_trial_ends_and_what_other_scripts_did_does_not_count() {
        let (trial, verdicts) = trial(&[("track A", 100, 0)]);
        send(&trial, "old", "track A", 100, 100);
        assert!(verdicts.try_recv().is_err(), "they were begun with before the change");
        send(&trial, "new", "track A", 500, 0);
        send(&trial, "new", "track A", 400, 400);
        assert!(verdicts.try_recv().is_err(), "500 events went well: the cause is elsewhere");
    }

    #[test]
    fn trusted_scripts_and_a_ratio_of_zero_are_not_on_trial() {
        for rules in [None, Some(Reload { rollback_error_ratio: 0.0, ..Reload::default() })] {
            let (sender, verdicts) = channel();
            let trial = Trial::new("old", sender);
            trial.begin("new", rules);
            send(&trial, "new", "track A", 100, 100);
            assert!(verdicts.try_recv().is_err());
        }
    }
}
