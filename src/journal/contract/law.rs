//! The conservation law, under random sequences of everything that can happen.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Accept(Vec<(u8, bool)>),
    Read {
        backfill: bool,
        max: usize,
    },
    Settle {
        nth: usize,
        how: u8,
    },
    Defer {
        nth: usize,
        why: u8,
        after: u64,
    },
    TakeDue {
        after: u64,
        max: usize,
    },
    Redrive {
        max: usize,
    },
    Maintain,
    /// Opened again, after a crash or in good order.
    Restart {
        clean: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec((0_u8..60, any::<bool>()), 1..8).prop_map(Step::Accept),
        4 => (any::<bool>(), 1_usize..5).prop_map(|(backfill, max)| Step::Read { backfill, max }),
        5 => (0_usize..9, 0_u8..3).prop_map(|(nth, how)| Step::Settle { nth, how }),
        2 => (0_usize..9, 0_u8..3, 0_u64..20).prop_map(|(nth, why, after)| Step::Defer { nth, why, after }),
        2 => (0_u64..10, 1_usize..4).prop_map(|(after, max)| Step::TakeDue { after, max }),
        1 => (1_usize..5).prop_map(|max| Step::Redrive { max }),
        1 => Just(Step::Maintain),
        1 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
    ];
    prop::collection::vec(step, 1..40)
}

/// What must be true of the journal, kept beside it.
#[derive(Default)]
struct Model {
    now: u64,
    keys: BTreeSet<u8>,
    queues: [BTreeMap<Seq, u8>; 2],
    /// Whether it is parked, and when it is due.
    deferred: BTreeMap<Seq, (bool, u64)>,
    taken: BTreeSet<Seq>,
    dead: u64,
    cursors: [Option<Seq>; 2],
    /// What was read or taken and has no outcome yet.
    in_hand: Vec<(Seq, Place)>,
}

impl Model {
    fn step(&mut self, journal: &SqliteJournal, step: &Step) {
        match step {
            Step::Accept(batch) => self.accept(journal, batch),
            Step::Read { backfill, max } => self.read(journal, *backfill, *max),
            Step::Settle { nth, how } => self.settle(journal, *nth, *how),
            Step::Defer { nth, why, after } => self.defer(journal, *nth, *why, *after),
            Step::TakeDue { after, max } => self.take_due(journal, *after, *max),
            Step::Redrive { max } => self.redrive(journal, *max),
            Step::Maintain => done(journal.maintain(at(self.now))),
            Step::Restart { .. } => {
                self.cursors = [None; 2];
                self.in_hand.clear();
                self.taken.clear();
            }
        }
    }

    fn accept(&mut self, journal: &SqliteJournal, batch: &[(u8, bool)]) {
        let calls = batch.iter().map(|(key, backfill)| match backfill {
            false => live(u128::from(*key)),
            true => replayed(u128::from(*key)),
        });
        let receipts = done(journal.accept(calls.collect()));
        assert_eq!(receipts.len(), batch.len());
        for ((key, backfill), receipt) in batch.iter().zip(receipts) {
            match receipt {
                Receipt::First(seq) => {
                    assert!(self.keys.insert(*key), "{key} was known");
                    self.queues[usize::from(*backfill)].insert(seq, *key);
                }
                Receipt::Duplicate => assert!(self.keys.contains(key), "{key} was not known"),
            }
        }
    }

    fn read(&mut self, journal: &SqliteJournal, backfill: bool, max: usize) {
        let index = usize::from(backfill);
        let traffic = [Traffic::Live, Traffic::Backfill][index];
        let page = journal.read(traffic, self.cursors[index], max).unwrap();
        let got: Vec<(Seq, u8)> =
            page.iter().map(|stored| (stored.seq, key_of(stored) as u8)).collect();
        let behind = self.cursors[index].map_or(Seq(0), |seq| Seq(seq.0 + 1));
        let expected = self.queues[index].range(behind..).map(|(seq, key)| (*seq, *key));
        let expected: Vec<(Seq, u8)> = expected.take(max).collect();
        // Less than asked for is allowed where memory ends and the disk begins; nothing is not.
        assert_eq!(got, expected[..got.len()]);
        assert_eq!(got.is_empty(), expected.is_empty());
        if let Some((last, _)) = got.last() {
            self.cursors[index] = Some(*last);
        }
        self.in_hand.extend(got.iter().map(|(seq, _)| (*seq, Place::Queue(traffic))));
    }

    fn take(&mut self, nth: usize) -> Option<(Seq, Place)> {
        if self.in_hand.is_empty() {
            return None;
        }
        let (seq, place) = self.in_hand.remove(nth % self.in_hand.len());
        match place {
            Place::Queue(traffic) => {
                self.queues[usize::from(traffic == Traffic::Backfill)].remove(&seq);
            }
            Place::Deferred => {
                self.deferred.remove(&seq);
                self.taken.remove(&seq);
            }
        }
        Some((seq, place))
    }

    fn settle(&mut self, journal: &SqliteJournal, nth: usize, how: u8) {
        let Some((seq, place)) = self.take(nth) else { return };
        let outcome = match how {
            0 => Outcome::Delivered,
            1 => dropped(),
            _ => died(DeadCode::Rejected),
        };
        self.dead += u64::from(how == 2);
        super::settle(journal, Settlement { place, ..settlement(seq, outcome) });
    }

    fn defer(&mut self, journal: &SqliteJournal, nth: usize, why: u8, after: u64) {
        let Some((seq, place)) = self.take(nth) else { return };
        let why = [Why::Parked, Why::Held, Why::Retry][usize::from(why)];
        let due = self.now + after;
        self.deferred.insert(seq, (why == Why::Parked, due));
        super::defer(journal, Deferral { place, ..deferral(seq, why, at(due)) });
    }

    fn take_due(&mut self, journal: &SqliteJournal, after: u64, max: usize) {
        self.now += after;
        let got: Vec<Seq> =
            journal.take_due(at(self.now), max).unwrap().iter().map(|stored| stored.seq).collect();
        let mut expected: Vec<((bool, u64), Seq)> = self
            .deferred
            .iter()
            .filter(|(seq, (_, due))| *due <= self.now && !self.taken.contains(seq))
            .map(|(seq, order)| (*order, *seq))
            .collect();
        expected.sort_unstable();
        let expected: Vec<Seq> = expected.into_iter().map(|(_, seq)| seq).take(max).collect();
        assert_eq!(got, expected);
        self.taken.extend(&got);
        self.in_hand.extend(got.iter().map(|seq| (*seq, Place::Deferred)));
    }

    fn redrive(&mut self, journal: &SqliteJournal, max: usize) {
        let before = journal.dead(&DeadFilter::default(), None, max).unwrap();
        assert_eq!(before.len() as u64, self.dead.min(max as u64));
        assert_eq!(done(journal.redrive(&DeadFilter::default(), max)), before.len() as u64);
        self.dead -= before.len() as u64;
        let mut seq = self.last_seq(journal, before.len() as u64);
        for row in before {
            let call = row.call.unwrap();
            let index = usize::from(call.arrival.traffic() == Traffic::Backfill);
            let stored = Stored {
                seq: row.seq,
                place: Place::Deferred,
                call: Ok(call),
                why: None,
                attempts: super::super::Attempts::default(),
            };
            self.queues[index].insert(seq, key_of(&stored) as u8);
            seq.0 += 1;
        }
    }

    /// The first of the last `count` places.
    fn last_seq(&self, journal: &SqliteJournal, count: u64) -> Seq {
        Seq(journal.last_seq().0 + 1 - count)
    }

    fn check(&self, journal: &SqliteJournal) {
        let pending = journal.pending();
        assert_eq!(pending.live, self.queues[0].len() as u64);
        assert_eq!(pending.backfill, self.queues[1].len() as u64);
        assert_eq!(pending.parked + pending.held + pending.retry, self.deferred.len() as u64);
        let [accepted, redriven, delivered, dropped, dead_lettered] =
            ["accepted", "redriven", "delivered", "dropped", "dead_lettered"]
                .map(|outcome| counted(journal, outcome));
        assert_eq!(accepted + redriven, delivered + dropped + dead_lettered + pending.total());
        assert_eq!(dead_lettered - redriven, self.dead);
        assert_eq!(journal.rows(), (pending, self.dead));
    }
}

fn run(engine: &Engine, window_bytes: usize, steps: &[Step]) {
    let options = SqliteOptions { window_bytes, ..SqliteOptions::default() };
    let mut journal = engine.open_with(options.clone());
    let mut model = Model::default();
    for step in steps {
        if let Step::Restart { clean } = step {
            if engine.path().is_none() {
                continue;
            }
            if *clean {
                done(journal.close());
            }
            drop(journal);
            journal = engine.open_with(options.clone());
            assert_eq!(journal.opened().clean, *clean);
        }
        model.step(&journal, step);
        model.check(&journal);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_appears(steps in steps(), window_bytes in 0_usize..20_000) {
        for engine in engines() {
            run(&engine, window_bytes, &steps);
        }
    }
}
