//! What a script may use: operations, time, and what it writes into events.
//!
//! Rhai bounds operations, depth and the size of its own values. Its size limits do not see our
//! handles, and no number of operations bounds time (one `sort` is one operation), so writing is
//! budgeted here and the clock is looked at while a script runs. The clock decides nothing about an
//! event, only whether a script has had its share.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::{Deserialize, Serialize};

use super::handle::Refusal;

/// The limits of one handler call, `[limits]` of the manifest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Operations of a handler. Default 50,000.
    pub operations: u64,
    /// Milliseconds of the thread's CPU time for a handler. Default 20.
    pub deadline_ms: u64,
    /// Milliseconds of wall-clock time for a handler: a backstop for a starved machine. Default 1000.
    pub wall_ms: u64,
    /// Events that one event may become. Default 50.
    pub outputs: usize,
    /// Values that a handler may write into events. Default 200,000.
    pub nodes: usize,
    /// Bytes of text that a handler may write into events. Default 16 MiB.
    pub bytes: usize,
    /// Bytes in one string, or in all strings of one Rhai value. Default 1 MiB.
    pub string_bytes: usize,
    /// Elements in one Rhai array or map, nested ones included. Default 10,000.
    pub elements: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            operations: 50_000,
            deadline_ms: 20,
            wall_ms: 1000,
            outputs: 50,
            nodes: 200_000,
            bytes: 16 << 20,
            string_bytes: 1 << 20,
            elements: 10_000,
        }
    }
}

/// How much a handler may still write.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    nodes: Cell<usize>,
    bytes: Cell<usize>,
}

impl Budget {
    /// Starts a handler call.
    pub(crate) fn refill(&self, limits: &Limits) {
        self.nodes.set(limits.nodes);
        self.bytes.set(limits.bytes);
    }

    /// Pays for values and bytes of text before they are copied.
    pub(crate) fn spend(&self, nodes: usize, bytes: usize) -> Result<(), Refusal> {
        let left = (self.nodes.get().checked_sub(nodes), self.bytes.get().checked_sub(bytes));
        let (Some(nodes), Some(bytes)) = left else { return Err(Refusal::TooMuch) };
        self.nodes.set(nodes);
        self.bytes.set(bytes);
        Ok(())
    }
}

/// Why a script was stopped by the clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stopped {
    /// It used up its CPU time.
    Cpu,
    /// It took too long on the wall clock, though it hardly ran: the machine is overloaded.
    Wall,
}

/// How often the clock is read: every so many operations.
const STRIDE: u64 = 32;

/// How long the CPU time that was read for one event serves for the next ones.
const MOMENT: Duration = Duration::from_millis(1);

/// What is done a second time takes far less than this.
const FIRST_TIME: Duration = Duration::from_millis(2);

/// The time that one handler call has used.
#[derive(Debug)]
pub(crate) struct Watch {
    started: Cell<Instant>,
    /// When the CPU clock was read last for the beginning of an event, and what it said.
    cpu_read: Cell<(Instant, Duration)>,
    /// CPU time of the thread when the event began, or a little more.
    cpu_at_event: Cell<Duration>,
    /// Wall-clock time between the beginning of the event and of this handler call.
    before_call: Cell<Duration>,
    operations: Cell<u64>,
    stopped: Cell<Option<Stopped>>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let now = wall();
        Self {
            started: Cell::new(now),
            cpu_read: Cell::new((now, cpu())),
            cpu_at_event: Cell::new(Duration::ZERO),
            before_call: Cell::new(Duration::ZERO),
            operations: Cell::new(0),
            stopped: Cell::new(None),
        }
    }

    /// Starts an event. Reading the CPU clock is a system call: when that was done a moment ago, the
    /// time since then counts as used, which favours the script by that moment at most.
    pub(crate) fn start_event(&self) {
        let now = wall();
        let (read_at, read) = self.cpu_read.get();
        let since = now.saturating_duration_since(read_at);
        if since < MOMENT {
            self.cpu_at_event.set(read + since);
        } else {
            self.cpu_at_event.set(cpu());
            self.cpu_read.set((now, self.cpu_at_event.get()));
        }
        self.started.set(now);
        self.before_call.set(Duration::ZERO);
    }

    /// Starts a handler call.
    pub(crate) fn start_call(&self) {
        let now = wall();
        self.before_call.set(self.before_call.get() + now.duration_since(self.started.get()));
        self.started.set(now);
        self.operations.set(0);
        self.stopped.set(None);
    }

    /// Runs something that is slow only the first time, such as compiling the patterns for the phone
    /// numbers of a country, and does not charge the script for it when it was.
    pub(crate) fn excuse<R>(&self, work: impl FnOnce() -> R) -> R {
        let before = cpu();
        let result = work();
        let used = cpu().saturating_sub(before);
        if used > FIRST_TIME {
            self.before_call.set(self.before_call.get() + used);
        }
        result
    }

    /// Called by Rhai for every operation; says whether to stop.
    pub(crate) fn tick(&self, operations: u64, limits: &Limits) -> Option<Stopped> {
        self.operations.set(operations);
        if !operations.is_multiple_of(STRIDE) {
            return None;
        }
        let spent = wall().duration_since(self.started.get());
        if spent <= Duration::from_millis(limits.deadline_ms) {
            return None;
        }
        // CPU time cannot be less than this: earlier handlers used at most the time that passed.
        let used = cpu().saturating_sub(self.cpu_at_event.get() + self.before_call.get());
        let stopped = if used > Duration::from_millis(limits.deadline_ms) {
            Some(Stopped::Cpu)
        } else {
            (spent > Duration::from_millis(limits.wall_ms)).then_some(Stopped::Wall)
        };
        if stopped.is_some() {
            self.stopped.set(stopped);
        }
        stopped
    }

    /// Why the last call was stopped, if it was.
    pub(crate) fn stopped(&self) -> Option<Stopped> {
        self.stopped.get()
    }

    /// The operations of the last call.
    pub(crate) fn operations(&self) -> u64 {
        self.operations.get()
    }
}

#[allow(clippy::disallowed_methods)]
fn wall() -> Instant {
    Instant::now()
}

fn cpu() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_may_write_is_paid_before_it_is_written() {
        let budget = Budget::default();
        budget.refill(&Limits { nodes: 2, bytes: 10, ..Limits::default() });
        assert_eq!(budget.spend(1, 10), Ok(()));
        assert_eq!(budget.spend(1, 1), Err(Refusal::TooMuch));
        assert_eq!(budget.spend(1, 0), Ok(()), "a refused payment takes nothing");
        assert_eq!(budget.spend(1, 0), Err(Refusal::TooMuch));
    }

    #[test]
    fn a_handler_is_stopped_for_its_own_cpu_time_only() {
        let watch = Watch::new();
        let limits = Limits { deadline_ms: 5, ..Limits::default() };
        watch.start_event();
        let burn = |watch: &Watch| (1..50_000_000).find_map(|round| watch.tick(round, &limits));
        assert_eq!(burn(&watch), Some(Stopped::Cpu));
        watch.start_call();
        assert_eq!(watch.tick(STRIDE, &limits), None, "the next call has its own share");
        assert_eq!(burn(&watch), Some(Stopped::Cpu));
    }

    #[test]
    fn what_is_slow_only_once_is_not_charged() {
        let limits = Limits { deadline_ms: 10, ..Limits::default() };
        let watch = Watch::new();
        watch.start_event();
        watch.start_call();
        let until = cpu() + Duration::from_millis(30);
        watch.excuse(|| while cpu() < until {});
        assert_eq!(watch.tick(STRIDE, &limits), None);
        let until = cpu() + Duration::from_millis(30);
        while cpu() < until {}
        assert_eq!(watch.tick(STRIDE, &limits), Some(Stopped::Cpu));
    }
}
