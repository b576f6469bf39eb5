//! `segue test`: runs fixtures through the production code, offline.
//!
//! Not here: what a fixture is and how it is judged ([`crate::fixture`]).

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use super::changes::Changes;
use super::{offline, stdout};
use crate::fixture::suite::Summary;
use crate::fixture::{Setup, report, suite};
use crate::transform::coverage::percent;

/// Run the fixtures: what comes in, over time, and what must come of it.
///
/// Exits with 0 when all pass, 1 when one fails, 2 when nothing could be run.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue test fixtures/journeys --only 'purchase'")]
pub struct TestArgs {
    /// Files and folders. Default: fixtures.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only cases whose name or file contains this, or that have it as a tag.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// The scripts to test. Default: those of the configuration.
    #[arg(long, value_name = "DIR")]
    transforms: Option<PathBuf>,
    /// The configuration file. Default: segue.toml, where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show what differs, then write what happened into the fixtures. Matchers that hold are kept.
    #[arg(long)]
    update: bool,
    /// Write the results as a JUnit file too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Say which lines of the scripts no case reaches.
    #[arg(long)]
    coverage: bool,
    /// Fail when fewer than this many percent of the lines are reached.
    #[arg(long, value_name = "PERCENT", requires = "coverage")]
    min: Option<f64>,
    /// Run again whenever a script, a fixture or the configuration changes.
    #[arg(long, conflicts_with_all = ["update", "junit"])]
    watch: bool,
}

/// Runs the command.
///
/// # Errors
/// The scripts or the configuration cannot be used, or a path is not there.
pub fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    if args.update && is_ci() {
        bail!(
            "--update is refused in CI (CI is set): what is expected changes by review, not by a run"
        );
    }
    stdout::to_the_end(|out| if args.watch { again_and_again(args, out) } else { once(args, out) })
}

/// Runs until somebody stops it.
fn again_and_again(args: &TestArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let offline = offline::load(args.config.as_deref())?;
    let scripts = args.transforms.clone().unwrap_or(offline.config.transforms);
    let mut watched: Vec<PathBuf> = std::iter::once(scripts).chain(offline.file).collect();
    watched.retain(|path| path.exists());
    watched.extend(paths_of(args));
    let changes = Changes::of(&watched)?;
    loop {
        // What is broken now is repaired while this waits.
        if let Err(error) = once(args, out) {
            writeln!(out, "{error:#}")?;
        }
        writeln!(out, "waiting for a change, Ctrl-C ends")?;
        let changed = changes.next()?;
        let changed: Vec<String> = changed.iter().map(|path| path.display().to_string()).collect();
        writeln!(out, "\n── {}", changed.join(", "))?;
    }
}

fn paths_of(args: &TestArgs) -> Vec<PathBuf> {
    match args.paths.is_empty() {
        true => vec![PathBuf::from("fixtures")],
        false => args.paths.clone(),
    }
}

fn once(args: &TestArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<ExitCode> {
    let offline = offline::load(args.config.as_deref())?;
    let bundle = offline::load_bundle(&offline.config, args.transforms.as_deref())?;
    let options = offline::options(args.config.as_deref(), args.transforms.as_deref());
    let setup = Setup { options, ..Setup::new(&offline.config, bundle) };
    let setup = if args.coverage { setup.covering() } else { setup };
    let paths = paths_of(args);
    let files = suite::find(&paths)?;
    if files.is_empty() {
        bail!("there is no *.test.json in {}", shown(&paths));
    }
    let only = args.only.as_deref();
    let mut written = Ok(());
    let summary = suite::run(&files, only, &setup, |outcome| {
        if let (Some(failure), Ok(())) = (&outcome.failure, &written) {
            written = writeln!(out, "{}", report::failure(outcome, failure));
        }
    });
    written?;
    if summary.outcomes.is_empty() {
        bail!("no case in {} is named like {:?}", shown(&paths), only.unwrap_or_default());
    }
    if let Some(file) = &args.junit {
        std::fs::write(file, report::junit(&summary))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    if args.update {
        return update(&files, only, &setup, out);
    }
    let covered = covers_enough(args, &setup, &summary, out)?;
    writeln!(out, "{}", report::last_line(&summary))?;
    Ok(if summary.failed() == 0 && covered { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Shows which lines were reached, where that was asked for; whether they are enough.
fn covers_enough(
    args: &TestArgs,
    setup: &Setup,
    summary: &Summary,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    let Some(coverage) = &setup.coverage else { return Ok(true) };
    let files = coverage.files();
    writeln!(out, "{}", report::coverage(&files, &setup.bundle, summary.outcomes.len()))?;
    let (reached, min) = (percent(&files), args.min.unwrap_or(0.0));
    if reached < min {
        writeln!(out, "{reached:.1} % of the lines are reached, less than the {min} % of --min")?;
    }
    Ok(reached >= min)
}

/// Rewrites the fixtures that differ.
fn update(
    files: &[PathBuf],
    only: Option<&str>,
    setup: &Setup,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut rewritten = 0;
    for file in files {
        match suite::update(file, only, setup) {
            Ok(None) => {}
            Ok(Some(text)) => {
                std::fs::write(file, text)
                    .with_context(|| format!("{} cannot be written", file.display()))?;
                writeln!(out, "rewrote {}", file.display())?;
                rewritten += 1;
            }
            Err(problem) => {
                writeln!(out, "left {} as it is: {problem}", file.display())?;
                code = ExitCode::from(1);
            }
        }
    }
    writeln!(out, "{rewritten} rewritten: look at the difference before you commit it")?;
    Ok(code)
}

/// Whether this is a run that nobody watches.
fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|said| !said.is_empty() && said != "false" && said != "0")
}

fn shown(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}
