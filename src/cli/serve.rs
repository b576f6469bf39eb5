//! `segue serve`: takes events and relays them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::stdout;
use crate::app::App;
use crate::clock::SystemClock;
use crate::config::{self, Config, DestinationKind, Loaded};
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
    let mut loaded = config::load(args.config.as_deref())?;
    if let Some(listen) = &args.listen {
        loaded.config.listen.clone_from(listen);
    }
    config::check_exposure(&loaded.config, args.demo)?;
    telemetry::init(&loaded.config.log).map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(loaded))
}

async fn serve(loaded: Loaded) -> anyhow::Result<ExitCode> {
    let app = App::start(loaded.config.clone(), Arc::new(SystemClock)).await?;
    stdout::to_the_end(|out| Ok(out.write_all(banner(&loaded, &app).as_bytes())?))?;
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
    let _ = writeln!(text, "  scripts       {} ({})", scripts_from(config), app.bundle().hash());
    let _ = writeln!(text, "  journal       {}", config.data_dir.display());
    let destination = match app.emulator() {
        Some(emulator) => format!(
            "the built-in Customer.io EMULATOR at {0}: nothing leaves this machine\n                look at {0}/emulator/people and {0}/emulator/activity",
            emulator.url()
        ),
        None => format!(
            "Customer.io, region {}, transport {}",
            config.customerio.region.as_str(),
            config.customerio.transport.as_str()
        ),
    };
    let _ = writeln!(text, "  sends them to {destination}");
    if let Some(admin) = app.admin_addr() {
        let _ = writeln!(text, "  operator      http://{admin}/health  http://{admin}/metrics");
    }
    if config.destination == DestinationKind::Emulator
        && let Some(source) = config.source.first()
    {
        let _ = writeln!(text, "\nTry:\n  {}", try_this(&app.addr().to_string(), &source.name));
    }
    text
}

fn scripts_from(config: &Config) -> String {
    match config.transforms.is_dir() {
        true => config.transforms.display().to_string(),
        false => format!("shipped, since there is no folder {}", config.transforms.display()),
    }
}

/// A purchase as a shop really sends it: money as text, a name of its own, a total of its own.
fn try_this(addr: &str, source: &str) -> String {
    let event = r#"{"type":"track","event":"orderCompleted","messageId":"demo-1","userId":"u-1","properties":{"orderId":1001,"order_total":"$49.00","currency":"usd","products":[{"sku":"MUG","price":"$24.50","quantity":"2"}]}}"#;
    format!(
        "curl -sS http://{addr}/webhook/{source} -H 'Content-Type: application/json' -d '{event}'"
    )
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
