//! What is remembered: facts, the trail, restarts, and when it is forgotten.

use super::*;

fn fact(value: &str, until: Time) -> Option<Fact> {
    Some(Fact { value: value.into(), until })
}

fn key(name: &str) -> FactKey {
    FactKey(name.into())
}

#[test]
fn facts_are_written_with_the_event_that_taught_them() {
    for engine in engines() {
        let journal = engine.open();
        let seqs = accept(&journal, [1, 2]);
        let end = settlement(seqs[0], Outcome::Delivered);
        let facts =
            vec![(key("a"), fact("1", at(100))), (key("b"), fact("2", at(5))), (key("c"), None)];
        settle(&journal, Settlement { facts, ..end });

        let keys = ["c", "a", "b"].map(key);
        assert_eq!(
            journal.load(&keys, at(4)).unwrap(),
            [None, fact("1", at(100)), fact("2", at(5))]
        );
        assert_eq!(journal.load(&keys, at(5)).unwrap(), [None, fact("1", at(100)), None]);

        let facts = vec![(key("a"), fact("3", at(200))), (key("b"), None)];
        settle(&journal, Settlement { facts, ..settlement(seqs[1], Outcome::Delivered) });
        assert_eq!(journal.load(&keys, at(4)).unwrap(), [None, fact("3", at(200)), None]);
    }
}

#[test]
fn expired_facts_go_and_others_stay() {
    for engine in engines() {
        let journal = engine.open();
        let seq = accept(&journal, [1])[0];
        let facts = (0..5000)
            .map(|n| (key(&format!("f{n:04}")), fact("", at(if n % 2 == 0 { 10 } else { 90 }))))
            .collect();
        settle(&journal, Settlement { facts, ..settlement(seq, Outcome::Delivered) });
        for _ in 0..3 {
            done(journal.maintain(at(10)));
        }
        // Looked up as if it were earlier: what is absent is gone for good.
        let found = journal.load(&["f0000", "f0001", "f4998", "f4999"].map(key), at(0)).unwrap();
        assert_eq!(found, [None, fact("", at(90)), None, fact("", at(90))]);
    }
}

#[test]
fn the_trail_is_found_by_message_and_by_person_newest_last() {
    for engine in engines() {
        let journal = engine.open();
        let seqs = accept(&journal, 0..700);
        let end = |(n, seq): (usize, &Seq)| {
            let mut end = settlement(*seq, Outcome::Delivered);
            end.trail.message_id = format!("m-{n}");
            end.trail.person = (n % 100 == 3).then(|| "u1".into());
            end
        };
        let ends: Vec<Settlement> = seqs.iter().enumerate().map(end).collect();
        for part in ends.chunks(90) {
            let changes = part.iter().cloned().map(Change::Settle).collect();
            done(journal.commit(Arc::new(changes)));
        }

        assert_eq!(journal.trail("m-345", 9).unwrap(), [ends[345].trail.clone()]);
        assert_eq!(journal.trail("m-700", 9).unwrap(), []);
        let ids = |entries: Vec<TrailEntry>| -> Vec<String> {
            entries.into_iter().map(|entry| entry.message_id).collect()
        };
        let all = ["m-3", "m-103", "m-203", "m-303", "m-403", "m-503", "m-603"];
        assert_eq!(ids(journal.trail("u1", 9).unwrap()), all);
        assert_eq!(ids(journal.trail("u1", 2).unwrap()), all[5..]);
    }
}

#[test]
fn the_trail_and_dead_letters_are_forgotten_after_their_time() {
    for engine in engines() {
        let journal = engine.open();
        let seqs = accept(&journal, [1, 2]);
        settle(&journal, settlement(seqs[0], died(DeadCode::Rejected)));
        let mut later = settlement(seqs[1], died(DeadCode::Rejected));
        later.trail.at = at(3600);
        settle(&journal, later);
        let dead = || journal.dead(&DeadFilter::default(), None, 9).unwrap().len();
        let trail =
            || (journal.trail("s-1", 9).unwrap().len(), journal.trail("s-2", 9).unwrap().len());
        let month = 30 * 24 * 3600;

        done(journal.maintain(at(month)));
        assert_eq!((dead(), trail()), (2, (1, 1)));
        done(journal.maintain(at(month + 1800)));
        assert_eq!((dead(), trail()), (1, (0, 1)));
        assert_eq!(counted(&journal, "dead_lettered"), 2, "what was counted stays counted");
    }
}

#[test]
fn originals_are_kept_only_where_that_is_asked_for_and_for_their_time() {
    for engine in engines() {
        let kept = |journal: &SqliteJournal, filter: RecordedFilter| -> Vec<(u64, String)> {
            let rows = journal.recorded(&filter, None, 99).unwrap();
            rows.iter().map(|row| (row.seq.0, row.outcome.clone())).collect()
        };
        let all = RecordedFilter::default;
        let options = SqliteOptions {
            record_keep: Duration::from_secs(50),
            record_max: 3,
            ..SqliteOptions::default()
        };
        let journal = engine.open_with(options);
        let seqs = accept(&journal, 1..=4);
        let ends = [Outcome::Delivered, dropped(), died(DeadCode::Rejected), Outcome::Delivered];
        for (seq, outcome) in seqs.iter().zip(ends) {
            settle(&journal, settlement(*seq, outcome));
        }
        let delivered = |seq| (seq, "delivered".to_owned());
        let expected = [delivered(1), (2, "dropped".to_owned()), delivered(4)];
        assert_eq!(kept(&journal, all()), expected, "a dead letter is kept as one");
        let other = RecordedFilter { source: Some("app".into()), ..all() };
        assert_eq!(kept(&journal, other), []);
        let early = RecordedFilter { until: Some(at(1)), ..all() };
        assert_eq!(kept(&journal, early), [], "accepted at second 1");
        let second = journal.recorded(&all(), Some(1), 1).unwrap();
        assert_eq!((second[0].number, second[0].seq), (2, Seq(2)));
        let body = second[0].call.as_ref().unwrap().body.clone();
        assert!(body.starts_with(br#"{"type":"track""#), "the original, byte by byte");

        for n in 5..=6 {
            deliver(&journal, accept(&journal, [n])[0]);
        }
        done(journal.maintain(at(12)));
        assert_eq!(kept(&journal, all()), [4, 5, 6].map(delivered), "the oldest go first");
        done(journal.maintain(at(61)));
        assert_eq!(kept(&journal, all()), []);

        let clock_was_wrong = accept(&journal, [7])[0];
        let mut end = settlement(clock_was_wrong, Outcome::Delivered);
        end.trail.at = at(40 * 24 * 3600);
        settle(&journal, end);
        deliver(&journal, accept(&journal, [8])[0]);
        done(journal.maintain(at(61)));
        assert_eq!(kept(&journal, all()), [], "nobody knows when it ended");
    }
    let journal = Engine::Memory.open();
    deliver(&journal, accept(&journal, [1])[0]);
    assert!(journal.recorded(&RecordedFilter::default(), None, 9).unwrap().is_empty());
}

#[test]
fn who_is_gone_is_remembered_until_the_time_is_over_and_the_search_is_done() {
    for engine in engines() {
        let journal = engine.open();
        let gone = |at_second, done_second| Gone {
            person: "id:u1".into(),
            at: at(at_second),
            done: at(done_second),
            until: at(done_second + 100),
            searched: false,
        };
        let forget = |what| done(journal.commit(vec![Change::Forget(what)].into()));
        forget(Forget::Person(gone(5, 6)));
        forget(Forget::Person(gone(3, 9)));
        assert_eq!(journal.gone().unwrap(), [gone(5, 9)], "the later time counts");
        forget(Forget::Searched(gone(5, 6)));
        assert!(!journal.gone().unwrap()[0].searched, "it was deleted again meanwhile");
        done(journal.maintain(at(1000)));
        assert_eq!(journal.gone().unwrap().len(), 1, "not before everything was found");
        forget(Forget::Searched(gone(5, 9)));
        assert!(journal.gone().unwrap()[0].searched);
        done(journal.maintain(at(108)));
        assert_eq!(journal.gone().unwrap().len(), 1);
        done(journal.maintain(at(109)));
        assert_eq!(journal.gone().unwrap(), []);
    }
}

#[test]
fn what_waits_can_be_looked_at_without_taking_it() {
    for engine in engines() {
        let journal = engine.open();
        let seqs = accept(&journal, [1, 2, 3]);
        let late = Deferral {
            status: Some(503),
            error: Some("Customer.io answered 503".into()),
            ..deferral(seqs[1], Why::Retry, at(7))
        };
        defer(&journal, late);
        for _ in 0..2 {
            let place = Place::Queue(Traffic::Live);
            let queued: Vec<u128> = journal
                .waiting(place, None, 9)
                .unwrap()
                .iter()
                .map(|row| key_of(&row.event))
                .collect();
            assert_eq!(queued, [1, 3]);
            let deferred = journal.waiting(Place::Deferred, None, 9).unwrap();
            let row = &deferred[0];
            assert_eq!((row.event.seq, row.due, row.status), (seqs[1], Some(at(7)), Some(503)));
            assert_eq!(row.error.as_deref(), Some("Customer.io answered 503"));
            assert!(journal.waiting(Place::Deferred, Some(seqs[1]), 9).unwrap().is_empty());
        }
        assert_eq!(journal.take_due(at(7), 9).unwrap().len(), 1, "nobody took it");
    }
}

#[test]
fn the_trail_is_bounded() {
    for engine in engines() {
        let journal =
            engine.open_with(SqliteOptions { trail_max_entries: 3, ..SqliteOptions::default() });
        for n in 0..6 {
            deliver(&journal, accept(&journal, [n])[0]);
        }
        done(journal.maintain(at(20)));
        let known: Vec<usize> =
            (1..=6).map(|n| journal.trail(&format!("s-{n}"), 9).unwrap().len()).collect();
        assert_eq!(known, [0, 0, 0, 1, 1, 1]);
    }
}

#[test]
fn everything_is_there_after_a_restart() {
    let engine = Engine::disk();
    let journal = engine.open();
    assert_eq!(journal.opened(), Opened { clean: true, ..Opened::default() }, "a new one is clean");
    done(journal.accept(vec![live(1), live(2), replayed(3), live(4), live(5)]));
    let seqs: Vec<Seq> =
        journal.read(Traffic::Live, None, 9).unwrap().iter().map(|stored| stored.seq).collect();
    let taught = settlement(seqs[0], Outcome::Delivered);
    settle(&journal, Settlement { facts: vec![(key("a"), fact("1", at(100)))], ..taught });
    let held = deferral(seqs[1], Why::Held, at(7));
    defer(&journal, Deferral { keys: vec!["k".into()], ..held });
    settle(&journal, settlement(seqs[2], died(DeadCode::Rejected)));
    assert_eq!(journal.take_due(at(7), 9).unwrap().len(), 1);
    let (totals, pending) = journal.balance();
    done(journal.close());
    drop(journal);

    let journal = engine.open();
    assert_eq!(journal.opened(), Opened { clean: true, pending, ..Opened::default() });
    assert_eq!(journal.balance(), (totals, pending));
    assert_eq!(queued(&journal, Traffic::Live), [5]);
    assert_eq!(queued(&journal, Traffic::Backfill), [3]);
    assert_eq!(done(journal.accept(vec![live(1)])), [Receipt::Duplicate]);
    assert_eq!(journal.load(&[key("a")], at(0)).unwrap(), [fact("1", at(100))]);
    assert_eq!(journal.blocked_keys().unwrap(), [("k".to_owned(), seqs[1])]);
    assert_eq!(journal.dead(&DeadFilter::default(), None, 9).unwrap().len(), 1);
    assert_eq!(journal.trail("s-1", 9).unwrap().len(), 1);
    assert_eq!(journal.take_due(at(7), 9).unwrap().len(), 1, "taking is forgotten");
    let next = accept(&journal, [6])[0];
    assert!(next > Seq(5), "a place in the order names one event");
}

#[test]
fn a_place_is_not_given_away_again_after_its_event_has_left() {
    let engine = Engine::disk();
    let seq = {
        let journal = engine.open();
        let seq = accept(&journal, [1])[0];
        deliver(&journal, seq);
        seq
    };
    assert!(accept(&engine.open(), [2])[0] > seq);
}

#[test]
fn a_crash_is_known_at_the_next_start_with_the_event_that_was_tried() {
    let engine = Engine::disk();
    let journal = engine.open();
    let seq = accept(&journal, [1])[0];
    journal.note_trying(Some(seq)).unwrap();
    drop(journal);

    let journal = engine.open();
    assert_eq!((journal.opened().clean, journal.opened().trying), (false, Some(seq)));
    assert_eq!(journal.opened().tried, 1, "it may have been killed");
    journal.note_trying(Some(seq)).unwrap();
    drop(journal);

    let journal = engine.open();
    assert_eq!((journal.opened().trying, journal.opened().tried), (Some(seq), 2));
    assert_eq!(queued(&journal, Traffic::Live), [1]);
    journal.note_trying(None).unwrap();
    drop(journal);

    assert_eq!(engine.open().opened().tried, 0);
    let journal = engine.open();
    journal.note_trying(Some(seq)).unwrap();
    drop(journal);
    let journal = engine.open();
    assert_eq!(journal.opened().tried, 1, "it lived between: not in a row");
    drop(journal);

    let looked =
        engine.open_with(SqliteOptions { keep_stop_note: true, ..SqliteOptions::default() });
    assert_eq!((looked.opened().clean, looked.opened().trying), (false, None));
    done(looked.close());
    drop(looked);

    let journal = engine.open();
    assert!(!journal.opened().clean, "a look at it does not hide the crash");
    done(journal.close());
    let options = SqliteOptions { keep_stop_note: true, ..SqliteOptions::default() };
    assert!(engine.open_with(options).opened().clean);
    assert!(engine.open().opened().clean, "nor does it look like one");
}

#[test]
fn a_closed_journal_says_so() {
    for engine in engines() {
        let journal = engine.open();
        accept(&journal, [1]);
        done(journal.close());

        assert!(matches!(refused(journal.accept(vec![live(2)])), JournalError::Failed(_)));
        assert!(matches!(journal.read(Traffic::Live, None, 1), Err(JournalError::Failed(_))));
        assert!(journal.health().full.is_some());
    }
}

#[test]
fn a_deduplication_key_is_kept_for_the_window_and_forgotten_some_time_after() {
    for engine in engines() {
        let clock = Arc::new(ManualClock::at(at(0)));
        let options =
            SqliteOptions { dedupe_window: Duration::from_secs(2800), ..SqliteOptions::default() };
        let journal = match engine.path() {
            Some(path) => SqliteJournal::open(
                SqliteOptions { directory: path.into(), ..options },
                clock.clone(),
            ),
            None => SqliteJournal::in_memory(options, clock.clone()),
        }
        .unwrap();
        accept(&journal, [1]);
        // Everything that is to be done takes a few steps.
        let pass = |seconds| {
            clock.set(at(seconds));
            (0..10).for_each(|_| done(journal.maintain(at(seconds))));
        };
        pass(2799);
        assert_eq!(done(journal.accept(vec![live(1)])), [Receipt::Duplicate]);
        pass(2801);
        assert!(matches!(done(journal.accept(vec![live(1)]))[..], [Receipt::First(_)]));
    }
}

#[test]
fn facts_are_bounded_and_those_that_end_first_go_first() {
    for engine in engines() {
        let journal = engine.open_with(SqliteOptions { max_facts: 3, ..SqliteOptions::default() });
        let day = 24 * 3600;
        let seq = accept(&journal, [1])[0];
        let mut end = settlement(seq, Outcome::Delivered);
        let keys: Vec<FactKey> = (1..=6).map(|n| FactKey(format!("link:{n}"))).collect();
        let fact = |n: u64| Fact { value: n.to_string(), until: at(n * 3 * day) };
        end.facts = keys.iter().cloned().zip((1..).map(|n| Some(fact(n)))).collect();
        settle(&journal, end);
        for minute in 0..3 {
            done(journal.maintain(at(60 * minute)));
        }
        let known = journal.load(&keys, at(100)).unwrap();
        let known: Vec<u64> = (1..).zip(known).filter_map(|(n, fact)| fact.map(|_| n)).collect();
        assert_eq!(known, [4, 5, 6]);
    }
}
