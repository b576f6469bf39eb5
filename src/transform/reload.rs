//! Brings a changed transforms folder into force, or says why it does not.
//!
//! A folder is loaded as a whole, checked by whoever runs the server (fixtures), and swapped in one
//! step; threads pick the new bundle up between two events. A broken folder changes nothing.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::bundle::Bundle;

/// How long the folder must be still: an editor or a checkout writes more than one file.
pub const STILL_FOR: Duration = Duration::from_secs(2);

/// A check on a bundle before it comes into force; the text says why it may not.
pub type Check = Box<dyn Fn(&Bundle) -> Result<(), String> + Send + Sync>;

/// What a reload did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reloaded {
    /// The folder holds what is in force already.
    Unchanged,
    /// The new bundle is in force.
    Swapped {
        /// The hash of the bundle before.
        from: String,
        /// The hash of the bundle now.
        to: String,
    },
    /// The folder cannot be used; the bundle before stays. The text is for people.
    Refused(String),
}

/// The bundle in force, and the way to another one.
pub struct Reloader {
    dir: PathBuf,
    current: Arc<ArcSwap<Bundle>>,
    check: Check,
    /// Held while loading, so that a signal and the watcher do not race.
    refusal: Mutex<Option<String>>,
}

impl Reloader {
    /// Reloads `dir` into `current`, for which it already stands.
    pub fn new(dir: impl Into<PathBuf>, current: Arc<ArcSwap<Bundle>>, check: Check) -> Self {
        Self { dir: dir.into(), current, check, refusal: Mutex::new(None) }
    }

    /// The bundle in force.
    pub fn current(&self) -> Arc<Bundle> {
        self.current.load_full()
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Why the folder, as it is now, is not in force; `None` when it is.
    pub fn refusal(&self) -> Option<String> {
        self.lock().clone()
    }

    /// Loads the folder and brings it into force if it can be used.
    pub fn reload(&self) -> Reloaded {
        let mut refusal = self.lock();
        let bundle = match self.load() {
            Ok(bundle) => bundle,
            Err(reason) => {
                *refusal = Some(reason.clone());
                return Reloaded::Refused(reason);
            }
        };
        *refusal = None;
        let before = self.current.load_full();
        if before.hash() == bundle.hash() {
            return Reloaded::Unchanged;
        }
        let to = bundle.hash().to_owned();
        self.current.store(Arc::new(bundle));
        Reloaded::Swapped { from: before.hash().to_owned(), to }
    }

    fn load(&self) -> Result<Bundle, String> {
        let bundle = Bundle::load(&self.dir).map_err(|findings| {
            let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
            texts.join("\n")
        })?;
        (self.check)(&bundle)?;
        Ok(bundle)
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the folder of a [`Reloader`] until it is dropped.
pub struct Watching {
    watcher: Option<RecommendedWatcher>,
    thread: Option<JoinHandle<()>>,
}

/// Reloads whenever the folder has changed and then been still for `still_for`; `report` hears what
/// came of it, except when nothing did.
///
/// # Errors
/// When the system cannot watch the folder.
pub fn watch(
    reloader: Arc<Reloader>,
    still_for: Duration,
    report: impl Fn(&Reloaded) + Send + 'static,
) -> Result<Watching, String> {
    let (changed, changes): (Sender<()>, Receiver<()>) = channel();
    let failed = |error: notify::Error| format!("cannot watch the transforms folder: {error}");
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // The other end is gone when the watching ends.
            let _ = changed.send(());
        }
    })
    .map_err(failed)?;
    watcher.watch(reloader.dir(), RecursiveMode::Recursive).map_err(failed)?;
    let thread = std::thread::Builder::new()
        .name("transforms-watch".into())
        .stack_size(16 << 20)
        .spawn(move || follow(&changes, still_for, &reloader, &report))
        .map_err(|error| format!("cannot start the thread that watches: {error}"))?;
    Ok(Watching { watcher: Some(watcher), thread: Some(thread) })
}

fn follow(
    changes: &Receiver<()>,
    still_for: Duration,
    reloader: &Reloader,
    report: &dyn Fn(&Reloaded),
) {
    while changes.recv().is_ok() {
        loop {
            match changes.recv_timeout(still_for) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        let reloaded = reloader.reload();
        if reloaded != Reloaded::Unchanged {
            report(&reloaded);
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // Without the watcher the channel ends, and with it the thread.
        self.watcher.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tempfile::TempDir;

    use super::*;

    fn script(value: i32) -> String {
        format!("fn on_track(event, ctx) {{ event.properties.x = {value}; event }}")
    }

    fn folder() -> (TempDir, Arc<ArcSwap<Bundle>>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("10_a.rhai"), script(1)).unwrap();
        let bundle = Bundle::load(dir.path()).unwrap();
        (dir, Arc::new(ArcSwap::from_pointee(bundle)))
    }

    fn reloader(dir: &TempDir, current: &Arc<ArcSwap<Bundle>>, check: Check) -> Reloader {
        Reloader::new(dir.path(), Arc::clone(current), check)
    }

    #[test]
    fn a_good_folder_comes_into_force_and_a_broken_one_does_not() {
        let (dir, current) = folder();
        let reloader = reloader(&dir, &current, Box::new(|_| Ok(())));
        assert_eq!(reloader.reload(), Reloaded::Unchanged);
        let first = current.load().hash().to_owned();

        std::fs::write(dir.path().join("10_a.rhai"), script(2)).unwrap();
        let swapped = reloader.reload();
        let second = current.load().hash().to_owned();
        assert_eq!(swapped, Reloaded::Swapped { from: first, to: second.clone() });

        std::fs::write(dir.path().join("10_a.rhai"), "fn on_track(event, ctx) {\n  oops(").unwrap();
        let Reloaded::Refused(reason) = reloader.reload() else { panic!("it cannot be used") };
        assert!(reason.contains("10_a.rhai:2"), "{reason}");
        assert_eq!(reloader.refusal(), Some(reason));
        assert_eq!(current.load().hash(), second, "the good one stays");

        std::fs::write(dir.path().join("10_a.rhai"), script(2)).unwrap();
        assert_eq!(reloader.reload(), Reloaded::Unchanged);
        assert_eq!(reloader.refusal(), None, "the folder is repaired");
    }

    #[test]
    fn a_bundle_that_fails_its_check_does_not_come_into_force() {
        let (dir, current) = folder();
        let first = current.load().hash().to_owned();
        let reloader =
            reloader(&dir, &current, Box::new(|_| Err("fixture orders/one fails".into())));
        std::fs::write(dir.path().join("10_a.rhai"), script(2)).unwrap();
        assert_eq!(reloader.reload(), Reloaded::Refused("fixture orders/one fails".into()));
        assert_eq!(current.load().hash(), first);
    }

    #[test]
    fn a_watched_folder_is_reloaded_when_it_is_still_again() {
        let (dir, current) = folder();
        let reloader = Arc::new(reloader(&dir, &current, Box::new(|_| Ok(()))));
        let (report, reports) = mpsc::channel();
        let still_for = Duration::from_millis(300);
        let watching = watch(Arc::clone(&reloader), still_for, move |reloaded| {
            report.send(reloaded.clone()).unwrap();
        })
        .unwrap();
        for value in 2..6 {
            std::fs::write(dir.path().join("10_a.rhai"), script(value)).unwrap();
        }
        let reloaded = reports.recv_timeout(Duration::from_secs(20)).unwrap();
        let expected = Bundle::load(dir.path()).unwrap().hash().to_owned();
        assert!(matches!(reloaded, Reloaded::Swapped { to, .. } if to == expected));
        assert_eq!(reloader.current().hash(), expected);
        drop(watching);
        assert!(
            reports.recv().is_err(),
            "several writes are one reload, and the watching has ended"
        );
    }
}
