//! What would happen to dead letters now: the production code with the scripts and the configuration of
//! here, a journal laid over the server's own, and an emulator instead of Customer.io.
//!
//! It cannot know what only Customer.io knows: what it refused may be refused again.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;

use super::super::offline;
use super::super::operator::OperatorArgs;
use super::super::stdout;
use crate::admin::originals::Original;
use crate::clock::{Clock as _, SystemClock};
use crate::fixture::{Setup, World};
use crate::journal::Accepted;
use crate::journal::sqlite::Base;
use crate::spec::{Arrival, RawCall};

/// Dead letters that go through the stages together.
const CHUNK: usize = 500;

/// What would become of one.
#[derive(Debug, Serialize)]
struct Fate {
    seq: u64,
    reason: String,
    now: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

/// Says what would happen to each, as JSON, or counted.
///
/// # Errors
/// The configuration or the scripts cannot be used.
pub(super) fn report(
    args: &OperatorArgs,
    originals: Vec<Original>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let offline = offline::load(args.config.as_deref())?;
    let bundle = offline::load_bundle(&offline.config, None)?;
    let folder = args.data_dir.as_deref().unwrap_or(&offline.config.data_dir);
    let base = Base::open(folder).context("what it knows of people and orders cannot be read")?;
    let base = Some(Arc::new(base));
    let setup = Setup { base, ..Setup::new(&offline.config, bundle) };
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    let total = originals.len();
    for chunk in originals.chunks(CHUNK) {
        for fate in rehearse(&setup, chunk)? {
            if args.json {
                stdout::json_line(out, &fate)?;
            }
            *counts.entry((fate.reason, fate.now)).or_default() += 1;
        }
    }
    if args.json {
        return Ok(ExitCode::SUCCESS);
    }
    if total == 0 {
        writeln!(out, "No dead letter is meant by that.")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "With the scripts {}, if they were redriven now:\n", setup.bundle.hash())?;
    for ((reason, now), count) in counts {
        writeln!(out, "{count:>8}  {reason} -> {now}")?;
    }
    writeln!(out, "\nNothing was touched. What Customer.io itself refused it may refuse again.")?;
    Ok(ExitCode::SUCCESS)
}

fn rehearse(setup: &Setup, originals: &[Original]) -> anyhow::Result<Vec<Fate>> {
    let mut world = World::new(setup, SystemClock.now())?;
    let mut fates = Vec::new();
    for original in originals {
        let Some(accepted) = accepted(original)? else {
            let (seq, reason) = (original.seq, original.reason.clone());
            fates.push(Fate {
                seq,
                reason,
                now: "stays: it is damaged".into(),
                message: String::new(),
            });
            continue;
        };
        world.store(vec![accepted])?;
        world.settle()?;
        // A batch waits a moment for company.
        let soon = world.now().plus(std::time::Duration::from_secs(1));
        world.advance(soon)?;
        let report = world.take_record().reports.pop();
        let (now, message) = match report {
            Some(report) => {
                let label = match report.trail.reason.as_str() {
                    "" => report.trail.outcome,
                    reason => format!("{} ({reason})", report.trail.outcome),
                };
                (label, report.letter.map(|letter| letter.message).unwrap_or_default())
            }
            None => ("waiting".into(), String::new()),
        };
        fates.push(Fate { seq: original.seq, reason: original.reason.clone(), now, message });
    }
    Ok(fates)
}

/// The event as it would come out of its queue again; `None`: it is damaged.
fn accepted(original: &Original) -> anyhow::Result<Option<Accepted>> {
    let (Some(arrival), Some(payload)) = (&original.arrival, &original.payload) else {
        return Ok(None);
    };
    let arrival: Arrival = serde_json::from_value(arrival.clone())
        .context("how it came in cannot be read: is the server of another version?")?;
    let text = payload.get();
    // What is no JSON was made a text for the export.
    let body = serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned());
    // It is no copy of itself: a redrive does not come in by the door.
    let key = u128::from(original.seq);
    Ok(Some(Accepted { key, call: RawCall::new(arrival, body.into()) }))
}
