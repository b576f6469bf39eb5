//! The configuration: one TOML file, every key with a default, unknown keys refused.
//!
//! `${NAME}` inside a text reads the environment, so secrets need not stand in the file. Every error
//! names file and line and says what to do. Relative paths are relative to the file's folder.
//!
//! Not here: what the values do; each section is documented where it is used.

mod check;
mod document;
mod load;
mod mistake;
mod source;
mod values;

pub use check::SECRET_HEADERS;
pub use document::{Environment, Unset};
pub use load::{ConfigError, Loaded, Overrides, load, load_partly, load_with, parse};
pub use source::{AnonymousPolicy, IdentityConfig, PrimaryId, SourceConfig, StitchPolicy};
pub use values::{Secret, Span};

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::guard::GuardConfig;
use crate::journal::sqlite::SqliteOptions;

/// The whole file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of the listener for events. Default: `127.0.0.1:8080`.
    pub listen: String,
    /// Folder of the journal. Default: `data`.
    pub data_dir: PathBuf,
    /// Folder of the scripts, or `shipped`. Default: `transforms`. With a configuration file the
    /// folder must be there; without one the shipped scripts stand in.
    pub transforms: PathBuf,
    /// `customerio` or `emulator`. Default: `customerio` (without any file: `emulator`).
    pub destination: DestinationKind,
    /// `[[source]]`: who may send.
    pub source: Vec<SourceConfig>,
    /// `[guard]`: what old and repeated events may do.
    pub guard: GuardConfig,
    /// `[customerio]`: where events go.
    pub customerio: CustomerIoConfig,
    /// `[ingest]`: limits of requests.
    pub ingest: IngestConfig,
    /// `[journal]`: limits of what is kept.
    pub journal: JournalConfig,
    /// `[record]`: originals of events that have ended.
    pub record: RecordConfig,
    /// `[admin]`: the operator's listener.
    pub admin: AdminConfig,
    /// `[log]`: how Segue reports about itself.
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            data_dir: "data".into(),
            transforms: "transforms".into(),
            destination: DestinationKind::default(),
            source: Vec::new(),
            guard: GuardConfig::default(),
            customerio: CustomerIoConfig::default(),
            ingest: IngestConfig::default(),
            journal: JournalConfig::default(),
            record: RecordConfig::default(),
            admin: AdminConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Config {
    /// What is in force without any file: two sources on a loopback listener, the shipped scripts,
    /// and the emulator instead of Customer.io.
    pub fn demo() -> Self {
        Self {
            destination: DestinationKind::Emulator,
            source: vec![
                SourceConfig::demo("segment", crate::spec::Vendor::Segment),
                SourceConfig::demo("rudderstack", crate::spec::Vendor::Rudderstack),
            ],
            ..Self::default()
        }
    }

    /// Whether the shipped scripts run because the configuration says so.
    pub fn ships_scripts(&self) -> bool {
        self.transforms.as_os_str() == "shipped"
    }

    /// The folder whose scripts run; `None`: the shipped ones do.
    pub fn scripts_folder(&self) -> Option<&Path> {
        Some(self.transforms.as_path()).filter(|folder| !self.ships_scripts() && folder.is_dir())
    }

    /// The source of this name.
    pub fn source(&self, name: &str) -> Option<&SourceConfig> {
        self.source.iter().find(|source| source.name == name)
    }
}

/// Where events go.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DestinationKind {
    /// The workspace named in `[customerio]`.
    #[default]
    Customerio,
    /// The emulator inside this process: nothing leaves the machine.
    Emulator,
}

/// `[customerio]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CustomerIoConfig {
    /// The workspace's site id.
    pub site_id: Secret,
    /// The workspace's Track API key.
    pub api_key: Secret,
    /// The workspace's region: `us` or `eu`. Default: `us`.
    pub region: crate::destination::customerio::Region,
    /// Another base URL, for an emulator or a proxy of your own. Default: empty, the region's.
    pub url: String,
    /// `v2` (batches) or `v1` (one request for each operation). Default: `v2`.
    pub transport: crate::destination::customerio::Transport,
    /// Requests per second, live and backfill together. Default: 300; Customer.io asks to stay below
    /// 1000 for the whole account.
    pub rate: u32,
    /// Requests in flight at a time. Default: 8.
    pub concurrency: usize,
    /// How long a batch waits for company. Default: `25ms`.
    pub linger: Span,
    /// How long an event is tried before it becomes a dead letter, pauses excluded. Default: `24h`.
    pub age_budget: Span,
    /// The event that registers a device beside the lifecycle events, as RudderStack's setting
    /// `deviceTokenEventName`. Default: none.
    pub device_token_event: Option<String>,
}

impl Default for CustomerIoConfig {
    fn default() -> Self {
        Self {
            site_id: Secret::default(),
            api_key: Secret::default(),
            region: Default::default(),
            url: String::new(),
            transport: Default::default(),
            rate: 300,
            concurrency: 8,
            linger: Span::from_millis(25),
            age_budget: Span::from_hours(24),
            device_token_event: None,
        }
    }
}

/// `[ingest]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// Largest body on the SDK paths, in bytes, before and after inflating. Default: 4 MiB, the
    /// largest of the SDKs' own limits.
    pub max_body_bytes: usize,
    /// Largest body on webhook paths, in bytes, before and after inflating: a vendor drops a batch
    /// for good when it is refused. Default: 32 MiB.
    pub max_webhook_body_bytes: usize,
    /// How long a client may take to send a body. Default: `30s`.
    pub body_deadline: Span,
    /// Request headers that scripts may see as `ctx.headers`. Default: none.
    pub headers: Vec<String>,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 4 * 1024 * 1024,
            max_webhook_body_bytes: 32 * 1024 * 1024,
            body_deadline: Span::from_secs(30),
            headers: Vec::new(),
        }
    }
}

/// `[journal]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalConfig {
    /// How long a message id is remembered. Default: `7d`.
    pub dedupe_window: Span,
    /// How many message ids are remembered at most; the oldest go first. Default: 50,000,000.
    pub dedupe_max_keys: u64,
    /// How many events may wait. Default: 20,000,000.
    pub max_pending: u64,
    /// How large the journal may grow, in bytes. Default: 50 GiB.
    pub max_bytes: u64,
    /// Free space below which nothing more is accepted, in bytes. Default: 256 MiB.
    pub disk_floor_bytes: u64,
    /// How many facts are remembered at most: who is who, and business keys; those that would be forgotten
    /// first go first. Default: 20,000,000.
    pub max_facts: u64,
    /// How long dead letters are kept. Default: `30d`.
    pub keep_dead_letters: Span,
    /// How long `segue why` remembers. Default: `30d`.
    pub keep_trail: Span,
}

impl Default for JournalConfig {
    fn default() -> Self {
        let options = SqliteOptions::default();
        Self {
            dedupe_window: options.dedupe_window.into(),
            dedupe_max_keys: options.dedupe_max_keys as u64,
            max_pending: options.max_pending_rows,
            max_bytes: options.max_bytes,
            disk_floor_bytes: options.disk_floor_bytes,
            max_facts: options.max_facts,
            keep_dead_letters: options.dead_keep.into(),
            keep_trail: options.trail_keep.into(),
        }
    }
}

/// `[record]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordConfig {
    /// How long the originals of events that were delivered or dropped are kept. Default: `0s`, not at
    /// all. Dead letters have a time of their own.
    pub keep: Span,
    /// How many originals are kept at most; the oldest go first. Default: 1,000,000.
    pub max_events: u64,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self { keep: Span::from_secs(0), max_events: 1_000_000 }
    }
}

/// `[admin]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Address of the operator's listener: metrics, health with reasons, dead letters.
    /// Default: `127.0.0.1:8081`; empty: none.
    pub listen: String,
    /// The token that the operator's listener asks for; needed off loopback.
    pub token: Option<Secret>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8081".into(), token: None }
    }
}

/// `[log]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `text` or `json`. Default: `text`.
    pub format: LogFormat,
    /// A filter as of `tracing`, such as `info` or `segue=debug`. Default: `info`, without
    /// what the HTTP library says of its own start and of requests that it cannot read.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info,actix_server=warn,actix_http=off".into() }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

#[cfg(test)]
mod tests;
