//! `segue replay --against`: what other scripts change about recorded events.
//!
//! Not here: the comparison ([`crate::fixture::comparison`]).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::{ReplayArgs, open, progress_of, shown};
use crate::cli::{offline, stdout, table::printable};
use crate::fixture::bodies::Bodies;
use crate::fixture::comparison::{Comparer, Comparison, Counted, Options};
use crate::fixture::{ChangeKind, Setup, layout, suite};
use crate::transform::Bundle;

/// The bundle without any script.
const NONE: &str = "none";
/// Events whose differences are shown; the rest is counted.
const EVENTS_SHOWN: usize = 25;
/// Differences of one event that are shown.
const ROWS_SHOWN: usize = 30;
/// Characters of an example.
const LONGEST: usize = 100;

/// What is compared with what.
#[derive(Args, Debug)]
pub(super) struct AgainstArgs {
    /// Compare with the scripts in this folder: what they would have made of the same events, and what
    /// --transforms (or the configuration's scripts) make of them. `none`: no scripts at all.
    #[arg(long, value_name = "DIR", conflicts_with = "send")]
    pub(super) against: Option<String>,
    /// How many events are shown of each difference.
    #[arg(long, value_name = "N", default_value_t = 2, requires = "against")]
    examples: usize,
    /// Exit with 1 when there is a difference of one of these kinds: dropped, type-change, … or any.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', requires = "against")]
    fail_on: Vec<String>,
    /// Show values that say who somebody is.
    #[arg(long, requires = "against")]
    unmasked: bool,
}

/// Runs the comparison with the scripts of `against`.
pub(super) fn run(args: &ReplayArgs, against: &str) -> anyhow::Result<ExitCode> {
    let wanted = &args.compare;
    let fail_on = read_kinds(&wanted.fail_on)?;
    let offline = offline::load(args.config.as_deref())?;
    let after = offline::load_bundle(&offline.config, args.transforms.as_deref())?;
    let before = match against {
        NONE => Arc::new(without_scripts(&after)?),
        folder => offline::load_bundle(&offline.config, Some(Path::new(folder)))?,
    };
    let source = offline::choose_source(&offline.config, args.source.as_deref())?;
    let options = Options {
        source: &source,
        replay: args.as_replay.as_deref(),
        now: offline::moment(args.at.as_deref())?,
        examples: wanted.examples,
        unmasked: wanted.unmasked,
    };
    let before = Setup::new(&offline.config, before);
    let after = Setup::new(&offline.config, after);
    let progress = progress_of(&args.files);
    let mut skip = args.skip;
    let comparison = suite::on_script_thread(|| {
        let mut comparer = Comparer::new(&before, &after, options)?;
        for file in &args.files {
            for body in Bodies::read(open(file, &progress)?)? {
                let body = body.with_context(|| shown(file))?;
                match skip {
                    0 => comparer.take(body.bytes)?,
                    _ => skip -= 1,
                }
            }
        }
        anyhow::Ok(comparer.finish()?)
    })?;
    progress.finish_and_clear();
    let failed: BTreeMap<&str, u64> = comparison
        .kinds
        .iter()
        .filter(|(kind, _)| fail_on.iter().any(|wanted| wanted.as_str() == **kind))
        .map(|(kind, count)| (*kind, *count))
        .collect();
    let mut said = if args.json {
        let mut shown = serde_json::to_value(&comparison)?;
        shown["failed_on"] = json!(failed);
        shown["configuration"] = json!(offline.name());
        shown["source"] = json!(source);
        format!("{}\n", serde_json::to_string_pretty(&shown)?)
    } else {
        let made_with = format!("planned with {}, as of source {source}\n", offline.name());
        made_with + &text(&comparison, against)
    };
    if !args.json && !failed.is_empty() {
        let kinds: Vec<String> =
            failed.iter().map(|(kind, count)| format!("{kind} ({count})")).collect();
        said.push_str(&format!("\nfailed on {}\n", kinds.join(", ")));
    }
    stdout::to_the_end(|out| {
        out.write_all(said.as_bytes())?;
        Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    })
}

/// A bundle that changes nothing and knows the same synonyms, so that the guard knows events by the
/// same names.
fn without_scripts(bundle: &Bundle) -> anyhow::Result<Bundle> {
    let data = bundle
        .files()
        .filter(|(file, _)| file.starts_with("data/") || file.starts_with("schemas/"));
    let files = data.map(|(file, text)| (file.to_owned(), text.as_bytes().to_vec())).collect();
    Bundle::from_files(files).map_err(|findings| {
        let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the tables cannot be used without the scripts:\n{}", said.join("\n"))
    })
}

fn read_kinds(words: &[String]) -> anyhow::Result<Vec<ChangeKind>> {
    let mut kinds = Vec::new();
    for word in words {
        if word == "any" {
            return Ok(ChangeKind::ALL.to_vec());
        }
        let known = ChangeKind::ALL.into_iter().find(|kind| kind.as_str() == word);
        kinds.push(known.with_context(|| {
            let all: Vec<&str> = ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("--fail-on {word:?}: there are {}, any", all.join(", "))
        })?);
    }
    Ok(kinds)
}

/// A comparison for a terminal.
fn text(comparison: &Comparison, against: &str) -> String {
    let Comparison { events, differ, refused, before, after, .. } = comparison;
    let mut text = String::new();
    let before = if against == NONE { "none" } else { before };
    let _ =
        writeln!(text, "{events} events, scripts {before} → {after}: {differ} come out otherwise");
    if *refused > 0 {
        let _ = writeln!(text, "{refused} bodies would be refused at the door");
    }
    let groups: Vec<&[Counted]> =
        comparison.changes.chunk_by(|one, other| one.event == other.event).collect();
    for group in groups.iter().take(EVENTS_SHOWN) {
        let event = group.first().map_or("", |first| first.event.as_str());
        let event = if event.is_empty() { "(cannot be read)" } else { event };
        let _ = writeln!(text, "\n{}", printable(event));
        for counted in group.iter().take(ROWS_SHOWN) {
            write_row(&mut text, counted);
        }
        if group.len() > ROWS_SHOWN {
            let _ = writeln!(text, "  … and {} other differences", group.len() - ROWS_SHOWN);
        }
    }
    if groups.len() > EVENTS_SHOWN {
        let _ = writeln!(
            text,
            "\n… and differences of {} other events: --json has them all",
            groups.len() - EVENTS_SHOWN
        );
    }
    if comparison.not_told_apart > 0 {
        let _ =
            writeln!(text, "\n{} differences more, of ever new kinds", comparison.not_told_apart);
    }
    if !comparison.kinds.is_empty() {
        let said: Vec<String> =
            comparison.kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let _ = writeln!(text, "\nevents by kind of difference: {}", said.join(", "));
    }
    text
}

fn write_row(text: &mut String, counted: &Counted) {
    let (kind, path) = (counted.kind.as_str(), printable(&counted.path));
    let _ = writeln!(text, "  {:>7}  {kind:<16}  {path}", counted.count);
    for example in &counted.examples {
        let said = |value: &Option<Value>| {
            let text = value.as_ref().map_or_else(|| "nothing".into(), layout::flat);
            cut(&printable(&text))
        };
        let (before, after) = (said(&example.before), said(&example.after));
        let id = printable(&example.message_id);
        let _ = writeln!(text, "             {id}: {before} → {after}");
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
