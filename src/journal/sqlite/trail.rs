//! The trail: what happened to each event, for `why`.
//!
//! Two indexes would cost two random pages for every event. So the entries of a commit are one row,
//! and beside it lies a small row with four bytes for each message id and each person in it: a search
//! reads the small rows (8 MB for a million events) and opens only the few large ones that may match.
//!
//! Not here: when entries are forgotten ([`super::upkeep`]).

use rusqlite::{Connection, OptionalExtension};

use super::TrailEntry;
use super::trouble::Trouble;

/// The entries of one transaction.
#[derive(Debug, Default)]
pub(super) struct Block {
    json: Vec<u8>,
    keys: Vec<u8>,
    count: u64,
    at: i64,
}

impl Block {
    /// Takes an entry.
    pub(super) fn add(&mut self, entry: &TrailEntry) -> Result<(), Trouble> {
        self.json.push(if self.count == 0 { b'[' } else { b',' });
        serde_json::to_writer(&mut self.json, entry)?;
        self.keys.extend(key(&entry.message_id));
        self.keys.extend(entry.person.iter().flat_map(|person| key(person)));
        // One small key for all events of a replay: its name finds the block.
        let label = key(&entry.label);
        if !entry.label.is_empty() && !self.keys.as_chunks::<4>().0.contains(&label) {
            self.keys.extend(label);
        }
        self.count += 1;
        self.at = self.at.max(entry.at.millis());
        Ok(())
    }

    /// How many entries it has.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Writes it.
    pub(super) fn save(&mut self, connection: &Connection) -> Result<(), Trouble> {
        self.json.push(b']');
        let count = i64::try_from(self.count).unwrap_or(i64::MAX);
        connection
            .prepare_cached("INSERT INTO trail(at, n, entries) VALUES (?1, ?2, ?3)")?
            .execute((self.at, count, &self.json))?;
        connection
            .prepare_cached("INSERT INTO trail_key VALUES (?1, ?2)")?
            .execute((connection.last_insert_rowid(), &self.keys))?;
        Ok(())
    }
}

/// The newest entries, at most `max`, of this message id, person or replay; newest last.
pub(super) fn search(
    connection: &Connection,
    needle: &str,
    max: usize,
) -> Result<Vec<TrailEntry>, Trouble> {
    let wanted = key(needle);
    let mut select =
        connection.prepare_cached("SELECT id, keys FROM trail_key ORDER BY id DESC")?;
    let mut open = connection.prepare_cached("SELECT entries FROM trail WHERE id = ?1")?;
    let mut rows = select.query([])?;
    let mut entries = Vec::new();
    while entries.len() < max
        && let Some(row) = rows.next()?
    {
        let keys = row.get_ref(1)?.as_blob().unwrap_or_default();
        if !keys.as_chunks::<4>().0.contains(&wanted) {
            continue;
        }
        let id: i64 = row.get(0)?;
        let block = open.query_row([id], |row| row.get::<_, Vec<u8>>(0)).optional()?;
        let block: Vec<TrailEntry> =
            serde_json::from_slice(&block.unwrap_or_default()).unwrap_or_default(); // a damaged block hides nothing else
        let matching = block.into_iter().rev().filter(|entry| {
            entry.message_id == needle
                || entry.person.as_deref() == Some(needle)
                || entry.label == needle
        });
        entries.extend(matching.take(max - entries.len()));
    }
    entries.reverse();
    Ok(entries)
}

/// Four bytes that tell most texts apart, the same in every version.
fn key(text: &str) -> [u8; 4] {
    crc32fast::hash(text.as_bytes()).to_le_bytes()
}
