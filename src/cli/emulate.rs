//! `segue emulate`: Customer.io on this machine, to send to, to look into, and to break.
//!
//! Not here: what it answers ([`crate::emulator`]).

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;

use super::stdout;
use crate::clock::SystemClock;
use crate::emulator::settings::ApiKey;
use crate::emulator::{Emulator, FaultRule, Settings, serve};

/// Serve an emulator of Customer.io's Track API
///
/// It validates like Customer.io, keeps people and events in memory, and says for every event
/// whether it could have started a campaign. Point customerio.url of a Segue at it, or any client of
/// the Track API.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct EmulateArgs {
    /// Where to listen; port 0 takes any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Listen off loopback too: everybody who reaches the port can read and reset everything
    #[arg(long)]
    allow_remote: bool,
    /// The only site id to accept [default: any]
    #[arg(long, value_name = "ID")]
    site_id: Option<String>,
    /// The only API key to accept [default: any]
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// A fault for the next requests, such as '500*3, reset, ok'; see below (repeatable)
    #[arg(long, value_name = "RULE")]
    fail: Vec<String>,
    /// Milliseconds by which every answer is late
    #[arg(long, value_name = "MS")]
    latency: Option<u64>,
    /// A switch, such as stale=attribute; GET /emulator/settings lists them (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  segue emulate
  segue emulate --listen 127.0.0.1:0 --fail 'person=42: 503*5' --set stale=attribute

Faults:
  A rule is [CONDITION,…:]STEP[*TIMES],…[,repeat]. Each request that meets the conditions takes the
  next step of the first rule that has one left.
  Conditions: person=ID  event=NAME  path=PREFIX  share=0.01
  Steps:      ok  503  429/30 (with Retry-After)  reset (after the request was done)
              lost (before)  slow/MS  trickle/MS  garbage  reject (the items, 207)  reject200
  The long form, JSON, goes to POST /emulator/faults.

Look at:
  /emulator/people/ID  /emulator/activity  /emulator/events  /emulator/requests";

/// Serves until interrupted.
///
/// # Errors
/// When a rule or a switch cannot be read, or the address cannot be listened on.
pub fn run(args: EmulateArgs) -> anyhow::Result<ExitCode> {
    let listen = args.listen;
    if !listen.ip().is_loopback() && !args.allow_remote {
        bail!(
            "{listen} is not a loopback address, and the emulator shows what it holds to everybody; \
             add --allow-remote if that is meant"
        );
    }
    let settings = settings(args)?;
    actix_web::rt::System::new().block_on(async move {
        let running = serve(listen, Emulator::new(settings), Arc::new(SystemClock))
            .with_context(|| format!("cannot listen on {listen}"))?;
        stdout::to_the_end(|out| Ok(writeln!(out, "{}", greeting(&running.url()))?))?;
        tokio::signal::ctrl_c().await.context("cannot wait for an interrupt")?;
        running.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn greeting(url: &str) -> String {
    format!(
        "Customer.io's Track API, emulated, on {url}\n\
         \n\
         people    {url}/emulator/people\n\
         activity  {url}/emulator/activity\n\
         requests  {url}/emulator/requests\n\
         \n\
         Try:  curl -u site:key -H 'content-type: application/json' \
         -d '{{\"name\":\"Order Completed\",\"data\":{{\"total\":49}}}}' \
         {url}/api/v1/customers/42/events\n\
         Stop with Ctrl-C."
    )
}

/// The settings that the arguments ask for.
fn settings(args: EmulateArgs) -> anyhow::Result<Settings> {
    let mut settings = read_switches(&args.set)?;
    for rule in &args.fail {
        let rule = FaultRule::parse(rule)
            .map_err(|problem| anyhow::anyhow!("--fail {rule:?}: {problem}"))?;
        settings.faults.push(rule);
    }
    settings.site_id = args.site_id.or(settings.site_id);
    settings.api_key = args.api_key.map(ApiKey::new).or(settings.api_key);
    settings.latency_ms = args.latency.unwrap_or(settings.latency_ms);
    Ok(settings)
}

/// Reads `NAME=VALUE` as a line of TOML; a bare word is a text.
fn read_switches(switches: &[String]) -> anyhow::Result<Settings> {
    let mut lines = String::new();
    for switch in switches {
        let (name, value) = switch
            .split_once('=')
            .with_context(|| format!("--set {switch:?}: expected NAME=VALUE"))?;
        let plain = format!("{} = {}\n", name.trim(), value.trim());
        let line = match toml::from_str::<toml::Table>(&plain) {
            Ok(_) => plain,
            Err(_) => format!("{} = {}\n", name.trim(), toml::Value::from(value.trim())),
        };
        toml::from_str::<Settings>(&line)
            .map_err(|problem| anyhow::anyhow!("--set {switch:?}: {}", problem.message()))?;
        lines.push_str(&line);
    }
    toml::from_str(&lines).context("--set: a switch is given twice")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::emulator::settings::{Region, Stale};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: EmulateArgs,
    }

    fn read(words: &[&str]) -> anyhow::Result<Settings> {
        let line = Line::try_parse_from(std::iter::once(&"emulate").chain(words))?;
        settings(line.args)
    }

    #[test]
    fn arguments_become_settings() {
        let words = [
            "--set",
            "stale=attribute",
            "--set",
            "history.events=5",
            "--set",
            "region=\"eu\"",
            "--fail",
            "500*3, ok",
            "--latency",
            "20",
            "--site-id",
            "s",
        ];
        let settings = read(&words).unwrap();
        assert_eq!(settings.stale, Stale::Attribute);
        assert_eq!(settings.history.events, 5);
        assert_eq!(settings.history.requests, 5_000);
        assert_eq!(settings.region, Region::Eu);
        assert_eq!(settings.faults.len(), 1);
        assert_eq!(settings.latency_ms, 20);
        assert_eq!(settings.site_id.as_deref(), Some("s"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let table: [(&[&str], &str); 5] = [
            (&["--set", "stale"], "expected NAME=VALUE"),
            (&["--set", "stale=sometimes"], "unknown variant `sometimes`"),
            (&["--set", "stael=profile"], "unknown field `stael`"),
            (&["--set", "stale=profile", "--set", "stale=never"], "given twice"),
            (&["--fail", "boom"], "step \"boom\" cannot be read"),
        ];
        for (words, expected) in table {
            let problem = format!("{:#}", read(words).unwrap_err());
            assert!(problem.contains(expected), "{words:?}: {problem}");
        }
    }

    #[test]
    fn it_listens_off_loopback_only_when_told_to() {
        let line = Line::try_parse_from(["emulate", "--listen", "0.0.0.0:0"]).unwrap();
        let problem = run(line.args).unwrap_err();
        assert!(problem.to_string().contains("--allow-remote"), "{problem}");
    }
}
