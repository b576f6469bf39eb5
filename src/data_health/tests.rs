//! What is found in the data, and what is not.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::destination::customerio::Subject;
use crate::journal::{Seq, TrailEntry};

fn at(minutes: i64) -> Time {
    Time::from_millis(minutes * 60_000)
}

fn seen(kind: Kind, minutes: i64) -> Sighting {
    Sighting {
        kind,
        class: Class::Live,
        happened: at(minutes),
        age: Duration::ZERO,
        clock_wrong: false,
        without_time: false,
        order: kind == Kind::Exit,
        order_without_id: false,
    }
}

fn subject(person: Option<&str>, anonymous: Option<&str>) -> Subject {
    Subject { person: person.map(PersonId::from_text), anonymous: anonymous.map(String::from) }
}

fn report(source: &str, run: &str, subject: Subject, seen: Sighting) -> Report {
    let part = Decided {
        index: 0,
        subject,
        identity: "",
        notices: Vec::new(),
        operations: vec!["event"],
        outcome: "delivered",
        reason: String::new(),
        seen,
    };
    let trail = TrailEntry { source: source.into(), label: run.into(), ..TrailEntry::default() };
    Report {
        seq: Seq(1),
        trail,
        letter: None,
        exit: false,
        happened_at: None,
        first: true,
        parts: vec![part],
        checks: Arc::from([]),
    }
}

fn found(health: &DataHealth, name: &str) -> u64 {
    let finding = FINDINGS.iter().find(|finding| finding.name == name).unwrap();
    health.sources().values().map(|figures| finding.count(figures)).sum()
}

#[test]
fn a_purchase_that_comes_after_what_was_done_later_is_out_of_order() {
    let table = [
        ("in order", Class::Live, [10, 20], 0),
        ("the purchase comes last, and was first", Class::Live, [20, 10], 1),
        ("late, and all the same", Class::Late, [20, 10], 1),
        ("a replay repeats the past", Class::Replay, [20, 10], 0),
    ];
    for (what, class, [cart, order], expected) in table {
        let mut health = DataHealth::default();
        for (kind, minutes) in [(Kind::Intent, cart), (Kind::Exit, order)] {
            let seen = Sighting { class, ..seen(kind, minutes) };
            health.note(&report("web", "", subject(Some("u"), None), seen));
        }
        assert_eq!(found(&health, "purchase_out_of_order"), expected, "{what}");
    }
}

#[test]
fn visitors_are_not_joined_until_they_are() {
    let mut health = DataHealth::default();
    for visitor in ["a", "a", "b"] {
        let event = seen(Kind::Intent, 1);
        health.note(&report("web", "", subject(None, Some(visitor)), event));
    }
    assert_eq!(found(&health, "anonymous_not_joined"), 3);
    health.note(&report("app", "", subject(Some("u"), Some("a")), seen(Kind::Profile, 2)));
    assert_eq!(found(&health, "anonymous_not_joined"), 1);
    assert_eq!(health.sources()["web"].anonymous_joined, 2, "of the source that sent them");
}

#[test]
fn what_identity_notices_about_somebody_counts_once() {
    let mut health = DataHealth::default();
    let noticed = [
        ("u1", Notice::EmailOfAnotherPerson),
        ("u1", Notice::EmailOfAnotherPerson),
        ("u2", Notice::EmailOfAnotherPerson),
        ("u2", Notice::PeopleNotMerged),
        ("u1", Notice::EmailChanged),
        ("u1", Notice::EmailChanged),
        ("u1", Notice::StaleIdentify),
    ];
    for (person, notice) in noticed {
        let mut report = report("web", "", subject(Some(person), None), seen(Kind::Profile, 1));
        report.parts[0].notices.push(notice);
        health.note(&report);
    }
    assert_eq!(found(&health, "people_with_two_ids"), 2);
    assert_eq!(found(&health, "people_with_two_emails"), 1);
}

#[test]
fn an_event_counts_once_and_for_its_replay_too() {
    let mut health = DataHealth::default();
    let old = Sighting {
        class: Class::Replay,
        age: Duration::from_secs(7200),
        clock_wrong: true,
        order_without_id: true,
        ..seen(Kind::Exit, 1)
    };
    let first = report("web", "march", subject(Some("u"), None), old);
    health.note(&first);
    health.note(&Report { first: false, ..first });
    for figures in [&health.sources()["web"], &health.runs()["march"]] {
        let counts =
            (figures.events, figures.replayed, figures.clock_wrong, figures.orders_without_id);
        assert_eq!(counts, (1, 1, 1, 1));
        assert_eq!(figures.age_of(0.95), Some(86_400));
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut recent: Recent<u64> = Recent::default();
    for key in 0..3 * REMEMBERED as u64 {
        *recent.of(key) = key;
    }
    assert!(recent.young.len() + recent.old.len() <= 2 * REMEMBERED);
    assert_eq!(recent.find(3 * REMEMBERED as u64 - 1), Some(&mut (3 * REMEMBERED as u64 - 1)));
    assert_eq!(recent.find(0), None);
}
