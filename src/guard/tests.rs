//! The guard's rules, case by case.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::Span;
use crate::spec::{Arrival, Call, Event, Ingress, RawCall, Sketch, Vendor, normalise};

const NOW: &str = "2026-03-14T12:00:00.000Z";

fn now() -> Time {
    Time::parse(NOW).unwrap()
}

fn arrival(replay: Option<Replay>) -> Arrival {
    Arrival {
        source: "web".into(),
        ingress: Ingress::Webhook,
        accepted_at: now(),
        replay,
        ..Arrival::default()
    }
}

fn event(call: Call, name: &str, minutes_old: i64) -> Event {
    let at = Time::from_millis(now().millis() - minutes_old * 60_000);
    let body = json!({"type": call.as_str(), "event": name, "userId": "u", "previousId": "p",
        "messageId": "m", "timestamp": at.to_string()});
    normalise(&mut RawCall::new(arrival(None), Bytes::from(body.to_string())), Vendor::Segment)
        .unwrap()
}

fn verdict(config: &GuardConfig, event: &Event, replay: Option<Replay>) -> Verdict {
    judge(config, &case(event, replay), now())
}

fn case(event: &Event, replay: Option<Replay>) -> Case {
    let canonical = crate::spec::names::canonical(event.name().unwrap_or_default());
    Case {
        call: event.call(),
        kind: Kind::of(event.call(), &canonical),
        time: event.time(),
        received_at: event.received_at(),
        canonical,
        source: "web".into(),
        accepted_at: now(),
        replay,
        late_after: None,
        cutover: None,
    }
}

fn flagged() -> Option<Replay> {
    Some(Replay::Flagged { label: None })
}

#[test]
fn the_defaults_are_the_table_of_the_readme() {
    use Action::{Deliver, Drop, Mark, Park};
    let (live, late, history) = (1, 120, 74 * 60);
    let aged = Some(Replay::ReceivedAge);
    #[rustfmt::skip]
    let table = [
        ("Added to Cart",   Call::Track,    live,    None,            Deliver),
        ("Added to Cart",   Call::Track,    late,    None,            Park),
        ("Added to Cart",   Call::Track,    history, None,            Deliver),
        ("Product Added",   Call::Track,    late,    aged.clone(),    Park),
        ("Added to Cart",   Call::Track,    history, aged.clone(),    Deliver),
        ("Added to Cart",   Call::Track,    late,    flagged(),       Park),
        ("Added to Cart",   Call::Track,    live,    flagged(),       Park),
        ("Added to Cart",   Call::Track,    history, flagged(),       Deliver),
        ("Order Completed", Call::Track,    late,    None,            Deliver),
        ("Order Completed", Call::Track,    late,    aged.clone(),    Deliver),
        ("Order Completed", Call::Track,    late,    flagged(),       Park),
        ("Purchase",        Call::Track,    history, flagged(),       Deliver),
        ("Quiz Answered",   Call::Track,    late,    None,            Deliver),
        ("Quiz Answered",   Call::Track,    late,    aged.clone(),    Deliver),
        ("Quiz Answered",   Call::Track,    late,    flagged(),       Park),
        ("",                Call::Page,     late,    None,            Park),
        ("",                Call::Identify, history, None,            Deliver),
        ("",                Call::Identify, late,    flagged(),       Mark),
        ("",                Call::Group,    late,    aged.clone(),    Deliver),
        ("",                Call::Alias,    late,    None,            Deliver),
        ("",                Call::Alias,    late,    aged.clone(),    Drop),
        ("User Deleted",    Call::Track,    late,    flagged(),       Drop),
        ("",                Call::Delete,   live,    aged,            Drop),
    ];
    for (name, call, minutes, replay, expected) in table {
        let given = verdict(&GuardConfig::default(), &event(call, name, minutes), replay.clone());
        assert_eq!(
            given.action, expected,
            "{call:?} {name:?}, {minutes} min old, {replay:?}: {}",
            given.reason
        );
    }
}

#[test]
fn a_verdict_says_when_it_would_be_another() {
    let cart = event(Call::Track, "Added to Cart", 10);
    let live = verdict(&GuardConfig::default(), &cart, None);
    assert_eq!(live.valid_until.unwrap().to_string(), "2026-03-14T12:50:00.001Z");

    let order = event(Call::Track, "Order Completed", 10);
    assert_eq!(verdict(&GuardConfig::default(), &order, None).valid_until, None);

    let parked = verdict(&GuardConfig::default(), &event(Call::Track, "Added to Cart", 120), None);
    assert_eq!(parked.park_until, parked.valid_until);
}

#[test]
fn a_time_in_the_future_becomes_the_time_of_receipt() {
    let skewed = verdict(&GuardConfig::default(), &event(Call::Track, "Added to Cart", -4), None);
    assert_eq!((skewed.class, skewed.corrected_time), (Class::Live, None));
    let impossible =
        verdict(&GuardConfig::default(), &event(Call::Track, "Added to Cart", -6), None);
    assert_eq!(impossible.corrected_time.unwrap().at, now());
}

#[test]
fn a_replayed_event_without_a_time_is_never_sent() {
    let body = json!({"type": "track", "event": "Order Completed", "userId": "u", "timestamp": "yesterday"});
    let event =
        normalise(&mut RawCall::new(arrival(None), Bytes::from(body.to_string())), Vendor::Segment)
            .unwrap();
    let given = verdict(&GuardConfig::default(), &event, flagged());
    assert_eq!(given.drop, Some(DropReason::ReplayWithoutTime));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let config: GuardConfig = toml::from_str(
        r#"
        [[rule]]
        event = ["added_to_cart", "Checkout *"]
        class = "late"
        max_age = "4h"
        action = "mark"
        rename = "Added to Cart (late)"
        [[rule]]
        class = ["late", "historical"]
        action = "profile_only"
        "#,
    )
    .unwrap();
    let table = [
        ("marked by the first", Call::Track, "Product Added", 120, Action::Mark, None),
        (
            "too old for the first",
            Call::Track,
            "Product Added",
            300,
            Action::Drop,
            Some(DropReason::TooOld),
        ),
        ("a pattern", Call::Track, "Checkout Started", 120, Action::Mark, None),
        (
            "behaviour under the second",
            Call::Track,
            "Quiz",
            120,
            Action::Drop,
            Some(DropReason::ProfileOnly),
        ),
        ("a profile under the second", Call::Identify, "", 120, Action::ProfileOnly, None),
        ("live is not concerned", Call::Track, "Quiz", 1, Action::Deliver, None),
    ];
    for (what, call, name, minutes, action, drop) in table {
        let given = verdict(&config, &event(call, name, minutes), None);
        assert_eq!((given.action, given.drop), (action, drop), "{what}");
    }
}

#[test]
fn what_was_delivered_before_the_cutover_is_not_sent_again() {
    let event = event(Call::Track, "Order Completed", 74 * 60);
    let case = Case { cutover: Some(now()), ..case(&event, flagged()) };
    assert_eq!(judge(&GuardConfig::default(), &case, now()).drop, Some(DropReason::BeforeCutover));
}

#[test]
fn a_replay_is_recognised_at_the_door() {
    let config = GuardConfig { retl_is_replay: true, ..GuardConfig::default() };
    let old = "2026-03-01T00:00:00Z";
    let aged = Some(Replay::ReceivedAge);
    let named = Some(Replay::Flagged { label: Some("may".into()) });
    #[allow(clippy::type_complexity)]
    let table: [(&str, Ingress, Option<Option<String>>, Value, Option<Replay>); 7] = [
        ("fresh", Ingress::Webhook, None, json!({"receivedAt": NOW, "timestamp": old}), None),
        ("received long ago", Ingress::Webhook, None, json!({"receivedAt": old}), aged),
        ("a client's word", Ingress::Api, None, json!({"receivedAt": old}), None),
        ("flagged by the URL", Ingress::Api, Some(Some("may".into())), json!({}), named.clone()),
        ("flagged by a field", Ingress::Api, None, json!({"context": {"replay": true}}), flagged()),
        ("named by a field", Ingress::Api, None, json!({"context": {"replay": "may"}}), named),
        (
            "reverse ETL",
            Ingress::Api,
            None,
            json!({"context": {"sources": {"job_run_id": "r"}}}),
            flagged(),
        ),
    ];
    for (what, ingress, flag, fields, expected) in table {
        let given =
            replay::at_acceptance(&config, ingress, now(), flag, Some(&Sketch::from(&fields)));
        assert_eq!(given, expected, "{what}");
    }
    let engage = json!({"integrations": {"All": false, "Webhooks": true}, "receivedAt": NOW});
    let given =
        replay::at_acceptance(&config, Ingress::Webhook, now(), None, Some(&Sketch::from(&engage)));
    assert_eq!(given, None, "Engage's live events carry All: false");
}

#[test]
fn a_key_is_the_same_fact_whatever_its_source_and_another_in_another_scope() {
    let key = |name: &str, part: &str, scope: &str| {
        let key = crate::transform::BusinessKey { name: name.into(), parts: vec![part.into()] };
        keys::fact_key(&key, scope)
    };
    assert_eq!(key("order_completed", "1", ""), key("order_completed", "1", ""));
    assert_ne!(key("order_completed", "1", ""), key("order_refunded", "1", ""));
    assert_ne!(key("order_completed", "1", "a"), key("order_completed", "1", "b"));
    assert_ne!(key("ab", "c", ""), key("a", "bc", ""));
    assert_ne!(key("a", "1:b", ""), key("a1:1", "b", ""));
}

#[test]
fn keys_of_consecutive_orders_lie_together_and_long_ones_stay_short() {
    let key = |parts: &[&str]| {
        let parts = parts.iter().map(|part| (*part).to_owned()).collect();
        let key = crate::transform::BusinessKey { name: "order_completed".into(), parts };
        keys::fact_key(&key, "").0
    };
    let orders = ["1009", "1010", "1011"].map(|order| key(&[order]));
    assert!(orders.is_sorted(), "{orders:?}");
    let (long, other) = ("x".repeat(500), "y".repeat(500));
    assert!(key(&[&long]).len() < 100);
    assert_ne!(key(&[&long]), key(&[&other]));
    assert_ne!(key(&[&long, "1"]), key(&[&long, "2"]));
}

proptest! {
    /// Customer.io's own rule: an event of the last 72 hours, or without a time, can start campaigns.
    #[test]
    fn nothing_of_a_flagged_replay_can_start_a_campaign(minutes in -10_000_i64..10_000, name in "[A-Z][a-z]{2,8}") {
        let event = event(Call::Track, &name, minutes);
        let given = verdict(&GuardConfig::default(), &event, flagged());
        if matches!(given.action, Action::Deliver | Action::Mark) {
            let at = given.corrected_time.unwrap_or(event.time()).at;
            prop_assert!(now().since(at) > Span::from_hours(72).duration());
        }
    }

    #[test]
    fn a_verdict_holds_until_it_says(minutes in -10_i64..6_000, later in 0_i64..6_000) {
        let event = event(Call::Track, "Added to Cart", minutes);
        let given = verdict(&GuardConfig::default(), &event, None);
        let case = case(&event, None);
        let then = Time::from_millis(now().millis() + later * 60_000);
        if given.valid_until.is_none_or(|until| then < until) {
            prop_assert_eq!(judge(&GuardConfig::default(), &case, then).action, given.action);
        }
    }
}

#[test]
fn an_event_is_history_only_when_the_time_that_is_sent_is() {
    let config = GuardConfig::default();
    let hours = |hours: i64| Time::from_millis(now().millis() - hours * 3_600_000);
    // A device whose clock was four days ahead: what it did four days ago says that it was today.
    let mut cart = case(&event(Call::Track, "Added to Cart", 0), flagged());
    cart.time.for_age = Some(hours(96));
    for replay in [flagged(), None] {
        cart.replay = replay;
        let verdict = judge(&config, &cart, now());
        assert_eq!(verdict.action, Action::Park, "{}", verdict.reason);
        let until = verdict.park_until.unwrap();
        assert!(until > now().plus(config.history_begins()));
        assert_eq!(judge(&config, &cart, until).action, Action::Deliver);
    }
}

#[test]
fn a_mark_is_made_again_when_it_would_say_something_else() {
    let marked = |class, rename: &str| GuardRule {
        class: vec![class],
        action: Some(Action::Mark),
        rename: Some(rename.into()),
        ..GuardRule::default()
    };
    let rule = vec![marked(Class::Late, "Late"), marked(Class::Historical, "Old")];
    let config = GuardConfig { rule, ..GuardConfig::default() };
    let late = case(&event(Call::Track, "Added to Cart", 120), None);
    let verdict = judge(&config, &late, now());
    assert_eq!(verdict.rename.as_deref(), Some("Late"));
    let until = verdict.valid_until.unwrap();
    assert_eq!(judge(&config, &late, until).rename.as_deref(), Some("Old"));
}

#[test]
fn a_verdict_is_a_sentence_for_whoever_runs_the_campaigns() {
    let ruled: GuardConfig = toml::from_str(
        "[[rule]]\nevent = \"Quiz *\"\naction = \"drop\"\n[[rule]]\nevent = \"Order *\"\naction = \"mark\"\nrename = \"Old order\"",
    )
    .unwrap();
    let plain = GuardConfig::default();
    let named = Some(Replay::Flagged { label: Some("march".into()) });
    let kept =
        "kept until 2026-03-17T11:00:00.001Z, then sent as history that can start no campaign";
    let mut wrong_clock = case(&event(Call::Track, "Added to Cart", 0), None);
    wrong_clock.time.for_age = Some(Time::from_millis(now().millis() - 120 * 60_000));
    #[rustfmt::skip]
    let table: [(&GuardConfig, Case, String); 7] = [
        (&plain, case(&event(Call::Track, "Order Completed", 0), None),
            "order, refund, cancellation or subscription, just happened: sent, it can start campaigns".into()),
        (&plain, case(&event(Call::Track, "Added to Cart", 120), None),
            format!("browsing, cart or checkout, 2 h ago, late: {kept}")),
        (&plain, case(&event(Call::Track, "Added to Cart", 120), named.clone()),
            format!("browsing, cart or checkout, 2 h ago, part of the replay \"march\": {kept}")),
        (&plain, case(&event(Call::Track, "Quiz", 74 * 60), named),
            "behaviour, 3 days ago, part of the replay \"march\": sent with its true time, too old to start a campaign".into()),
        (&ruled, case(&event(Call::Track, "Quiz 1", 1), None), "behaviour, 1 min ago: dropped (guard rule 1)".into()),
        (&ruled, case(&event(Call::Track, "Order Completed", 3), None),
            "order, refund, cancellation or subscription, 3 min ago: marked, renamed \"Old order\", sent, it can start campaigns (guard rule 2)".into()),
        (&plain, wrong_clock, "browsing, cart or checkout, 2 h ago, late: kept until 2026-03-17T13:00:00.001Z, then sent as history that can \
            start no campaign; its device's clock was wrong, and what it was wrong by is taken off its age".into()),
    ];
    for (config, case, sentence) in table {
        assert_eq!(judge(config, &case, now()).reason, sentence);
    }
}

#[test]
fn an_impossible_time_gives_way_to_the_corrected_one_where_that_is_known() {
    let mut cart = case(&event(Call::Track, "Added to Cart", -4 * 24 * 60), None);
    cart.time.for_age = Some(Time::from_millis(now().millis() - 10 * 3_600_000));
    let verdict = judge(&GuardConfig::default(), &cart, now());
    assert_eq!(verdict.action, Action::Park, "ten hours old, whatever the device says");
    assert!(verdict.clock_wrong);
    assert_eq!(verdict.corrected_time.unwrap().at, cart.time.for_age.unwrap());
}
