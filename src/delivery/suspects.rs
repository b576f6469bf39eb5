//! Who failed of late: people whose items travel alone for a while, so that nobody waits with them.
//!
//! Not here: which requests that means ([`super::batch`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Time;

/// How long somebody is suspected after the last failure.
const SUSPECTED_FOR: Duration = Duration::from_secs(60);
/// So many people are suspected at most: where more fail, it is not their fault, and a request for each
/// would help nobody.
const MOST: usize = 1000;

/// The keys of people who failed of late.
#[derive(Debug, Default)]
pub struct Suspects {
    until: HashMap<Arc<str>, Time>,
    /// When the first of them may be forgotten.
    next: Option<Time>,
}

impl Suspects {
    /// Suspects the people with these keys from `now` on.
    pub fn add(&mut self, keys: &[Arc<str>], now: Time) {
        let until = now.plus(SUSPECTED_FOR);
        for key in keys {
            if self.until.len() < MOST || self.until.contains_key(key) {
                self.until.insert(Arc::clone(key), until);
            }
        }
        self.next.get_or_insert(until);
    }

    /// Something of them was delivered: they are like everybody else.
    pub fn clear(&mut self, keys: &[Arc<str>]) {
        if !self.until.is_empty() {
            for key in keys {
                self.until.remove(key);
            }
        }
    }

    /// Whether somebody is among them.
    pub fn any(&self, keys: &[Arc<str>]) -> bool {
        !self.until.is_empty() && keys.iter().any(|key| self.until.contains_key(key))
    }

    /// Forgets those whose time is over at `now`; a time that another clock set is over too.
    pub fn forget(&mut self, now: Time) {
        let furthest = now.plus(SUSPECTED_FOR);
        if self.next.is_some_and(|next| next <= now || furthest < next) {
            self.until.retain(|_, until| now < *until && *until <= furthest);
            self.next = self.until.values().min().copied();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(key: &str) -> [Arc<str>; 1] {
        [key.into()]
    }

    #[test]
    fn who_failed_is_suspected_for_a_minute_or_until_something_arrives() {
        let mut suspects = Suspects::default();
        let at = |secs: i64| Time::from_secs(1_000_000 + secs);
        suspects.add(&keys("a"), at(0));
        suspects.add(&keys("b"), at(30));
        suspects.clear(&keys("b"));
        suspects.add(&keys("c"), at(50));
        suspects.forget(at(59));
        let who = |suspects: &Suspects| ["a", "b", "c"].map(|key| suspects.any(&keys(key)));
        assert_eq!(who(&suspects), [true, false, true]);
        suspects.forget(at(60));
        assert_eq!(who(&suspects), [false, false, true]);
        suspects.forget(at(-3600));
        assert_eq!(who(&suspects), [false; 3], "a clock that is set back prolongs nothing");
    }

    #[test]
    fn there_are_never_more_than_fit() {
        let mut suspects = Suspects::default();
        for number in 0..3000 {
            suspects.add(&keys(&number.to_string()), Time::from_secs(number));
        }
        assert_eq!(suspects.until.len(), MOST);
    }
}
