//! What only SQLite on a disk can show: a second process, a damaged or newer file, a full disk.

mod figures;

use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::journal::contract::{
    Engine, accept, counted, deliver, died, done, key_of, live, queued, refused, replayed, settle,
    settlement,
};
use crate::outcome::{DeadCode, Outcome};

/// What tests may see of a journal.
impl SqliteJournal {
    /// The last place in the order that was given away.
    pub(in crate::journal) fn last_seq(&self) -> Seq {
        Seq(self.inspect(|connection| State::load(connection).unwrap().last_seq))
    }

    /// What lies in the tables, counted: what waits, and how many dead letters there are.
    pub(in crate::journal) fn rows(&self) -> (Pending, u64) {
        self.inspect(|connection| {
            let count = |from: &str| {
                let sql = format!("SELECT count(*) FROM {from}");
                let count: i64 = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
                count.cast_unsigned()
            };
            let deferred = |why: &str| count(&format!("deferred WHERE why = '{why}'"));
            let pending = Pending {
                live: count("live"),
                backfill: count("backfill"),
                parked: deferred("parked"),
                held: deferred("held"),
                retry: deferred("retry"),
            };
            (pending, count("dead"))
        })
    }

    /// Runs something on the connection that writes, and waits for it.
    fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> T {
        let (answer, receiver) = mpsc::channel();
        let run = move |connection: &Connection| answer.send(look(connection)).unwrap();
        let request = Request::Inspect(requests::Inspection(Box::new(run)));
        self.requests.as_ref().unwrap().send(request).unwrap();
        receiver.recv().unwrap()
    }
}

fn database(engine: &Engine) -> Connection {
    Connection::open(engine.path().unwrap().join("journal.db")).unwrap()
}

#[test]
fn a_second_process_is_kept_away_until_the_first_is_done() {
    let engine = Engine::disk();
    let journal = engine.open();
    let error = engine.try_open(SqliteOptions::default()).unwrap_err();
    assert!(
        matches!(&error, JournalError::InUse(path) if path == engine.path().unwrap().to_str().unwrap())
    );

    done(journal.close());
    let second = engine.open();
    assert!(second.opened().clean);
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let engine = Engine::disk();
    accept(&engine.open(), [1]);
    let set = |version: &str| {
        database(&engine).execute("UPDATE meta SET v = ?1 WHERE k = 'schema'", [version]).unwrap()
    };
    set("5");
    let error = engine.try_open(SqliteOptions::default()).unwrap_err();
    assert_eq!(error, JournalError::NewerSchema { found: 5, known: 4 });
    assert!(error.to_string().contains("start the newer version"), "{error}");
    set("4");
    assert_eq!(queued(&engine.open(), Traffic::Live), [1]);
}

#[test]
fn a_file_of_the_version_before_is_brought_up_to_date_with_what_waits_in_it() {
    let engine = Engine::disk();
    accept(&engine.open(), [1, 2]);
    database(&engine)
        .execute_batch(
            "DROP INDEX deferred_parked; DROP INDEX deferred_unparked; DROP INDEX deferred_retry;
             CREATE INDEX deferred_due ON deferred(due, seq);
             DROP TABLE recorded; DROP TABLE gone_person;
             ALTER TABLE dead DROP COLUMN done_parts;
             ALTER TABLE live DROP COLUMN done_parts;
             ALTER TABLE backfill DROP COLUMN done_parts;
             UPDATE live SET crc = (crc | (seq & 4294967295)) - (crc & (seq & 4294967295));
             UPDATE meta SET v = '1' WHERE k = 'schema'",
        )
        .unwrap();
    let options =
        SqliteOptions { record_keep: Duration::from_secs(60), ..SqliteOptions::default() };
    let journal = engine.open_with(options);
    assert_eq!(queued(&journal, Traffic::Live), [1, 2]);
    assert!(journal.read(Traffic::Live, None, 9).unwrap().iter().all(|one| one.call.is_ok()));
    deliver(&journal, Seq(1));
    assert_eq!(journal.recorded(&RecordedFilter::default(), None, 9).unwrap().len(), 1);
}

#[test]
fn a_file_that_is_no_journal_is_an_error_and_not_overwritten() {
    let engine = Engine::disk();
    let path = engine.path().unwrap().join("journal.db");
    std::fs::write(&path, "not a database".repeat(100)).unwrap();
    let error = engine.try_open(SqliteOptions::default()).unwrap_err();
    assert!(matches!(error, JournalError::Failed(_)));
    assert_eq!(std::fs::read(&path).unwrap(), "not a database".repeat(100).as_bytes());
}

#[test]
fn a_damaged_record_is_reported_and_its_neighbours_are_fine() {
    let engine = Engine::disk();
    accept(&engine.open(), [1, 2, 3]);
    let connection = database(&engine);
    let mut body: Vec<u8> =
        connection.query_row("SELECT body FROM live WHERE seq = 2", [], |row| row.get(0)).unwrap();
    body[9] ^= 1;
    connection.execute("UPDATE live SET body = ?1 WHERE seq = 2", [body]).unwrap();
    drop(connection);

    let journal = engine.open();
    let events = journal.read(Traffic::Live, None, 9).unwrap();
    assert_eq!(
        events.iter().map(|stored| stored.call.is_ok()).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert_eq!(key_of(&events[2]), 3);
    assert!(events[1].call.as_ref().unwrap_err().contains("record 2"));
    assert_eq!(journal.health().corrupt_records, 1);

    settle(&journal, settlement(events[1].seq, died(DeadCode::CorruptRecord)));
    let dead = journal.dead(&DeadFilter::default(), None, 9).unwrap();
    assert!(dead[0].call.is_err());
    assert_eq!(done(journal.redrive(&DeadFilter::default(), 9)), 0, "it stays where it is");
    assert_eq!(counted(&journal, "redriven"), 0);
}

#[test]
fn every_part_of_a_record_is_covered() {
    let table = [
        ("envelope", "envelope = replace(envelope, 'web', 'wob')"),
        ("an envelope of another type", "envelope = 5"),
        ("body", "body = body || ' '"),
        ("place", "seq = 3"),
        ("checksum", "crc = crc + 1"),
        ("a checksum of another type", "crc = 'x'"),
    ];
    for (what, change) in table {
        let engine = Engine::disk();
        accept(&engine.open(), [1]);
        database(&engine).execute(&format!("UPDATE live SET {change}"), []).unwrap();
        let events = engine.open().read(Traffic::Live, None, 9).unwrap();
        assert!(events[0].call.is_err(), "{what}");
    }
}

#[test]
fn a_full_disk_refuses_events_settles_others_and_recovers_by_itself() {
    let engine = Engine::disk();
    let journal = engine.open();
    let seqs = accept(&journal, 0..200);
    let limit = |journal: &SqliteJournal, extra: i64| {
        journal.inspect(move |connection| {
            let pages: i64 =
                connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
            let sql = format!("PRAGMA max_page_count = {}", pages + extra);
            connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
        })
    };
    limit(&journal, 3);
    let before = journal.balance();

    let error = refused(journal.accept((1000..1400).map(live).collect()));
    assert!(matches!(&error, JournalError::Full(why) if why.contains("disk")));
    assert_eq!(journal.balance(), before, "nothing of it was stored");
    assert!(journal.health().full.is_some());

    deliver(&journal, seqs[0]);
    assert_eq!(journal.health().full, None);
    limit(&journal, 100_000);
    accept(&journal, 1000..1400);
    assert_eq!(journal.pending().live, 599);
}

#[test]
fn the_reserve_is_given_up_for_settling_and_not_for_new_events() {
    let engine = Engine::disk();
    let directory = engine.path().unwrap();
    let journal = engine.open();
    let seqs = accept(&journal, [1]);
    let ballast = directory.join("journal.ballast");
    std::fs::write(&ballast, "reserve").unwrap();
    // No page is left, not even one that was freed.
    journal.inspect(|connection| {
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let sql = format!("PRAGMA max_page_count = {pages}");
        connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
    });

    refused(journal.accept((1000..1400).map(live).collect()));
    assert!(ballast.exists());
    let facts = (0..4000)
        .map(|n| (FactKey(format!("f{n}")), Some(Fact { value: "1".into(), until: Time::NEVER })))
        .collect();
    let end = Settlement { facts, ..settlement(seqs[0], Outcome::Delivered) };
    refused(journal.commit(vec![Change::Settle(end)].into()));
    assert!(!ballast.exists());
    assert_eq!(journal.pending().live, 1, "not settled, and still there");
    assert_eq!(queued(&journal, Traffic::Live), [1]);
}

#[test]
fn a_request_that_fails_does_not_fail_those_that_share_its_commit() {
    let engine = Engine::disk();
    let journal = engine.open();
    let seq = accept(&journal, [1])[0];
    journal
        .inspect(|connection| connection.execute_batch("ALTER TABLE fact RENAME TO gone"))
        .unwrap();
    let (hold, held) = mpsc::channel::<()>();
    let waiting = Inspected::start(&journal, move |_| held.recv().unwrap());
    let fact = Fact { value: "1".into(), until: Time::NEVER };
    let facts = vec![(FactKey("a".into()), Some(fact))];
    let end = Settlement { facts, ..settlement(seq, Outcome::Delivered) };
    let before = journal.accept(vec![live(2)]);
    let broken = journal.commit(vec![Change::Settle(end)].into());
    let after = journal.accept(vec![live(3), live(2)]);
    hold.send(()).unwrap();
    waiting.wait();

    assert_eq!(done(before), [Receipt::First(Seq(2))]);
    assert!(matches!(refused(broken), JournalError::Failed(_)));
    assert_eq!(done(after), [Receipt::First(Seq(3)), Receipt::Duplicate]);
    assert_eq!(queued(&journal, Traffic::Live), [1, 2, 3]);
    assert_eq!(counted(&journal, "delivered"), 0);
}

#[test]
fn housekeeping_that_fails_fails_no_event_and_is_tried_again_later() {
    let engine = Engine::disk();
    // Buckets of 20 keys.
    let journal =
        engine.open_with(SqliteOptions { dedupe_max_keys: 640, ..SqliteOptions::default() });
    journal
        .inspect(|connection| connection.execute_batch("CREATE VIEW seen_1 AS SELECT 1"))
        .unwrap();
    for key in 0..60 {
        accept(&journal, [key]);
    }
    assert_eq!(journal.pending().live, 60);

    journal.inspect(|connection| connection.execute_batch("DROP VIEW seen_1")).unwrap();
    done(journal.maintain(Time::from_secs(0)));
    accept(&journal, [60]);
    let rows = journal.inspect(|connection| {
        let sql = "SELECT sum(length(keys)) / 16 FROM seen_1";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    });
    assert!(rows >= 20, "{rows} keys");
}

#[test]
fn what_cannot_be_forgotten_keeps_nothing_else_from_being_forgotten() {
    let engine = Engine::disk();
    let journal =
        engine.open_with(SqliteOptions { dedupe_max_keys: 640, ..SqliteOptions::default() });
    let seqs = accept(&journal, [0, 1]);
    settle(&journal, settlement(seqs[0], died(DeadCode::Expired)));
    journal
        .inspect(|connection| connection.execute_batch("ALTER TABLE trail RENAME TO away"))
        .unwrap();
    let dead = || journal.dead(&DeadFilter::default(), None, 9).unwrap().len();
    assert_eq!(dead(), 1);
    done(journal.maintain(Time::from_secs(4_000_000_000)));
    assert_eq!(dead(), 0);
    let untidy = journal.health().untidy.unwrap();
    assert!(untidy.starts_with("trail: "), "{untidy}");
    // Nor the keys from being sealed.
    for key in 100..160 {
        accept(&journal, [key]);
    }
    let sealed = journal.inspect(|connection| {
        let sql = "SELECT count(*) FROM seen_bucket";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    });
    assert!(sealed > 0);

    journal
        .inspect(|connection| connection.execute_batch("ALTER TABLE away RENAME TO trail"))
        .unwrap();
    done(journal.maintain(Time::from_secs(0)));
    assert_eq!(journal.health().untidy, None);
}

#[test]
fn an_event_whose_commit_failed_is_new_when_it_is_sent_again() {
    let engine = Engine::disk();
    let journal = engine.open();
    journal
        .inspect(|connection| connection.execute_batch("ALTER TABLE live RENAME TO gone"))
        .unwrap();
    assert!(matches!(refused(journal.accept(vec![live(1)])), JournalError::Failed(_)));
    let why = journal.health().full.unwrap();
    assert!(why.contains("no such table: live"), "health says that no events are taken: {why}");
    journal
        .inspect(|connection| connection.execute_batch("ALTER TABLE gone RENAME TO live"))
        .unwrap();

    assert_eq!(done(journal.accept(vec![live(1)])), [Receipt::First(Seq(1))]);
    assert_eq!(journal.health().full, None);
    assert_eq!(counted(&journal, "accepted"), 1);
}

#[test]
fn what_is_missing_from_the_end_of_the_log_is_known_at_the_next_start() {
    let engine = Engine::disk();
    let journal = engine.open();
    accept(&journal, [1, 2]);
    let path = engine.path().unwrap().join("journal.db-wal");
    let two = std::fs::metadata(&path).unwrap().len();
    accept(&journal, [3, 4, 5]);
    assert_eq!(journal.opened().missing, 0);
    let log = std::fs::read(&path).unwrap();
    // Closing would write the log into the file: the disk loses its end while nobody looks.
    let file = std::fs::read(engine.path().unwrap().join("journal.db")).unwrap();
    drop(journal);
    std::fs::write(engine.path().unwrap().join("journal.db"), file).unwrap();
    std::fs::write(&path, &log[..two as usize]).unwrap();

    let options = SqliteOptions { keep_stop_note: true, ..SqliteOptions::default() };
    assert_eq!(engine.open_with(options).opened().missing, 3, "a look at it hides nothing");
    let journal = engine.open();
    assert_eq!((journal.opened().missing, journal.health().missing_events), (3, 3));
    assert_eq!(journal.pending().live, 2);
    accept(&journal, [3]);
    drop(journal);
    assert_eq!(engine.open().opened().missing, 0, "it is said once");
}

#[test]
fn a_file_that_was_cut_short_does_not_hide_the_events_before_the_cut() {
    let engine = Engine::disk();
    let journal = engine.open();
    accept(&journal, 1..=60);
    done(journal.close());
    drop(journal);
    let path = engine.path().unwrap().join("journal.db");
    let whole = std::fs::read(&path).unwrap();
    for cut in (1..4096).step_by(128) {
        std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        drop(std::fs::remove_file(engine.path().unwrap().join("journal.db-wal")));
        let Ok(journal) = engine.try_open(SqliteOptions::default()) else { continue };
        if let Ok(events) = journal.read(Traffic::Live, None, 100) {
            assert!(events.len() > 20, "{} of 60 events, {cut} bytes cut off", events.len());
        }
        drop(journal);
    }
}

#[test]
fn requests_that_wait_share_a_commit() {
    let engine = Engine::disk();
    let journal = engine.open();
    let rows = |journal: &SqliteJournal| {
        journal.inspect(|connection| {
            let sql = "SELECT count(*) FROM seen_log";
            connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
        })
    };
    let (hold, held) = mpsc::channel::<()>();
    let waiting = Inspected::start(&journal, move |_| held.recv().unwrap());
    let replies: Vec<_> = (0..700).map(|key| journal.accept(vec![live(key)])).collect();
    hold.send(()).unwrap();
    waiting.wait();
    replies.into_iter().for_each(|reply| drop(done(reply)));

    // Each commit writes its keys as one row; at most 512 records share one.
    assert_eq!(rows(&journal), 2);
}

#[test]
fn batches_are_refused_when_too_much_waits_for_the_disk() {
    let engine = Engine::disk();
    let journal =
        engine.open_with(SqliteOptions { max_waiting_bytes: 1000, ..SqliteOptions::default() });
    let (hold, held) = mpsc::channel::<()>();
    let waiting = Inspected::start(&journal, move |_| held.recv().unwrap());
    let first = journal.accept((0..20).map(live).collect());
    let second = journal.accept(vec![live(20)]);
    assert!(matches!(refused(second), JournalError::Full(_)), "while the first one waits");
    hold.send(()).unwrap();
    waiting.wait();

    assert_eq!(done(first).len(), 20, "one that is alone is always taken");
    accept(&journal, [20]);
}

#[test]
fn a_backfill_stands_behind_live_events_has_room_of_its_own_and_is_written_when_the_journal_closes()
{
    let engine = Engine::disk();
    let journal =
        engine.open_with(SqliteOptions { max_waiting_bytes: 4000, ..SqliteOptions::default() });
    accept(&journal, [0]);
    let (hold, held) = mpsc::channel::<()>();
    let waiting = Inspected::start(&journal, move |_| held.recv().unwrap());
    let old = journal.accept((1..201).map(replayed).collect());
    let too_much = refused(journal.accept(vec![replayed(300)]));
    assert!(too_much.to_string().contains("wait for their turn"), "{too_much}");
    let new = journal.accept(vec![live(400)]);
    let close = journal.close();
    hold.send(()).unwrap();
    waiting.wait();

    assert_eq!(done(new), [Receipt::First(Seq(2))], "before those that came first");
    let last = Seq(2 + 200);
    assert_eq!(done(old).last(), Some(&Receipt::First(last)));
    done(close);
    assert_eq!(queued(&engine.open(), Traffic::Backfill).len(), 200);
}

#[test]
fn a_redrive_stands_behind_live_events_and_keeps_no_journal_from_closing() {
    let engine = Engine::disk();
    let journal = engine.open();
    let seqs = accept(&journal, 0..1200);
    for seq in seqs {
        drop(journal.commit(vec![Change::Settle(settlement(seq, died(DeadCode::Expired)))].into()));
    }
    let (hold, held) = mpsc::channel::<()>();
    let waiting = Inspected::start(&journal, move |_| held.recv().unwrap());
    let redriven = journal.redrive(&DeadFilter::default(), usize::MAX);
    let new = journal.accept(vec![live(5000)]);
    let close = journal.close();
    hold.send(()).unwrap();
    waiting.wait();

    assert_eq!(done(new), [Receipt::First(Seq(1201))], "before what was asked first");
    let redriven = done(redriven);
    done(close);
    assert!(redriven > 0 && redriven < 1200, "{redriven}");
    let journal = engine.open();
    assert_eq!(
        journal.dead(&DeadFilter::default(), None, 9999).unwrap().len() as u64,
        1200 - redriven
    );
    assert_eq!(journal.pending().live, 1 + redriven);
}

#[test]
fn nothing_that_was_asked_goes_unanswered_when_the_journal_closes() {
    let engine = Engine::disk();
    let journal = engine.open();
    let (hold, held) = mpsc::channel::<()>();
    let waiting = Inspected::start(&journal, move |_| held.recv().unwrap());
    let before = journal.accept(vec![live(1)]);
    let close = journal.close();
    let after = journal.accept(vec![live(2)]);
    hold.send(()).unwrap();
    waiting.wait();

    assert_eq!(done(before).len(), 1);
    done(close);
    assert!(matches!(refused(after), JournalError::Failed(_)));
    assert_eq!(queued(&engine.open(), Traffic::Live), [1]);
}

#[test]
fn pages_are_given_back_when_a_backlog_is_gone() {
    let engine = Engine::disk();
    let journal = engine.open();
    let body = vec![b'x'; 100_000];
    let big = |key| {
        let Accepted { call, .. } = live(key);
        Accepted { key, call: crate::spec::RawCall::new(call.arrival, body.clone().into()) }
    };
    let receipts = done(journal.accept((0..300).map(big).collect()));
    for receipt in receipts {
        let Receipt::First(seq) = receipt else { panic!("a duplicate") };
        deliver(&journal, seq);
    }
    let size = |journal: &SqliteJournal| {
        journal.inspect(|connection| {
            connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).unwrap()
        })
    };
    let before = size(&journal);
    for _ in 0..10 {
        done(journal.maintain(Time::from_secs(0)));
    }
    assert!(size(&journal) < before - 3000, "{before} pages, then {}", size(&journal));
}

/// Something that the writer does while a test goes on.
struct Inspected(mpsc::Receiver<()>);

impl Inspected {
    fn start(journal: &SqliteJournal, look: impl FnOnce(&Connection) + Send + 'static) -> Self {
        let (started, start) = mpsc::channel();
        let (answer, end) = mpsc::channel();
        let run = move |connection: &Connection| {
            started.send(()).unwrap();
            look(connection);
            answer.send(()).unwrap();
        };
        let request = Request::Inspect(requests::Inspection(Box::new(run)));
        journal.requests.as_ref().unwrap().send(request).unwrap();
        start.recv().unwrap();
        Self(end)
    }

    fn wait(self) {
        self.0.recv().unwrap();
    }
}
