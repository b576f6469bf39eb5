//! Lets somebody look at events as they pass, without the path ever waiting for it.
//!
//! While nobody listens, an event costs one look at a flag. While somebody does, a reference to its
//! bytes is kept from the script thread to its report, and handed over where there is room: a listener
//! that is slow misses events and is told how many. What is shown of an event is worked out by whoever
//! listens, not here.
//!
//! Not here: what is shown ([`crate::admin`]).

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ledger::Report;
use crate::clock::Time;
use crate::journal::Seq;
use crate::spec::RawCall;

/// How many may listen at a time.
const MOST_LISTENERS: usize = 4;
/// Events between the scripts and their report that are remembered.
const WAITING: usize = 4096;
/// Bytes of them.
const WAITING_BYTES: usize = 16 << 20;
/// Events that wait for one listener.
const QUEUE: usize = 256;

/// Where events can be looked at. One for each relay.
#[derive(Default)]
pub struct Tap {
    is_open: AtomicBool,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    listeners: Vec<Ear>,
    next_number: u64,
    waiting: HashMap<Seq, Seen>,
    order: VecDeque<Seq>,
    bytes: usize,
}

struct Ear {
    number: u64,
    events: SyncSender<Arc<Passed>>,
    missed: Arc<AtomicU64>,
}

/// An event as it came to the scripts.
#[derive(Clone, Debug)]
struct Seen {
    call: RawCall,
    at: Time,
}

/// An event that ended, or went out of line.
#[derive(Debug)]
pub struct Passed {
    /// The original.
    pub call: RawCall,
    /// When the scripts ran.
    pub at: Time,
    /// How it ended.
    pub report: Report,
}

/// Somebody who listens, until it is dropped.
pub struct Listener {
    tap: Arc<Tap>,
    number: u64,
    events: Receiver<Arc<Passed>>,
    missed: Arc<AtomicU64>,
}

/// What a listener hears.
#[derive(Debug)]
pub enum Heard {
    /// An event.
    Event(Arc<Passed>),
    /// Nothing in this time.
    Silence,
    /// There will be no more events.
    End,
}

impl Tap {
    /// Whether somebody listens.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Somebody begins to listen; `None`: too many do.
    pub fn listen(self: &Arc<Self>) -> Option<Listener> {
        let mut inside = self.lock();
        if inside.listeners.len() >= MOST_LISTENERS {
            return None;
        }
        let number = inside.next_number;
        inside.next_number += 1;
        let (sender, events) = sync_channel(QUEUE);
        let missed = Arc::new(AtomicU64::new(0));
        inside.listeners.push(Ear { number, events: sender, missed: Arc::clone(&missed) });
        self.is_open.store(true, Ordering::Relaxed);
        Some(Listener { tap: Arc::clone(self), number, events, missed })
    }

    /// An event goes to the scripts.
    pub fn prepares(&self, seq: Seq, call: &RawCall, at: Time) {
        if !self.is_open() {
            return;
        }
        let seen = Seen { call: RawCall::new(call.arrival.clone(), call.body.clone()), at };
        let mut inside = self.lock();
        inside.bytes += seen.call.body.len();
        if let Some(before) = inside.waiting.insert(seq, seen) {
            inside.bytes -= before.call.body.len();
        } else {
            inside.order.push_back(seq);
        }
        inside.tidy();
        while inside.waiting.len() > WAITING || inside.bytes > WAITING_BYTES {
            inside.forget_oldest();
        }
    }

    /// An event ended, or went out of line.
    pub fn reported(&self, report: &Report) {
        if !self.is_open() {
            return;
        }
        let mut inside = self.lock();
        // Its scripts ran before anybody listened.
        let Some(seen) = inside.waiting.remove(&report.seq) else { return };
        inside.bytes -= seen.call.body.len();
        while inside.order.front().is_some_and(|seq| !inside.waiting.contains_key(seq)) {
            inside.order.pop_front();
        }
        let passed = Arc::new(Passed { call: seen.call, at: seen.at, report: report.clone() });
        for ear in &inside.listeners {
            if ear.events.try_send(Arc::clone(&passed)).is_err() {
                ear.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn leave(&self, number: u64) {
        let mut inside = self.lock();
        inside.listeners.retain(|ear| ear.number != number);
        if inside.listeners.is_empty() {
            self.is_open.store(false, Ordering::Relaxed);
            inside.waiting = HashMap::new();
            inside.order = VecDeque::new();
            inside.bytes = 0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// One that is remembered for long keeps those behind it, which were reported, in the order: they go
    /// before there are more of them than may be remembered.
    fn tidy(&mut self) {
        if self.order.len() > 2 * WAITING {
            self.order.retain(|seq| self.waiting.contains_key(seq));
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.order.pop_front() else {
            self.bytes = 0;
            return;
        };
        if let Some(seen) = self.waiting.remove(&oldest) {
            self.bytes -= seen.call.body.len();
            for ear in &self.listeners {
                ear.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Listener {
    /// The next event, or that there was none for `patience`.
    pub fn next(&self, patience: Duration) -> Heard {
        match self.events.recv_timeout(patience) {
            Ok(passed) => Heard::Event(passed),
            Err(RecvTimeoutError::Timeout) => Heard::Silence,
            Err(RecvTimeoutError::Disconnected) => Heard::End,
        }
    }

    /// How many events passed unheard since this was asked last.
    pub fn take_missed(&self) -> u64 {
        self.missed.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.tap.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::journal::TrailEntry;
    use crate::spec::Arrival;

    fn report(seq: u64) -> Report {
        let trail = TrailEntry { outcome: "delivered".into(), ..TrailEntry::default() };
        Report {
            seq: Seq(seq),
            trail,
            letter: None,
            exit: false,
            happened_at: None,
            first: false,
            parts: Vec::new(),
            checks: Arc::default(),
        }
    }

    fn pass(tap: &Tap, seq: u64, bytes: usize) {
        let call = RawCall::new(Arrival::default(), Bytes::from(vec![b'x'; bytes]));
        tap.prepares(Seq(seq), &call, Time::default());
        tap.reported(&report(seq));
    }

    #[test]
    fn nothing_is_kept_while_nobody_listens() {
        let tap = Arc::new(Tap::default());
        pass(&tap, 1, 10);
        assert!(tap.lock().waiting.is_empty());
        let listener = tap.listen().unwrap();
        pass(&tap, 2, 10);
        let Heard::Event(passed) = listener.next(Duration::ZERO) else { panic!("it passed") };
        assert_eq!((passed.report.seq, passed.call.body.len()), (Seq(2), 10));
        assert!(matches!(listener.next(Duration::ZERO), Heard::Silence));
        drop(listener);
        assert!(!tap.is_open());
    }

    #[test]
    fn a_listener_that_does_not_listen_holds_up_nobody_and_is_told_what_it_missed() {
        let tap = Arc::new(Tap::default());
        let (slow, quick) = (tap.listen().unwrap(), tap.listen().unwrap());
        for seq in 0..300 {
            pass(&tap, seq, 10);
            assert!(matches!(quick.next(Duration::ZERO), Heard::Event(_)));
        }
        assert_eq!((slow.take_missed(), quick.take_missed()), (300 - QUEUE as u64, 0));
        assert_eq!(slow.take_missed(), 0);
    }

    #[test]
    fn what_is_remembered_until_its_report_is_bounded() {
        let tap = Arc::new(Tap::default());
        let listener = tap.listen().unwrap();
        let call = RawCall::new(Arrival::default(), Bytes::from(vec![b'x'; 1 << 20]));
        for seq in 0..40 {
            tap.prepares(Seq(seq), &call, Time::default());
        }
        assert!(tap.lock().bytes <= WAITING_BYTES);
        assert_eq!(listener.take_missed(), 24);
        for seq in 0..10_000 {
            tap.prepares(
                Seq(seq),
                &RawCall::new(Arrival::default(), Bytes::new()),
                Time::default(),
            );
            tap.reported(&report(seq));
        }
        let inside = tap.lock();
        assert!(inside.order.len() <= WAITING && inside.waiting.len() <= WAITING);
    }

    #[test]
    fn an_event_that_is_stuck_does_not_keep_a_list_of_all_behind_it() {
        let tap = Arc::new(Tap::default());
        let listener = tap.listen().unwrap();
        let call = RawCall::new(Arrival::default(), Bytes::new());
        tap.prepares(Seq(0), &call, Time::default());
        for seq in 1..50_000 {
            pass(&tap, seq, 0);
        }
        assert!(tap.lock().order.len() <= 2 * WAITING);
        tap.reported(&report(0));
        assert!(tap.lock().order.is_empty());
        drop(listener);
    }

    #[test]
    fn only_a_few_may_listen() {
        let tap = Arc::new(Tap::default());
        let listeners: Vec<_> = (0..10).filter_map(|_| tap.listen()).collect();
        assert_eq!(listeners.len(), MOST_LISTENERS);
    }
}
