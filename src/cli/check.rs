//! `segue check`: whether scripts, tables and configuration can be used, and what will surprise.
//!
//! Not here: what is checked ([`crate::transform`], [`crate::config`]).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::offline::{self, Offline};
use super::stdout;
use crate::config::{ConfigError, Overrides};
use crate::transform::{Bundle, Diagnostic, Severity, lints, reference};

/// Check scripts, tables and configuration. Needs no secret and talks to nobody.
///
/// Exits with 1 when something cannot be used, or on warnings with --deny-warnings.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue check transforms")]
pub struct CheckArgs {
    /// The folder of the scripts, or one with a segue.toml. Default: what the configuration says.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The configuration file. Default: segue.toml, where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Warnings count as errors.
    #[arg(long)]
    deny_warnings: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Say what a lint is about, with an example of the mistake and of what is right.
    #[arg(long, value_name = "CODE", exclusive = true)]
    explain: Option<String>,
}

/// What was found.
struct Found {
    config: Result<Offline, ConfigError>,
    scripts: String,
    bundle: Option<Bundle>,
    findings: Vec<Diagnostic>,
}

/// Runs the command.
///
/// # Errors
/// Nothing that is a finding; only output that cannot be written, or a lint that is not there.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    stdout::to_the_end(|out| execute(args, out))
}

fn execute(args: &CheckArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    if let Some(code) = &args.explain {
        return explain(code, out);
    }
    let found = check(args);
    if args.json {
        stdout::json_page(out, &as_json(&found))?;
    } else {
        write_found(&found, out)?;
    }
    let warned = found.findings.iter().any(|finding| finding.severity == Severity::Warning);
    let unusable = found.config.is_err() || found.bundle.is_none();
    Ok(if unusable || (args.deny_warnings && warned) {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

fn explain(code: &str, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let found = lints().iter().find(|lint| lint.code.eq_ignore_ascii_case(code.trim()));
    let Some(lint) = found else {
        let known: Vec<&str> = lints().iter().map(|lint| lint.code).collect();
        anyhow::bail!("there is no lint {code}; there are {}", known.join(", "));
    };
    out.write_all(reference::lint_page(lint).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn check(args: &CheckArgs) -> Found {
    let own_config =
        args.dir.as_ref().map(|dir| dir.join("segue.toml")).filter(|file| file.is_file());
    let is_project = own_config.is_some();
    let file = args.config.clone().or(own_config);
    let config = offline::load_with(file.as_deref(), &Overrides::default());
    let configured = config.as_ref().ok().map(|offline| offline.config.transforms.clone());
    let folder = match &args.dir {
        Some(dir) if !is_project => Some(dir.clone()),
        _ => configured.filter(|folder| folder.is_dir()),
    };
    let scripts = folder.as_deref().unwrap_or(Path::new("(shipped)")).display().to_string();
    let bundle = match &folder {
        Some(folder) => Bundle::load(folder),
        None => Bundle::shipped(),
    };
    match bundle {
        Ok(bundle) => {
            let mut findings = bundle.warnings().to_vec();
            if bundle.stages().is_empty() {
                let message = format!("there is no script in {scripts}: events go on as they came");
                findings.push(Diagnostic::error("", message).as_warning());
            }
            Found { config, scripts, bundle: Some(bundle), findings }
        }
        Err(findings) => Found { config, scripts, bundle: None, findings },
    }
}

fn write_found(found: &Found, out: &mut dyn Write) -> anyhow::Result<()> {
    for finding in &found.findings {
        writeln!(out, "{finding}\n")?;
    }
    match &found.config {
        Ok(offline) => {
            let file = offline
                .file
                .as_ref()
                .map_or_else(|| "built-in defaults".into(), |file| file.display().to_string());
            writeln!(
                out,
                "configuration  {file}: usable, {} sources",
                offline.config.source.len()
            )?;
            for variable in &offline.unset {
                writeln!(out, "               {variable} is not set here; serve will need it")?;
            }
        }
        Err(error) => writeln!(out, "configuration  {error}")?,
    }
    let count =
        |severity| found.findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    match &found.bundle {
        Some(bundle) => {
            let tables = bundle.files().filter(|(path, _)| path.starts_with("data/")).count();
            let (stages, schemas) = (bundle.stages().len(), bundle.contracts().all().len());
            writeln!(
                out,
                "scripts        {} ({}): usable, {stages} stages, {tables} tables, {schemas} schemas, {warnings} warnings",
                found.scripts,
                bundle.hash()
            )?;
        }
        None => {
            writeln!(
                out,
                "scripts        {}: {errors} errors, {warnings} warnings",
                found.scripts
            )?;
        }
    }
    Ok(())
}

fn as_json(found: &Found) -> Value {
    let finding = |finding: &Diagnostic| {
        json!({
            "severity": match finding.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "code": finding.code,
            "file": finding.file,
            "line": finding.line,
            "column": finding.column,
            "message": finding.message,
            "hint": finding.hint,
            "corrected": finding.corrected,
            "source_line": finding.source_line,
        })
    };
    let config = match &found.config {
        Ok(offline) => json!({ "usable": true, "file": offline.file, "unset": offline.unset }),
        Err(error) => {
            json!({ "usable": false, "file": error.file, "line": error.line, "message": error.message })
        }
    };
    json!({
        "config": config,
        "scripts": {
            "usable": found.bundle.is_some(),
            "folder": found.scripts,
            "bundle": found.bundle.as_ref().map(Bundle::hash),
            "findings": found.findings.iter().map(finding).collect::<Vec<_>>(),
        },
    })
}
