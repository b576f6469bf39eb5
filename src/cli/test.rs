//! `segue test`: runs fixtures through the production code, offline.
//!
//! Not here: what a fixture is and how it is judged ([`crate::fixture`]).

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use super::offline;
use crate::fixture::{Setup, report, suite};

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
    let offline = offline::load(args.config.as_deref())?;
    let bundle = offline::load_bundle(&offline.config, args.transforms.as_deref())?;
    let setup = Setup::new(&offline.config, bundle);
    let paths = match args.paths.is_empty() {
        true => vec![PathBuf::from("fixtures")],
        false => args.paths.clone(),
    };
    let files = suite::find(&paths)?;
    if files.is_empty() {
        bail!("there is no *.test.json in {}", shown(&paths));
    }
    let only = args.only.as_deref();
    let summary = suite::run(&files, only, &setup, |outcome| {
        if let Some(failure) = &outcome.failure {
            println!("{}", report::failure(outcome, failure));
        }
    });
    if summary.outcomes.is_empty() {
        bail!("no case in {} is named like {:?}", shown(&paths), only.unwrap_or_default());
    }
    if let Some(file) = &args.junit {
        std::fs::write(file, report::junit(&summary))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    if args.update {
        return update(&files, only, &setup);
    }
    println!("{}", report::last_line(&summary));
    Ok(if summary.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Rewrites the fixtures that differ.
fn update(files: &[PathBuf], only: Option<&str>, setup: &Setup) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut rewritten = 0;
    for file in files {
        match suite::update(file, only, setup) {
            Ok(None) => {}
            Ok(Some(text)) => {
                std::fs::write(file, text)
                    .with_context(|| format!("{} cannot be written", file.display()))?;
                println!("rewrote {}", file.display());
                rewritten += 1;
            }
            Err(problem) => {
                println!("left {} as it is: {problem}", file.display());
                code = ExitCode::from(1);
            }
        }
    }
    println!("{rewritten} rewritten: look at the difference before you commit it");
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
