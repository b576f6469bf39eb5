//! Everything that is known at one moment; health, metrics and status only read from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::contracts::Kept;
use super::lately::Dying;
use super::watch::Exits;
use super::{Admin, AdminError};
use crate::clock::Time;
use crate::data_health::Figures;
use crate::destination::customerio::client::Failure;
use crate::journal::{JournalHealth, Pending, Total};
use crate::relay;

/// A relay that takes longer to say what it is doing is stuck.
const RELAY_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Everything that is known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// The moment.
    pub at: Time,
    /// When Segue started.
    pub started_at: Time,
    /// The counters of the conservation law.
    pub totals: Vec<Total>,
    /// What waits, of the same moment as the counters.
    pub pending: Pending,
    /// The state of the store.
    pub journal: JournalHealth,
    /// Free bytes on the disk below which no events are taken.
    pub disk_floor_bytes: u64,
    /// What the relay is doing; `None`: it does not answer.
    pub relay: Option<relay::Status>,
    /// The last request to Customer.io that failed.
    pub last_failure: Option<Failure>,
    /// The scripts in force.
    pub bundle: String,
    /// Stages of the scripts that are left out because they ran out of time too often.
    pub suspended_stages: Vec<String>,
    /// Why the scripts on disk are not in force, where they cannot be used.
    pub broken_scripts: Option<String>,
    /// Exit events among the dead letters.
    pub exits: Exits,
    /// Whether most events die lately.
    pub dying: Option<Dying>,
    /// How well the contracts are kept.
    pub contracts: Kept,
    /// What was found in the data, by source.
    pub data: BTreeMap<String, Figures>,
}

impl Picture {
    /// How long ago the oldest event that is tried again was accepted.
    pub fn oldest_retry_age(&self) -> Duration {
        self.journal.oldest_retry.map(|at| self.at.since(at)).unwrap_or_default()
    }

    /// How long ago the oldest event in the queues was accepted.
    pub fn oldest_pending_age(&self) -> Duration {
        self.journal.oldest_pending.map(|at| self.at.since(at)).unwrap_or_default()
    }
}

impl Admin {
    /// Looks at everything.
    pub(super) async fn look(self: &Arc<Self>) -> Picture {
        let relay = tokio::time::timeout(RELAY_ANSWERS_WITHIN, self.relay.status()).await;
        let relay = relay.ok().flatten();
        let admin = Arc::clone(self);
        // The journal reads from disk, and may wait for somebody's long question.
        let looked = tokio::task::spawn_blocking(move || admin.look_at_rest(relay)).await;
        looked.unwrap_or_default()
    }

    fn look_at_rest(&self, relay: Option<relay::Status>) -> Picture {
        let at = self.clock.now();
        if let Err(error) = self.watch.check_exits(self.journal.as_ref(), false, at) {
            tracing::debug!(%error, "the dead letters cannot be read");
        }
        let (totals, pending) = self.journal.balance();
        let bundle = self.bundle.load();
        Picture {
            at,
            started_at: self.watch.started_at(),
            totals,
            pending,
            journal: self.journal.health(),
            disk_floor_bytes: self.config.journal.disk_floor_bytes,
            relay,
            last_failure: self.client.last_failure(),
            bundle: bundle.hash().to_owned(),
            suspended_stages: bundle.suspended().into_iter().map(String::from).collect(),
            broken_scripts: self.reloader.refusal(),
            exits: self.watch.exits(at),
            dying: self.watch.dying(at),
            contracts: self.kept(),
            data: self.watch.data().sources().clone(),
        }
    }

    /// Runs something that reads the journal where it may wait.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Self) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, AdminError> {
        let admin = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || question(&admin)).await;
        asked.unwrap_or(Err(AdminError::Unfinished))
    }
}
