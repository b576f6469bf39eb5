//! `segue dead-letters`: what could not be sent, why, and on its way again after the fix.
//!
//! Not here: how dead letters are found and put back ([`crate::admin::dead_letters`]), who is asked for
//! them ([`desk`]).

mod desk;
mod rehearsal;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use self::desk::Desk;
use super::operator::OperatorArgs;
use super::recorded::write_all;
use super::stdout;
use super::table::{Table, printable};
use crate::admin::AdminError;
use crate::admin::dead_letters::{LONGEST_PAGE, Letter, PAGE, Page, Redrive, Row, Selection};

/// List, show and redrive what could not be sent.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue dead-letters list --since 24h")]
pub struct DeadLettersArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(ListArgs),
    Show(ShowArgs),
    Export(ExportArgs),
    Redrive(RedriveArgs),
}

/// Print dead letters with their originals, one JSON object a line.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue dead-letters export --reason script_failed --originals")]
struct ExportArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Only the originals as they were received, without why they died: what `segue replay` reads.
    #[arg(long)]
    originals: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// List dead letters, oldest first, without their payload.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue dead-letters list --reason script_failed --since 24h")]
struct ListArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = PAGE)]
    limit: usize,
    /// All of them.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Show one dead letter with its payload. Exits with 1 when there is none of this number.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue dead-letters show 1042")]
struct ShowArgs {
    /// Its number, as the list shows it.
    seq: u64,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Send dead letters on their way again, with the scripts and the configuration of now.
///
/// They go to the end of their queue, with the class that they had. Damaged ones stay. With --dry-run
/// nothing is touched: it says what would happen to them now.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  segue dead-letters redrive --reason script_failed --source web --dry-run"
)]
struct RedriveArgs {
    /// Only the one with this number.
    seq: Option<u64>,
    #[command(flatten)]
    which: WhichArgs,
    /// At most so many, the oldest first.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// All of them, when nothing else says which.
    #[arg(long)]
    all: bool,
    /// No more than so many a second. Without it, all at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Only say what would happen to them now, with the scripts and the configuration of here.
    #[arg(long, conflicts_with = "rate")]
    dry_run: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Which dead letters.
#[derive(Args, Clone, Debug, Default)]
struct WhichArgs {
    /// Only of this reason, as the list shows it.
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Only of this source.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only those that died under the scripts with this hash.
    #[arg(long, value_name = "HASH")]
    bundle: Option<String>,
    /// Only those that died since: 2026-01-15T12:00:00Z, or 24h for a day ago.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those that died before.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Neither a server nor its journal can be reached, or what is asked for cannot be meant.
pub fn run(args: DeadLettersArgs) -> anyhow::Result<ExitCode> {
    stdout::to_stdout(|out| execute(args, out))
}

pub(super) fn execute(args: DeadLettersArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List(args) => list(args, out),
        Action::Show(args) => show(&args, out),
        Action::Export(args) => export(args, out),
        Action::Redrive(args) => redrive(args, out),
    }
}

fn list(args: ListArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let desk = Desk::reach(&args.operator)?;
    let selection = args.which.selection(None);
    let most = if args.all { usize::MAX } else { args.limit };
    let (mut after, mut shown) = (None, 0);
    loop {
        let page = desk.page(&selection, after, (most - shown).min(LONGEST_PAGE))?;
        write_page(&page, shown == 0, args.operator.json, out)?;
        shown += page.dead_letters.len();
        after = page.next;
        if after.is_none() || shown >= most {
            break;
        }
    }
    if !args.operator.json {
        match (shown, after) {
            (0, _) => writeln!(out, "No dead letters.")?,
            (_, Some(_)) => writeln!(
                out,
                "\n{shown} shown, and there are more: --limit N, --all, or a filter."
            )?,
            (_, None) => {
                writeln!(out, "\n{shown} shown. One with its payload: segue dead-letters show SEQ")?
            }
        }
    }
    desk.leave()?;
    Ok(ExitCode::SUCCESS)
}

fn show(args: &ShowArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let desk = Desk::reach(&args.operator)?;
    let letter = desk.letter(args.seq)?;
    desk.leave()?;
    let Some(letter) = letter else { return unknown(args.seq, args.operator.json, out) };
    if args.operator.json {
        stdout::json_line(out, &letter)?;
    } else {
        write_letter(&letter, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn export(args: ExportArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let desk = Desk::reach(&args.operator)?;
    let selection = args.which.selection(None);
    write_all(|after| desk.originals(&selection, after), args.originals, out)?;
    desk.leave()?;
    Ok(ExitCode::SUCCESS)
}

fn redrive(args: RedriveArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let desk = Desk::reach(&args.operator)?;
    let filter = args.which.selection(args.seq);
    let request = Redrive { filter, max: args.limit, all: args.all };
    if args.dry_run {
        let originals = desk.chosen(&request)?;
        desk.leave()?;
        if let (Some(seq), []) = (args.seq, originals.as_slice()) {
            return unknown(seq, args.operator.json, out);
        }
        return rehearsal::report(&args.operator, originals, out);
    }
    let done = match args.rate {
        Some(rate) => desk.redrive_paced(request, rate)?,
        None => desk.redrive(&request)?,
    };
    let later = !desk.is_served();
    desk.leave()?;
    if args.operator.json {
        stdout::json_line(out, &done)?;
    }
    if let (Some(seq), 0) = (args.seq, done.redriven) {
        return unknown(seq, args.operator.json, out);
    }
    if args.operator.json {
        return Ok(ExitCode::SUCCESS);
    }
    match done.redriven {
        0 => writeln!(out, "No dead letter is meant by that.")?,
        1 => writeln!(out, "1 dead letter is back in its queue.")?,
        count => writeln!(out, "{count} dead letters are back in their queues.")?,
    }
    if later && done.redriven > 0 {
        writeln!(out, "It goes on when Segue starts.")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says that there is none of this number, or none that could go back: nothing known is a finding.
fn unknown(seq: u64, json: bool, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    if !json {
        writeln!(out, "{}", AdminError::NoSuchDeadLetter(seq))?;
    }
    Ok(ExitCode::from(1))
}

impl WhichArgs {
    fn selection(self, seq: Option<u64>) -> Selection {
        let Self { reason, source, bundle, since, until } = self;
        Selection { seq, code: reason, source, bundle, since, until }
    }
}

fn write_page(page: &Page, is_first: bool, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if json {
        return page.dead_letters.iter().try_for_each(|row| stdout::json_line(out, row));
    }
    if page.dead_letters.is_empty() {
        return Ok(());
    }
    let headings = ["SEQ", "DIED", "REASON", "SOURCE", "EVENT", "MESSAGE", "WHAT HAPPENED"];
    let mut table = if is_first { Table::new(&headings) } else { Table::without_headings() };
    for row in &page.dead_letters {
        let Row { seq, died_at, reason, source, event, message_id, message, .. } = row;
        let texts = [died_at, reason, source, event, message_id, message].map(String::clone);
        table.add(std::iter::once(seq.to_string()).chain(texts).collect());
    }
    write!(out, "{table}")?;
    Ok(())
}

fn write_letter(letter: &Letter, out: &mut dyn Write) -> anyhow::Result<()> {
    let row = &letter.dead_letter;
    let accepted = row.accepted_at.as_deref().unwrap_or("unknown: the record is damaged");
    let lines = [
        ("number", row.seq.to_string()),
        ("event", row.event.clone()),
        ("message", row.message_id.clone()),
        ("source", row.source.clone()),
        ("accepted", accepted.to_owned()),
        ("died", row.died_at.clone()),
        ("reason", format!("{} in stage {}", row.reason, row.stage)),
        ("scripts", row.bundle.clone()),
    ];
    for (name, value) in lines {
        writeln!(out, "{name:9} {}", printable(&value))?;
    }
    write_text(&row.message, out)?;
    if let Some(detail) = &letter.detail {
        write_text(&serde_json::to_string_pretty(detail)?, out)?;
    }
    match &letter.payload {
        Some(payload) => {
            let payload: Value = serde_json::from_str(payload.get())?;
            write_text(&serde_json::to_string_pretty(&payload)?, out)
        }
        None => write_text("The original cannot be read.", out),
    }
}

/// Writes a text of several lines as a paragraph.
fn write_text(text: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out)?;
    for line in text.lines() {
        writeln!(out, "{}", printable(line))?;
    }
    Ok(())
}
