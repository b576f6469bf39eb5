//! `segue recorded`: the originals that `[record]` keeps, for a replay or an inquiry.
//!
//! Not here: how long they are kept ([`crate::journal`]).

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::operator::{self, OperatorArgs, Reach};
use super::stdout;
use crate::admin::dead_letters::LONGEST_PAGE;
use crate::admin::originals::{self, Original, Originals, Which};
use crate::clock::{Clock as _, SystemClock};

/// Print the originals of events that were delivered or dropped, one JSON object a line.
///
/// They are kept where the configuration asks for it (`[record] keep = "7d"`). Dead letters have
/// their own: `segue dead-letters export`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue recorded --since 24h --originals")]
pub struct RecordedArgs {
    /// Only of this source.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only those accepted since: 2026-01-15T12:00:00Z, or 24h for a day ago.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those accepted before.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only the originals as they were received, without what became of them: what `segue replay` reads.
    #[arg(long)]
    originals: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Runs the command.
///
/// # Errors
/// Neither a server nor its journal can be reached, or a time cannot be read.
pub fn run(args: RecordedArgs) -> anyhow::Result<ExitCode> {
    stdout::to_stdout(|out| execute(&args, out))
}

pub(super) fn execute(args: &RecordedArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let which =
        Which { source: args.source.clone(), since: args.since.clone(), until: args.until.clone() };
    let reach = operator::reach(&args.operator)?;
    let page = |after: Option<u64>| -> anyhow::Result<Originals> {
        match &reach {
            Reach::Folder(journal) => {
                let now = SystemClock.now();
                Ok(originals::recorded(journal, &which, after, LONGEST_PAGE, now)?)
            }
            Reach::Server(server) => {
                let query = [
                    ("source", which.source.clone()),
                    ("since", which.since.clone()),
                    ("until", which.until.clone()),
                    ("after", after.map(|after| after.to_string())),
                ];
                server.get("/api/recorded", &query)
            }
        }
    };
    let count = write_all(page, args.originals, out)?;
    if let Reach::Folder(journal) = &reach {
        operator::close(journal)?;
    }
    if count == 0 {
        eprintln!("Nothing is recorded there. Is record.keep set? See segue config.");
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes all pages, a line for each original; answers how many there were.
pub(super) fn write_all(
    page: impl Fn(Option<u64>) -> anyhow::Result<Originals>,
    only_payload: bool,
    out: &mut dyn Write,
) -> anyhow::Result<u64> {
    let (mut after, mut count, mut damaged) = (None, 0, 0);
    loop {
        let Originals { originals, next } = page(after)?;
        for original in &originals {
            count += 1;
            match (only_payload, original) {
                (false, original) => stdout::json_line(out, original)?,
                (true, Original { payload: Some(payload), .. }) => stdout::json_line(out, payload)?,
                (true, _) => damaged += 1,
            }
        }
        match next {
            Some(_) => after = next,
            None => break,
        }
    }
    if damaged > 0 {
        eprintln!("{damaged} of {count} are damaged and were left out.");
    }
    Ok(count)
}
