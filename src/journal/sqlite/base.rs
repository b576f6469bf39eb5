//! A journal that is only looked into, while its own server may be running: what a plan is laid over.
//!
//! It answers what its server would know of a message, a fact, a person who is gone. It takes no lock and
//! writes nothing; it keeps no snapshot either, so that the server's log does not grow because of it.
//!
//! Not here: how a journal asks the one below it ([`super::SqliteOptions::base`]).

use std::fmt;
use std::path::Path;
use std::sync::Mutex;

use rusqlite::Connection;

use super::seen::Seen;
use super::shared::locked;
use super::trouble::Trouble;
use super::{Fact, FactKey, Gone, JournalError, SqliteOptions, gone, queues, schema};
use crate::clock::Time;

/// Another journal, to be looked into. See the module's documentation.
pub struct Base {
    connection: Mutex<Connection>,
    /// The messages that were known when it was opened.
    seen: Seen,
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").finish_non_exhaustive()
    }
}

impl Base {
    /// Opens the journal in `directory`.
    ///
    /// # Errors
    /// There is none, it is of another version, or it cannot be read.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        let path = directory.join("journal.db");
        if !path.exists() {
            let message = format!("there is no journal in {}", directory.display());
            return Err(JournalError::Failed(message));
        }
        let connection = schema::open_reader(&path)?;
        schema::expect_present(&connection)?;
        let SqliteOptions { dedupe_window, dedupe_max_keys, .. } = SqliteOptions::default();
        let seen = Seen::load(&connection, dedupe_window, dedupe_max_keys)?;
        Ok(Self { connection: Mutex::new(connection), seen })
    }

    /// What it knows at `now`, in the order of the keys.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(&self, keys: &[FactKey], now: Time) -> Result<Vec<Option<Fact>>, JournalError> {
        Ok(queues::load(&locked(&self.connection), keys, now)?)
    }

    /// Whether a message came to it before.
    pub(super) fn knows(&self, key: u128) -> Result<bool, Trouble> {
        self.seen.knows(&locked(&self.connection), key)
    }

    /// Who is gone.
    pub(super) fn gone(&self) -> Result<Vec<Gone>, JournalError> {
        Ok(gone::list(&locked(&self.connection))?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::SqliteJournal;
    use super::*;
    use crate::clock::{Clock, ManualClock};

    #[test]
    fn a_journal_of_another_version_is_not_guessed_at() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { directory: folder.path().into(), ..SqliteOptions::default() };
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Time::from_secs(1)));
        drop(SqliteJournal::open(options, clock).unwrap());
        assert!(Base::open(folder.path()).is_ok());

        for (version, says) in [("1", "start its server once"), ("99", "99")] {
            let file = Connection::open(folder.path().join("journal.db")).unwrap();
            schema::set_meta(&file, "schema", Some(version)).unwrap();
            let error = Base::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
