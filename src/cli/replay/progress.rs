//! How far a replay was sent, in a small file beside the work: who kills it and starts it again goes on
//! where it was.
//!
//! The note is written after the answer. A kill between the two sends some events again, which Segue
//! recognises.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// The note of one replay.
#[derive(Debug)]
pub(super) struct Progress {
    path: PathBuf,
    note: Note,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Note {
    /// What is sent, where to, and how.
    of: Vec<String>,
    /// How many events were taken.
    sent: u64,
}

impl Progress {
    /// The note of the replay `name` in `folder`, whether it is there already or not. `of` says what
    /// it is a replay of; its files are told apart by their sizes too.
    ///
    /// # Errors
    /// There is a note of another replay under this name, or it cannot be read.
    pub(super) fn open(folder: &Path, name: &str, of: Vec<String>) -> anyhow::Result<Self> {
        let name: String =
            name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        let path = folder.join(format!("segue-replay-{name}.json"));
        let fresh = Note { of, sent: 0 };
        let note = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => fresh,
            Err(error) => {
                return Err(error).with_context(|| format!("{} cannot be read", path.display()));
            }
            Ok(bytes) => match serde_json::from_slice::<Note>(&bytes) {
                Ok(note) if note.of == fresh.of => note,
                _ => bail!(
                    "{} belongs to another replay of this name that did not come to its end; finish \
                     it, choose another name, or remove the file",
                    path.display()
                ),
            },
        };
        Ok(Self { path, note })
    }

    /// How many events were sent before.
    pub(super) fn sent(&self) -> u64 {
        self.note.sent
    }

    /// Notes how many were sent in all.
    ///
    /// # Errors
    /// The note cannot be written.
    pub(super) fn note(&mut self, sent: u64) -> anyhow::Result<()> {
        self.note.sent = sent;
        let beside = self.path.with_extension("json.new");
        let failed = || format!("{} cannot be written", self.path.display());
        std::fs::write(&beside, serde_json::to_vec(&self.note)?).with_context(failed)?;
        std::fs::rename(&beside, &self.path).with_context(failed)
    }

    /// All is sent: there is nothing to go on with.
    pub(super) fn finish(self) {
        // It was never written where nothing was sent.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_goes_on_where_it_was_and_takes_no_other_for_itself() {
        let folder = tempfile::tempdir().unwrap();
        let open = |of: &str| Progress::open(folder.path(), "may/1", vec![of.into()]);
        let mut progress = open("a").unwrap();
        assert_eq!(progress.sent(), 0);
        progress.note(300).unwrap();
        drop(progress);
        assert_eq!(open("a").unwrap().sent(), 300);
        assert!(open("b").unwrap_err().to_string().contains("another replay"));
        open("a").unwrap().finish();
        assert_eq!(open("b").unwrap().sent(), 0);
    }
}
