//! The oracle: knows every event that was sent, and judges what arrived.
//!
//! An event is a number. Its person and its payload follow from it, so that whatever arrives can be
//! checked without a second copy of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use segue::clock::{Clock as _, SystemClock, Time};
use segue::emulator::{self, Did};
use serde_json::{Value, json};

/// Events of these people and of those behind them happened long ago.
pub(crate) const OLD: u64 = 200_000;
/// Events of this user are not ours: they are only there to do harm.
pub(crate) const NASTY: &str = "nasty";
/// The name of all events.
const EVENT: &str = "Step Done";
const AGO: Duration = Duration::from_secs(10 * 24 * 3600);

/// What is known of the events that were sent.
#[derive(Default)]
pub(crate) struct Oracle {
    sent: Mutex<Vec<Sent>>,
}

#[derive(Clone, Copy)]
struct Sent {
    person: u64,
    at: Time,
    acknowledged: bool,
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Events that were answered 200.
    pub(crate) acknowledged: u64,
    /// Different events that arrived.
    pub(crate) arrived: u64,
    /// Answered 200, and never arrived.
    pub(crate) lost: u64,
    /// Events of the nasty user that arrived.
    pub(crate) nasty: u64,
    /// Arrived, and never sent.
    pub(crate) invented: u64,
    /// Arrived with another name, time or payload.
    pub(crate) altered: u64,
    /// Old, and could start a campaign, or new, and could not.
    pub(crate) misjudged: u64,
    /// Arrived at another person.
    pub(crate) misplaced: u64,
    /// Arrived behind a later event of the same person.
    pub(crate) out_of_order: u64,
    /// Arrived again, and recognised by its ULID.
    pub(crate) duplicates: u64,
    /// From sending to arrival, by number.
    pub(crate) latencies: BTreeMap<u64, Duration>,
}

impl Oracle {
    /// The next event of a person, as it is sent.
    pub(crate) fn next(&self, person: u64) -> (u64, Value) {
        let at = SystemClock.now();
        let mut sent = self.sent();
        let number = sent.len() as u64;
        sent.push(Sent { person, at, acknowledged: false });
        drop(sent);
        let event = json!({
            "type": "track", "event": EVENT, "userId": name(person),
            "messageId": message(number), "timestamp": happened(person, at).to_string(),
            "properties": payload(number),
        });
        (number, event)
    }

    /// Notes that these events were answered 200.
    pub(crate) fn acknowledge(&self, numbers: &[u64]) {
        let mut sent = self.sent();
        for number in numbers {
            sent[*number as usize].acknowledged = true;
        }
    }

    /// How many events were answered 200.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.sent().iter().filter(|sent| sent.acknowledged).count() as u64
    }

    /// Judges what the emulator holds; `excused` says which events need not have arrived.
    pub(crate) fn judge(
        &self,
        emulator: &emulator::Running,
        excused: impl Fn(u64, u64) -> bool,
    ) -> Verdict {
        let emulator = emulator.lock();
        let sent = self.sent();
        let mut verdict = Verdict::default();
        let mut people: HashMap<u64, String> = HashMap::new();
        let mut last: HashMap<u64, u64> = HashMap::new();
        let nasty = emulator.person(NASTY).map(|person| person.cio_id);
        for record in emulator.events() {
            if nasty.is_some() && record.cio_id == nasty {
                verdict.nasty += 1;
                continue;
            }
            let number = record.data.get("n").and_then(Value::as_u64);
            let Some((number, known)) =
                number.and_then(|number| Some((number, sent.get(number as usize)?)))
            else {
                verdict.invented += 1;
                continue;
            };
            let person = people.entry(known.person).or_insert_with(|| {
                emulator.person(&name(known.person)).map(|person| person.cio_id).unwrap_or_default()
            });
            verdict.misplaced += u64::from(record.cio_id.as_deref() != Some(person));
            let is_whole = record.name == EVENT
                && record.timestamp == Some(happened(known.person, known.at).secs())
                && payload(number) == Value::Object(record.data.clone());
            verdict.altered += u64::from(!is_whole);
            verdict.misjudged += u64::from(record.could_trigger != (known.person < OLD));
            let before = last.insert(known.person, number);
            verdict.out_of_order += u64::from(before.is_some_and(|before| before > number));
            let took = record.received_at.since(known.at);
            verdict.invented += u64::from(verdict.latencies.insert(number, took).is_some());
        }
        verdict.arrived = verdict.latencies.len() as u64;
        for (number, known) in (0..).zip(sent.iter()) {
            let missing = known.acknowledged && !verdict.latencies.contains_key(&number);
            verdict.lost += u64::from(missing && !excused(number, known.person));
            verdict.acknowledged += u64::from(known.acknowledged);
        }
        let repeated = |entry: &&emulator::Activity| entry.outcome == Did::DuplicateEvent;
        verdict.duplicates = emulator.activity().filter(repeated).count() as u64;
        verdict
    }

    /// The messages that were sent of certain people.
    pub(crate) fn sent_by(&self, people: impl Fn(u64) -> bool) -> BTreeSet<String> {
        let sent = self.sent();
        let theirs = (0..).zip(sent.iter()).filter(|(_, sent)| people(sent.person));
        theirs.map(|(number, _)| message(number)).collect()
    }

    /// Whose event it is.
    pub(crate) fn person_of(&self, number: u64) -> u64 {
        self.sent()[number as usize].person
    }

    fn sent(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().unwrap()
    }
}

impl Verdict {
    /// The promises that hold in every scenario.
    pub(crate) fn write(&self, report: &mut crate::report::Report) {
        report.figure("events answered 200", self.acknowledged);
        report.must("of them lost", "0", self.lost, self.lost == 0);
        let wrong = [self.invented, self.altered, self.misplaced];
        let figure = format!("{} {} {}", self.invented, self.altered, self.misplaced);
        report.must("invented, altered, at another person", "0 0 0", figure, wrong == [0; 3]);
        let misjudged = self.misjudged;
        report.must(
            "old ones that start campaigns, new that cannot",
            "0",
            misjudged,
            misjudged == 0,
        );
        report.must("order violations", "0", self.out_of_order, self.out_of_order == 0);
    }
}

/// The id of a person.
pub(crate) fn name(person: u64) -> String {
    format!("person-{person}")
}

/// The id of a message.
fn message(number: u64) -> String {
    format!("bench-{number:08}")
}

/// When an event happened that is sent at this time.
fn happened(person: u64, at: Time) -> Time {
    if person >= OLD { at.minus(AGO) } else { at }
}

/// What an event carries: what JSON can hold, all of it different for each event.
fn payload(number: u64) -> Value {
    json!({
        "n": number,
        "text": format!("Grüße, “{number}” \u{1F600} \\ \" / \u{7f}"),
        "list": [number, number + 1, {"deep": [true, false, number.to_string()]}],
        "share": number as f64 / 8.0,
        "large": 9_007_199_254_740_993_u64 + number,
        "empty": "", "nothing": {},
        "filling": "x".repeat((number % 7 * 40) as usize),
    })
}
