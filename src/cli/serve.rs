//! `segue serve`: takes events and relays them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::app::App;
use crate::clock::SystemClock;
use crate::config::{
    self, Config, CustomerIoConfig, DestinationKind, Loaded, Overrides, SourceConfig,
};
use crate::telemetry;

/// Take events and relay them to Customer.io.
///
/// Without any configuration file the built-in defaults are in force: two open sources on a loopback
/// address, the shipped scripts, and an emulator in place of Customer.io. Nothing leaves the machine.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue serve --config segue.toml")]
pub struct ServeArgs {
    /// The configuration file. Default: segue.toml, where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here instead of where the configuration says.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Let the emulator stand in for Customer.io on an address that others can reach.
    #[arg(long)]
    demo: bool,
}

/// Runs the command until it is told to stop.
///
/// # Errors
/// What could not be started, and why.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let overrides = Overrides { listen: args.listen.as_deref(), demo: args.demo };
    let loaded = config::load(args.config.as_deref(), &overrides)?;
    telemetry::init(&loaded.config.log).map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(loaded))
}

async fn serve(loaded: Loaded) -> anyhow::Result<ExitCode> {
    let app = App::start(loaded.config.clone(), Arc::new(SystemClock)).await?;
    // Whoever reads it may be gone, or the disk behind it full: events matter more.
    let _ = std::io::stdout().write_all(banner(&loaded, &app).as_bytes());
    until_stopped(&app).await?;
    tracing::info!("stopping");
    app.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Says what listens where, where events go, and what to try.
fn banner(loaded: &Loaded, app: &App) -> String {
    let config = &loaded.config;
    let mut text = String::new();
    let file = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => "built-in defaults (no segue.toml here)".into(),
    };
    let sources: Vec<String> = config
        .source
        .iter()
        .map(|source| format!("{} ({})", source.name, source.kind.as_str()))
        .collect();
    let _ = writeln!(text, "Segue {} with {file}", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(text, "  takes events  http://{}", app.addr());
    let _ = writeln!(text, "  sources       {}", sources.join(", "));
    let hash = app.bundle().hash().to_owned();
    let _ = writeln!(text, "  scripts       {}", scripts(config, &hash, app.refusal().is_some()));
    let _ = writeln!(text, "  journal       {}", config.data_dir.display());
    let destination = match app.emulator() {
        Some(emulator) => format!(
            "the built-in Customer.io EMULATOR at {0}: nothing leaves this machine\n                look at {0}/emulator/people and {0}/emulator/activity",
            emulator.url()
        ),
        None => customerio(&config.customerio),
    };
    let _ = writeln!(text, "  sends them to {destination}");
    if let Some(admin) = app.admin_addr() {
        let _ = writeln!(text, "  operator      http://{admin}/health  http://{admin}/metrics");
    }
    if config.destination == DestinationKind::Emulator
        && let Some(line) = try_this(&app.addr().to_string(), &config.source)
    {
        let _ = writeln!(text, "\nTry:\n  {line}");
    }
    text
}

/// Which scripts are in force, and why it is not those that are configured.
fn scripts(config: &Config, hash: &str, is_refused: bool) -> String {
    let folder = config.transforms.display();
    match config.scripts_folder() {
        Some(_) if is_refused => {
            format!("{hash}; what is in {folder} IS REFUSED, `segue status` says why")
        }
        Some(_) => format!("{folder} ({hash})"),
        None if config.ships_scripts() => format!("shipped ({hash})"),
        None => format!("shipped, since there is no folder {folder} ({hash})"),
    }
}

fn customerio(customerio: &CustomerIoConfig) -> String {
    let transport = customerio.transport.as_str();
    match customerio.url.as_str() {
        "" => format!("Customer.io, region {}, transport {transport}", customerio.region.as_str()),
        url => format!("{url} (customerio.url), transport {transport}"),
    }
}

/// A purchase as a shop really sends it: money as text, a name of its own, a total of its own. To an
/// open source, else to one that asks for something that can be put in by hand.
fn try_this(addr: &str, sources: &[SourceConfig]) -> Option<String> {
    let event = r#"{"type":"track","event":"orderCompleted","messageId":"demo-1","userId":"u-1","properties":{"orderId":1001,"order_total":"$49.00","currency":"usd","products":[{"sku":"MUG","price":"$24.50","quantity":"2"}]}}"#;
    let is_open = |source: &&SourceConfig| !source.webhook_is_protected();
    let by_token =
        |source: &&SourceConfig| source.token.is_some() && source.webhook_secret.is_none();
    let by_key = |source: &&SourceConfig| !source.write_keys.is_empty();
    let (path, secret) = if let Some(source) = sources.iter().find(is_open) {
        (format!("webhook/{}", source.name), String::new())
    } else if let Some(source) = sources.iter().find(by_token) {
        let header = format!(" -H 'Authorization: Bearer TOKEN_OF_{}'", source.name);
        (format!("webhook/{}", source.name), header)
    } else {
        let source = sources.iter().find(by_key)?;
        ("v1/track".into(), format!(" -u 'WRITE_KEY_OF_{}:'", source.name))
    };
    Some(format!(
        "curl -sS http://{addr}/{path}{secret} -H 'Content-Type: application/json' -d '{event}'"
    ))
}

/// Waits for the signal to stop; reloads the scripts on SIGHUP.
async fn until_stopped(app: &App) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                interrupt = tokio::signal::ctrl_c() => return interrupt,
                _ = hang_up.recv() => app.reload_and_tell().await,
            }
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_try_is_one_that_the_source_lets_in() {
        let sources = |text: &str| {
            let text = format!("destination = \"emulator\"\n{text}");
            config::parse(&text, "segue.toml", &|_| None).unwrap().source
        };
        #[rustfmt::skip]
        let table = [
            ("an open one behind another", "[[source]]\nname = \"a\"\ntoken = \"t\"\n[[source]]\nname = \"b\"", Some("/webhook/b -H 'Content-Type")),
            ("a token", "[[source]]\nname = \"a\"\ntoken = \"t\"", Some("/webhook/a -H 'Authorization: Bearer TOKEN_OF_a'")),
            ("a key beside a secret", "[[source]]\nname = \"a\"\nwebhook_secret = \"s\"\nwrite_keys = [\"k\"]", Some("/v1/track -u 'WRITE_KEY_OF_a:'")),
            ("nothing but a signature", "[[source]]\nname = \"a\"\nwebhook_secret = \"s\"", None),
        ];
        for (what, text, expected) in table {
            let line = try_this("127.0.0.1:8080", &sources(text));
            assert_eq!(line.is_some(), expected.is_some(), "{what}: {line:?}");
            let says = expected.unwrap_or_default();
            assert!(line.unwrap_or_default().contains(says), "{what}");
        }
    }

    #[test]
    fn the_banner_says_where_scripts_come_from_and_events_go() {
        let folder = tempfile::tempdir().unwrap();
        let here = Config { transforms: folder.path().into(), ..Config::demo() };
        let shipped = Config { transforms: "shipped".into(), ..Config::demo() };
        let gone = Config { transforms: folder.path().join("gone"), ..Config::demo() };
        assert!(scripts(&here, "abc", false).ends_with(" (abc)"));
        assert!(scripts(&here, "abc", true).contains("IS REFUSED"));
        assert_eq!(scripts(&shipped, "abc", false), "shipped (abc)");
        assert!(scripts(&gone, "abc", false).starts_with("shipped, since there is no folder"));

        let own = CustomerIoConfig { url: "http://127.0.0.1:8090".into(), ..Default::default() };
        assert_eq!(customerio(&own), "http://127.0.0.1:8090 (customerio.url), transport v2");
        assert_eq!(customerio(&Default::default()), "Customer.io, region us, transport v2");
    }
}
