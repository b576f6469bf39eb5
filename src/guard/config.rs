//! `[guard]`: ages, flags and rules.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Action, Case, Class};
use crate::config::Span;
use crate::spec::names;

/// `[guard]`
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// An event older than this is late. Default: `1h`.
    pub late_after: Span,
    /// An event that the vendor received longer ago than this is a replay. Default: `24h`.
    pub replay_after: Span,
    /// Customer.io starts event-triggered campaigns for events up to this age. Default: `72h`.
    pub historical_after: Span,
    /// How much older than that an event must be before Segue relies on it. Default: `1h`.
    pub park_margin: Span,
    /// A time further ahead than this is impossible; the time of receipt replaces it. Default: `5m`.
    pub future_after: Span,
    /// Fields that mark an event as part of a replay when they are `true`.
    /// Default: `["context.replay"]`.
    pub replay_flags: Vec<String>,
    /// Whether rows of RudderStack's reverse ETL (`context.sources.job_run_id`) are replays.
    /// Default: no.
    pub retl_is_replay: bool,
    /// `[[guard.rule]]`: the first that matches decides.
    pub rule: Vec<GuardRule>,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            late_after: Span::from_hours(1),
            replay_after: Span::from_hours(24),
            historical_after: Span::from_hours(72),
            park_margin: Span::from_hours(1),
            future_after: Span::from_secs(5 * 60),
            replay_flags: vec!["context.replay".into()],
            retl_is_replay: false,
            rule: Vec::new(),
        }
    }
}

impl GuardConfig {
    /// The age at which parking ends and history begins.
    pub fn history_begins(&self) -> std::time::Duration {
        self.historical_after.duration() + self.park_margin.duration()
    }

    /// Checks what no single field can.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.late_after > self.historical_after {
            return Err("[guard] late_after must not be longer than historical_after".into());
        }
        for (at, rule) in self.rule.iter().enumerate() {
            if rule.action.is_none() && rule.max_age.is_none() {
                return Err(format!(
                    "[[guard.rule]] number {} says neither action nor max_age",
                    at + 1
                ));
            }
            if rule.rename.is_some() && rule.action != Some(Action::Mark) {
                return Err(format!(
                    "[[guard.rule]] number {}: rename goes with action = \"mark\"",
                    at + 1
                ));
            }
        }
        Ok(())
    }
}

/// `[[guard.rule]]`: what certain events of certain classes may do. What is left out matches all.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardRule {
    /// Event names, in any spelling; a `*` at the end stands for any rest.
    #[serde(deserialize_with = "one_or_many")]
    pub event: Vec<String>,
    /// Types of calls: `track`, `identify`, …
    #[serde(rename = "type", deserialize_with = "one_or_many")]
    pub call: Vec<crate::spec::Call>,
    /// Classes.
    #[serde(deserialize_with = "one_or_many")]
    pub class: Vec<Class>,
    /// Sources, by name.
    #[serde(deserialize_with = "one_or_many")]
    pub source: Vec<String>,
    /// What is done. Without it, the default for the class, and only `max_age` counts.
    pub action: Option<Action>,
    /// Older events than this are dropped. Measured when they come in: time inside Segue, parking
    /// included, does not count.
    pub max_age: Option<Span>,
    /// The name under which a marked event is sent.
    pub rename: Option<String>,
}

impl GuardRule {
    /// Whether the rule speaks about this case.
    pub(super) fn matches(&self, case: &Case, class: Class) -> bool {
        let any = |listed: &[String], one: &str| {
            listed.is_empty() || listed.iter().any(|name| name == one)
        };
        (self.call.is_empty() || self.call.contains(&case.call))
            && (self.class.is_empty() || self.class.contains(&class))
            && any(&self.source, &case.source)
            && (self.event.is_empty() || self.event.iter().any(|name| names_event(name, case)))
    }
}

fn names_event(pattern: &str, case: &Case) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => case.canonical.starts_with(&names::key(start)),
        None => names::canonical(pattern) == case.canonical,
    }
}

fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}
