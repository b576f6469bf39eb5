//! `segue contracts`: what each event must hold, and how well a running server sees that kept.
//!
//! Not here: what a contract is ([`crate::contract`]), what is counted ([`crate::admin::contracts`]).

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::offline;
use super::operator::{self, OperatorArgs};
use super::stdout;
use super::table::{Table, printable};
use crate::admin::contracts::{Broken, BySource, Compared, Kept};
use crate::config::Config;
use crate::contract::{Contract, Entry};
use crate::transform::Bundle;

/// Print the data dictionary: the properties that each event must have, and, from a running server,
/// how often they are missing or wrong.
///
/// The schemas are read here, from schemas/ in the transforms folder. Without a running server there
/// are no rates.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue contracts order_completed --all")]
pub struct ContractsArgs {
    /// One event only, spelt as you like. Default: all.
    #[arg(value_name = "EVENT")]
    event: Option<String>,
    /// Properties that may be missing, too.
    #[arg(long)]
    all: bool,
    /// The newest samples of each violation, every letter and digit hidden.
    #[arg(long)]
    samples: bool,
    /// The scripts and schemas. Default: those of the configuration.
    #[arg(long, value_name = "DIR")]
    transforms: Option<PathBuf>,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Runs the command. Exits with 1 when there is no contract for the event.
///
/// # Errors
/// The configuration or the schemas cannot be used.
pub fn run(args: ContractsArgs) -> anyhow::Result<ExitCode> {
    stdout::to_stdout(|out| execute(&args, out))
}

pub(super) fn execute(args: &ContractsArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let config = match args.operator.data_dir {
        Some(_) => Config::default(),
        None => offline::load(args.operator.config.as_deref())?.config,
    };
    let bundle = offline::load_bundle(&config, args.transforms.as_deref())?;
    let wanted = args.event.as_deref().map(|event| bundle.canonical(event));
    let is_wanted = |event: &str| wanted.as_deref().is_none_or(|wanted| wanted == event);
    let contracts: Vec<&Contract> = bundle
        .contracts()
        .all()
        .into_values()
        .filter(|contract| is_wanted(&contract.event))
        .collect();
    let kept: anyhow::Result<Kept> =
        operator::server(&args.operator).and_then(|server| server.get("/api/contracts", &[]));
    let kept = kept.map(|mut kept| {
        kept.compared.retain(|compared| is_wanted(&compared.event));
        kept.broken.retain(|broken| is_wanted(&broken.event));
        kept
    });
    if args.operator.json {
        stdout::json_line(out, &as_json(args, &bundle, &contracts, kept.ok()))?;
    } else {
        write_dictionary(args, &contracts, out)?;
        match kept {
            Ok(kept) => write_kept(args, &bundle, &kept, out)?,
            Err(error) => writeln!(out, "\nno rates: {}", printable(&error.to_string()))?,
        }
    }
    Ok(if contracts.is_empty() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn rows<'c>(args: &ContractsArgs, contract: &'c Contract) -> impl Iterator<Item = Entry> + use<'c> {
    let all = args.all;
    contract.dictionary().into_iter().filter(move |entry| entry.required || all)
}

fn write_dictionary(
    args: &ContractsArgs,
    contracts: &[&Contract],
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if contracts.is_empty() {
        match &args.event {
            Some(event) => writeln!(out, "there is no contract for {}", printable(event))?,
            None => writeln!(
                out,
                "there are no contracts: write schemas/<event>.json beside the scripts"
            )?,
        }
        return Ok(());
    }
    let mut table = Table::new(&["EVENT", "PROPERTY", "", "TYPE", "ALLOWED", "WHAT IT IS"]);
    for contract in contracts {
        let mut event = contract.event.to_string();
        for entry in rows(args, contract) {
            let required = if entry.required { "required" } else { "" };
            table.add(vec![
                std::mem::take(&mut event),
                entry.property,
                required.into(),
                entry.types,
                entry.allowed,
                entry.description,
            ]);
        }
        if !event.is_empty() {
            table.add(vec![event, "(nothing is required)".into()]);
        }
    }
    write!(out, "{table}")?;
    let strict = contracts.iter().filter(|contract| is_strict(contract));
    for contract in strict {
        let omits = if contract.omits_additional { ", omits what it does not name" } else { "" };
        writeln!(out, "{}: {}{omits}", contract.event, contract.policy.as_str())?;
    }
    Ok(())
}

fn is_strict(contract: &Contract) -> bool {
    contract.policy != crate::contract::Policy::Deliver || contract.omits_additional
}

fn write_kept(
    args: &ContractsArgs,
    bundle: &Bundle,
    kept: &Kept,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    writeln!(out, "\nsince {}, in the running server:", kept.since)?;
    if kept.bundle != bundle.hash() {
        let (theirs, ours) = (&kept.bundle, bundle.hash());
        writeln!(out, "its scripts and schemas ({theirs}) are others than those above ({ours})")?;
    }
    if kept.compared.is_empty() && kept.broken.is_empty() {
        writeln!(out, "no event was compared with a contract yet")?;
        return Ok(());
    }
    let mut table = Table::new(&["EVENT", "COMPARED", "LAST HOUR"]);
    for Compared { event, after, .. } in &kept.compared {
        table.add(vec![event.clone(), after.total.to_string(), after.last_hour.to_string()]);
    }
    write!(out, "{table}")?;
    if kept.broken.is_empty() {
        writeln!(out, "no violation")?;
        return Ok(());
    }
    writeln!(out)?;
    let mut table = Table::new(&[
        "EVENT",
        "PROPERTY",
        "VIOLATION",
        "SOURCE",
        "AS IT ARRIVED",
        "BEHIND THE SCRIPTS",
        "LAST HOUR",
    ]);
    for broken in &kept.broken {
        let compared = kept.compared.iter().find(|compared| compared.event == broken.event);
        for BySource { source, before, after } in &broken.sources {
            let all = compared.and_then(|all| all.sources.iter().find(|all| all.source == *source));
            let all = all.cloned().unwrap_or_default();
            table.add(vec![
                broken.event.clone(),
                broken.property.clone(),
                broken.kind.clone(),
                source.clone(),
                rate(before.total, all.before.total),
                rate(after.total, all.after.total),
                rate(after.last_hour, all.after.last_hour),
            ]);
        }
    }
    write!(out, "{table}")?;
    if args.samples {
        write_samples(&kept.broken, out)?;
    }
    Ok(())
}

fn write_samples(broken: &[Broken], out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out)?;
    let mut table = Table::new(&[
        "EVENT",
        "PROPERTY",
        "VIOLATION",
        "WANTED",
        "FOUND",
        "AT",
        "SOURCE",
        "MESSAGE",
    ]);
    for broken in broken {
        for sample in &broken.samples {
            table.add(vec![
                broken.event.clone(),
                broken.property.clone(),
                sample.name.clone(),
                sample.wanted.clone(),
                sample.found.clone(),
                sample.at.clone(),
                sample.source.clone(),
                sample.message_id.clone(),
            ]);
        }
    }
    write!(out, "{table}")?;
    writeln!(
        out,
        "segue capture MESSAGE --bare --unmasked shows what was sent, where the original is kept ([record])"
    )?;
    Ok(())
}

/// A share of events, with the numbers that it is made of.
fn rate(count: u64, of: u64) -> String {
    if of == 0 {
        return if count == 0 { "–".into() } else { count.to_string() };
    }
    let percent = count as f64 * 100.0 / of as f64;
    format!("{percent:.1} % ({count} of {of})")
}

fn as_json(
    args: &ContractsArgs,
    bundle: &Bundle,
    contracts: &[&Contract],
    kept: Option<Kept>,
) -> Value {
    let property = |entry: Entry| {
        json!({
            "property": entry.property, "required": entry.required, "type": entry.types,
            "allowed": entry.allowed, "description": entry.description,
        })
    };
    let contract = |contract: &&Contract| {
        json!({
            "event": &*contract.event,
            "file": contract.file,
            "description": contract.description,
            "on_violation": contract.policy.as_str(),
            "additional": if contract.omits_additional { "omit" } else { "keep" },
            "properties": rows(args, contract).map(property).collect::<Vec<_>>(),
        })
    };
    json!({
        "bundle": bundle.hash(),
        "contracts": contracts.iter().map(contract).collect::<Vec<_>>(),
        "running": kept,
    })
}
