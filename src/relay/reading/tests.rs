//! Reading from a journal that is told what is in it; the script threads are real, time is moved by hand.

use std::sync::mpsc::{Receiver, Sender, channel};

use arc_swap::ArcSwap;
use serde_json::json;

use super::*;
use crate::app::courier_config;
use crate::clock::{Clock, ManualClock};
use crate::config::Config;
use crate::destination::customerio::Region;
use crate::destination::customerio::client::{Client, ClientConfig};
use crate::journal::Attempts;
use crate::journal::testing::ForgetfulJournal;
use crate::relay::scripts::{self, Workshop};
use crate::relay::{Relay, Tap};
use crate::spec::{Arrival, RawCall};
use crate::transform::Bundle;
use crate::transform::trial::Trial;

const LIVE: Place = Place::Queue(Traffic::Live);
const BACKFILL: Place = Place::Queue(Traffic::Backfill);

/// A driver whose jobs pass through the hands of a test.
struct Reading {
    driver: Driver,
    jobs: Receiver<Job>,
    work: Sender<Job>,
    done: Receiver<Done>,
    clock: ManualClock,
    journal: Arc<ForgetfulJournal>,
    _runtime: tokio::runtime::Runtime,
}

impl Reading {
    fn from(journal: ForgetfulJournal) -> Self {
        let (config, journal) = (Arc::new(Config::demo()), Arc::new(journal));
        let clock = ManualClock::at(Time::from_secs(1_000_000));
        let account = ClientConfig::new(Region::Us, "site", "key");
        let (verdicts, _) = channel();
        let relay = Relay {
            config: Arc::clone(&config),
            journal: journal.clone(),
            clock: Arc::new(clock.clone()),
            bundle: Arc::new(ArcSwap::from_pointee(Bundle::shipped().unwrap())),
            client: Arc::new(Client::new(&account).unwrap()),
            courier: courier_config(&config),
            trial: Arc::new(Trial::new("", verdicts)),
            observer: Box::new(|_| {}),
            tap: Arc::new(Tap::default()),
        };
        let workshop = Workshop {
            config,
            bundle: Arc::clone(&relay.bundle),
            clock: Arc::clone(&relay.clock),
            tap: Arc::clone(&relay.tap),
            trial: Arc::clone(&relay.trial),
        };
        let (work, to_do) = channel();
        let (finished, done) = channel();
        scripts::start(1, &workshop, to_do, move |done| drop(finished.send(done))).unwrap();
        let (inbox, _) = channel();
        let (hand_on, jobs) = channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let driver = relay.driver(runtime.handle().clone(), inbox, (hand_on, 4)).unwrap();
        Self { driver, jobs, work, done, clock, journal, _runtime: runtime }
    }

    /// Lets it read; answers what went to the script threads.
    fn read(&mut self) -> Vec<Job> {
        self.driver.read(self.clock.now());
        self.jobs.try_iter().collect()
    }

    /// Lets the script threads work for 5 ms.
    fn prepare(&mut self, job: Job) {
        self.work.send(job).unwrap();
        let done = self.done.recv().unwrap();
        self.advance(Duration::from_millis(5));
        self.driver.prepared(done);
    }

    fn advance(&mut self, by: Duration) {
        self.clock.set(self.clock.now().plus(by));
    }
}

fn stored(seq: u64, place: Place) -> Stored {
    let body = json!({"type": "track", "event": "e", "userId": seq.to_string(), "messageId": seq});
    let arrival = Arrival { source: "demo".into(), ..Arrival::default() };
    Stored {
        seq: Seq(seq),
        place,
        call: Ok(RawCall::new(arrival, body.to_string().into())),
        why: None,
        attempts: Attempts::default(),
    }
}

fn seqs(jobs: &[Job]) -> Vec<u64> {
    jobs.iter().flat_map(|job| &job.events).map(|stored| stored.seq.0).collect()
}

#[test]
fn after_a_crash_each_event_is_tried_alone_though_a_backfill_rests_beside_live_traffic() {
    let mut reading = Reading::from(ForgetfulJournal {
        queued: vec![
            stored(1, LIVE),
            stored(2, BACKFILL),
            stored(3, BACKFILL),
            stored(4, BACKFILL),
        ],
        ..ForgetfulJournal::default()
    });
    reading.driver.feed.be_careful(100);
    for seq in 1..=4 {
        let jobs = reading.read();
        assert_eq!(seqs(&jobs), [seq]);
        assert_eq!(*reading.journal.tries.lock().unwrap(), Some(Seq(seq)));
        jobs.into_iter().for_each(|job| reading.prepare(job));
        assert_eq!(*reading.journal.tries.lock().unwrap(), None, "it has survived");
        if seq > 1 {
            let too_soon = reading.read();
            assert!(too_soon.is_empty(), "a backfill rests while live traffic is there");
        }
        reading.advance(LONGEST_REST);
    }
    assert!(reading.read().is_empty());
    assert!(!reading.driver.feed.is_careful(Traffic::Backfill), "everything was tried");
}

#[test]
fn after_a_crash_a_backlog_of_live_events_hides_no_culprit_behind_it() {
    let live = (1..=600).map(|seq| stored(seq, LIVE));
    let backfill = (601..=603).map(|seq| stored(seq, BACKFILL));
    let mut reading = Reading::from(ForgetfulJournal {
        queued: live.chain(backfill).collect(),
        ..ForgetfulJournal::default()
    });
    reading.driver.feed.be_careful(500);
    let mut alone = Vec::new();
    let mut read = 0;
    while read < 603 {
        reading.advance(LONGEST_REST);
        for job in reading.read() {
            read += job.events.len();
            let noted = *reading.journal.tries.lock().unwrap();
            if let ([one], Some(noted)) = (&job.events[..], noted) {
                assert_eq!(one.seq, noted);
                alone.push(noted.0);
            }
            reading.prepare(job);
        }
    }
    let expected: Vec<u64> = (1..=500).chain(601..=603).collect();
    assert_eq!(alone, expected, "those that may have been in memory, of each class");
}

#[test]
fn large_events_are_worked_on_a_few_at_a_time() {
    let large = |seq| {
        let size = if seq == 3 { 2 * JOB_BYTES } else { JOB_BYTES / 3 };
        let body = format!("{{}}{}", " ".repeat(size - 2));
        let call = Ok(RawCall::new(Arrival::default(), body.into()));
        Stored { call, ..stored(seq, LIVE) }
    };
    let mut reading = Reading::from(ForgetfulJournal {
        queued: (1..=8).map(large).collect(),
        ..ForgetfulJournal::default()
    });
    let jobs: Vec<Vec<u64>> =
        reading.read().iter().map(|job| seqs(std::slice::from_ref(job))).collect();
    assert_eq!(jobs, [vec![1, 2], vec![3], vec![4, 5, 6], vec![7, 8]]);
}

#[test]
fn while_there_is_no_room_nothing_is_looked_for() {
    let mut reading = Reading::from(ForgetfulJournal::default());
    assert!(reading.driver.next_read(reading.clock.now()) <= reading.clock.now());
    reading.driver.most_unsettled = 0;
    assert!(reading.read().is_empty());
    assert_eq!(reading.driver.next_read(reading.clock.now()), Time::NEVER);
}

#[test]
fn a_place_that_cannot_be_read_keeps_no_other_waiting() {
    for unreadable in PLACES {
        let mut reading = Reading::from(ForgetfulJournal {
            queued: (1..=1000)
                .map(|seq| stored(seq, if seq % 2 == 0 { LIVE } else { BACKFILL }))
                .collect(),
            unreadable: Some(unreadable),
            ..ForgetfulJournal::default()
        });
        let mut read = [0, 0];
        for _ in 0..1000 {
            for job in reading.read() {
                read[job.traffic as usize] += job.events.len();
                reading.prepare(job);
            }
            reading.advance(Duration::from_millis(1));
        }
        let expected = |place| if unreadable == place { 0 } else { 500 };
        let what = format!("{unreadable:?} is unreadable");
        assert_eq!(read, [expected(LIVE), expected(BACKFILL)], "{what}");
    }
}
