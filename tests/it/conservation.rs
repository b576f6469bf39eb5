//! The law: accepted = delivered + dropped + dead-lettered + pending, at every moment, whatever comes
//! in, whatever Customer.io answers, however time passes. And its sister: nothing of a replay could
//! have started a campaign.
//!
//! Runs the production code on one thread over a journal in memory, with the clock in hand.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use segue::clock::Time;
use segue::config::Config;
use segue::emulator::FaultRule;
use segue::fixture::{Delivery, Setup, World};
use segue::spec::Ingress;
use segue::transform::Bundle;
use serde_json::{Value, json};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Comes { body: Value, source: &'static str, replay: bool },
    Fails(&'static str),
    Passes(Duration),
}

fn event() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        8 => Just(json!("track")), 3 => Just(json!("identify")), 1 => Just(json!("page")),
        1 => Just(json!("screen")), 1 => Just(json!("group")), 1 => Just(json!("alias")),
        1 => Just(json!("delete")), 1 => Just(json!("record")), 1 => Just(json!(7)),
    ];
    let name = prop_oneof![
        Just(json!("Added to Cart")),
        Just(json!("orderCompleted")),
        Just(json!("Purchase")),
        Just(json!("Quiz Answered")),
        Just(json!("User Deleted")),
        Just(json!("")),
        Just(Value::Null),
    ];
    let user = prop_oneof![
        4 => (0..5).prop_map(|n| json!(format!("u{n}"))), 1 => Just(Value::Null), 1 => Just(json!(12)),
        1 => Just(json!("undefined")), 1 => Just(json!({"id": 1})),
    ];
    let anonymous =
        prop_oneof![2 => Just(Value::Null), 2 => (0..4).prop_map(|n| json!(format!("a{n}")))];
    let total = prop_oneof![
        Just(json!("$49.00")),
        Just(json!(49)),
        Just(json!("forty nine")),
        Just(Value::Null),
        Just(json!([1])),
    ];
    // Hours before the day on which everything happens; negative: in the future.
    let age = prop_oneof![4 => Just(Some(0)), 1 => Just(None), 3 => (-3_i64..200).prop_map(Some)];
    (kind, name, user, anonymous, total, age, 0..40_u32, 0..3_u32).prop_map(
        |(kind, name, user, anonymous, total, age, id, order)| {
            let at = age.map(|hours| Time::from_millis(start().millis() - hours * 3_600_000).to_string());
            json!({"type": kind, "event": name, "userId": user, "anonymousId": anonymous, "previousId": "u1",
                "groupId": "g", "messageId": format!("m{id}"), "timestamp": at,
                "traits": {"email": format!("p{order}@example.com")},
                "properties": {"order_id": order, "total": total, "url": "https://shop.example/"}})
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let body = prop_oneof![
        6 => event(),
        2 => prop::collection::vec(event(), 0..6).prop_map(Value::Array),
        1 => Just(json!([1, "x", null])),
    ];
    let source = prop_oneof![Just("segment"), Just("rudderstack")];
    let faults = prop_oneof![
        Just("ok"),
        Just("503*7"),
        Just("reset, 500, 429"),
        Just("400"),
        Just("401"),
        Just("garbage, 503"),
    ];
    prop_oneof![
        8 => (body, source, prop::bool::weighted(0.2))
            .prop_map(|(body, source, replay)| Step::Comes { body, source, replay }),
        1 => faults.prop_map(Step::Fails),
        2 => (0_u64..6 * 3600).prop_map(|secs| Step::Passes(Duration::from_secs(secs))),
    ]
}

fn start() -> Time {
    Time::parse("2026-03-14T12:00:00Z").unwrap()
}

fn assert_law(world: &World) -> Result<(), TestCaseError> {
    let (totals, pending) = world.journal().balance();
    let sum = |outcomes: &[&str]| -> u64 {
        let counted = totals.iter().filter(|total| outcomes.contains(&total.outcome.as_str()));
        counted.map(|total| total.count).sum()
    };
    let ended = sum(&["delivered", "dropped", "dead_lettered"]);
    prop_assert_eq!(sum(&["accepted", "redriven"]), ended + pending.total());
    Ok(())
}

/// What the emulator says about the events that the replay brought, which carry its mark.
fn assert_no_replay_fires(world: &World) -> Result<(), TestCaseError> {
    for entry in world.emulator().activity() {
        let Some(event) = &entry.event else { continue };
        let stored = world.emulator().events().find(|record| Some(record.seq) == event.seq);
        let replayed = stored.is_some_and(|record| record.data.contains_key("from_replay"));
        prop_assert!(!(replayed && event.could_trigger), "{entry:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_accepted_event_is_accounted_for_at_every_moment(steps in prop::collection::vec(step(), 1..40)) {
        let setup = Setup::new(&Config::demo(), Arc::new(Bundle::shipped().unwrap()));
        let mut world = World::new(&setup, start()).unwrap();
        for step in steps {
            match step {
                Step::Comes { mut body, source, replay } => {
                    if replay {
                        mark(&mut body);
                    }
                    let delivery = Delivery {
                        source,
                        ingress: Ingress::Webhook,
                        replay: replay.then_some("march"),
                        body: body.to_string().into(),
                    };
                    if let Ok(events) = world.open(&delivery) {
                        world.store(events).unwrap();
                    }
                }
                Step::Fails(text) => {
                    let rules = FaultRule::parse(text).unwrap();
                    world.emulator_mut().set_faults(vec![rules]);
                }
                Step::Passes(time) => world.advance(world.now().plus(time)).unwrap(),
            }
            assert_law(&world)?;
        }
        world.emulator_mut().set_faults(Vec::new());
        world.advance(world.now().plus(Duration::from_secs(10 * 24 * 3600))).unwrap();
        assert_law(&world)?;
        assert_no_replay_fires(&world)?;
        prop_assert_eq!(world.journal().pending().total(), 0, "everything has ended");
    }
}

/// Marks events so that they are recognised at the emulator.
fn mark(body: &mut Value) {
    match body {
        Value::Array(events) => events.iter_mut().for_each(mark),
        Value::Object(event) => event["properties"]["from_replay"] = json!(true),
        _ => {}
    }
}
