//! `segue runs`: what became of replays, by their names.
//!
//! Not here: what became of single events of a replay ([`super::why`] with its name).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::health;
use super::operator::{self, OperatorArgs, Reach};
use super::stdout;
use super::table::{Table, printable};
use crate::admin::runs::{self, Run};
use crate::journal::Journal;

/// Say what became of replays, by the names that they were given.
///
/// Counts survive restarts; what was found in the data is known since the start of the server.
/// `segue why NAME` lists the newest events of a replay one by one.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue runs january")]
pub struct RunsArgs {
    /// Only the replay of this name.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Runs the command. Exits with 1 when no such replay is known.
///
/// # Errors
/// Neither a server nor its journal can be reached.
pub fn run(args: RunsArgs) -> anyhow::Result<ExitCode> {
    stdout::to_stdout(|out| execute(&args, out))
}

pub(super) fn execute(args: &RunsArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut known = ask(&args.operator)?;
    known.retain(|run| args.name.as_ref().is_none_or(|name| *name == run.name));
    if args.operator.json {
        known.iter().try_for_each(|run| stdout::json_line(out, run))?;
    } else {
        match (&args.name, known.as_slice()) {
            (Some(name), []) => writeln!(out, "No replay of the name {name:?} came in.")?,
            (None, []) => writeln!(out, "No replay with a name came in.")?,
            (Some(_), [run]) => write!(out, "{}", text(run))?,
            _ => write!(out, "{}", table(&known))?,
        }
    }
    Ok(if known.is_empty() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The replays that the server, or its journal, knows.
pub(super) fn ask(operator: &OperatorArgs) -> anyhow::Result<Vec<Run>> {
    match operator::reach(operator)? {
        Reach::Server(server) => server.get("/api/runs", &[]),
        Reach::Folder(journal) => {
            let known = runs::runs(&journal.totals(), None);
            operator::close(&journal)?;
            Ok(known)
        }
    }
}

/// The replays that a running server knows.
pub(super) fn ask_server(operator: &OperatorArgs) -> anyhow::Result<Vec<Run>> {
    operator::server(operator)?.get("/api/runs", &[])
}

fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

fn table(runs: &[Run]) -> Table {
    let mut table = Table::new(&[
        "RUN",
        "ACCEPTED",
        "REDRIVEN",
        "DELIVERED",
        "DROPPED",
        "DEAD LETTERS",
        "PENDING",
    ]);
    for run in runs {
        let (dropped, dead) = (sum(&run.dropped), sum(&run.dead_lettered));
        let counts = [run.accepted, run.redriven, run.delivered, dropped, dead, run.pending];
        let cells = std::iter::once(printable(&run.name));
        table.add(cells.chain(counts.map(|count| count.to_string())).collect());
    }
    table
}

/// One replay with everything that is known of it.
pub(super) fn text(run: &Run) -> String {
    let mut rows: Vec<(u64, String)> = vec![
        (run.accepted, "accepted".into()),
        (run.redriven, "redriven".into()),
        (run.delivered, "delivered".into()),
    ];
    let reasons = |outcome: &'static str, counts: &BTreeMap<String, u64>| -> Vec<(u64, String)> {
        counts.iter().map(|(reason, count)| (*count, format!("{outcome} {reason}"))).collect()
    };
    rows.extend(reasons("dropped", &run.dropped));
    rows.extend(reasons("dead_lettered", &run.dead_lettered));
    rows.push((run.pending, "pending: parked, or on their way".into()));
    let mut text = format!("replay {}\n", printable(&run.name));
    let mut add = |count: u64, what: &str| {
        if count > 0 {
            let _ = writeln!(text, "  {count:>9}  {what}");
        }
    };
    rows.iter().for_each(|(count, what)| add(*count, what));
    if let Some(found) = &run.data {
        for (name, count, advice) in health::rows(found) {
            add(count, &format!("{name}: {advice}"));
        }
        let _ = writeln!(text, "  95 % came within {} of happening", health::age(found, 0.95));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_is_told_with_its_reasons() {
        let run = Run {
            name: "january".into(),
            accepted: 9,
            redriven: 1,
            delivered: 6,
            dropped: BTreeMap::from([("duplicate".into(), 1)]),
            dead_lettered: BTreeMap::from([("rejected".into(), 1)]),
            pending: 2,
            ..Run::default()
        };
        assert_eq!(
            text(&run),
            "replay january\n          9  accepted\n          1  redriven\n          6  delivered\n          \
             1  dropped duplicate\n          1  dead_lettered rejected\n          \
             2  pending: parked, or on their way\n"
        );
        let row = "january  9         1         6          1        1             2";
        let table = table(&[run]).to_string();
        assert!(table.contains(row), "{table}");
    }
}
