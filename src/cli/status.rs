//! `segue status`: what the running server is doing.
//!
//! Not here: what the numbers are made of ([`crate::admin::status`]).

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::operator::{self, OperatorArgs};
use super::stdout;
use super::table::printable;
use crate::admin::health;
use crate::admin::status::Status;

/// Say what the running server is doing, and how well.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue status --config segue.toml")]
pub struct StatusArgs {
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Runs the command. Exits with 1 when no events are taken.
///
/// # Errors
/// No server is running.
pub fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    stdout::to_stdout(|out| execute(&args, out))
}

pub(super) fn execute(args: &StatusArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let status: Status = operator::server(&args.operator)?.get("/api/status", &[])?;
    if args.operator.json {
        stdout::json_line(out, &status)?;
    } else {
        write!(out, "{}", printed(&status))?;
    }
    Ok(match status.health.status {
        health::Status::Ready | health::Status::Degraded => ExitCode::SUCCESS,
        health::Status::Unavailable => ExitCode::from(1),
    })
}

fn printed(status: &Status) -> String {
    let Status { events, pending, .. } = status;
    let waiting = format!(
        "{} pending: {} live, {} backfill, {} parked, {} held, {} to be tried again",
        pending.total(),
        pending.live,
        pending.backfill,
        pending.parked,
        pending.held,
        pending.retry
    );
    let so_far = format!(
        "{} accepted + {} redriven = {} delivered + {} dropped + {} dead-lettered + {} pending",
        events.accepted,
        events.redriven,
        events.delivered,
        events.dropped,
        events.dead_lettered,
        pending.total()
    );
    let free = status.journal.disk_free_bytes.map_or("an unknown number of bytes".into(), bytes);
    let mut lines = vec![
        ("segue", format!("{}, up since {}", status.version, status.started_at)),
        ("health", status.health.status.as_str().to_owned()),
    ];
    let reasons = status.health.reasons.iter();
    lines.extend(reasons.map(|reason| ("", format!("{}: {}", reason.code, reason.message))));
    lines.extend([
        ("events", so_far),
        ("waiting", waiting),
        (
            "oldest",
            format!(
                "{} s in the queue, {} s out of line to be tried again",
                status.oldest_pending_seconds, status.oldest_retry_seconds
            ),
        ),
        ("delivery", delivery(status)),
        ("scripts", scripts(status)),
        (
            "journal",
            format!(
                "{}, {}, {free} free on its disk",
                status.journal.folder,
                bytes(status.journal.size_bytes)
            ),
        ),
        ("sources", status.sources.join(", ")),
    ]);
    let line = |(name, value): (&str, String)| {
        let value: Vec<String> = value.lines().map(printable).collect();
        format!("{name:9} {}\n", value.join("\n          "))
    };
    lines.into_iter().map(line).collect()
}

fn delivery(status: &Status) -> String {
    let destination = &status.destination;
    let to = match destination.kind {
        crate::config::DestinationKind::Emulator => "the built-in emulator".to_owned(),
        crate::config::DestinationKind::Customerio => match &destination.url {
            Some(url) => format!("{url} (customerio.url) by {}", destination.transport),
            None => format!("Customer.io {} by {}", destination.region, destination.transport),
        },
    };
    let Some(delivery) = &status.delivery else {
        return format!("to {to}: no answer from the relay");
    };
    let state = match (&delivery.paused_since, delivery.paused_by, &delivery.held_until) {
        (Some(since), Some(by), _) => format!("PAUSED since {since} by status {by}"),
        _ if delivery.breaker_open => "BREAKER OPEN, trying one request at a time".into(),
        (_, _, Some(until)) => format!("WAITING until {until}, as Customer.io asked"),
        _ => "sending".into(),
    };
    format!(
        "to {to}: {state}; {} events in memory, {} operations, {} requests in flight of at most {}, at most {} \
         a second",
        delivery.events_in_memory,
        delivery.operations,
        delivery.in_flight,
        delivery.slots,
        delivery.rate
    )
}

fn scripts(status: &Status) -> String {
    let scripts = &status.scripts;
    let folder = scripts.folder.as_deref().unwrap_or("shipped");
    format!("{} ({folder})", scripts.bundle)
}

fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::health::{Health, Reason};
    use crate::admin::status::{Counts, Delivery, Destination, Scripts, Store};
    use crate::config::DestinationKind;
    use crate::journal::Pending;

    #[test]
    fn trouble_stands_where_a_person_looks_first() {
        let reason = Reason {
            code: "credentials_refused".into(),
            message: "nothing is sent\nuntil somebody looks".into(),
        };
        let status = Status {
            version: "1.0.0".into(),
            started_at: "2026-01-15T12:00:00.000Z".into(),
            at: "2026-01-15T12:01:00.000Z".into(),
            health: Health { status: health::Status::Degraded, reasons: vec![reason] },
            events: Counts { accepted: 5, delivered: 2, dropped: 1, ..Counts::default() },
            pending: Pending { live: 1, parked: 1, ..Pending::default() },
            oldest_pending_seconds: 60,
            oldest_retry_seconds: 0,
            delivery: Some(Delivery {
                events_in_memory: 1,
                operations: 1,
                in_flight: 0,
                slots: 8,
                held_until: None,
                paused_since: Some("2026-01-15T12:00:01.000Z".into()),
                paused_by: Some(401),
                breaker_open: false,
                rate: 300,
            }),
            scripts: Scripts {
                bundle: "abc".into(),
                folder: None,
                broken: None,
                suspended_stages: vec![],
            },
            journal: Store {
                folder: "/data".into(),
                size_bytes: 2048,
                disk_free_bytes: Some(1 << 30),
            },
            destination: Destination {
                kind: DestinationKind::Customerio,
                region: "eu".into(),
                url: None,
                transport: "v2".into(),
            },
            sources: vec!["web".into(), "app".into()],
        };

        insta::assert_snapshot!(printed(&status), @r"
        segue     1.0.0, up since 2026-01-15T12:00:00.000Z
        health    degraded
                  credentials_refused: nothing is sent
                  until somebody looks
        events    5 accepted + 0 redriven = 2 delivered + 1 dropped + 0 dead-lettered + 2 pending
        waiting   2 pending: 1 live, 0 backfill, 1 parked, 0 held, 0 to be tried again
        oldest    60 s in the queue, 0 s out of line to be tried again
        delivery  to Customer.io eu by v2: PAUSED since 2026-01-15T12:00:01.000Z by status 401; 1 events in memory, 1 operations, 0 requests in flight of at most 8, at most 300 a second
        scripts   abc (shipped)
        journal   /data, 2.00 KiB, 1.00 GiB free on its disk
        sources   web, app
        ");

        let url = Some("http://127.0.0.1:8090".into());
        let destination = Destination { url, ..status.destination.clone() };
        let elsewhere = printed(&Status { destination, ..status });
        assert!(elsewhere.contains("to http://127.0.0.1:8090 (customerio.url) by v2: "));
    }
}
