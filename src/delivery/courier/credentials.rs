//! What refused credentials mean: everything waits, nothing is lost, and it is tried now and then whether
//! they are accepted again.
//!
//! Not here: what other answers mean ([`super::answers`]).

use std::time::Duration;

use super::{Courier, Flight, Pause};
use crate::clock::Time;
use crate::delivery::batch;
use crate::delivery::queues::ItemId;
use crate::destination::customerio::response::Answer;
use crate::spec::Traffic;

/// How long after a pause a refusal is not the credentials' fault.
const VOUCHED_FOR: Duration = Duration::from_secs(10 * 60);
/// So many refusals with nothing between that is dealt with are the credentials' fault after all. The
/// search for one item in a full batch has fewer.
const MOST_REFUSALS: u32 = 12;
/// How often a pause is probed.
const PROBE_EVERY: Duration = Duration::from_secs(30);

impl Courier {
    /// A request was refused for its credentials. If they were seen to be right lately, something in it
    /// is refused on the way, by a firewall for example, and must not stop everybody again and again.
    pub(super) fn refused(&mut self, items: &[ItemId], status: u16, now: Time) {
        self.refusals += 1;
        let vouched =
            self.refusals <= MOST_REFUSALS && self.vouched_until.is_some_and(|until| now < until);
        match items {
            [one] if vouched => self.back_off(*one, Some(status), now),
            many if vouched => self.halve(many),
            _ => self.pause(items, status, now),
        }
    }

    /// Refused credentials are nobody's fault: everything waits. What was refused goes behind the others
    /// when it is tried whether they are accepted.
    fn pause(&mut self, items: &[ItemId], status: u16, now: Time) {
        for &id in items {
            self.queues.came_back(id, None, |entry| entry.failures += 1);
        }
        self.vouched_until = None;
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
                is_known: false,
            });
        }
    }

    /// When a pause is probed next; `None`: not before something else happens.
    pub(super) fn probe_due(&self, pause: &Pause, now: Time) -> Option<Time> {
        match pause {
            Pause { probing: Some(_), .. } => None,
            Pause { is_known: false, next_probe, .. } => Some(*next_probe),
            // What left before the pause has come back first.
            _ => self.flights.is_empty().then(|| self.rate.next(now, Traffic::Live)),
        }
    }

    /// What tries whether a pause may end, if that is due: the question for the region, and where that
    /// is answered, one item. Where there is none, the next one will show.
    pub(super) fn probe(&mut self, now: Time) -> Option<Flight> {
        let pause = self.pause.as_ref()?;
        if self.probe_due(pause, now).is_none_or(|due| now < due) {
            return None;
        }
        let id = self.upcoming_flight();
        let flight = match pause.is_known {
            false => Some(Flight::Probe(self.new_flight())),
            true => self.item_to_try(now),
        };
        match &mut self.pause {
            Some(pause) if flight.is_some() => pause.probing = Some(id),
            _ => self.end_pause(now),
        }
        flight
    }

    fn item_to_try(&mut self, now: Time) -> Option<Flight> {
        loop {
            let items = batch::probe(&self.queues);
            if !self.set_stale_aside(&items, now) {
                return self.depart(items, now);
            }
        }
    }

    /// The question for the region was answered.
    pub(super) fn probe_answered(&mut self, answer: &Answer, now: Time) {
        let Some(pause) = &mut self.pause else { return };
        pause.probing = None;
        pause.next_probe = now.plus(PROBE_EVERY);
        pause.is_known = matches!(answer, Answer::Accepted { .. });
    }

    /// The item that tried whether Customer.io takes events again was answered. Only refused credentials
    /// let the pause go on, and only what was dealt with vouches for them.
    pub(super) fn tried_out(&mut self, answer: &Answer, now: Time) {
        match answer {
            Answer::Unauthorized { status } => {
                if let Some(pause) = &mut self.pause {
                    pause.probing = None;
                    pause.next_probe = now.plus(PROBE_EVERY);
                    pause.is_known = false;
                    pause.status = *status;
                }
                return;
            }
            Answer::Accepted { .. } | Answer::Refused { .. } | Answer::TooLarge => {
                self.vouched_until = Some(now.plus(VOUCHED_FOR));
            }
            Answer::TryAgain { .. } => {}
        }
        self.end_pause(now);
    }

    fn end_pause(&mut self, now: Time) {
        if let Some(pause) = self.pause.take() {
            self.paused_millis += now.millis_since(pause.since).max(0);
            tracing::info!("Customer.io does not refuse the credentials any more: sending goes on");
        }
    }
}
