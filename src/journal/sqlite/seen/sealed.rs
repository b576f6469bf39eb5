//! A sealed bucket: sorted keys in a table of its own, in rows of about a page each.
//!
//! A row is found by the upper half of its first key, as a number in the order of the keys, so one
//! step down the tree finds the only row that can hold a key.

use rusqlite::{Connection, OptionalExtension};

use super::filter::Filter;
use crate::clock::Time;
use crate::journal::sqlite::trouble::Trouble;

/// Keys in a row: 16 bytes each, together just under a page.
const ROW: usize = 250;

/// A bucket on disk, with its filter in memory.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) id: i64,
    /// When its last key came.
    pub(super) last: Time,
    pub(super) count: usize,
    pub(super) filter: Filter,
}

impl Sealed {
    /// Whether the key is in it.
    pub(super) fn contains(&self, connection: &Connection, key: u128) -> Result<bool, Trouble> {
        if !self.filter.may_contain(key) {
            return Ok(false);
        }
        let sql = format!(
            "SELECT keys FROM seen_{} WHERE first <= ?1 ORDER BY first DESC LIMIT 1",
            self.id
        );
        let found = connection.prepare_cached(&sql)?.query_row([upper_half(key)], |row| {
            let keys = row.get_ref(0)?.as_blob().unwrap_or_default();
            Ok(keys.as_chunks::<16>().0.binary_search(&key.to_be_bytes()).is_ok())
        });
        Ok(found.optional()?.unwrap_or(false))
    }

    /// Removes it from the file.
    pub(super) fn remove(&self, connection: &Connection) -> Result<(), Trouble> {
        connection.execute_batch(&format!("DROP TABLE IF EXISTS seen_{}", self.id))?;
        connection.prepare_cached("DELETE FROM seen_bucket WHERE id = ?1")?.execute([self.id])?;
        Ok(())
    }
}

/// Reads what is registered, oldest first.
pub(super) fn load(connection: &Connection) -> Result<Vec<Sealed>, Trouble> {
    let mut select =
        connection.prepare("SELECT id, last, count, filter FROM seen_bucket ORDER BY id")?;
    let mut rows = select.query([])?;
    let mut buckets = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        let count = usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
        let bytes = row.get_ref(3)?.as_blob().unwrap_or_default();
        let filter = match Filter::from_bytes(bytes) {
            Some(filter) => filter,
            None => Filter::of(&read_all(connection, id)?),
        };
        buckets.push(Sealed { id, last: Time::from_millis(row.get(1)?), count, filter });
    }
    Ok(buckets)
}

/// Makes the table of a bucket, empty.
pub(super) fn create(connection: &Connection, id: i64) -> Result<(), Trouble> {
    Ok(connection.execute_batch(&format!(
        "DROP TABLE IF EXISTS seen_{id};
         CREATE TABLE seen_{id}(first INTEGER PRIMARY KEY, keys BLOB NOT NULL);"
    ))?)
}

/// Appends rows of the sorted `keys`, about `slice` keys at most; answers how many it took.
pub(super) fn append(
    connection: &Connection,
    id: i64,
    keys: &[u128],
    slice: usize,
) -> Result<usize, Trouble> {
    let mut insert =
        connection.prepare_cached(&format!("INSERT INTO seen_{id} VALUES (?1, ?2)"))?;
    let mut taken = 0;
    while taken < keys.len().min(slice) {
        let rest = &keys[taken..];
        let mut end = ROW.min(rest.len());
        // Keys that share their upper half share their row: the row is found by that half.
        while end < rest.len() && upper_half(rest[end]) == upper_half(rest[end - 1]) {
            end += 1;
        }
        let bytes: Vec<u8> = rest[..end].iter().flat_map(|key| key.to_be_bytes()).collect();
        insert.execute((upper_half(rest[0]), bytes))?;
        taken += end;
    }
    Ok(taken)
}

/// Notes that a bucket is complete.
pub(super) fn register(
    connection: &Connection,
    id: i64,
    last: Time,
    count: usize,
    filter: &Filter,
) -> Result<(), Trouble> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    connection.prepare_cached("INSERT INTO seen_bucket VALUES (?1, ?2, ?3, ?4)")?.execute((
        id,
        last.millis(),
        count,
        filter.to_bytes(),
    ))?;
    Ok(())
}

/// The keys in the bytes of a row.
pub(super) fn split(bytes: &[u8]) -> impl Iterator<Item = u128> {
    bytes.as_chunks::<16>().0.iter().map(|key| u128::from_be_bytes(*key))
}

fn read_all(connection: &Connection, id: i64) -> Result<Vec<u128>, Trouble> {
    let mut keys = Vec::new();
    let mut select = connection.prepare(&format!("SELECT keys FROM seen_{id}"))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        keys.extend(split(row.get_ref(0)?.as_blob().unwrap_or_default()));
    }
    Ok(keys)
}

/// SQLite's numbers have a sign: flipping the top bit keeps the order.
fn upper_half(key: u128) -> i64 {
    let bytes = key.to_be_bytes();
    let upper = bytes.first_chunk::<8>().map_or(0, |upper| u64::from_be_bytes(*upper));
    (upper ^ (1 << 63)).cast_signed()
}
