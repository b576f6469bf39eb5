//! Whether a call is a re-send of old data: decided once, at acceptance, from what it says then.
//!
//! Neither vendor marks a replay. Segment rewrites `integrations`, which live traffic of Engage does
//! too; RudderStack keeps the old `receivedAt`. So there are two signals: somebody says so (the URL,
//! a header, a field that the team sets), or the vendor received it long ago. Time spent inside
//! Segue is none: a redrive keeps what was decided here.

use super::GuardConfig;
use crate::clock::Time;
use crate::spec::{Ingress, Replay, Sketch, timestamp};

/// Decides from the request's own flag (`Some` when the URL, a header or the source says so, with
/// the name of the run), the call's fields and the door.
pub fn at_acceptance(
    config: &GuardConfig,
    ingress: Ingress,
    accepted_at: Time,
    flag: Option<Option<String>>,
    fields: Option<&Sketch<'_>>,
) -> Option<Replay> {
    if let Some(label) = flag {
        return Some(Replay::Flagged { label });
    }
    let fields = fields?;
    for path in &config.replay_flags {
        match fields.at(path) {
            Some(Sketch::Bool(true)) => return Some(Replay::Flagged { label: None }),
            Some(Sketch::Text(label)) if !label.is_empty() && label != "false" => {
                let label = (label != "true").then(|| label.chars().take(100).collect());
                return Some(Replay::Flagged { label });
            }
            _ => {}
        }
    }
    if config.retl_is_replay && fields.at("context.sources.job_run_id").is_some() {
        return Some(Replay::Flagged { label: None });
    }
    let received = match ingress {
        // A client's own `receivedAt` says nothing; a vendor's does.
        Ingress::Api => None,
        Ingress::Webhook => fields.get("receivedAt").and_then(|at| timestamp::parse(&at.scalar())),
    };
    let old = received.is_some_and(|at| accepted_at.since(at) > config.replay_after.duration());
    old.then_some(Replay::ReceivedAge)
}
