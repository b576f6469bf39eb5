//! Time as a value, and the only place that reads the system clock.
//!
//! Policy never asks what time it is: it gets a [`Time`] as an argument. That is what lets fixtures
//! freeze the clock and step it, and what keeps a verdict explainable afterwards.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(transparent)]
pub struct Time(i64);

impl Time {
    /// A point so far ahead that nothing waits for it.
    pub const NEVER: Self = Self(i64::MAX);

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From seconds since the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down: the unit of Customer.io's Track API.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time that is `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// The time that is `by` earlier.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }

    /// Milliseconds from `earlier` to this time; negative when `earlier` is in fact later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.millis_since(earlier)).unwrap_or(0))
    }

    /// Reads an RFC 3339 text, the form that Segue itself writes. Other dialects are the business
    /// of [`crate::spec::timestamp`].
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_millisecond()))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with milliseconds: `2026-01-15T12:00:00.000Z`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Time;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Time {
        Time(jiff::Timestamp::now().as_millisecond())
    }
}

/// The time by which things are forgotten for good: it does not believe a clock that jumps ahead. A machine
/// that starts with a wrong date, or a bad answer of a time server, must not cost what is kept for days.
#[derive(Debug, Default)]
pub struct SlowClock {
    last: Option<(Instant, Time)>,
    doubts_until: Option<Instant>,
}

impl SlowClock {
    /// A jump ahead is believed when it has lasted this long.
    const DOUBT: Duration = Duration::from_secs(3600);
    /// What a clock may gain between two looks without being doubted.
    const SLACK: Duration = Duration::from_secs(60);

    /// The time to go by when the clock shows `now` at `instant`, and is `ahead` of another clock by so many
    /// milliseconds, where that is known.
    pub fn time(&mut self, now: Time, ahead: Option<i64>, instant: Instant) -> Time {
        let ahead = ahead.and_then(|ahead| u64::try_from(ahead).ok()).map(Duration::from_millis);
        let now = now.minus(ahead.filter(|ahead| *ahead > Self::SLACK).unwrap_or_default());
        let Some((then, last)) = self.last else {
            self.last = Some((instant, now));
            return now;
        };
        let steady = last.plus(instant.saturating_duration_since(then));
        let jumped = now > steady.plus(Self::SLACK);
        let doubted = jumped && *self.doubts_until.get_or_insert(instant + Self::DOUBT) > instant;
        if !doubted {
            self.doubts_until = None;
        }
        let believed = if doubted { steady } else { now };
        self.last = Some((instant, believed));
        believed
    }
}

/// A clock that stands still until it is moved: fixtures and tests run on it.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows `at`.
    pub fn at(at: Time) -> Self {
        Self(Arc::new(AtomicI64::new(at.0)))
    }

    /// Moves the clock to `to`, forwards or backwards.
    pub fn set(&self, to: Time) {
        self.0.store(to.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_it_is_read() {
        let text = "2026-01-15T12:00:00.250Z";
        let at = Time::parse(text).unwrap();
        assert_eq!(at.to_string(), text);
        assert_eq!(at.secs(), 1_768_478_400);
    }

    #[test]
    fn a_clock_that_jumps_ahead_is_believed_when_it_stays_there() {
        let (start, begin) = (Instant::now(), Time::from_secs(1_000_000));
        let after = |seconds| Duration::from_secs(seconds);
        let month = after(31 * 24 * 3600);
        let mut clock = SlowClock::default();
        let mut at = |seconds, shown: Time, ahead| {
            clock.time(shown, ahead, start + after(seconds)).since(begin).as_secs()
        };
        assert_eq!(at(0, begin, None), 0);
        assert_eq!(at(10, begin.plus(after(12)), None), 12, "it may gain a little");
        assert_eq!(at(20, begin.plus(month), None), 22);
        assert_eq!(at(30, begin.plus(after(30)), None), 30, "it was set right");
        assert_eq!(at(40, begin.plus(month), None), 40);
        assert_eq!(at(3639, begin.plus(month), None), 3639);
        assert_eq!(
            at(3640, begin.plus(month), None),
            month.as_secs(),
            "an hour later it is the time"
        );
        let ahead = i64::try_from(month.as_millis()).ok();
        assert_eq!(at(3650, begin.plus(month), ahead), 0, "others know better");
    }

    #[test]
    fn seconds_before_the_epoch_round_down() {
        assert_eq!(Time::from_millis(-1).secs(), -1);
        assert_eq!(Time::from_millis(-1000).secs(), -1);
    }
}
