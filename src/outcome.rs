//! The one final fate of an accepted event, and the words for it.
//!
//! `accepted = delivered + dropped(reason) + dead-lettered(reason) + pending` holds at every moment,
//! so every way out of Segue is listed here and nowhere else. The codes are labels of metrics, keys
//! of the counters in the journal and rows of the README's tables: a new one is added in all of them.

use serde::{Deserialize, Serialize};

/// How an accepted event ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Customer.io answered that it has everything that this event led to.
    Delivered,
    /// Deliberately not sent.
    Dropped(DropReason),
    /// Could not be sent; kept with the reason, to be repaired and sent again.
    DeadLettered(DeadLetter),
}

impl Outcome {
    /// The metric label: `delivered`, `dropped` or `dead_lettered`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Dropped(_) => "dropped",
            Self::DeadLettered(_) => "dead_lettered",
        }
    }

    /// The reason's code; empty for a delivered event.
    pub fn reason(&self) -> &str {
        match self {
            Self::Delivered => "",
            Self::Dropped(reason) => reason.code(),
            Self::DeadLettered(letter) => letter.code.as_str(),
        }
    }
}

/// Why an event was dropped on purpose.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DropReason {
    /// The same message was accepted before.
    Duplicate,
    /// Another event holds the same business key (`dedupe_by`).
    DuplicateKey,
    /// A script called `drop("reason")`; the text is the script's.
    Script(String),
    /// `integrations` says `false` for Customer.io.
    OptedOut,
    /// A rule of the guard drops this class of events.
    GuardRule,
    /// The guard lets only profile updates of this class through.
    ProfileOnly,
    /// An event of a flagged replay without a usable time: it would count as happening now.
    ReplayWithoutTime,
    /// A replayed delete, suppress, unsuppress or alias, of a person or an object.
    ReplayedDestructive,
    /// It happened before its person was deleted or suppressed, which came later.
    PersonDeleted,
    /// Older than the rule's `max_age` when it could have been sent.
    TooOld,
    /// Older than the source's `cutover`: the native destination delivered it.
    BeforeCutover,
    /// A script's `forward_original` is off and the stage drops what it cannot process.
    StageError,
    /// Customer.io would do nothing with it, for example an alias onto itself.
    NoEffect,
}

impl DropReason {
    /// The stable code, a metric label.
    pub fn code(&self) -> &str {
        match self {
            Self::Duplicate => "duplicate",
            Self::DuplicateKey => "duplicate_key",
            Self::Script(reason) => reason,
            Self::OptedOut => "opted_out",
            Self::GuardRule => "guard_rule",
            Self::ProfileOnly => "profile_only",
            Self::ReplayWithoutTime => "replay_without_time",
            Self::ReplayedDestructive => "replayed_destructive",
            Self::PersonDeleted => "person_deleted",
            Self::TooOld => "too_old",
            Self::BeforeCutover => "before_cutover",
            Self::StageError => "stage_error",
            Self::NoEffect => "no_effect",
        }
    }
}

/// What is kept beside the original of an event that could not be sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeadLetter {
    /// What kind of problem, a metric label.
    pub code: DeadCode,
    /// The stage that could not go on.
    pub stage: Stage,
    /// One sentence for a person: what happened and what to do. No payload, no e-mail address.
    pub message: String,
    /// What a machine can use: script position, Customer.io's answer, rejected operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
}

impl DeadLetter {
    /// A letter without detail.
    pub fn new(code: DeadCode, stage: Stage, message: impl Into<String>) -> Self {
        Self { code, stage, message: message.into(), detail: None }
    }

    /// The same letter with machine-readable detail.
    #[must_use]
    pub fn with_detail(mut self, detail: serde_json::Value) -> Self {
        self.detail = Some(detail);
        self
    }
}

/// The kinds of problems that make an event a dead letter.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadCode {
    /// The element is not JSON, or nested too deeply.
    InvalidJson,
    /// The element is not an object, or a field has an impossible type.
    InvalidEvent,
    /// `type` is absent or none that Segue knows.
    UnknownType,
    /// Nobody is named: no user id, no anonymous id.
    NoIdentity,
    /// A delete, suppress or unsuppress that no secret vouches for.
    NeedsSecret,
    /// The source is no longer configured.
    UnknownSource,
    /// A script failed or exceeded a limit.
    ScriptFailed,
    /// What the script returned is no event.
    ScriptResult,
    /// The contract of this event forbids delivery.
    ContractViolated,
    /// The event cannot be expressed in Customer.io's terms.
    Unmappable,
    /// A published limit of Customer.io is exceeded.
    LimitExceeded,
    /// Customer.io refused it.
    Rejected,
    /// It could not be delivered within the age budget.
    Expired,
    /// The stored record does not match its checksum.
    CorruptRecord,
    /// Processing it brought the process down.
    CrashedProcess,
}

impl DeadCode {
    /// Every code, for the README's table and the filters of the command line.
    pub const ALL: [Self; 15] = [
        Self::InvalidJson,
        Self::InvalidEvent,
        Self::UnknownType,
        Self::NoIdentity,
        Self::NeedsSecret,
        Self::UnknownSource,
        Self::ScriptFailed,
        Self::ScriptResult,
        Self::ContractViolated,
        Self::Unmappable,
        Self::LimitExceeded,
        Self::Rejected,
        Self::Expired,
        Self::CorruptRecord,
        Self::CrashedProcess,
    ];

    /// The stable code, a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidEvent => "invalid_event",
            Self::UnknownType => "unknown_type",
            Self::NoIdentity => "no_identity",
            Self::NeedsSecret => "needs_secret",
            Self::UnknownSource => "unknown_source",
            Self::ScriptFailed => "script_failed",
            Self::ScriptResult => "script_result",
            Self::ContractViolated => "contract_violated",
            Self::Unmappable => "unmappable",
            Self::LimitExceeded => "limit_exceeded",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::CorruptRecord => "corrupt_record",
            Self::CrashedProcess => "crashed_process",
        }
    }
}

/// The stages an event passes, as they are named in dead letters, traces and metrics.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Bytes to raw calls.
    Ingest,
    /// Raw call to event.
    Spec,
    /// The scripts.
    Transform,
    /// Live, late, replayed: what may it do?
    Guard,
    /// Required properties and types.
    Contract,
    /// Whose event is it?
    Identity,
    /// Event to Customer.io operations.
    Mapping,
    /// Operations to Customer.io.
    Delivery,
}

impl Stage {
    /// The stage's name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Spec => "spec",
            Self::Transform => "transform",
            Self::Guard => "guard",
            Self::Contract => "contract",
            Self::Identity => "identity",
            Self::Mapping => "mapping",
            Self::Delivery => "delivery",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_as_it_is_named() {
        for code in DeadCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
