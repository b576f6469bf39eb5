//! `segue map`: what would be sent to Customer.io for an event, by the mapping alone.
//!
//! Reads NDJSON from stdin and prints a JSON line for each line: `{"requests":[…]}`, or
//! `{"dropped":"reason"}`, or `{"error":{"code","message"}}`. Nothing is sent and nothing is
//! remembered: no script, no guard, no deduplication, no identity store. It is the same code that
//! `serve` runs, so it shows what a change of mapping, transport or region changes.
//!
//! Not here: the whole path with every reason (`segue explain`).

use std::fmt;
use std::io::{BufRead, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use base64::Engine;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock::{Clock, SystemClock, Time};
use crate::destination::customerio::mapping::{Mapped, Mapping, Options};
use crate::destination::customerio::request::Request;
use crate::destination::customerio::{Region, Transport};
use crate::outcome::DeadLetter;
use crate::spec::{Arrival, Ingress, RawCall, normalise};

/// Shows what an event becomes: events as NDJSON on stdin, requests as NDJSON on stdout.
///
/// Example: echo '{"type":"track","userId":"u1","event":"Order Completed"}' | segue map
#[derive(Args, Clone)]
pub struct MapArgs {
    /// Whose native destination to reproduce.
    #[arg(long, value_enum, default_value_t = Mapping::Segment)]
    pub mapping: Mapping,
    /// How operations travel.
    #[arg(long, value_enum, default_value_t = Transport::V2)]
    pub transport: Transport,
    /// Where the account lives.
    #[arg(long, value_enum, default_value_t = Region::Us)]
    pub region: Region,
    /// The site id to show in the requests; nothing is sent with it.
    #[arg(long, value_name = "ID", default_value = "SITE_ID")]
    pub site_id: String,
    /// The API key to show in the requests; nothing is sent with it.
    #[arg(long, value_name = "KEY", default_value = "API_KEY")]
    pub api_key: String,
    /// RudderStack: the track event that registers the device of its context.
    #[arg(long, value_name = "EVENT")]
    pub device_token_event: Option<String>,
}

/// Without the key.
impl fmt::Debug for MapArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapArgs")
            .field("mapping", &self.mapping)
            .field("transport", &self.transport)
            .field("region", &self.region)
            .field("device_token_event", &self.device_token_event)
            .finish_non_exhaustive()
    }
}

/// Runs the command until stdin ends. An event that cannot be mapped is a line of the output; others are
/// mapped all the same, and the command exits with 1.
///
/// # Errors
/// Empty credentials, or stdin or stdout fail.
pub fn run(args: MapArgs) -> anyhow::Result<ExitCode> {
    let mapper = Mapper::new(args)?;
    let stdin = std::io::stdin().lock();
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    let mut refused = false;
    for line in stdin.split(b'\n') {
        let line = line.context("stdin cannot be read")?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let result = mapper.map(line.into(), SystemClock.now());
        refused |= matches!(result, Line::Error { .. });
        serde_json::to_writer(&mut stdout, &result).context("stdout cannot be written")?;
        stdout.write_all(b"\n").context("stdout cannot be written")?;
    }
    stdout.flush().context("stdout cannot be written")?;
    Ok(ExitCode::from(u8::from(refused)))
}

struct Mapper {
    mapping: Mapping,
    transport: Transport,
    region: Region,
    authorization: String,
    options: Options,
}

/// One line of the output.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Requests(Vec<Shown>),
    Dropped(String),
    Error { code: &'static str, message: String },
}

#[derive(Serialize)]
struct Shown {
    method: &'static str,
    url: String,
    headers: Headers,
    body: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Headers {
    authorization: String,
    #[serde(rename = "content-type", skip_serializing_if = "Option::is_none")]
    content_type: Option<&'static str>,
}

impl Mapper {
    fn new(args: MapArgs) -> anyhow::Result<Self> {
        for (flag, value) in [("--site-id", &args.site_id), ("--api-key", &args.api_key)] {
            if value.is_empty() {
                bail!("{flag} is empty: Customer.io knows no account without one");
            }
        }
        let credentials = format!("{}:{}", args.site_id, args.api_key);
        let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
        Ok(Self {
            mapping: args.mapping,
            transport: args.transport,
            region: args.region,
            authorization: format!("Basic {encoded}"),
            options: Options { device_token_event: args.device_token_event, ..Options::default() },
        })
    }

    /// What one line of NDJSON becomes, accepted at `now` by a webhook.
    fn map(&self, line: Bytes, now: Time) -> Line {
        match self.requests(line, now) {
            Ok(line) => line,
            Err(letter) => Line::Error { code: letter.code.as_str(), message: letter.message },
        }
    }

    fn requests(&self, line: Bytes, now: Time) -> Result<Line, DeadLetter> {
        let arrival = Arrival { ingress: Ingress::Webhook, accepted_at: now, ..Arrival::default() };
        let event = normalise(&mut RawCall::new(arrival, line), self.mapping.vendor())?;
        let subject = self.mapping.subject(&event);
        match self.mapping.operations(&event, &subject, &self.options)? {
            Mapped::Dropped(reason) => Ok(Line::Dropped(reason.code().to_owned())),
            Mapped::Operations(operations) => {
                let mut shown = Vec::with_capacity(operations.len());
                for operation in operations {
                    shown.push(self.shown(operation.encode(self.transport)?.into()));
                }
                Ok(Line::Requests(shown))
            }
        }
    }

    fn shown(&self, request: Request) -> Shown {
        let Request { method, path, body } = request;
        Shown {
            method: method.as_str(),
            url: format!("{}{path}", self.region.url()),
            headers: Headers {
                authorization: self.authorization.clone(),
                content_type: (!body.is_empty()).then_some("application/json"),
            },
            body: serde_json::from_slice(&body).ok(),
        }
    }
}

impl ValueEnum for Mapping {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(self.as_str().into())
    }
}

impl ValueEnum for Transport {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::V2, Self::V1]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(self.as_str().into())
    }
}

impl ValueEnum for Region {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Us, Self::Eu]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(self.as_str().into())
    }
}

#[cfg(test)]
mod tests;
