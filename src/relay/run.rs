//! The loop that drives the core in production: one thread that decides, script threads before it,
//! HTTP tasks behind it, and a journal on both sides.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::core::{Commit, Core};
use super::ledger::Report;
use super::scripts::{self, Done, Job, Workshop};
use crate::clock::{Clock, Time};
use crate::config::Config;
use crate::delivery::{CourierConfig, Flight, FlightId, Standing};
use crate::destination::customerio::client::{Client, Probe};
use crate::destination::customerio::request::{self, Request};
use crate::destination::customerio::response::Answer;
use crate::journal::{Journal, JournalError, Seq, Stored};
use crate::outcome::{DeadCode, DeadLetter, Stage};
use crate::spec::Traffic;
use crate::transform::Bundle;

/// Events per job of a script thread.
const CHUNK: usize = 64;
/// Jobs that wait for or at script threads, for each thread.
const JOBS_PER_THREAD: usize = 3;
/// Events of a class without an end that are held in memory; the rest waits on disk.
const IN_MEMORY: usize = 20_000;
/// Bytes of them, of both classes; a backfill stops at half of it.
const BYTES_IN_MEMORY: usize = 64 << 20;
/// Commits on their way at a time; what ends meanwhile goes into the next one.
const COMMITS: usize = 2;
/// After an unclean stop, so many events are prepared one at a time.
const CAREFUL: usize = 256;
/// How long what is on its way may take when Segue stops.
const STOP_WITHIN: Duration = Duration::from_secs(6);
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
    /// Who is told how events end.
    pub observer: Box<dyn Fn(&Report) + Send>,
}

/// What the relay is doing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Status {
    /// Events in memory without an end.
    pub unsettled: usize,
    /// What the courier is doing.
    pub standing: Standing,
}

enum Message {
    Accepted,
    Prepared(Done),
    Answered(FlightId, Answer),
    Committed(u64),
    CommitFailed(Commit, JournalError),
    Status(oneshot::Sender<Status>),
    Stop,
}

/// A running relay.
pub struct Handle {
    inbox: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

/// Asks a running relay what it is doing. Cheap to clone, and of no influence on its life.
#[derive(Clone)]
pub struct Asker {
    inbox: Sender<Message>,
}

impl Asker {
    /// What it is doing; `None` when it has stopped.
    pub async fn status(&self) -> Option<Status> {
        let (answer, status) = oneshot::channel();
        self.inbox.send(Message::Status(answer)).ok()?;
        status.await.ok()
    }
}

impl Handle {
    /// What asks it from elsewhere.
    pub fn asker(&self) -> Asker {
        Asker { inbox: self.inbox.clone() }
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
        };
        let (jobs, work) = channel();
        let done = inbox.clone();
        scripts::start(threads, &workshop, work, move |prepared| {
            drop(done.send(Message::Prepared(prepared)))
        })
        .map_err(failed)?;
        let accepted = inbox.clone();
        self.journal.on_accepted(Box::new(move || drop(accepted.send(Message::Accepted))));
        let core = Core::new(
            Arc::clone(&self.config),
            Arc::clone(&self.journal),
            self.courier,
            self.clock.now(),
        )?;
        let opened = self.journal.opened();
        let careful = if opened.clean || opened.pending.total() == 0 { 0 } else { CAREFUL };
        let driver = Driver {
            relay: self,
            core,
            runtime,
            inbox: inbox.clone(),
            jobs: Some(jobs),
            feed: Feed::default(),
            most_jobs: threads * JOBS_PER_THREAD,
            careful,
            trying: opened.trying,
            failed_commits: VecDeque::new(),
            in_flight: 0,
        };
        let thread = std::thread::Builder::new()
            .name("relay".into())
            .stack_size(8 * 1024 * 1024)
            .spawn(move || driver.run(&messages))
            .map_err(failed)?;
        Ok(Handle { inbox, thread: Some(thread) })
    }
}

/// Where reading stands, and what has been read and is not prepared yet.
#[derive(Default)]
struct Feed {
    live: Option<Seq>,
    backfill: Option<Seq>,
    /// When deferred events are to be looked for.
    look_at: Time,
    next_ticket: u64,
    next_admitted: u64,
    waiting: BTreeMap<u64, Vec<(Stored, crate::pipeline::Prepared)>>,
}

impl Feed {
    fn outstanding(&self) -> usize {
        usize::try_from(self.next_ticket - self.next_admitted).unwrap_or(usize::MAX)
    }
}

struct Driver {
    relay: Relay,
    core: Core,
    runtime: tokio::runtime::Handle,
    inbox: Sender<Message>,
    jobs: Option<Sender<Job>>,
    feed: Feed,
    most_jobs: usize,
    careful: usize,
    trying: Option<Seq>,
    failed_commits: VecDeque<Commit>,
    in_flight: usize,
}

impl Driver {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut stop_by = None;
        loop {
            let now = self.relay.clock.now();
            self.admit_waiting();
            if stop_by.is_none() {
                if let Err(error) = self.read(now) {
                    tracing::error!(%error, "the journal cannot be read; trying again");
                }
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
        let due = self.core.next_due(now).unwrap_or(Time::NEVER).min(self.feed.look_at);
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
                self.failed_commits.push_back(commit);
            }
            Message::Status(answer) => {
                let standing = self.core.standing(self.relay.clock.now());
                let unsettled = self.core.unsettled(Traffic::Live) + self.core.unsettled(Traffic::Backfill);
                let _ = answer.send(Status { unsettled, standing });
            }
            Message::Stop => {}
        }
    }

    /// Reads what there is to do: due events, then live, then backfill.
    fn read(&mut self, now: Time) -> Result<(), JournalError> {
        while self.has_room(Traffic::Live) {
            let max = if self.careful > 0 { 1 } else { CHUNK };
            let mut events = Vec::new();
            if self.feed.look_at <= now {
                events = self.relay.journal.take_due(now, max)?;
                if events.is_empty() {
                    self.feed.look_at = self.relay.journal.next_due()?.unwrap_or(Time::NEVER);
                }
            }
            if events.is_empty() {
                events = self.relay.journal.read(Traffic::Live, self.feed.live, max)?;
                self.feed.live = events.last().map(|event| event.seq).or(self.feed.live);
            }
            if events.is_empty() && self.has_room(Traffic::Backfill) {
                events = self.relay.journal.read(Traffic::Backfill, self.feed.backfill, max)?;
                self.feed.backfill = events.last().map(|event| event.seq).or(self.feed.backfill);
            }
            if events.is_empty() {
                return self.end_careful_mode();
            }
            self.dispatch(events)?;
        }
        Ok(())
    }

    fn has_room(&self, traffic: Traffic) -> bool {
        let share = if traffic == Traffic::Backfill { 2 } else { 1 };
        let most = if self.careful > 0 { 1 } else { self.most_jobs / share };
        self.feed.outstanding() < most
            && self.core.unsettled(traffic) < IN_MEMORY
            && self.core.bytes() < BYTES_IN_MEMORY / share
    }

    fn dispatch(&mut self, mut events: Vec<Stored>) -> Result<(), JournalError> {
        if self.careful > 0 {
            self.careful -= 1;
            let seq = events.first().map(|event| event.seq);
            wait(self.relay.journal.note_trying(seq))?;
            if seq.is_some() && seq == self.trying {
                self.trying = None;
                return self.bury(&events);
            }
        }
        events.shrink_to_fit();
        let job = Job { ticket: self.feed.next_ticket, events };
        self.feed.next_ticket += 1;
        match &self.jobs {
            Some(jobs) if jobs.send(job).is_ok() => Ok(()),
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
                "the process went down while it worked on this event alone; it was not tried again",
            );
            let arrival = event.call.as_ref().map(|call| call.arrival.clone()).unwrap_or_default();
            let prepared = crate::pipeline::Prepared {
                origin: crate::pipeline::Origin::of(&arrival),
                result: Err(crate::outcome::Outcome::DeadLettered(letter)),
                bundle: Arc::from(self.relay.bundle.load().hash()),
            };
            self.core.admit(event, &prepared, now)?;
        }
        Ok(())
    }

    fn end_careful_mode(&mut self) -> Result<(), JournalError> {
        if self.careful > 0 && self.feed.outstanding() == 0 {
            self.careful = 0;
            wait(self.relay.journal.note_trying(None))?;
        }
        Ok(())
    }

    /// Puts prepared events back into the order of acceptance and admits them.
    fn prepared(&mut self, done: Done) {
        self.feed.waiting.insert(done.ticket, done.events);
        self.admit_waiting();
    }

    fn admit_waiting(&mut self) {
        let now = self.relay.clock.now();
        while let Some(mut events) = self.feed.waiting.remove(&self.feed.next_admitted) {
            if let Err(error) = self.admit(&mut events, now) {
                tracing::error!(%error, "the journal cannot be read; trying again");
                self.feed.waiting.insert(self.feed.next_admitted, events);
                return;
            }
            self.feed.next_admitted += 1;
        }
    }

    /// Admits events one by one; those that were admitted are taken out.
    fn admit(
        &mut self,
        events: &mut Vec<(Stored, crate::pipeline::Prepared)>,
        now: Time,
    ) -> Result<(), JournalError> {
        self.core.prefetch(events.iter().map(|(_, prepared)| prepared), now)?;
        events.reverse();
        while let Some((stored, prepared)) = events.last() {
            if let Err(error) = self.core.admit(stored, prepared, now) {
                events.reverse();
                return Err(error);
            }
            events.pop();
        }
        Ok(())
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
        }
    }

    fn write(&mut self) {
        while let Some(commit) = self.failed_commits.pop_front() {
            self.commit(commit);
        }
        if self.core.uncommitted() < COMMITS
            && let Some(commit) = self.core.take_commit()
        {
            self.commit(commit);
        }
    }

    fn commit(&self, commit: Commit) {
        let reply = self.relay.journal.commit(commit.changes.clone());
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

fn wait<T>(reply: crate::journal::Reply<T>) -> Result<T, JournalError> {
    reply.blocking_recv().unwrap_or_else(|_| Err(JournalError::Failed("it was closed".into())))
}
