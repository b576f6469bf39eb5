//! How many requests may fly at a time: fewer when Customer.io is overrun, more again with every answer.
//!
//! The breaker says whether requests fly at all. Where some still arrive, it stays closed, and this is what
//! eases the load: half as many after a failure that is nobody's in particular, one after an answer that
//! asks for patience, which so goes first and alone. Each answer that is none of these adds one.

use super::courier::FlightId;

/// What failures leave: with one, a single request that hangs would keep everybody waiting.
const LEAST: usize = 2;

/// The limit.
#[derive(Clone, Debug)]
pub struct Slots {
    most: usize,
    limit: usize,
    /// Requests before this one left before the limit fell: what becomes of them says nothing about it.
    since: FlightId,
}

impl Slots {
    /// At most so many, and at first.
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, limit: most, since: FlightId(0) }
    }

    /// How many may fly now.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A request was dealt with, whatever the answer.
    pub fn answered(&mut self, id: FlightId) {
        if self.since <= id {
            self.limit = (self.limit + 1).min(self.most);
        }
    }

    /// A request failed; `next` is the one that leaves next.
    pub fn failed(&mut self, id: FlightId, next: FlightId) {
        if self.since <= id {
            self.limit = (self.limit / 2).max(LEAST).min(self.limit);
            self.since = next;
        }
    }

    /// Customer.io asks for patience; `next` is the request that leaves next.
    pub fn overrun(&mut self, next: FlightId) {
        self.limit = 1;
        self.since = next;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn those_that_flew_when_it_fell_say_nothing_about_what_it_fell_to() {
        let mut slots = Slots::new(8);
        for id in 1..=8 {
            slots.failed(FlightId(id), FlightId(9));
        }
        assert_eq!(slots.limit(), 4, "one failure, not eight");
        slots.overrun(FlightId(9));
        slots.answered(FlightId(5));
        assert_eq!(slots.limit(), 1);
        let grows: Vec<usize> = (9..18)
            .map(|id| {
                slots.answered(FlightId(id));
                slots.limit()
            })
            .collect();
        assert_eq!(grows, [2, 3, 4, 5, 6, 7, 8, 8, 8]);
    }

    proptest! {
        /// Whatever happens, something may fly, and never more than allowed.
        #[test]
        fn the_limit_stays_within_its_bounds(
            most in 0_usize..20,
            history in prop::collection::vec((0_u8..3, 0_u64..9), 0..200),
        ) {
            let mut slots = Slots::new(most);
            for (next, (what, ago)) in (0_u64..).zip(history) {
                let (id, next) = (FlightId(next.saturating_sub(ago)), FlightId(next + 1));
                let before = slots.limit();
                match what {
                    0 => slots.answered(id),
                    1 => slots.failed(id, next),
                    _ => slots.overrun(next),
                }
                prop_assert!((1..=most.max(1)).contains(&slots.limit()));
                prop_assert!(what == 0 || slots.limit() <= before, "only an answer adds one");
            }
        }
    }
}
