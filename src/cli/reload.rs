//! `segue reload`: brings changed scripts into force, or says what is wrong with them.
//!
//! Not here: how they are checked and exchanged ([`crate::transform::reload`]).

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::operator::{self, OperatorArgs};
use super::stdout;
use crate::admin::scripts::{InForce, Wanted};

/// Bring changed scripts into force, if they can be used.
///
/// Scripts that cannot be used change nothing: the ones before stay in force. With --back the scripts
/// in force are withdrawn, those before them come back, and what failed under them is sent again.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue reload --config segue.toml")]
pub struct ReloadArgs {
    /// Go back to the scripts that were in force before.
    #[arg(long, conflicts_with = "again")]
    back: bool,
    /// Take the scripts on disk even if they were withdrawn.
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Runs the command.
///
/// # Errors
/// No server is running, or the scripts cannot be used.
pub fn run(args: ReloadArgs) -> anyhow::Result<ExitCode> {
    stdout::to_stdout(|out| execute(&args, out))
}

pub(super) fn execute(args: &ReloadArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let wanted = Wanted { back: args.back, again: args.again };
    let scripts: InForce = operator::server(&args.operator)?.post("/api/reload", &wanted)?;
    if args.operator.json {
        stdout::json_line(out, &scripts)?;
        return Ok(ExitCode::SUCCESS);
    }
    for warning in &scripts.warnings {
        writeln!(out, "{warning}")?;
    }
    match scripts.bundle == scripts.before {
        true => writeln!(out, "Nothing has changed: {} is in force.", scripts.bundle)?,
        false => writeln!(out, "{} is in force, in place of {}.", scripts.bundle, scripts.before)?,
    }
    if args.back {
        let (before, redriven) = (&scripts.before, scripts.redriven);
        writeln!(
            out,
            "{before} is withdrawn; {redriven} events that failed under it are sent again so far, and \
             others as they fail."
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
