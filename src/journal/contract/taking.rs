//! Events in, and out to the reader.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn an_event_is_stored_once_and_its_copies_are_counted() {
    for engine in engines() {
        let journal = engine.open();
        let first = done(journal.accept(vec![live(1), live(2), live(1)]));
        let second = done(journal.accept(vec![live(2), replayed(3)]));

        assert!(matches!(first[..], [Receipt::First(_), Receipt::First(_), Receipt::Duplicate]));
        assert!(matches!(second[..], [Receipt::Duplicate, Receipt::First(_)]));
        assert_eq!(counted(&journal, "accepted"), 5);
        assert_eq!(counted(&journal, "dropped"), 2);
        assert_eq!((journal.pending().live, journal.pending().backfill), (2, 1));
        let of_replay = journal.totals().into_iter().find(|total| total.label == "june").unwrap();
        assert_eq!((of_replay.outcome.as_str(), of_replay.count), ("accepted", 1));
    }
}

#[test]
fn an_empty_batch_is_answered() {
    for engine in engines() {
        assert_eq!(done(engine.open().accept(Vec::new())), []);
        done(engine.open().commit(Vec::new().into()));
    }
}

#[test]
fn each_class_comes_out_in_the_order_of_acceptance() {
    for engine in engines() {
        let journal = engine.open();
        done(journal.accept(vec![live(5), replayed(1), live(3)]));
        done(journal.accept(vec![replayed(9), live(4)]));

        assert_eq!(queued(&journal, Traffic::Live), [5, 3, 4]);
        assert_eq!(queued(&journal, Traffic::Backfill), [1, 9]);
        assert_eq!(queued(&journal, Traffic::Live), [5, 3, 4], "again from the beginning");
    }
}

#[test]
fn what_is_read_is_what_was_accepted() {
    for engine in engines() {
        let journal = engine.open();
        let sent = replayed(7);
        done(journal.accept(vec![sent.clone()]));
        // From memory the first time, from disk the second.
        for what in ["from memory", "from disk"] {
            let stored = journal.read(Traffic::Backfill, None, 1).unwrap().remove(0);
            assert_eq!(stored.call.unwrap(), sent.call, "{what}");
            assert_eq!(stored.place, Place::Queue(Traffic::Backfill), "{what}");
            assert_eq!(stored.why, None, "{what}");
        }
    }
}

#[test]
fn a_batch_larger_than_a_commit_gets_one_answer() {
    for engine in engines() {
        let journal = engine.open();
        let mut batch: Vec<Accepted> = (0..4000).map(live).collect();
        batch.push(live(17));
        let receipts = done(journal.accept(batch));

        assert_eq!(receipts.len(), 4001);
        assert_eq!(receipts.last(), Some(&Receipt::Duplicate));
        assert_eq!(journal.pending().live, 4000);
        assert_eq!(queued(&journal, Traffic::Live), (0..4000).collect::<Vec<u128>>());
    }
}

#[test]
fn a_window_that_is_too_small_costs_no_event() {
    for engine in engines() {
        let journal =
            engine.open_with(SqliteOptions { window_bytes: 10_000, ..SqliteOptions::default() });
        let mut after = None;
        let mut got = Vec::new();
        for round in 0..20_u128 {
            accept(&journal, round * 10..round * 10 + 10);
            let page = journal.read(Traffic::Live, after, 7).unwrap();
            after = page.last().map(|stored| stored.seq);
            got.extend(page.iter().map(key_of));
        }
        while let Some(last) = {
            let page = journal.read(Traffic::Live, after, 7).unwrap();
            got.extend(page.iter().map(key_of));
            page.last().map(|stored| stored.seq)
        } {
            after = Some(last);
        }
        assert_eq!(got, (0..200).collect::<Vec<u128>>());
    }
}

#[test]
fn one_hundred_concurrent_copies_are_one_event() {
    for engine in engines() {
        let journal = engine.open();
        let firsts = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let receipts = done(journal.accept(vec![live(1)]));
                        if let Receipt::First(_) = receipts[0] {
                            firsts.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(firsts.into_inner(), 1);
        assert_eq!(counted(&journal, "accepted"), 100);
        assert_eq!(counted(&journal, "dropped"), 99);
    }
}

#[test]
fn the_reader_is_woken_when_events_came_and_not_for_copies() {
    for engine in engines() {
        let journal = engine.open();
        let (wake, woken) = std::sync::mpsc::channel();
        journal.on_accepted(Box::new(move || wake.send(()).unwrap()));
        accept(&journal, [1]);
        woken.recv().unwrap();
        let seq = accept(&journal, [2])[0];
        woken.recv().unwrap();
        settle(&journal, settlement(seq, died(DeadCode::ScriptFailed)));
        done(journal.maintain(at(1)));
        done(journal.redrive(&DeadFilter::default(), 9));
        woken.recv().unwrap();
        drop(journal);
        assert_eq!(woken.iter().count(), 0);
    }
}

#[test]
fn a_full_journal_refuses_whole_batches_and_takes_events_again_when_there_is_room() {
    for engine in engines() {
        let journal =
            engine.open_with(SqliteOptions { max_pending_rows: 3, ..SqliteOptions::default() });
        let seqs = accept(&journal, [1, 2]);

        let error = refused(journal.accept(vec![live(3), live(4)]));
        assert!(matches!(&error, JournalError::Full(why) if why.contains("max_pending")));
        assert_eq!(journal.pending().total(), 2);
        assert_eq!(counted(&journal, "accepted"), 2);
        accept(&journal, [3]);
        assert!(journal.health().full.is_some());

        deliver(&journal, seqs[0]);
        assert_eq!(journal.health().full, None);
        accept(&journal, [4]);
        assert_eq!(queued(&journal, Traffic::Live), [2, 3, 4]);
    }
}

#[test]
fn too_much_data_is_full_and_settling_makes_room() {
    for engine in engines() {
        let journal =
            engine.open_with(SqliteOptions { max_bytes: 600_000, ..SqliteOptions::default() });
        let mut key = 0;
        let mut seqs = Vec::new();
        let error = loop {
            let batch: Vec<Accepted> = (key..key + 100).map(live).collect();
            key += 100;
            match journal.accept(batch).blocking_recv().unwrap() {
                Ok(receipts) => seqs.extend(receipts.into_iter().map(|receipt| match receipt {
                    Receipt::First(seq) => seq,
                    Receipt::Duplicate => panic!("a duplicate"),
                })),
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, JournalError::Full(why) if why.contains("max_bytes")));
        assert!(seqs.len() > 500, "{}", seqs.len());

        seqs.iter().for_each(|seq| deliver(&journal, *seq));
        done(journal.maintain(at(40 * 24 * 3600)));
        accept(&journal, [key]);
    }
}
