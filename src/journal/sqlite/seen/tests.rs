//! Deduplication against a set, across restarts and failed transactions.

use proptest::prelude::*;

use super::*;
use crate::journal::sqlite::schema;

const WINDOW: Duration = Duration::from_secs(2800);

fn at(seconds: i64) -> Time {
    Time::from_secs(seconds)
}

/// A key that is as random as a hash.
fn key(n: u32) -> u128 {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(n.to_be_bytes());
    u128::from_be_bytes(*hash.first_chunk().unwrap())
}

/// The keys as a writer uses them.
struct Keys {
    connection: Connection,
    seen: Seen,
    max: usize,
}

impl Keys {
    fn new(max: usize) -> Self {
        let connection = schema::open_in_memory().unwrap();
        let seen = Seen::load(&connection, WINDOW, max).unwrap();
        Self { connection, seen, max }
    }

    /// One transaction; answers which keys were new.
    fn take(&mut self, keys: &[u128], now: Time, commit: bool) -> Vec<bool> {
        self.connection.execute_batch("BEGIN").unwrap();
        let new: Vec<bool> =
            keys.iter().map(|key| self.seen.first_sight(&self.connection, *key).unwrap()).collect();
        let taken: Vec<u128> =
            keys.iter().zip(&new).filter(|(_, new)| **new).map(|(key, _)| *key).collect();
        if !taken.is_empty() {
            self.seen.log(&self.connection, &taken, now).unwrap();
        }
        let step = self.seen.step(&self.connection).unwrap();
        if !commit {
            self.connection.execute_batch("ROLLBACK").unwrap();
            self.seen.undo(&taken);
            return new;
        }
        self.connection.execute_batch("COMMIT").unwrap();
        if !taken.is_empty() {
            self.seen.logged(now);
        }
        step.into_iter().for_each(|step| self.seen.stepped(step));
        new
    }

    /// What `maintain` does, until nothing is left to do.
    fn maintain(&mut self, now: Time) {
        for _ in 0..20 {
            let expired = self.seen.expire(&self.connection, now).unwrap();
            expired.into_iter().for_each(|step| self.seen.stepped(step));
            self.seen.seal(now);
            let step = self.seen.step(&self.connection).unwrap();
            step.into_iter().for_each(|step| self.seen.stepped(step));
        }
    }

    fn restart(&mut self) {
        self.seen = Seen::load(&self.connection, WINDOW, self.max).unwrap();
    }

    fn tables(&self) -> i64 {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'seen_[0-9]*'";
        self.connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn log_rows(&self) -> i64 {
        self.connection.query_row("SELECT count(*) FROM seen_log", [], |row| row.get(0)).unwrap()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take { keys: Vec<u32>, commit: bool },
    Restart,
    Maintain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (prop::collection::vec(0_u32..400, 1..12), prop::bool::weighted(0.8))
            .prop_map(|(keys, commit)| Step::Take { keys, commit }),
        1 => Just(Step::Restart),
        1 => Just(Step::Maintain),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn a_key_is_new_exactly_once(steps in steps()) {
        // Buckets of 20 keys, none of which goes early.
        let mut keys = Keys::new(640);
        let mut known = HashSet::new();
        for step in steps {
            match step {
                Step::Take { keys: numbers, commit } => {
                    let batch: Vec<u128> = numbers.iter().copied().map(key).collect();
                    let mut after = known.clone();
                    let expected: Vec<bool> =
                        batch.iter().map(|key| after.insert(*key)).collect();
                    prop_assert_eq!(keys.take(&batch, at(0), commit), expected);
                    if commit {
                        known = after;
                    }
                }
                Step::Restart => keys.restart(),
                Step::Maintain => keys.maintain(at(50)),
            }
        }
    }
}

#[test]
fn keys_are_known_in_every_state_of_their_bucket() {
    // Buckets of 10,000 keys: three slices and forty rows each.
    let mut keys = Keys::new(320_000);
    let all: Vec<u128> = (0..45_000).map(key).collect();
    for (round, batch) in all.chunks(500).enumerate() {
        assert!(keys.take(batch, at(0), true).iter().all(|new| *new));
        if round % 7 == 0 {
            keys.restart();
        }
        assert!(!keys.take(&[batch[0], all[0], all[round * 250]], at(0), true).contains(&true));
    }
    assert!(keys.tables() >= 3, "{} tables", keys.tables());
    assert!(all.chunks(500).all(|batch| !keys.take(batch, at(0), true).contains(&true)));
}

#[test]
fn the_log_is_emptied_when_its_bucket_is_sealed() {
    let mut keys = Keys::new(320_000);
    for n in 0..10_000 {
        keys.take(&[key(n)], at(0), true);
    }
    // Three slices, the filter, and a part of the log are done when it is opened again.
    (0..6).for_each(|_| drop(keys.take(&[key(0)], at(0), true)));
    assert!(keys.tables() == 1 && (1..10_000).contains(&keys.log_rows()), "{}", keys.log_rows());
    keys.restart();
    keys.maintain(at(0));
    assert_eq!((keys.tables(), keys.log_rows()), (1, 0));
    assert_eq!(keys.take(&[key(0), key(9999), key(10_000)], at(0), true), [false, false, true]);
}

#[test]
fn beyond_the_limit_the_oldest_keys_go_early() {
    let mut keys = Keys::new(640);
    for n in 0..1000 {
        keys.take(&[key(n)], at(0), true);
    }
    keys.maintain(at(0));
    let sealed: usize = keys.seen.sealed.iter().map(|bucket| bucket.count).sum();
    assert!(sealed <= 640, "{sealed} keys");
    assert_eq!(keys.tables(), i64::try_from(keys.seen.sealed.len()).unwrap());
    assert_eq!(keys.take(&[key(0), key(999)], at(0), true), [true, false]);
}

#[test]
fn a_bucket_expires_by_its_last_key_whatever_the_clock_does() {
    let mut keys = Keys::new(640);
    keys.take(&[key(1)], at(500), true);
    keys.take(&[key(2)], at(0), true);
    keys.maintain(at(700));
    assert_eq!(keys.tables(), 1);

    keys.maintain(at(-90_000));
    keys.maintain(at(500 + 2800));
    assert_eq!(keys.take(&[key(1), key(2)], at(3000), true), [false, false]);
    keys.maintain(at(501 + 2800));
    assert_eq!(keys.tables(), 0);
    assert_eq!(keys.take(&[key(1), key(2)], at(3000), true), [true, true]);
}

#[test]
fn keys_that_differ_only_in_their_lower_half_are_told_apart() {
    let mut keys = Keys::new(320_000);
    let same = |n: u128| (key(7) >> 64 << 64) | n;
    let all: Vec<u128> = (0..700).map(same).chain((0..9300).map(key)).collect();
    for batch in all.chunks(500) {
        assert!(keys.take(batch, at(0), true).iter().all(|new| *new));
    }
    keys.maintain(at(0));
    keys.restart();
    assert_eq!(keys.tables(), 1);
    assert!(all.chunks(500).all(|batch| !keys.take(batch, at(0), true).contains(&true)));
    assert_eq!(keys.take(&[same(700)], at(0), true), [true]);
}

#[test]
fn a_filter_that_cannot_be_read_is_made_again() {
    let mut keys = Keys::new(640);
    for n in 0..20 {
        keys.take(&[key(n)], at(0), true);
    }
    keys.maintain(at(0));
    assert_eq!(keys.connection.execute("UPDATE seen_bucket SET filter = x'00'", []).unwrap(), 1);
    keys.restart();
    assert_eq!(keys.take(&[key(0), key(20)], at(0), true), [false, true]);
}
