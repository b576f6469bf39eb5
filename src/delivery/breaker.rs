//! The breaker: when most requests fail, the fault is not in what we send.
//!
//! Closed, requests fly. When most of the last ones failed, or several in a row with no success at
//! all, it opens: nothing flies, nobody is blamed, and after a wait one request probes. Its success
//! closes the breaker, its failure doubles the wait.

use std::collections::VecDeque;
use std::time::Duration;

use super::FlightId;
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
    /// How many probes failed.
    times: u32,
    probe: Option<FlightId>,
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
            Some(opened) if opened.probe.is_some() => Gate::Probing,
            Some(opened) if now < opened.until => Gate::Open(opened.until),
            Some(_) => Gate::Probe,
        }
    }

    /// Notes that a request flies now; where a probe is due, it is that.
    pub fn departed(&mut self, flight: FlightId) {
        if let Some(opened) = &mut self.opened {
            opened.probe = Some(flight);
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
    pub fn failed(&mut self, flight: FlightId, now: Time) -> bool {
        self.note(false);
        let times = match &self.opened {
            None if self.is_mostly_failure() => 0,
            None => return false,
            Some(opened) if opened.probe == Some(flight) => opened.times + 1,
            // It left before the breaker opened: that it fails too is no news.
            Some(_) => return true,
        };
        let wait = Duration::from_secs(1)
            .saturating_mul(2_u32.saturating_pow(times.min(6)))
            .min(LONGEST_WAIT);
        let until = now.plus(wait / 2 + self.jitter.wait(1).min(wait / 2));
        self.opened = Some(Opened { until, times, probe: None });
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

    /// One that has just opened at `at(0)`.
    fn open() -> Breaker {
        let mut breaker = breaker();
        for flight in 0..5 {
            breaker.failed(FlightId(flight), at(0));
        }
        breaker
    }

    #[test]
    fn it_opens_when_nothing_succeeds_and_one_probe_closes_it() {
        let mut breaker = breaker();
        let opened: Vec<bool> =
            (0..5).map(|flight| breaker.failed(FlightId(flight), at(0))).collect();
        assert_eq!(opened, [false, false, false, false, true]);
        assert!(matches!(breaker.gate(at(0)), Gate::Open(_)));

        assert_eq!(breaker.gate(at(10)), Gate::Probe);
        breaker.departed(FlightId(5));
        assert_eq!(breaker.gate(at(10)), Gate::Probing);
        breaker.succeeded();
        assert_eq!(breaker.gate(at(10)), Gate::Closed);
        assert!(!breaker.failed(FlightId(6), at(11)), "old failures are forgotten");
    }

    #[test]
    fn one_failing_person_among_many_does_not_open_it() {
        let mut breaker = breaker();
        for at_secs in 0..200 {
            breaker.succeeded();
            breaker.succeeded();
            assert!(!breaker.failed(FlightId(0), at(at_secs)));
        }
    }

    #[test]
    fn probes_that_fail_wait_longer_but_never_longer_than_the_cap() {
        let mut breaker = open();
        let mut now = at(0);
        for probe in 10..30 {
            let Gate::Open(until) = breaker.gate(now) else { panic!("must be open") };
            assert!(until.since(now) <= LONGEST_WAIT);
            now = until;
            breaker.departed(FlightId(probe));
            breaker.failed(FlightId(probe), now);
        }
        assert_eq!(breaker.failed_probes(), 20);
    }

    #[test]
    fn what_left_before_it_opened_is_no_probe_that_failed() {
        let mut breaker = open();
        let gate = breaker.gate(at(0));
        for flight in 5..50 {
            assert!(breaker.failed(FlightId(flight), at(0)));
        }
        assert_eq!((breaker.gate(at(0)), breaker.failed_probes()), (gate, 0));

        breaker.departed(FlightId(50));
        breaker.failed(FlightId(7), at(3));
        assert_eq!(breaker.gate(at(3)), Gate::Probing, "its answer is still to come");
        breaker.failed(FlightId(50), at(4));
        assert_eq!(breaker.failed_probes(), 1);
    }

    /// What happens to a breaker.
    #[derive(Clone, Copy, Debug)]
    enum Happens {
        Failure,
        /// Of what left last: the probe, where one is on its way.
        LastFails,
        Success,
        Neither,
        Departure,
        Millis(i64),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            4 => Just(Happens::Failure),
            2 => Just(Happens::LastFails),
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
            let mut last = FlightId(1);
            for happens in history {
                let before = breaker.gate(now);
                match happens {
                    Happens::Failure | Happens::LastFails => {
                        in_a_row += 1;
                        let probes = breaker.failed_probes();
                        let flight = match happens {
                            Happens::LastFails => last,
                            _ => FlightId(0),
                        };
                        prop_assert_eq!(breaker.failed(flight, now), breaker.gate(now) != Gate::Closed);
                        if before != Gate::Closed {
                            let is_probe = before == Gate::Probing && flight == last;
                            prop_assert_eq!(breaker.failed_probes(), probes + u32::from(is_probe));
                        }
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
                        last = FlightId(last.0 + 1);
                        breaker.departed(last);
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
