//! How well Segue is, and why not better.
//!
//! `unavailable`: no events are taken. `degraded`: they are taken and kept, but somebody should look.
//! Every reason has a stable code and a sentence that says what to do.
//!
//! Not here: numbers over time (`super::metrics`); what is normal for a team is for its alerts.

use serde::{Deserialize, Serialize};

use super::Picture;
use super::lately::Dying;
use crate::delivery::Standing;
use crate::journal::JournalHealth;
use crate::server::Readiness;

/// How wrong this machine's clock may be before somebody should look: no answer takes so long.
const CLOCK_WRONG_MS: i64 = 5 * 60_000;

/// How well Segue is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Health {
    /// In one word.
    pub status: Status,
    /// Why it is not `ready`, the worst first.
    pub reasons: Vec<Reason>,
}

/// How well, in one word.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    #[default]
    Ready,
    /// Events are taken and kept, but somebody should look.
    Degraded,
    /// No events are taken.
    Unavailable,
}

/// One reason.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reason {
    /// The stable code.
    pub code: String,
    /// What is so, and what to do.
    pub message: String,
}

impl Status {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Health {
    /// The health in a picture.
    pub fn of(picture: &Picture) -> Self {
        let mut health = Self::of_journal(&picture.journal);
        health.judge_relay(picture);
        health.judge_scripts(picture);
        health.judge_dead_letters(picture);
        health.judge_disk(picture);
        health
    }

    /// The health as far as the journal decides it.
    pub(super) fn of_journal(journal: &JournalHealth) -> Self {
        let mut health = Self::default();
        if let Some(why) = &journal.full {
            let message = format!("no events are taken, senders are told to come back: {why}");
            health.add(Status::Unavailable, "journal_full", message);
        }
        if journal.corrupt_records > 0 {
            let message = format!(
                "{} records did not match their checksum since the start; they are dead letters (corrupt_record): check the disk",
                journal.corrupt_records
            );
            health.add(Status::Degraded, "corrupt_records", message);
        }
        if let Some(why) = &journal.unreadable {
            let message = format!(
                "what waits cannot be read and is not sent: {why}. Check the disk; if the file is damaged, stop Segue, move its data_dir away and start with a new one"
            );
            health.add(Status::Degraded, "journal_unreadable", message);
        }
        if let Some(why) = &journal.untidy {
            let message = format!(
                "some of what has expired cannot be forgotten, and the journal grows: {why}. Check the disk; if the file is damaged, stop Segue, move its data_dir away and start with a new one"
            );
            health.add(Status::Degraded, "journal_untidy", message);
        }
        if journal.missing_events > 0 {
            let message = format!(
                "the last {} events are missing from the journal: they were answered 200, and the disk has lost them since. Check the disk, and let the senders replay what came before the start",
                journal.missing_events
            );
            health.add(Status::Degraded, "missing_events", message);
        }
        health
    }

    /// As the probe of the events' listener knows it.
    pub(super) fn readiness(&self) -> Readiness {
        match self.status {
            Status::Ready => Readiness::Ready,
            Status::Degraded => Readiness::Degraded,
            Status::Unavailable => Readiness::Unavailable,
        }
    }

    /// Its word.
    pub(super) fn word(&self) -> &'static str {
        self.status.as_str()
    }

    /// The codes of the reasons, for a log line.
    pub(super) fn codes(&self) -> String {
        let codes: Vec<&str> = self.reasons.iter().map(|reason| reason.code.as_str()).collect();
        codes.join(",")
    }

    fn judge_relay(&mut self, picture: &Picture) {
        let Some(relay) = picture.relay else {
            let message = "nothing is sent: the relay does not answer; events are kept. Restart Segue, and look into its log for why";
            return self.add(Status::Degraded, "relay_silent", message.into());
        };
        if let Some((since, status)) = relay.standing.paused {
            let message = format!(
                "nothing is sent since {since}: Customer.io answers {status} to the credentials; events are kept. Check site_id, api_key and region in [customerio]"
            );
            self.add(Status::Degraded, "credentials_refused", message);
        }
        if relay.standing.breaker_open {
            let last = picture.last_failure.as_ref();
            let last = last.map(|last| format!(", the last one at {}: {}", last.at, last.why));
            let message = format!(
                "most requests to Customer.io fail{}; one at a time tries whether it is back, events are kept",
                last.unwrap_or_default()
            );
            self.add(Status::Degraded, "breaker_open", message);
        }
        if let Some(ahead) = relay.clock_ahead.filter(|ahead| ahead.abs() > CLOCK_WRONG_MS) {
            let minutes = ahead.abs() / 60_000;
            let (so, then) = match ahead > 0 {
                true => ("ahead of", "fresh events look late, and parked ones leave early"),
                false => ("behind", "late events look fresh, and fresh ones from the future"),
            };
            let message = format!(
                "this machine's clock is {minutes} min {so} Customer.io's: {then}. Synchronise it (NTP); beyond guard.park_margin old carts may start campaigns"
            );
            self.add(Status::Degraded, "clock_wrong_here", message);
        }
        if let Standing {
            stalled: Some((since, status)), paused: None, breaker_open: false, ..
        } = relay.standing
        {
            let answer = match status {
                Some(status) => format!("answers {status}"),
                None => "does not answer".into(),
            };
            let message = format!(
                "nothing that was sent since {since} was dealt with: Customer.io {answer}; events are kept. If it goes on, ask Customer.io about the limits of the workspace"
            );
            self.add(Status::Degraded, "delivery_stalled", message);
        }
    }

    fn judge_scripts(&mut self, picture: &Picture) {
        if let Some(why) = &picture.broken_scripts {
            let message = format!(
                "the scripts on disk are refused, {} stays in force: {why}",
                picture.bundle
            );
            self.add(Status::Degraded, "broken_scripts", message);
        }
        if !picture.suspended_stages.is_empty() {
            let stages = picture.suspended_stages.join(", ");
            let message = format!(
                "stages of the scripts ran out of time too often and are suspended, their events go by on_error: {stages}. Make them faster and reload"
            );
            self.add(Status::Degraded, "suspended_stages", message);
        }
    }

    fn judge_dead_letters(&mut self, picture: &Picture) {
        let exits = &picture.exits;
        if exits.count > 0 {
            let events = if exits.count == 1 { "exit event is" } else { "exit events are" };
            let message = format!(
                "{} {events} among the dead letters of the last day ({}): campaigns may write to people who bought or cancelled already. See `segue dead-letters list --since 24h`",
                exits.count,
                exits.reasons.join(", ")
            );
            self.add(Status::Degraded, "exit_dead_letters", message);
        }
        if let Some(Dying { dead, of, reason }) = picture.dying {
            let message = format!(
                "{dead} of the {of} events of the last 5 min are dead letters, most of them {reason}: see `segue dead-letters list --since 5m`; nothing is lost, redrive them when the cause is gone"
            );
            self.add(Status::Degraded, "most_events_die", message);
        }
    }

    /// Says it before events are refused.
    fn judge_disk(&mut self, picture: &Picture) {
        let floor = picture.disk_floor_bytes;
        let Some(free) = picture.journal.disk_free_bytes else { return };
        if picture.journal.full.is_none() && free < floor.saturating_mul(2) {
            let message = format!(
                "the journal's disk has {free} bytes free; below {floor} no events are taken (disk_floor_bytes)"
            );
            self.add(Status::Degraded, "disk_low", message);
        }
    }

    fn add(&mut self, status: Status, code: &str, message: String) {
        self.status = self.status.max(status);
        self.reasons.push(Reason { code: code.into(), message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::watch::Exits;
    use crate::clock::Time;
    use crate::delivery::Standing;
    use crate::destination::customerio::client::Failure;
    use crate::relay;

    fn well() -> Picture {
        Picture {
            journal: JournalHealth { disk_free_bytes: Some(1000), ..JournalHealth::default() },
            disk_floor_bytes: 500,
            relay: Some(relay::Status::default()),
            bundle: "abc".into(),
            ..Picture::default()
        }
    }

    fn standing(standing: Standing) -> Option<relay::Status> {
        Some(relay::Status { standing, ..relay::Status::default() })
    }

    fn clock_ahead(millis: i64) -> Option<relay::Status> {
        Some(relay::Status { clock_ahead: Some(millis), ..relay::Status::default() })
    }

    #[test]
    fn each_trouble_has_its_status_its_code_and_what_to_do() {
        let paused = Some((Time::from_secs(0), 401));
        type Row = (
            &'static str,
            Box<dyn Fn(&mut Picture)>,
            Status,
            &'static [&'static str],
            &'static str,
        );
        #[rustfmt::skip]
        let table: Vec<Row> = vec![
            ("all is well", Box::new(|_| {}), Status::Ready, &[], ""),
            ("full", Box::new(|p| p.journal.full = Some("10 wait and 10 may".into())),
                Status::Unavailable, &["journal_full"], "10 wait and 10 may"),
            ("paused", Box::new(move |p| p.relay = standing(Standing { paused, ..Standing::default() })),
                Status::Degraded, &["credentials_refused"], "since 1970-01-01T00:00:00.000Z: Customer.io answers 401"),
            ("breaker", Box::new(|p| {
                p.relay = standing(Standing { breaker_open: true, ..Standing::default() });
                p.last_failure = Some(Failure { at: Time::from_secs(0), why: "it answered 503".into() });
            }), Status::Degraded, &["breaker_open"], "fail, the last one at 1970-01-01T00:00:00.000Z: it answered 503"),
            ("a clock as usual", Box::new(|p| p.relay = clock_ahead(-4 * 60_000)), Status::Ready, &[], ""),
            ("a clock ahead", Box::new(|p| p.relay = clock_ahead(62 * 60_000)),
                Status::Degraded, &["clock_wrong_here"], "62 min ahead of Customer.io's"),
            ("a clock behind", Box::new(|p| p.relay = clock_ahead(-6 * 60_000)),
                Status::Degraded, &["clock_wrong_here"], "6 min behind Customer.io's: late events look fresh"),
            ("always told to wait", Box::new(|p| {
                let stalled = Some((Time::from_secs(0), Some(429)));
                p.relay = standing(Standing { stalled, ..Standing::default() });
            }), Status::Degraded, &["delivery_stalled"], "since 1970-01-01T00:00:00.000Z was dealt with: Customer.io answers 429"),
            ("an outage says it once", Box::new(|p| {
                let stalled = Some((Time::from_secs(0), None));
                p.relay = standing(Standing { stalled, breaker_open: true, ..Standing::default() });
            }), Status::Degraded, &["breaker_open"], ""),
            ("relay gone", Box::new(|p| p.relay = None), Status::Degraded, &["relay_silent"], "Restart"),
            ("broken scripts", Box::new(|p| p.broken_scripts = Some("a.rhai:3: no".into())),
                Status::Degraded, &["broken_scripts"], "abc stays in force: a.rhai:3: no"),
            ("slow stage", Box::new(|p| p.suspended_stages = vec!["money".into()]),
                Status::Degraded, &["suspended_stages"], "money"),
            ("an exit event", Box::new(|p| p.exits = Exits { count: 1, reasons: vec!["script_failed"] }),
                Status::Degraded, &["exit_dead_letters"], "1 exit event is among the dead letters of the last day (script_failed)"),
            ("most events die", Box::new(|p| p.dying = Some(Dying { dead: 30, of: 40, reason: "rejected" })),
                Status::Degraded, &["most_events_die"], "30 of the 40 events of the last 5 min are dead letters, most of them rejected"),
            ("bit rot", Box::new(|p| p.journal.corrupt_records = 2),
                Status::Degraded, &["corrupt_records"], "2 records"),
            ("a damaged page", Box::new(|p| p.journal.unreadable = Some("malformed".into())),
                Status::Degraded, &["journal_unreadable"], "cannot be read and is not sent: malformed"),
            ("a damaged page of the trail", Box::new(|p| p.journal.untidy = Some("trail: malformed".into())),
                Status::Degraded, &["journal_untidy"], "the journal grows: trail: malformed"),
            ("a lost end", Box::new(|p| p.journal.missing_events = 3),
                Status::Degraded, &["missing_events"], "the last 3 events"),
            ("little room", Box::new(|p| p.journal.disk_free_bytes = Some(999)),
                Status::Degraded, &["disk_low"], "999 bytes"),
            ("no room says it once", Box::new(|p| {
                p.journal.disk_free_bytes = Some(1);
                p.journal.full = Some("its disk has 1 bytes free".into());
            }), Status::Unavailable, &["journal_full"], ""),
            ("the worst decides", Box::new(|p| {
                p.journal.full = Some("full".into());
                p.relay = None;
            }), Status::Unavailable, &["journal_full", "relay_silent"], ""),
        ];
        for (what, spoil, status, codes, says) in table {
            let mut picture = well();
            spoil(&mut picture);

            let health = Health::of(&picture);

            assert_eq!(health.status, status, "{what}");
            let found: Vec<&str> =
                health.reasons.iter().map(|reason| reason.code.as_str()).collect();
            assert_eq!(found, codes, "{what}");
            let said =
                health.reasons.first().map(|reason| reason.message.as_str()).unwrap_or_default();
            assert!(said.contains(says), "{what}: {said}");
        }
    }
}
