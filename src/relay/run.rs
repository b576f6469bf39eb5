//! The loop that drives the core in production: one thread that decides, script threads before it,
//! HTTP tasks behind it, and a journal on both sides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::core::{Commit, Core};
use super::ledger::Report;
use super::reading::{CHUNK, Feed};
use super::scripts::{self, Done, Job, Workshop};
use super::tap::Tap;
use crate::clock::{Clock, Time};
use crate::config::Config;
use crate::delivery::{CourierConfig, Flight, FlightId, Standing};
use crate::destination::customerio::client::{Client, Probe};
use crate::destination::customerio::request::{self, Request};
use crate::destination::customerio::response::Answer;
use crate::journal::{Journal, JournalError, Seq};
use crate::spec::Traffic;
use crate::transform::Bundle;
use crate::transform::trial::Trial;

/// Jobs that wait for or at script threads, for each thread.
const JOBS_PER_THREAD: usize = 3;
/// Events of a class without an end that are held in memory are as many as two rounds of full requests
/// can carry, and at most this many; the rest waits on disk.
const IN_MEMORY: usize = 20_000;
/// Commits on their way at a time; what ends meanwhile goes into the next one.
const COMMITS: usize = 2;
/// An event is to blame when the process went down with it so often in a row: once may be a power
/// cut.
const CRASHES: u32 = 2;
/// How long what is on its way may take when Segue stops.
const STOP_WITHIN: Duration = Duration::from_secs(4);
/// How often the loop looks around when nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What the relay needs.
pub struct Relay {
    /// The configuration.
    pub config: Arc<Config>,
    /// The store.
    pub journal: Arc<dyn Journal>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The scripts in force.
    pub bundle: Arc<ArcSwap<Bundle>>,
    /// The way to Customer.io.
    pub client: Arc<Client>,
    /// How the courier goes about it.
    pub courier: CourierConfig,
    /// Who is told how the scripts fare.
    pub trial: Arc<Trial>,
    /// Who is told how events end.
    pub observer: Box<dyn Fn(&Report) + Send>,
    /// Where events can be looked at as they pass.
    pub tap: Arc<Tap>,
}

/// What the relay is doing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Status {
    /// Events in memory without an end.
    pub unsettled: usize,
    /// What the courier is doing.
    pub standing: Standing,
    /// By how many milliseconds this machine's clock is ahead of Customer.io's, as far as is known.
    pub clock_ahead: Option<i64>,
}

pub(super) enum Message {
    Accepted,
    Prepared(Done),
    Answered(FlightId, Answer),
    Committed(u64),
    CommitFailed(Commit, JournalError),
    Forgotten(Vec<Seq>),
    Status(oneshot::Sender<Status>),
    Stop,
}

/// A running relay.
pub struct Handle {
    inbox: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

/// Reaches a running relay from elsewhere. Cheap to clone, and of no influence on its life.
#[derive(Clone)]
pub struct Contact {
    inbox: Sender<Message>,
}

impl Contact {
    /// What it is doing; `None` when it has stopped.
    pub async fn status(&self) -> Option<Status> {
        let (answer, status) = oneshot::channel();
        self.inbox.send(Message::Status(answer)).ok()?;
        status.await.ok()
    }

    /// Tells it that these events out of line have ended without it.
    pub fn forgotten(&self, seqs: Vec<Seq>) {
        drop(self.inbox.send(Message::Forgotten(seqs)));
    }
}

impl Handle {
    /// What reaches it from elsewhere.
    pub fn contact(&self) -> Contact {
        Contact { inbox: self.inbox.clone() }
    }

    /// Lets it look for due events now.
    pub fn wake(&self) {
        drop(self.inbox.send(Message::Accepted));
    }

    /// Stops it: nothing new is sent, what is on its way gets its answer or `deadline` passes, and
    /// what ended is written down. Everything else is still in the journal.
    pub fn stop(&mut self) {
        drop(self.inbox.send(Message::Stop));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Relay {
    /// Starts the relay; HTTP runs on `runtime`.
    ///
    /// # Errors
    /// When the journal cannot be read or no thread can be started.
    pub fn start(self, runtime: tokio::runtime::Handle) -> Result<Handle, JournalError> {
        let (inbox, messages) = channel();
        let failed = |error: std::io::Error| JournalError::Failed(format!("no thread: {error}"));
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let workshop = Workshop {
            config: Arc::clone(&self.config),
            bundle: Arc::clone(&self.bundle),
            clock: Arc::clone(&self.clock),
            tap: Arc::clone(&self.tap),
            trial: Arc::clone(&self.trial),
        };
        let (jobs, work) = channel();
        let done = inbox.clone();
        scripts::start(threads, &workshop, work, move |prepared| {
            drop(done.send(Message::Prepared(prepared)))
        })
        .map_err(failed)?;
        let accepted = inbox.clone();
        self.journal.on_accepted(Box::new(move || drop(accepted.send(Message::Accepted))));
        let driver = self.driver(runtime, inbox.clone(), (jobs, threads * JOBS_PER_THREAD))?;
        let thread = std::thread::Builder::new()
            .name("relay".into())
            .stack_size(8 * 1024 * 1024)
            .spawn(move || driver.run(&messages))
            .map_err(failed)?;
        Ok(Handle { inbox, thread: Some(thread) })
    }

    /// The driver, with the way to the script threads and how many jobs may be there at a time.
    pub(super) fn driver(
        self,
        runtime: tokio::runtime::Handle,
        inbox: Sender<Message>,
        (jobs, most_jobs): (Sender<Job>, usize),
    ) -> Result<Driver, JournalError> {
        let core = Core::new(
            Arc::clone(&self.config),
            Arc::clone(&self.journal),
            self.courier,
            self.clock.now(),
        )?;
        let opened = self.journal.opened();
        let CourierConfig { concurrency, room, .. } = self.courier;
        let most_unsettled = concurrency.saturating_mul(room.items * 2).min(IN_MEMORY);
        let mut feed = Feed::default();
        if !opened.clean && opened.pending.total() > 0 {
            feed.be_careful(most_unsettled + most_jobs * CHUNK);
        }
        Ok(Driver {
            relay: self,
            core,
            runtime,
            inbox,
            jobs: Some(jobs),
            feed,
            most_jobs,
            most_unsettled,
            suspect: opened.trying.filter(|_| opened.tried >= CRASHES),
            failed_commits: BTreeMap::new(),
            in_flight: 0,
        })
    }
}

pub(super) struct Driver {
    pub(super) relay: Relay,
    pub(super) core: Core,
    runtime: tokio::runtime::Handle,
    inbox: Sender<Message>,
    pub(super) jobs: Option<Sender<Job>>,
    pub(super) feed: Feed,
    pub(super) most_jobs: usize,
    pub(super) most_unsettled: usize,
    /// The event that brought the process down again and again.
    pub(super) suspect: Option<Seq>,
    failed_commits: BTreeMap<u64, Commit>,
    in_flight: usize,
}

impl Driver {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut stop_by = None;
        loop {
            let now = self.relay.clock.now();
            self.admit_waiting();
            if stop_by.is_none() {
                self.read(now);
                self.note_crowded();
                for flight in self.core.poll(now) {
                    self.send(flight);
                }
            }
            self.report();
            self.write();
            let idle = self.in_flight == 0
                && self.core.uncommitted() == 0
                && self.failed_commits.is_empty();
            if stop_by.is_some_and(|by| idle || by <= now) {
                return;
            }
            let wait = self.next_look(now);
            let mut message = match messages.recv_timeout(wait) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            while let Some(one) = message {
                if matches!(one, Message::Stop) {
                    stop_by.get_or_insert(now.plus(STOP_WITHIN));
                }
                self.handle(one);
                message = messages.try_recv().ok();
            }
        }
    }

    /// How long nothing needs to be done unless something happens.
    fn next_look(&self, now: Time) -> Duration {
        let due = self.core.next_due(now).unwrap_or(Time::NEVER).min(self.next_read(now));
        due.since(now).clamp(Duration::from_millis(1), HEARTBEAT)
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Accepted => {
                // A redrive wakes too, and what it put back may be due.
                self.feed.look_at =
                    self.feed.look_at.min(self.relay.clock.now().plus(Duration::from_millis(50)));
            }
            Message::Prepared(done) => self.prepared(done),
            Message::Answered(flight, answer) => {
                self.in_flight -= 1;
                self.core.answer(flight, answer, self.relay.clock.now());
            }
            Message::Committed(id) => {
                self.core.committed(id);
                self.feed.look_at = Time::default();
            }
            Message::CommitFailed(commit, error) => {
                tracing::error!(%error, "what was delivered cannot be written down; trying again");
                self.failed_commits.insert(commit.id, commit);
            }
            Message::Forgotten(seqs) => self.core.forgotten(&seqs),
            Message::Status(answer) => {
                let standing = self.core.standing(self.relay.clock.now());
                let unsettled =
                    self.core.unsettled(Traffic::Live) + self.core.unsettled(Traffic::Backfill);
                let clock_ahead = self.relay.client.clock_ahead();
                let _ = answer.send(Status { unsettled, standing, clock_ahead });
            }
            Message::Stop => {}
        }
    }

    fn send(&mut self, flight: Flight) {
        self.in_flight += 1;
        let (client, inbox) = (Arc::clone(&self.relay.client), self.inbox.clone());
        self.runtime.spawn(async move {
            let (id, answer) = match flight {
                Flight::Batch(id, items) => {
                    (id, client.send(&request::batch_request(&items)).await)
                }
                Flight::Call(id, call) => (id, client.send(&Request::from(call)).await),
                Flight::Probe(id) => (id, read_probe(client.region_probe().await)),
            };
            drop(inbox.send(Message::Answered(id, answer)));
        });
    }

    fn report(&mut self) {
        while let Some(report) = self.core.next_report() {
            (self.relay.observer)(&report);
            self.relay.tap.reported(&report);
        }
    }

    fn write(&mut self) {
        if !self.failed_commits.is_empty() {
            // One at a time and in their order: what was learned last must be written last.
            if self.core.uncommitted() == self.failed_commits.len()
                && let Some((_, mut commit)) = self.failed_commits.pop_first()
            {
                self.core.again(&mut commit);
                self.commit(commit);
            }
            return;
        }
        if self.core.uncommitted() < COMMITS
            && let Some(commit) = self.core.take_commit()
        {
            self.commit(commit);
        }
    }

    fn commit(&self, commit: Commit) {
        let reply = self.relay.journal.commit(Arc::clone(&commit.changes));
        let inbox = self.inbox.clone();
        self.runtime.spawn(async move {
            let message = match reply.await {
                Ok(Ok(())) => Message::Committed(commit.id),
                Ok(Err(error)) => {
                    tokio::time::sleep(HEARTBEAT).await;
                    Message::CommitFailed(commit, error)
                }
                Err(_) => {
                    Message::CommitFailed(commit, JournalError::Failed("it was closed".into()))
                }
            };
            drop(inbox.send(message));
        });
    }
}

/// Whether a pause may end.
fn read_probe(probe: Probe) -> Answer {
    match probe {
        Probe::Region(_) => Answer::Accepted { rejected: Vec::new() },
        Probe::Unauthorized { status } => Answer::Unauthorized { status },
        // A proxy that does not know the question: the next request will show.
        Probe::Unreadable { status } if status < 500 => Answer::Accepted { rejected: Vec::new() },
        Probe::Unreadable { status } => {
            Answer::TryAgain { status: Some(status), retry_after: None, unknown_fate: false }
        }
        Probe::Unreachable => {
            Answer::TryAgain { status: None, retry_after: None, unknown_fate: false }
        }
    }
}
