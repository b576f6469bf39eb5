//! The courier: takes items, composes requests, learns from answers, and says how each item ended.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::backoff::Jitter;
use super::batch::{self, Room};
use super::breaker::{Breaker, Gate};
use super::queues::{Entry, Item, ItemId, Queues, State};
use super::rate::Rate;
use crate::clock::Time;
use crate::destination::customerio::Encoded;
use crate::destination::customerio::response::{Answer, ItemError};
use crate::journal::Seq;
use crate::spec::Traffic;

/// After this long, a failing person's events are put out of line.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a pause is probed.
const PROBE_EVERY: Duration = Duration::from_secs(30);
/// The wait of an item that failed in an outage, as a number of tries.
const SHORT_WAIT: u32 = 2;
/// Wait after an answer that asks for patience without saying how long.
const HOLD: Duration = Duration::from_secs(1);

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
    /// The guard must be asked again before it is sent.
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
    next_flight: u64,
    rate: Rate,
    breaker: Breaker,
    jitter: Jitter,
    ready_since: Option<Time>,
    pause: Option<Pause>,
    paused_millis: i64,
    settled: VecDeque<Settled>,
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
            next_flight: 0,
            rate: Rate::per_second(config.rate),
            breaker: Breaker::new(jitter.clone()),
            jitter,
            ready_since: None,
            pause: None,
            paused_millis: 0,
            settled: VecDeque::new(),
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
            Gate::Open(until) => until,
            Gate::Closed | Gate::Probe => self.departure(now),
        };
        Some(go.max(self.rate.next(now)).min(wake.unwrap_or(Time::NEVER)))
    }

    /// Brings the answer to a request, at `now`.
    pub fn answer(&mut self, id: FlightId, answer: Answer, now: Time) {
        if self.pause.as_ref().is_some_and(|pause| pause.probing == Some(id)) {
            return self.probe_answered(&answer, now);
        }
        let Some(items) = self.flights.remove(&id) else { return };
        match answer {
            Answer::Accepted { rejected } => {
                self.breaker.succeeded();
                self.land(&items, rejected);
            }
            Answer::Refused { status, message } => {
                self.breaker.succeeded();
                self.split_or(&items, {
                    Fate::Rejected(
                        ItemError {
                            index: 0,
                            reason: "refused".into(),
                            field: String::new(),
                            message,
                        },
                        status,
                    )
                });
            }
            Answer::TooLarge => {
                self.breaker.succeeded();
                self.split_or(&items, Fate::TooLarge);
            }
            Answer::Unauthorized { status } => {
                self.breaker.answered();
                self.pause(&items, status, now);
            }
            Answer::TryAgain { status: Some(429 | 408), retry_after, .. } => {
                self.breaker.answered();
                self.rate.hold(now.plus(retry_after.unwrap_or(HOLD)));
                self.return_all(&items, false);
            }
            Answer::TryAgain { status, retry_after, unknown_fate } => {
                if let Some(after) = retry_after {
                    self.rate.hold(now.plus(after));
                }
                self.try_again(&items, status, unknown_fate, now);
            }
        }
    }

    /// Notes that the settlement of a barrier is durable: what is behind it may leave.
    pub fn made_durable(&mut self, id: ItemId) {
        if self.queues.entry(id).is_some_and(|entry| entry.state == State::Landed) {
            self.queues.remove(id);
        }
    }

    /// Takes the items of an event back that are not on their way.
    pub fn withdraw(&mut self, traffic: Traffic, seq: Seq) {
        for id in self.queues.of_event(traffic, seq) {
            if self.queues.entry(id).is_some_and(|entry| !is_out(entry.state)) {
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
            let items = batch::compose(&self.queues, self.config.room);
            if self.set_stale_aside(&items, now) {
                continue;
            }
            return self.depart(items, now);
        }
    }

    /// How many requests may fly, given what is next: a backfill leaves one slot to live traffic.
    fn slots(&self) -> usize {
        match self.queues.ready().first().map(|id| id.traffic) {
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

    /// Items whose verdict has run out are asked about again, unless Customer.io may have them
    /// already; answers whether there were any.
    fn set_stale_aside(&mut self, items: &[ItemId], now: Time) -> bool {
        let mut any = false;
        for &id in items {
            let stale = self.queues.entry(id).is_some_and(|entry| {
                !entry.unknown_fate && entry.item.valid_until.is_some_and(|until| until <= now)
            });
            if stale {
                self.queues.remove(id);
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
                Flight::Batch(id, items.iter().filter_map(|item| self.payload(*item)).collect())
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

    fn payload(&self, id: ItemId) -> Option<Bytes> {
        match &self.queues.entry(id)?.item.payload {
            Encoded::Item(bytes) => Some(Bytes::copy_from_slice(bytes)),
            Encoded::Call { .. } => None,
        }
    }

    fn new_flight(&mut self) -> FlightId {
        self.next_flight += 1;
        FlightId(self.next_flight)
    }

    /// Every item that is not listed is accepted; the last error of an item counts.
    fn land(&mut self, items: &[ItemId], rejected: Vec<ItemError>) {
        let mut errors: HashMap<usize, ItemError> =
            rejected.into_iter().map(|error| (error.index, error)).collect();
        for (index, &id) in items.iter().enumerate() {
            match errors.remove(&index) {
                Some(error) => self.settle(id, Fate::Rejected(error, 207)),
                None if self.queues.entry(id).is_some_and(|entry| entry.item.barrier) => {
                    self.queues.landed(id);
                    self.settled.push_back(Settled { id, fate: Fate::DeliveredBarrier });
                }
                None => self.settle(id, Fate::Delivered),
            }
        }
    }

    fn settle(&mut self, id: ItemId, fate: Fate) {
        self.queues.remove(id);
        self.settled.push_back(Settled { id, fate });
    }

    /// A batch that was refused as a whole is halved until the culprit is alone.
    fn split_or(&mut self, items: &[ItemId], fate: Fate) {
        match items {
            [] => {}
            [one] => self.settle(*one, fate),
            _ => self.halve(items, false),
        }
    }

    fn halve(&mut self, items: &[ItemId], unknown_fate: bool) {
        let company = (items.len() / 2).max(1);
        for &id in items {
            self.queues.came_back(id, None, |entry| {
                entry.company = company;
                entry.unknown_fate |= unknown_fate;
            });
        }
    }

    fn return_all(&mut self, items: &[ItemId], unknown_fate: bool) {
        for &id in items {
            self.queues.came_back(id, None, |entry| entry.unknown_fate |= unknown_fate);
        }
    }

    /// A failure that may pass. The batch is sent again in halves, down to one item; then only its
    /// person waits. A probe of the breaker goes the same way: an item that fails all the time must
    /// not be the only one that is ever tried.
    fn try_again(&mut self, items: &[ItemId], status: Option<u16>, unknown_fate: bool, now: Time) {
        let outage = self.breaker.failed(now) || !self.breaker.others_succeed();
        match items {
            [one] if outage => {
                // An outage is nobody's fault, and uses up nobody's budget.
                let until = now.plus(self.jitter.wait(SHORT_WAIT));
                self.queues.came_back(*one, Some(until), |entry| entry.unknown_fate |= unknown_fate);
            }
            [one] => self.back_off(*one, status, unknown_fate, now),
            _ => self.halve(items, unknown_fate),
        }
    }

    /// One item alone failed: it waits, and its person with it; after a while, out of line.
    fn back_off(&mut self, id: ItemId, status: Option<u16>, unknown_fate: bool, now: Time) {
        let at = self.without_pauses(now);
        let mut tries = 0;
        let mut first = at;
        self.queues.came_back(id, None, |entry: &mut Entry| {
            entry.tries += 1;
            entry.unknown_fate |= unknown_fate;
            tries = entry.tries;
            first = *entry.first_failed.get_or_insert(at);
        });
        if at.since(first) > self.config.age_budget {
            return self.settle(id, Fate::Expired);
        }
        let wait = self.jitter.wait(tries);
        if at.since(first) < PATIENCE {
            self.queues.came_back(id, Some(now.plus(wait)), |_| {});
            return;
        }
        self.postpone(id, now.plus(wait.max(PATIENCE / 2)), status);
    }

    /// Takes an item and everything that waits behind it out of line.
    fn postpone(&mut self, id: ItemId, due: Time, status: Option<u16>) {
        for other in self.queues.behind(id) {
            let Some(entry) = self.queues.entry(other) else { continue };
            if is_out(entry.state) {
                continue;
            }
            let first_failed = entry.first_failed.map(|first| self.with_pauses(first));
            let status = status.filter(|_| other == id);
            self.settle(other, Fate::Postponed { due, first_failed, status });
        }
    }

    /// Time in which nothing could be sent does not use up anybody's budget.
    fn without_pauses(&self, now: Time) -> Time {
        Time::from_millis(now.millis() - self.paused_millis)
    }

    fn with_pauses(&self, at: Time) -> Time {
        Time::from_millis(at.millis() + self.paused_millis)
    }

    /// Refused credentials are nobody's fault: everything waits, nothing is lost.
    fn pause(&mut self, items: &[ItemId], status: u16, now: Time) {
        self.return_all(items, false);
        if self.pause.is_none() {
            tracing::error!(
                status,
                "Customer.io refuses the credentials: sending is paused and nothing is lost; \
                 check [customerio] site_id, api_key and region"
            );
            self.pause = Some(Pause {
                since: now,
                status,
                next_probe: now.plus(PROBE_EVERY),
                probing: None,
            });
        }
    }

    fn probe(&mut self, now: Time) -> Option<Flight> {
        let due = self
            .pause
            .as_ref()
            .is_some_and(|pause| pause.probing.is_none() && pause.next_probe <= now);
        if !due {
            return None;
        }
        let id = self.new_flight();
        let pause = self.pause.as_mut()?;
        pause.probing = Some(id);
        Some(Flight::Probe(id))
    }

    fn probe_answered(&mut self, answer: &Answer, now: Time) {
        let Some(pause) = &mut self.pause else { return };
        pause.probing = None;
        pause.next_probe = now.plus(PROBE_EVERY);
        if matches!(answer, Answer::Accepted { .. }) {
            self.paused_millis += now.millis_since(pause.since).max(0);
            self.pause = None;
            tracing::info!("Customer.io accepts the credentials again: sending goes on");
        }
    }
}

/// Whether an item has left: it is on its way or arrived.
fn is_out(state: State) -> bool {
    matches!(state, State::InFlight | State::Landed)
}

#[cfg(test)]
mod tests;
