//! The last bundles, kept on disk: to go back to, and to know after a restart which were withdrawn.
//!
//! Not here: when to go back ([`super::trial`]), how a bundle comes into force ([`super::reload`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::bundle::Bundle;

/// How many bundles are kept.
const KEPT: usize = 10;
/// The name of the list of them.
const LIST: &str = "bundles.json";

/// A folder with the last bundles. It can be absent: then nothing is kept, and there is no way back.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    list: List,
}

/// Which bundles are kept.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct List {
    /// Their hashes; the one that came into force last is at the end.
    kept: Vec<String>,
    /// Those that somebody went back from, with the reason.
    withdrawn: BTreeMap<String, String>,
}

/// The files of a bundle, as they are written down.
#[derive(Deserialize, Serialize)]
struct Kept {
    files: BTreeMap<String, String>,
}

impl Shelf {
    /// Opens the shelf in a folder; what cannot be read counts as empty.
    pub fn open(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let list = std::fs::read(folder.join(LIST)).ok();
        let list = list.and_then(|list| serde_json::from_slice(&list).ok()).unwrap_or_default();
        Self { folder, list }
    }

    /// Keeps a bundle that came into force. Says whether it is another one than the last that did.
    ///
    /// # Errors
    /// The folder cannot be written; then it is not kept.
    pub fn keep(&mut self, bundle: &Bundle) -> Result<bool, String> {
        let hash = bundle.hash();
        if self.list.kept.last().is_some_and(|last| last == hash) {
            return Ok(false);
        }
        std::fs::create_dir_all(&self.folder).map_err(|error| self.failed(&error))?;
        let files = bundle.files().map(|(file, text)| (file.to_owned(), text.to_owned())).collect();
        let text = serde_json::to_vec(&Kept { files }).map_err(|error| error.to_string())?;
        self.write(&format!("{hash}.json"), &text)?;
        self.list.kept.retain(|kept| kept != hash);
        self.list.kept.push(hash.to_owned());
        while self.list.kept.len() > KEPT {
            let oldest = self.list.kept.remove(0);
            self.list.withdrawn.remove(&oldest);
            // One that stays is only a file too many.
            let _ = std::fs::remove_file(self.folder.join(format!("{oldest}.json")));
        }
        self.save()?;
        Ok(true)
    }

    /// The bundle that was in force before `hash`, and was not withdrawn.
    ///
    /// # Errors
    /// There is none, or it cannot be used any more.
    pub fn before(&self, hash: &str) -> Result<Bundle, String> {
        let kept = &self.list.kept;
        let at = kept.iter().position(|kept| kept == hash).unwrap_or(kept.len());
        let before = kept[..at].iter().rev().find(|kept| !self.list.withdrawn.contains_key(*kept));
        let Some(before) = before else {
            return Err(
                "there are no scripts to go back to: none were in force before these".into()
            );
        };
        self.read(before)
    }

    /// The bundle that came into force last and can still be used, of those that were not withdrawn.
    pub fn newest(&self) -> Option<Bundle> {
        let good = self.list.kept.iter().rev().filter(|kept| self.withdrawn(kept).is_none());
        good.filter_map(|hash| self.read(hash).ok()).next()
    }

    fn read(&self, hash: &str) -> Result<Bundle, String> {
        let file = self.folder.join(format!("{hash}.json"));
        let text = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let kept: Kept = serde_json::from_slice(&text)
            .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
        let files = kept.files.into_iter().map(|(file, text)| (file, text.into_bytes())).collect();
        Bundle::from_files(files).map_err(|findings| {
            let first = findings.first().map(ToString::to_string).unwrap_or_default();
            format!("the scripts {hash} cannot be used any more: {first}")
        })
    }

    /// Notes that a bundle was withdrawn, and why: it does not come into force again by itself.
    ///
    /// # Errors
    /// The folder cannot be written; it is withdrawn until the next start all the same.
    pub fn withdraw(&mut self, hash: &str, reason: &str) -> Result<(), String> {
        self.list.withdrawn.insert(hash.to_owned(), reason.to_owned());
        self.list.kept.retain(|kept| kept != hash);
        self.save()
    }

    /// Why a bundle was withdrawn, where it was.
    pub fn withdrawn(&self, hash: &str) -> Option<&str> {
        self.list.withdrawn.get(hash).map(String::as_str)
    }

    /// Lets a bundle that was withdrawn come into force again.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn forgive(&mut self, hash: &str) -> Result<(), String> {
        match self.list.withdrawn.remove(hash) {
            Some(_) => self.save(),
            None => Ok(()),
        }
    }

    /// The hashes of the bundles that are kept, the newest at the end.
    pub fn kept(&self) -> &[String] {
        &self.list.kept
    }

    fn save(&self) -> Result<(), String> {
        let text = serde_json::to_vec_pretty(&self.list).map_err(|error| error.to_string())?;
        std::fs::create_dir_all(&self.folder).map_err(|error| self.failed(&error))?;
        self.write(LIST, &text)
    }

    /// Writes a file so that a crash leaves the old one or the new one.
    fn write(&self, name: &str, text: &[u8]) -> Result<(), String> {
        let half = self.folder.join(format!("{name}.new"));
        std::fs::write(&half, text).map_err(|error| self.failed(&error))?;
        std::fs::rename(&half, self.folder.join(name)).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("the bundles cannot be kept in {}: {error}", show(&self.folder))
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::bundle_of;

    fn bundle(value: usize) -> Bundle {
        let script = format!("fn on_track(event, ctx) {{ event.properties.x = {value}; event }}");
        bundle_of(&[("10_a.rhai", &script)]).unwrap()
    }

    #[test]
    fn the_way_back_leads_to_the_last_that_was_not_withdrawn() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(folder.path().join("bundles"));
        let [one, two, three] = [1, 2, 3].map(bundle);
        assert!(shelf.before(one.hash()).is_err(), "nothing is kept yet");
        for bundle in [&one, &two, &three] {
            assert_eq!(shelf.keep(bundle), Ok(true));
        }
        assert_eq!(shelf.keep(&three), Ok(false), "it is the last already");
        assert_eq!(shelf.before(three.hash()).unwrap().hash(), two.hash());
        shelf.withdraw(three.hash(), "everything failed").unwrap();
        shelf.withdraw(two.hash(), "this too").unwrap();

        let shelf = Shelf::open(folder.path().join("bundles"));
        assert_eq!(
            shelf.withdrawn(three.hash()),
            Some("everything failed"),
            "it survives a restart"
        );
        assert_eq!(shelf.before(three.hash()).unwrap().hash(), one.hash());
        assert!(shelf.before(one.hash()).is_err());
    }

    #[test]
    fn one_that_was_forgiven_may_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(folder.path());
        let [one, two] = [1, 2].map(bundle);
        shelf.keep(&one).unwrap();
        shelf.keep(&two).unwrap();
        shelf.withdraw(two.hash(), "no").unwrap();
        shelf.forgive(two.hash()).unwrap();
        assert_eq!(shelf.withdrawn(two.hash()), None);
        assert_eq!(shelf.keep(&two), Ok(true));
        assert_eq!(shelf.kept(), [one.hash(), two.hash()]);
    }

    #[test]
    fn only_the_last_ten_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(folder.path());
        for value in 0..13 {
            shelf.keep(&bundle(value)).unwrap();
        }
        assert_eq!(shelf.kept().len(), KEPT);
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, KEPT + 1, "ten bundles and the list");
    }
}
