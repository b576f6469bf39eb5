//! The plan of a replay: what would happen to every event, counted.
//!
//! Events go through a world of their own, in which nothing has happened yet, or what the journal of a
//! Segue knows has. Its own journal is a folder that is removed afterwards: memory does not grow with the
//! recording, but for the eight bytes that tell a person from another.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::people::People;
use crate::clock::Time;
use crate::data_health::{DataHealth, FINDINGS};
use crate::destination::customerio::{PersonId, limits};
use crate::emulator;
use crate::fixture::bodies::Body;
use crate::fixture::world::{Processed, Record, Taken};
use crate::fixture::{Delivery, Setup, World};
use crate::journal::{Accepted, Receipt};
use crate::outcome::DropReason;
use crate::relay::{Report, hashed};
use crate::spec::Ingress;

/// Events that are stored together.
const CHUNK: usize = 500;
/// The emulator forgets everybody when it knows this many people.
const PEOPLE: usize = 20_000;
/// Lines of a table that are shown; the rest is counted.
const SHOWN: usize = 15;

type Counts = BTreeMap<String, u64>;

/// What would happen.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Plan {
    /// How many events.
    events: u64,
    /// Bodies that would be refused at the door, by code.
    refused: Counts,
    /// By outcome and reason: `dropped duplicate`.
    outcomes: Counts,
    /// By class and action of the guard.
    guard: Counts,
    /// By the guard's words.
    reasons: Counts,
    /// How each event found its person.
    identity: Counts,
    /// Operations that would be sent, by their names.
    operations: Counts,
    /// Events that could start a campaign, by name.
    would_fire: Counts,
    /// Until when events would be parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    parked_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parked_until: Option<String>,
    /// People that events or profile updates would be sent for: those whom the workspace does not
    /// have would be created.
    people: u64,
    /// Those of them who are not known to be there, where a list or a journal says who is.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_people: Option<u64>,
    /// The same in words.
    #[serde(skip)]
    new_people_meaning: &'static str,
    /// Requests to Customer.io at least, when batches are full.
    requests: u64,
    /// Seconds that these take at `customerio.rate`.
    request_seconds: u64,
    /// What was found in the data.
    data: Counts,
    /// Errors, by code and place.
    errors: Counts,
    /// Violations of the contract, by kind and path.
    violations: Counts,
    /// Warnings of the scripts, by code.
    warnings: Counts,
    /// The scripts.
    bundle: String,
    /// The configuration, as it was found.
    pub(super) configuration: String,
    /// The source that they were taken for.
    source: String,
}

/// The people that something would be sent for.
#[derive(Default)]
struct Met {
    seen: HashSet<u64>,
    /// Those of whom it is not looked up yet whether they are new.
    latest: Vec<PersonId>,
}

impl Met {
    fn note(&mut self, person: &PersonId) {
        if self.seen.insert(hashed(&person.key())) {
            self.latest.push(person.clone());
        }
    }
}

/// Takes bodies and makes the plan.
pub(super) struct Planner<'a> {
    world: World,
    source: &'a str,
    replay: Option<&'a str>,
    waiting: Vec<Accepted>,
    skipped: u64,
    plan: Plan,
    people: Met,
    known: Option<&'a People>,
    data: DataHealth,
    /// Operations that travel in batches, their bytes, and those that travel alone.
    sizes: (usize, usize, usize),
    parked: Option<(Time, Time)>,
    seen_activity: u64,
    // Dropped last: the journal in it must be closed first.
    _folder: tempfile::TempDir,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        setup: &Setup,
        now: Time,
        source: &'a str,
        replay: Option<&'a str>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("segue-replay-").tempdir()?;
        let history = emulator::settings::History {
            requests: 1,
            // Looked at after every chunk; an identify may find many anonymous events.
            activity: 20 * CHUNK,
            events: 20 * CHUNK,
            event_ids: 100 * CHUNK,
            ..emulator::settings::History::default()
        };
        let emulator = emulator::Settings { history, ..setup.emulator.clone() };
        let setup = Setup { emulator, ..setup.clone() };
        let plan =
            Plan { source: source.into(), bundle: setup.bundle.hash().into(), ..Plan::default() };
        Ok(Self {
            world: World::in_folder(&setup, now, folder.path())?,
            source,
            replay,
            waiting: Vec::with_capacity(CHUNK),
            skipped: 0,
            plan,
            people: Met::default(),
            known: None,
            data: DataHealth::default(),
            sizes: (0, 0, 0),
            parked: None,
            seen_activity: 0,
            _folder: folder,
        })
    }

    /// Tells new people from those in this list.
    pub(super) fn knowing(self, known: Option<&'a People>) -> Self {
        Self { known, ..self }
    }

    /// Takes a body; the first `skip` events are left out.
    pub(super) fn take(&mut self, body: Body, skip: u64) -> anyhow::Result<()> {
        let delivery = Delivery {
            source: self.source,
            ingress: Ingress::Webhook,
            replay: self.replay,
            body: body.bytes,
        };
        match self.world.open(&delivery) {
            Ok(events) => {
                for event in events {
                    if self.skipped < skip {
                        self.skipped += 1;
                    } else {
                        self.waiting.push(event);
                    }
                }
            }
            Err(error) => add(&mut self.plan.refused, error.code()),
        }
        if self.waiting.len() >= CHUNK { self.work() } else { Ok(()) }
    }

    /// The plan of all that was taken.
    pub(super) fn finish(mut self) -> anyhow::Result<Plan> {
        self.work()?;
        self.plan.people = self.people.seen.len() as u64;
        self.plan.new_people_meaning = self.known.map(People::meaning).unwrap_or_default();
        let (items, bytes, alone) = self.sizes;
        let full = items.div_ceil(limits::BATCH_ITEMS).max(bytes.div_ceil(limits::BATCH_BYTES));
        self.plan.requests = (full + alone) as u64;
        let rate = self.world.setup().config.customerio.rate;
        self.plan.request_seconds = self.plan.requests.div_ceil(u64::from(rate.max(1)));
        for figures in self.data.sources().values() {
            for finding in FINDINGS {
                let count = finding.count(figures);
                if count > 0 {
                    *self.plan.data.entry(finding.name.replace('_', " ")).or_default() += count;
                }
            }
        }
        if let Some((from, until)) = self.parked {
            self.plan.parked_from = Some(from.to_string());
            self.plan.parked_until = Some(until.to_string());
        }
        Ok(self.plan)
    }

    fn work(&mut self) -> anyhow::Result<()> {
        let events = std::mem::take(&mut self.waiting);
        if events.is_empty() {
            return Ok(());
        }
        let receipts = self.world.store(events)?;
        self.world.settle()?;
        let record = self.world.take_record();
        self.plan.events += receipts.len() as u64;
        for _ in receipts.iter().filter(|receipt| **receipt == Receipt::Duplicate) {
            add(&mut self.plan.outcomes, &format!("dropped {}", DropReason::Duplicate.code()));
        }
        self.count(&record);
        self.count_triggers();
        self.count_new_people()
    }

    fn count_new_people(&mut self) -> anyhow::Result<()> {
        let latest = std::mem::take(&mut self.people.latest);
        let Some(known) = self.known else { return Ok(()) };
        let new = self.plan.new_people.get_or_insert_default();
        for person in latest {
            *new += u64::from(!known.have(&person)?);
        }
        Ok(())
    }

    fn count(&mut self, record: &Record) {
        record.processed.iter().for_each(|processed| self.count_parts(processed));
        for report in &record.reports {
            self.data.note(report);
            self.count_report(report);
        }
        for taken in &record.requests {
            match taken {
                Taken::Item(bytes) => {
                    self.sizes.0 += 1;
                    self.sizes.1 += bytes.len() + 1;
                }
                Taken::Call(_) => self.sizes.2 += 1,
            }
        }
    }

    fn count_parts(&mut self, processed: &Processed) {
        let (plan, setup) = (&mut self.plan, self.world.setup());
        for part in processed.prepared.result.as_deref().unwrap_or_default() {
            let verdict = &part.verdict;
            add(
                &mut plan.guard,
                &format!("{} {}", verdict.class.as_str(), verdict.action.as_str()),
            );
            if let Some(until) = verdict.park_until {
                let (from, to) = self.parked.unwrap_or((until, until));
                self.parked = Some((from.min(until), to.max(until)));
                // Nobody has looked yet whose it is: the mapping's own answer will do.
                let source = setup.config.source(&part.case.source);
                let person = source.and_then(|source| source.mapping().subject(&part.event).person);
                person.iter().for_each(|person| self.people.note(person));
            }
            let looks = processed.prepared.checks.iter();
            let looks = looks.filter(|check| check.part == Some(part.index));
            for violation in looks.flat_map(|check| &check.look.violations) {
                let (kind, property) = (violation.name(), violation.property());
                add(&mut plan.violations, &format!("{kind} {property}"));
            }
            for warning in &part.hints.warnings {
                add(&mut plan.warnings, &warning.code);
            }
            for error in &part.hints.failed_stages {
                let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
                add(
                    &mut plan.errors,
                    &format!("{} {}{line} (sent as it came)", error.code, error.file),
                );
            }
        }
    }

    fn count_report(&mut self, report: &Report) {
        let plan = &mut self.plan;
        let outcome = format!("{} {}", report.trail.outcome, report.trail.reason);
        add(&mut plan.outcomes, outcome.trim_end());
        if let Some(letter) = &report.letter {
            let detail = |name: &str| letter.detail.as_ref().and_then(|detail| detail.get(name));
            let place = match (
                detail("file").and_then(Value::as_str),
                detail("line").and_then(Value::as_u64),
            ) {
                (Some(file), Some(line)) => format!(" {file}:{line}"),
                (Some(file), None) => format!(" {file}"),
                (None, _) => String::new(),
            };
            let code = detail("code").and_then(Value::as_str).unwrap_or(letter.code.as_str());
            add(&mut plan.errors, &format!("{code}{place}"));
        }
        for part in &report.parts {
            if !part.identity.is_empty() {
                add(&mut plan.identity, part.identity);
            }
            for operation in &part.operations {
                add(&mut plan.operations, operation);
            }
            if let (Some(person), false) = (&part.subject.person, part.operations.is_empty()) {
                self.people.note(person);
            }
        }
    }

    fn count_triggers(&mut self) {
        let emulator = self.world.emulator();
        for entry in emulator.activity().rev().take_while(|entry| entry.seq > self.seen_activity) {
            if let Some(event) = entry.event.as_ref().filter(|event| event.could_trigger) {
                add(&mut self.plan.would_fire, &event.name);
            }
        }
        self.seen_activity = emulator.activity().next_back().map_or(0, |last| last.seq);
        if emulator.people_count() > PEOPLE {
            self.world.emulator_mut().reset();
            self.seen_activity = 0;
        }
    }
}

impl Plan {
    /// How many events there are.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The plan for a terminal.
    pub(super) fn text(&self) -> String {
        let Self { events, bundle, configuration, source, .. } = self;
        let mut text = String::new();
        let _ = writeln!(text, "{events} events, scripts {bundle}; nothing was sent");
        let _ = writeln!(text, "planned with {configuration}, as of source {source}");
        let mut table = |title: &str, counts: &Counts| {
            if counts.is_empty() {
                return;
            }
            let _ = writeln!(text, "\n{title}");
            let mut rows: Vec<(&String, &u64)> = counts.iter().collect();
            rows.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
            for (name, count) in rows.iter().take(SHOWN) {
                let _ = writeln!(text, "  {count:>9}  {name}");
            }
            let rest: u64 = rows.iter().skip(SHOWN).map(|(_, count)| **count).sum();
            if rest > 0 {
                let _ = writeln!(text, "  {rest:>9}  in {} others", rows.len() - SHOWN);
            }
        };
        table("outcome", &self.outcomes);
        table("refused at the door", &self.refused);
        table("class and action", &self.guard);
        table("whose event", &self.identity);
        table("operations", &self.operations);
        table("could start a campaign", &self.would_fire);
        table("found in the data (segue health says what to do)", &self.data);
        table("errors", &self.errors);
        table("violations", &self.violations);
        table("warnings", &self.warnings);
        text.push('\n');
        if self.would_fire.is_empty() {
            text.push_str("Nothing of it could start an event-triggered campaign.\n");
        }
        if let (Some(from), Some(until)) = (&self.parked_from, &self.parked_until) {
            let _ = writeln!(text, "Parked events leave between {from} and {until}.");
        }
        let new = match self.new_people {
            Some(new) => format!("{new} of them {}", self.new_people_meaning),
            None => "those whom the workspace does not have would be created".to_owned(),
        };
        let _ = writeln!(text, "{} people would be written to; {new}.", self.people);
        let _ = writeln!(
            text,
            "What is sent now needs at least {} requests to Customer.io, {} s at customerio.rate.",
            self.requests, self.request_seconds
        );
        text
    }
}

fn add(counts: &mut Counts, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}
