//! The breaker: when most requests fail, the fault is not in what we send.
//!
//! Closed, requests fly. When most of the last ones failed, or several in a row with no success at
//! all, it opens: nothing flies, nobody is blamed, and after a wait one request probes. Its success
//! closes the breaker, its failure doubles the wait.

use std::collections::VecDeque;
use std::time::Duration;

use super::backoff::Jitter;
use crate::clock::Time;

/// How many results are looked at.
const WINDOW: usize = 20;
/// Failures in a row that open the breaker.
const IN_A_ROW: usize = 5;
/// The longest wait between two probes.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What the breaker allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gate {
    /// Requests may fly.
    Closed,
    /// Nothing flies before this time.
    Open(Time),
    /// One request may fly, to see.
    Probe,
    /// The probe is on its way.
    Probing,
}

/// The breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    results: VecDeque<bool>,
    opened: Option<Opened>,
    jitter: Jitter,
}

#[derive(Clone, Debug)]
struct Opened {
    until: Time,
    times: u32,
    probing: bool,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(jitter: Jitter) -> Self {
        Self { results: VecDeque::with_capacity(WINDOW), opened: None, jitter }
    }

    /// What may be done at `now`.
    pub fn gate(&self, now: Time) -> Gate {
        match &self.opened {
            None => Gate::Closed,
            Some(opened) if opened.probing => Gate::Probing,
            Some(opened) if now < opened.until => Gate::Open(opened.until),
            Some(_) => Gate::Probe,
        }
    }

    /// Notes that the request that flies now is the probe, where one is due.
    pub fn departed(&mut self) {
        if let Some(opened) = &mut self.opened {
            opened.probing = true;
        }
    }

    /// Whether some of the last requests succeeded: then a failure may be the fault of its content.
    pub fn others_succeed(&self) -> bool {
        self.results.contains(&true)
    }

    /// How many probes failed since it opened; 0 while it is closed.
    pub fn failed_probes(&self) -> u32 {
        self.opened.as_ref().map_or(0, |opened| opened.times)
    }

    /// Notes a request that reached Customer.io and was dealt with, whatever the answer.
    pub fn succeeded(&mut self) {
        self.answered();
        self.note(true);
    }

    /// Notes an answer that says neither: too many requests, wrong credentials. Who answers is there.
    pub fn answered(&mut self) {
        if self.opened.take().is_some() {
            self.results.clear();
        }
    }

    /// Notes a request that failed; answers whether the breaker is open now.
    pub fn failed(&mut self, now: Time) -> bool {
        self.note(false);
        let times = match &self.opened {
            Some(opened) => opened.times + 1,
            None if self.is_mostly_failure() => 0,
            None => return false,
        };
        let wait = Duration::from_secs(1)
            .saturating_mul(2_u32.saturating_pow(times.min(6)))
            .min(LONGEST_WAIT);
        let until = now.plus(wait / 2 + self.jitter.wait(1).min(wait / 2));
        self.opened = Some(Opened { until, times, probing: false });
        true
    }

    /// The wait that was measured by another clock ends now.
    pub fn clock_went_back(&mut self, now: Time) {
        if let Some(opened) = &mut self.opened {
            opened.until = opened.until.min(now);
        }
    }

    fn note(&mut self, success: bool) {
        if self.results.len() == WINDOW {
            self.results.pop_front();
        }
        self.results.push_back(success);
    }

    fn is_mostly_failure(&self) -> bool {
        let failures = self.results.iter().filter(|success| !**success).count();
        let in_a_row = self.results.iter().rev().take_while(|success| !**success).count();
        (in_a_row >= IN_A_ROW && !self.others_succeed())
            || (self.results.len() == WINDOW && failures * 2 > WINDOW && in_a_row > 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: i64) -> Time {
        Time::from_secs(secs)
    }

    fn breaker() -> Breaker {
        Breaker::new(Jitter::seeded(3))
    }

    #[test]
    fn it_opens_when_nothing_succeeds_and_one_probe_closes_it() {
        let mut breaker = breaker();
        let opened: Vec<bool> = (0..5).map(|_| breaker.failed(at(0))).collect();
        assert_eq!(opened, [false, false, false, false, true]);
        assert!(matches!(breaker.gate(at(0)), Gate::Open(_)));

        assert_eq!(breaker.gate(at(10)), Gate::Probe);
        breaker.departed();
        assert_eq!(breaker.gate(at(10)), Gate::Probing);
        breaker.succeeded();
        assert_eq!(breaker.gate(at(10)), Gate::Closed);
        assert!(!breaker.failed(at(11)), "old failures are forgotten");
    }

    #[test]
    fn one_failing_person_among_many_does_not_open_it() {
        let mut breaker = breaker();
        for at_secs in 0..200 {
            breaker.succeeded();
            breaker.succeeded();
            assert!(!breaker.failed(at(at_secs)));
        }
    }

    #[test]
    fn probes_that_fail_wait_longer_but_never_longer_than_the_cap() {
        let mut breaker = breaker();
        (0..5).for_each(|_| {
            breaker.failed(at(0));
        });
        let mut now = at(0);
        for _ in 0..20 {
            let Gate::Open(until) = breaker.gate(now) else { panic!("must be open") };
            assert!(until.since(now) <= LONGEST_WAIT);
            now = until;
            breaker.departed();
            breaker.failed(now);
        }
    }

    /// What happens to a breaker.
    #[derive(Clone, Copy, Debug)]
    enum Happens {
        Failure,
        Success,
        Neither,
        Departure,
        Millis(i64),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            5 => Just(Happens::Failure),
            2 => Just(Happens::Success),
            1 => Just(Happens::Neither),
            3 => Just(Happens::Departure),
            3 => (1_i64..20_000).prop_map(Happens::Millis),
        ]
    }

    proptest! {
        /// It opens by a failure only, one of several, never longer than the cap and not forever; and any
        /// answer closes it.
        #[test]
        fn whatever_happens_it_opens_by_failures_and_closes_by_an_answer(
            seed: u64,
            history in prop::collection::vec(happens(), 0..300),
        ) {
            let mut breaker = Breaker::new(Jitter::seeded(seed));
            let mut now = at(1_000_000);
            let mut in_a_row = 0;
            for happens in history {
                let before = breaker.gate(now);
                match happens {
                    Happens::Failure => {
                        in_a_row += 1;
                        prop_assert_eq!(breaker.failed(now), breaker.gate(now) != Gate::Closed);
                        if before == Gate::Closed && breaker.gate(now) != Gate::Closed {
                            prop_assert!(in_a_row > 1, "one failure never opens it");
                        }
                    }
                    Happens::Success | Happens::Neither => {
                        match happens {
                            Happens::Success => breaker.succeeded(),
                            _ => breaker.answered(),
                        }
                        in_a_row = if matches!(happens, Happens::Success) { 0 } else { in_a_row };
                        prop_assert_eq!(breaker.gate(now), Gate::Closed);
                    }
                    // Whoever drives it sends only what it lets fly.
                    Happens::Departure if before == Gate::Closed || before == Gate::Probe => {
                        breaker.departed();
                        let expected = if before == Gate::Probe { Gate::Probing } else { before };
                        prop_assert_eq!(breaker.gate(now), expected, "one probe at a time");
                    }
                    Happens::Departure => {}
                    Happens::Millis(millis) => now = Time::from_millis(now.millis() + millis),
                }
                if let Gate::Open(until) = breaker.gate(now) {
                    prop_assert!(now < until && until.since(now) <= LONGEST_WAIT);
                    prop_assert_eq!(breaker.gate(until), Gate::Probe);
                }
            }
        }
    }
}
