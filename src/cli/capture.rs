//! `segue capture`: a recorded event becomes a fixture.
//!
//! Not here: how it is masked ([`crate::spec::personal`]), where it is looked for
//! ([`crate::admin::originals`]).

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use super::operator::{self, OperatorArgs, Reach};
use super::{offline, stdout};
use crate::admin::originals::{self, Original};
use crate::config::Config;
use crate::fixture::bodies::Bodies;
use crate::fixture::capture::{self, Options};
use crate::fixture::{Delivery, Setup, World, layout, recorded, suite};
use crate::spec::{Ingress, RawCall};

/// Make a fixture of an event: a dead letter, one that waits or is parked, or one that was recorded.
///
/// Addresses, phones, names and ids are replaced by invented ones, the same for the same value. What
/// happens to the event now is written down as what is expected: read it, and keep what matters. A name
/// within a free text is not recognised: look before you commit it.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue capture l1 --from fixtures/payloads/last_week.ndjson")]
pub struct CaptureArgs {
    /// Its message id, or its number as `segue dead-letters list` shows it.
    #[arg(value_name = "ID")]
    id: String,
    /// Look in this recording instead: events, batches, NDJSON, also gzip, or what `segue recorded` prints.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The source of the events in that recording. Default: the first of the configuration.
    #[arg(long, value_name = "NAME", requires = "from")]
    source: Option<String>,
    /// Where the fixture is written. Default: standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The fixture's name.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The scripts that say what is expected. Default: those of the configuration.
    #[arg(long, value_name = "DIR")]
    transforms: Option<PathBuf>,
    /// Write nothing down as expected.
    #[arg(long)]
    bare: bool,
    /// Keep people as they are.
    #[arg(long)]
    unmasked: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Runs the command.
///
/// # Errors
/// Nothing is known of the event, or the fixture cannot be written.
pub fn run(args: &CaptureArgs) -> anyhow::Result<ExitCode> {
    if let Some(file) = args.out.as_ref().filter(|file| file.exists()) {
        bail!("{} is there already", file.display());
    }
    let offline = offline::load(args.operator.config.as_deref())?;
    let bundle = offline::load_bundle(&offline.config, args.transforms.as_deref())?;
    let setup = Setup::new(&offline.config, bundle);
    let found = match &args.from {
        Some(file) => in_recording(args, file, &setup)?,
        None => in_journal(args)?,
    };
    let Some(mut call) = found else {
        eprintln!(
            "Nothing is kept of {:?}: it is no dead letter, does not wait, and was not recorded.",
            args.id
        );
        return Ok(ExitCode::from(1));
    };
    let text = fixture(args, &mut call, &offline.config, &setup)?;
    stdout::to_the_end(|out| write(args.out.as_deref(), &text, out))
}

/// Writes the fixture where it is wanted.
fn write(file: Option<&Path>, text: &str, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match file {
        None => out.write_all(text.as_bytes())?,
        Some(file) => {
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(file, text)
                .with_context(|| format!("{} cannot be written", file.display()))?;
            writeln!(out, "wrote {}: segue test {}", file.display(), file.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The text of the fixture.
fn fixture(
    args: &CaptureArgs,
    call: &mut RawCall,
    config: &Config,
    setup: &Setup,
) -> anyhow::Result<String> {
    let source = config.source(&call.arrival.source).with_context(|| {
        format!("its source {:?} is not in the configuration", call.arrival.source)
    })?;
    let said = call.fields().and_then(|fields| {
        let word = |name: &str| fields.get(name).and_then(Value::as_str);
        Some(format!("{} {}", word("type")?, word("event").or(word("name")).unwrap_or_default()))
    });
    let said = said.unwrap_or_else(|| "an event".into());
    let name = args.name.clone().unwrap_or_else(|| format!("captured {}", said.trim()));
    let options = Options { platform: source.kind, name: &name, unmasked: args.unmasked };
    let bare = layout::pretty(&Value::Object(capture::fixture(call, options))) + "\n";
    if args.bare {
        return Ok(bare);
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("captured.test.json");
    std::fs::write(&file, &bare)?;
    match suite::update(&file, None, setup) {
        Ok(expecting) => Ok(expecting.unwrap_or(bare)),
        Err(problem) => {
            eprintln!("What happens to it cannot be written down: {problem}");
            Ok(bare)
        }
    }
}

/// Looks in the server, or in the journal of one that is not running.
fn in_journal(args: &CaptureArgs) -> anyhow::Result<Option<RawCall>> {
    let found: Option<Original> = match operator::reach(&args.operator)? {
        Reach::Server(server) => server.get("/api/original", &[("id", Some(args.id.clone()))])?,
        Reach::Folder(journal) => {
            let found = originals::find(&journal, &args.id)?;
            operator::close(&journal)?;
            found
        }
    };
    let Some(original) = found else { return Ok(None) };
    let line = serde_json::to_vec(&original)?;
    recorded::read(&line).map(Some).context("its record is damaged")
}

/// Looks in a file.
fn in_recording(args: &CaptureArgs, file: &Path, setup: &Setup) -> anyhow::Result<Option<RawCall>> {
    let source = offline::choose_source(&setup.config, args.source.as_deref())?;
    let opened = File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let world = World::new(setup, offline::moment(None)?)?;
    for body in Bodies::read(opened)? {
        let body = body?.bytes;
        let calls = match recorded::read(&body) {
            Some(call) => vec![call],
            None => {
                let ingress = Ingress::Webhook;
                let delivery = Delivery { source: &source, ingress, replay: None, body };
                let events = world.open(&delivery).unwrap_or_default();
                events.into_iter().map(|event| event.call).collect()
            }
        };
        for mut call in calls {
            if originals::is_called(&mut call, &args.id) {
                return Ok(Some(call));
            }
        }
    }
    Ok(None)
}
