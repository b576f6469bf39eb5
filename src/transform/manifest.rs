//! `transforms.toml`: which stages run, in which order, on what, and what happens when one fails.
//!
//! Not here: how the file is read, and what is wrong with it ([`Written`]).

mod written;

use std::collections::BTreeSet;

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

use super::limits::Limits;
use crate::spec::{Call, Object, Vendor};

pub(crate) use written::place;
pub use written::{Written, WrittenFilter, WrittenPipeline, WrittenStage};

/// The manifest's file name.
pub const FILE: &str = "transforms.toml";

/// What happens to an event that a stage fails on.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The original becomes a dead letter.
    #[default]
    DeadLetter,
    /// The event goes on as it came to the stage, and says so.
    ForwardOriginal,
    /// The event is dropped.
    Drop,
}

/// Whether a stage runs.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It does.
    #[default]
    Live,
    /// It does not.
    Off,
}

/// The whole manifest, read and checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The stages in the order in which they run.
    pub stages: Vec<Stage>,
    /// `[limits]`.
    pub limits: Limits,
    /// `[vars]`: what scripts read as `ctx.vars`.
    pub vars: Object,
    /// `[reload]`: when new scripts are withdrawn.
    pub reload: Reload,
    /// `[contracts]`: what happens to events that break theirs.
    pub contracts: crate::contract::Rules,
    exit_events: Vec<Pattern>,
}

/// When new scripts are withdrawn by themselves, `[reload]` of the manifest.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reload {
    /// By how much the share of events that fail may rise, of all or of those with one name. 0: the
    /// scripts are never withdrawn by themselves. Default 0.2.
    pub rollback_error_ratio: f64,
    /// For how many events new scripts are on trial. Default 500.
    pub rollback_events: u64,
}

impl Default for Reload {
    fn default() -> Self {
        Self { rollback_error_ratio: 0.2, rollback_events: 500 }
    }
}

/// One stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The name: the file without `.rhai`.
    pub name: String,
    /// The file, relative to the folder.
    pub file: String,
    /// What happens when it fails.
    pub on_error: OnError,
    /// What happens when it fails on an exit event.
    pub on_error_exit: OnError,
    /// Whether it runs.
    pub mode: Mode,
    filter: Filter,
}

/// What a stage runs on. An empty list admits everything.
#[derive(Clone, Debug, Default)]
struct Filter {
    calls: Vec<Call>,
    events: Vec<Pattern>,
    /// A table in `data/` whose keys are the canonical keys of the events.
    event_in: Option<String>,
    sources: BTreeSet<String>,
    platforms: Vec<Vendor>,
}

/// What of an event decides which stages run.
pub(crate) struct Subject<'a> {
    pub(crate) call: Call,
    pub(crate) name: Option<&'a str>,
    pub(crate) key: &'a str,
    pub(crate) source: &'a str,
    pub(crate) platform: Vendor,
}

impl Stage {
    /// Whether this stage runs on an event.
    pub(crate) fn admits(&self, subject: &Subject<'_>) -> bool {
        let filter = &self.filter;
        let any = |empty: bool, found: bool| empty || found;
        self.mode == Mode::Live
            && any(filter.calls.is_empty(), filter.calls.contains(&subject.call))
            && any(filter.platforms.is_empty(), filter.platforms.contains(&subject.platform))
            && any(filter.sources.is_empty(), filter.sources.contains(subject.source))
            && any(filter.events.is_empty(), names_match(&filter.events, subject))
    }

    /// Whether the event's name matters to this stage.
    pub(crate) fn asks_for_names(&self) -> bool {
        !self.filter.events.is_empty() || self.filter.event_in.is_some()
    }

    /// The table that must know the event's canonical key.
    pub(crate) fn event_in(&self) -> Option<&str> {
        self.filter.event_in.as_deref()
    }
}

impl Manifest {
    /// Whether losing this event means that somebody keeps getting mails: orders, refunds,
    /// cancellations, changes of a subscription.
    pub(crate) fn is_exit(&self, key: &str) -> bool {
        self.exit_events.iter().any(|pattern| pattern.matches(key))
    }
}

/// Event names match as they are sent, and as their canonical key.
fn names_match(patterns: &[Pattern], subject: &Subject<'_>) -> bool {
    const ANY_CASE: MatchOptions = MatchOptions {
        case_sensitive: false,
        require_literal_separator: false,
        require_literal_leading_dot: false,
    };
    patterns.iter().any(|pattern| {
        subject.name.is_some_and(|name| pattern.matches_with(name.trim(), ANY_CASE))
            || !subject.key.is_empty() && pattern.matches_with(subject.key, ANY_CASE)
    })
}

/// Scripts at the top of the folder are stages; those in `lib/` are not.
pub(crate) fn is_stage_file(file: &str) -> bool {
    file.ends_with(".rhai") && !file.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::Diagnostic;

    fn files() -> BTreeSet<String> {
        ["00_names.rhai", "10_orders.rhai", "lib/commerce.rhai"].map(str::to_owned).into()
    }

    fn read(text: &str) -> Result<Manifest, Vec<Diagnostic>> {
        Manifest::read(Some(text), &files())
    }

    #[test]
    fn without_a_manifest_every_stage_runs_in_the_order_of_names() {
        let manifest = Manifest::read(None, &files()).unwrap();
        let names: Vec<&str> = manifest.stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(names, ["00_names", "10_orders"]);
        assert_eq!(manifest.limits, Limits::default());
    }

    #[test]
    fn a_stage_runs_on_what_it_matches() {
        let manifest = read(
            "[[stage]]\nfile = \"00_names\"\nmatch = { type = [\"track\"], event = [\"Order *\"], \
             source = [\"web\"], platform = [\"segment\"] }",
        )
        .unwrap();
        let subject =
            |call, name, key, source, platform| Subject { call, name, key, source, platform };
        let (track, segment) = (Call::Track, Vendor::Segment);
        #[rustfmt::skip]
        let table = [
            ("everything fits", subject(track, Some("Order Completed"), "order_completed", "web", segment), true),
            ("another casing", subject(track, Some("order placed"), "order_completed", "web", segment), true),
            ("another type", subject(Call::Page, Some("Order Completed"), "order_completed", "web", segment), false),
            ("another name", subject(track, Some("Cart Viewed"), "cart_viewed", "web", segment), false),
            ("no name", subject(track, None, "", "web", segment), false),
            ("another source", subject(track, Some("Order Completed"), "order_completed", "ios", segment), false),
            ("another vendor", subject(track, Some("Order Completed"), "order_completed", "web", Vendor::Rudderstack), false),
        ];
        for (what, subject, expected) in table {
            assert_eq!(manifest.stages[0].admits(&subject), expected, "{what}");
        }
        let by_kind =
            read("[[stage]]\nfile = \"00_names\"\nmatch = { kind = [\"rudderstack\"] }").unwrap();
        let from = |vendor| subject(track, Some("A"), "a", "web", vendor);
        assert!(by_kind.stages[0].admits(&from(Vendor::Rudderstack)), "the kind of the source");
        assert!(!by_kind.stages[0].admits(&from(segment)));
        let by_key =
            read("[[stage]]\nfile = \"00_names\"\nmatch = { event = [\"order_*\"] }").unwrap();
        let purchase = subject(track, Some("Purchase"), "order_completed", "web", segment);
        assert!(by_key.stages[0].admits(&purchase), "synonyms match by their key");
    }

    #[test]
    fn the_error_policy_of_exit_events_is_set_apart() {
        let manifest = read(
            "[pipeline]\non_error_exit = \"forward_original\"\n\
             [[stage]]\nfile = \"00_names\"\n\
             [[stage]]\nfile = \"10_orders\"\non_error = \"drop\"\nmode = \"off\"",
        )
        .unwrap();
        let [names, orders] = &manifest.stages[..] else { panic!("two stages") };
        assert_eq!(
            (names.on_error, names.on_error_exit),
            (OnError::DeadLetter, OnError::ForwardOriginal)
        );
        assert_eq!((orders.on_error, orders.on_error_exit), (OnError::Drop, OnError::Drop));
        assert_eq!(orders.mode, Mode::Off);
        assert!(manifest.is_exit("subscription_paused") && manifest.is_exit("order_refunded"));
        assert!(!manifest.is_exit("order_updated") && !manifest.is_exit(""));
    }

    #[test]
    fn mistakes_are_shown_with_their_line() {
        let table = [
            ("unknown key", "[limits]\noperation = 5", Some(2), "unknown field"),
            (
                "unknown file",
                "\n[[stage]]\nfile = \"20_items\"",
                Some(3),
                "there is no file 20_items.rhai",
            ),
            (
                "twice",
                "[[stage]]\nfile = \"00_names\"\n[[stage]]\nfile = \"00_names\"",
                Some(2),
                "listed twice",
            ),
            (
                "bad type",
                "[[stage]]\nfile = \"00_names\"\nmatch = { type = [\"trak\"] }",
                Some(3),
                "no type of event",
            ),
            (
                "bad glob",
                "[[stage]]\nfile = \"00_names\"\nmatch = { event = [\"a***b\"] }",
                Some(3),
                "a***b",
            ),
            ("a ratio", "[reload]\nrollback_error_ratio = 20", Some(2), "from 0 to 1"),
            ("no limit", "[limits]\ndeadline_ms = 0", Some(2), "more than 0"),
            ("a date", "[vars]\nsince = 2026-01-01", Some(2), "write it as a text"),
            ("no toml", "[pipeline\n", Some(1), ""),
        ];
        for (what, text, line, message) in table {
            let findings = read(text).unwrap_err();
            assert_eq!(findings[0].line, line, "{what}: {}", findings[0]);
            assert!(findings[0].message.contains(message), "{what}: {}", findings[0]);
        }
    }
}
