//! The transforms folder as one thing: read, checked and named by the hash of its content.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use indexmap::IndexMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::compile;
use super::diagnostic::{Diagnostic, Severity};
use super::helpers::{decimal_of, region_of};
use super::limits::Limits;
use super::manifest::{self, Manifest, Stage};
use super::shipped;
use crate::contract::Contracts;
use crate::spec::{Object, names};

/// More than any folder of scripts and tables needs.
const LARGEST_FOLDER: u64 = 64 << 20;
/// Of a stage's last 32 calls, so many may hit the deadline before the stage is suspended.
const MOST_TIMEOUTS: u32 = 8;

/// A lookup table, in the order of its file.
pub(crate) type Table = IndexMap<String, Value, foldhash::fast::RandomState>;

/// Everything that scripts need, shared by all script threads.
#[derive(Debug)]
pub struct Bundle {
    hash: String,
    manifest: Manifest,
    sources: BTreeMap<String, String>,
    tables: BTreeMap<String, Table>,
    contracts: Contracts,
    warnings: Vec<Diagnostic>,
    decimal: Option<super::helpers::Decimal>,
    region: Option<String>,
    /// Per stage, which of its last calls ran into the deadline: one bit each.
    timeouts: Vec<AtomicU32>,
}

impl Bundle {
    /// Reads a folder and checks everything in it.
    ///
    /// # Errors
    /// Every finding that makes it unusable.
    pub fn load(dir: &Path) -> Result<Self, Vec<Diagnostic>> {
        let mut files = BTreeMap::new();
        let mut size = 0;
        read_folder(dir, "", &mut files, &mut size).map_err(|finding| vec![*finding])?;
        if files.is_empty() {
            let message = format!("{} holds no scripts", dir.display());
            return Err(vec![
                Diagnostic::error("", message)
                    .with_hint("`segue init` writes a folder to start with"),
            ]);
        }
        Self::from_files(files)
    }

    /// As [`Self::load`], from relative paths and their content.
    ///
    /// # Errors
    /// Every finding that makes it unusable.
    pub fn from_files(files: BTreeMap<String, Vec<u8>>) -> Result<Self, Vec<Diagnostic>> {
        let hash = hash_of(&files);
        let mut findings = Vec::new();
        let mut texts = BTreeMap::new();
        for (file, bytes) in files {
            match String::from_utf8(bytes) {
                Ok(text) => {
                    texts.insert(file, text);
                }
                Err(_) => findings.push(Diagnostic::error(file, "this file is no UTF-8 text")),
            }
        }
        let names: BTreeSet<String> = texts.keys().cloned().collect();
        let manifest = Manifest::read(texts.get(manifest::FILE).map(String::as_str), &names);
        let tables = read_tables(&texts, &mut findings);
        let manifest = match manifest {
            Ok(manifest) if findings.is_empty() => manifest,
            Ok(_) => return Err(findings),
            Err(more) => {
                findings.extend(more);
                return Err(findings);
            }
        };
        let var = |name: &str| manifest.vars.get(name).and_then(Value::as_str);
        let contracts = super::schemas::read(&texts, manifest.contracts, &mut findings);
        let decimal = decimal_of(var("locale"), &texts, &mut findings);
        let region = region_of(var("default_region"), &texts, &mut findings);
        check_tables(&manifest, &tables, &texts, &mut findings);
        let timeouts = manifest.stages.iter().map(|_| AtomicU32::new(0)).collect();
        let mut bundle = Self {
            hash,
            manifest,
            sources: texts,
            tables,
            contracts,
            warnings: Vec::new(),
            decimal,
            region,
            timeouts,
        };
        bundle.warnings.extend(bundle.unlisted());
        super::schemas::check(&bundle, &mut findings);
        let shared = Arc::new(bundle);
        compile::check(Arc::clone(&shared), &mut findings);
        let (errors, warnings): (Vec<_>, Vec<_>) =
            findings.into_iter().partition(|finding| finding.severity == Severity::Error);
        // The checks keep nothing of the bundle, so it is not shared any more.
        match Arc::into_inner(shared) {
            Some(mut bundle) if errors.is_empty() => {
                bundle.warnings.extend(warnings);
                Ok(bundle)
            }
            _ => Err(errors),
        }
    }

    /// The bundle that Segue ships.
    ///
    /// # Errors
    /// Never in a released Segue: its tests load it.
    pub fn shipped() -> Result<Self, Vec<Diagnostic>> {
        let files = shipped::FILES.iter();
        Self::from_files(files.map(|(path, text)| ((*path).into(), (*text).into())).collect())
    }

    /// The first 12 hex digits of a SHA-256 over all paths and contents.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The canonical key of an event name: its spelling folded, and the synonyms of this bundle
    /// (`data/synonyms.json`), or else those that Segue ships.
    pub fn canonical(&self, name: &str) -> String {
        let Some(synonyms) = self.tables.get("synonyms") else { return names::canonical(name) };
        let key = names::key(name);
        match synonyms.get(&key).and_then(Value::as_str) {
            Some(canonical) => canonical.to_owned(),
            None => key,
        }
    }

    /// What scripts read as `ctx.vars`.
    pub fn vars(&self) -> &Object {
        &self.manifest.vars
    }

    /// When these scripts are withdrawn after they came into force.
    pub fn reload_rules(&self) -> &manifest::Reload {
        &self.manifest.reload
    }

    /// The stages in the order in which they run.
    pub fn stages(&self) -> &[Stage] {
        &self.manifest.stages
    }

    /// What the team agreed on about each event.
    pub fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// The limits of one handler call.
    pub fn limits(&self) -> &Limits {
        &self.manifest.limits
    }

    /// What is not wrong, but surprising.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The text of a file of the folder.
    pub fn source(&self, file: &str) -> Option<&str> {
        self.sources.get(file).map(String::as_str)
    }

    /// All files with their text, in order of their paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sources.iter().map(|(file, text)| (file.as_str(), text.as_str()))
    }

    /// The stages that were suspended because they ran out of time too often.
    pub fn suspended(&self) -> Vec<&str> {
        let stages = self.manifest.stages.iter().enumerate();
        stages
            .filter(|(at, _)| self.is_suspended(*at))
            .map(|(_, stage)| stage.name.as_str())
            .collect()
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A lookup table by name.
    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    pub(crate) fn table_names(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    pub(crate) fn decimal(&self) -> Option<super::helpers::Decimal> {
        self.decimal
    }

    pub(crate) fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Whether a stage ran out of time too often.
    pub(crate) fn is_suspended(&self, stage: usize) -> bool {
        let history = self.timeouts.get(stage).map_or(0, |calls| calls.load(Ordering::Relaxed));
        history.count_ones() >= MOST_TIMEOUTS
    }

    /// Notes whether a call of a stage ran out of time.
    pub(crate) fn note_call(&self, stage: usize, timed_out: bool) {
        let Some(calls) = self.timeouts.get(stage) else { return };
        let history = calls.load(Ordering::Relaxed);
        if timed_out || history != 0 {
            calls.store(history << 1 | u32::from(timed_out), Ordering::Relaxed);
        }
    }

    /// Scripts that never run: stages that are not listed, and files where nobody looks for them.
    fn unlisted(&self) -> Vec<Diagnostic> {
        let listed: BTreeSet<&str> =
            self.manifest.stages.iter().map(|stage| stage.file.as_str()).collect();
        let scripts = self.sources.keys().filter(|file| file.ends_with(".rhai"));
        scripts
            .filter(|file| !(listed.contains(file.as_str()) || file.starts_with("lib/")))
            .map(|file| {
                let finding = if manifest::is_stage_file(file) {
                    let message = format!("this stage is not listed in {}", manifest::FILE);
                    Diagnostic::error(file, message).with_hint(
                        "it never runs: add a [[stage]], with mode = \"off\" if that is meant",
                    )
                } else {
                    Diagnostic::error(file, "this script is neither a stage nor a library")
                        .with_hint("stages are at the top of the folder, libraries in lib/")
                };
                finding.as_warning()
            })
            .collect()
    }
}

/// Lets several owners of an `Arc` see that it is another bundle.
pub(crate) fn is_same(a: &Arc<Bundle>, b: &Arc<Bundle>) -> bool {
    Arc::ptr_eq(a, b)
}

fn hash_of(files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    for (path, bytes) in files {
        hash.update((path.len() as u64).to_be_bytes());
        hash.update(path);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    }
    let mut digits = hex::encode(hash.finalize());
    digits.truncate(12);
    digits
}

/// Reads the files that make a bundle; what editors and people leave beside them is none of it.
fn read_folder(
    dir: &Path,
    prefix: &str,
    files: &mut BTreeMap<String, Vec<u8>>,
    size: &mut u64,
) -> Result<(), Box<Diagnostic>> {
    let failed = |what: &Path, error: &std::io::Error| {
        Diagnostic::error(
            prefix.trim_end_matches('/'),
            format!("cannot read {}: {error}", what.display()),
        )
    };
    let entries = std::fs::read_dir(dir).map_err(|error| failed(dir, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failed(dir, &error))?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') || name.starts_with('#') {
            continue;
        }
        let kind = std::fs::metadata(&path).map_err(|error| failed(&path, &error))?;
        let relative = format!("{prefix}{name}");
        if kind.is_dir() {
            if relative.matches('/').count() < 4 {
                read_folder(&path, &format!("{relative}/"), files, size)?;
            }
        } else if [".rhai", ".toml", ".json", ".csv"].iter().any(|end| name.ends_with(end)) {
            *size += kind.len();
            if *size > LARGEST_FOLDER {
                let message = "the folder holds more than 64 MiB";
                return Err(Box::new(Diagnostic::error(relative, message)));
            }
            files.insert(relative, std::fs::read(&path).map_err(|error| failed(&path, &error))?);
        }
    }
    Ok(())
}

/// Reads `data/NAME.json` (one object) and `data/NAME.csv` (the first column is the key).
fn read_tables(
    texts: &BTreeMap<String, String>,
    findings: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Table> {
    let mut tables = BTreeMap::new();
    for (file, text) in texts {
        let Some(name) = file.strip_prefix("data/") else { continue };
        let (name, table) = if let Some(name) = name.strip_suffix(".json") {
            (name, read_json_table(file, text))
        } else if let Some(name) = name.strip_suffix(".csv") {
            (name, read_csv_table(file, text))
        } else {
            continue;
        };
        match table {
            Ok(table) if !tables.contains_key(name) => {
                tables.insert(name.to_owned(), table);
            }
            Ok(_) => findings.push(Diagnostic::error(
                file,
                format!("there are two tables with the name {name}"),
            )),
            Err(finding) => findings.push(*finding),
        }
    }
    tables
}

/// Stages match by tables that are there.
fn check_tables(
    manifest: &Manifest,
    tables: &BTreeMap<String, Table>,
    texts: &BTreeMap<String, String>,
    findings: &mut Vec<Diagnostic>,
) {
    let text = texts.get(manifest::FILE).map_or("", String::as_str);
    let named = manifest.stages.iter().filter_map(Stage::event_in);
    for table in named.filter(|table| !tables.contains_key(*table)) {
        let known: Vec<&str> = tables.keys().map(String::as_str).collect();
        let finding = manifest::place(text, table, format!("there is no table {table:?} in data/"));
        findings.push(finding.by("L014").with_hint(format!("there are {}", known.join(", "))));
    }
}

fn read_json_table(file: &str, text: &str) -> Result<Table, Box<Diagnostic>> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(table)) => Ok(table.into_iter().collect()),
        Ok(_) => Err(Box::new(Diagnostic::error(file, "a table must be one JSON object"))),
        Err(error) => {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            let (line, column) = (Some(error.line()), Some(error.column()));
            Err(Box::new(Diagnostic::error(file, message).at(text, line, column)))
        }
    }
}

fn read_csv_table(file: &str, text: &str) -> Result<Table, Box<Diagnostic>> {
    let failed = |error: csv::Error| {
        let line = error.position().and_then(|position| usize::try_from(position.line()).ok());
        Diagnostic::error(file, error.to_string()).at(text, line, None)
    };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(failed)?.clone();
    if header.len() < 2 {
        let finding = Diagnostic::error(file, "a table needs a key column and a value column");
        return Err(Box::new(finding.at(text, Some(1), None)));
    }
    let mut table = Table::default();
    for row in reader.records() {
        let row = row.map_err(failed)?;
        let mut cells = row.iter();
        let key = cells.next().unwrap_or_default().to_owned();
        let value = if header.len() == 2 {
            Value::String(cells.next().unwrap_or_default().to_owned())
        } else {
            let named = header.iter().skip(1).zip(cells);
            Value::Object(named.map(|(name, cell)| (name.into(), cell.into())).collect())
        };
        table.insert(key, value);
    }
    Ok(table)
}
