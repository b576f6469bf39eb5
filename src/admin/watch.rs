//! What the journal's counters do not tell: exit events among the dead letters, classes and
//! postponements, and the health that the last look found.
//!
//! An exit event (an order, a refund, a cancellation) that never arrives is what lets a campaign
//! write to somebody who bought already. So those of the last day are known by their numbers, and
//! forgotten when they are redriven.
//!
//! Not here: the counters that survive a restart ([`crate::journal`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::contracts::Book;
use super::health::Health;
use super::lately::{Dying, Ends};
use super::metrics;
use super::{Admin, metrics::ProcessMetrics};
use crate::clock::Time;
use crate::config::Config;
use crate::data_health::DataHealth;
use crate::guard::Kind;
use crate::journal::{DeadFilter, DeadRow, Journal, JournalError, Seq};
use crate::outcome::{DeadCode, Outcome};
use crate::relay::Report;
use crate::spec::normalise;
use crate::transform::Bundle;

/// How long an exit event among the dead letters makes Segue degraded. Later it is on record only.
const RECENT: Duration = Duration::from_secs(24 * 60 * 60);
/// More exit events than this are not known one by one.
const MOST_EXITS: usize = 1000;
/// How many dead letters are looked through at the start.
const RECALL_ROWS: usize = 20_000;
/// How long a reported dead letter may take until it is in the journal.
const ON_ITS_WAY: Duration = Duration::from_secs(60);

/// What is known beside the journal's counters. One for each running Segue.
pub struct Watch {
    started_at: Time,
    exits: Mutex<BTreeMap<Seq, Exit>>,
    health: ArcSwap<Health>,
    contracts: Book,
    data: Mutex<DataHealth>,
    ends: Mutex<Ends>,
    process: ProcessMetrics,
}

/// An exit event that became a dead letter.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Exit {
    at: Time,
    code: &'static str,
    /// The scripts that were active.
    bundle: String,
    /// Whether it was seen in the journal: the report comes before the commit.
    stored: bool,
}

/// Exit events among the dead letters of the last day.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Exits {
    /// How many; at 1000, that many or more.
    pub count: usize,
    /// Their reasons, each once.
    pub reasons: Vec<&'static str>,
}

impl Watch {
    /// A watch that begins at `now`. The first one of a process also takes in what the process counts
    /// from then on.
    pub fn new(now: Time) -> Arc<Self> {
        Arc::new(Self {
            started_at: now,
            exits: Mutex::default(),
            health: ArcSwap::from_pointee(Health::default()),
            contracts: Book::default(),
            data: Mutex::default(),
            ends: Mutex::default(),
            process: ProcessMetrics::install(),
        })
    }

    /// What the relay calls at the end, or postponement, of each event.
    pub fn observer(self: &Arc<Self>) -> Box<dyn Fn(&Report) + Send> {
        let watch = Arc::clone(self);
        Box::new(move |report| watch.note(report))
    }

    /// When it began.
    pub(super) fn started_at(&self) -> Time {
        self.started_at
    }

    /// What the process counts beside the events' ends.
    pub(super) fn process(&self) -> &ProcessMetrics {
        &self.process
    }

    /// How well the contracts are kept.
    pub(super) fn contracts(&self) -> &Book {
        &self.contracts
    }

    /// The health that was found last.
    pub(super) fn health(&self) -> Arc<Health> {
        self.health.load_full()
    }

    /// Notes what health was found, and says when it changed.
    pub(super) fn judged(&self, health: Health) {
        let before = self.health.swap(Arc::new(health));
        let health = self.health.load();
        // The sentences hold numbers that change all the time.
        if before.codes() != health.codes() {
            let is_worse = health.status > before.status;
            let (before, now) = (before.word(), health.word());
            match is_worse {
                true => tracing::warn!(before, now, reasons = %health.codes(), "health is worse"),
                false => tracing::info!(before, now, reasons = %health.codes(), "health changed"),
            }
        }
    }

    /// What was found in the data since the start.
    pub(super) fn data(&self) -> MutexGuard<'_, DataHealth> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives memory back that measurements took.
    pub(super) fn tidy(&self) {
        self.process.tidy();
    }

    /// The exit events among the dead letters of the day before `now`.
    pub(super) fn exits(&self, now: Time) -> Exits {
        let mut exits = self.known();
        exits.retain(|_, exit| now.since(exit.at) < RECENT);
        let mut reasons: Vec<_> = exits.values().map(|exit| exit.code).collect();
        reasons.sort_unstable();
        reasons.dedup();
        Exits { count: exits.len(), reasons }
    }

    /// Forgets exit events that are no dead letters any more. `all`: also those that were seen in the
    /// journal before, which only leave it by a redrive.
    pub(super) fn check_exits(
        &self,
        journal: &dyn Journal,
        all: bool,
        now: Time,
    ) -> Result<(), JournalError> {
        let known: Vec<_> = self.known().iter().map(|(seq, exit)| (*seq, exit.clone())).collect();
        for (seq, exit) in known.into_iter().filter(|(_, exit)| all || !exit.stored) {
            let is_there = find(journal, seq)?.is_some();
            let mut exits = self.known();
            if is_there {
                exits.entry(seq).and_modify(|exit| exit.stored = true);
            } else if exit.stored || now.since(exit.at) > ON_ITS_WAY {
                exits.remove(&seq);
            }
        }
        Ok(())
    }

    /// Forgets exit events that were redriven, all that died like this under a bundle. It need not wait
    /// until their ends are in the journal: what comes there later is redriven too.
    pub(super) fn redriven(&self, bundle: &str, code: DeadCode) {
        self.known().retain(|_, exit| exit.bundle != bundle || exit.code != code.as_str());
    }

    fn note(&self, report: &Report) {
        let trail = &report.trail;
        tracing::debug!(
            event.seq = report.seq.0,
            source = trail.source,
            message.id = trail.message_id,
            class = trail.class,
            action = trail.action,
            outcome = trail.outcome,
            reason = trail.reason,
            answer = trail.answer,
            bundle = trail.bundle,
            "event"
        );
        metrics::count(report);
        self.contracts.note(report);
        self.data().note(report);
        self.note_end(report);
        if let (true, Some(letter)) = (report.exit, &report.letter) {
            let (code, bundle) = (letter.code.as_str(), trail.bundle.clone());
            let exit = Exit { at: trail.at, code, bundle, stored: false };
            self.remember(report.seq, exit);
        }
    }

    fn note_end(&self, report: &Report) {
        let dead = report.letter.as_ref().map(|letter| letter.code);
        if dead.is_some() || report.trail.outcome == Outcome::Delivered.label() {
            self.ends().note(report.trail.at, dead);
        }
    }

    /// Whether most events die lately.
    pub(super) fn dying(&self, now: Time) -> Option<Dying> {
        self.ends().dying(now)
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, seq: Seq, exit: Exit) {
        let mut exits = self.known();
        exits.insert(seq, exit);
        while exits.len() > MOST_EXITS {
            exits.pop_first();
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Seq, Exit>> {
        self.exits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admin {
    /// Learns which dead letters of the last day are exit events, after a start.
    pub(super) fn recall_exits(&self) -> Result<(), JournalError> {
        let since = self.clock.now().minus(RECENT);
        let filter = DeadFilter { since: Some(since), ..DeadFilter::default() };
        let in_force = self.bundle.load_full();
        let (mut after, mut left) = (None, RECALL_ROWS);
        while left > 0 {
            let rows = self.journal.dead(&filter, after, left)?;
            let Some(last) = rows.last() else { break };
            after = Some(last.seq);
            left = left.saturating_sub(rows.len());
            for row in rows {
                let (code, bundle) = (row.letter.code.as_str(), row.bundle.clone());
                let exit = Exit { at: row.at, code, bundle, stored: true };
                let seq = row.seq;
                if is_exit(&self.config, &in_force, row) {
                    self.watch.remember(seq, exit);
                }
            }
        }
        Ok(())
    }
}

/// The dead letter of this number. Asked for as the next one behind its predecessor, which is one
/// step in the journal's order.
pub(super) fn find(journal: &dyn Journal, seq: Seq) -> Result<Option<DeadRow>, JournalError> {
    let before = seq.0.checked_sub(1).map(Seq);
    let next = journal.dead(&DeadFilter::default(), before, 1)?;
    Ok(next.into_iter().find(|row| row.seq == seq))
}

/// As the pipeline says it of a fresh event.
fn is_exit(config: &Config, bundle: &Bundle, row: DeadRow) -> bool {
    let Ok(mut call) = row.call else { return false };
    let Some(source) = config.source(&call.arrival.source) else { return false };
    let Ok(event) = normalise(&mut call, source.kind) else { return false };
    let canonical = event.name().map(|name| bundle.canonical(name)).unwrap_or_default();
    Kind::of(event.call(), &canonical) == Kind::Exit
}
