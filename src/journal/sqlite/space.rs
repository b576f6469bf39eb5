//! Room: how much the journal may take, and what happens when there is none.
//!
//! Decides when no more events are taken: at a number of waiting events, at a size of the data, and
//! at a floor of free space on the disk. A full disk fails even deletions in SQLite, so a reserve
//! file (the ballast) is given up when that happens: events that are settled then make room again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use fs4::FileExt;

use super::SqliteOptions;

/// The limits of one journal. Without a directory, that is in memory, only numbers are limited.
#[derive(Debug)]
pub(super) struct Space {
    directory: Option<PathBuf>,
    max_rows: u64,
    max_bytes: u64,
    floor: u64,
    ballast: u64,
}

impl Space {
    /// The limits that `options` set.
    pub(super) fn new(options: &SqliteOptions, on_disk: bool) -> Self {
        Self {
            directory: on_disk.then(|| options.directory.clone()),
            max_rows: options.max_pending_rows,
            max_bytes: options.max_bytes,
            floor: options.disk_floor_bytes,
            ballast: options.ballast_bytes,
        }
    }

    /// Why `incoming` more events cannot be taken; `None` when they can. `used` is the size of the
    /// data in bytes.
    pub(super) fn refusal(&self, pending: u64, incoming: u64, used: u64) -> Option<String> {
        if pending.saturating_add(incoming) > self.max_rows {
            let max = self.max_rows;
            return Some(format!("{pending} events wait and {max} may (max_pending)"));
        }
        if used > self.max_bytes {
            let max = self.max_bytes;
            return Some(format!("it holds {used} bytes of data and may hold {max} (max_bytes)"));
        }
        match self.free() {
            Some(free) if free < self.floor => Some(format!(
                "its disk has {free} bytes free and {} must stay free (disk_floor_bytes)",
                self.floor
            )),
            _ => None,
        }
    }

    /// Free bytes on the disk, where the system tells.
    pub(super) fn free(&self) -> Option<u64> {
        fs4::available_space(self.directory.as_deref()?).ok()
    }

    /// Size of all files of the journal; `None` in memory.
    pub(super) fn files_size(&self) -> Option<u64> {
        let directory = self.directory.as_deref()?;
        let size = |name| fs::metadata(directory.join(name)).map_or(0, |file| file.len());
        Some(["journal.db", "journal.db-wal", "journal.ballast"].map(size).iter().sum())
    }

    /// Gives the reserve up; answers whether there was one.
    pub(super) fn release_ballast(&self) -> bool {
        self.ballast_path().is_some_and(|path| fs::remove_file(path).is_ok())
    }

    /// Takes a reserve when there is none and plenty of room. Going without is no error.
    pub(super) fn restore_ballast(&self) {
        let Some(path) = self.ballast_path() else { return };
        let plenty = self.floor.saturating_add(self.ballast.saturating_mul(2));
        if self.ballast == 0 || path.exists() || self.free().is_none_or(|free| free < plenty) {
            return;
        }
        if let Err(error) = reserve(&path, self.ballast) {
            tracing::debug!(error = %error, "no reserve file for a full disk");
            // A part of it is of no use.
            let _ = fs::remove_file(&path);
        }
    }

    fn ballast_path(&self) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join("journal.ballast"))
    }
}

fn reserve(path: &Path, size: u64) -> std::io::Result<()> {
    let file = File::create(path)?;
    file.allocate(size)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(options: SqliteOptions) -> Space {
        Space::new(&options, true)
    }

    #[test]
    fn each_limit_names_itself() {
        let directory = tempfile::tempdir().unwrap();
        let options = SqliteOptions {
            directory: directory.path().into(),
            max_pending_rows: 10,
            max_bytes: 1000,
            disk_floor_bytes: 0,
            ..SqliteOptions::default()
        };
        let table = [
            ("room for the last one", 9, 1, 1000, None),
            ("one too many", 9, 2, 0, Some("max_pending")),
            ("too large", 0, 1, 1001, Some("max_bytes")),
        ];
        for (what, pending, incoming, used, expected) in table {
            let refusal = space(options.clone()).refusal(pending, incoming, used);
            match expected {
                None => assert_eq!(refusal, None, "{what}"),
                Some(name) => assert!(refusal.unwrap().contains(name), "{what}"),
            }
        }
        let full = space(SqliteOptions { disk_floor_bytes: u64::MAX, ..options });
        assert!(full.refusal(0, 1, 0).unwrap().contains("disk_floor_bytes"));
    }

    #[test]
    fn the_reserve_is_taken_given_up_and_taken_again() {
        let directory = tempfile::tempdir().unwrap();
        let space = space(SqliteOptions {
            directory: directory.path().into(),
            disk_floor_bytes: 0,
            ballast_bytes: 64 << 10,
            ..SqliteOptions::default()
        });
        assert!(!space.release_ballast());
        for _ in 0..2 {
            space.restore_ballast();
            assert_eq!(space.files_size(), Some(64 << 10));
            assert!(space.release_ballast());
            assert_eq!(space.files_size(), Some(0));
        }
    }
}
