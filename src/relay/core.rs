//! The core: prepared events in, requests and changes out. No I/O but looking facts up, no clock.

mod again;
mod hold;
mod line;
mod reasons;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::again::what;
use self::hold::Hold;
pub(super) use self::hold::key_of as held_key;
use self::line::Line;
use self::reasons::Reasons;
use super::ledger::{Postponed, Report, Unsettled};
use super::purge::tombstones;
use crate::clock::Time;
use crate::config::Config;
use crate::delivery::backoff;
use crate::delivery::{Courier, CourierConfig, Fate, Flight, FlightId, Item, ItemId, Standing};
use crate::destination::customerio::Subject;
use crate::destination::customerio::response::Answer;
use crate::guard::{self, Action};
use crate::identity::Facts;
use crate::journal::{Change, FactKey, Hasten, Journal, JournalError, Release, Seq, Stored};
use crate::outcome::Outcome;
use crate::pipeline::{self, Prepared};
use crate::spec::{Call, Traffic};

/// Why the rest of an event waits behind its own merge or deletion.
const WRITTEN_FIRST: &str = "what it merged or deleted is written down first";

/// A clock that was set back by less than this is left alone: no wait was measured so exactly.
const CLOCK_STEP: Duration = Duration::from_secs(1);

/// Changes of the journal that must be written together, and acknowledged by their number.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The number for [`Core::committed`].
    pub id: u64,
    /// The changes.
    pub changes: Arc<Vec<Change>>,
}

/// What to do when a commit is durable.
#[derive(Debug, Default)]
struct Pending {
    /// What the events taught, and whether it is written by this commit.
    facts: Vec<(FactKey, bool)>,
    barriers: Vec<ItemId>,
    /// What a later commit has written since: written again, this one would undo it.
    overtaken: HashSet<FactKey>,
    /// Held events that are taken up again, and when.
    released: Vec<(Seq, Time)>,
    /// Those that a later commit has released since, before this one put them out of line.
    released_since: HashMap<Seq, Time>,
}

/// The core. See the module's documentation.
pub struct Core {
    config: Arc<Config>,
    facts: Facts,
    courier: Courier,
    /// Boxed: a table of thousands has as much room again for those to come.
    ledger: HashMap<Seq, Box<Unsettled>>,
    /// How many of the ledger's events are of a backfill.
    backfill: usize,
    line: Line,
    hold: Hold,
    reasons: Reasons,
    /// Counts the events that may have taught something.
    lessons: u64,
    changes: Vec<Change>,
    after_commit: Pending,
    commits: BTreeMap<u64, Pending>,
    next_commit: u64,
    reports: VecDeque<Report>,
    /// The last time that it was told.
    told: Time,
}

impl Core {
    /// A core over `journal`. Keys that were blocked before a restart still are.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn new(
        config: Arc<Config>,
        journal: Arc<dyn Journal>,
        courier: CourierConfig,
        now: Time,
    ) -> Result<Self, JournalError> {
        let mut line = Line::default();
        let mut hold = Hold::default();
        for (key, seq) in journal.blocked_keys()? {
            if !hold.note(&key, seq) {
                line.block(key.into(), seq, now);
            }
        }
        let reasons = Reasons::of(journal.totals());
        // The clock may have been set back while nobody looked.
        let waits = journal.pending().retry > 0;
        let changes = if waits { vec![hastened(now)] } else { Vec::new() };
        let mut facts = Facts::new(journal);
        facts.recall_gone()?;
        Ok(Self {
            config,
            facts,
            courier: Courier::new(courier),
            ledger: HashMap::new(),
            backfill: 0,
            line,
            hold,
            reasons,
            lessons: 0,
            changes,
            after_commit: Pending::default(),
            commits: BTreeMap::new(),
            next_commit: 0,
            reports: VecDeque::new(),
            told: now,
        })
    }

    /// Loads the facts that these events will need, in one go.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn prefetch<'a>(
        &mut self,
        events: impl Iterator<Item = &'a Prepared>,
        now: Time,
    ) -> Result<(), JournalError> {
        let parts = events.filter_map(|event| event.result.as_ref().ok()).flatten();
        let keys = parts.flat_map(|part| pipeline::facts_about(&self.config, part)).collect();
        self.facts.prefetch(keys, now)
    }

    /// Takes a prepared event, in the order of acceptance.
    ///
    /// # Errors
    /// When the journal cannot be read; the event must be given again.
    pub fn admit(
        &mut self,
        stored: &Stored,
        prepared: &Prepared,
        now: Time,
    ) -> Result<(), JournalError> {
        self.facts.begin();
        let taken = self.take_in(stored, prepared, now);
        self.facts.end(taken.is_ok());
        taken
    }

    fn take_in(
        &mut self,
        stored: &Stored,
        prepared: &Prepared,
        now: Time,
    ) -> Result<(), JournalError> {
        self.lessons += 1;
        let mut event = Unsettled::new(stored, prepared, self.lessons);
        let parts = match &prepared.result {
            Ok(parts) => parts,
            Err(outcome) => {
                self.give_up_unused(stored, &[], &mut event, now)?;
                self.hold.let_go(stored.seq);
                self.conclude(stored.seq, event.over(outcome.clone()), now);
                return Ok(());
            }
        };
        let mut ready = Vec::new();
        for part in parts {
            let nth = again::nth(parts, part);
            let Some(part) = again::to_send(&stored.attempts.done, part, nth) else { continue };
            match part.verdict.park_until.filter(|_| part.verdict.action == Action::Park) {
                Some(until) => event.park(&part, nth, until),
                None => {
                    let (config, room) = (&self.config, self.hold.has_room());
                    let resolved = pipeline::resolve(config, &part, &mut self.facts, room, now)?;
                    ready.push((part, nth, resolved));
                }
            }
        }
        let held: Vec<FactKey> = ready.iter().filter_map(|(.., one)| one.holds.clone()).collect();
        self.give_up_unused(stored, &held, &mut event, now)?;
        // From here on nothing fails: it is taken.
        self.hold.let_go(stored.seq);
        // An identify goes ahead of what was held for it, so that the person is there.
        let is_first = ready.iter().all(|(part, ..)| part.event.call() == Call::Identify);
        let found = ready.iter().map(|(_, _, resolved)| &resolved.subject).cloned().collect();
        let mut items = Vec::new();
        for (part, nth, mut resolved) in ready {
            let operations = std::mem::take(&mut resolved.operations);
            let names = operations.iter().map(|operation| operation.name).collect();
            event.add(&part, nth, resolved, names);
            let (index, until) = (part.index, part.verdict.valid_until);
            items.extend((0..).zip(operations).map(|(op, frozen)| (index, until, op, frozen)));
        }
        let wait = |core: &Self| core.line.wait(event.keys.iter(), stored.seq, now);
        let ahead = is_first.then(|| wait(self)).flatten();
        self.release(found, now);
        if let Some(due) = if is_first { ahead } else { wait(self) } {
            let why = "an earlier event of the same person is being tried again";
            event.postponed = Some(Postponed::at(due, why));
            self.conclude(stored.seq, event, now);
            return Ok(());
        }
        let traffic = event.origin.traffic;
        let keys: Vec<Arc<str>> = event.keys.iter().map(Arc::clone).collect();
        let attempts = &stored.attempts;
        for (part, valid_until, op, frozen) in items {
            self.courier.push(Item {
                id: ItemId { traffic, seq: stored.seq, part, op },
                keys: keys.clone(),
                payload: frozen.payload,
                barrier: frozen.barrier,
                valid_until,
                first_failed: attempts.first_at,
                tries: attempts.tries,
            });
        }
        if event.is_over() {
            self.conclude(stored.seq, event, now);
        } else {
            self.line.unblock(stored.seq);
            self.backfill += usize::from(traffic == Traffic::Backfill);
            self.ledger.insert(stored.seq, Box::new(event));
        }
        Ok(())
    }

    /// The requests that are to be sent at `now`.
    pub fn poll(&mut self, now: Time) -> Vec<Flight> {
        if now.plus(CLOCK_STEP) < self.told {
            self.line.clock_went_back(now);
            self.changes.push(hastened(now));
        }
        self.told = now;
        let flights = self.courier.poll(now);
        self.collect(now);
        flights
    }

    /// Notes whether more of a class waits outside and finds no room.
    pub fn note_crowded(&mut self, traffic: Traffic, crowded: bool) {
        self.courier.note_crowded(traffic, crowded);
    }

    /// Brings the answer to a request.
    pub fn answer(&mut self, flight: FlightId, answer: Answer, now: Time) {
        self.courier.answer(flight, answer, now);
        self.collect(now);
    }

    /// Takes the changes that have come together; they are to be written in one commit.
    pub fn take_commit(&mut self) -> Option<Commit> {
        if self.changes.is_empty() {
            return None;
        }
        self.next_commit += 1;
        self.commits.insert(self.next_commit, std::mem::take(&mut self.after_commit));
        Some(Commit { id: self.next_commit, changes: Arc::new(std::mem::take(&mut self.changes)) })
    }

    /// Notes that a commit is durable.
    pub fn committed(&mut self, id: u64) {
        let Some(pending) = self.commits.remove(&id) else { return };
        for (key, written) in pending.facts {
            self.facts.settled(&key);
            if written {
                for (_, earlier) in self.commits.range_mut(..id) {
                    earlier.overtaken.insert(key.clone());
                }
            }
        }
        for (_, earlier) in self.commits.range_mut(..id) {
            earlier.released_since.extend(pending.released.iter().copied());
        }
        for barrier in pending.barriers {
            self.courier.made_durable(barrier);
        }
    }

    /// A commit failed and is to be written again: takes out what a later one has written meanwhile, and
    /// lets come back what a later one has released.
    pub fn again(&self, commit: &mut Commit) {
        let Some(pending) = self.commits.get(&commit.id) else { return };
        for change in Arc::make_mut(&mut commit.changes) {
            let facts = match change {
                Change::Settle(settlement) => &mut settlement.facts,
                Change::Defer(deferral) => {
                    if let Some(due) = pending.released_since.get(&deferral.seq) {
                        deferral.due = deferral.due.min(*due);
                    }
                    &mut deferral.facts
                }
                Change::Forget(_) | Change::Release(_) | Change::Hasten(_) => continue,
            };
            facts.retain(|(key, _)| !pending.overtaken.contains(key));
        }
    }

    /// Notes that events out of line have ended without having been taken up again: nobody waits for them.
    pub fn forgotten(&mut self, seqs: &[Seq]) {
        for seq in seqs {
            self.hold.let_go(*seq);
            self.line.unblock(*seq);
        }
    }

    /// When something is to be done without further ado.
    pub fn next_due(&self, now: Time) -> Option<Time> {
        self.courier.next_due(now)
    }

    /// How many events of a class have no end yet.
    pub fn unsettled(&self, traffic: Traffic) -> usize {
        match traffic {
            Traffic::Live => self.ledger.len() - self.backfill,
            Traffic::Backfill => self.backfill,
        }
    }

    /// The bytes of what waits to be sent.
    pub fn bytes(&self) -> usize {
        self.courier.bytes()
    }

    /// How many changes wait for a commit to begin.
    pub fn unwritten(&self) -> usize {
        self.changes.len()
    }

    /// How many commits are not acknowledged yet.
    pub fn uncommitted(&self) -> usize {
        self.commits.len()
    }

    /// What the courier is doing.
    pub fn standing(&self, now: Time) -> Standing {
        self.courier.standing(now)
    }

    /// Takes the next report of an event's end.
    pub fn next_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// Learns how items ended, and ends the events that are complete.
    fn collect(&mut self, now: Time) {
        while let Some(settled) = self.courier.next_settled() {
            let ItemId { traffic, seq, part, op } = settled.id;
            let Some(event) = self.ledger.get_mut(&seq) else { continue };
            let (fate, was_postponed) = (settled.fate.clone(), event.postponed.is_some());
            event.end_operation(part, op, settled.fate);
            match fate {
                Fate::Postponed { .. } => take_back(&mut self.courier, event, (traffic, seq), None),
                Fate::Stale => {
                    if judge_again(&self.config, event, part, now) {
                        self.courier.step_back(settled.id, now);
                    }
                    take_back(&mut self.courier, event, (traffic, seq), Some(part));
                }
                Fate::DeliveredBarrier => {
                    event.landed.push(settled.id);
                    if !event.is_over() {
                        // What is behind it waits until it is written down, and so does the rest of
                        // this very event: it comes back as an event of its own.
                        event.postponed.get_or_insert(Postponed::at(now, WRITTEN_FIRST));
                        self.courier.step_back(settled.id, now);
                    }
                }
                _ => {}
            }
            if event.is_over() {
                if let Some(event) = self.ledger.remove(&seq) {
                    self.backfill -= usize::from(traffic == Traffic::Backfill);
                    self.conclude(seq, *event, now);
                }
            } else if !was_postponed && let Some(postponed) = &event.postponed {
                // Nobody passes what comes back of it while the rest is still on its way.
                for key in &event.keys {
                    self.line.block(Arc::clone(key), seq, postponed.due);
                }
            }
        }
    }

    /// Somebody turned out to be whom an anonymous id belongs to: what was held for it is taken up again,
    /// and goes ahead of whatever of the same person comes now.
    fn release(&mut self, found: Vec<Subject>, now: Time) {
        for subject in found {
            let Subject { person: Some(person), anonymous: Some(anonymous) } = subject else {
                continue;
            };
            let seqs = self.hold.release(&anonymous);
            if seqs.is_empty() {
                continue;
            }
            let key: Arc<str> = person.key().into();
            for seq in &seqs {
                self.line.block(Arc::clone(&key), *seq, now);
            }
            self.after_commit.released.extend(seqs.iter().map(|seq| (*seq, now)));
            self.changes.push(Change::Release(Release { seqs, due: now }));
        }
    }

    fn conclude(&mut self, seq: Seq, mut event: Unsettled, now: Time) {
        let lesson = event.lesson;
        let mut taught = Vec::with_capacity(event.taught.len());
        event.taught.retain(|(key, _)| {
            let written = self.facts.write(key, lesson);
            taught.push((key.clone(), written));
            written
        });
        let leaving = event.take_leaving();
        for (leaving, landed) in &leaving {
            for key in &leaving.forgets {
                // What Customer.io did not delete is known as before.
                let written = *landed && self.facts.write(key, lesson);
                taught.push((key.clone(), written));
                event.taught.extend(written.then(|| (key.clone(), None)));
            }
        }
        for (key, fact) in self.untaught(&event, now) {
            self.lessons += 1;
            self.facts.teach(key.clone(), fact.clone());
            self.facts.write(&key, self.lessons);
            taught.push((key.clone(), true));
            event.taught.push((key, fact));
        }
        self.after_commit.facts.extend(taught);
        self.after_commit.barriers.append(&mut event.landed);
        self.changes.extend(tombstones(leaving, &mut self.facts, now));
        let (mut change, report) = event.conclude(seq, now);
        self.line.unblock(seq);
        match &mut change {
            Change::Settle(settlement) => self.reasons.bound(&mut settlement.outcome),
            Change::Defer(deferral) => {
                for key in &deferral.keys {
                    if !self.hold.note(key, seq) {
                        self.line.block(key.as_str().into(), seq, deferral.due);
                    }
                }
            }
            Change::Forget(_) | Change::Release(_) | Change::Hasten(_) => {}
        }
        self.changes.push(change);
        self.reports.push_back(report);
    }
}

/// No retry waits longer than the longest wait: what is due later was put off by another clock.
fn hastened(now: Time) -> Change {
    Change::Hasten(Hasten { beyond: now.plus(backoff::LONGEST), due: now })
}

/// Takes back what has not left of an event, or of one of its parts.
fn take_back(
    courier: &mut Courier,
    event: &mut Unsettled,
    (traffic, seq): (Traffic, Seq),
    part: Option<u32>,
) {
    let concerns = |index: u32| part.is_none_or(|part| part == index);
    courier.withdraw(traffic, seq, concerns);
    let flying = courier.flying(traffic, seq);
    for progress in event.parts.iter_mut().filter(|progress| concerns(progress.index)) {
        progress.open = flying.iter().filter(|item| item.part == progress.index).count();
    }
}

/// The verdict has run out before the event was sent: the guard is asked again, by what it was asked
/// before. Where the answer needs another event (a mark), all stages run again: answers whether.
fn judge_again(config: &Config, event: &mut Unsettled, part: u32, now: Time) -> bool {
    let Some(progress) = event.part(part) else { return false };
    let verdict = guard::judge(&config.guard, &progress.case, now);
    match (verdict.action, verdict.drop) {
        (Action::Drop, Some(reason)) => progress.end = Some(Outcome::Dropped(reason)),
        (Action::Park, _) => progress.parked_until = verdict.park_until,
        _ => {
            event.postponed.get_or_insert(Postponed::at(now, "its age changed what it may do"));
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;
