//! Random histories: whatever is pushed, whatever Customer.io answers and in which order, the promises of
//! the courier hold at every step.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::destination::customerio::response::{Answer, ItemError};

const RATE: u32 = 50;
const CONCURRENCY: usize = 5;

fn config() -> CourierConfig {
    CourierConfig {
        rate: RATE,
        concurrency: CONCURRENCY,
        linger: Duration::from_millis(10),
        room: Room { items: 5, bytes: 100_000 },
        age_budget: Duration::from_secs(24 * 3600),
        seed: 5,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push {
        people: (u8, u8),
        traffic: Traffic,
        barrier: bool,
    },
    /// One of the requests in flight is answered: which, and how.
    Answer(usize, Said),
    /// So many requests fail, one after the other.
    Outage(u32),
    /// More of a class finds no room, or finds it again.
    Crowded(Traffic, bool),
    Wait(i64),
}

#[derive(Clone, Copy, Debug)]
enum Said {
    Fine,
    RejectsLast,
    Malformed,
    Broken(Option<u16>),
    Busy(Option<u64>),
    Unauthorized,
}

fn step() -> impl Strategy<Value = Step> {
    let said = prop_oneof![
        8 => Just(Said::Fine),
        1 => Just(Said::RejectsLast),
        1 => Just(Said::Malformed),
        3 => prop_oneof![Just(None), Just(Some(500)), Just(Some(503))].prop_map(Said::Broken),
        2 => prop::option::of(0_u64..5).prop_map(Said::Busy),
        1 => Just(Said::Unauthorized),
    ];
    let traffic = || prop_oneof![3 => Just(Traffic::Live), 1 => Just(Traffic::Backfill)];
    prop_oneof![
        5 => ((0_u8..6, 0_u8..6), traffic(), prop::bool::weighted(0.05))
            .prop_map(|(people, traffic, barrier)| Step::Push { people, traffic, barrier }),
        4 => (any::<prop::sample::Index>(), said)
            .prop_map(|(which, said)| Step::Answer(which.index(1 << 20), said)),
        1 => (1_u32..20).prop_map(Step::Outage),
        1 => (traffic(), any::<bool>()).prop_map(|(traffic, is)| Step::Crowded(traffic, is)),
        3 => (1_i64..3000).prop_map(Step::Wait),
        2 => (1_i64..30).prop_map(Step::Wait),
    ]
}

/// What is known from outside.
struct Witness {
    courier: Courier,
    now: Time,
    items: Vec<Item>,
    /// By key: its items without an end, as they were pushed.
    lines: HashMap<Arc<str>, Vec<ItemId>>,
    flying: Vec<(FlightId, Vec<ItemId>)>,
    ended: HashSet<ItemId>,
    departures: Vec<Time>,
    /// Until when Customer.io asked for patience, and the request that then goes first.
    asked_for_patience: Option<(Time, Option<FlightId>)>,
}

impl Witness {
    fn new() -> Self {
        Self {
            courier: Courier::new(config()),
            now: Time::from_secs(1_000_000),
            items: Vec::new(),
            lines: HashMap::new(),
            flying: Vec::new(),
            ended: HashSet::new(),
            departures: Vec::new(),
            asked_for_patience: None,
        }
    }

    fn push(&mut self, (one, other): (u8, u8), traffic: Traffic, barrier: bool) {
        let seq = Seq(self.items.len() as u64);
        let mut keys: Vec<Arc<str>> = vec![one.to_string().into()];
        keys.extend((one != other).then(|| other.to_string().into()));
        let item = Item {
            id: ItemId { traffic, seq, part: 0, op: 0 },
            keys,
            payload: Encoded::Item(seq.0.to_string().into()),
            barrier,
            valid_until: None,
            first_failed: None,
            tries: 0,
        };
        for key in &item.keys {
            self.lines.entry(Arc::clone(key)).or_default().push(item.id);
        }
        self.items.push(item.clone());
        self.courier.push(item);
    }

    /// Lets the courier send what it wants to, and judges that.
    fn poll(&mut self) -> Result<(), TestCaseError> {
        let was_open = self.courier.standing(self.now).breaker_open;
        for flight in self.courier.poll(self.now) {
            let (id, sent) = match flight {
                Flight::Batch(id, sent) => (id, sent),
                Flight::Probe(id) => {
                    self.flying.push((id, Vec::new()));
                    continue;
                }
                Flight::Call(..) => unreachable!("there are none"),
            };
            let number = |bytes: &Bytes| String::from_utf8_lossy(bytes).parse::<usize>();
            let items: Vec<ItemId> =
                sent.iter().map(|bytes| self.items[number(bytes).unwrap()].id).collect();
            self.judge_items(&items)?;
            if was_open {
                prop_assert!(self.flying.is_empty() && items.len() == 1, "one probe with one item");
            }
            if let Some((until, first)) = &mut self.asked_for_patience {
                prop_assert!(*until <= self.now, "patience was asked for");
                prop_assert!(first.is_none(), "one request goes first and alone");
                *first = Some(id);
            }
            self.flying.push((id, items));
            prop_assert!(self.flying.len() <= CONCURRENCY);
            self.departures.push(self.now);
            let second = self.now.minus(Duration::from_secs(1));
            let lately = self.departures.iter().rev().take_while(|at| **at > second).count();
            // The burst after a quiet time is a tenth of a second's; the clock counts milliseconds.
            prop_assert!(lately <= RATE as usize * 11 / 10 + 1, "{lately} in a second");
        }
        Ok(())
    }

    /// In flight once, never after its end, and behind nothing of its people but what travels ahead of
    /// it in the same request.
    fn judge_items(&self, items: &[ItemId]) -> Result<(), TestCaseError> {
        for (place, id) in items.iter().enumerate() {
            let flies = self.flying.iter().any(|(_, others)| others.contains(id));
            prop_assert!(!flies && !self.ended.contains(id), "{id:?} is sent twice");
            let item = &self.items[usize::try_from(id.seq.0).unwrap()];
            prop_assert!(!item.barrier || items.len() == 1, "a barrier travels alone");
            for key in &item.keys {
                let ahead = self.lines[key].iter().take_while(|other| *other != id);
                for other in ahead {
                    prop_assert!(items[..place].contains(other), "{id:?} overtakes {other:?}");
                }
            }
        }
        Ok(())
    }

    fn answer(&mut self, which: usize, said: Said) {
        if self.flying.is_empty() {
            return;
        }
        let (id, items) = self.flying.remove(which % self.flying.len());
        let (reason, field, message) = (String::new(), String::new(), String::new());
        let answer = match said {
            _ if items.is_empty() => Answer::Accepted { rejected: Vec::new() },
            Said::Fine => Answer::Accepted { rejected: Vec::new() },
            Said::RejectsLast => Answer::Accepted {
                rejected: vec![ItemError { index: items.len() - 1, reason, field, message }],
            },
            Said::Malformed => Answer::Refused { status: 400, message },
            Said::Broken(status) => {
                Answer::TryAgain { status, retry_after: None, unknown_fate: true }
            }
            Said::Busy(seconds) => Answer::TryAgain {
                status: Some(429),
                retry_after: seconds.map(Duration::from_secs),
                unknown_fate: false,
            },
            Said::Unauthorized => Answer::Unauthorized { status: 401 },
        };
        match (said, &self.asked_for_patience) {
            (Said::Busy(seconds), asked) if !items.is_empty() => {
                let until = self.now.plus(Duration::from_secs(seconds.unwrap_or(1)));
                let until = asked.map_or(until, |(before, _)| before.max(until));
                self.asked_for_patience = Some((until, None));
            }
            (_, Some((_, Some(first)))) if *first == id => self.asked_for_patience = None,
            _ => {}
        }
        self.courier.answer(id, answer, self.now);
    }

    /// Lets so many requests fail.
    fn fail(&mut self, requests: u32) -> Result<(), TestCaseError> {
        for _ in 0..requests {
            self.answer(0, Said::Broken(None));
            self.collect()?;
            self.go_on()?;
        }
        Ok(())
    }

    /// Waits for what the courier waits for, if that is not an answer, and lets it send.
    fn go_on(&mut self) -> Result<(), TestCaseError> {
        if self.flying.is_empty() {
            let due = self.courier.next_due(self.now);
            self.now = self.now.max(due.unwrap_or(self.now));
        }
        self.poll()
    }

    /// Takes what ended; an item ends once.
    fn collect(&mut self) -> Result<(), TestCaseError> {
        while let Some(Settled { id, fate }) = self.courier.next_settled() {
            prop_assert!(self.ended.insert(id), "{id:?} ends twice");
            let postponed = matches!(fate, Fate::Postponed { .. });
            for line in self.lines.values_mut().filter(|line| line.contains(&id)) {
                let is_first = line.first() == Some(&id);
                prop_assert!(is_first || postponed, "{id:?} ends before what is ahead of it");
                line.retain(|other| *other != id);
            }
            if fate == Fate::DeliveredBarrier {
                self.courier.made_durable(id);
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn the_courier_keeps_its_promises(steps in prop::collection::vec(step(), 1..250)) {
        let mut witness = Witness::new();
        for step in steps {
            match step {
                Step::Push { people, traffic, barrier } => witness.push(people, traffic, barrier),
                Step::Answer(which, said) => witness.answer(which, said),
                Step::Outage(requests) => witness.fail(requests)?,
                Step::Crowded(traffic, is) => witness.courier.note_crowded(traffic, is),
                Step::Wait(millis) => {
                    witness.now = Time::from_millis(witness.now.millis() + millis);
                }
            }
            witness.collect()?;
            witness.poll()?;
        }
        // From here on all is well, and everything ends, in its order and without being asked twice.
        for _ in 0..10_000 {
            if witness.ended.len() == witness.items.len() {
                break;
            }
            witness.answer(0, Said::Fine);
            witness.collect()?;
            witness.go_on()?;
        }
        prop_assert_eq!(witness.ended.len(), witness.items.len(), "everything ends");
        prop_assert_eq!(witness.courier.standing(witness.now).items, 0);
        prop_assert_eq!(witness.courier.bytes(), 0);
    }
}
