//! The courier: takes items, composes requests, and says how each item ended.
//!
//! Not here: what it learns from answers ([`answers`]).

mod answers;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::backoff::Jitter;
use super::batch::{self, Room};
use super::breaker::{Breaker, Gate};
use super::luggage::{self, Luggage};
use super::queues::{Item, ItemId, Queues, State};
use super::rate::Rate;
use crate::clock::Time;
use crate::destination::customerio::Encoded;
use crate::destination::customerio::response::ItemError;
use crate::journal::Seq;
use crate::spec::Traffic;

/// How the courier goes about it.
#[derive(Clone, Copy, Debug)]
pub struct CourierConfig {
    /// Requests per second.
    pub rate: u32,
    /// Requests in flight at a time.
    pub concurrency: usize,
    /// How long a batch waits for company.
    pub linger: Duration,
    /// What a batch may hold.
    pub room: Room,
    /// How long an item is tried, pauses excluded.
    pub age_budget: Duration,
    /// Seed of the jitter.
    pub seed: u64,
}

/// Names a request in flight.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FlightId(pub u64);

/// A request that is to be sent now.
#[derive(Clone, Debug)]
pub enum Flight {
    /// Items of `POST /api/v2/batch`, in order.
    Batch(FlightId, Vec<Bytes>),
    /// An operation that has a request of its own.
    Call(FlightId, Encoded),
    /// The question whether the credentials are accepted again.
    Probe(FlightId),
}

/// How an item ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// Customer.io has it.
    Delivered,
    /// Customer.io has it; nothing behind it leaves before [`Courier::made_durable`].
    DeliveredBarrier,
    /// Customer.io refused it.
    Rejected(ItemError, u16),
    /// It is larger than Customer.io takes.
    TooLarge,
    /// It could not be delivered within the age budget.
    Expired,
    /// The guard must be asked again before it is sent. It holds its place until it is taken back by
    /// [`Courier::withdraw`] or [`Courier::step_back`].
    Stale,
    /// It must wait out of line: it, or one ahead of it, fails and fails.
    Postponed {
        /// When to try again.
        due: Time,
        /// When it was first tried without success, pauses left out.
        first_failed: Option<Time>,
        /// The last status; `None`: no answer.
        status: Option<u16>,
    },
}

/// An item and how it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The item.
    pub id: ItemId,
    /// Its end.
    pub fate: Fate,
}

/// What the courier is doing, for health and status.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Items waiting or flying.
    pub items: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// Since when nothing is sent because the credentials are refused, and the status.
    pub paused: Option<(Time, u16)>,
    /// Whether the breaker is open.
    pub breaker_open: bool,
}

/// The courier. See the module's documentation.
#[derive(Debug)]
pub struct Courier {
    config: CourierConfig,
    queues: Queues,
    flights: HashMap<FlightId, Vec<ItemId>>,
    /// Of a flight on which several items travel as one: where each of them is.
    places: HashMap<FlightId, Vec<usize>>,
    next_flight: u64,
    rate: Rate,
    breaker: Breaker,
    jitter: Jitter,
    ready_since: Option<Time>,
    pause: Option<Pause>,
    /// Until when the credentials are known to be right.
    vouched_until: Option<Time>,
    paused_millis: i64,
    settled: VecDeque<Settled>,
    /// The last time that it was told.
    told: Time,
}

#[derive(Debug)]
struct Pause {
    since: Time,
    status: u16,
    next_probe: Time,
    probing: Option<FlightId>,
}

impl Courier {
    /// A courier with nothing to do.
    pub fn new(config: CourierConfig) -> Self {
        let jitter = Jitter::seeded(config.seed);
        Self {
            config,
            queues: Queues::default(),
            flights: HashMap::new(),
            places: HashMap::new(),
            next_flight: 0,
            rate: Rate::per_second(config.rate),
            breaker: Breaker::new(jitter.clone()),
            jitter,
            ready_since: None,
            pause: None,
            vouched_until: None,
            paused_millis: 0,
            settled: VecDeque::new(),
            told: Time::default(),
        }
    }

    /// Takes an item, behind everything of its keys.
    pub fn push(&mut self, item: Item) {
        self.queues.push(item, self.config.room.items);
    }

    /// Takes the next item whose end is known.
    pub fn next_settled(&mut self) -> Option<Settled> {
        self.settled.pop_front()
    }

    /// The bytes of everything that it carries.
    pub fn bytes(&self) -> usize {
        self.queues.bytes()
    }

    /// What it is doing at `now`.
    pub fn standing(&self, now: Time) -> Standing {
        Standing {
            items: self.queues.len(),
            in_flight: self.flights.len(),
            paused: self.pause.as_ref().map(|pause| (pause.since, pause.status)),
            breaker_open: self.breaker.gate(now) != Gate::Closed,
        }
    }

    /// The requests that are to be sent at `now`. Each must be answered, once, by
    /// [`Courier::answer`].
    pub fn poll(&mut self, now: Time) -> Vec<Flight> {
        let mut flights = Vec::new();
        if now < self.told {
            self.clock_went_back(now);
        }
        self.told = now;
        self.queues.wake(now);
        if self.pause.is_some() {
            flights.extend(self.probe(now));
            return flights;
        }
        while let Some(flight) = self.next_batch(now) {
            flights.push(flight);
        }
        flights
    }

    /// When [`Courier::poll`] has something to do without further ado; `None`: not before something
    /// else happens.
    pub fn next_due(&self, now: Time) -> Option<Time> {
        if let Some(pause) = &self.pause {
            return pause.probing.is_none().then_some(pause.next_probe);
        }
        let wake = self.queues.next_wake();
        if self.queues.ready().is_empty() || self.flights.len() >= self.slots() {
            return wake;
        }
        let go = match self.breaker.gate(now) {
            Gate::Probing => return wake,
            // The probe leaves when everything else has come back.
            Gate::Probe if !self.flights.is_empty() => return wake,
            Gate::Open(until) => until,
            Gate::Closed | Gate::Probe => self.departure(now),
        };
        Some(go.max(self.rate.next(now)).min(wake.unwrap_or(Time::NEVER)))
    }

    /// Notes that the settlement of a barrier is durable: what is behind it may leave.
    pub fn made_durable(&mut self, id: ItemId) {
        if self.queues.entry(id).is_some_and(|entry| entry.state == State::Landed) {
            self.queues.remove(id);
        }
    }

    /// Takes the items back that are not on their way, of those parts of an event.
    pub fn withdraw(&mut self, traffic: Traffic, seq: Seq, parts: impl Fn(u32) -> bool) {
        for id in self.queues.of_event(traffic, seq) {
            if parts(id.part) && self.queues.entry(id).is_some_and(|entry| !is_out(entry.state)) {
                self.queues.remove(id);
            }
        }
    }

    /// The items of an event that are on their way.
    pub fn flying(&self, traffic: Traffic, seq: Seq) -> Vec<ItemId> {
        let mut items = self.queues.of_event(traffic, seq);
        items.retain(|id| {
            self.queues.entry(*id).is_some_and(|entry| entry.state == State::InFlight)
        });
        items
    }

    fn next_batch(&mut self, now: Time) -> Option<Flight> {
        loop {
            let may_fly = match self.breaker.gate(now) {
                Gate::Closed => self.flights.len() < self.slots(),
                Gate::Probe => self.flights.is_empty(),
                Gate::Open(_) | Gate::Probing => false,
            };
            if self.queues.ready().is_empty() {
                self.ready_since = None;
                return None;
            }
            let since = *self.ready_since.get_or_insert(now);
            let go = since.plus(self.config.linger);
            if !may_fly || (now < go && !self.is_full()) || self.rate.next(now) > now {
                return None;
            }
            let items = match self.breaker.gate(now) {
                Gate::Probe => batch::probe(&self.queues),
                _ => batch::compose(&self.queues, self.config.room),
            };
            if self.set_stale_aside(&items, now) {
                continue;
            }
            return self.depart(items, now);
        }
    }

    /// Waits that were measured by the clock of before must not last until it is that late again.
    fn clock_went_back(&mut self, now: Time) {
        self.queues.wake(Time::NEVER);
        self.ready_since = self.ready_since.map(|since| since.min(now));
        self.breaker.clock_went_back(now);
        self.rate.clock_went_back(now);
        if let Some(pause) = &mut self.pause {
            pause.since = pause.since.min(now);
            pause.next_probe = pause.next_probe.min(now);
        }
    }

    /// How many requests may fly, given what is next: a backfill leaves one slot to live traffic.
    fn slots(&self) -> usize {
        match self.queues.ready().first().map(|turn| turn.traffic) {
            Some(Traffic::Backfill) => (self.config.concurrency - 1).max(1),
            _ => self.config.concurrency,
        }
    }

    fn is_full(&self) -> bool {
        self.queues.ready().len() >= self.config.room.items
            || self.queues.ready_bytes() >= self.config.room.bytes
    }

    fn departure(&self, now: Time) -> Time {
        match self.ready_since {
            Some(since) if !self.is_full() => since.plus(self.config.linger),
            _ => now,
        }
    }

    /// Items whose verdict has run out are asked about again; answers whether there were any. They
    /// keep their place until the answer. One that Customer.io may have already is no exception: if
    /// it has it, the id says so when it comes again; if not, it must not come too late.
    fn set_stale_aside(&mut self, items: &[ItemId], now: Time) -> bool {
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

    fn depart(&mut self, items: Vec<ItemId>, now: Time) -> Option<Flight> {
        let first = self.queues.entry(*items.first()?)?.item.payload.clone();
        let id = self.new_flight();
        let flight = match first {
            call @ Encoded::Call { .. } => Flight::Call(id, call),
            Encoded::Item(_) => {
                let Luggage { payloads, places } = luggage::pack(&self.queues, &items);
                if payloads.len() < items.len() {
                    self.places.insert(id, places);
                }
                Flight::Batch(id, payloads)
            }
        };
        for &item in &items {
            self.queues.depart(item);
        }
        self.flights.insert(id, items);
        self.rate.sent(now);
        self.breaker.departed();
        self.ready_since = (!self.queues.ready().is_empty()).then_some(now);
        Some(flight)
    }

    fn new_flight(&mut self) -> FlightId {
        self.next_flight += 1;
        FlightId(self.next_flight)
    }
}

/// Whether an item has left: it is on its way or arrived.
fn is_out(state: State) -> bool {
    matches!(state, State::InFlight | State::Landed)
}

#[cfg(test)]
mod tests;
