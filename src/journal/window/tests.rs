//! The window against a model of the disk, with random commits between every two steps of a reader.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::journal::{Attempts, Place};
use crate::spec::{Arrival, RawCall, Traffic};

fn stored(seq: u64, size: usize) -> Stored {
    Stored {
        seq: Seq(seq),
        place: Place::Queue(Traffic::Live),
        call: Ok(RawCall::new(Arrival::default(), Bytes::from(vec![b' '; size]))),
        why: None,
        attempts: Attempts::default(),
    }
}

fn seqs(next: Next) -> Vec<u64> {
    match next {
        Next::Memory(events) => events.iter().map(|stored| stored.seq.0).collect(),
        Next::Disk(upto) => panic!("expected events, was sent to the disk up to {}", upto.0),
    }
}

/// Room for `count` small events.
fn room(count: usize) -> usize {
    count * memory_cost(&stored(1, 0))
}

#[test]
fn what_is_published_comes_out_once_and_in_order() {
    let window = Window::new(Seq(0), room(10));
    [3, 4, 8].into_iter().for_each(|seq| window.publish(stored(seq, 0), 0));

    assert_eq!(seqs(window.next(Seq(0), 2)), [3, 4]);
    assert_eq!(seqs(window.next(Seq(4), 2)), [8]);
    assert_eq!(seqs(window.next(Seq(8), 2)), [0; 0]);
}

#[test]
fn an_event_keeps_its_own_bytes_and_not_its_request() {
    struct Body(Arc<Vec<u8>>);
    impl AsRef<[u8]> for Body {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let bytes = Arc::new(vec![b' '; 1 << 20]);
    let whole = Bytes::from_owner(Body(Arc::clone(&bytes)));
    let call = Ok(RawCall::new(Arrival::default(), whole.slice(..60)));
    drop(whole);
    let window = Window::new(Seq(0), room(10));
    window.publish(Stored { call, ..stored(1, 0) }, 0);

    assert_eq!(Arc::strong_count(&bytes), 1, "the request is gone");
    let Next::Memory(events) = window.next(Seq(0), 9) else { panic!("it is in memory") };
    assert_eq!(events[0].call.as_ref().unwrap().body.len(), 60);
}

#[test]
fn what_was_there_before_is_read_from_disk_first() {
    let window = Window::new(Seq(7), room(10));
    window.publish(stored(9, 0), 0);

    assert!(matches!(window.next(Seq(0), 5), Next::Disk(Seq(7))));
    assert_eq!(seqs(window.next(Seq(7), 5)), [9]);
}

#[test]
fn a_full_window_sends_the_reader_to_the_disk_and_takes_over_again() {
    let window = Window::new(Seq(0), room(2));
    (1..=4).for_each(|seq| window.publish(stored(seq, 0), 0));

    assert_eq!(seqs(window.next(Seq(0), 9)), [1, 2]);
    assert!(matches!(window.next(Seq(2), 9), Next::Disk(Seq(4))));
    window.publish(stored(5, 0), 0);
    assert_eq!(seqs(window.next(Seq(4), 9)), [5]);
}

#[test]
fn a_reader_that_is_told_that_there_is_nothing_more_on_disk_stays_in_memory() {
    let window = Window::new(Seq(7), room(2));
    window.publish(stored(8, 0), 0);
    window.nothing_between(Seq(3), Seq(7));

    assert_eq!(seqs(window.next(Seq(3), 9)), [8]);
}

#[test]
fn what_one_reader_took_from_memory_another_gets_from_disk() {
    let window = Window::new(Seq(7), room(2));
    window.publish(stored(8, 0), 0);
    assert_eq!(seqs(window.next(Seq(7), 9)), [8]);
    // The other one read the disk up to 7 before that.
    window.nothing_between(Seq(3), Seq(7));

    assert!(matches!(window.next(Seq(3), 9), Next::Disk(Seq(8))));
}

#[test]
fn an_event_that_left_the_queue_is_not_handed_out() {
    let window = Window::new(Seq(0), room(10));
    (1..=3).for_each(|seq| window.publish(stored(seq, 0), 0));
    window.forget(Seq(2));

    assert_eq!(seqs(window.next(Seq(0), 9)), [1, 3]);
}

#[test]
fn large_events_fill_it_sooner_and_one_larger_than_all_of_it_waits_on_disk() {
    let window = Window::new(Seq(0), room(3));
    window.publish(stored(1, room(3)), 0);

    assert!(matches!(window.next(Seq(0), 9), Next::Disk(Seq(1))));
    assert_eq!(seqs(window.next(Seq(1), 9)), [0; 0]);
}

#[derive(Clone, Debug)]
enum Step {
    Accept {
        count: u64,
        gap: u64,
        size: usize,
    },
    Redrive,
    Read {
        max: usize,
        between: u64,
    },
    /// Another reader, from the beginning: it may cost speed, never an event.
    ReadElsewhere {
        max: usize,
    },
    /// Settles what was read up to now.
    Settle,
    /// An unread event leaves the queue.
    Purge {
        nth: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u64..6, 1_u64..3, 0_usize..600)
            .prop_map(|(count, gap, size)| Step::Accept { count, gap, size }),
        1 => Just(Step::Redrive),
        6 => (1_usize..6, 0_u64..4).prop_map(|(max, between)| Step::Read { max, between }),
        1 => (1_usize..4).prop_map(|max| Step::ReadElsewhere { max }),
        1 => Just(Step::Settle),
        1 => (0_usize..8).prop_map(|nth| Step::Purge { nth }),
    ];
    prop::collection::vec(step, 1..80)
}

/// A queue on a disk that is a map, in front of it the window.
struct Model {
    window: Window,
    disk: BTreeMap<u64, usize>,
    last: u64,
    cursor: Seq,
    purged: Vec<u64>,
    accepted: Vec<u64>,
    got: Vec<u64>,
}

impl Model {
    fn accept(&mut self, count: u64, gap: u64, size: usize) {
        for _ in 0..count {
            self.last += gap;
            self.disk.insert(self.last, size);
            self.accepted.push(self.last);
            self.window.publish(stored(self.last, size), 0);
        }
    }

    fn redrive(&mut self) {
        self.last += 1;
        self.disk.insert(self.last, 0);
        self.accepted.push(self.last);
        self.window.publish_on_disk(Seq(self.last));
    }

    /// One read of the journal; `between` events are accepted between its two steps.
    fn read(&mut self, mut after: Seq, max: usize, between: u64) -> Vec<u64> {
        loop {
            let upto = match self.window.next(after, max) {
                Next::Memory(events) => return seqs(Next::Memory(events)),
                Next::Disk(upto) => upto,
            };
            self.accept(between, 1, 0);
            let all: Vec<u64> =
                self.disk.range(after.0 + 1..=upto.0).map(|(seq, _)| *seq).collect();
            let page: Vec<u64> = all.iter().copied().take(max).collect();
            self.accept(between, 1, 0);
            match page.last() {
                None => after = upto,
                Some(last) => {
                    if all.len() < max {
                        self.window.nothing_between(Seq(*last), upto);
                    }
                    return page;
                }
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Accept { count, gap, size } => self.accept(count, gap, size),
            Step::Redrive => self.redrive(),
            Step::Read { max, between } => {
                let page = self.read(self.cursor, max, between);
                assert!(page.len() <= max);
                if let Some(last) = page.last() {
                    self.cursor = Seq(*last);
                }
                self.got.extend(page);
            }
            Step::ReadElsewhere { max } => {
                let first: Vec<u64> = self.disk.keys().copied().collect();
                let page = self.read(Seq(0), max, 0);
                assert_eq!(page, first[..page.len()]);
                assert_eq!(page.is_empty(), first.is_empty());
            }
            Step::Settle => self.got.iter().for_each(|seq| {
                self.disk.remove(seq);
                self.window.forget(Seq(*seq));
            }),
            Step::Purge { nth } => {
                let unread = self.disk.range(self.cursor.0 + 1..).nth(nth).map(|(seq, _)| *seq);
                if let Some(seq) = unread {
                    self.disk.remove(&seq);
                    self.window.forget(Seq(seq));
                    self.purged.push(seq);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn a_reader_misses_nothing_and_gets_nothing_twice(
        steps in steps(),
        limit in 0_usize..8,
        before in 0_u64..4,
    ) {
        let mut model = Model {
            window: Window::new(Seq(before), room(limit)),
            disk: (1..=before).map(|seq| (seq, 0)).collect(),
            last: before,
            cursor: Seq(0),
            purged: Vec::new(),
            accepted: (1..=before).collect(),
            got: Vec::new(),
        };
        steps.into_iter().for_each(|step| model.step(step));
        loop {
            let page = model.read(model.cursor, 3, 0);
            let Some(last) = page.last() else { break };
            model.cursor = Seq(*last);
            model.got.extend(page);
        }

        model.accepted.retain(|seq| !model.purged.contains(seq));
        prop_assert_eq!(&model.got, &model.accepted);
        prop_assert!(model.window.run().bytes <= room(limit));
    }
}
