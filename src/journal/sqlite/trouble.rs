//! What can go wrong in a transaction, sorted by what helps.
//!
//! Decides which errors of SQLite mean "no room", which of them go away by themselves, and which are
//! for people to look at.

use rusqlite::ErrorCode;

use super::JournalError;

/// An error inside a transaction.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// There is no room: making some helps.
    Space(String),
    /// Somebody else has the file: trying again helps.
    Busy(String),
    /// Anything else.
    Other(String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            // A failing write may be a full disk too: not every file system says which.
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => Self::Space(text),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(text),
            _ => Self::Other(text),
        }
    }
}

impl From<serde_json::Error> for Trouble {
    fn from(error: serde_json::Error) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<Trouble> for JournalError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Space(text) => Self::Full(format!("its disk does not take more: {text}")),
            Trouble::Busy(text) | Trouble::Other(text) => Self::Failed(text),
        }
    }
}
