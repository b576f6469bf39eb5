//! `segue why`: what happened to a message, or to a person's events.
//!
//! Not here: what is remembered, and for how long ([`crate::journal`]).

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::operator::{self, OperatorArgs, Reach};
use super::stdout;
use super::table::Table;
use crate::admin::story::{self, Chapter, LONGEST, Story, USUAL};

/// Say what happened to a message, or to a person's events.
///
/// Ids only, for 30 days unless the configuration says otherwise. Events that wait, are parked or are
/// tried again are shown too, with when they are taken up again. A repeated event that was recognised
/// when it came in is not known.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue why ajs-next-1699-4e2b")]
pub struct WhyArgs {
    /// A message id, a person's or anonymous id, or the name of a replay.
    #[arg(value_name = "MESSAGE|PERSON|REPLAY")]
    of: String,
    /// At most so many events, the newest; 1000 is the most.
    #[arg(long, value_name = "N", default_value_t = USUAL)]
    limit: usize,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Runs the command. Exits with 1 when nothing is known.
///
/// # Errors
/// Neither a server nor its journal can be reached.
pub fn run(args: WhyArgs) -> anyhow::Result<ExitCode> {
    stdout::to_stdout(|out| execute(&args, out))
}

pub(super) fn execute(args: &WhyArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let story = ask(args)?;
    if args.operator.json {
        story.events.iter().try_for_each(|event| stdout::json_line(out, event))?;
    } else {
        write_story(&story, args.limit.clamp(1, LONGEST), out)?;
    }
    Ok(if story.events.is_empty() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn ask(args: &WhyArgs) -> anyhow::Result<Story> {
    match operator::reach(&args.operator)? {
        Reach::Server(server) => {
            let query = [("of", Some(args.of.clone())), ("limit", Some(args.limit.to_string()))];
            server.get("/api/why", &query)
        }
        Reach::Folder(journal) => {
            let story = story::tell(&journal, &args.of, args.limit)?;
            operator::close(&journal)?;
            Ok(story)
        }
    }
}

fn write_story(story: &Story, limit: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    if story.events.is_empty() {
        writeln!(
            out,
            "Nothing is known of {:?}. It never came, is a copy of an earlier event, or is forgotten.",
            story.of
        )?;
        return write_incomplete(story, limit, out);
    }
    let mut table = Table::new(&[
        "SETTLED", "SOURCE", "EVENT", "MESSAGE", "PERSON", "CLASS", "ACTION", "OUTCOME", "ANSWER",
        "SCRIPTS",
    ]);
    for event in &story.events {
        let due = match event.due.as_str() {
            "" => String::new(),
            due => format!(" until {due}"),
        };
        let outcome = match event.reason.as_str() {
            "" => format!("{}{due}", event.outcome),
            reason => format!("{}{due} ({reason})", event.outcome),
        };
        let noticed = event.notices.iter().map(|notice| format!(", {notice}"));
        let outcome = outcome + &noticed.collect::<String>();
        let Chapter {
            at,
            source,
            event: name,
            message_id,
            person,
            class,
            action,
            answer,
            bundle,
            ..
        } = event;
        let cells = [at, source, name, message_id, person, class, action, &outcome, answer, bundle];
        table.add(
            cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell.clone() }).into(),
        );
    }
    write!(out, "{table}")?;
    if story.events.last().is_some_and(|event| event.outcome == "dead_lettered") {
        writeln!(out, "\nWhy it could not be sent: segue dead-letters list, then show SEQ")?;
    }
    write_incomplete(story, limit, out)
}

/// Says what is not shown: of what ended and of what waits.
fn write_incomplete(story: &Story, limit: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    if story.events.len() >= limit {
        let more = if limit < LONGEST { ": --limit N" } else { "" };
        writeln!(out, "\nAt most {limit} are shown, and there may be more{more}")?;
    } else if story.incomplete {
        writeln!(
            out,
            "\nMore events wait than were looked through: ask again when fewer do (segue status)."
        )?;
    }
    Ok(())
}
