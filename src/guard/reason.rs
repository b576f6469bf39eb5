//! The guard's answer in one sentence, for whoever runs the campaigns: what it is, when it happened,
//! what is done with it, whether it can start anything, and which rule says so.
//!
//! Not here: the answer itself ([`super::judge`]).

use super::{Age, Case, Class, Kind};
use crate::spec::Replay;

/// What a sentence is about.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) kind: Kind,
    pub(super) class: Class,
    pub(super) case: &'a Case,
    pub(super) age: Age,
    /// Whether it is too old to start a campaign.
    pub(super) history: bool,
}

impl Told<'_> {
    /// The whole sentence; `rule` is the place of the rule that decides, counted from 0.
    pub(super) fn so(self, done: &str, rule: Option<usize>) -> String {
        let rule = rule.map(|rule| format!(" (guard rule {})", rule + 1)).unwrap_or_default();
        format!(
            "{}, {}{}: {done}{rule}{}",
            self.what(),
            self.age.words(),
            self.class(),
            self.clock()
        )
    }

    /// What comes of sending it.
    pub(super) fn sent(self) -> &'static str {
        match (self.kind, self.history) {
            (Kind::Profile | Kind::Destructive, _) => "sent",
            (_, true) => "sent with its true time, too old to start a campaign",
            (_, false) => "sent, it can start campaigns",
        }
    }

    fn what(self) -> &'static str {
        match self.kind {
            Kind::Intent => "browsing, cart or checkout",
            Kind::Exit => "order, refund, cancellation or subscription",
            Kind::Other => "behaviour",
            Kind::Profile => "profile update",
            Kind::Destructive => "deletion, suppression or merge",
        }
    }

    fn class(self) -> String {
        match (self.class, &self.case.replay) {
            (Class::Live, _) => String::new(),
            (Class::Late, _) => ", late".into(),
            (Class::Historical, _) => ", history".into(),
            (Class::ReplayByAge, _) => {
                let received = Age { at: self.case.received_at, now: self.case.accepted_at };
                format!(", received {} by a vendor that sent it only now", received.words())
            }
            (Class::Replay, Some(Replay::Flagged { label: Some(label) })) => {
                format!(", part of the replay {label:?}")
            }
            (Class::Replay, _) => ", part of a replay".into(),
        }
    }

    fn clock(self) -> &'static str {
        if self.case.time.for_age.is_some() {
            "; its device's clock was wrong, and what it was wrong by is taken off its age"
        } else if self.age.at != self.case.time.at {
            "; its device's clock was wrong, and the time of receipt stands in"
        } else {
            ""
        }
    }
}

impl Age {
    pub(super) fn words(self) -> String {
        let minutes = self.now.millis_since(self.at) / 60_000;
        match minutes {
            ..1 => "just happened".into(),
            1..120 => format!("{minutes} min ago"),
            120..4320 => format!("{} h ago", minutes / 60),
            _ => format!("{} days ago", minutes / 1440),
        }
    }
}
