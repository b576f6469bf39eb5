//! `segue reload`: brings changed scripts into force, or says what is wrong with them.
//!
//! Not here: how they are checked and exchanged ([`crate::transform::reload`]).

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::operator::{self, OperatorArgs};
use crate::admin::scripts::InForce;

/// Bring changed scripts into force, if they can be used.
///
/// Scripts that cannot be used change nothing: the ones before stay in force.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue reload --config segue.toml")]
pub struct ReloadArgs {
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Runs the command.
///
/// # Errors
/// No server is running, or the scripts cannot be used.
pub fn run(args: ReloadArgs) -> anyhow::Result<ExitCode> {
    operator::to_stdout(|out| execute(&args, out))
}

pub(super) fn execute(args: &ReloadArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let scripts: InForce = operator::server(&args.operator)?.post("/api/reload", &json!({}))?;
    if args.operator.json {
        operator::json_line(out, &scripts)?;
        return Ok(ExitCode::SUCCESS);
    }
    for warning in &scripts.warnings {
        writeln!(out, "{warning}")?;
    }
    match scripts.bundle == scripts.before {
        true => writeln!(out, "Nothing has changed: {} is in force.", scripts.bundle)?,
        false => writeln!(out, "{} is in force, in place of {}.", scripts.bundle, scripts.before)?,
    }
    Ok(ExitCode::SUCCESS)
}
