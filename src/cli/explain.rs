//! `segue explain`: one event through every stage, with every reason, offline.
//!
//! Not here: what happens to it ([`crate::fixture::explanation`]).

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::{offline, stdout};
use crate::fixture::explanation::{Change, Explained, Explanation, Script, Spec, explain};
use crate::fixture::{Delivery, Setup, World, layout, report, suite};
use crate::spec::{Ingress, TimeOrigin};

/// Show what happens to an event, stage by stage, and why. Nothing is sent.
///
/// The file holds an event or a body as a vendor sends it. Exits with 1 when an event becomes a dead
/// letter or the body would be refused.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  segue explain fixtures/payloads/rudderstack_checkout.json --source rudderstack --at 2026-01-15T12:00:00Z"
)]
pub struct ExplainArgs {
    /// The file; - for stdin.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The source that sends it. Default: the first of the configuration.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The configuration file. Default: segue.toml, where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The scripts. Default: those of the configuration.
    #[arg(long, value_name = "DIR")]
    transforms: Option<PathBuf>,
    /// When it comes in, as in 2026-01-15T12:00:00Z. Default: now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Treat it as part of a replay of this name.
    #[arg(long, value_name = "NAME")]
    as_replay: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// The file, the configuration or the scripts cannot be used.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    stdout::to_the_end(|out| execute(args, out))
}

fn execute(args: &ExplainArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let body = offline::read_input(&args.file)?;
    let offline = offline::load(args.config.as_deref())?;
    let bundle = offline::load_bundle(&offline.config, args.transforms.as_deref())?;
    let source = offline::choose_source(&offline.config, args.source.as_deref())?;
    let now = offline::moment(args.at.as_deref())?;
    let setup = Setup::new(&offline.config, bundle);
    let explained = suite::on_script_thread(|| {
        let mut world = World::new(&setup, now)?;
        let delivery = Delivery {
            source: &source,
            ingress: Ingress::Webhook,
            replay: args.as_replay.as_deref(),
            body: body.into(),
        };
        explain(&mut world, &delivery)
    })?;
    let explained = match explained {
        Ok(explained) => explained,
        Err(error) => {
            let (status, code) = error.answer();
            if args.json {
                let refused = json!({ "status": status.as_u16(), "code": code, "message": error.to_string() });
                stdout::json_line(out, &json!({ "refused": refused }))?;
                return Ok(ExitCode::from(1));
            }
            eprintln!("The sender would be answered {} {code}: {error}", status.as_u16());
            return Ok(ExitCode::from(1));
        }
    };
    if explained.is_empty() {
        bail!("{} holds no event: it is a list or a batch without one", args.file.display());
    }
    if args.json {
        stdout::json_page(out, &json!({ "events": explained }))?;
    } else {
        let count = explained.len();
        for (index, one) in explained.iter().enumerate() {
            if count > 1 {
                writeln!(out, "━━ event {} of {count}", index + 1)?;
            }
            out.write_all(text(one).as_bytes())?;
        }
    }
    let dead = explained.iter().any(|one| one.outcome == "dead_lettered");
    Ok(if dead { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// An explanation for a terminal: a word for each stage at the left, what it did beside it.
fn text(one: &Explanation) -> String {
    let mut page = Page::default();
    let arrival = &one.arrival;
    let door = match arrival.ingress {
        Ingress::Webhook => "webhook",
        Ingress::Api => "SDK path",
    };
    page.line(
        "ingest",
        &format!(
            "{} bytes at the {door} of source {}, at {}",
            arrival.bytes, arrival.source, arrival.accepted_at
        ),
    );
    if let Some(replay) = &arrival.replay {
        page.line("", &format!("a replay: {replay}"));
    }
    match &one.spec {
        Some(spec) => write_spec(&mut page, spec),
        None => page.line("spec", "it is no event that can be read"),
    }
    page.line(
        "dedupe",
        if arrival.duplicate { "the same message came before" } else { "first sight" },
    );
    write_violations(&mut page, "as it arrived: ", &one.violations_before);
    if let Some(bundle) = &one.bundle
        && !one.scripts.is_empty()
    {
        page.line("scripts", &format!("bundle {bundle}"));
    }
    one.scripts.iter().for_each(|script| write_script(&mut page, script));
    for (index, part) in one.parts.iter().enumerate() {
        if one.parts.len() > 1 {
            page.line(
                "",
                &format!("── event {} of {} that the scripts made", index + 1, one.parts.len()),
            );
        }
        write_part(&mut page, part);
    }
    for (index, request) in one.requests.iter().enumerate() {
        let label = if index == 0 { "requests" } else { "" };
        page.block(label, &layout::pretty(request));
    }
    let reason = if one.reason.is_empty() { String::new() } else { format!(" ({})", one.reason) };
    page.line("outcome", &format!("{}{reason}", one.outcome));
    if let Some(letter) = &one.dead_letter {
        page.line("", &letter.message);
    }
    for trigger in &one.triggers {
        let could = if trigger.could_trigger { "could start" } else { "cannot start" };
        page.line("", &format!("{} {could} a campaign: {}", trigger.event, trigger.because));
    }
    page.text
}

fn write_spec(page: &mut Page, spec: &Spec) {
    let name = spec.name.as_deref().unwrap_or("(no name)");
    page.line("spec", &format!("{} {name}, message {}", spec.call, spec.message_id));
    let named = |what: &str, id: &Option<String>| id.as_ref().map(|id| format!("{what} {id}"));
    let ids: Vec<String> = [named("user", &spec.user_id), named("anonymous", &spec.anonymous_id)]
        .into_iter()
        .flatten()
        .collect();
    let ids = if ids.is_empty() { "nobody is named".to_owned() } else { ids.join(", ") };
    page.line("", &ids);
    let origin = match spec.time_origin {
        TimeOrigin::Given => "as it was sent",
        TimeOrigin::Corrected => "corrected by how wrong the sender's clock was",
        TimeOrigin::Received => "the time of receipt, since none was sent that can be read",
    };
    page.line("", &format!("happened {} ({origin}), received {}", spec.time, spec.received_at));
    if let Some(from) = &spec.age_from {
        page.line("", &format!("its age is counted from {from}"));
    }
}

fn write_script(page: &mut Page, script: &Script) {
    let reason = script.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    page.line("", &format!("{} {}{reason}", script.stage, script.outcome));
    for Change { path, old, new } in &script.changes {
        let shown =
            |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".into(), layout::flat);
        page.line("", &format!("  {path}: {} → {}", shown(old), shown(new)));
    }
    for printed in &script.printed {
        page.line("", &format!("  printed {printed}"));
    }
    if let Some(error) = &script.error {
        page.block("", report::script_error(error).trim_end());
    }
}

fn write_violations(page: &mut Page, what: &str, violations: &[Value]) {
    for (index, violation) in violations.iter().enumerate() {
        let said = |name: &str| violation.get(name).and_then(Value::as_str);
        let wanted = said("wanted").map(|wanted| format!(": wanted {wanted}")).unwrap_or_default();
        let found = said("found").map(|found| format!(", found {found}")).unwrap_or_default();
        let (kind, path) = (said("kind").unwrap_or_default(), said("path").unwrap_or_default());
        let (label, what) = if index == 0 { ("contract", what) } else { ("", "") };
        page.line(label, &format!("{what}{kind} at {path}{wanted}{found}"));
    }
}

fn write_part(page: &mut Page, part: &Explained) {
    let said = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    for (name, value) in &part.notes {
        page.line("", &format!("note {name}: {}", layout::flat(value)));
    }
    for (code, value) in &part.warnings {
        page.line("", &format!("warning {code}: {}", layout::flat(value)));
    }
    if !part.labels.is_empty() {
        page.line("", &format!("labels {}", part.labels.join(", ")));
    }
    let guard = &part.guard;
    let until = guard.get("park_until").and_then(Value::as_str);
    let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
    page.line(
        "guard",
        &format!(
            "{} → {}{until}: {}",
            said(guard, "class"),
            said(guard, "action"),
            said(guard, "reason")
        ),
    );
    if let Some(key) = &part.dedupe_key {
        page.line("", &format!("business key {key}"));
    }
    let contract = part.contract.as_deref().map(|contract| format!("{contract}: "));
    let contract = contract.unwrap_or_default();
    match part.violations.as_slice() {
        [] if contract.is_empty() => {}
        [] => page.line("contract", &format!("{contract}kept")),
        violations => write_violations(page, &contract, violations),
    }
    if let Some(identity) = &part.identity {
        let person = identity.get("person").and_then(Value::as_str).unwrap_or("nobody known");
        let anonymous = identity.get("anonymous").and_then(Value::as_str);
        let anonymous = anonymous.map(|id| format!(", anonymous id {id}")).unwrap_or_default();
        page.line("identity", &format!("{person}{anonymous}: {}", said(identity, "reason")));
    }
    let operations = match part.operations.is_empty() {
        true => "no operation".to_owned(),
        false => part.operations.join(", "),
    };
    let ended = match (part.outcome.as_str(), part.reason.as_str()) {
        ("" | "delivered", _) => String::new(),
        (outcome, "") => format!(" ({outcome})"),
        (outcome, reason) => format!(" ({outcome}: {reason})"),
    };
    page.line("mapping", &format!("{operations}{ended}"));
}

/// Lines with a label at the left.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, label: &str, line: &str) {
        let _ = writeln!(self.text, "{label:<10}{line}");
    }

    fn block(&mut self, label: &str, block: &str) {
        for (index, line) in block.lines().enumerate() {
            self.line(if index == 0 { label } else { "" }, line);
        }
    }
}
