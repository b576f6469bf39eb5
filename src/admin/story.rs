//! What happened to a message, or to a person's events: ids only, as the journal remembers them.
//!
//! An event is in it once it has its outcome; one that waits, is parked or is tried again is not yet,
//! and a repeated one that was recognised when it came in never is.

use serde::{Deserialize, Serialize};

use super::AdminError;
use crate::journal::{Journal, TrailEntry};

/// How many events are told about at most.
pub const LONGEST: usize = 1000;
/// How many unless somebody says otherwise.
pub const USUAL: usize = 100;

/// What is known of one id.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Story {
    /// The message id, or the person's or anonymous id, that was asked for.
    pub of: String,
    /// Its events, newest last.
    pub events: Vec<Chapter>,
}

/// What happened to one event.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Chapter {
    /// When it was settled.
    pub at: String,
    /// Its source.
    pub source: String,
    /// The replay that it belonged to; empty: none.
    pub replay: String,
    /// Its message id.
    pub message_id: String,
    /// Whose event it was; empty: nobody's, or known by e-mail address only.
    pub person: String,
    /// Type and name.
    pub event: String,
    /// The guard's class.
    pub class: String,
    /// The guard's action.
    pub action: String,
    /// How it ended.
    pub outcome: String,
    /// Why.
    pub reason: String,
    /// What was noticed about its person's identifiers.
    pub notices: Vec<String>,
    /// What Customer.io answered.
    pub answer: String,
    /// The scripts that were in force.
    pub bundle: String,
}

/// Tells what happened to the events with this message id, or of this person.
///
/// # Errors
/// Nothing is asked for, or the journal fails.
pub fn tell(journal: &dyn Journal, of: &str, limit: usize) -> Result<Story, AdminError> {
    let of = of.trim();
    if of.is_empty() {
        return Err(AdminError::BadRequest(
            "say of what: a message id, or a person's or anonymous id".into(),
        ));
    }
    let entries = journal.trail(of, limit.clamp(1, LONGEST))?;
    Ok(Story { of: of.into(), events: entries.into_iter().map(Chapter::from).collect() })
}

impl From<TrailEntry> for Chapter {
    fn from(entry: TrailEntry) -> Self {
        Self {
            at: entry.at.to_string(),
            source: entry.source,
            replay: entry.label,
            message_id: entry.message_id,
            person: entry.person.unwrap_or_default(),
            event: entry.event,
            class: entry.class,
            action: entry.action,
            outcome: entry.outcome,
            reason: entry.reason,
            notices: entry.notices,
            answer: entry.answer,
            bundle: entry.bundle,
        }
    }
}
