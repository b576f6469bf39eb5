//! How Segue reports about itself: log lines for people or machines, never payloads.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Sends log lines to standard error, as configured. The environment's `RUST_LOG` wins over the
/// configured filter. Does nothing when a subscriber is already there.
///
/// # Errors
/// When the filter cannot be read.
pub fn init(config: &LogConfig) -> Result<(), String> {
    let filter = EnvFilter::try_from_default_env()
        .or_else(|_| EnvFilter::try_new(&config.filter))
        .map_err(|error| format!("[log] filter {:?} cannot be read: {error}", config.filter))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Colours are for people at a terminal; a file would keep their codes.
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let _ = match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}
