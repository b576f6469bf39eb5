//! What leaves, and when: the class that goes first, company, slots, rate.
//!
//! Not here: which items travel together ([`crate::delivery::batch`]).

use super::{CLASSES, Courier, Fate, Flight, Flown, Settled};
use crate::clock::Time;
use crate::delivery::batch::{self, Room};
use crate::delivery::breaker::Gate;
use crate::delivery::luggage::{self, Luggage};
use crate::delivery::queues::ItemId;
use crate::destination::customerio::Encoded;
use crate::pace::LIVE_FOR;
use crate::spec::Traffic;

/// While live traffic is there, a backfill may have this share of the requests in flight.
const BACKFILL_SHARE: usize = 4;
/// …and this share of what a request may hold.
const SHORT: usize = 5;

impl Courier {
    pub(super) fn next_batch(&mut self, now: Time) -> Option<Flight> {
        loop {
            for traffic in CLASSES {
                let waits = !self.queues.ready(traffic).is_empty();
                let since = &mut self.waits_since[traffic as usize];
                *since = waits.then(|| since.unwrap_or(now));
            }
            let is_due = |traffic| self.due(traffic, now).is_some_and(|due| due <= now);
            let traffic = CLASSES.into_iter().find(|traffic| is_due(*traffic))?;
            let items = match self.breaker.gate(now) {
                Gate::Probe => batch::probe(&self.queues),
                _ => batch::compose(&self.queues, &self.suspects, traffic, self.room(traffic, now)),
            };
            if self.set_stale_aside(&items, now) {
                continue;
            }
            return self.depart(items, now);
        }
    }

    /// When the next request of a class may leave without further ado; `None`: not before something else
    /// happens.
    pub(super) fn due(&self, traffic: Traffic, now: Time) -> Option<Time> {
        if self.queues.ready(traffic).is_empty() {
            return None;
        }
        let opens = match self.breaker.gate(now) {
            Gate::Closed if self.has_slot(traffic, now) => now,
            // Live traffic will have been there then.
            Gate::Closed if self.has_slot(traffic, now.max(self.live_until)) => self.live_until,
            // The probe leaves when everything else has come back.
            Gate::Probe if self.flights.is_empty() => now,
            Gate::Open(until) => until,
            Gate::Closed | Gate::Probe | Gate::Probing => return None,
        };
        let departs = match self.waits_since[traffic as usize] {
            Some(since) if !self.is_full(traffic, now) && !self.goes_alone(traffic) => {
                since.plus(self.config.linger)
            }
            _ => now,
        };
        Some(opens.max(departs).max(self.rate.next(now, traffic)))
    }

    /// Whether another request of a class may fly. A backfill leaves one slot to live traffic, and most of
    /// them while there is any: what Customer.io works on for the one keeps the other waiting.
    fn has_slot(&self, traffic: Traffic, now: Time) -> bool {
        let (flying, limit) = (self.flights.len(), self.slots.limit());
        match traffic {
            Traffic::Live => flying < limit,
            Traffic::Backfill if now < self.live_until => {
                flying < limit && self.backfill < (limit / BACKFILL_SHARE).max(1)
            }
            Traffic::Backfill => flying < (limit - 1).max(1),
        }
    }

    /// What a request may hold. Of a backfill it is less while live traffic is there: what Customer.io
    /// works on is short then, and live events come in between.
    fn room(&self, traffic: Traffic, now: Time) -> Room {
        let Room { items, bytes } = self.config.room;
        match traffic {
            Traffic::Backfill if now < self.live_until => {
                Room { items: items.div_ceil(SHORT), bytes: bytes.div_ceil(SHORT) }
            }
            _ => self.config.room,
        }
    }

    fn is_full(&self, traffic: Traffic, now: Time) -> bool {
        let (ready, room) = (self.queues.ready(traffic), self.room(traffic, now));
        ready.len() >= room.items || ready.bytes() >= room.bytes
    }

    /// Whether what leaves next has a request of its own, and nothing to wait for.
    fn goes_alone(&self, traffic: Traffic) -> bool {
        let first = self.queues.ready(traffic).first().and_then(|first| self.queues.entry(first));
        first.is_some_and(batch::goes_alone)
    }

    /// Items whose verdict has run out are asked about again; answers whether there were any. They
    /// keep their place until the answer. One that Customer.io may have already is no exception: if
    /// it has it, the id says so when it comes again; if not, it must not come too late.
    pub(super) fn set_stale_aside(&mut self, items: &[ItemId], now: Time) -> bool {
        let mut any = false;
        for &id in items {
            let stale = self
                .queues
                .entry(id)
                .is_some_and(|entry| entry.item.valid_until.is_some_and(|until| until <= now));
            if stale {
                self.queues.set_aside(id);
                self.settled.push_back(Settled { id, fate: Fate::Stale });
                any = true;
            }
        }
        any
    }

    pub(super) fn depart(&mut self, items: Vec<ItemId>, now: Time) -> Option<Flight> {
        let first = self.queues.entry(*items.first()?)?;
        let (traffic, payload) = (first.traffic, first.item.payload.clone());
        let is_suspect = batch::is_suspect(first, &self.suspects);
        // What is left over for lack of room waits for company again. What could not travel with these
        // has waited as long as they have.
        if self.is_full(traffic, now) {
            self.waits_since[traffic as usize] = Some(now);
        }
        let id = self.new_flight();
        let (flight, places) = match payload {
            call @ Encoded::Call { .. } => (Flight::Call(id, call), None),
            Encoded::Item(_) => {
                let Luggage { payloads, places } = luggage::pack(&self.queues, &items);
                let places = (payloads.len() < items.len()).then_some(places);
                (Flight::Batch(id, payloads), places)
            }
        };
        for &item in &items {
            self.queues.depart(item);
        }
        match traffic {
            Traffic::Live => self.live_until = now.plus(LIVE_FOR),
            Traffic::Backfill => self.backfill += 1,
        }
        self.flights.insert(id, Flown { items, places, traffic, is_suspect });
        self.rate.sent(now);
        self.breaker.departed(id);
        Some(flight)
    }
}
