//! Who was deleted or suppressed, as far as that is remembered: what was learnt of them before is void.
//!
//! Not here: what is dropped because of it ([`crate::pipeline`]), what lies here of them
//! ([`crate::relay`]).

use std::collections::HashMap;

use crate::clock::Time;

/// One deletion or suppression of a person.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Departure {
    /// When it happened.
    pub at: Time,
    /// When it was accepted.
    pub accepted: Time,
    /// When it was dealt with: what was learnt of the person until then is void.
    pub done: Time,
    /// How long it is remembered.
    pub until: Time,
}

impl Departure {
    fn with(self, other: Self) -> Self {
        Self {
            at: self.at.max(other.at),
            accepted: self.accepted.max(other.accepted),
            done: self.done.max(other.done),
            until: self.until.max(other.until),
        }
    }
}

/// When an event is looked at, and what it says about the people who are gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct When {
    /// When it happened.
    pub happened: Time,
    /// When it was accepted.
    pub accepted: Time,
    /// Now.
    pub now: Time,
}

/// The people who are gone, by their keys.
#[derive(Debug, Default)]
pub(super) struct Departures {
    people: HashMap<String, Left>,
}

#[derive(Debug, Default)]
struct Left {
    /// What Customer.io has done.
    confirmed: Option<Departure>,
    /// What is on its way to it.
    expected: Vec<Departure>,
}

impl Departures {
    /// A deletion or suppression is on its way: it counts from now on, until it is confirmed or
    /// withdrawn.
    pub(super) fn expect(&mut self, person: &str, departure: Departure) {
        self.people.entry(person.to_owned()).or_default().expected.push(departure);
    }

    /// What was expected is not on its way any more.
    pub(super) fn withdraw(&mut self, person: &str, departure: Departure) {
        let Some(left) = self.people.get_mut(person) else { return };
        if let Some(at) = left.expected.iter().position(|expected| *expected == departure) {
            left.expected.swap_remove(at);
        }
        if left.confirmed.is_none() && left.expected.is_empty() {
            self.people.remove(person);
        }
    }

    /// Customer.io has done it.
    pub(super) fn confirm(&mut self, person: &str, departure: Departure) {
        let left = self.people.entry(person.to_owned()).or_default();
        left.confirmed = Some(left.confirmed.map_or(departure, |before| before.with(departure)));
    }

    /// The last departure of a person, as far as it is remembered at `now`.
    pub(super) fn of(&self, person: &str, now: Time) -> Option<Departure> {
        let left = self.people.get(person)?;
        let remembered = left.confirmed.iter().chain(&left.expected).copied();
        remembered.filter(|departure| departure.until > now).reduce(Departure::with)
    }
}
