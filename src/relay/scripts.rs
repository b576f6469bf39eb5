//! The script threads: each owns an engine and its compiled scripts, and prepares what it is given.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::tap::Tap;
use crate::clock::Clock;
use crate::config::Config;
use crate::journal::Stored;
use crate::outcome::{DeadCode, DeadLetter, DropReason, Outcome, Stage};
use crate::pipeline::{Origin, Prepared, prepare};
use crate::spec::{Arrival, Traffic};
use crate::transform::trial::Trial;
use crate::transform::{Bundle, Runner};

/// Deeply nested scripts need it; the default of 2 MiB is not enough without optimisation.
const STACK: usize = 16 * 1024 * 1024;
/// Events that were accepted longer ago say nothing about new scripts.
const FRESH: Duration = Duration::from_secs(3600);

/// Events to prepare, with a number by which those of a class are put back into order.
pub(super) struct Job {
    pub(super) traffic: Traffic,
    pub(super) ticket: u64,
    pub(super) events: Vec<Stored>,
}

/// The same events, prepared.
pub(super) struct Done {
    pub(super) traffic: Traffic,
    pub(super) ticket: u64,
    pub(super) events: Vec<(Stored, Prepared)>,
    /// How many of them were admitted.
    pub(super) admitted: usize,
    /// Where they go when all were. The thread that made an event takes it apart most cheaply: a
    /// hundred pieces of memory each, which another thread would have to hand back one by one.
    home: Sender<Vec<(Stored, Prepared)>>,
}

impl Done {
    /// Gives the events back to the thread that prepared them; it may be gone.
    pub(super) fn go_home(self) {
        drop(self.home.send(self.events));
    }
}

/// What every script thread needs.
#[derive(Clone)]
pub(super) struct Workshop {
    pub(super) config: Arc<Config>,
    pub(super) bundle: Arc<ArcSwap<Bundle>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tap: Arc<Tap>,
    pub(super) trial: Arc<Trial>,
}

/// Starts `count` threads that take jobs from `jobs` and give the results to `done`. They end when
/// the other end of `jobs` is dropped. Returns when their scripts are compiled: the time that takes is
/// not the fault of the first event.
pub(super) fn start(
    count: usize,
    workshop: &Workshop,
    jobs: Receiver<Job>,
    done: impl Fn(Done) + Send + Clone + 'static,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let jobs = Arc::new(Mutex::new(jobs));
    let (ready, compiled) = channel();
    let threads = (0..count).map(|number| {
        let (workshop, jobs, done) = (workshop.clone(), Arc::clone(&jobs), done.clone());
        let ready = ready.clone();
        std::thread::Builder::new().name(format!("scripts-{number}")).stack_size(STACK).spawn(
            move || {
                let runner = Runner::new(workshop.bundle.load_full());
                // Nobody waits for it when a thread could not be started.
                let _ = ready.send(());
                work(&workshop, runner, &jobs, done);
            },
        )
    });
    let threads: std::io::Result<Vec<_>> = threads.collect();
    drop(ready);
    // A thread that went down does not send, and does not keep this from ending either.
    compiled.iter().take(count).for_each(drop);
    threads
}

fn work(workshop: &Workshop, mut runner: Runner, jobs: &Mutex<Receiver<Job>>, done: impl Fn(Done)) {
    let (home, returned) = channel();
    loop {
        returned.try_iter().for_each(drop);
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        runner.refresh(&workshop.bundle.load_full());
        let events = job
            .events
            .into_iter()
            .map(|stored| prepare_one(workshop, &mut runner, stored))
            .inspect(|(_, prepared)| note(workshop, prepared))
            .collect();
        let Job { traffic, ticket, .. } = job;
        done(Done { traffic, ticket, events, admitted: 0, home: home.clone() });
    }
}

/// Tells how the scripts fared with an event that came in a moment ago: what waited longer, or was
/// redriven, may have failed under others too.
fn note(workshop: &Workshop, prepared: &Prepared) {
    let failed = match &prepared.result {
        Ok(parts) => parts.iter().any(|part| !part.hints.failed_stages.is_empty()),
        Err(Outcome::DeadLettered(letter)) => match letter.code {
            DeadCode::ScriptFailed | DeadCode::ScriptResult => true,
            // It did not come to the scripts.
            _ if matches!(letter.stage, Stage::Ingest | Stage::Spec) => return,
            _ => false,
        },
        Err(Outcome::Dropped(DropReason::Script(reason))) => reason == "stage_error",
        Err(_) => false,
    };
    let origin = &prepared.origin;
    if workshop.clock.now().since(origin.accepted_at) < FRESH {
        workshop.trial.note(&prepared.bundle, &origin.event, failed);
    }
}

/// Prepares one event; a panic costs this event and no other.
pub(super) fn prepare_one(
    workshop: &Workshop,
    runner: &mut Runner,
    mut stored: Stored,
) -> (Stored, Prepared) {
    let call = std::mem::replace(&mut stored.call, Err("taken".into()));
    let call = match call {
        Ok(call) => call,
        Err(damage) => {
            let letter = DeadLetter::new(
                DeadCode::CorruptRecord,
                Stage::Ingest,
                format!("the stored record is damaged and was not sent: {damage}"),
            );
            return (stored, ended(&Arrival::default(), letter, runner));
        }
    };
    let span = tracing::debug_span!("event", seq = stored.seq.0, source = %call.arrival.source);
    let _entered = span.entered();
    let arrival = Arc::clone(&call.arrival);
    let attempt = stored.attempts.tries;
    let now = workshop.clock.now();
    workshop.tap.prepares(stored.seq, &call, now);
    let prepared =
        catch_unwind(AssertUnwindSafe(|| prepare(&workshop.config, runner, call, attempt, now)));
    let prepared = prepared.unwrap_or_else(|_| {
        *runner = Runner::new(workshop.bundle.load_full());
        let letter = DeadLetter::new(
            DeadCode::CrashedProcess,
            Stage::Transform,
            "processing it failed inside Segue: please report it; redrive it with a newer version",
        );
        ended(&arrival, letter, runner)
    });
    (stored, prepared)
}

/// A prepared event that ended before it was looked into.
pub(super) fn ended(arrival: &Arrival, letter: DeadLetter, runner: &Runner) -> Prepared {
    Prepared {
        origin: Origin::of(arrival),
        result: Err(Outcome::DeadLettered(letter)),
        checks: Arc::default(),
        bundle: Arc::from(runner.bundle().hash()),
    }
}
