//! Which event is being tried alone, so that the next start knows with which one the process went down.
//!
//! It is a small file of its own that is written and not synced: what is written survives the end of
//! the process, which is all that can be an event's fault. So the note costs microseconds and can
//! stand for exactly as long as the event is worked on; a process that is killed from outside then
//! hardly ever leaves one. A note that had to wait for the disk blamed innocent events.
//!
//! Not here: when an event is tried alone, and what becomes of it ([`crate::relay`]).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Mutex;

use rusqlite::Connection;

use super::shared::locked;
use super::trouble::Trouble;
use super::{JournalError, Seq, SqliteOptions, schema};

/// The note. In memory there is none: nothing survives there.
#[derive(Debug)]
pub(super) struct Suspicion(Option<Mutex<File>>);

impl Suspicion {
    /// Opens the note in a directory.
    pub(super) fn open(directory: Option<&Path>) -> Result<Self, JournalError> {
        let Some(directory) = directory else { return Ok(Self(None)) };
        let path = directory.join("journal.trying");
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let failed =
            |error| JournalError::Failed(format!("cannot open {}: {error}", path.display()));
        Ok(Self(Some(Mutex::new(file.map_err(failed)?))))
    }

    /// The event that it names.
    pub(super) fn noted(&self) -> Option<Seq> {
        let mut file = locked(self.0.as_ref()?);
        let mut text = String::new();
        file.rewind().ok()?;
        file.read_to_string(&mut text).ok()?;
        text.trim().parse().ok().map(Seq)
    }

    /// Names another event, or none.
    pub(super) fn note(&self, seq: Option<Seq>) -> Result<(), JournalError> {
        let Some(file) = &self.0 else { return Ok(()) };
        let mut file = locked(file);
        let text = seq.map(|seq| seq.0.to_string()).unwrap_or_default();
        let mut write = || {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(text.as_bytes())
        };
        write().map_err(|error: std::io::Error| {
            JournalError::Failed(format!("cannot note which event is tried: {error}"))
        })
    }
}

/// How often in a row the process went down with this event. Once may be a kill; only one that
/// brings it down again is to blame.
pub(super) fn times(
    connection: &Connection,
    options: &SqliteOptions,
    trying: Option<Seq>,
) -> Result<u32, Trouble> {
    let Some(Seq(seq)) = trying else {
        if !options.keep_stop_note {
            schema::set_meta(connection, "suspect", None)?;
        }
        return Ok(0);
    };
    let before = schema::meta(connection, "suspect")?;
    let before = before.as_deref().and_then(|before| before.split_once(' '));
    let before = before.filter(|(other, _)| *other == seq.to_string());
    let tried = 1 + before.and_then(|(_, times)| times.parse::<u32>().ok()).unwrap_or(0);
    if !options.keep_stop_note {
        schema::set_meta(connection, "suspect", Some(&format!("{seq} {tried}")))?;
    }
    Ok(tried)
}
