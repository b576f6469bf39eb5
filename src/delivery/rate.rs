//! How fast requests go: one limit for live and backfill together (GCRA, a leaky bucket that needs
//! one number), and a hold that Customer.io can ask for.

use std::time::Duration;

use crate::clock::Time;
use crate::spec::Traffic;

/// Requests that may go at once after a quiet time, as a share of a second's.
const BURST: f64 = 0.1;
/// The longest that Customer.io can hold everything.
const LONGEST_HOLD: Duration = Duration::from_secs(300);

/// The limiter.
#[derive(Clone, Debug)]
pub struct Rate {
    /// Microseconds between two requests.
    interval_us: i64,
    /// How far requests may run ahead of the interval.
    tolerance_us: i64,
    /// When the next request would be due at an even pace.
    due_us: i64,
    held_until: Option<Time>,
}

impl Rate {
    /// So many requests per second, at least one.
    pub fn per_second(rate: u32) -> Self {
        let interval_us = 1_000_000 / i64::from(rate.max(1));
        // A tenth of a second's worth.
        let tolerance_us = (Duration::from_secs(1).mul_f64(BURST).as_micros()) as i64;
        Self { interval_us, tolerance_us, due_us: i64::MIN, held_until: None }
    }

    /// When the next request of a class may go; `now` or earlier: at once. Half of what may go at once is
    /// kept for live traffic.
    pub fn next(&self, now: Time, traffic: Traffic) -> Time {
        let share = match traffic {
            Traffic::Live => 1,
            Traffic::Backfill => 2,
        };
        let due_us = self.due_us(now).saturating_sub(self.tolerance_us / share);
        // Rounded up: a request a fraction of a millisecond early would be one too many.
        let paced = Time::from_millis(due_us.saturating_add(999).div_euclid(1000));
        self.held_until(now).map_or(paced, |until| until.max(paced))
    }

    /// Until when everything is held, where it is at `now`.
    pub fn held_until(&self, now: Time) -> Option<Time> {
        let until = self.held_until.map(|until| until.min(now.plus(LONGEST_HOLD)));
        until.filter(|until| *until > now)
    }

    /// Notes that a request went.
    pub fn sent(&mut self, now: Time) {
        let now_us = now.millis().saturating_mul(1000);
        self.due_us = self.due_us(now).max(now_us).saturating_add(self.interval_us);
    }

    /// A clock that was set back must neither stop the traffic until it has caught up, nor open the
    /// limit.
    pub fn clock_went_back(&mut self, now: Time) {
        self.due_us = self.due_us(now);
        self.held_until = self.held_until.map(|until| until.min(now.plus(LONGEST_HOLD)));
    }

    fn due_us(&self, now: Time) -> i64 {
        let furthest =
            now.millis().saturating_mul(1000).saturating_add(self.tolerance_us + self.interval_us);
        self.due_us.min(furthest)
    }

    /// Holds everything until `until`: Customer.io asked for it.
    pub fn hold(&mut self, until: Time) {
        self.held_until = self.held_until.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_rate_goes_in_a_second() {
        let mut rate = Rate::per_second(100);
        let mut sent = 0;
        for millis in 0..1000 {
            let now = Time::from_millis(millis);
            while rate.next(now, Traffic::Live) <= now {
                rate.sent(now);
                sent += 1;
            }
        }
        assert!((100..=111).contains(&sent), "{sent}");
    }

    #[test]
    fn a_clock_that_steps_back_does_not_open_the_limit() {
        let mut rate = Rate::per_second(1);
        let now = Time::from_secs(1_000_000);
        rate.sent(now);
        rate.sent(now);
        assert!(rate.next(now, Traffic::Live) > now);
        let earlier = Time::from_secs(999_000);
        assert!(rate.next(earlier, Traffic::Live) > earlier);
        rate.clock_went_back(earlier);
        let soon = earlier.plus(Duration::from_secs(1));
        assert!(
            rate.next(earlier, Traffic::Live) > earlier && rate.next(soon, Traffic::Live) <= soon
        );
    }

    #[test]
    fn a_backfill_leaves_live_traffic_room_within_the_rate() {
        let mut rate = Rate::per_second(100);
        let now = Time::from_secs(10);
        let mut old = 0;
        while rate.next(now, Traffic::Backfill) <= now {
            rate.sent(now);
            old += 1;
        }
        let mut live = 0;
        while rate.next(now, Traffic::Live) <= now {
            rate.sent(now);
            live += 1;
        }
        assert_eq!((old, live), (6, 5), "a tenth of a second's, and the one that is due");
    }

    #[test]
    fn a_hold_stops_everything_until_it_ends() {
        let mut rate = Rate::per_second(100);
        let now = Time::from_secs(10);
        rate.hold(now.plus(Duration::from_secs(3)));
        rate.hold(now.plus(Duration::from_secs(1)));
        assert_eq!(rate.next(now, Traffic::Live), now.plus(Duration::from_secs(3)));
    }
}
