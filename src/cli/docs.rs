//! `segue docs`: what scripts can use, for people and for editors.
//!
//! Not here: where the pages come from ([`crate::transform::reference`]).

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::stdout;
use crate::transform::{Helper, reference};

/// Print the reference of the helpers, or write it with the lints and the editor's definitions.
///
/// Everything comes from the tables that register the helpers and the lints, so it is what this
/// version really has. The file segue.d.rhai is for editors that speak the Rhai language server.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue docs --out reference")]
pub struct DocsArgs {
    /// Write helpers.md, lints.md and segue.d.rhai into this folder, instead of printing.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The helpers as JSON, for completion in tools of your own.
    #[arg(long, conflicts_with = "out")]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A file cannot be written.
pub fn run(args: &DocsArgs) -> anyhow::Result<ExitCode> {
    stdout::to_the_end(|out| execute(args, out))
}

fn execute(args: &DocsArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match &args.out {
        None if args.json => stdout::json_page(out, &as_json())?,
        None => out.write_all(reference::helpers_page().as_bytes())?,
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
            let files = [
                ("helpers.md", reference::helpers_page()),
                ("lints.md", reference::lints_page()),
                ("segue.d.rhai", reference::definitions()),
            ];
            for (name, text) in files {
                let file = folder.join(name);
                std::fs::write(&file, text)
                    .with_context(|| format!("{} cannot be written", file.display()))?;
                writeln!(out, "wrote {}", file.display())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json() -> serde_json::Value {
    let groups = reference::GROUPS.iter().flat_map(|(group, name)| {
        reference::helpers_of(*group).map(move |helper| {
            let Helper { name: helper_name, signature, doc, example, gives, arity, .. } = helper;
            json!({
                "group": name, "name": helper_name, "signature": signature, "doc": doc,
                "example": example, "gives": gives, "arguments": [arity.0, arity.1],
            })
        })
    });
    groups.collect()
}
