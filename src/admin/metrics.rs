//! The numbers for Prometheus.
//!
//! What became of events is read from the journal's counters at the moment of the scrape: it survives
//! restarts, and `accepted + redriven = delivered + dropped + dead_lettered + pending` holds in every
//! answer. Beside it stand the gauges of that moment, and what this process counts since its start.
//!
//! Not here: what is counted about requests ([`crate::ingest`]); what is too much or too old, which is
//! for alerts to say.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::Picture;
use super::contracts::{Compared, Kept};
use crate::data_health::{AGES, FINDINGS};
use crate::guard::Class;
use crate::identity::Notice;
use crate::ingest::{METRIC_EVENTS, METRIC_REFUSED, METRIC_REQUESTS};
use crate::journal::{Pending, Total};
use crate::relay::Report;

/// How old events are when they come in, replays left out, by `source` and `kind`.
pub(super) const AGE: &str = "segue_event_age_seconds";
/// Events that ended or went out of line, by the guard's `class` and `action`.
pub(super) const CLASSES: &str = "segue_guard_verdicts_total";
/// Events put out of line, by `why`: parked, held, retry.
pub(super) const POSTPONED: &str = "segue_events_postponed_total";
/// What was noticed about people's identifiers, by `source` and `notice`.
pub(super) const NOTICES: &str = "segue_identity_notices_total";
/// Exit events that became dead letters, by `source` and `reason`.
pub(super) const EXITS: &str = "segue_exit_events_dead_lettered_total";
/// How old live exit events are when they end.
pub(super) const EXIT_AGE: &str = "segue_exit_event_age_seconds";
/// The upper ends of its buckets, in seconds.
const EXIT_AGES: [f64; 11] =
    [1.0, 5.0, 15.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 21_600.0, 86_400.0];
/// Anonymous ids that turned out to be several people's.
pub(super) const CONTESTED: &str = "segue_contested_anonymous_ids_total";
/// Changes of the scripts, by `result`.
pub(super) const RELOADS: &str = "segue_scripts_reloads_total";
/// Requests to the operator's listener that were refused before they were looked at, by `code`.
pub(super) const REFUSED: &str = "segue_admin_refused_total";

/// What the whole process counts since its start.
pub(super) struct ProcessMetrics(Option<PrometheusHandle>);

impl ProcessMetrics {
    /// Begins to take in what is counted anywhere in this process; the first call does. Does nothing
    /// when the process sends its counters elsewhere already.
    pub(super) fn install() -> Self {
        static INSTALLED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
        let installed = INSTALLED.get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Full(EXIT_AGE.into()), &EXIT_AGES)
                .ok()?
                .set_buckets_for_metric(Matcher::Full(AGE.into()), &AGES.map(|secs| secs as f64))
                .ok()?
                .install_recorder()
                .ok()?;
            describe_histogram!(EXIT_AGE, "Age of live exit events when Customer.io has them, or when they end otherwise, since they happened.");
            describe_counter!(CONTESTED, "Anonymous ids that turned out to be several people's, since the start.");
            // From zero on: the first one must be a rise.
            counter!(CONTESTED).increment(0);
            describe_counter!(METRIC_REQUESTS, "Requests to the listener for events, since the start.");
            describe_counter!(METRIC_REFUSED, "Requests that were refused, by source and code.");
            describe_counter!(METRIC_EVENTS, "Events in requests that were taken, repeated ones too, since the start.");
            describe_histogram!(AGE, "How old events are when they come in, replays left out, since the start.");
            describe_counter!(CLASSES, "Events that ended or went out of line, by the guard's class and action, since the start.");
            describe_counter!(NOTICES, "What was noticed about people's identifiers, since the start.");
            describe_counter!(POSTPONED, "Events put out of line, since the start.");
            describe_counter!(EXITS, "Exit events that became dead letters, since the start.");
            describe_counter!(REFUSED, "Requests to the operator's listener without the right token or from a foreign page, since the start.");
            describe_counter!(RELOADS, "Changes of the scripts, since the start.");
            Some(handle)
        });
        Self(installed.clone())
    }

    /// Gives memory back that measurements took.
    pub(super) fn tidy(&self) {
        if let Some(handle) = &self.0 {
            handle.run_upkeep();
        }
    }

    /// As text.
    pub(super) fn render(&self) -> String {
        self.0.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }
}

/// Counts what the journal's counters do not tell about an event's end or postponement.
pub(super) fn count(report: &Report) {
    let trail = &report.trail;
    if !trail.class.is_empty() {
        let labels = [("class", trail.class.clone()), ("action", trail.action.clone())];
        counter!(CLASSES, &labels).increment(1);
    }
    for seen in report.parts.iter().map(|part| &part.seen).filter(|_| report.first) {
        if !matches!(seen.class, Class::Replay | Class::ReplayByAge) {
            let labels = [("source", trail.source.clone()), ("kind", seen.kind.as_str().into())];
            histogram!(AGE, &labels).record(seen.age);
        }
    }
    if matches!(trail.outcome.as_str(), "parked" | "held" | "retry") {
        counter!(POSTPONED, "why" => trail.outcome.clone()).increment(1);
    }
    for notice in report.parts.iter().flat_map(|part| &part.notices) {
        let labels = [("source", trail.source.clone()), ("notice", notice.as_str().into())];
        counter!(NOTICES, &labels).increment(1);
        if *notice == Notice::AnonymousIdContested {
            counter!(CONTESTED).increment(1);
        }
    }
    if let (true, Some(happened_at), "delivered" | "dead_lettered") =
        (report.exit, report.happened_at, trail.outcome.as_str())
    {
        histogram!(EXIT_AGE).record(trail.at.since(happened_at));
    }
    if let (true, Some(letter)) = (report.exit, &report.letter) {
        let labels = [("source", trail.source.clone()), ("reason", letter.code.as_str().into())];
        counter!(EXITS, &labels).increment(1);
    }
}

/// What a picture says, as Prometheus' text.
pub(super) fn exposition(picture: &Picture) -> String {
    // A registry of its own for each answer: the numbers come from elsewhere, and one that is gone
    // must not linger. Its library knows how texts are escaped.
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        events(&picture.totals, &picture.pending);
        journal(picture);
        relay(picture);
        scripts(picture);
        contracts(&picture.contracts);
        data(picture);
    });
    recorder.handle().render()
}

fn events(totals: &[Total], pending: &Pending) {
    describe_counter!(
        "segue_events_accepted_total",
        "Events answered with 200, duplicates too. accepted + redriven = delivered + dropped + dead_lettered + pending."
    );
    describe_counter!(
        "segue_events_redriven_total",
        "Dead letters that were sent on their way again, by the reason that they had."
    );
    describe_counter!("segue_events_total", "Events that ended, by outcome and reason.");
    describe_gauge!("segue_events_pending", "Events without an outcome, by where they wait.");
    for ((source, outcome, reason), count) in without_labels(totals) {
        let source = source.to_owned();
        match outcome {
            "accepted" => {
                counter!("segue_events_accepted_total", "source" => source).absolute(count)
            }
            "redriven" => {
                let labels = [("source", source), ("reason", reason)];
                counter!("segue_events_redriven_total", &labels).absolute(count);
            }
            _ => {
                let labels =
                    [("source", source), ("outcome", outcome.to_owned()), ("reason", reason)];
                counter!("segue_events_total", &labels).absolute(count);
            }
        }
    }
    let places = [
        ("live", pending.live),
        ("backfill", pending.backfill),
        ("parked", pending.parked),
        ("held", pending.held),
        ("retry", pending.retry),
    ];
    for (state, count) in places {
        gauge!("segue_events_pending", "state" => state).set(float(count));
    }
}

/// The counters without the names of replays: those come from URLs, and would make a series each.
fn without_labels(totals: &[Total]) -> BTreeMap<(&str, &str, String), u64> {
    let mut sums = BTreeMap::new();
    for total in totals {
        let key = (total.source.as_str(), total.outcome.as_str(), plain(&total.reason));
        *sums.entry(key).or_default() += total.count;
    }
    sums
}

/// A script's reason may be any text. Backslashes and line ends go before the sums are made: the
/// exporter may write two such texts alike, and a series that is there twice spoils the scrape.
fn plain(reason: &str) -> String {
    reason.replace(|c: char| c == '\\' || c.is_control(), "_")
}

fn journal(picture: &Picture) {
    let journal = &picture.journal;
    describe_gauge!(
        "segue_oldest_pending_age_seconds",
        "Age of the oldest event in the queues, since it was accepted; 0 when none waits."
    );
    gauge!("segue_oldest_pending_age_seconds").set(picture.oldest_pending_age().as_secs_f64());
    describe_gauge!(
        "segue_oldest_retry_age_seconds",
        "Age of the oldest event that is tried again, since it was accepted; 0 when there is none."
    );
    gauge!("segue_oldest_retry_age_seconds").set(picture.oldest_retry_age().as_secs_f64());
    describe_gauge!("segue_journal_bytes", "Size of the journal's files.");
    gauge!("segue_journal_bytes").set(float(journal.size_bytes));
    describe_gauge!("segue_journal_full", "1 while no events are taken.");
    gauge!("segue_journal_full").set(flag(journal.full.is_some()));
    describe_counter!(
        "segue_journal_corrupt_records_total",
        "Records that did not match their checksum, since the start."
    );
    counter!("segue_journal_corrupt_records_total").absolute(journal.corrupt_records);
    describe_gauge!(
        "segue_journal_missing_events",
        "Events that were answered 200 and that the disk had lost when Segue started."
    );
    gauge!("segue_journal_missing_events").set(float(journal.missing_events));
    if let Some(free) = journal.disk_free_bytes {
        describe_gauge!("segue_disk_free_bytes", "Free bytes on the journal's disk.");
        gauge!("segue_disk_free_bytes").set(float(free));
    }
}

fn relay(picture: &Picture) {
    describe_gauge!("segue_relay_up", "1 while the relay says what it is doing.");
    gauge!("segue_relay_up").set(flag(picture.relay.is_some()));
    let Some(relay) = picture.relay else { return };
    let standing = relay.standing;
    describe_gauge!(
        "segue_delivery_paused",
        "1 while nothing is sent because the credentials are refused."
    );
    gauge!("segue_delivery_paused").set(flag(standing.paused.is_some()));
    describe_gauge!(
        "segue_breaker_open",
        "1 while most requests to Customer.io fail and only probes are sent."
    );
    gauge!("segue_breaker_open").set(flag(standing.breaker_open));
    if let Some(ahead) = relay.clock_ahead {
        describe_gauge!(
            "segue_clock_ahead_seconds",
            "How far this machine's clock is ahead of Customer.io's."
        );
        gauge!("segue_clock_ahead_seconds").set(ahead as f64 / 1000.0);
    }
    let counts = [
        (
            "segue_requests_in_flight",
            "Requests to Customer.io without an answer yet.",
            standing.in_flight,
        ),
        ("segue_operations_waiting", "Operations in memory that wait or fly.", standing.items),
        ("segue_events_in_memory", "Events in memory without an outcome.", relay.unsettled),
    ];
    for (name, help, count) in counts {
        describe_gauge!(name, help);
        gauge!(name).set(float(u64::try_from(count).unwrap_or(u64::MAX)));
    }
}

fn scripts(picture: &Picture) {
    describe_gauge!("segue_build_info", "1, with the version of Segue.");
    gauge!("segue_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    describe_gauge!("segue_start_time_seconds", "When Segue started, in seconds since the epoch.");
    gauge!("segue_start_time_seconds").set(picture.started_at.millis() as f64 / 1000.0);
    describe_gauge!("segue_bundle_info", "1, with the hash of the scripts in force.");
    gauge!("segue_bundle_info", "bundle" => picture.bundle.clone()).set(1.0);
    describe_gauge!(
        "segue_scripts_broken",
        "1 while the scripts on disk cannot be used and the last good ones stay."
    );
    gauge!("segue_scripts_broken").set(flag(picture.broken_scripts.is_some()));
    describe_gauge!(
        "segue_scripts_suspended_stages",
        "Stages that are left out because they ran out of time too often."
    );
    let suspended = u64::try_from(picture.suspended_stages.len()).unwrap_or(u64::MAX);
    gauge!("segue_scripts_suspended_stages").set(float(suspended));
    describe_gauge!(
        "segue_exit_dead_letters",
        "Exit events among the dead letters of the last day."
    );
    let exits = u64::try_from(picture.exits.count).unwrap_or(u64::MAX);
    gauge!("segue_exit_dead_letters").set(float(exits));
}

fn contracts(kept: &Kept) {
    describe_counter!(
        "segue_contract_events_total",
        "Events compared with their contract, as they arrived (when=before) and behind the scripts (when=after), since the start."
    );
    describe_counter!(
        "segue_contract_violations_total",
        "Those of them in which a property was wrong, by the kind of violation, since the start."
    );
    for Compared { event, before, after, .. } in &kept.compared {
        for (when, tally) in [("before", before), ("after", after)] {
            let labels = [("event", event.clone()), ("when", when.into())];
            counter!("segue_contract_events_total", &labels).absolute(tally.total);
        }
    }
    for broken in &kept.broken {
        for (when, tally) in [("before", broken.before), ("after", broken.after)] {
            let labels = [
                ("event", plain(&broken.event)),
                ("property", plain(&broken.property)),
                ("kind", broken.kind.clone()),
                ("when", when.into()),
            ];
            counter!("segue_contract_violations_total", &labels).increment(tally.total);
        }
    }
}

fn data(picture: &Picture) {
    describe_counter!(
        "segue_data_findings_total",
        "What was found in the data, since the start; `segue health` says what to do."
    );
    for (source, figures) in &picture.data {
        for finding in FINDINGS {
            let labels = [("source", source.clone()), ("finding", finding.name.into())];
            counter!("segue_data_findings_total", &labels).absolute(finding.count(figures));
        }
    }
}

fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

/// Prometheus has only floats; counts beyond 2^53 lose their last digits.
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::watch::Exits;
    use crate::clock::Time;
    use crate::delivery::Standing;
    use crate::journal::testing::total;
    use crate::journal::{JournalHealth, Seq, TrailEntry};
    use crate::outcome::{DeadCode, DeadLetter, Stage};
    use crate::relay::Status;

    /// The value of a series as it stands in the text.
    fn value<'a>(text: &'a str, series: &str) -> Option<&'a str> {
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
    }

    #[test]
    fn a_picture_is_written_as_prometheus_reads_it() {
        let standing = Standing { in_flight: 2, breaker_open: true, ..Standing::default() };
        let picture = Picture {
            at: Time::from_secs(100),
            started_at: Time::from_millis(1500),
            totals: vec![
                total("web", "", "accepted", "", 10),
                total("web", "may", "accepted", "", 5),
                total("web", "", "delivered", "", 9),
                total("web", "", "dropped", "say \"no\"", 2),
                total("web", "", "dropped", "a\\b\n", 1),
                total("web", "", "dropped", "a\\b\t", 1),
                total("web", "", "dead_lettered", "script_failed", 3),
                total("web", "", "redriven", "script_failed", 1),
            ],
            pending: Pending { live: 1, parked: 1, ..Pending::default() },
            journal: JournalHealth {
                size_bytes: 4096,
                disk_free_bytes: Some(1 << 40),
                oldest_pending: Some(Time::from_millis(97_500)),
                oldest_retry: Some(Time::from_millis(40_000)),
                ..JournalHealth::default()
            },
            relay: Some(Status { unsettled: 7, standing, clock_ahead: Some(-1500) }),
            bundle: "abc".into(),
            exits: Exits { count: 4, reasons: vec![] },
            ..Picture::default()
        };

        let text = exposition(&picture);

        #[rustfmt::skip]
        let table = [
            ("labels of replays are added up", r#"segue_events_accepted_total{source="web"}"#, "15"),
            ("delivered", r#"segue_events_total{source="web",outcome="delivered",reason=""}"#, "9"),
            ("a script's reason is escaped", r#"segue_events_total{source="web",outcome="dropped",reason="say \"no\""}"#, "2"),
            ("what cannot be told apart is added up", r#"segue_events_total{source="web",outcome="dropped",reason="a_b_"}"#, "2"),
            ("dead", r#"segue_events_total{source="web",outcome="dead_lettered",reason="script_failed"}"#, "3"),
            ("redriven", r#"segue_events_redriven_total{source="web",reason="script_failed"}"#, "1"),
            ("waiting", r#"segue_events_pending{state="live"}"#, "1"),
            ("parked", r#"segue_events_pending{state="parked"}"#, "1"),
            ("zero is said too", r#"segue_events_pending{state="retry"}"#, "0"),
            ("age", "segue_oldest_pending_age_seconds", "2.5"),
            ("out of line", "segue_oldest_retry_age_seconds", "60"),
            ("size", "segue_journal_bytes", "4096"),
            ("room", "segue_disk_free_bytes", "1099511627776"),
            ("nothing is missing", "segue_journal_missing_events", "0"),
            ("not full", "segue_journal_full", "0"),
            ("breaker", "segue_breaker_open", "1"),
            ("clock", "segue_clock_ahead_seconds", "-1.5"),
            ("not paused", "segue_delivery_paused", "0"),
            ("flying", "segue_requests_in_flight", "2"),
            ("in memory", "segue_events_in_memory", "7"),
            ("scripts", r#"segue_bundle_info{bundle="abc"}"#, "1"),
            ("exit events", "segue_exit_dead_letters", "4"),
            ("start", "segue_start_time_seconds", "1.5"),
        ];
        for (what, series, expected) in table {
            assert_eq!(value(&text, series), Some(expected), "{what}:\n{text}");
        }
        for name in ["segue_events_total counter", "segue_events_pending gauge"] {
            let lines = text.lines().filter(|line| *line == format!("# TYPE {name}"));
            assert_eq!(lines.count(), 1, "{name}");
        }
    }

    #[test]
    fn a_silent_relay_has_no_numbers_instead_of_old_ones() {
        let text = exposition(&Picture::default());

        assert_eq!(value(&text, "segue_relay_up"), Some("0"));
        assert_eq!(value(&text, "segue_breaker_open"), None);
    }

    #[test]
    fn only_exit_events_that_died_count_as_such() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let report = |exit, outcome: &str, letter: Option<DeadLetter>| Report {
            seq: Seq(1),
            trail: TrailEntry {
                source: "web".into(),
                class: "live".into(),
                action: "deliver".into(),
                outcome: outcome.into(),
                ..TrailEntry::default()
            },
            letter,
            exit,
            happened_at: None,
            first: true,
            parts: Vec::new(),
            checks: std::sync::Arc::default(),
        };
        let letter = DeadLetter::new(DeadCode::ScriptFailed, Stage::Transform, "it failed");

        metrics::with_local_recorder(&recorder, || {
            count(&report(true, "dead_lettered", Some(letter.clone())));
            count(&report(false, "dead_lettered", Some(letter)));
            count(&report(true, "delivered", None));
            count(&report(false, "parked", None));
        });

        let text = recorder.handle().render();
        let exits = r#"segue_exit_events_dead_lettered_total{source="web",reason="script_failed"}"#;
        assert_eq!(value(&text, exits), Some("1"), "{text}");
        assert_eq!(value(&text, r#"segue_events_postponed_total{why="parked"}"#), Some("1"));
        let live = r#"segue_guard_verdicts_total{class="live",action="deliver"}"#;
        assert_eq!(value(&text, live), Some("4"));
    }
}
