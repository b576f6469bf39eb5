//! The file: how it is opened, locked, laid out and brought up to date.
//!
//! Decides the settings that durability rests on (WAL with `synchronous=FULL`: a commit has returned
//! only when it is on the disk) and the tables. Tables on the hot path are appended to or deleted
//! from at one end, and have no index beside their key: random pages are what makes commits slow.
//!
//! Not here: what is written into the tables.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::JournalError;
use super::trouble::Trouble;

/// The steps that lead from an empty file to the present schema; the number of a step is the schema
/// version that it leads to. A step that was once released is never changed.
const STEPS: [&str; 4] = ["
    CREATE TABLE live(
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, crc INTEGER NOT NULL,
        envelope TEXT NOT NULL, body BLOB NOT NULL);
    CREATE TABLE backfill(
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, crc INTEGER NOT NULL,
        envelope TEXT NOT NULL, body BLOB NOT NULL);
    CREATE TABLE deferred(
        seq INTEGER PRIMARY KEY, why TEXT NOT NULL, due INTEGER NOT NULL,
        tries INTEGER NOT NULL, first_at INTEGER, done_parts TEXT NOT NULL,
        status INTEGER, error TEXT,
        at INTEGER NOT NULL, crc INTEGER NOT NULL, envelope TEXT NOT NULL, body BLOB NOT NULL);
    CREATE INDEX deferred_due ON deferred(due, seq);
    CREATE TABLE deferred_key(seq INTEGER, key TEXT, PRIMARY KEY (seq, key)) WITHOUT ROWID;
    CREATE TABLE seen_log(
        id INTEGER PRIMARY KEY, bucket INTEGER NOT NULL, at INTEGER NOT NULL, keys BLOB NOT NULL);
    CREATE TABLE seen_bucket(
        id INTEGER PRIMARY KEY, last INTEGER NOT NULL, count INTEGER NOT NULL, filter BLOB NOT NULL);
    CREATE TABLE fact(k TEXT PRIMARY KEY, v TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE dead(
        seq INTEGER PRIMARY KEY, died INTEGER NOT NULL, code TEXT NOT NULL, source TEXT NOT NULL,
        bundle TEXT NOT NULL, letter TEXT NOT NULL,
        at INTEGER NOT NULL, crc INTEGER NOT NULL, envelope TEXT NOT NULL, body BLOB NOT NULL);
    CREATE INDEX dead_died ON dead(died);
    CREATE TABLE total(
        source TEXT, label TEXT, outcome TEXT, reason TEXT, n INTEGER NOT NULL,
        PRIMARY KEY (source, label, outcome, reason)) WITHOUT ROWID;
    CREATE TABLE trail(
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, n INTEGER NOT NULL, entries BLOB NOT NULL);
    CREATE TABLE trail_key(id INTEGER PRIMARY KEY, keys BLOB NOT NULL);
", "
    CREATE TABLE recorded(
        id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, ended INTEGER NOT NULL, source TEXT NOT NULL,
        outcome TEXT NOT NULL, reason TEXT NOT NULL,
        at INTEGER NOT NULL, crc INTEGER NOT NULL, envelope TEXT NOT NULL, body BLOB NOT NULL);
    CREATE TABLE gone_person(
        person TEXT PRIMARY KEY, at INTEGER NOT NULL, done INTEGER NOT NULL,
        until INTEGER NOT NULL, searched INTEGER NOT NULL) WITHOUT ROWID;
", "
    ALTER TABLE dead ADD COLUMN done_parts TEXT;
    ALTER TABLE live ADD COLUMN done_parts TEXT;
    ALTER TABLE backfill ADD COLUMN done_parts TEXT;
", "
    DROP INDEX deferred_due;
    CREATE INDEX deferred_parked ON deferred(due, seq, why) WHERE why = 'parked';
    CREATE INDEX deferred_unparked ON deferred(due, seq, why) WHERE why <> 'parked';
    CREATE INDEX deferred_retry ON deferred(seq) WHERE why = 'retry';
    UPDATE live SET crc = (crc | (seq & 4294967295)) - (crc & (seq & 4294967295));
    UPDATE backfill SET crc = (crc | (seq & 4294967295)) - (crc & (seq & 4294967295));
    UPDATE deferred SET crc = (crc | (seq & 4294967295)) - (crc & (seq & 4294967295));
    UPDATE dead SET crc = (crc | (seq & 4294967295)) - (crc & (seq & 4294967295));
    UPDATE recorded SET crc = (crc | (seq & 4294967295)) - (crc & (seq & 4294967295));
"];

/// Opens the connection that writes, and brings the file up to date.
pub(super) fn open_writer(path: &Path) -> Result<Connection, JournalError> {
    let connection = Connection::open(path).map_err(Trouble::from)?;
    let mode = (|| {
        // Only has an effect before the first table exists.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
    })()
    .map_err(Trouble::from)?;
    if mode != "wal" {
        let path = path.display();
        let message = format!("{path} does not support write-ahead logging: use a local disk");
        return Err(JournalError::Failed(message));
    }
    prepare(&connection)?;
    Ok(connection)
}

/// Opens a journal that lives only in memory.
pub(super) fn open_in_memory() -> Result<Connection, JournalError> {
    let connection = Connection::open_in_memory().map_err(Trouble::from)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(Trouble::from)?;
    prepare(&connection)?;
    Ok(connection)
}

/// Opens a connection that copies the log into the file.
pub(super) fn open_copier(path: &Path) -> Result<Connection, JournalError> {
    let connection = Connection::open(path).map_err(Trouble::from)?;
    settle_in(&connection).map_err(Trouble::from)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(Trouble::from)?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(Trouble::from)?;
    settle_in(&connection).map_err(Trouble::from)?;
    Ok(connection)
}

/// Makes the folder, if it is not there, for nobody but us: what lies in it is about people.
fn make_private(directory: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)
}

/// Takes the lock that keeps a second process away. It is held until the file is dropped, and the
/// system releases it when the process dies.
pub(super) fn lock(directory: &Path) -> Result<File, JournalError> {
    let path = directory.join("journal.lock");
    let failed = |error: std::io::Error| {
        JournalError::Failed(format!("cannot lock {}: {error}", path.display()))
    };
    make_private(directory).map_err(failed)?;
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse(directory.display().to_string())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Reads a value of the table of single values.
pub(super) fn meta(connection: &Connection, key: &str) -> Result<Option<String>, Trouble> {
    let mut select = connection.prepare_cached("SELECT v FROM meta WHERE k = ?1")?;
    Ok(select.query_row([key], |row| row.get(0)).optional()?)
}

/// Writes a value of the table of single values; `None` removes it.
pub(super) fn set_meta(
    connection: &Connection,
    key: &str,
    value: Option<&str>,
) -> Result<(), Trouble> {
    match value {
        Some(value) => {
            let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET v = excluded.v";
            connection.prepare_cached(sql)?.execute([key, value])?;
        }
        None => {
            connection.prepare_cached("DELETE FROM meta WHERE k = ?1")?.execute([key])?;
        }
    }
    Ok(())
}

fn prepare(connection: &Connection) -> Result<(), JournalError> {
    let set = || {
        settle_in(connection)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)
    };
    set().map_err(Trouble::from)?;
    upgrade(connection)
}

fn settle_in(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // In KiB, and filled by whatever passes: what is needed again soon is little.
    connection.pragma_update(None, "cache_size", -16_000)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

/// Runs the steps that the file has not seen, all of them or none.
fn upgrade(connection: &Connection) -> Result<(), JournalError> {
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    let found = version(connection)?;
    if found > known {
        return Err(JournalError::NewerSchema { found, known });
    }
    if found == known {
        return Ok(());
    }
    let run = || -> Result<(), Trouble> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for step in STEPS.iter().skip(found as usize) {
            connection.execute_batch(step)?;
        }
        set_meta(connection, "schema", Some(&known.to_string()))?;
        connection.execute_batch("COMMIT")?;
        Ok(())
    };
    Ok(run()?)
}

/// Fails when the file is not of the present version: whoever only reads cannot bring it up to date.
pub(super) fn expect_present(connection: &Connection) -> Result<(), JournalError> {
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    match number(meta(connection, "schema")?)? {
        found if found == known => Ok(()),
        found if found > known => Err(JournalError::NewerSchema { found, known }),
        found => Err(JournalError::Failed(format!(
            "the journal is of version {found}, this is for {known}: start its server once with this release"
        ))),
    }
}

fn version(connection: &Connection) -> Result<u32, JournalError> {
    let create =
        "CREATE TABLE IF NOT EXISTS meta(k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID";
    connection.execute_batch(create).map_err(Trouble::from)?;
    number(meta(connection, "schema")?)
}

fn number(version: Option<String>) -> Result<u32, JournalError> {
    match version {
        None => Ok(0),
        Some(text) => text
            .parse()
            .map_err(|_| JournalError::Failed(format!("the schema version {text:?} is no number"))),
    }
}
