//! `segue config`: what is in force, with secrets masked.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::stdout;
use crate::config::{self, Overrides};

/// Print the configuration in force, defaults included, with secrets masked.
///
/// Exits with 2 and the reason when `serve` could not use it.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue config")]
pub struct ConfigArgs {
    /// The configuration file. Default: segue.toml, where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// The configuration cannot be used.
pub fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    stdout::to_stdout(|out| execute(args, out))
}

fn execute(args: &ConfigArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let loaded = config::load(args.config.as_deref(), &Overrides::default())?;
    if args.json {
        stdout::json_page(out, &loaded.config)?;
        return Ok(ExitCode::SUCCESS);
    }
    let from = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => "the built-in defaults: there is no segue.toml here".into(),
    };
    let text = toml::to_string_pretty(&loaded.config)
        .context("the configuration cannot be written as TOML")?;
    write!(out, "# {from}\n{text}")?;
    Ok(ExitCode::SUCCESS)
}
