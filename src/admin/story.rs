//! What happened to a message, or to a person's events, and what still waits of them: ids only.
//!
//! What has ended is remembered by the journal. What waits has no index, so it is looked through, as
//! far as that is quick. A repeated event that was recognised when it came in is in neither.

use serde::{Deserialize, Serialize};

use super::AdminError;
use crate::journal::{Journal, Place, TrailEntry, Waiting, Why};
use crate::spec::Traffic;
use crate::spec::ids::text_id;

/// How many events are told about at most.
pub const LONGEST: usize = 1000;
/// Events that wait are looked through in pages of so many…
const PAGE: usize = 1000;
/// …and no more of them than this in each queue: a second or so.
const LOOKED_THROUGH: usize = 100_000;
/// How many unless somebody says otherwise.
pub const USUAL: usize = 100;

/// What is known of one id.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Story {
    /// The message id, or the person's or anonymous id, that was asked for.
    pub of: String,
    /// Its events: those that have ended, newest last, then those that wait.
    pub events: Vec<Chapter>,
    /// Whether so much waits that not everything was looked through.
    #[serde(default)]
    pub incomplete: bool,
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
    /// How it ended; `waiting`, `parked`, `held` or `retry` when it has not.
    pub outcome: String,
    /// Why.
    pub reason: String,
    /// What was noticed about its person's identifiers.
    pub notices: Vec<String>,
    /// When it is taken up again; empty for what has ended or waits its turn.
    pub due: String,
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
    let limit = limit.clamp(1, LONGEST);
    let entries = journal.trail(of, limit)?;
    let mut story = Story { of: of.into(), ..Story::default() };
    story.events.extend(entries.into_iter().map(Chapter::from));
    let places = [Place::Deferred, Place::Queue(Traffic::Live), Place::Queue(Traffic::Backfill)];
    for place in places {
        look_through(journal, place, limit, &mut story)?;
    }
    Ok(story)
}

/// Adds what waits at a place and has the id that was asked for.
fn look_through(
    journal: &dyn Journal,
    place: Place,
    limit: usize,
    story: &mut Story,
) -> Result<(), AdminError> {
    let (mut after, mut seen) = (None, 0);
    loop {
        let rows = journal.waiting(place, after, PAGE)?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(last.event.seq);
        seen += rows.len();
        let found = rows.into_iter().filter_map(|row| Chapter::waiting(row, &story.of));
        story.events.extend(found);
        if seen >= LOOKED_THROUGH || story.events.len() >= limit {
            story.incomplete = true;
            return Ok(());
        }
    }
}

impl Chapter {
    /// What is known of an event that waits, if it has this id.
    fn waiting(row: Waiting, of: &str) -> Option<Self> {
        let mut call = row.event.call.ok()?;
        let derived = call.fingerprint().message_id();
        let (source, replay) = (call.arrival.source.clone(), call.arrival.label().to_owned());
        let kind = call.arrival.call.map(|call| call.as_str().to_owned());
        let fields = call.fields()?;
        let id = |name: &str| fields.get(name).and_then(text_id);
        let message_id = id("messageId").unwrap_or(derived);
        let people = ["userId", "anonymousId", "previousId"].map(id);
        let is_meant = message_id == of || people.iter().flatten().any(|person| person == of);
        let kind = kind.or_else(|| id("type")).unwrap_or_default();
        let name = id("event").or_else(|| id("name")).unwrap_or_default();
        is_meant.then(|| Self {
            source,
            replay,
            message_id,
            person: people.into_iter().flatten().find(|id| !id.contains('@')).unwrap_or_default(),
            event: format!("{kind} {name}").trim().chars().take(200).collect(),
            outcome: row.event.why.map_or("waiting", Why::as_str).into(),
            reason: row.error.unwrap_or_default(),
            due: row.due.map(|due| due.to_string()).unwrap_or_default(),
            answer: row.status.map(|status| status.to_string()).unwrap_or_default(),
            ..Self::default()
        })
    }
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
            due: String::new(),
            answer: entry.answer,
            bundle: entry.bundle,
        }
    }
}
