//! `segue health`: how well the server is, and how healthy the data is that comes in.
//!
//! Not here: what is looked for ([`crate::data_health`]).

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::operator::{self, OperatorArgs};
use super::stdout;
use super::table::{Table, printable};
use crate::admin::health::{Health, Status};
use crate::admin::runs::{DataReport, SourceData};
use crate::data_health::{FINDINGS, Figures};

/// Say how well the server is, and what is wrong with the data that comes in.
///
/// A table of what was found since the start, by source, with what to do about it: late and replayed
/// events, purchases out of order, orders without a number, visitors who are never joined to a person,
/// people with two ids or two e-mail addresses, wrong clocks. Copies that were left out are counted
/// since the journal began.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue health --config segue.toml")]
pub struct HealthArgs {
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Runs the command. Exits with 1 when no events are taken.
///
/// # Errors
/// No server is running.
pub fn run(args: HealthArgs) -> anyhow::Result<ExitCode> {
    stdout::to_stdout(|out| execute(&args, out))
}

#[derive(Serialize)]
struct Both {
    health: Health,
    data: DataReport,
}

pub(super) fn execute(args: &HealthArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let server = operator::server(&args.operator)?;
    let status: crate::admin::status::Status = server.get("/api/status", &[])?;
    let both = Both { health: status.health, data: server.get("/api/data-health", &[])? };
    if args.operator.json {
        stdout::json_line(out, &both)?;
    } else {
        write_health(&both.health, out)?;
        write_data(&both.data, out)?;
    }
    Ok(match both.health.status {
        Status::Ready | Status::Degraded => ExitCode::SUCCESS,
        Status::Unavailable => ExitCode::from(1),
    })
}

fn write_health(health: &Health, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "{}", health.status.as_str())?;
    for reason in &health.reasons {
        let lines: Vec<String> = reason.message.lines().map(printable).collect();
        writeln!(out, "  {}: {}", reason.code, lines.join("\n    "))?;
    }
    Ok(())
}

fn write_data(data: &DataReport, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "\nevents since {}", data.since)?;
    let mut ages = Table::new(&["SOURCE", "EVENTS", "HALF CAME WITHIN", "95 % WITHIN"]);
    for SourceData { source, found, .. } in &data.sources {
        let cells = [source.clone(), found.events.to_string(), age(found, 0.5), age(found, 0.95)];
        ages.add(cells.into());
    }
    write!(out, "{ages}")?;
    let mut table = Table::new(&["FOUND", "SOURCE", "COUNT", "WHAT TO DO"]);
    let mut any = false;
    for SourceData { source, duplicates, duplicate_keys, found } in &data.sources {
        let copies = [
            ("duplicates left out", *duplicates, "the sender repeats itself; nothing to do"),
            (
                "copies of orders left out",
                *duplicate_keys,
                "two sources say the same; nothing to do",
            ),
        ];
        let copies = copies.map(|(name, count, advice)| (name.to_owned(), count, advice));
        for (name, count, advice) in rows(found).into_iter().chain(copies) {
            if count > 0 {
                any = true;
                table.add(vec![name, source.clone(), count.to_string(), advice.to_owned()]);
            }
        }
    }
    match any {
        true => write!(out, "\n{table}")?,
        false => writeln!(out, "\nnothing was found")?,
    }
    Ok(())
}

/// What was found, with what to do about it.
pub(super) fn rows(found: &Figures) -> Vec<(String, u64, &'static str)> {
    let row = |finding: &crate::data_health::Finding| {
        (finding.name.replace('_', " "), finding.count(found), finding.advice)
    };
    FINDINGS.iter().map(row).collect()
}

/// How old this share of the events was at most when they came in.
pub(super) fn age(found: &Figures, share: f64) -> String {
    match found.age_of(share) {
        None if found.events == 0 => "-".into(),
        None => "more than 30 days".into(),
        Some(60) => "1 min".into(),
        Some(300) => "5 min".into(),
        Some(3600) => "1 h".into(),
        Some(86_400) => "1 day".into(),
        Some(secs) => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::health::Reason;

    #[test]
    fn a_reason_of_several_lines_is_shown_line_by_line() {
        let message = "the scripts cannot be used: a.rhai:3: no\n  3 | let\n\u{1b}[2J".into();
        let reason = Reason { code: "broken_scripts".into(), message };
        let health = Health { status: Status::Degraded, reasons: vec![reason] };
        let mut out = Vec::new();
        write_health(&health, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        degraded
          broken_scripts: the scripts cannot be used: a.rhai:3: no
              3 | let
            �[2J
        ");
    }

    #[test]
    fn what_was_found_stands_beside_what_to_do() {
        let found = Figures {
            events: 10,
            late: 2,
            orders_without_id: 1,
            ages: [8, 0, 1, 1, 0, 0, 0],
            ..Figures::default()
        };
        let web = SourceData { source: "web".into(), duplicates: 3, duplicate_keys: 0, found };
        let data = DataReport { since: "2026-01-15T12:00:00.000Z".into(), sources: vec![web] };
        let mut out = Vec::new();
        write_data(&data, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"

        events since 2026-01-15T12:00:00.000Z
        SOURCE  EVENTS  HALF CAME WITHIN  95 % WITHIN
        web     10      1 min             1 day

        FOUND                SOURCE  COUNT  WHAT TO DO
        order without id     web     1      send order_id: without it the same order from two sources counts twice
        late                 web     2      the guard parks what would remind of old carts; find out what holds the sender up
        duplicates left out  web     3      the sender repeats itself; nothing to do
        ");
    }
}
