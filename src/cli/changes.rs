//! Waiting until files change, for the commands that run again and again.
//!
//! Not here: what they run, and the reload of a server ([`crate::transform::reload`]).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

/// How long files must be still: an editor writes more than one, and each more than once.
const STILL_FOR: Duration = Duration::from_millis(150);

/// Watches files and folders, also those that do not exist yet beside those that do.
pub(super) struct Changes {
    changed: Receiver<PathBuf>,
    // Watches as long as it lives.
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// Watches folders with all that is in them, and files.
    ///
    /// # Errors
    /// One of them cannot be watched.
    pub(super) fn of(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let (tell, changed) = channel();
        // What has changed is told by its whole path.
        let whole = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let (files, folders): (Vec<PathBuf>, Vec<PathBuf>) =
            paths.iter().map(whole).partition(|path| path.is_file());
        let names: Vec<_> =
            files.iter().filter_map(|file| Some(file.file_name()?.to_owned())).collect();
        let below = folders.clone();
        let is_meant = move |path: &Path| {
            below.iter().any(|folder| path.starts_with(folder))
                || path.file_name().is_some_and(|name| names.iter().any(|known| known == name))
        };
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let Ok(event) = event else { return };
                if event.kind.is_access() {
                    return;
                }
                let paths = event.paths.into_iter();
                for path in paths.filter(|path| is_meant(path) && !is_of_an_editor(path)) {
                    // The other end is gone when the watching ends.
                    let _ = tell.send(path);
                }
            })
            .context("files cannot be watched here")?;
        // An editor may put another file in its place: the folder sees that, the file does not.
        let above = |file: &PathBuf| match file.parent() {
            Some(folder) if folder != Path::new("") => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let above: BTreeSet<PathBuf> = files.iter().map(above).collect();
        let above = above.into_iter().map(|folder| (folder, RecursiveMode::NonRecursive));
        let folders = folders.into_iter().map(|folder| (folder, RecursiveMode::Recursive));
        for (folder, mode) in above.chain(folders) {
            watcher
                .watch(&folder, mode)
                .with_context(|| format!("{} cannot be watched", folder.display()))?;
        }
        Ok(Self { changed, _watcher: watcher })
    }

    /// Waits until something has changed and all is still again; answers what.
    ///
    /// # Errors
    /// Nothing can be watched any more.
    pub(super) fn next(&self) -> anyhow::Result<BTreeSet<PathBuf>> {
        let first = self.changed.recv().context("files cannot be watched any more")?;
        let mut paths = BTreeSet::from([first]);
        loop {
            match self.changed.recv_timeout(STILL_FOR) {
                Ok(path) => drop(paths.insert(path)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Ok(paths);
                }
            }
        }
    }
}

/// What editors leave beside the file that they write.
fn is_of_an_editor(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.starts_with('.') || name.starts_with('#') || name.ends_with('~') || name == "4913"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_writes_are_one_change_and_what_editors_leave_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let changes = Changes::of(std::slice::from_ref(&folder)).unwrap();
        std::fs::write(folder.join(".a.rhai.swp"), "x").unwrap();
        for value in 0..3 {
            std::fs::write(folder.join("a.rhai"), value.to_string()).unwrap();
            std::fs::write(folder.join("b.json"), value.to_string()).unwrap();
        }
        let found = changes.next().unwrap();
        assert_eq!(found, BTreeSet::from([folder.join("a.rhai"), folder.join("b.json")]));
    }
}
