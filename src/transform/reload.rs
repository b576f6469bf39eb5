//! Brings a changed transforms folder into force, or says why it does not.
//!
//! A folder is loaded as a whole, checked by whoever runs the server (fixtures), and swapped in one
//! step; threads pick the new bundle up between two events. A broken folder changes nothing. The last
//! bundles are kept, and one that is gone back from does not come into force again by itself.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::bundle::Bundle;
use super::diagnostic::Diagnostic;
use super::manifest::Reload;
use super::shelf::Shelf;
use super::trial::Trial;

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
    trial: Option<Arc<Trial>>,
    /// Held while loading, so that a signal and the watcher do not race.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Why the folder is not in force.
    refusal: Option<String>,
    shelf: Option<Shelf>,
}

impl Reloader {
    /// Reloads `dir` into `current`, for which it already stands.
    pub fn new(dir: impl Into<PathBuf>, current: Arc<ArcSwap<Bundle>>, check: Check) -> Self {
        Self { dir: dir.into(), current, check, trial: None, state: Mutex::default() }
    }

    /// The same, keeping bundles on a shelf. The one in force is kept at once, and is on trial when
    /// another one was in force last: that is how scripts change that come with a new start. `refusal`
    /// says why the folder was refused at the start; then what is in force is on the shelf already, or
    /// is nothing to go back to.
    #[must_use]
    pub fn with_shelf(self, mut shelf: Shelf, trial: Arc<Trial>, refusal: Option<String>) -> Self {
        let bundle = self.current();
        let had_others = !shelf.kept().is_empty();
        if refusal.is_none() && keep(&mut shelf, &bundle) && had_others {
            trial.begin(bundle.hash(), Some(bundle.reload_rules().clone()));
        }
        *self.lock() = State { refusal, shelf: Some(shelf) };
        Self { trial: Some(trial), ..self }
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
        self.lock().refusal.clone()
    }

    /// Loads the folder and brings it into force if it can be used.
    pub fn reload(&self) -> Reloaded {
        self.take_up(false)
    }

    /// As [`Self::reload`], even if the folder holds scripts that were withdrawn.
    pub fn reload_again(&self) -> Reloaded {
        self.take_up(true)
    }

    fn take_up(&self, again: bool) -> Reloaded {
        let mut state = self.lock();
        let bundle = self.load().and_then(|bundle| {
            let Some(shelf) = &mut state.shelf else { return Ok(bundle) };
            match shelf.withdrawn(bundle.hash()) {
                Some(reason) if !again => Err(withdrawn(bundle.hash(), reason)),
                Some(_) => shelf.forgive(bundle.hash()).map(|()| bundle),
                None => Ok(bundle),
            }
        });
        let bundle = match bundle {
            Ok(bundle) => bundle,
            Err(reason) => {
                state.refusal = Some(reason.clone());
                return Reloaded::Refused(reason);
            }
        };
        state.refusal = None;
        let before = self.current.load_full();
        if before.hash() == bundle.hash() {
            // It may be in force since a start at which it was refused.
            if let Some(shelf) = &mut state.shelf {
                keep(shelf, &bundle);
            }
            return Reloaded::Unchanged;
        }
        let to = bundle.hash().to_owned();
        let rules = bundle.reload_rules().clone();
        self.put_in_force(bundle, Some(rules), &mut state);
        Reloaded::Swapped { from: before.hash().to_owned(), to }
    }

    /// Withdraws the scripts in force and brings those before them back; `only`: if they are still
    /// these. The folder stays as it is, and comes into force again only when it changes, or when
    /// somebody asks for it.
    ///
    /// # Errors
    /// There are none before them, or they cannot be used any more; nothing changes then.
    pub fn back(&self, only: Option<&str>, reason: &str) -> Result<Reloaded, String> {
        let mut state = self.lock();
        let current = self.current.load_full();
        let from = current.hash().to_owned();
        if only.is_some_and(|only| only != from) {
            return Ok(Reloaded::Unchanged);
        }
        let Some(shelf) = &mut state.shelf else {
            return Err("no scripts are kept, so there are none to go back to".into());
        };
        let before = shelf.before(&from)?;
        if let Err(problem) = shelf.withdraw(&from, reason) {
            tracing::warn!("{problem}: a restart brings the withdrawn scripts back");
        }
        let to = before.hash().to_owned();
        state.refusal = Some(withdrawn(&from, reason));
        self.put_in_force(before, None, &mut state);
        Ok(Reloaded::Swapped { from, to })
    }

    /// The last step. `rules` say when the bundle is withdrawn again; `None`: it is trusted.
    fn put_in_force(&self, bundle: Bundle, rules: Option<Reload>, state: &mut State) {
        if let Some(trial) = &self.trial {
            trial.begin(bundle.hash(), rules);
        }
        if let Some(shelf) = &mut state.shelf {
            keep(shelf, &bundle);
        }
        self.current.store(Arc::new(bundle));
    }

    fn load(&self) -> Result<Bundle, String> {
        let bundle = load(&self.dir)?;
        (self.check)(&bundle)?;
        Ok(bundle)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a bundle; says whether it is another one than the last.
fn keep(shelf: &mut Shelf, bundle: &Bundle) -> bool {
    shelf.keep(bundle).unwrap_or_else(|reason| {
        tracing::warn!("{reason}: there is no way back to these scripts");
        false
    })
}

/// Loads a folder.
///
/// # Errors
/// What is wrong with it, with file and line.
pub fn load(dir: &Path) -> Result<Bundle, String> {
    Bundle::load(dir).map_err(|findings| said(&findings))
}

/// The shipped scripts.
///
/// # Errors
/// What is wrong with them, which the tests would have found.
pub fn shipped() -> Result<Bundle, String> {
    Bundle::shipped().map_err(|findings| said(&findings))
}

fn said(findings: &[Diagnostic]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What a server starts with.
#[derive(Debug)]
pub struct Start {
    /// The scripts that are in force first.
    pub bundle: Bundle,
    /// Why they are not those of the folder, where they are not.
    pub refusal: Option<String>,
}

/// What to start with: the folder is judged as at a reload, and where it is refused, the newest good
/// bundle of the shelf stands in, so that a restart neither lets a refused one in nor stops the server.
/// The bundle that was in force last has passed its check before: a restart must be quick. Where no
/// good one is known, as at a first start, a folder that can be run is in force all the same.
///
/// # Errors
/// Why the folder cannot be run, where the shelf has no good bundle.
pub fn at_start(
    shelf: &Shelf,
    of_folder: Result<Bundle, String>,
    check: impl FnOnce(&Bundle) -> Result<(), String>,
) -> Result<Start, String> {
    let (of_folder, refusal) = match of_folder {
        Ok(bundle) => match refused(shelf, &bundle, check) {
            None => return Ok(Start { bundle, refusal: None }),
            Some(refusal) => (Some(bundle), refusal),
        },
        Err(refusal) => (None, refusal),
    };
    match (shelf.newest(), of_folder) {
        (Some(bundle), _) => Ok(Start { bundle, refusal: Some(refusal) }),
        (None, Some(bundle)) => {
            let refusal = format!("no better ones are known: {refusal}");
            Ok(Start { bundle, refusal: Some(refusal) })
        }
        (None, None) => Err(refusal),
    }
}

fn refused(
    shelf: &Shelf,
    bundle: &Bundle,
    check: impl FnOnce(&Bundle) -> Result<(), String>,
) -> Option<String> {
    let hash = bundle.hash();
    if let Some(reason) = shelf.withdrawn(hash) {
        return Some(withdrawn(hash, reason));
    }
    if shelf.kept().last().is_some_and(|last| last == hash) {
        return None;
    }
    check(bundle).err()
}

fn withdrawn(hash: &str, reason: &str) -> String {
    format!(
        "{hash} was withdrawn ({reason}); change the scripts, or bring them back with `segue reload --again`"
    )
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

    fn start(
        data: &Path,
        dir: &TempDir,
        check: fn(&Bundle) -> Result<(), String>,
    ) -> Result<Start, String> {
        at_start(&Shelf::open(data), load(dir.path()), check)
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
    fn scripts_that_were_withdrawn_come_back_only_when_somebody_asks() {
        let (dir, current) = folder();
        let data = tempfile::tempdir().unwrap();
        let (verdicts, _said) = mpsc::channel();
        let trial = Arc::new(Trial::new(current.load().hash(), verdicts));
        let reloader = reloader(&dir, &current, Box::new(|_| Ok(()))).with_shelf(
            Shelf::open(data.path()),
            trial,
            None,
        );
        let first = current.load().hash().to_owned();
        assert!(reloader.back(None, "no reason").unwrap_err().contains("go back to"));

        std::fs::write(dir.path().join("10_a.rhai"), script(2)).unwrap();
        reloader.reload();
        let second = current.load().hash().to_owned();
        assert_eq!(reloader.back(Some("another"), "x"), Ok(Reloaded::Unchanged));
        let back = reloader.back(Some(&second), "an operator asked").unwrap();
        assert_eq!(back, Reloaded::Swapped { from: second.clone(), to: first.clone() });
        assert_eq!(current.load().hash(), first);
        assert!(reloader.refusal().unwrap().contains("an operator asked"));

        let Reloaded::Refused(reason) = reloader.reload() else { panic!("it was withdrawn") };
        assert!(reason.contains("segue reload --again"), "{reason}");
        let start = start(data.path(), &dir, |_| Ok(())).unwrap();
        assert_eq!(start.bundle.hash(), first, "also after a restart");
        assert!(start.refusal.unwrap().contains(&second));

        assert!(matches!(reloader.reload_again(), Reloaded::Swapped { to, .. } if to == second));
        assert_eq!(reloader.refusal(), None);
    }

    #[test]
    fn a_restart_with_a_refused_folder_takes_the_newest_good_scripts() {
        let (dir, current) = folder();
        let data = tempfile::tempdir().unwrap();
        let first = current.load().hash().to_owned();
        let alone = start(data.path(), &dir, |_| Err("one fails".into())).unwrap();
        assert_eq!(alone.bundle.hash(), first, "nothing better is known");
        assert_eq!(alone.refusal.unwrap(), "no better ones are known: one fails");
        Shelf::open(data.path()).keep(&current.load()).unwrap();
        let again = start(data.path(), &dir, |_| panic!("they were in force and passed before"));
        assert_eq!(again.unwrap().refusal, None);

        type Row = (&'static str, String, fn(&Bundle) -> Result<(), String>, &'static str);
        let table: [Row; 2] = [
            ("its fixtures fail", script(2), |_| Err("fixture one fails".into()), "one fails"),
            ("a syntax error", "fn on_track(event, ctx) {".into(), |_| Ok(()), "10_a.rhai:1"),
        ];
        for (what, text, check, says) in table {
            std::fs::write(dir.path().join("10_a.rhai"), text).unwrap();
            let start = start(data.path(), &dir, check).unwrap();
            assert_eq!(start.bundle.hash(), first, "{what}");
            assert!(start.refusal.unwrap().contains(says), "{what}");
        }

        let kept = std::fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().path());
        let bundle = kept.into_iter().find(|path| path.to_string_lossy().contains(&first)).unwrap();
        std::fs::write(bundle, "torn").unwrap();
        let error = start(data.path(), &dir, |_| Ok(())).unwrap_err();
        assert!(error.contains("10_a.rhai:1"), "no good ones are left: {error}");
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
    fn scripts_that_were_refused_at_the_start_are_kept_once_they_pass() {
        let (dir, current) = folder();
        let data = tempfile::tempdir().unwrap();
        let (verdicts, _said) = mpsc::channel();
        let trial = Arc::new(Trial::new(current.load().hash(), verdicts));
        let reloader = reloader(&dir, &current, Box::new(|_| Ok(()))).with_shelf(
            Shelf::open(data.path()),
            trial,
            Some("one fails".into()),
        );
        assert!(Shelf::open(data.path()).kept().is_empty());
        assert_eq!(reloader.refusal().unwrap(), "one fails");

        assert_eq!(reloader.reload(), Reloaded::Unchanged);

        assert_eq!(reloader.refusal(), None);
        assert_eq!(Shelf::open(data.path()).kept(), [current.load().hash()]);
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
