//! Every kind of call, mixed: what is left of people in the end, and not only which events arrived.
//!
//! What a person does in a round follows from its number, and so does what must be left of it.

use std::collections::HashMap;
use std::time::Duration;

use segue::clock::{Clock as _, SystemClock};
use segue::emulator::Did;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::World;
use crate::Options;
use crate::load::{Seen, client, until_taken};
use crate::oracle::name;
use crate::report::Report;
use crate::server::{Segue, Setup};

const PEOPLE: u64 = 32;
const SENDERS: u64 = 4;
/// A round of everybody.
const ROUND: Duration = Duration::from_millis(250);
/// One event becomes two.
const SPLIT: &str = r#"//! A whole becomes two halves.
fn on_track(event, ctx) {
    let right = event.copy();
    event.event = "Left Half";
    right.event = "Right Half";
    [event, right]
}
"#;

/// What becomes of a person half way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Life {
    /// Goes on as it was.
    Known,
    /// Had another id, and is merged.
    Merged,
    /// Is deleted, and nothing more is heard of it.
    Deleted,
    /// Was a visitor, and becomes known.
    Visitor,
}

const LIVES: [Life; 4] = [Life::Known, Life::Merged, Life::Deleted, Life::Visitor];

/// Identifies that count up, events that a script splits, merges, deletions and visitors who become known,
/// over both transports, with kills while requests are unanswered and with answers that are lost.
pub(super) async fn kinds(options: Options) -> Report {
    let mut report = Report::new("kinds");
    let (batches, singles) = tokio::join!(over("v2", options), over("v1", options));
    report.append(batches);
    report.append(singles);
    report
}

async fn over(transport: &str, options: Options) -> Report {
    let mut report = Report::new("kinds");
    let scripts = tempfile::tempdir().unwrap();
    let manifest =
        "[[stage]]\nfile = \"10_split\"\nmatch = { type = [\"track\"], event = [\"Whole\"] }\n";
    std::fs::write(scripts.path().join("transforms.toml"), manifest).unwrap();
    std::fs::write(scripts.path().join("10_split.rhai"), SPLIT).unwrap();
    let setup = Setup {
        customerio: format!("transport = \"{transport}\""),
        // What deletes and merges needs a secret.
        source: "token = \"secret\"".into(),
        transforms: scripts.path().display().to_string(),
        ..Setup::default()
    };
    let mut world = World::start(setup).await;
    let kills = options.kills.div_ceil(2);
    let lives = Lives { rounds: kills.max(1) * 4 };
    let url = format!("http://{}/webhook/web?token=secret", world.segue.addr);
    let mut senders: JoinSet<u64> =
        (0..SENDERS).map(|lane| lives.send(lane, url.clone())).collect();
    for _ in 0..kills {
        world.fail(&["slow/5000, repeat"]);
        let unanswered = async |segue: &Segue| (segue.in_flight().await > 0).then_some(());
        world.segue.until("something is on its way", unanswered).await;
        world.segue.kill();
        world.fail(&["share=0.1: reset, repeat"]);
        world.segue.launch().await;
        sleep(ROUND).await;
    }
    let mut sent = 0;
    while let Some(lane) = senders.join_next().await {
        sent += lane.unwrap();
    }
    world.fail(&[]);
    world.segue.drained().await;

    report.figure("transport; kills", format!("{transport}; {kills}"));
    lives.judge(&mut report, &world);
    world.balance(&mut report, sent).await;
    let dead = world.segue.counts().await.dead_lettered;
    report.must("dead letters", "0", dead, dead == 0);
    report
}

/// The lives of all people.
#[derive(Clone, Copy)]
struct Lives {
    rounds: u64,
}

impl Lives {
    fn of(person: u64) -> Life {
        LIVES[person as usize % LIVES.len()]
    }

    /// Sends what the people of a lane do, each request until it is taken; how many events.
    async fn send(self, lane: u64, url: String) -> u64 {
        let (http, mut seen, mut sent) = (client(), Seen::default(), 0);
        let mut turn = Instant::now();
        for round in 0..self.rounds {
            sleep_until(turn).await;
            turn += ROUND;
            let people = (0..PEOPLE).filter(|person| person % SENDERS == lane);
            let events: Vec<Value> = people.flat_map(|person| self.events(person, round)).collect();
            sent += events.len() as u64;
            until_taken(&http, &url, Value::Array(events).to_string(), &mut seen).await;
        }
        sent
    }

    /// What a person does in a round.
    fn events(self, person: u64, round: u64) -> Vec<Value> {
        let (me, old, visitor) = (name(person), format!("former-{person}"), visitor(person));
        let (is_first, is_turn) = (round < self.rounds / 2, round == self.rounds / 2);
        let identify = |who: Value| call("identify", who, json!({"traits": {"count": round}}));
        let tracks = |who: Value| {
            let [step, whole] = self.numbers(person, round);
            [("Step", step), ("Whole", whole)].map(|(event, n)| {
                call("track", who.clone(), json!({"event": event, "properties": {"n": n}}))
            })
        };
        let mut events = Vec::new();
        match Self::of(person) {
            Life::Known => {
                events.push(identify(json!({"userId": me})));
                events.extend(tracks(json!({"userId": me})));
            }
            Life::Merged => {
                let id = if is_first { &old } else { &me };
                events.push(identify(json!({"userId": id})));
                if is_turn {
                    events.push(call("alias", json!({"userId": me}), json!({"previousId": old})));
                }
                events.extend(tracks(json!({"userId": id})));
            }
            Life::Deleted if is_first => {
                events.push(identify(json!({"userId": me})));
                events.extend(tracks(json!({"userId": me})));
            }
            Life::Deleted if is_turn => {
                let deleted = json!({"event": "User Deleted"});
                events.push(call("track", json!({"userId": me}), deleted));
            }
            Life::Deleted => {}
            Life::Visitor => {
                if !is_first {
                    events.push(identify(json!({"userId": me, "anonymousId": visitor})));
                }
                events.extend(tracks(json!({"anonymousId": visitor})));
            }
        }
        for (index, event) in events.iter_mut().enumerate() {
            event["messageId"] = format!("kinds-{person}-{round}-{index}").into();
        }
        events
    }

    /// The numbers of a person's events in a round.
    fn numbers(self, person: u64, round: u64) -> [u64; 2] {
        let first = (person * self.rounds + round) * 2;
        [first, first + 1]
    }

    /// The events that must be left of a person, in order.
    fn left_of(self, person: u64) -> Vec<(u64, String)> {
        if Self::of(person) == Life::Deleted {
            return Vec::new();
        }
        let round = |round: u64| {
            let [step, whole] = self.numbers(person, round);
            [(step, "Step"), (whole, "Left Half"), (whole, "Right Half")]
        };
        (0..self.rounds).flat_map(round).map(|(n, event)| (n, event.to_owned())).collect()
    }

    /// Judges what the emulator holds.
    fn judge(self, report: &mut Report, world: &World) {
        let emulator = world.emulator.lock();
        let (mut found, mut strange) = (HashMap::<String, Vec<(u64, String)>>::new(), 0);
        for record in emulator.events() {
            let mut data = record.data.clone();
            let n = data.remove("n").and_then(|n| n.as_u64());
            // The mapping shows where what a visitor did was taken for a person's.
            let shown = data.remove("anonymous_id");
            let whose = |n: u64| json!(visitor(n / 2 / self.rounds));
            match (record.cio_id.clone(), n) {
                (Some(person), Some(n))
                    if data.is_empty() && shown.is_none_or(|shown| shown == whose(n)) =>
                {
                    found.entry(person).or_default().push((n, record.name.clone()));
                }
                _ => strange += 1,
            }
        }
        let [mut wrong, mut stale, mut unjoined, mut alive] = [0; 4];
        for person in 0..PEOPLE {
            let life = Self::of(person);
            let Some(profile) = emulator.person(&name(person)) else {
                wrong += u64::from(life != Life::Deleted);
                continue;
            };
            alive += u64::from(life == Life::Deleted);
            let events = found.remove(&profile.cio_id).unwrap_or_default();
            if events != self.left_of(person) {
                eprintln!("kinds: {life:?} {person}: {events:?}");
                wrong += 1;
            }
            stale += u64::from(*profile.attribute("count") != json!(self.rounds - 1));
            let is_joined = profile.anonymous_ids.contains(&visitor(person));
            unjoined += u64::from(is_joined != (life == Life::Visitor));
        }
        let share = PEOPLE / LIVES.len() as u64;
        let did = |what: Did| emulator.activity().filter(|entry| entry.outcome == what).count();
        let [merged, deleted] = [Did::MergedPeople, Did::DeletedPerson].map(did);
        report.must("events without a person or with more in them", "0", strange, strange == 0);
        report.must("people without just their events in order", "0", wrong, wrong == 0);
        report.must("people with another count than the last", "0", stale, stale == 0);
        report.must("visitors who are not known, or wrongly", "0", unjoined, unjoined == 0);
        let both = format!("{merged} {deleted}");
        let once = [merged, deleted] == [share as usize; 2];
        report.must("merged, deleted", format!("{share} {share}"), both, once);
        report.must("deleted people who are there", "0", alive, alive == 0);
        let (people, most) = (emulator.people_count() as u64, PEOPLE - share);
        report.must("people", most, people, people == most && found.is_empty());
        report.figure("events resent", did(Did::DuplicateEvent));
    }
}

fn visitor(person: u64) -> String {
    format!("visitor-{person}")
}

/// A call of a type by somebody.
fn call(kind: &str, who: Value, what: Value) -> Value {
    let mut call = json!({"type": kind, "timestamp": SystemClock.now().to_string()});
    let parts = [who, what].into_iter().filter_map(|part| part.as_object().cloned()).flatten();
    call.as_object_mut().unwrap().extend(parts);
    call
}
