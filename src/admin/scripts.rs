//! Brings the scripts on disk into force when an operator asks for it.
//!
//! Not here: how a bundle is checked and exchanged ([`crate::transform::reload`]).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Admin, AdminError};
use crate::transform::reload::Reloaded;

/// Checking a bundle runs scripts, which need more stack than a thread usually has.
const STACK: usize = 16 << 20;

/// Which scripts a reload found and left in force.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct InForce {
    /// The hash of the scripts in force now.
    pub bundle: String,
    /// The hash of those before; the same where nothing has changed.
    pub before: String,
    /// What is not wrong with them, but surprising.
    pub warnings: Vec<String>,
}

impl Admin {
    /// Reads the scripts again, and puts them in force if they can be used. Blocks meanwhile.
    ///
    /// # Errors
    /// There is no folder, or what is in it cannot be used; the scripts before stay in force.
    pub(super) fn reload(&self) -> Result<InForce, AdminError> {
        let folder = self.reloader.dir();
        if !folder.is_dir() {
            return Err(AdminError::NoScripts(folder.display().to_string()));
        }
        let before = self.bundle.load_full();
        let reloader = Arc::clone(&self.reloader);
        let thread = std::thread::Builder::new()
            .name("reload".into())
            .stack_size(STACK)
            .spawn(move || reloader.reload());
        let reloaded = thread.map_err(|_| AdminError::Unfinished)?.join();
        match reloaded.map_err(|_| AdminError::Unfinished)? {
            Reloaded::Refused(reason) => return Err(AdminError::BrokenScripts(reason)),
            Reloaded::Swapped { from, to } => {
                tracing::info!(%from, %to, "the scripts are in force that an operator asked for");
            }
            Reloaded::Unchanged => {}
        }
        let bundle = self.bundle.load_full();
        Ok(InForce {
            bundle: bundle.hash().to_owned(),
            before: before.hash().to_owned(),
            warnings: bundle.warnings().iter().map(ToString::to_string).collect(),
        })
    }
}
