//! `segue dev`: watches scripts and fixtures, checks, runs what a change touches, and shows it all on
//! one screen.
//!
//! Not here: waiting for changes ([`super::changes`]), running fixtures ([`crate::fixture`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::changes::Changes;
use super::{offline, stdout};
use crate::clock::{Clock as _, SystemClock};
use crate::fixture::suite::{Outcome, Summary};
use crate::fixture::{Setup, report, suite};
use crate::transform::coverage::{FileCoverage, percent};
use crate::transform::{Bundle, Diagnostic, Severity};

/// Lines of the screen where the terminal does not say.
const LINES: usize = 45;
/// Findings of the check that are shown.
const FINDINGS: usize = 6;
/// Files that the line about coverage names.
const FILES: usize = 4;

/// Watch scripts and fixtures: check, run what changed, and show one screen.
///
/// A changed script runs every fixture, a changed fixture runs itself. Ctrl-C ends.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue dev --once")]
pub struct DevArgs {
    /// Fixtures: files and folders. Default: fixtures.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The scripts. Default: those of the configuration.
    #[arg(long, value_name = "DIR")]
    transforms: Option<PathBuf>,
    /// The configuration file. Default: segue.toml, where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show the screen once and end; with 1 when something is wrong.
    #[arg(long)]
    once: bool,
}

/// Runs the command.
///
/// # Errors
/// The configuration cannot be read at the start, or nothing can be watched.
pub fn run(args: &DevArgs) -> anyhow::Result<ExitCode> {
    let offline = offline::load(args.config.as_deref())?;
    let scripts = args.transforms.clone().unwrap_or(offline.config.transforms);
    let paths = match args.paths.is_empty() {
        true => vec![PathBuf::from("fixtures")],
        false => args.paths.clone(),
    };
    let mut desk = Desk { scripts: scripts.clone(), paths, ..Desk::new(args) };
    desk.work(None);
    if args.once {
        return stdout::to_the_end(|out| {
            out.write_all(desk.screen(usize::MAX, "").as_bytes())?;
            Ok(if desk.is_well() { ExitCode::SUCCESS } else { ExitCode::from(1) })
        });
    }
    let mut watched: Vec<PathBuf> = std::iter::once(scripts).chain(offline.file).collect();
    watched.extend(desk.paths.clone());
    watched.retain(|path| path.exists());
    let changes = Changes::of(&watched)?;
    let mut last = String::new();
    stdout::to_stdout(|out| {
        loop {
            show(&desk.screen(height(), &last), out)?;
            let changed = changes.next()?;
            let names = changed.iter().filter_map(|path| path.file_name());
            let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
            last = names.join(", ");
            desk.work(Some(&changed));
        }
    })
}

/// What is known between two changes.
struct Desk<'a> {
    args: &'a DevArgs,
    scripts: PathBuf,
    paths: Vec<PathBuf>,
    /// Why nothing can be run.
    broken: Option<String>,
    findings: Vec<Diagnostic>,
    bundle: Option<Arc<Bundle>>,
    results: BTreeMap<PathBuf, Vec<Outcome>>,
    coverage: Vec<FileCoverage>,
    /// How many cases the last change ran.
    ran: usize,
}

impl<'a> Desk<'a> {
    fn new(args: &'a DevArgs) -> Self {
        Self {
            args,
            scripts: PathBuf::new(),
            paths: Vec::new(),
            broken: None,
            findings: Vec::new(),
            bundle: None,
            results: BTreeMap::new(),
            coverage: Vec::new(),
            ran: 0,
        }
    }

    /// Checks the scripts and runs what a change touches; `None`: everything.
    fn work(&mut self, changed: Option<&BTreeSet<PathBuf>>) {
        self.ran = 0;
        self.broken = self.try_to_work(changed).err();
    }

    fn try_to_work(&mut self, changed: Option<&BTreeSet<PathBuf>>) -> Result<(), String> {
        let config =
            offline::load(self.args.config.as_deref()).map_err(|error| error.to_string())?.config;
        let is_own =
            self.args.transforms.is_some() || self.scripts.is_dir() && !config.ships_scripts();
        let loaded = if is_own { Bundle::load(&self.scripts) } else { Bundle::shipped() };
        let bundle = match loaded {
            Ok(bundle) => Arc::new(bundle),
            Err(findings) => {
                self.findings = findings;
                return Err("the scripts cannot be used; the fixtures were not run".into());
            }
        };
        self.findings = bundle.warnings().to_vec();
        let files = suite::find(&self.paths).map_err(|error| error.to_string())?;
        let is_new = self.bundle.as_ref().is_none_or(|before| before.hash() != bundle.hash());
        let touched = match changed {
            Some(changed) if !is_new => touched(&files, changed),
            _ => None,
        };
        self.bundle = Some(Arc::clone(&bundle));
        let (config_file, scripts) = (self.args.config.as_deref(), self.args.transforms.as_deref());
        let options = offline::options(config_file, scripts);
        let setup = Setup { options, ..Setup::new(&config, bundle) };
        match touched {
            // The share of lines is that of all fixtures: a part of them says nothing about it.
            Some(part) => self.run(&part, &setup),
            None => {
                let setup = setup.covering();
                self.results.clear();
                self.run(&files, &setup);
                self.coverage = setup.coverage.map(|coverage| coverage.files()).unwrap_or_default();
            }
        }
        let there: BTreeSet<&PathBuf> = files.iter().collect();
        self.results.retain(|file, _| there.contains(file));
        Ok(())
    }

    fn run(&mut self, files: &[PathBuf], setup: &Setup) {
        for file in files {
            let Summary { outcomes } = suite::run(std::slice::from_ref(file), None, setup, |_| {});
            self.ran += outcomes.len();
            self.results.insert(file.clone(), outcomes);
        }
    }

    fn failed(&self) -> Vec<&Outcome> {
        let outcomes = self.results.values().flatten();
        outcomes.filter(|outcome| outcome.failure.is_some()).collect()
    }

    fn is_well(&self) -> bool {
        self.broken.is_none() && self.failed().is_empty()
    }

    /// Everything, on at most `height` lines.
    fn screen(&self, height: usize, changed: &str) -> String {
        let mut text = String::new();
        let now = SystemClock.now().to_string();
        let time = now.get(11..19).unwrap_or_default();
        let hash = self.bundle.as_ref().map_or("-", |bundle| bundle.hash());
        let _ = writeln!(text, "segue dev  {} ({hash})  {time} UTC", self.scripts.display());
        if !changed.is_empty() {
            let _ = writeln!(text, "changed    {changed}");
        }
        let count = |severity| self.findings.iter().filter(|one| one.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let _ = writeln!(text, "check      {errors} errors, {warnings} warnings");
        for finding in self.findings.iter().take(FINDINGS) {
            for line in finding.to_string().lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
        if self.findings.len() > FINDINGS {
            let _ = writeln!(text, "  … and {} more: segue check", self.findings.len() - FINDINGS);
        }
        if let Some(broken) = &self.broken {
            let _ = writeln!(text, "{broken}");
        }
        let failed = self.failed();
        let all = self.results.values().map(Vec::len).sum::<usize>();
        let _ = writeln!(
            text,
            "fixtures   {} passed, {} failed, {} run just now",
            all - failed.len(),
            failed.len(),
            self.ran
        );
        let _ = writeln!(text, "coverage   {}", coverage_line(&self.coverage));
        self.write_failures(&failed, height, &mut text);
        text
    }

    fn write_failures(&self, failed: &[&Outcome], height: usize, text: &mut String) {
        for (at, outcome) in failed.iter().enumerate() {
            let Some(failure) = &outcome.failure else { continue };
            let shown = report::failure(outcome, failure);
            let used = text.lines().count();
            // The first is shown as far as there is room, for it is what is looked at.
            if at > 0 && used + shown.lines().count() + 2 > height {
                let rest: Vec<&str> =
                    failed[at..].iter().map(|outcome| outcome.name.as_str()).collect();
                let _ = writeln!(text, "\nand {} more: {}", rest.len(), rest.join("; "));
                return;
            }
            text.push('\n');
            let room = height.saturating_sub(used + 3);
            for line in shown.lines().take(room) {
                let _ = writeln!(text, "{line}");
            }
        }
    }
}

/// The fixtures among what changed; `None`: something else changed, which any of them may use.
fn touched(files: &[PathBuf], changed: &BTreeSet<PathBuf>) -> Option<Vec<PathBuf>> {
    let whole = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let known: BTreeMap<PathBuf, &PathBuf> = files.iter().map(|file| (whole(file), file)).collect();
    let mut found = Vec::new();
    for path in changed {
        match known.get(&whole(path)) {
            Some(file) => found.push((*file).clone()),
            // One that was removed has nothing to run.
            None if !path.exists() || path.to_string_lossy().ends_with(".test.json") => {}
            None => return None,
        }
    }
    Some(found)
}

fn coverage_line(files: &[FileCoverage]) -> String {
    if files.is_empty() {
        return "not known".into();
    }
    let gaps: Vec<String> = files
        .iter()
        .filter(|file| !file.missed.is_empty())
        .map(|file| {
            let lines: Vec<String> = file.missed.iter().take(8).map(ToString::to_string).collect();
            let more = if file.missed.len() > 8 { " …" } else { "" };
            format!("{} {}{more}", file.file, lines.join(" "))
        })
        .collect();
    let shown = gaps.iter().take(FILES).cloned().collect::<Vec<_>>().join("; ");
    match gaps.is_empty() {
        true => format!("{:.1} % of lines", percent(files)),
        false => format!("{:.1} % of lines; never reached: {shown}", percent(files)),
    }
}

/// Puts a screen in place of the one before, on a terminal; below it elsewhere.
fn show(screen: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    if std::io::stdout().is_terminal() {
        write!(out, "\u{1b}[2J\u{1b}[H")?;
    }
    writeln!(out, "{screen}")?;
    out.flush()?;
    Ok(())
}

fn height() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .map(|size| usize::from(size.ws_row))
        .filter(|rows| *rows > 5)
        .unwrap_or(LINES)
}
