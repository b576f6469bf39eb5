//! Faults on order: what goes wrong, for which requests, how often.
//!
//! A rule has a condition and a sequence of steps. Each request that meets the condition takes the
//! next step of the first rule that has one left; a step can be `ok`. A refusal (`503`) leaves the
//! workspace untouched; a spoilt answer (`reset`, `garbage`) comes after the request was done, which
//! is what a sender cannot tell apart. `applied` in a step says otherwise.
//!
//! Not here: carrying out delays and resets ([`super::http`]).

mod text;

pub use text::GRAMMAR;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::Response;
use super::operation::Operation;
use super::parse::Problem;

/// One rule.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultRule {
    /// Which requests; default all of the Track API.
    pub when: When,
    /// What happens to them, one after the other.
    pub steps: Vec<Step>,
    /// Begin again after the last step; default: the rule is over then.
    pub repeat: bool,
}

/// Which requests a rule is about: all that is given must hold.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// The request names this person: id, e-mail address, `cio_id` or anonymous id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The request holds an event of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The path begins with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// This share of the requests, 0 to 1. Which ones is decided by their number: the same in every
    /// run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

/// What happens to one request. A step that says nothing lets it through.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// How many requests take this step. Default 1.
    pub times: u32,
    /// Answer with this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// A `Retry-After` header, as a text so that it can be nonsense too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// Further headers, such as `location`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Answer with this body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Refuse the items that meet the condition, and do the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject: Option<Rejection>,
    /// Milliseconds before the answer begins.
    pub latency_ms: u64,
    /// Milliseconds between the bytes of the answer; 0 sends it at once.
    pub trickle_ms: u64,
    /// Close the connection instead of answering.
    pub reset: bool,
    /// Whether the request is done before the fault. Default: not with a `status`, else yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<bool>,
}

impl Default for Step {
    fn default() -> Self {
        Self {
            times: 1,
            status: None,
            retry_after: None,
            headers: BTreeMap::new(),
            body: None,
            reject: None,
            latency_ms: 0,
            trickle_ms: 0,
            reset: false,
            applied: None,
        }
    }
}

/// The error of a refused item.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rejection {
    /// The status of a batch: 207, or 200 as it was seen in the wild.
    pub status: u16,
    /// The field at fault.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Default for Rejection {
    fn default() -> Self {
        Self { status: 207, field: "attributes".into(), message: "refused by a fault rule".into() }
    }
}

impl Rejection {
    pub(super) fn problem(&self) -> Problem {
        Problem { reason: "invalid", field: self.field.clone(), message: self.message.clone() }
    }
}

/// What the transport has to do to an answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Fault {
    /// Wait before the answer begins.
    pub delay: Duration,
    /// Wait between the bytes of the body; zero sends it whole.
    pub trickle: Duration,
    /// Close the connection and send nothing.
    pub reset: bool,
}

impl Step {
    /// Whether the request is to be done.
    pub(super) fn applies(&self) -> bool {
        self.applied.unwrap_or(self.status.is_none())
    }

    /// The answer that this step makes of the proper one.
    pub(super) fn spoil(&self, mut response: Response) -> Response {
        if let Some(status) = self.status {
            response.status = status;
            response.body = r#"{"meta":{"error":"injected fault"}}"#.into();
        }
        if let Some(body) = &self.body {
            response.body = body.clone().into();
        }
        if let Some(seconds) = &self.retry_after {
            response = response.with_header("retry-after", seconds.clone());
        }
        for (name, value) in &self.headers {
            response = response.with_header(name, value.clone());
        }
        response.fault = Fault {
            delay: Duration::from_millis(self.latency_ms),
            trickle: Duration::from_millis(self.trickle_ms),
            reset: self.reset,
        };
        response
    }

    /// In a few words, for the record of the request; nothing for a step that lets it through.
    pub(super) fn describe(&self) -> Option<String> {
        let mut words = Vec::new();
        words.extend(self.status.map(|status| format!("status {status}")));
        if self.latency_ms > 0 {
            words.push(format!("{} ms late", self.latency_ms));
        }
        if self.trickle_ms > 0 {
            words.push("trickled".into());
        }
        if self.body.is_some() {
            words.push("other body".into());
        }
        words
            .extend(self.reject.as_ref().map(|with| format!("items refused with {}", with.status)));
        if self.reset {
            words.push("connection closed".into());
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

impl When {
    /// Whether an item is one that the rule is about.
    pub(super) fn matches_item(&self, operation: &Operation) -> bool {
        let person = self
            .person
            .as_ref()
            .is_none_or(|person| operation.touched().contains(&person.as_str()));
        let event =
            self.event.as_ref().is_none_or(|event| operation.event_name() == Some(event.as_str()));
        person && event
    }

    fn matches(&self, path: &str, seq: u64, operations: &[&Operation]) -> bool {
        self.path.as_ref().is_none_or(|prefix| path.starts_with(prefix.as_str()))
            && self.share.is_none_or(|share| is_in_share(seq, share))
            && ((self.person.is_none() && self.event.is_none())
                || operations.iter().any(|operation| self.matches_item(operation)))
    }
}

/// A step that a request takes, with the condition of its rule.
#[derive(Clone, Debug)]
pub(super) struct Injected {
    pub(super) when: When,
    pub(super) step: Step,
}

/// The rules in force and how far each has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    rules: Vec<Progress>,
}

#[derive(Clone, Debug)]
struct Progress {
    rule: FaultRule,
    step: usize,
    taken: u32,
}

impl Faults {
    pub(super) fn new(rules: Vec<FaultRule>) -> Self {
        let rules = rules.into_iter().map(|rule| Progress { rule, step: 0, taken: 0 });
        Self { rules: rules.collect() }
    }

    /// The rules that still have steps, as given.
    pub(super) fn rules(&self) -> Vec<&FaultRule> {
        self.rules
            .iter()
            .filter(|progress| progress.step < progress.rule.steps.len())
            .map(|progress| &progress.rule)
            .collect()
    }

    /// Takes the step for a request.
    pub(super) fn take(
        &mut self,
        path: &str,
        seq: u64,
        operations: &[&Operation],
    ) -> Option<Injected> {
        let progress = self.rules.iter_mut().find(|progress| {
            progress.step < progress.rule.steps.len()
                && progress.rule.when.matches(path, seq, operations)
        })?;
        let step = progress.rule.steps.get(progress.step)?.clone();
        progress.taken += 1;
        if progress.taken >= step.times {
            progress.taken = 0;
            progress.step += 1;
            if progress.rule.repeat && progress.step == progress.rule.steps.len() {
                progress.step = 0;
            }
        }
        Some(Injected { when: progress.rule.when.clone(), step })
    }
}

/// Spreads the requests evenly by their number (the finaliser of splitmix64).
fn is_in_share(seq: u64, share: f64) -> bool {
    let mut bits = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let part = u32::try_from((bits ^ (bits >> 31)) >> 32).unwrap_or(u32::MAX);
    f64::from(part) / f64::from(u32::MAX) < share
}
