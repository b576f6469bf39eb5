//! What the courier learns from answers: who is done, who is to blame, who waits, and for how long.

use std::collections::HashMap;
use std::time::Duration;

use super::{Courier, Fate, FlightId, Flown, Settled, is_out};
use crate::clock::Time;
use crate::delivery::batch;
use crate::delivery::queues::{Entry, Half, ItemId};
use crate::destination::customerio::response::{Answer, ItemError};
use crate::spec::Traffic;

/// After this long, a failing person's events are put out of line.
const PATIENCE: Duration = Duration::from_secs(60);
/// With so many items waiting behind it, a failing one goes out of line at once: memory is for those who
/// can be delivered.
const CROWD: usize = 1000;
/// The same while others find no room.
const CROWD_IN_THE_WAY: usize = 100;
/// After so many probes that failed, whoever was the next in vain makes room for others that find none.
const PROBES_IN_VAIN: u32 = 3;
/// The wait of an item that failed in an outage, as a number of tries.
const SHORT_WAIT: u32 = 2;
/// Wait after an answer that asks for patience without saying how long.
const HOLD: Duration = Duration::from_secs(1);

impl Courier {
    /// Brings the answer to a request, at `now`.
    pub fn answer(&mut self, id: FlightId, answer: Answer, now: Time) {
        let is_probe = self.pause.as_ref().is_some_and(|pause| pause.probing == Some(id));
        let Some(Flown { items, places, traffic, is_suspect }) = self.flights.remove(&id) else {
            if is_probe {
                self.probe_answered(&answer, now);
            }
            return;
        };
        self.backfill -= usize::from(traffic == Traffic::Backfill);
        if is_probe {
            self.tried_out(&answer, now);
        }
        self.note_progress(&answer, now);
        match answer {
            Answer::Accepted { rejected } => {
                self.dealt_with(id);
                let elements = places.iter().flatten().max().map_or(items.len(), |last| last + 1);
                match (rejected.iter().find(|error| error.index >= elements), places) {
                    // An error of nothing that was sent: what it means for the others is unknown.
                    (Some(error), _) => {
                        self.split_or(&items, Fate::Rejected(error.clone(), 207), now);
                    }
                    (None, None) => self.land(&items, rejected),
                    (None, Some(places)) => self.land_together(&items, &places, &rejected),
                }
            }
            Answer::Refused { status, message } => {
                self.dealt_with(id);
                let (reason, field) = ("refused".into(), String::new());
                let error = ItemError { index: 0, reason, field, message };
                self.split_or(&items, Fate::Rejected(error, status), now);
            }
            Answer::TooLarge => {
                self.dealt_with(id);
                self.split_or(&items, Fate::TooLarge, now);
            }
            Answer::Unauthorized { status } => {
                self.breaker.answered();
                self.refused(&items, status, now);
            }
            Answer::TryAgain { status: Some(429), retry_after, .. } => {
                self.breaker.answered();
                self.rate.hold(now.plus(retry_after.unwrap_or(HOLD).max(HOLD)));
                self.slots.overrun(self.upcoming_flight());
                self.return_all(&items);
            }
            Answer::TryAgain { status, retry_after, .. } => {
                if let Some(after) = retry_after {
                    self.rate.hold(now.plus(after));
                }
                // What is suspected has most probably failed by itself.
                if !is_suspect {
                    self.slots.failed(id, self.upcoming_flight());
                }
                self.try_again((id, &items), status, now);
            }
        }
    }

    /// The request reached Customer.io and was dealt with, whatever the answer.
    fn dealt_with(&mut self, id: FlightId) {
        self.breaker.succeeded();
        self.slots.answered(id);
        self.refusals = 0;
    }

    /// Notes since when nothing is dealt with.
    fn note_progress(&mut self, answer: &Answer, now: Time) {
        let status = match answer {
            Answer::Accepted { .. } | Answer::Refused { .. } | Answer::TooLarge => {
                self.stalled = None;
                return;
            }
            Answer::Unauthorized { status } => Some(*status),
            Answer::TryAgain { status, .. } => *status,
        };
        let since = self.stalled.map_or(now, |(since, _)| since);
        self.stalled = Some((since, status));
    }

    /// Every item that is not listed is accepted; the last error of an item counts.
    fn land(&mut self, items: &[ItemId], rejected: Vec<ItemError>) {
        let mut errors: HashMap<usize, ItemError> =
            rejected.into_iter().map(|error| (error.index, error)).collect();
        for (index, &id) in items.iter().enumerate() {
            if let Some(error) = errors.remove(&index) {
                self.settle(id, Fate::Rejected(error, 207));
                continue;
            }
            let Some(entry) = self.queues.entry(id) else { continue };
            self.suspects.clear(&entry.item.keys);
            if entry.item.barrier {
                self.queues.landed(id);
                self.settled.push_back(Settled { id, fate: Fate::DeliveredBarrier });
            } else {
                self.settle(id, Fate::Delivered);
            }
        }
    }

    /// As [`Self::land`], where several items travelled as one. If that one is listed, nobody knows which
    /// of them is meant: each is sent alone.
    fn land_together(&mut self, items: &[ItemId], places: &[usize], rejected: &[ItemError]) {
        let mut errors = Vec::new();
        let mut landed = Vec::new();
        let mut unclear = Vec::new();
        for (&id, &place) in items.iter().zip(places) {
            let error = rejected.iter().rfind(|error| error.index == place);
            let is_alone = places.iter().filter(|other| **other == place).count() == 1;
            match error {
                Some(_) if !is_alone => unclear.push(id),
                error => {
                    errors.extend(
                        error.map(|error| ItemError { index: landed.len(), ..error.clone() }),
                    );
                    landed.push(id);
                }
            }
        }
        self.land(&landed, errors);
        for id in unclear {
            self.travels_with(&[id]);
        }
    }

    fn settle(&mut self, id: ItemId, fate: Fate) {
        self.queues.remove(id);
        self.settled.push_back(Settled { id, fate });
    }

    /// A batch that was refused as a whole is halved until the culprit is alone. Whose it was is
    /// suspected from then on: the next one may be as bad.
    fn split_or(&mut self, items: &[ItemId], fate: Fate, now: Time) {
        match items {
            [] => {}
            [one] => {
                self.suspect(*one, now);
                self.settle(*one, fate);
            }
            _ => self.halve(items),
        }
    }

    /// A batch failed as a whole: it goes again in halves, at once.
    pub(super) fn halve(&mut self, items: &[ItemId]) {
        let first = items.first().and_then(|first| self.queues.entry(*first));
        if let Some(traffic) = first.map(|entry| entry.traffic) {
            self.waits_since[traffic as usize] = Some(Time::default());
        }
        for half in batch::halves(&self.queues, items) {
            self.travels_with(&half);
        }
    }

    /// Lets items of a batch that failed travel together and with nobody else.
    fn travels_with(&mut self, items: &[ItemId]) {
        self.next_half += 1;
        let half = Half { number: self.next_half, items: items.len() };
        for &id in items {
            self.queues.came_back(id, None, |entry| {
                entry.half = Some(half);
                entry.failures += 1;
            });
        }
    }

    fn suspect(&mut self, id: ItemId, now: Time) {
        if let Some(entry) = self.queues.entry(id) {
            self.suspects.add(&entry.item.keys, now);
        }
    }

    fn return_all(&mut self, items: &[ItemId]) {
        for &id in items {
            self.queues.came_back(id, None, |_| {});
        }
    }

    /// A failure that may pass. The batch is sent again in halves, down to one item; then only its
    /// person waits. A probe of the breaker goes the same way: an item that fails all the time must
    /// not be the only one that is ever tried.
    fn try_again(
        &mut self,
        (flight, items): (FlightId, &[ItemId]),
        status: Option<u16>,
        now: Time,
    ) {
        let outage = self.breaker.failed(flight, now) || !self.breaker.others_succeed();
        match items {
            [one] if outage => {
                // An outage is nobody's fault, and uses up nobody's budget. If it is the item's after
                // all, the next probe is another one.
                self.travels_with(&[*one]);
                let wait = self.jitter.wait(SHORT_WAIT);
                if self.is_in_the_way(*one) {
                    // Those who are here may all fail whoever is well: whether it is an outage can only
                    // be seen by others. If it is one, those who leave lose nothing but the wait.
                    self.suspect(*one, now);
                    self.postpone(*one, now.plus(wait.max(PATIENCE / 2)), status);
                } else {
                    self.queues.came_back(*one, Some(now.plus(wait)), |_| {});
                }
            }
            [one] => self.back_off(*one, status, now),
            _ => self.halve(items),
        }
    }

    /// Whether an item keeps others from coming in, though nobody can be served for some time.
    fn is_in_the_way(&self, id: ItemId) -> bool {
        let traffic = self.queues.entry(id).map(|entry| entry.traffic);
        traffic.is_some_and(|traffic| self.crowded[traffic as usize])
            && self.breaker.failed_probes() >= PROBES_IN_VAIN
    }

    /// One item alone failed: it waits, and its person with it; after a while, out of line.
    pub(super) fn back_off(&mut self, id: ItemId, status: Option<u16>, now: Time) {
        let at = self.without_pauses(now);
        let mut tries = 0;
        let mut first = at;
        self.suspect(id, now);
        self.travels_with(&[id]);
        self.queues.came_back(id, None, |entry: &mut Entry| {
            entry.tries += 1;
            tries = entry.tries;
            first = *entry.first_failed.get_or_insert(at);
        });
        if at.since(first) > self.config.age_budget {
            return self.settle(id, Fate::Expired);
        }
        let wait = self.jitter.wait(tries);
        let crowd = if self.crowded.contains(&true) { CROWD_IN_THE_WAY } else { CROWD };
        if at.since(first) < PATIENCE && self.queues.length(id) < crowd {
            self.queues.came_back(id, Some(now.plus(wait)), |_| {});
            return;
        }
        self.postpone(id, now.plus(wait.max(PATIENCE / 2)), status);
    }

    /// Takes an item, unless it has left, and everything that waits behind it out of line, to be
    /// taken up again at `due` in the same order.
    pub fn step_back(&mut self, id: ItemId, due: Time) {
        self.postpone(id, due, None);
    }

    /// Takes an item and everything that waits behind it out of line, but what has left. Who came back
    /// must be known to have.
    fn postpone(&mut self, id: ItemId, due: Time, status: Option<u16>) {
        for other in self.queues.behind(id) {
            let Some(entry) = self.queues.entry(other) else { continue };
            if is_out(entry.state) {
                continue;
            }
            let tries = entry.tries;
            let first_failed = entry.first_failed.map(|first| self.with_pauses(first));
            let status = status.filter(|_| other == id);
            self.settle(other, Fate::Postponed { due, first_failed, tries, status });
        }
    }

    /// Time in which nothing could be sent does not use up anybody's budget.
    pub(super) fn without_pauses(&self, now: Time) -> Time {
        Time::from_millis(now.millis() - self.paused_millis)
    }

    fn with_pauses(&self, at: Time) -> Time {
        Time::from_millis(at.millis() + self.paused_millis)
    }
}
