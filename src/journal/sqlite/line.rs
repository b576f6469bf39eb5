//! The line before the writer: which requests share a commit, and who goes first.
//!
//! When nobody else waits a request goes at once; when others do, the line lingers while more keep
//! coming, at most 5 ms. What is old, a backfill or dead letters that go back, stands behind everything else.
//! While live traffic is there it comes a little at a time and rests in between: a commit that is full of it
//! is time that live events wait, and whoever sends a backfill sends the next request as soon as this one is
//! answered.
//!
//! Not here: what a request does inside the transaction ([`super::transaction`]).

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::Seq;
use super::requests::Request;
use crate::pace::{LIVE_FOR, rest_after};

/// At most this many records share a commit…
pub(super) const RECORDS: usize = 512;
/// …and so many of them are old ones while live traffic is there.
const BESIDE_LIVE: usize = 64;

/// While others wait, the line waits for more in steps of this length…
const LINGER_STEP: Duration = Duration::from_micros(500);
/// …and at most this often: 5 ms.
const LINGER_STEPS: u32 = 10;

/// The line.
pub(super) struct Line {
    requests: Receiver<Request>,
    /// Whoever need not stand back.
    first: VecDeque<Request>,
    /// Whoever brings what is old.
    old: VecDeque<Request>,
    pace: Pace,
}

/// What the writer does next.
pub(super) enum Turn {
    /// These share a commit.
    Together(Round),
    /// This needs none, or the end of all.
    Alone(Request),
}

/// The requests of one commit.
#[derive(Default)]
pub(super) struct Round {
    /// Each with how many of its records may go into it.
    pub(super) requests: Vec<(Request, usize)>,
    records: usize,
    old: usize,
}

impl Line {
    /// The line of those who send to `requests`' other end.
    pub(super) fn new(requests: Receiver<Request>) -> Self {
        let (first, old) = (VecDeque::new(), VecDeque::new());
        Self { requests, first, old, pace: Pace::default() }
    }

    /// Waits for whose turn it is; `None`: nobody can ask any more.
    pub(super) fn next(&mut self) -> Option<Turn> {
        self.wait()?;
        if self.old.is_empty() && self.first.front().is_some_and(|first| !first.is_shareable()) {
            return self.first.pop_front().map(Turn::Alone);
        }
        let mut round = Round::default();
        for _ in 0..=LINGER_STEPS {
            self.line_up();
            self.fill(&mut round, Instant::now());
            let others_wait = round.requests.len() > 1;
            if round.is_full() || !others_wait {
                break;
            }
            match self.requests.recv_timeout(LINGER_STEP) {
                Ok(request) => self.enter(request),
                Err(_) => break,
            }
        }
        Some(Turn::Together(round))
    }

    /// Notes how long the commit of a round took, and whether anything old was in it.
    pub(super) fn committed(&mut self, has_old: bool, took: Duration) {
        if has_old {
            self.pace.moved(took, Instant::now());
        }
    }

    /// Puts back what did not fit: it stays ahead of whoever came later. A redrive may be a million rows
    /// and keeps no sender waiting.
    pub(super) fn put_back(&mut self, request: Request) {
        match &request {
            Request::Redrive(_) => self.old.push_back(request),
            _ if request.is_old() => self.old.push_front(request),
            _ => self.first.push_front(request),
        }
    }

    /// Whether the journal is to be closed.
    pub(super) fn ends(&self) -> bool {
        matches!(self.first.front(), Some(Request::Close { .. }))
    }

    /// Waits until there is something for a round.
    fn wait(&mut self) -> Option<()> {
        loop {
            self.line_up();
            let rest = self.pace.rest(Instant::now());
            if !self.first.is_empty() || (!self.old.is_empty() && rest.is_zero()) {
                return Some(());
            }
            let next = match self.old.is_empty() {
                true => self.requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.requests.recv_timeout(rest),
            };
            match next {
                Ok(request) => self.enter(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if self.old.is_empty() => return None,
                Err(RecvTimeoutError::Disconnected) => self.pace = Pace::default(),
            }
        }
    }

    /// Lets everybody in who is at the door.
    fn line_up(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            self.enter(request);
        }
    }

    fn enter(&mut self, request: Request) {
        if request.is_old() {
            return self.old.push_back(request);
        }
        if matches!(request, Request::Accept { .. }) {
            self.pace.live(Instant::now());
        }
        self.first.push_back(request);
    }

    /// Adds to a round what may go at `now`.
    fn fill(&mut self, round: &mut Round, now: Instant) {
        while !round.is_full()
            && self.first.front().is_some_and(Request::is_shareable)
            && let Some(request) = self.first.pop_front()
        {
            round.add(request, RECORDS);
        }
        if self.first.front().is_some_and(|first| !first.is_shareable()) {
            // What was asked before it goes before it.
            self.pace = Pace::default();
        }
        if !self.pace.rest(now).is_zero() {
            return;
        }
        let most = if self.pace.is_beside_live(now) { BESIDE_LIVE } else { RECORDS };
        while !round.is_full()
            && round.old < most
            && let Some(request) = self.old.pop_front()
        {
            round.add(request, most);
        }
    }
}

impl Round {
    /// A request by itself.
    pub(super) fn of(request: Request) -> Self {
        let mut round = Self::default();
        round.add(request, RECORDS);
        round
    }

    /// Its requests.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().map(|(request, _)| request)
    }

    /// Its requests, to be answered.
    pub(super) fn into_iter(self) -> impl Iterator<Item = Request> {
        self.requests.into_iter().map(|(request, _)| request)
    }

    /// Notes for redrives that have not begun that `last` is the last event so far.
    pub(super) fn begin_redrives(&mut self, last: Seq) {
        for (request, _) in &mut self.requests {
            if let Request::Redrive(redrive) = request {
                redrive.upto.get_or_insert(last);
            }
        }
    }

    /// Whether any of it is old.
    pub(super) fn has_old(&self) -> bool {
        self.old > 0
    }

    fn is_full(&self) -> bool {
        self.records >= RECORDS
    }

    /// Adds a request; `most` of all records may be old ones.
    fn add(&mut self, request: Request, most: usize) {
        let mut room = RECORDS.saturating_sub(self.records);
        if request.is_old() {
            room = room.min(most.saturating_sub(self.old));
            self.old += request.weight().min(room);
        }
        self.records += request.weight().min(room);
        self.requests.push((request, room));
    }
}

/// When what is old may go.
#[derive(Debug, Default)]
struct Pace {
    live_until: Option<Instant>,
    rests_until: Option<Instant>,
}

impl Pace {
    /// A live event came.
    fn live(&mut self, now: Instant) {
        self.live_until = Some(now + LIVE_FOR);
    }

    /// Some of it was written, which took so long.
    fn moved(&mut self, took: Duration, now: Instant) {
        if self.is_beside_live(now) {
            self.rests_until = Some(now + rest_after(took));
        }
    }

    fn is_beside_live(&self, now: Instant) -> bool {
        self.live_until.is_some_and(|until| now < until)
    }

    /// How long it has to wait yet.
    fn rest(&self, now: Instant) -> Duration {
        self.rests_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::LONGEST_REST;

    #[test]
    fn a_backfill_rests_five_times_as_long_as_it_took_while_live_traffic_is_there() {
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let (took, mut pace) = (Duration::from_millis(5), Pace::default());
        pace.moved(took, begin);
        assert_eq!(pace.rest(begin), Duration::ZERO, "nobody else is there");

        pace.live(begin);
        pace.moved(took, after(10));
        let rests = [10, 20, 35, 36].map(|millis| pace.rest(after(millis)).as_millis());
        assert_eq!(rests, [25, 15, 0, 0]);
        pace.moved(Duration::from_secs(3), after(40));
        assert_eq!(pace.rest(after(40)), LONGEST_REST, "a slow disk does not stop it");

        let live_until = LIVE_FOR.as_millis().try_into().unwrap();
        assert!(!pace.is_beside_live(after(live_until)));
        pace.moved(took, after(live_until));
        assert_eq!(pace.rest(after(live_until)), Duration::ZERO);
    }
}
