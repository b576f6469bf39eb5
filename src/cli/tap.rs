//! `segue tap`: events of a running server as they pass, before and after.
//!
//! Not here: what is shown of them ([`crate::admin::tap`]).

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::operator::{self, OperatorArgs};
use super::stdout;
use super::table::printable;
use crate::admin::tap::Tapped;
use crate::fixture::layout;

/// Characters of a value.
const LONGEST: usize = 100;

/// Watch events as they pass: how they came, what each stage of the scripts changed, how they ended.
///
/// The server never waits for this: who looks too slowly misses events, and is told how many. Repeated
/// messages, which are recognised when they come in, are not shown. Values that say who somebody is are
/// hidden unless --unmasked.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue tap --source web --outcome dead_lettered --limit 10")]
pub struct TapArgs {
    /// Only of this source.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only events of this name, in any spelling; * at the end stands for any rest.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only events that this stage changed, dropped or failed on: a script, guard, mapping, delivery, …
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
    /// Only events that end like this: delivered, dropped, dead_lettered, parked, retry, or a reason.
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Show values that say who somebody is.
    #[arg(long)]
    unmasked: bool,
    /// Show the whole event before and after, not only what changed.
    #[arg(long)]
    full: bool,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Runs the command until it is stopped, the limit is reached, or the server ends.
///
/// # Errors
/// No server can be reached, or several taps are open already.
pub fn run(args: TapArgs) -> anyhow::Result<ExitCode> {
    stdout::to_stdout(|out| execute(&args, out))
}

pub(super) fn execute(args: &TapArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let server = operator::server(&args.operator)?;
    let query = [
        ("source", args.source.clone()),
        ("event", args.event.clone()),
        ("stage", args.stage.clone()),
        ("outcome", args.outcome.clone()),
        ("unmasked", args.unmasked.then(|| "true".into())),
    ];
    let mut left = args.limit.unwrap_or(u64::MAX);
    server.lines("/api/tap", &query, |line| {
        let value: Value = serde_json::from_str(line)?;
        if let Some(missed) = value.get("missed") {
            eprintln!("{missed} events passed unseen");
            return Ok(true);
        }
        if args.operator.json {
            writeln!(out, "{line}")?;
        } else {
            write_event(&serde_json::from_value(value)?, args.full, out)?;
        }
        out.flush()?;
        left -= 1;
        Ok(left > 0)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn write_event(event: &Tapped, full: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let time = event.at.split_once('T').map_or(event.at.as_str(), |(_, time)| time);
    let mut ending = event.outcome.clone();
    for (before, word) in [(": ", &event.reason), (" in ", &event.ended_in)] {
        if !word.is_empty() {
            ending += before;
            ending += word;
        }
    }
    let operations = match event.operations.is_empty() {
        true => String::new(),
        false => format!(" ({})", event.operations.join(", ")),
    };
    writeln!(
        out,
        "{}",
        printable(&format!(
            "{time}  {}  {}  {}  {} {} → {ending}{operations}",
            event.source, event.event, event.message_id, event.class, event.action
        ))
    )?;
    for stage in &event.stages {
        let text = |name: &str| stage.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut label = format!("{} {}", text("stage"), text("outcome"));
        if !text("reason").is_empty() {
            label = format!("{label}: {}", text("reason"));
        }
        writeln!(out, "    {}", printable(&label))?;
        for change in stage.get("changes").and_then(Value::as_array).into_iter().flatten() {
            let value = |name: &str| match change.get(name) {
                None | Some(Value::Null) => "nothing".into(),
                Some(value) => cut(&layout::flat(value)),
            };
            let path = change.get("path").and_then(Value::as_str).unwrap_or_default();
            let line = format!("{path}: {} → {}", value("old"), value("new"));
            writeln!(out, "      {}", printable(&line))?;
        }
        if let Some(error) = stage.get("error").filter(|error| !error.is_null()) {
            let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
            writeln!(out, "      {}", printable(message))?;
        }
    }
    if full {
        writeln!(out, "    before {}", printable(&layout::flat(&event.before)))?;
        for after in &event.after {
            writeln!(out, "    after  {}", printable(&layout::flat(after)))?;
        }
    }
    Ok(())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
