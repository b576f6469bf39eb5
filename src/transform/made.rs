//! What the scripts made of an event, and what they tell the stages behind them.

use serde_json::Value;

use super::error::ScriptError;
use crate::spec::Event;

/// What the scripts made of one event.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// The events to go on with, at least one.
    Events(Vec<Scripted>),
    /// A script dropped it on purpose.
    Dropped {
        /// The stage whose script did.
        stage: String,
        /// The reason that the script gave, a metric label.
        reason: String,
    },
    /// A script failed: the original belongs into the dead letters.
    Failed(ScriptError),
}

/// One event as the scripts left it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scripted {
    /// The event. A child of a split has its own fingerprint and message id.
    pub event: Event,
    /// What the scripts said about it.
    pub hints: Hints,
}

/// What scripts said about one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    /// `event.dedupe_by(name, part, …)`: another event with this key is the same business event.
    pub dedupe_by: Option<BusinessKey>,
    /// `event.identify_as(#{…})`: whose event it is, where the event itself does not say.
    pub identify_as: Option<IdentifyAs>,
    /// `event.label("…")`.
    pub labels: Vec<String>,
    /// `event.note(name, value)`: shown when the event is traced.
    pub notes: Vec<(String, Value)>,
    /// `warn(code, value)`.
    pub warnings: Vec<Warning>,
    /// `violation(kind, path)`: something about the event breaks the contract.
    pub violations: Vec<Violation>,
    /// Stages that failed and let the event pass as it came to them (`forward_original`).
    pub failed_stages: Vec<ScriptError>,
    /// `event.replay("reason")`: the event is a re-send of old data, and why.
    pub replay: Option<String>,
}

impl Hints {
    /// What a new child of a split starts with: whose it is and what it is labelled holds for all
    /// events that came out of one; its key does not.
    pub(crate) fn for_child(&self) -> Self {
        Self {
            identify_as: self.identify_as.clone(),
            labels: self.labels.clone(),
            replay: self.replay.clone(),
            failed_stages: self.failed_stages.clone(),
            ..Self::default()
        }
    }

    /// Adds what a later stage said; the later word counts.
    pub(crate) fn add(&mut self, later: Self) {
        self.dedupe_by = later.dedupe_by.or(self.dedupe_by.take());
        self.identify_as = later.identify_as.or(self.identify_as.take());
        self.replay = later.replay.or(self.replay.take());
        for label in later.labels {
            if !self.labels.contains(&label) {
                self.labels.push(label);
            }
        }
        self.notes.extend(later.notes);
        self.warnings.extend(later.warnings);
        for violation in later.violations {
            if !self.violations.contains(&violation) {
                self.violations.push(violation);
            }
        }
        self.failed_stages.extend(later.failed_stages);
    }
}

/// What makes two events the same business event.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct BusinessKey {
    /// What it is a key of, such as `order_completed`.
    pub name: String,
    /// The values, none of them blank.
    pub parts: Vec<String>,
}

/// A person that a script names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IdentifyAs {
    /// The user id.
    pub id: Option<String>,
    /// The e-mail address, in lower case.
    pub email: Option<String>,
}

/// Something that a script found worth saying.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// A short stable text, a metric label.
    pub code: String,
    /// The value that it is about, for people who trace the event.
    pub value: Value,
}

/// Something about an event that breaks its contract.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// What is wrong, a metric label: `unreadable_money`, `blank_key`…
    pub kind: String,
    /// Where: a path such as `properties.products[0].price`.
    pub path: String,
}

/// One stage of a traced event.
#[derive(Clone, Debug, PartialEq)]
pub struct StageTrace {
    /// The stage, as the manifest calls it.
    pub stage: String,
    /// The handler that ran; `None` when the stage has none for this call or does not match.
    pub handler: Option<String>,
    /// What it did.
    pub outcome: TraceOutcome,
    /// The events after this stage.
    pub events: Vec<Value>,
    /// The operations that Rhai counted.
    pub operations: u64,
    /// What the script printed, with the place.
    pub printed: Vec<Printed>,
}

/// What a stage did with an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TraceOutcome {
    /// It was not run.
    Skipped,
    /// The event came out as it went in.
    Unchanged,
    /// The event came out changed.
    Changed,
    /// It became several events.
    Split,
    /// It was dropped, with this reason.
    Dropped(String),
    /// The stage failed. The event ends here, unless the stage lets the original pass.
    Failed(ScriptError),
}

/// One `print` or `debug` of a script.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Printed {
    /// The text.
    pub text: String,
    /// The file, where Rhai says it.
    pub file: Option<String>,
    /// The line, where Rhai says it.
    pub line: Option<usize>,
}
