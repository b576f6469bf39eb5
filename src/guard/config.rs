//! `[guard]`: ages, flags and rules.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IntoDeserializer as _, SeqAccess, Visitor};
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

    /// Checks what no single field can; `sources` are the names that rules can speak of.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, sources: &[&str]) -> Result<(), Wrong> {
        if self.late_after > self.historical_after {
            let message = "[guard] late_after must not be longer than historical_after";
            return Err(Wrong { path: "guard.late_after".into(), message: message.into() });
        }
        self.rule.iter().enumerate().try_for_each(|(at, rule)| rule.check(at, sources))
    }
}

/// What is wrong with a value, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wrong {
    /// The keys that lead to it in the configuration, such as `guard.rule.0.source`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
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
    fn check(&self, at: usize, sources: &[&str]) -> Result<(), Wrong> {
        let wrong = |key: &str, message: String| {
            Err(Wrong { path: format!("guard.rule.{at}.{key}"), message })
        };
        let number = at + 1;
        if self.action.is_none() && self.max_age.is_none() {
            return wrong(
                "action",
                format!("[[guard.rule]] number {number} says neither action nor max_age"),
            );
        }
        if self.rename.is_some() && self.action != Some(Action::Mark) {
            return wrong(
                "rename",
                format!("[[guard.rule]] number {number}: rename goes with action = \"mark\""),
            );
        }
        if self.source.iter().any(|name| !sources.contains(&name.as_str())) {
            return wrong(
                "source",
                format!(
                    "[[guard.rule]] number {number} speaks of a source that is not there; use the name of a [[source]]"
                ),
            );
        }
        Ok(())
    }

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

/// A list, or one value without brackets. What is wrong with a value is said as of any other.
fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_any(OneOrMany(PhantomData))
}

struct OneOrMany<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a list of texts")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
        T::deserialize(text.into_deserializer()).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut many = Vec::new();
        while let Some(item) = items.next_element()? {
            many.push(item);
        }
        Ok(many)
    }
}
