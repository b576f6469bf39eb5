//! The relay's way in: what is read when, handed to the script threads, and put back into order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::run::Driver;
use super::scripts::{Done, Job};
use crate::clock::Time;
use crate::journal::{JournalError, Place, Seq, Stored};
use crate::outcome::{DeadCode, DeadLetter, Outcome, Stage};
use crate::pace::{LIVE_FOR, LONGEST_REST, rest_after};
use crate::pipeline::{Origin, Prepared};
use crate::spec::Traffic;

/// How long the journal is left alone after it failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Events per job of a script thread.
pub(super) const CHUNK: usize = 64;
/// Bytes of events per job, but for one that is larger by itself: while they are worked on they take many
/// times that.
const JOB_BYTES: usize = 256 * 1024;
/// Bytes of events without an end that are held in memory, of both classes.
const BYTES_IN_MEMORY: usize = 32 << 20;

/// Where events are read from.
const PLACES: [Place; 3] =
    [Place::Queue(Traffic::Live), Place::Deferred, Place::Queue(Traffic::Backfill)];

fn index_of(place: Place) -> usize {
    match place {
        Place::Queue(Traffic::Live) => 0,
        Place::Deferred => 1,
        Place::Queue(Traffic::Backfill) => 2,
    }
}

/// The lane of what comes from a place.
fn lane_of(place: Place) -> Traffic {
    match place {
        Place::Queue(traffic) => traffic,
        Place::Deferred => Traffic::Backfill,
    }
}

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
    /// By place.
    spots: [Spot; 3],
    /// The lane of the event of which the journal has a note that it is tried alone.
    noted: Option<Traffic>,
}

/// What is known of a place that events are read from.
#[derive(Clone, Copy, Default)]
struct Spot {
    /// After a failure, when it is read again.
    retry_at: Time,
    /// So many of its next events are tried alone.
    alone: usize,
}

/// What of a class is at the script threads, or behind them and waits for what was read before it.
#[derive(Default)]
struct Lane {
    /// The last event that was read from the queue.
    read: Option<Seq>,
    /// Events that were read and could not be handed on.
    kept: Option<Vec<Stored>>,
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
    /// After an unclean stop so many events of each place are tried alone: any that were in memory then may
    /// have brought the process down.
    pub(super) fn be_careful(&mut self, events: usize) {
        self.spots.iter_mut().for_each(|spot| spot.alone = events);
    }

    /// Whether what comes next through a lane is tried alone, or what came last still is.
    fn is_careful(&self, traffic: Traffic) -> bool {
        let is_next = |place| lane_of(place) == traffic && self.spot(place).alone > 0;
        self.noted == Some(traffic) || PLACES.into_iter().any(is_next)
    }

    /// The journal could not be read, for what comes from this place: what it is asked next about it waits a
    /// moment. What cannot be read keeps nothing else waiting.
    fn failed(&mut self, place: Place, error: &JournalError, now: Time) {
        tracing::error!(%error, "the journal cannot be read; trying again");
        self.spot_mut(place).retry_at = now.plus(RETRY_AFTER);
    }

    /// Whether a failure is so fresh that trying again would be spinning.
    fn failed_just_now(&self, place: Place, now: Time) -> bool {
        is_ahead(self.spot(place).retry_at, now, RETRY_AFTER)
    }

    fn spot(&self, place: Place) -> Spot {
        self.spots[index_of(place)]
    }

    fn spot_mut(&mut self, place: Place) -> &mut Spot {
        &mut self.spots[index_of(place)]
    }

    fn live_is_there(&self, now: Time) -> bool {
        is_ahead(self.live_until, now, LIVE_FOR)
    }

    fn backfill_rests(&self, now: Time) -> bool {
        is_ahead(self.rests_until, now, LONGEST_REST)
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

/// Events in pieces of [`JOB_BYTES`], in their order.
fn in_pieces(events: Vec<Stored>) -> Vec<Vec<Stored>> {
    let mut pieces: Vec<Vec<Stored>> = Vec::new();
    let mut room = 0;
    for stored in events {
        let size = stored.call.as_ref().map_or(0, |call| call.body.len());
        match pieces.last_mut() {
            Some(piece) if size <= room => {
                room -= size;
                piece.push(stored);
            }
            _ => {
                room = JOB_BYTES.saturating_sub(size);
                pieces.push(vec![stored]);
            }
        }
    }
    pieces.iter_mut().for_each(Vec::shrink_to_fit);
    pieces
}

impl Driver {
    /// Reads what there is to do. Live traffic comes first in every round; what is due may be a whole
    /// backfill whose parking ends, so it gets a turn, never precedence.
    pub(super) fn read(&mut self, now: Time) {
        self.take_note_back();
        let mut any = true;
        while any {
            any = self.read_from(Place::Queue(Traffic::Live), now);
            any |= self.read_from(Place::Deferred, now);
            any = any || self.read_from(Place::Queue(Traffic::Backfill), now);
        }
        // Where nothing is left there is no culprit; what there is no room for now, or cannot be read, may
        // still be one.
        for place in PLACES {
            if self.may_read(place, now) {
                self.feed.spot_mut(place).alone = 0;
            }
        }
    }

    /// When there is something to read although nothing has happened. What makes room is a message.
    pub(super) fn next_read(&self, now: Time) -> Time {
        if self.may_read(Place::Deferred, now) {
            self.feed.look_at
        } else if self.feed.backfill_rests(now) {
            self.feed.rests_until
        } else {
            Time::NEVER
        }
    }

    /// Reads from a place and hands on what is there; answers whether there was anything.
    fn read_from(&mut self, place: Place, now: Time) -> bool {
        if !self.may_read(place, now) || (place == Place::Deferred && now < self.feed.look_at) {
            return false;
        }
        let found = self.next_of(place, now).and_then(|events| self.dispatch(place, events));
        found.unwrap_or_else(|error| {
            self.feed.failed(place, &error, now);
            false
        })
    }

    fn next_of(&mut self, place: Place, now: Time) -> Result<Vec<Stored>, JournalError> {
        let max = if self.feed.spot(place).alone > 0 { 1 } else { CHUNK };
        let (journal, lane) = (&self.relay.journal, self.feed.lane(lane_of(place)));
        if let Some(kept) = lane.kept.take() {
            return Ok(kept);
        }
        let Place::Queue(traffic) = place else {
            let due = journal.take_due(now, max)?;
            if due.is_empty() {
                self.feed.look_at = journal.next_due()?.unwrap_or(Time::NEVER);
            }
            return Ok(due);
        };
        let events = journal.read(traffic, lane.read, max)?;
        lane.read = events.last().map(|event| event.seq).or(lane.read);
        if traffic == Traffic::Live && !events.is_empty() {
            self.feed.live_until = now.plus(LIVE_FOR);
        }
        Ok(events)
    }

    /// Whether there is room for what comes from a place, and reading it has not failed just now.
    fn may_read(&self, place: Place, now: Time) -> bool {
        // What is due may be of either class.
        let fits = place != Place::Deferred || self.may_hold(Traffic::Live);
        fits && self.has_room(lane_of(place), now) && !self.feed.failed_just_now(place, now)
    }

    /// Whether more of a class may be read. While live traffic is there, a backfill has one job at the
    /// script threads at a time, so that live events find one that is free, and rests in between.
    fn has_room(&self, traffic: Traffic, now: Time) -> bool {
        let (live, backfill) = (self.feed.live.outstanding(), self.feed.backfill.outstanding());
        let (outstanding, jobs) = match traffic {
            Traffic::Backfill if self.feed.backfill_rests(now) => return false,
            // A live event that is tried alone is the only one of all.
            _ if self.feed.is_careful(Traffic::Live) => (live + backfill, 1),
            Traffic::Backfill if self.feed.is_careful(Traffic::Backfill) => (backfill, 1),
            Traffic::Live => (live, self.most_jobs),
            Traffic::Backfill if self.feed.live_is_there(now) => (backfill, 1),
            Traffic::Backfill => (backfill, self.most_jobs / 2),
        };
        outstanding < jobs && self.may_hold(traffic)
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
    fn dispatch(&mut self, place: Place, events: Vec<Stored>) -> Result<bool, JournalError> {
        if events.is_empty() {
            return Ok(false);
        }
        let traffic = lane_of(place);
        if self.feed.spot(place).alone > 0 {
            match self.goes_on_alone(place, &events) {
                Ok(true) => {}
                Ok(false) => return Ok(true),
                Err(error) => {
                    // Nobody reads them a second time.
                    self.feed.lane(traffic).kept = Some(events);
                    return Err(error);
                }
            }
        }
        let lane = self.feed.lane(traffic);
        lane.sent_at = self.relay.clock.now();
        for events in in_pieces(events) {
            let job = Job { traffic, ticket: lane.next_ticket, events };
            lane.next_ticket += 1;
            if self.jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_err()) {
                return Err(JournalError::Failed("the script threads are gone".into()));
            }
        }
        Ok(true)
    }

    /// Notes that an event is tried alone; answers whether it is to be, or is the one that brought the
    /// process down again and again.
    fn goes_on_alone(&mut self, place: Place, events: &[Stored]) -> Result<bool, JournalError> {
        let seq = events.first().map(|event| event.seq);
        self.relay.journal.note_trying(seq)?;
        self.feed.noted = Some(lane_of(place));
        let is_suspect = seq.is_some() && seq == self.suspect;
        if is_suspect {
            self.bury(events)?;
            self.suspect = None;
        }
        self.feed.spot_mut(place).alone -= 1;
        Ok(!is_suspect)
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

    /// What it survived is not to be blamed when somebody kills the process now. A note that cannot be
    /// taken back is taken back later.
    fn take_note_back(&mut self) {
        if let Some(traffic) = self.feed.noted
            && self.feed.lane(traffic).outstanding() == 0
            && self.relay.journal.note_trying(None).is_ok()
        {
            self.feed.noted = None;
        }
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
        self.take_note_back();
    }

    pub(super) fn admit_waiting(&mut self) {
        let now = self.relay.clock.now();
        for traffic in [Traffic::Live, Traffic::Backfill] {
            while !self.feed.failed_just_now(Place::Queue(traffic), now)
                && let Some(mut done) = self.feed.lane(traffic).next()
            {
                if let Err(error) = self.admit(&mut done, now) {
                    self.feed.failed(Place::Queue(traffic), &error, now);
                    self.feed.lane(traffic).waiting.insert(done.ticket, done);
                    break;
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

#[cfg(test)]
mod tests;
