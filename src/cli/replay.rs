//! `segue replay`: recorded events through the pipeline; a plan first, and sent only when told so.
//!
//! Not here: reading recordings ([`crate::fixture::bodies`]).

mod against;
mod people;
mod plan;
mod progress;
mod renew;
mod send;

use std::fs::File;
use std::io::{IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use self::people::People;
use self::progress::Progress;
use self::renew::{Preparation, Renewal};
use super::operator::OperatorArgs;
use super::{offline, runs, stdout};
use crate::config::{Config, DestinationKind};
use crate::fixture::bodies::Bodies;
use crate::fixture::{Setup, suite};
use crate::journal::sqlite::Base;

/// Take recorded events through the pipeline: what would be sent, dropped, parked, and what would
/// fire.
///
/// Reads events, lists, batches and NDJSON, also gzip. Without --send nothing leaves the machine. The
/// plan starts from an empty journal; with --data-dir it knows what that Segue has seen, and with
/// --people whom the workspace has. With --send the plan comes first too. A replay with a name that was
/// stopped or killed goes on where it was when it is started again in the same folder:
/// segue-replay-NAME.json remembers.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  segue replay fixtures/payloads/last_week.ndjson --as-replay january"
)]
pub struct ReplayArgs {
    /// The recordings; - for stdin.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The source they belong to. Default: the one that --send names, else the first of the configuration.
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
    /// Make it a rehearsal: times move so that the newest is now and the gaps stay, people, messages,
    /// orders and devices get new ids with this name in them.
    #[arg(long, value_name = "RUN", conflicts_with = "as_replay")]
    as_new: Option<String>,
    /// The people whom the workspace has: ids or e-mail addresses, one on a line or in the first column.
    /// The plan then says who would be new.
    #[arg(long, value_name = "FILE")]
    people: Option<PathBuf>,
    /// The data folder of the Segue that it is for, which may be running: it is only looked into. The plan
    /// then knows which events were seen before, who is who, and whom that Segue has identified.
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Leave out everybody who is neither in the list of people nor known to the journal of --data-dir,
    /// and visitors who were not seen with any of those.
    #[arg(long)]
    existing_only: bool,
    /// The plan as JSON.
    #[arg(long, conflicts_with = "send")]
    json: bool,
    /// Send it to a running Segue, as in http://127.0.0.1:8080/webhook/web.
    #[arg(long, value_name = "URL")]
    send: Option<String>,
    /// Send the events as if they were fresh: they may start campaigns.
    #[arg(long, requires = "send", conflicts_with_all = ["as_replay", "as_new"])]
    as_live: bool,
    /// Send without a plan before.
    #[arg(long, requires = "send")]
    no_plan: bool,
    /// Do not ask.
    #[arg(long, requires = "send")]
    yes: bool,
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
        (Some(url), _) => stdout::to_the_end(|out| send_all(args, url, out)),
        (None, Some(against)) => against::run(args, against),
        (None, None) => plan_all(args),
    }
}

/// The plan of what `prepared` leaves.
fn make_plan(args: &ReplayArgs, prepared: &Preparation) -> anyhow::Result<plan::Plan> {
    let offline = offline::load(args.config.as_deref())?;
    let bundle = offline::load_bundle(&offline.config, args.transforms.as_deref())?;
    let source = source_of(args, &offline.config)?;
    let now = offline::moment(args.at.as_deref())?;
    let setup = Setup { base: prepared.journal(), ..Setup::new(&offline.config, bundle) };
    let progress = progress_of(&args.files);
    let mut plan = suite::on_script_thread(|| {
        let planner = plan::Planner::new(&setup, now, &source, args.as_replay.as_deref())?;
        let mut planner = planner.knowing(prepared.people());
        for file in &args.files {
            for body in Bodies::read(open(file, &progress)?)? {
                if let Some(body) = prepared.apply(body.with_context(|| shown(file))?)? {
                    planner.take(body, args.skip)?;
                }
            }
        }
        planner.finish()
    })?;
    progress.finish_and_clear();
    plan.configuration = offline.name();
    Ok(plan)
}

/// The source that the events are planned for: the one that is named, or that they are sent to.
fn source_of(args: &ReplayArgs, config: &Config) -> anyhow::Result<String> {
    match (args.source.as_deref(), args.send.as_deref().and_then(send::source_in)) {
        (None, Some(name)) => offline::choose_source(config, Some(&name)).with_context(|| {
            format!(
                "the plan needs the configuration of the Segue that has the source {name:?}: give it with \
                 --config, or a source that is like it with --source"
            )
        }),
        (named, _) => offline::choose_source(config, named),
    }
}

fn plan_all(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let plan = make_plan(args, &preparation(args)?)?;
    stdout::to_stdout(|out| {
        match args.json {
            true => stdout::json_page(out, &plan)?,
            false => out.write_all(plan.text().as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What is done to the events first: who passes, and what is made new.
fn preparation(args: &ReplayArgs) -> anyhow::Result<Preparation> {
    let journal = args.data_dir.as_deref().map(Base::open).transpose()?.map(Arc::new);
    let now = offline::moment(args.at.as_deref())?;
    let people = People::of(args.people.as_deref(), journal, now)?;
    if args.existing_only && people.is_none() {
        bail!(
            "--existing-only must know who exists: give a list of people (--people FILE), or the data \
             folder of the Segue that knows them (--data-dir FOLDER)"
        );
    }
    let renewal = match &args.as_new {
        None => None,
        Some(run) => {
            let progress = progress_of(&args.files);
            let mut newest = None;
            for file in &args.files {
                if file == Path::new("-") {
                    bail!("--as-new reads the recordings twice: give a file instead of stdin");
                }
                for body in Bodies::read(open(file, &progress)?)? {
                    newest = newest.max(renew::newest(&body.with_context(|| shown(file))?));
                }
            }
            progress.finish_and_clear();
            newest.map(|newest| Renewal::new(run, newest, now))
        }
    };
    Ok(Preparation::new(people, args.existing_only, renewal))
}

fn send_all(args: &ReplayArgs, url: &str, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    if args.rate == 0 {
        bail!("--rate must be at least 1");
    }
    if args.as_replay.is_none() && args.as_new.is_none() && !args.as_live {
        bail!(
            "say what is sent: a replay of the past (--as-replay NAME), a rehearsal (--as-new RUN), or \
             events that may do all that fresh ones may (--as-live)"
        );
    }
    let note = progress_note(args, url)?;
    let prepared = preparation(args)?;
    let skip = note.as_ref().map_or(0, Progress::sent).max(args.skip);
    match skip {
        0 => {
            let is_stdin = args.files.iter().any(|file| file == Path::new("-"));
            if !args.no_plan && !is_stdin {
                let plan = make_plan(args, &prepared)?;
                write!(out, "{}", plan.text())?;
                let seconds = plan.events().div_ceil(u64::from(args.rate));
                writeln!(out, "Sending takes about {seconds} s at --rate {}.\n", args.rate)?;
            }
        }
        _ => writeln!(out, "Going on behind the {skip} events that were sent before.")?,
    }
    if !may_go_on(args, url, out)? {
        writeln!(out, "Nothing was sent.")?;
        return Ok(ExitCode::from(1));
    }
    let sent = send_prepared(args, url, &prepared, (skip, note))?;
    writeln!(out, "{sent} events sent to {url}")?;
    if let Some(name) = &args.as_replay {
        write!(out, "{}", closing_table(args, name))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn send_prepared(
    args: &ReplayArgs,
    url: &str,
    prepared: &Preparation,
    (skip, note): (u64, Option<Progress>),
) -> anyhow::Result<u64> {
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
    let progress = progress_of(&args.files);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sent = runtime.block_on(async {
        let mut sender = send::Sender::new(&target, skip, note)?;
        for file in &args.files {
            for body in Bodies::read(open(file, &progress)?)? {
                if let Some(body) = prepared.apply(body.with_context(|| shown(file))?)? {
                    sender.take(body).await?;
                }
            }
        }
        sender.finish().await
    })?;
    progress.finish_and_clear();
    Ok(sent)
}

/// The note of how far this replay came; none where it could not be gone on with.
fn progress_note(args: &ReplayArgs, url: &str) -> anyhow::Result<Option<Progress>> {
    // A rehearsal moves with the time at which it begins.
    let Some(name) = &args.as_replay else { return Ok(None) };
    // Whom the journal knows changes meanwhile, and with it which events there are to count. It begins
    // again; what was sent is recognised.
    if args.existing_only && args.data_dir.is_some() {
        return Ok(None);
    }
    let mut of = vec![url.to_owned(), name.clone(), args.skip.to_string()];
    for file in &args.files {
        if file == Path::new("-") {
            return Ok(None);
        }
        let whole = std::fs::canonicalize(file).with_context(|| shown(file))?;
        let size = std::fs::metadata(&whole).with_context(|| shown(file))?.len();
        of.push(format!("{} {size}", whole.display()));
    }
    let known = args.people.iter().chain(&args.data_dir);
    of.extend(known.map(|place| place.display().to_string()));
    of.push(args.existing_only.to_string());
    Progress::open(Path::new("."), name, of).map(Some)
}

/// Asks whoever sits there. A rehearsal into a real workspace is never begun unasked.
fn may_go_on(args: &ReplayArgs, url: &str, out: &mut dyn Write) -> anyhow::Result<bool> {
    let config = offline::load(args.config.as_deref())?.config;
    let is_real = config.destination == DestinationKind::Customerio;
    let is_terminal = std::io::stdin().is_terminal();
    let is_risky = args.as_new.is_some() && is_real;
    match (args.yes, is_terminal, is_risky) {
        (true, ..) | (_, false, false) => return Ok(true),
        (_, false, true) => bail!(
            "--as-new makes new people, and this configuration sends to a real workspace; add --yes if \
             that is meant"
        ),
        (_, true, _) => {}
    }
    let warning = match is_risky {
        true => " It makes new people in a REAL workspace.",
        false => "",
    };
    write!(out, "Send it to {url}?{warning} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What became of it so far, where the server can be asked.
fn closing_table(args: &ReplayArgs, name: &str) -> String {
    let operator = OperatorArgs { config: args.config.clone(), ..OperatorArgs::default() };
    let known = runs::ask_server(&operator).unwrap_or_default();
    match known.iter().find(|run| run.name == *name) {
        Some(run) => runs::text(run),
        None => format!("segue runs {name} says what became of them, beside the server\n"),
    }
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
