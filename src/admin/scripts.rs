//! Brings the scripts on disk into force when an operator asks for it, and goes back from scripts: when
//! asked, or when they are judged. What failed under them is sent again under those before.
//!
//! Not here: how a bundle is checked and exchanged ([`crate::transform::reload`]), when one is judged
//! ([`crate::transform::trial`]).

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context as _;
use metrics::counter;
use serde::{Deserialize, Serialize};

use super::metrics::RELOADS;
use super::{Admin, AdminError};
use crate::journal::DeadFilter;
use crate::outcome::DeadCode;
use crate::transform::reload::Reloaded;
use crate::transform::trial::Verdict;

/// Checking a bundle runs scripts, which need more stack than a thread usually has.
const STACK: usize = 16 << 20;
/// Events that were under way with withdrawn scripts still become dead letters for a while.
const STRAGGLERS: (u32, Duration) = (15, Duration::from_secs(1));
/// More than any journal holds.
const ALL: usize = 1 << 40;
/// So many of each kind of failure are sent again before whoever went back gets an answer; the rest follows.
const AT_ONCE: usize = 1000;

/// What is wanted of the scripts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wanted {
    /// Those in force are withdrawn, and those before them come back.
    pub back: bool,
    /// Those on disk come into force even if they were withdrawn.
    pub again: bool,
}

/// Which scripts a reload found and left in force.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct InForce {
    /// The hash of the scripts in force now.
    pub bundle: String,
    /// The hash of those before; the same where nothing has changed.
    pub before: String,
    /// What is not wrong with them, but surprising.
    pub warnings: Vec<String>,
    /// How many events that failed under withdrawn scripts were sent on their way again so far.
    #[serde(default)]
    pub redriven: u64,
}

impl Admin {
    /// Reads the scripts again, and puts them in force if they can be used; or goes back. Blocks
    /// meanwhile.
    ///
    /// # Errors
    /// There is no folder, what is in it cannot be used, or there is nothing to go back to; the
    /// scripts before stay in force.
    pub(super) fn reload(self: &Arc<Self>, wanted: Wanted) -> Result<InForce, AdminError> {
        let folder = self.reloader.dir();
        if !(wanted.back || folder.is_dir()) {
            return Err(AdminError::NoScripts(folder.display().to_string()));
        }
        let before = self.bundle.load_full();
        let reloaded = self.change(wanted)?;
        let mut redriven = 0;
        match &reloaded {
            Reloaded::Refused(reason) => {
                count(&reloaded);
                return Err(AdminError::BrokenScripts(reason.clone()));
            }
            Reloaded::Swapped { from, to } if wanted.back => {
                counter!(RELOADS, "result" => "back").increment(1);
                tracing::warn!(%from, %to, "an operator went back to the scripts before");
                // They are in force whatever becomes of this: the thread tries it again.
                redriven = self.send_again(from, AT_ONCE).unwrap_or_else(|error| {
                    tracing::warn!(%error, "what failed under withdrawn scripts waits to be sent again");
                    0
                });
                let (admin, from) = (Arc::downgrade(self), from.clone());
                // Without the thread the stragglers wait for a redrive by hand.
                let _ = std::thread::Builder::new()
                    .name("redrive".into())
                    .spawn(move || send_stragglers(&admin, &from));
            }
            Reloaded::Swapped { from, to } => {
                count(&reloaded);
                tracing::info!(%from, %to, "the scripts are in force that an operator asked for");
            }
            Reloaded::Unchanged => {}
        }
        let bundle = self.bundle.load_full();
        Ok(InForce {
            bundle: bundle.hash().to_owned(),
            before: before.hash().to_owned(),
            warnings: bundle.warnings().iter().map(ToString::to_string).collect(),
            redriven,
        })
    }

    fn change(&self, wanted: Wanted) -> Result<Reloaded, AdminError> {
        let reloader = Arc::clone(&self.reloader);
        let work = move || match wanted {
            Wanted { back: true, .. } => reloader.back(None, "an operator went back"),
            Wanted { again: true, .. } => Ok(reloader.reload_again()),
            _ => Ok(reloader.reload()),
        };
        let thread =
            std::thread::Builder::new().name("reload".into()).stack_size(STACK).spawn(work);
        let ended = thread.map_err(|_| AdminError::Unfinished)?.join();
        ended.map_err(|_| AdminError::Unfinished)?.map_err(AdminError::NoWayBack)
    }

    /// Sends up to `most` of what failed under withdrawn scripts on its way again; answers how much that was.
    /// Blocks.
    fn send_again(&self, bundle: &str, most: usize) -> Result<u64, AdminError> {
        let mut redriven = 0;
        for code in [DeadCode::ScriptFailed, DeadCode::ScriptResult] {
            let filter = DeadFilter {
                code: Some(code),
                bundle: Some(bundle.to_owned()),
                ..DeadFilter::default()
            };
            let reply = self.journal.redrive(&filter, most).blocking_recv();
            redriven += reply.map_err(|_| AdminError::Unfinished)??;
            self.watch.redriven(bundle, code);
        }
        if redriven > 0 {
            tracing::info!(
                redriven,
                bundle,
                "what failed under withdrawn scripts goes on its way again"
            );
        }
        Ok(redriven)
    }
}

/// Counts what a reload did.
pub fn count(reloaded: &Reloaded) {
    let result = match reloaded {
        Reloaded::Unchanged => return,
        Reloaded::Swapped { .. } => "in_force",
        Reloaded::Refused(_) => "refused",
    };
    counter!(RELOADS, "result" => result).increment(1);
}

/// Goes back whenever scripts on trial are judged, until Segue stops.
///
/// # Errors
/// No thread can be started.
pub fn judge(admin: &Arc<Admin>, verdicts: Receiver<Verdict>) -> anyhow::Result<()> {
    let admin = Arc::downgrade(admin);
    std::thread::Builder::new()
        .name("scripts-judge".into())
        .stack_size(STACK)
        .spawn(move || verdicts.iter().for_each(|verdict| withdraw(&admin, &verdict)))
        .context("no thread for the scripts on trial")?;
    Ok(())
}

fn withdraw(admin: &Weak<Admin>, verdict: &Verdict) {
    let Some(running) = admin.upgrade() else { return };
    let Verdict { bundle, reason } = verdict;
    match running.reloader.back(Some(bundle), reason) {
        Ok(Reloaded::Swapped { from, to }) => {
            counter!(RELOADS, "result" => "withdrawn").increment(1);
            tracing::error!(
                %from, %to, "the new scripts are withdrawn, those before are in force: {reason}"
            );
            drop(running);
            send_stragglers(admin, &from);
        }
        Ok(_) => {}
        Err(problem) => {
            tracing::error!(%bundle, "new scripts do badly and stay in force: {reason}; {problem}");
        }
    }
}

/// Sends what failed under withdrawn scripts again and again, as long as more of it may come.
fn send_stragglers(admin: &Weak<Admin>, bundle: &str) {
    let (rounds, every) = STRAGGLERS;
    for _ in 0..rounds {
        let Some(running) = admin.upgrade() else { return };
        if let Err(error) = running.send_again(bundle, ALL) {
            tracing::warn!(%error, "what failed under withdrawn scripts could not be sent again");
        }
        drop(running);
        std::thread::sleep(every);
    }
}
