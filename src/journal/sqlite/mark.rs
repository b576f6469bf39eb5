//! How far the journal has come, noted outside of it, so that a start can tell when its end is missing.
//!
//! SQLite takes the log of its last commits up to the first frame that is damaged, and what follows
//! never was. Only somebody who knows how many events there were can tell. So the last place in the
//! order stands in a small file beside it, written after each commit that took events and before anybody
//! is answered: one that is missing by this count was answered 200.
//!
//! Writing it costs a system call. It is synced about once a second ([`super::Request::Maintain`]), not with
//! the commit, which would double what a commit costs. So it is exact when the process goes down, and when
//! the machine does it may lag: it then misses some, and never invents any.
//!
//! Not here: who is told ([`super::Opened`]).

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::JournalError;

/// The note. In memory there is none.
#[derive(Debug, Default)]
pub(super) struct Mark {
    file: Option<File>,
    seq: u64,
    /// Whether it was written since it was synced: a disk that has nothing to do is left alone.
    is_new: bool,
}

impl Mark {
    /// Opens the note in a directory. One that is not there, or damaged, says nothing.
    pub(super) fn open(directory: Option<&Path>) -> Result<Self, JournalError> {
        let Some(directory) = directory else { return Ok(Self::default()) };
        let path = directory.join("journal.mark");
        let read = || {
            let mut options = File::options();
            let mut file =
                options.create(true).truncate(false).read(true).write(true).open(&path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let seq = parse(&bytes);
            if seq.is_none() {
                file.set_len(0)?;
            }
            Ok((file, seq))
        };
        let (file, seq) = read().map_err(|error: std::io::Error| {
            JournalError::Failed(format!("cannot open {}: {error}", path.display()))
        })?;
        Ok(Self { file: Some(file), seq: seq.unwrap_or(0), is_new: false })
    }

    /// How many places of the order are noted and not there, when the journal's last one is `seq`.
    pub(super) fn missing(&self, seq: u64) -> u64 {
        self.seq.saturating_sub(seq)
    }

    /// Notes that the journal has come to `seq`, where it was not so far yet.
    pub(super) fn raise(&mut self, seq: u64) {
        if seq > self.seq {
            self.set(seq);
        }
    }

    /// The journal begins at `seq`: says what is missing, and notes it, so that it is said once.
    pub(super) fn begin(&mut self, seq: u64) {
        let missing = self.missing(seq);
        if missing > 0 {
            tracing::error!(
                missing,
                "journal: the disk has lost its last events, which were answered 200; let their senders \
                 replay them"
            );
        }
        self.set(seq);
    }

    fn set(&mut self, seq: u64) {
        self.seq = seq;
        self.is_new = true;
        let Some(file) = &mut self.file else { return };
        let mut write = || {
            file.seek(SeekFrom::Start(0))?;
            // Always as long, and within a sector: it is written whole or not at all.
            file.write_all(text(seq).as_bytes())
        };
        // The events are safe; only a later loss would be missed.
        if let Err(error) = write() {
            tracing::debug!(%error, "journal: cannot note how far it has come");
        }
    }

    /// Lets it survive the machine.
    pub(super) fn sync(&mut self) {
        let Some(file) = self.file.as_ref().filter(|_| self.is_new) else { return };
        match file.sync_data() {
            Ok(()) => self.is_new = false,
            Err(error) => {
                tracing::debug!(%error, "journal: the note of how far it has come is not synced");
            }
        }
    }
}

fn text(seq: u64) -> String {
    let number = format!("{seq:020}");
    let checksum = crc32fast::hash(number.as_bytes());
    format!("{number} {checksum:08x}\n")
}

fn parse(bytes: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(bytes).ok()?.split(' ').next()?;
    let seq = number.parse().ok()?;
    (text(seq).as_bytes() == bytes).then_some(seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_after_a_start_how_far_the_journal_had_come() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Mark::open(Some(directory.path())).unwrap();
        let mut mark = open();
        assert_eq!(mark.missing(0), 0, "a new one knows nothing");
        mark.raise(7);
        mark.raise(5);
        mark.sync();

        let mut mark = open();
        assert_eq!([mark.missing(5), mark.missing(7), mark.missing(9)], [2, 0, 0]);
        mark.begin(5);
        assert_eq!(open().missing(5), 0, "what was said once is not said again");
    }

    #[test]
    fn a_damaged_note_says_nothing() {
        let whole = text(42);
        assert_eq!(parse(whole.as_bytes()), Some(42));
        for index in 0..whole.len() {
            let mut bytes = whole.clone().into_bytes();
            bytes[index] ^= 1;
            assert_eq!(parse(&bytes), None, "byte {index}");
            assert_eq!(parse(&whole.as_bytes()[..index]), None, "cut at {index}");
        }
        assert_eq!(parse(&[0; 30]), None);
    }
}
