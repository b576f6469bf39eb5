//! Events out: settled, deferred, dead and back.

use std::sync::Mutex;

use super::*;
use crate::journal::{Attempts, DonePart, Hasten, Held};

#[test]
fn a_settled_event_is_gone_and_counted() {
    for engine in engines() {
        let journal = engine.open();
        let seqs = accept(&journal, [1, 2, 3]);
        deliver(&journal, seqs[1]);
        settle(&journal, settlement(seqs[0], dropped()));

        assert_eq!(queued(&journal, Traffic::Live), [3]);
        assert_eq!(counted(&journal, "delivered"), 1);
        let drops = journal.totals().into_iter().find(|total| total.outcome == "dropped").unwrap();
        assert_eq!((drops.source.as_str(), drops.reason.as_str()), ("web", "opted_out"));
        assert_eq!(journal.pending().total(), 1);
    }
}

#[test]
fn an_event_that_is_not_there_counts_nothing_and_teaches_nothing() {
    for engine in engines() {
        let journal = engine.open();
        let seq = accept(&journal, [1])[0];
        let key = FactKey("link:a".into());
        let taught = |seq, place| {
            let fact = Fact { value: "1".into(), until: at(99) };
            let facts = vec![(key.clone(), Some(fact))];
            Settlement { facts, place, ..settlement(seq, died(DeadCode::Rejected)) }
        };
        let table = [
            ("unknown", Seq(99), Place::Queue(Traffic::Live)),
            ("in the other queue", seq, Place::Queue(Traffic::Backfill)),
            ("not deferred", seq, Place::Deferred),
        ];
        for (what, seq, place) in table {
            settle(&journal, taught(seq, place));
            defer(&journal, Deferral { place, ..deferral(seq, Why::Held, at(0)) });
            assert_eq!(counted(&journal, "dead_lettered"), 0, "{what}");
            assert_eq!(journal.load(std::slice::from_ref(&key), at(0)).unwrap(), [None], "{what}");
            assert_eq!(journal.trail("s-1", 9).unwrap(), [], "{what}");
            assert_eq!(journal.dead(&DeadFilter::default(), None, 9).unwrap().len(), 0, "{what}");
            assert_eq!(journal.pending(), Pending { live: 1, ..Pending::default() }, "{what}");
        }
        deliver(&journal, seq);
        deliver(&journal, seq);
        assert_eq!(counted(&journal, "delivered"), 1, "settled twice");
    }
}

#[test]
fn a_deferred_event_comes_back_when_it_is_due_with_what_was_tried() {
    for engine in engines() {
        let journal = engine.open();
        let seqs = accept(&journal, [1, 2, 3]);
        let done = |index| DonePart { index, what: "track e".into(), nth: index };
        let holds = vec![Held { key: "key:1:o".into(), owner: "01".into() }];
        let attempts =
            Attempts { tries: 3, first_at: Some(at(2)), done: vec![done(0), done(2)], holds };
        defer(&journal, deferral(seqs[0], Why::Parked, at(50)));
        let retry = Deferral {
            attempts: attempts.clone(),
            status: Some(503),
            error: Some("busy".into()),
            ..deferral(seqs[1], Why::Retry, at(20))
        };
        defer(&journal, retry);

        assert_eq!(
            journal.pending(),
            Pending { live: 1, parked: 1, retry: 1, ..Pending::default() }
        );
        assert_eq!(queued(&journal, Traffic::Live), [3]);
        assert_eq!(journal.next_due().unwrap(), Some(at(20)));
        assert_eq!(journal.take_due(at(19), 9).unwrap().len(), 0);
        let due = journal.take_due(at(20), 9).unwrap();
        assert_eq!(due.iter().map(key_of).collect::<Vec<_>>(), [2]);
        assert_eq!((due[0].place, due[0].why), (Place::Deferred, Some(Why::Retry)));
        assert_eq!(due[0].attempts, attempts);
        assert_eq!(journal.next_due().unwrap(), Some(at(50)), "a taken one is not due");
    }
}

#[test]
fn due_events_come_by_time_then_by_acceptance_and_only_once() {
    for engine in engines() {
        let journal = engine.open();
        let seqs = accept(&journal, [1, 2, 3, 4]);
        for (seq, due) in [(seqs[3], 5), (seqs[2], 5), (seqs[1], 4), (seqs[0], 6)] {
            defer(&journal, deferral(seq, Why::Held, at(due)));
        }
        let keys = |max| journal.take_due(at(9), max).unwrap().iter().map(key_of).collect();
        let table: [(usize, Vec<u128>); 3] = [(3, vec![2, 3, 4]), (3, vec![1]), (3, vec![])];
        for (max, expected) in table {
            let taken: Vec<u128> = keys(max);
            assert_eq!(taken, expected);
        }

        let again = Deferral { place: Place::Deferred, ..deferral(seqs[2], Why::Retry, at(30)) };
        defer(&journal, again);
        assert_eq!(journal.pending(), Pending { held: 3, retry: 1, ..Pending::default() });
        assert_eq!(journal.take_due(at(29), 9).unwrap().len(), 0);
        assert_eq!(journal.take_due(at(30), 9).unwrap().len(), 1, "deferred anew: given anew");
        settle(
            &journal,
            Settlement { place: Place::Deferred, ..settlement(seqs[2], Outcome::Delivered) },
        );
        assert_eq!(journal.pending().retry, 0);
    }
}

#[test]
fn what_somebody_has_taken_is_given_to_nobody_else() {
    for engine in engines() {
        let journal = engine.open();
        let seqs = accept(&journal, [1, 2]);
        for seq in &seqs {
            defer(&journal, deferral(*seq, Why::Parked, at(10)));
        }
        let due = || -> Vec<Seq> {
            journal.take_due(at(10), 9).unwrap().iter().map(|stored| stored.seq).collect()
        };
        assert!(journal.take(seqs[0]));
        assert_eq!(due(), [seqs[1]]);
        assert_eq!([journal.take(seqs[0]), journal.take(seqs[1])], [false; 2]);

        journal.give_back(&seqs[..1]);
        assert_eq!(due(), [seqs[0]]);
    }
}

#[test]
fn keys_are_blocked_as_long_as_their_event_waits() {
    for engine in engines() {
        let journal = engine.open();
        let seqs = accept(&journal, [1, 2]);
        let keys = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let held = Deferral { keys: keys(&["a", "u"]), ..deferral(seqs[0], Why::Held, at(5)) };
        let retry = Deferral { keys: keys(&["u"]), ..deferral(seqs[1], Why::Retry, at(5)) };
        defer(&journal, held.clone());
        defer(&journal, retry);
        let blocked = |key: &str, seq| (key.to_owned(), seq);
        assert_eq!(
            journal.blocked_keys().unwrap(),
            [blocked("a", seqs[0]), blocked("u", seqs[0]), blocked("u", seqs[1])]
        );

        let fewer = Deferral { place: Place::Deferred, keys: keys(&["a"]), ..held };
        defer(&journal, fewer);
        settle(
            &journal,
            Settlement { place: Place::Deferred, ..settlement(seqs[1], Outcome::Delivered) },
        );
        assert_eq!(journal.blocked_keys().unwrap(), [blocked("a", seqs[0])]);
    }
}

#[test]
fn a_dead_letter_keeps_its_original_and_is_found_by_each_of_its_marks() {
    for engine in engines() {
        let journal = engine.open();
        let seqs = accept(&journal, [1, 2, 3]);
        settle(&journal, settlement(seqs[0], died(DeadCode::ScriptFailed)));
        let mut other = settlement(seqs[1], died(DeadCode::Rejected));
        other.trail.at = at(20);
        other.trail.bundle = "b2".into();
        other.trail.source = "app".into();
        settle(&journal, other);
        defer(&journal, deferral(seqs[2], Why::Retry, at(1)));
        let expired = settlement(seqs[2], died(DeadCode::Expired));
        settle(&journal, Settlement { place: Place::Deferred, ..expired });

        let all = DeadFilter::default();
        let rows = journal.dead(&all, None, 9).unwrap();
        assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), seqs);
        assert_eq!(rows[0].call.as_ref().unwrap(), &live(1).call);
        assert_eq!(
            rows[0].letter,
            DeadLetter::new(DeadCode::ScriptFailed, Stage::Transform, "it went wrong")
        );
        assert_eq!((rows[0].at, rows[0].bundle.as_str()), (at(10), "b1"));
        assert_eq!(journal.dead(&all, Some(seqs[0]), 1).unwrap()[0].seq, seqs[1]);
        let none = DeadFilter::default;
        let table = [
            ("place", DeadFilter { seq: Some(seqs[2]), ..none() }, vec![seqs[2]]),
            ("reason", DeadFilter { code: Some(DeadCode::Rejected), ..none() }, vec![seqs[1]]),
            ("source", DeadFilter { source: Some("app".into()), ..none() }, vec![seqs[1]]),
            ("bundle", DeadFilter { bundle: Some("b1".into()), ..none() }, vec![seqs[0], seqs[2]]),
            ("since", DeadFilter { since: Some(at(20)), ..none() }, vec![seqs[1]]),
            ("until", DeadFilter { until: Some(at(20)), ..none() }, vec![seqs[0], seqs[2]]),
        ];
        for (what, filter, expected) in table {
            let rows = journal.dead(&filter, None, 9).unwrap();
            assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), expected, "{what}");
        }
    }
}

#[test]
fn a_redriven_event_goes_to_the_end_of_its_queue_and_is_no_duplicate() {
    for engine in engines() {
        let journal = engine.open();
        done(journal.accept(vec![live(1), replayed(2), live(3)]));
        let part = DonePart { index: 1, what: "track e".into(), nth: 0 };
        for traffic in [Traffic::Live, Traffic::Backfill] {
            let stored = journal.read(traffic, None, 1).unwrap().remove(0);
            let end = settlement(stored.seq, died(DeadCode::ScriptFailed));
            let done = vec![part.clone()];
            settle(&journal, Settlement { place: stored.place, done, ..end });
        }
        assert_eq!(queued(&journal, Traffic::Live), [3]);
        assert_eq!(queued(&journal, Traffic::Backfill), [0; 0]);

        let wrong = DeadFilter { code: Some(DeadCode::Expired), ..DeadFilter::default() };
        assert_eq!(done(journal.redrive(&wrong, 9)), 0);
        assert_eq!(done(journal.redrive(&DeadFilter::default(), 9)), 2);
        assert_eq!(queued(&journal, Traffic::Live), [3, 1]);
        assert_eq!(queued(&journal, Traffic::Backfill), [2], "with its stored class");
        for (traffic, expected) in
            [(Traffic::Live, vec![None, Some(&part)]), (Traffic::Backfill, vec![Some(&part)])]
        {
            let rows = journal.waiting(Place::Queue(traffic), None, 9).unwrap();
            let done: Vec<_> = rows.iter().map(|row| row.event.attempts.done.first()).collect();
            assert_eq!(done, expected, "with what was done");
        }
        assert_eq!(journal.dead(&DeadFilter::default(), None, 9).unwrap().len(), 0);
        assert_eq!(counted(&journal, "redriven"), 2);
        assert_eq!(counted(&journal, "dead_lettered"), 2);
        assert_eq!(journal.pending().total(), 3);
    }
}

#[test]
fn a_large_redrive_stops_at_its_limit() {
    for engine in engines() {
        let journal = engine.open();
        let seqs = accept(&journal, 0..1300);
        let end = |seq: &Seq| Change::Settle(settlement(*seq, died(DeadCode::Rejected)));
        done(journal.commit(Arc::new(seqs.iter().map(end).collect())));

        assert_eq!(done(journal.redrive(&DeadFilter::default(), 1100)), 1100);
        assert_eq!(journal.pending().live, 1100);
        assert_eq!(queued(&journal, Traffic::Live), (0..1100).collect::<Vec<u128>>());
        assert_eq!(done(journal.redrive(&DeadFilter::default(), usize::MAX)), 200);
    }
}

#[test]
fn a_redrive_finds_the_one_that_is_meant_behind_thousands_of_others() {
    for engine in engines() {
        let journal = engine.open();
        let seqs = accept(&journal, 0..2500);
        let code = |seq| if seq == seqs[2400] { DeadCode::Rejected } else { DeadCode::Expired };
        let changes = seqs.iter().map(|seq| Change::Settle(settlement(*seq, died(code(*seq)))));
        done(journal.commit(changes.collect::<Vec<_>>().into()));
        let rejected = DeadFilter { code: Some(DeadCode::Rejected), ..DeadFilter::default() };
        assert_eq!(done(journal.redrive(&rejected, 9)), 1);
        let one = DeadFilter { seq: Some(seqs[2300]), ..DeadFilter::default() };
        assert_eq!(done(journal.redrive(&one, 9)), 1);
        assert_eq!(queued(&journal, Traffic::Live), [2400, 2300]);
    }
}

#[test]
fn what_dies_again_during_a_redrive_is_not_redriven_by_it() {
    for engine in engines() {
        let journal = Arc::new(engine.open());
        let seqs = accept(&*journal, 0..1000);
        let dies = |seq| Change::Settle(settlement(seq, died(DeadCode::Expired)));
        done(journal.commit(seqs.into_iter().map(dies).collect::<Vec<_>>().into()));
        // Whatever goes back dies at once.
        let (weak, read) = (Arc::downgrade(&journal), Mutex::new(None));
        journal.on_accepted(Box::new(move || {
            let Some(journal) = weak.upgrade() else { return };
            let mut read = read.lock().unwrap();
            let back = journal.read(Traffic::Live, *read, 9999).unwrap();
            *read = back.last().map(|stored| stored.seq).or(*read);
            let changes: Vec<_> = back.iter().map(|stored| dies(stored.seq)).collect();
            drop(journal.commit(changes.into()));
        }));

        assert_eq!(done(journal.redrive(&DeadFilter::default(), usize::MAX)), 1000);
        done(journal.commit(vec![dies(Seq(0))].into()));
        assert_eq!(journal.dead(&DeadFilter::default(), None, 9999).unwrap().len(), 1000);
        assert_eq!(
            (counted(&*journal, "redriven"), counted(&*journal, "dead_lettered")),
            (1000, 2000)
        );
    }
}

#[test]
fn retries_that_are_due_too_late_are_hastened_and_nothing_else() {
    for engine in engines() {
        let journal = engine.open();
        let seqs = accept(&journal, 1..=4);
        let why = [(Why::Retry, 10), (Why::Retry, 5000), (Why::Parked, 6000), (Why::Held, 7000)];
        for (seq, (why, due)) in seqs.iter().zip(why) {
            defer(&journal, deferral(*seq, why, at(due)));
        }
        let late = Hasten { beyond: at(300), due: at(0) };
        done(journal.commit(vec![Change::Hasten(late)].into()));
        let due: Vec<Option<Time>> = journal
            .waiting(Place::Deferred, None, 9)
            .unwrap()
            .iter()
            .map(|waiting| waiting.due)
            .collect();
        assert_eq!(due, [10, 0, 6000, 7000].map(|due| Some(at(due))));
        assert_eq!(journal.next_due().unwrap(), Some(at(0)));
    }
}
