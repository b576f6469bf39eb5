//! The courier: takes items, composes requests, and says how each item ended.
//!
//! Not here: what leaves and when ([`departures`]), what it learns from answers ([`answers`]) and from
//! refused credentials ([`credentials`]).

mod answers;
mod credentials;
mod departures;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::backoff::Jitter;
use super::batch::Room;
use super::breaker::{Breaker, Gate};
use super::queues::{Item, ItemId, Queues, State};
use super::rate::Rate;
use super::slots::Slots;
use super::suspects::Suspects;
use crate::clock::Time;
use crate::destination::customerio::Encoded;
use crate::destination::customerio::response::ItemError;
use crate::journal::Seq;
use crate::pace::LIVE_FOR;
use crate::spec::Traffic;

/// The classes of traffic; which goes first.
const CLASSES: [Traffic; 2] = [Traffic::Live, Traffic::Backfill];
/// It is asked every second what it has to send. Where more than this has passed, the clock was set or the
/// machine slept.
const LONGEST_SILENCE: Duration = Duration::from_secs(60 * 60);
/// After this long without any request that was dealt with, somebody should look.
const STALLED_AFTER: Duration = Duration::from_secs(2 * 60);

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
        /// When it was first tried alone without success, pauses left out.
        first_failed: Option<Time>,
        /// How often it was tried alone without success.
        tries: u32,
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
    /// How many there may be now.
    pub slots: usize,
    /// Until when nothing is sent because Customer.io asked for patience.
    pub held_until: Option<Time>,
    /// Since when nothing is sent because the credentials are refused, and the status.
    pub paused: Option<(Time, u16)>,
    /// Whether the breaker is open.
    pub breaker_open: bool,
    /// Since when nothing that was sent was dealt with, though something waits, and what was answered
    /// last (`None`: nothing). A moment of that is no trouble and is not said.
    pub stalled: Option<(Time, Option<u16>)>,
}

/// The courier. See the module's documentation.
#[derive(Debug)]
pub struct Courier {
    config: CourierConfig,
    queues: Queues,
    flights: HashMap<FlightId, Flown>,
    /// How many of them are of a backfill.
    backfill: usize,
    next_flight: u64,
    next_half: u64,
    rate: Rate,
    slots: Slots,
    breaker: Breaker,
    suspects: Suspects,
    jitter: Jitter,
    /// By class: whether more of it waits outside and finds no room.
    crowded: [bool; 2],
    /// Since when nothing was dealt with, and the last answer.
    stalled: Option<(Time, Option<u16>)>,
    /// By class: since when something of it waits for company.
    waits_since: [Option<Time>; 2],
    /// Until when live traffic counts as being there.
    live_until: Time,
    pause: Option<Pause>,
    /// Until when a refusal is blamed on what was sent: the credentials were seen to be right.
    vouched_until: Option<Time>,
    /// How many refusals there were since then with no request between that was dealt with.
    refusals: u32,
    /// How long nothing could be tried, by this clock: as good as never passed.
    paused_millis: i64,
    settled: VecDeque<Settled>,
    /// The last time that it was told.
    told: Time,
}

/// What is on its way.
#[derive(Debug)]
struct Flown {
    items: Vec<ItemId>,
    /// Where several items travel as one: which element each of them is in.
    places: Option<Vec<usize>>,
    traffic: Traffic,
    /// Whether it travels apart because something in it is suspected.
    is_suspect: bool,
}

#[derive(Debug)]
struct Pause {
    since: Time,
    status: u16,
    next_probe: Time,
    probing: Option<FlightId>,
    /// Whether Customer.io knows the credentials where it is asked for the region: one request may try
    /// whether it takes events with them too.
    is_known: bool,
}

impl Courier {
    /// A courier with nothing to do.
    pub fn new(config: CourierConfig) -> Self {
        let jitter = Jitter::seeded(config.seed);
        Self {
            config,
            queues: Queues::default(),
            flights: HashMap::new(),
            backfill: 0,
            next_flight: 0,
            next_half: 0,
            rate: Rate::per_second(config.rate),
            slots: Slots::new(config.concurrency),
            breaker: Breaker::new(jitter.clone()),
            suspects: Suspects::default(),
            jitter,
            crowded: [false; 2],
            stalled: None,
            waits_since: [None; 2],
            live_until: Time::default(),
            pause: None,
            vouched_until: None,
            refusals: 0,
            paused_millis: 0,
            settled: VecDeque::new(),
            told: Time::default(),
        }
    }

    /// Takes an item, behind everything of its keys. Its first failure is a time of the clock, by which
    /// the pauses since then do not count.
    pub fn push(&mut self, mut item: Item) {
        if item.first_failed.is_some() || item.tries > 0 {
            self.suspects.add(&item.keys, self.told);
        }
        item.first_failed = item.first_failed.map(|first| self.without_pauses(first));
        self.queues.push(item);
    }

    /// Notes whether more of a class waits outside and finds no room.
    pub fn note_crowded(&mut self, traffic: Traffic, crowded: bool) {
        self.crowded[traffic as usize] = crowded;
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
            slots: self.slots.limit(),
            held_until: self.rate.held_until(now),
            paused: self.pause.as_ref().map(|pause| (pause.since, pause.status)),
            breaker_open: self.breaker.gate(now) != Gate::Closed,
            stalled: self
                .stalled
                .filter(|(since, _)| !self.queues.is_empty() && now.since(*since) >= STALLED_AFTER),
        }
    }

    /// The requests that are to be sent at `now`. Each must be answered, once, by
    /// [`Courier::answer`].
    pub fn poll(&mut self, now: Time) -> Vec<Flight> {
        let mut flights = Vec::new();
        self.note_step(now);
        self.told = now;
        if self.queues.is_empty() {
            self.stalled = None;
        }
        self.queues.wake(now);
        self.suspects.forget(now);
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
            return self.probe_due(pause, now);
        }
        let due = CLASSES.iter().filter_map(|traffic| self.due(*traffic, now));
        due.chain(self.queues.next_wake()).min()
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

    /// A clock that was set, or a machine that slept, uses up nobody's budget.
    fn note_step(&mut self, now: Time) {
        if now < self.told {
            self.paused_millis -= self.told.millis_since(now);
            self.clock_went_back(now);
        } else if self.told > Time::default() && now.since(self.told) > LONGEST_SILENCE {
            self.paused_millis += now.millis_since(self.told);
        }
    }

    /// Waits that were measured by the clock of before must not last until it is that late again.
    fn clock_went_back(&mut self, now: Time) {
        self.queues.wake(Time::NEVER);
        self.waits_since = self.waits_since.map(|since| since.map(|since| since.min(now)));
        self.live_until = self.live_until.min(now.plus(LIVE_FOR));
        self.breaker.clock_went_back(now);
        self.rate.clock_went_back(now);
        self.stalled = self.stalled.map(|(since, status)| (since.min(now), status));
        if let Some(pause) = &mut self.pause {
            pause.since = pause.since.min(now);
            pause.next_probe = pause.next_probe.min(now);
        }
    }

    fn new_flight(&mut self) -> FlightId {
        let id = self.upcoming_flight();
        self.next_flight = id.0;
        id
    }

    fn upcoming_flight(&self) -> FlightId {
        FlightId(self.next_flight + 1)
    }
}

/// Whether an item has left: it is on its way or arrived.
fn is_out(state: State) -> bool {
    matches!(state, State::InFlight | State::Landed)
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
