//! Which reminders a timeline would have started, and what would have stopped them.
//!
//! The campaign that every shop has: an event such as "Added to Cart" starts it, it waits some hours,
//! and it sends unless an event such as "Order Completed" came meanwhile. This module runs it over a
//! person's events, by the rules that the activity log applies to single ones.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::activity::rfc3339;
use super::workspace::EventRecord;
use crate::clock::Time;

/// A campaign: what starts it, how long it waits, what stops it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reminder {
    /// Names of the events that start it.
    pub start: Vec<String>,
    /// Names of the events that stop it.
    pub stop: Vec<String>,
    /// How long it waits before it sends.
    pub wait: Duration,
}

/// One run of the campaign for one person.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// What started it; the run begins when that was known.
    pub started_by: Mention,
    /// When it sends unless it is stopped.
    #[serde(serialize_with = "rfc3339")]
    pub due: Time,
    /// What becomes of it at the moment that is asked about.
    pub state: RunState,
    /// What stopped it.
    pub stopped_by: Option<Mention>,
    /// What would have stopped it: it happened before the run was due, and was told too late.
    pub told_too_late: Option<Mention>,
}

/// An event of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mention {
    /// Its number, as in `/emulator/events`.
    pub seq: u64,
    /// Its name.
    pub event: String,
    /// Its deduplication id, as in `segue explain` and the requests.
    pub id: Option<String>,
    /// When it happened, as the event says.
    #[serde(serialize_with = "rfc3339")]
    pub happened: Time,
    /// When it was first seen on the person.
    #[serde(serialize_with = "rfc3339")]
    pub known: Time,
}

impl Mention {
    fn of(event: &EventRecord) -> Self {
        let (seq, happened) = (event.seq, event.time);
        Self {
            seq,
            event: event.name.clone(),
            id: event.id.clone(),
            happened,
            known: known_at(event),
        }
    }
}

/// What became of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Stopped before it was due.
    Stopped,
    /// Not due yet.
    Waiting,
    /// A message went out.
    Sent,
}

impl Reminder {
    /// The runs that these events of one person start, as they stand at `now`.
    ///
    /// An event starts a run if the activity log says that it could have triggered. An event stops it
    /// if it happened at or after the one that started it, and was known before the run was due. Every
    /// event that starts anything starts a run of its own: people may come in again.
    pub fn runs(&self, events: &[EventRecord], now: Time) -> Vec<Run> {
        let is_any = |names: &[String], event: &EventRecord| names.contains(&event.name);
        // By the time of the event, so that each run looks only at what happened after its start.
        let stops: BTreeMap<(Time, u64), &EventRecord> = events
            .iter()
            .filter(|event| is_any(&self.stop, event))
            .map(|event| ((event.time, event.seq), event))
            .collect();
        let starts =
            events.iter().filter(|event| event.could_trigger && is_any(&self.start, event));
        let runs = starts.map(|event| {
            let due = known_at(event).plus(self.wait);
            // The first to be known of those that happened behind the start.
            let behind = stops.range((event.time, 0)..).map(|(_, stop)| *stop);
            let first = behind.min_by_key(|stop| (known_at(stop), stop.seq));
            let stopped_by = first.filter(|stop| known_at(stop) <= due);
            let late = first.filter(|stop| known_at(stop) > due && stop.time <= due);
            let state = match stopped_by {
                Some(_) => RunState::Stopped,
                None if now < due => RunState::Waiting,
                None => RunState::Sent,
            };
            Run {
                started_by: Mention::of(event),
                due,
                state,
                stopped_by: stopped_by.map(Mention::of),
                told_too_late: late.map(Mention::of),
            }
        });
        runs.collect()
    }
}

/// When an event was first seen on its person.
fn known_at(event: &EventRecord) -> Time {
    event.attached_at.unwrap_or(event.received_at)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{Bench, NOON, hours, minutes};
    use super::*;

    fn cart() -> Reminder {
        Reminder {
            start: vec!["Added to Cart".into()],
            stop: vec!["Order Completed".into()],
            wait: hours(4),
        }
    }

    fn states(bench: &Bench) -> Vec<(RunState, Option<u64>)> {
        let runs = cart().runs(&bench.person("1").events, bench.now);
        runs.into_iter().map(|run| (run.state, run.stopped_by.map(|stop| stop.seq))).collect()
    }

    #[test]
    fn a_cart_without_an_order_sends_after_the_wait() {
        let mut bench = Bench::new();
        bench.event("1", "Added to Cart", NOON).later(hours(4).saturating_sub(minutes(1)));
        assert_eq!(states(&bench), [(RunState::Waiting, None)]);
        bench.later(minutes(1));
        assert_eq!(states(&bench), [(RunState::Sent, None)]);
        bench.later(minutes(1)).event("1", "Order Completed", NOON + 14_460);
        assert_eq!(states(&bench), [(RunState::Sent, None)], "too late");
    }

    #[test]
    fn only_an_order_after_the_cart_that_was_known_in_time_stops_it() {
        let table = [
            ("an hour after", 3600, 60, true),
            ("in the same second", 0, 60, true),
            ("before the cart", -3600, 60, false),
            ("after, but told too late", 3600, 5 * 60, false),
        ];
        for (what, happened, told_after, stops) in table {
            let mut bench = Bench::new();
            bench.event("1", "Added to Cart", NOON).later(minutes(told_after));
            bench.event("1", "Order Completed", NOON + happened).later(hours(4));
            let expected =
                if stops { (RunState::Stopped, Some(2)) } else { (RunState::Sent, None) };
            assert_eq!(states(&bench), [expected], "{what}");
        }
    }

    #[test]
    fn an_order_that_would_have_stopped_it_is_named_although_it_was_told_too_late() {
        for (ordered, named) in [(NOON + 3600, true), (NOON + 4 * 3600 + 60, false)] {
            let mut bench = Bench::new();
            bench.event("1", "Added to Cart", NOON).later(hours(5));
            bench.event("1", "Order Completed", ordered);
            let run = cart().runs(&bench.person("1").events, bench.now).remove(0);
            assert_eq!((run.state, run.stopped_by), (RunState::Sent, None));
            let late = run.told_too_late.map(|order| (order.seq, order.event, order.happened));
            let order = (2, "Order Completed".to_owned(), Time::from_secs(ordered));
            assert_eq!(late, named.then_some(order));
        }
    }

    #[test]
    fn an_order_that_came_before_its_cart_stops_it_too() {
        for cart_at in [NOON - 60, NOON] {
            let mut bench = Bench::new();
            bench.event("1", "Order Completed", NOON).later(minutes(1));
            bench.event("1", "Added to Cart", cart_at).later(hours(5));
            assert_eq!(states(&bench), [(RunState::Stopped, Some(1))]);
        }
    }

    #[test]
    fn what_cannot_trigger_starts_nothing() {
        let mut bench = Bench::new();
        bench.event("1", "Added to Cart", NOON - 100 * 3600).visit("v", "Added to Cart", NOON);
        assert_eq!(states(&bench), []);
        bench.put("1", json!({"anonymous_id": "v"})).later(hours(4));
        assert_eq!(
            states(&bench),
            [(RunState::Sent, None)],
            "the visitor's cart, once it is theirs"
        );
    }
}
