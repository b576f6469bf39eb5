//! What a running Segue is doing, in numbers for a person.
//!
//! Not here: whether that is good ([`super::health`]); numbers over time (`super::metrics`).

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::health::Health;
use super::{Admin, Picture};
use crate::config::DestinationKind;
use crate::journal::Pending;

/// What a running Segue is doing.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: String,
    /// The moment of these numbers.
    pub at: String,
    /// How well it is.
    pub health: Health,
    /// What became of events so far, across restarts.
    pub events: Counts,
    /// What has no outcome yet, by where it waits.
    pub pending: Pending,
    /// Age of the oldest event in the queues, in seconds.
    pub oldest_pending_seconds: u64,
    /// Age of the oldest event that is out of line to be tried again, in seconds.
    #[serde(default)]
    pub oldest_retry_seconds: u64,
    /// What delivery is doing; `None`: the relay does not answer.
    pub delivery: Option<Delivery>,
    /// The scripts in force.
    pub scripts: Scripts,
    /// The store.
    pub journal: Store,
    /// Where events go.
    pub destination: Destination,
    /// Names of the sources.
    pub sources: Vec<String>,
}

/// The conservation law: `accepted + redriven = delivered + dropped + dead_lettered + pending`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Answered with 200.
    pub accepted: u64,
    /// Dead letters that were sent on their way again.
    pub redriven: u64,
    /// Customer.io has everything that they led to.
    pub delivered: u64,
    /// Deliberately not sent.
    pub dropped: u64,
    /// Could not be sent.
    pub dead_lettered: u64,
}

/// What delivery is doing.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Delivery {
    /// Events in memory without an outcome.
    pub events_in_memory: u64,
    /// Operations in memory that wait or fly.
    pub operations: u64,
    /// Requests without an answer yet.
    pub in_flight: u64,
    /// How many there may be now: fewer than configured after failures.
    #[serde(default)]
    pub slots: u64,
    /// Until when nothing is sent because Customer.io asked for patience.
    #[serde(default)]
    pub held_until: Option<String>,
    /// Since when nothing is sent because the credentials are refused.
    pub paused_since: Option<String>,
    /// The status with which they are refused.
    pub paused_by: Option<u16>,
    /// Whether most requests fail and only probes are sent.
    pub breaker_open: bool,
    /// The most requests in a second.
    pub rate: u32,
}

/// The scripts in force.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Scripts {
    /// Their hash.
    pub bundle: String,
    /// Their folder; `None`: the shipped ones.
    pub folder: Option<String>,
    /// Why those on disk cannot be used, where they cannot.
    pub broken: Option<String>,
    /// Stages that are left out because they ran out of time too often.
    pub suspended_stages: Vec<String>,
}

/// The store.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Store {
    /// Its folder, as the system names it.
    pub folder: String,
    /// Size of its files.
    pub size_bytes: u64,
    /// Free bytes on its disk, where the system tells.
    pub disk_free_bytes: Option<u64>,
}

/// Where events go.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Destination {
    /// `customerio` or `emulator`.
    pub kind: DestinationKind,
    /// The region of the account.
    pub region: String,
    /// The base URL that is configured instead of the region's, where one is.
    #[serde(default)]
    pub url: Option<String>,
    /// `v1` or `v2`.
    pub transport: String,
}

impl Admin {
    /// The status in a picture.
    pub(super) fn status(&self, picture: &Picture) -> Status {
        let config = &self.config;
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            started_at: picture.started_at.to_string(),
            at: picture.at.to_string(),
            health: Health::of(picture),
            events: Counts::of(picture),
            pending: picture.pending,
            oldest_pending_seconds: picture.oldest_pending_age().as_secs(),
            oldest_retry_seconds: picture.oldest_retry_age().as_secs(),
            delivery: Delivery::of(picture, config.customerio.rate),
            scripts: Scripts {
                bundle: picture.bundle.clone(),
                folder: config.scripts_folder().map(|folder| folder.display().to_string()),
                broken: picture.broken_scripts.clone(),
                suspended_stages: picture.suspended_stages.clone(),
            },
            journal: Store {
                folder: whole(&config.data_dir),
                size_bytes: picture.journal.size_bytes,
                disk_free_bytes: picture.journal.disk_free_bytes,
            },
            destination: Destination {
                kind: config.destination,
                region: config.customerio.region.as_str().into(),
                url: Some(config.customerio.url.clone()).filter(|url| !url.is_empty()),
                transport: config.customerio.transport.as_str().into(),
            },
            sources: config.source.iter().map(|source| source.name.clone()).collect(),
        }
    }
}

impl Counts {
    fn of(picture: &Picture) -> Self {
        let mut counts = Self::default();
        for total in &picture.totals {
            let count = match total.outcome.as_str() {
                "accepted" => &mut counts.accepted,
                "redriven" => &mut counts.redriven,
                "delivered" => &mut counts.delivered,
                "dropped" => &mut counts.dropped,
                "dead_lettered" => &mut counts.dead_lettered,
                _ => continue,
            };
            *count += total.count;
        }
        counts
    }
}

impl Delivery {
    fn of(picture: &Picture, rate: u32) -> Option<Self> {
        let relay = picture.relay?;
        let standing = relay.standing;
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Some(Self {
            events_in_memory: count(relay.unsettled),
            operations: count(standing.items),
            in_flight: count(standing.in_flight),
            slots: count(standing.slots),
            held_until: standing.held_until.map(|until| until.to_string()),
            paused_since: standing.paused.map(|(since, _)| since.to_string()),
            paused_by: standing.paused.map(|(_, status)| status),
            breaker_open: standing.breaker_open,
            rate,
        })
    }
}

/// A path that means the same in every working folder.
fn whole(path: &Path) -> String {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}
