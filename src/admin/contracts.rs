//! How well the contracts are kept: how many events were compared, what was wrong, and samples of it.
//!
//! What is counted is bounded: so many different violations, so many samples of each. Samples hold
//! nothing of what was sent, only its shape ([`crate::contract::Violation`]).
//!
//! Not here: what a violation is and what it leads to ([`crate::contract`]).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Admin;
use super::recent::Recent;
use crate::clock::Time;
use crate::contract::{Kind, Violation};
use crate::pipeline::Check;
use crate::relay::Report;

/// More different violations than this are counted as one.
const MOST_VIOLATIONS: usize = 1000;
/// Samples that are kept of each.
const MOST_SAMPLES: usize = 3;
/// The recent past is counted in so many pieces.
const PIECES: usize = 12;
/// How long one of them is.
const PIECE: Duration = Duration::from_secs(5 * 60);
/// What is counted together when there is too much.
const OTHERS: &str = "(other)";

/// How well the contracts are kept, since the start of this process.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Kept {
    /// When it started.
    pub since: String,
    /// The scripts and schemas in force.
    pub bundle: String,
    /// How many events were compared with a contract.
    pub compared: Vec<Compared>,
    /// What was wrong.
    pub broken: Vec<Broken>,
}

/// How many events were compared with one contract.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Compared {
    /// The event.
    pub event: String,
    /// As they arrived.
    pub before: Tally,
    /// As the scripts left them.
    pub after: Tally,
    /// The same, by source.
    pub sources: Vec<BySource>,
}

/// One thing that was wrong, in as many events as counted.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Broken {
    /// The event; `(other)` for events without a contract.
    pub event: String,
    /// The property, the same for all elements of a list.
    pub property: String,
    /// One of the six kinds.
    pub kind: String,
    /// In how many events as they arrived.
    pub before: Tally,
    /// In how many as the scripts left them.
    pub after: Tally,
    /// The same, by source.
    pub sources: Vec<BySource>,
    /// The newest of them, by their shape.
    pub samples: Vec<Sample>,
}

/// How many of the events of one source.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct BySource {
    /// The source.
    pub source: String,
    /// As they arrived.
    pub before: Tally,
    /// As the scripts left them.
    pub after: Tally,
}

/// A number of events.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tally {
    /// Since the start.
    pub total: u64,
    /// In the last hour.
    pub last_hour: u64,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self { total: self.total + other.total, last_hour: self.last_hour + other.last_hour }
    }
}

/// One event that was wrong.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sample {
    /// When it ended.
    pub at: String,
    /// Its source.
    pub source: String,
    /// Its message id, for `segue why`.
    pub message_id: String,
    /// The scripts' word for it, or the kind.
    pub name: String,
    /// What is wanted.
    pub wanted: String,
    /// What was there, every letter and digit hidden.
    pub found: String,
}

/// Where it is counted.
#[derive(Debug, Default)]
pub(super) struct Book(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    compared: HashMap<Arc<str>, Counts>,
    broken: BTreeMap<(Arc<str>, String, Kind), Page>,
}

#[derive(Debug, Default)]
struct Page {
    counts: Counts,
    samples: VecDeque<Sample>,
}

/// Counts of events as they arrived and as the scripts left them, by source. Sources are as many as
/// the configuration has.
#[derive(Debug, Default)]
struct Counts(BTreeMap<String, [Count; 2]>);

impl Counts {
    fn add(&mut self, source: &str, side: usize, at: Time) {
        let counts = match self.0.get_mut(source) {
            Some(counts) => counts,
            None => self.0.entry(source.to_owned()).or_default(),
        };
        counts[side].add(at);
    }

    /// How many there were of one side.
    fn total(&self, side: usize) -> u64 {
        self.0.values().map(|counts| counts[side].total).sum()
    }

    /// Both sides together, and by source.
    fn tally(&self, now: Time) -> (Tally, Tally, Vec<BySource>) {
        let sources = self.0.iter().map(|(source, [before, after])| BySource {
            source: source.clone(),
            before: before.tally(now),
            after: after.tally(now),
        });
        let sources: Vec<BySource> = sources.collect();
        let sum = |side: fn(&BySource) -> Tally| {
            sources.iter().map(side).fold(Tally::default(), Tally::plus)
        };
        (sum(|one| one.before), sum(|one| one.after), sources)
    }
}

/// A count with its recent past.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    total: u64,
    recent: Recent<PIECES>,
}

impl Count {
    fn add(&mut self, at: Time) {
        self.total += 1;
        self.recent.add(piece_of(at));
    }

    fn tally(&self, now: Time) -> Tally {
        Tally { total: self.total, last_hour: self.recent.count(piece_of(now)) }
    }
}

fn piece_of(at: Time) -> i64 {
    at.millis() / i64::try_from(PIECE.as_millis()).unwrap_or(i64::MAX)
}

impl Book {
    /// Counts what is known about an event that ended.
    pub(super) fn note(&self, report: &Report) {
        // One that comes back is compared again, with the contracts of then.
        if matches!(report.trail.outcome.as_str(), "parked" | "held" | "retry") {
            return;
        }
        let mut pages = self.pages();
        for check in report.checks.iter() {
            pages.note(check, report);
        }
    }

    /// What was counted, at `now`.
    pub(super) fn read(&self, now: Time) -> Kept {
        let pages = self.pages();
        let mut compared: Vec<Compared> = pages
            .compared
            .iter()
            .map(|(event, counts)| {
                let (before, after, sources) = counts.tally(now);
                Compared { event: event.to_string(), before, after, sources }
            })
            .collect();
        compared.sort_by(|one, other| one.event.cmp(&other.event));
        let broken = pages.broken.iter().map(|((event, property, kind), page)| {
            let (before, after, sources) = page.counts.tally(now);
            Broken {
                event: event.to_string(),
                property: property.clone(),
                kind: kind.as_str().into(),
                before,
                after,
                sources,
                samples: page.samples.iter().cloned().collect(),
            }
        });
        Kept { compared, broken: broken.collect(), ..Kept::default() }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn note(&mut self, check: &Check, report: &Report) {
        let (look, at, source) = (&check.look, report.trail.at, &report.trail.source);
        let side = usize::from(check.part.is_some());
        if look.planned {
            let counts = match self.compared.get_mut(&look.event) {
                Some(counts) => counts,
                None => self.compared.entry(Arc::clone(&look.event)).or_default(),
            };
            counts.add(source, side, at);
        }
        // An order whose ten items have no price is one order without prices.
        let mut seen: Vec<(String, Kind)> = Vec::new();
        for violation in &look.violations {
            let what = (violation.property(), violation.kind);
            if seen.contains(&what) {
                continue;
            }
            let page = self.page(&look.event, &what);
            page.counts.add(source, side, at);
            // What the scripts mend needs no sample once there is something that they do not.
            if side == 1 && page.counts.total(1) == 1 {
                page.samples.clear();
            }
            if side == 1 || page.counts.total(1) == 0 {
                if page.samples.len() == MOST_SAMPLES {
                    page.samples.pop_front();
                }
                page.samples.push_back(sample(violation, report));
            }
            seen.push(what);
        }
    }

    fn page(&mut self, event: &Arc<str>, (property, kind): &(String, Kind)) -> &mut Page {
        let key = (Arc::clone(event), property.clone(), *kind);
        let is_full = self.broken.len() >= MOST_VIOLATIONS && !self.broken.contains_key(&key);
        let key = if is_full { (OTHERS.into(), OTHERS.into(), Kind::Unknown) } else { key };
        self.broken.entry(key).or_default()
    }
}

fn sample(violation: &Violation, report: &Report) -> Sample {
    let trail = &report.trail;
    Sample {
        at: trail.at.to_string(),
        source: trail.source.clone(),
        message_id: trail.message_id.clone(),
        name: violation.name().chars().take(100).collect(),
        wanted: violation.wanted.to_string(),
        found: violation.found.clone(),
    }
}

impl Admin {
    /// How well the contracts are kept.
    pub(super) fn kept(&self) -> Kept {
        let now = self.clock.now();
        Kept {
            since: self.watch.started_at().to_string(),
            bundle: self.bundle.load().hash().to_owned(),
            ..self.watch.contracts().read(now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Look;
    use crate::journal::{Seq, TrailEntry};

    fn report(at: i64, outcome: &str, part: Option<u32>, violations: &[(&str, &str)]) -> Report {
        let said = |(word, path): &(&str, &str)| Violation::of_script(word, path);
        let violations = violations.iter().map(said).collect();
        let look = Look { event: "order_completed".into(), planned: true, violations };
        Report {
            seq: Seq(1),
            trail: TrailEntry {
                at: Time::from_secs(at),
                source: "web".into(),
                message_id: format!("m-{at}"),
                outcome: outcome.into(),
                ..TrailEntry::default()
            },
            letter: None,
            exit: true,
            happened_at: None,
            first: true,
            parts: Vec::new(),
            checks: [Check { part, look }].into(),
        }
    }

    #[test]
    fn a_property_that_is_wrong_in_every_item_counts_once_an_event() {
        let book = Book::default();
        let items =
            [("odd", "properties.products[0].price"), ("odd", "properties.products[1].price")];
        book.note(&report(1000, "delivered", Some(0), &items));
        let mut other = report(1001, "dead_lettered", Some(0), &[]);
        other.trail.source = "ios".into();
        book.note(&other);
        book.note(&report(1002, "delivered", None, &items[..1]));
        book.note(&report(1003, "parked", Some(0), &items));

        let kept = book.read(Time::from_secs(1003));
        let tally = |total| Tally { total, last_hour: total };
        let by = |source: &str, before, after| BySource {
            source: source.into(),
            before: tally(before),
            after: tally(after),
        };
        let [compared] = &kept.compared[..] else { panic!("{:?}", kept.compared) };
        assert_eq!((compared.before, compared.after), (tally(1), tally(2)));
        assert_eq!(compared.sources, [by("ios", 0, 1), by("web", 1, 1)]);
        let [broken] = &kept.broken[..] else { panic!("{:?}", kept.broken) };
        assert_eq!(
            (broken.property.as_str(), broken.kind.as_str()),
            ("products[].price", "Unknown-Violation")
        );
        assert_eq!((broken.before, broken.after), (tally(1), tally(1)));
        assert_eq!(broken.sources, [by("web", 1, 1)]);
        let sampled = |samples: &[Sample]| -> Vec<String> {
            samples.iter().map(|sample| sample.message_id.clone()).collect()
        };
        assert_eq!(sampled(&broken.samples), ["m-1000"], "what the scripts mend is no news");
        assert_eq!(broken.samples[0].name, "odd");
    }

    #[test]
    fn samples_are_of_what_the_scripts_left_once_there_is_such() {
        let book = Book::default();
        for (at, part) in [(1, None), (2, None), (3, Some(0))] {
            book.note(&report(at, "delivered", part, &[("odd", "properties.x")]));
        }
        let kept = book.read(Time::from_secs(3));
        let samples: Vec<&str> =
            kept.broken[0].samples.iter().map(|sample| sample.message_id.as_str()).collect();
        assert_eq!(samples, ["m-3"]);
    }

    #[test]
    fn an_hour_later_only_the_total_is_left() {
        let book = Book::default();
        book.note(&report(0, "delivered", Some(0), &[]));
        book.note(&report(3000, "delivered", Some(0), &[]));
        for (now, last_hour) in [(3000, 2), (3599, 2), (3600, 1), (6600, 0), (360_000, 0)] {
            let after = book.read(Time::from_secs(now)).compared[0].after;
            assert_eq!(after, Tally { total: 2, last_hour }, "{now}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let book = Book::default();
        for number in 0..1500 {
            let word = format!("properties.p{number}");
            book.note(&report(number, "delivered", Some(0), &[("odd", word.as_str())]));
            book.note(&report(number, "delivered", Some(0), &[("odd", "properties.same")]));
        }
        let kept = book.read(Time::from_secs(1500));
        assert_eq!(kept.broken.len(), MOST_VIOLATIONS + 1);
        let others = kept.broken.iter().find(|broken| broken.property == OTHERS).unwrap();
        assert_eq!(others.after.total, 501);
        assert_eq!(others.samples.len(), MOST_SAMPLES);
        let same = kept.broken.iter().find(|broken| broken.property == "same").unwrap();
        assert_eq!(same.samples.last().unwrap().message_id, "m-1499");
    }
}
