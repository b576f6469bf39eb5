//! The relay's way in: what is read when, handed to the script threads, and put back into order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::run::Driver;
use super::scripts::{Done, Job};
use crate::clock::Time;
use crate::journal::{JournalError, Seq, Stored};
use crate::outcome::{DeadCode, DeadLetter, Outcome, Stage};
use crate::pace::{LIVE_FOR, LONGEST_REST, rest_after};
use crate::pipeline::{Origin, Prepared};
use crate::spec::Traffic;

/// How long the journal is left alone after it failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Events per job of a script thread.
const CHUNK: usize = 64;
/// Bytes of events without an end that are held in memory, of both classes.
const BYTES_IN_MEMORY: usize = 32 << 20;

/// Where reading stands, and what has been read and is not prepared yet.
#[derive(Default)]
pub(super) struct Feed {
    live: Lane,
    /// A backfill, and what was out of line and is due: order matters within a class only, and neither may
    /// keep live traffic waiting.
    backfill: Lane,
    /// Until when live traffic counts as being there.
    live_until: Time,
    /// Until when a backfill rests, while it does.
    rests_until: Time,
    /// When deferred events are to be looked for.
    pub(super) look_at: Time,
    /// After a failure, when the journal is asked again.
    retry_at: Time,
    /// Events that were read and could not be handed on, and as what.
    kept: Option<(Traffic, Vec<Stored>)>,
    /// Whether the journal has a note of an event that is tried alone.
    noted: bool,
}

/// What of a class is at the script threads, or behind them and waits for what was read before it.
#[derive(Default)]
struct Lane {
    /// The last event that was read from the queue.
    read: Option<Seq>,
    /// When the last job went to the script threads.
    sent_at: Time,
    next_ticket: u64,
    next_admitted: u64,
    waiting: BTreeMap<u64, Done>,
}

impl Lane {
    /// Takes what is to be admitted next, if it is prepared.
    fn next(&mut self) -> Option<Done> {
        self.waiting.remove(&self.next_admitted)
    }

    fn outstanding(&self) -> usize {
        usize::try_from(self.next_ticket - self.next_admitted).unwrap_or(usize::MAX)
    }
}

impl Feed {
    /// When there is something to look for, after a failure not at once.
    pub(super) fn next_look(&self, now: Time) -> Time {
        let look = self.look_at.max(self.retry_at);
        if self.backfill_rests(now) { look.min(self.rests_until) } else { look }
    }

    /// The journal could not be read: what it is asked next waits a moment.
    pub(super) fn failed(&mut self, error: &JournalError, now: Time) {
        tracing::error!(%error, "the journal cannot be read; trying again");
        self.retry_at = now.plus(RETRY_AFTER);
    }

    /// Whether a failure is so fresh that trying again would be spinning.
    fn rests(&self, now: Time) -> bool {
        is_ahead(self.retry_at, now, RETRY_AFTER)
    }

    fn live_is_there(&self, now: Time) -> bool {
        is_ahead(self.live_until, now, LIVE_FOR)
    }

    fn backfill_rests(&self, now: Time) -> bool {
        is_ahead(self.rests_until, now, LONGEST_REST)
    }

    fn outstanding(&self) -> usize {
        self.live.outstanding() + self.backfill.outstanding()
    }

    fn lane(&mut self, traffic: Traffic) -> &mut Lane {
        match traffic {
            Traffic::Live => &mut self.live,
            Traffic::Backfill => &mut self.backfill,
        }
    }
}

/// Whether a time is still to come, and no further than it was set: a clock that was set back does not
/// count.
fn is_ahead(at: Time, now: Time, furthest: Duration) -> bool {
    now < at && at <= now.plus(furthest)
}

impl Driver {
    /// Reads what there is to do. Live traffic comes first in every round; what is due may be a whole
    /// backfill whose parking ends, so it gets a turn, never precedence.
    pub(super) fn read(&mut self, now: Time) -> Result<(), JournalError> {
        if self.feed.rests(now) {
            return Ok(());
        }
        if let Some((traffic, kept)) = self.feed.kept.take() {
            self.dispatch(traffic, kept)?;
        }
        if self.careful == 0 {
            self.end_careful_mode()?;
        }
        let max = if self.careful > 0 { 1 } else { CHUNK };
        let mut any = true;
        while any {
            any = false;
            if self.has_room(Traffic::Live, now) {
                let live = self.relay.journal.read(Traffic::Live, self.feed.live.read, max)?;
                self.feed.live.read = live.last().map(|event| event.seq).or(self.feed.live.read);
                if !live.is_empty() {
                    self.feed.live_until = now.plus(LIVE_FOR);
                }
                any = self.dispatch(Traffic::Live, live)?;
            }
            // What is due may be of either class.
            let may_hold = self.may_hold(Traffic::Live) && self.has_room(Traffic::Backfill, now);
            if self.feed.look_at <= now && may_hold {
                let due = self.relay.journal.take_due(now, max)?;
                if due.is_empty() {
                    self.feed.look_at = self.relay.journal.next_due()?.unwrap_or(Time::NEVER);
                }
                any |= self.dispatch(Traffic::Backfill, due)?;
            }
            if !any && self.has_room(Traffic::Backfill, now) {
                let read = self.feed.backfill.read;
                let old = self.relay.journal.read(Traffic::Backfill, read, max)?;
                self.feed.backfill.read = old.last().map(|event| event.seq).or(read);
                any = self.dispatch(Traffic::Backfill, old)?;
            }
        }
        match self.has_room(Traffic::Live, now) {
            true => self.end_careful_mode(),
            false => Ok(()),
        }
    }

    /// Whether more of a class may be read. While live traffic is there, a backfill has one job at the
    /// script threads at a time, so that live events find one that is free, and rests in between.
    fn has_room(&self, traffic: Traffic, now: Time) -> bool {
        let jobs = match traffic {
            Traffic::Live => self.most_jobs,
            Traffic::Backfill if self.feed.backfill_rests(now) => return false,
            Traffic::Backfill if self.feed.live_is_there(now) => 1,
            Traffic::Backfill => self.most_jobs / 2,
        };
        let outstanding = match (self.careful, traffic) {
            (0, Traffic::Live) => self.feed.live.outstanding(),
            (0, Traffic::Backfill) => self.feed.backfill.outstanding(),
            _ => self.feed.outstanding(),
        };
        outstanding < if self.careful > 0 { 1 } else { jobs } && self.may_hold(traffic)
    }

    /// Whether memory has room for more of a class; a backfill stops at half of the bytes.
    fn may_hold(&self, traffic: Traffic) -> bool {
        let share = if traffic == Traffic::Backfill { 2 } else { 1 };
        // What has ended and cannot be written takes as much room as what has not.
        self.core.unsettled(traffic) + self.core.unwritten() < self.most_unsettled
            && self.core.bytes() < BYTES_IN_MEMORY / share
    }

    /// Tells the courier for whom there is no room.
    pub(super) fn note_crowded(&mut self) {
        for traffic in [Traffic::Live, Traffic::Backfill] {
            self.core.note_crowded(traffic, !self.may_hold(traffic));
        }
    }

    /// Hands events to the script threads; answers whether there were any.
    fn dispatch(
        &mut self,
        traffic: Traffic,
        mut events: Vec<Stored>,
    ) -> Result<bool, JournalError> {
        let now = self.relay.clock.now();
        if events.is_empty() {
            return Ok(false);
        }
        if self.careful > 0 {
            let seq = events.first().map(|event| event.seq);
            if let Err(error) = self.relay.journal.note_trying(seq) {
                // Nobody reads them a second time.
                self.feed.kept = Some((traffic, events));
                return Err(error);
            }
            self.feed.noted = true;
            if seq.is_some() && seq == self.suspect {
                if let Err(error) = self.bury(&events) {
                    self.feed.kept = Some((traffic, events));
                    return Err(error);
                }
                self.suspect = None;
                self.careful -= 1;
                return Ok(true);
            }
            self.careful -= 1;
        }
        events.shrink_to_fit();
        let lane = self.feed.lane(traffic);
        let job = Job { traffic, ticket: lane.next_ticket, events };
        lane.next_ticket += 1;
        lane.sent_at = now;
        match &self.jobs {
            Some(jobs) if jobs.send(job).is_ok() => Ok(true),
            _ => Err(JournalError::Failed("the script threads are gone".into())),
        }
    }

    /// The process went down while this event was tried alone: it must not do so again.
    fn bury(&mut self, events: &[Stored]) -> Result<(), JournalError> {
        let now = self.relay.clock.now();
        for event in events {
            let letter = DeadLetter::new(
                DeadCode::CrashedProcess,
                Stage::Transform,
                "the process went down again and again while it worked on this event alone; it was not tried once more",
            );
            let arrival = event.call.as_ref().map(|call| call.arrival.clone()).unwrap_or_default();
            let prepared = Prepared {
                origin: Origin::of(&arrival),
                result: Err(Outcome::DeadLettered(letter)),
                checks: Arc::default(),
                bundle: Arc::from(self.relay.bundle.load().hash()),
            };
            self.core.admit(event, &prepared, now)?;
        }
        Ok(())
    }

    fn end_careful_mode(&mut self) -> Result<(), JournalError> {
        if self.feed.outstanding() > 0 {
            return Ok(());
        }
        self.careful = 0;
        if self.feed.noted {
            self.relay.journal.note_trying(None)?;
            self.feed.noted = false;
        }
        Ok(())
    }

    /// Puts prepared events back into the order of acceptance and admits them.
    pub(super) fn prepared(&mut self, done: Done) {
        let (now, traffic) = (self.relay.clock.now(), done.traffic);
        let took = now.since(self.feed.lane(traffic).sent_at);
        self.feed.lane(traffic).waiting.insert(done.ticket, done);
        self.admit_waiting();
        if traffic == Traffic::Backfill && self.feed.live_is_there(now) {
            self.feed.rests_until = now.plus(rest_after(took));
        }
        // What it survived is not to be blamed when somebody kills the process now. A note that cannot
        // be taken back is taken back with the next one.
        if self.feed.noted
            && self.feed.outstanding() == 0
            && self.relay.journal.note_trying(None).is_ok()
        {
            self.feed.noted = false;
        }
    }

    pub(super) fn admit_waiting(&mut self) {
        let now = self.relay.clock.now();
        if self.feed.rests(now) {
            return;
        }
        for traffic in [Traffic::Live, Traffic::Backfill] {
            while let Some(mut done) = self.feed.lane(traffic).next() {
                if let Err(error) = self.admit(&mut done, now) {
                    self.feed.failed(&error, now);
                    self.feed.lane(traffic).waiting.insert(done.ticket, done);
                    return;
                }
                self.feed.lane(traffic).next_admitted += 1;
                done.go_home();
            }
        }
    }

    /// Admits events one by one, from the first that was not.
    fn admit(&mut self, done: &mut Done, now: Time) -> Result<(), JournalError> {
        let rest = &done.events[done.admitted..];
        self.core.prefetch(rest.iter().map(|(_, prepared)| prepared), now)?;
        for (stored, prepared) in rest {
            self.core.admit(stored, prepared, now)?;
            done.admitted += 1;
        }
        Ok(())
    }
}
