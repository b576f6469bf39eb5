//! How healthy the data is: what events that came show about their senders, by source and by replay.
//!
//! Bad data makes bad messages long before anything fails: purchases that come after the reminder,
//! visitors who are never joined to anybody, one customer with two ids. [`DataHealth`] takes note of
//! every event once and adds up. It remembers people and visitors by hashes, the last hundred thousand
//! or two of each, since the start of the process; no text of an event is in it.
//!
//! Not here: what became of events ([`crate::journal`]), whether Segue itself is well
//! ([`crate::admin::health`]).

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::destination::customerio::PersonId;
use crate::guard::{Class, Kind};
use crate::identity::Notice;
use crate::relay::{Decided, Report, Sighting, hashed};

/// People or visitors that are remembered at least; at most twice as many.
const REMEMBERED: usize = 100_000;
/// Replays that are told apart: the first so many names of a process.
const RUNS: usize = 100;
/// The upper ends of the spans of age that are counted, in seconds.
pub const AGES: [u64; 6] = [60, 300, 3600, 86_400, 259_200, 2_592_000];

/// What was found among some events.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Figures {
    /// Events that were looked at; what scripts made of one counts by itself.
    pub events: u64,
    /// Came later than `late_after`.
    pub late: u64,
    /// Came when they could start no campaign any more.
    pub historical: u64,
    /// Part of a replay, by word or by the age of their receipt.
    pub replayed: u64,
    /// From a device whose clock was certainly wrong.
    pub clock_wrong: u64,
    /// Without a readable time.
    pub without_time: u64,
    /// Orders, their changes and refunds.
    pub orders: u64,
    /// Those without a number.
    pub orders_without_id: u64,
    /// Orders and cancellations that came after something that the person did later.
    pub purchases_out_of_order: u64,
    /// Sent as anonymous.
    pub anonymous: u64,
    /// Of those, the ones whose visitor became known since.
    pub anonymous_joined: u64,
    /// People who stated an e-mail address that is another person's.
    pub people_with_two_ids: u64,
    /// People who stated another e-mail address than before.
    pub people_with_two_emails: u64,
    /// How old events were when they came in, by [`AGES`]; the last are older.
    pub ages: [u64; AGES.len() + 1],
}

/// A finding: its name, and what to do about it.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    /// The stable name, a metric label.
    pub name: &'static str,
    /// What it means, and what to do.
    pub advice: &'static str,
    count: fn(&Figures) -> u64,
}

impl Finding {
    /// How many there are among these.
    pub fn count(&self, figures: &Figures) -> u64 {
        (self.count)(figures)
    }
}

/// Everything that is looked for, in the order of the tables.
pub const FINDINGS: [Finding; 10] = [
    Finding {
        name: "purchase_out_of_order",
        advice: "a reminder may have gone out before the purchase was known: send orders at once, from the server",
        count: |figures| figures.purchases_out_of_order,
    },
    Finding {
        name: "order_without_id",
        advice: "send order_id: without it the same order from two sources counts twice",
        count: |figures| figures.orders_without_id,
    },
    Finding {
        name: "people_with_two_ids",
        advice: "one e-mail address, several user ids: decide which id it is, and send an alias",
        count: |figures| figures.people_with_two_ids,
    },
    Finding {
        name: "people_with_two_emails",
        advice: "an address was changed, or two people share an id: look at the senders of identify",
        count: |figures| figures.people_with_two_emails,
    },
    Finding {
        name: "anonymous_not_joined",
        advice: "send identify with the anonymousId where people log in or leave their address",
        count: |figures| figures.anonymous.saturating_sub(figures.anonymous_joined),
    },
    Finding {
        name: "late",
        advice: "the guard parks what would remind of old carts; find out what holds the sender up",
        count: |figures| figures.late,
    },
    Finding {
        name: "historical",
        advice: "stored, and starts nothing; mark imports as replays so that they give way to live events",
        count: |figures| figures.historical,
    },
    Finding {
        name: "replayed",
        advice: "parked or marked as the rules say; nothing to do",
        count: |figures| figures.replayed,
    },
    Finding {
        name: "clock_wrong",
        advice: "corrected as far as it is known; many of one source: its sentAt is not the time of sending",
        count: |figures| figures.clock_wrong,
    },
    Finding {
        name: "without_time",
        advice: "send a timestamp: the time of receipt stands in, and a replay of it is dropped",
        count: |figures| figures.without_time,
    },
];

impl Figures {
    /// The age in seconds that this share of the events did not exceed when they came in, rounded up
    /// to a span of [`AGES`]; `None`: there are no events, or it is beyond the last span.
    pub fn age_of(&self, share: f64) -> Option<u64> {
        let total: u64 = self.ages.iter().sum();
        let mut seen = 0;
        for (count, upto) in self.ages.iter().zip(AGES) {
            seen += count;
            if total > 0 && seen as f64 >= share * total as f64 {
                return Some(upto);
            }
        }
        None
    }

    fn note(&mut self, seen: &Sighting) {
        self.events += 1;
        match seen.class {
            Class::Live => {}
            Class::Late => self.late += 1,
            Class::Historical => self.historical += 1,
            Class::ReplayByAge | Class::Replay => self.replayed += 1,
        }
        self.clock_wrong += u64::from(seen.clock_wrong);
        self.without_time += u64::from(seen.without_time);
        self.orders += u64::from(seen.order);
        self.orders_without_id += u64::from(seen.order_without_id);
        let secs = seen.age.as_secs();
        let span = AGES.iter().position(|upto| secs <= *upto).unwrap_or(AGES.len());
        self.ages[span] += 1;
    }
}

/// The collector. See the module's documentation.
#[derive(Debug, Default)]
pub struct DataHealth {
    sources: BTreeMap<String, Figures>,
    runs: BTreeMap<String, Figures>,
    people: Recent<Person>,
    visitors: Recent<Visitor>,
}

/// What is remembered of a person.
#[derive(Debug, Default)]
struct Person {
    last_happened: Option<Time>,
    has_two_emails: bool,
    has_two_ids: bool,
}

/// What is remembered of a visitor who is not known yet.
#[derive(Debug, Default)]
struct Visitor {
    /// Events sent as anonymous, by source and replay.
    waiting: BTreeMap<(String, String), u64>,
}

impl DataHealth {
    /// Takes note of an event when it ends, or goes out of line, for the first time.
    pub fn note(&mut self, report: &Report) {
        if !report.first {
            return;
        }
        for part in &report.parts {
            self.note_part(&report.trail.source, &report.trail.label, part);
        }
    }

    /// What was found, by source.
    pub fn sources(&self) -> &BTreeMap<String, Figures> {
        &self.sources
    }

    /// What was found, by the name of the replay.
    pub fn runs(&self) -> &BTreeMap<String, Figures> {
        &self.runs
    }

    fn note_part(&mut self, source: &str, run: &str, part: &Decided) {
        let seen = &part.seen;
        self.add(source, run, |figures| figures.note(seen));
        let anonymous = part.subject.anonymous.as_deref().map(hashed);
        match (&part.subject.person, anonymous) {
            (Some(person), anonymous) => {
                self.note_person(source, run, person, part);
                if let Some(visitor) = anonymous.and_then(|id| self.visitors.find(id)) {
                    for ((source, run), count) in std::mem::take(&mut visitor.waiting) {
                        self.add(&source, &run, |figures| figures.anonymous_joined += count);
                    }
                }
            }
            (None, Some(anonymous)) => {
                let visitor = self.visitors.of(anonymous);
                *visitor.waiting.entry((source.to_owned(), run.to_owned())).or_default() += 1;
                self.add(source, run, |figures| figures.anonymous += 1);
            }
            (None, None) => {}
        }
    }

    fn note_person(&mut self, source: &str, run: &str, who: &PersonId, part: &Decided) {
        let Decided { seen, notices, .. } = part;
        let person = self.people.of(hashed(&who.key()));
        let mut out_of_order = false;
        // A replay repeats the past, which is out of order by its nature.
        if !matches!(seen.class, Class::Replay | Class::ReplayByAge) {
            out_of_order = seen.kind == Kind::Exit
                && person.last_happened.is_some_and(|last| seen.happened < last);
            person.last_happened = person.last_happened.max(Some(seen.happened));
        }
        // Identity knows it from the journal; here each person counts once.
        let once = |flag: &mut bool, notice: Notice| {
            notices.contains(&notice) && !std::mem::replace(flag, true)
        };
        let two_emails = once(&mut person.has_two_emails, Notice::EmailChanged);
        let two_ids = once(&mut person.has_two_ids, Notice::EmailOfAnotherPerson);
        if !(out_of_order || two_emails || two_ids) {
            return;
        }
        self.add(source, run, |figures| {
            figures.purchases_out_of_order += u64::from(out_of_order);
            figures.people_with_two_emails += u64::from(two_emails);
            figures.people_with_two_ids += u64::from(two_ids);
        });
    }

    fn add(&mut self, source: &str, run: &str, note: impl Fn(&mut Figures)) {
        note(named(&mut self.sources, source));
        if !run.is_empty() && (self.runs.len() < RUNS || self.runs.contains_key(run)) {
            note(named(&mut self.runs, run));
        }
    }
}

fn named<'a>(figures: &'a mut BTreeMap<String, Figures>, name: &str) -> &'a mut Figures {
    figures.entry(name.to_owned()).or_default()
}

/// What was asked for lately; the rest is forgotten by halves.
#[derive(Debug)]
struct Recent<V> {
    young: HashMap<u64, V>,
    old: HashMap<u64, V>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<V: Default> Recent<V> {
    fn of(&mut self, key: u64) -> &mut V {
        if !self.young.contains_key(&key) {
            if self.young.len() >= REMEMBERED {
                self.old = std::mem::take(&mut self.young);
            }
            let known = self.old.remove(&key).unwrap_or_default();
            self.young.insert(key, known);
        }
        self.young.entry(key).or_default()
    }

    fn find(&mut self, key: u64) -> Option<&mut V> {
        match self.young.get_mut(&key) {
            Some(known) => Some(known),
            None => self.old.get_mut(&key),
        }
    }
}

#[cfg(test)]
mod tests;
