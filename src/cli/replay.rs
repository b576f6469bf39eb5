//! `segue replay`: recorded events through the pipeline; a plan first, and sent only when told so.
//!
//! Not here: reading recordings ([`crate::fixture::bodies`]).

mod against;
mod plan;
mod send;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::offline;
use crate::fixture::bodies::Bodies;
use crate::fixture::{Setup, suite};

/// Take recorded events through the pipeline: what would be sent, dropped, parked, and what would
/// fire.
///
/// Reads events, lists, batches and NDJSON, also gzip. Without --send nothing leaves the machine, and
/// the plan knows neither what Segue's journal nor what the workspace holds.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  segue replay fixtures/payloads/last_week.ndjson --as-replay january"
)]
pub struct ReplayArgs {
    /// The recordings; - for stdin.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The source they belong to. Default: the first of the configuration.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The configuration file. Default: segue.toml, where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The scripts. Default: those of the configuration.
    #[arg(long, value_name = "DIR")]
    transforms: Option<PathBuf>,
    /// Plan as if they came in at this time. Default: now.
    #[arg(long, value_name = "TIME", conflicts_with = "send")]
    at: Option<String>,
    /// Mark all of it as a replay of this name.
    #[arg(long, value_name = "NAME")]
    as_replay: Option<String>,
    /// The plan as JSON.
    #[arg(long, conflicts_with = "send")]
    json: bool,
    /// Send it to a running Segue, as in http://127.0.0.1:8080/webhook/web.
    #[arg(long, value_name = "URL")]
    send: Option<String>,
    /// Events per second to send.
    #[arg(long, value_name = "EVENTS", default_value_t = 200, requires = "send")]
    rate: u32,
    /// Leave out this many events at the beginning: where an earlier run stopped.
    #[arg(long, value_name = "EVENTS", default_value_t = 0)]
    skip: u64,
    /// The source's token. Default: the variable SEGUE_TOKEN.
    #[arg(long, value_name = "TOKEN", requires = "send")]
    token: Option<String>,
    /// A write key of the source. Default: the variable SEGUE_WRITE_KEY.
    #[arg(long, value_name = "KEY", requires = "send")]
    write_key: Option<String>,
    /// The secret by which webhooks are signed. Default: the variable SEGUE_WEBHOOK_SECRET.
    #[arg(long, value_name = "SECRET", requires = "send")]
    webhook_secret: Option<String>,
    #[command(flatten)]
    compare: against::AgainstArgs,
}

/// Runs the command.
///
/// # Errors
/// A file, the configuration or the scripts cannot be used, or sending fails for good.
pub fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    match (&args.send, &args.compare.against) {
        (Some(url), _) => send_all(args, url),
        (None, Some(against)) => against::run(args, against),
        (None, None) => plan_all(args),
    }
}

fn plan_all(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let offline = offline::load(args.config.as_deref())?;
    let bundle = offline::load_bundle(&offline.config, args.transforms.as_deref())?;
    let source = offline::choose_source(&offline.config, args.source.as_deref())?;
    let now = offline::moment(args.at.as_deref())?;
    let setup = Setup::new(&offline.config, bundle);
    let progress = progress_of(&args.files);
    let plan = suite::on_script_thread(|| {
        let mut planner = plan::Planner::new(&setup, now, &source, args.as_replay.as_deref())?;
        for file in &args.files {
            let bodies = Bodies::read(open(file, &progress)?)?;
            for body in bodies {
                planner.take(body.with_context(|| shown(file))?, args.skip)?;
            }
        }
        planner.finish()
    })?;
    progress.finish_and_clear();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&plan)?);
    } else {
        print!("{}", plan.text());
    }
    Ok(ExitCode::SUCCESS)
}

fn send_all(args: &ReplayArgs, url: &str) -> anyhow::Result<ExitCode> {
    let secret = |given: &Option<String>, variable: &str| {
        given.clone().or_else(|| std::env::var(variable).ok()).filter(|secret| !secret.is_empty())
    };
    let target = send::Target {
        url: url.to_owned(),
        replay: args.as_replay.clone(),
        token: secret(&args.token, "SEGUE_TOKEN"),
        write_key: secret(&args.write_key, "SEGUE_WRITE_KEY"),
        webhook_secret: secret(&args.webhook_secret, "SEGUE_WEBHOOK_SECRET"),
        rate: args.rate,
    };
    if args.rate == 0 {
        bail!("--rate must be at least 1");
    }
    let progress = progress_of(&args.files);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sent = runtime.block_on(async {
        let mut sender = send::Sender::new(&target, args.skip)?;
        for file in &args.files {
            let bodies = Bodies::read(open(file, &progress)?)?;
            for body in bodies {
                sender.take(body.with_context(|| shown(file))?).await?;
            }
        }
        sender.finish().await
    })?;
    progress.finish_and_clear();
    println!("{sent} events sent to {url}");
    Ok(ExitCode::SUCCESS)
}

/// A bar over the bytes of all files; without their number where stdin is one of them.
fn progress_of(files: &[PathBuf]) -> ProgressBar {
    let sizes: Option<u64> =
        files.iter().map(|file| std::fs::metadata(file).ok().map(|facts| facts.len())).sum();
    match sizes {
        Some(total) => {
            let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {eta}");
            ProgressBar::new(total)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        }
        None => ProgressBar::new_spinner(),
    }
}

fn open(file: &Path, progress: &ProgressBar) -> anyhow::Result<Box<dyn Read + Send>> {
    if file == Path::new("-") {
        return Ok(Box::new(progress.wrap_read(std::io::stdin())));
    }
    let opened = File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(Box::new(progress.wrap_read(opened)))
}

fn shown(file: &Path) -> String {
    format!("{} cannot be read", file.display())
}
