//! The courier against a scripted Customer.io.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::destination::customerio::request::Method;
use crate::destination::customerio::response::Answer;
use crate::journal::Seq;
use crate::spec::Traffic;

fn config() -> CourierConfig {
    CourierConfig {
        rate: 1_000_000,
        concurrency: 4,
        linger: Duration::ZERO,
        room: Room { items: 4, bytes: 100_000 },
        age_budget: Duration::from_secs(24 * 3600),
        seed: 1,
    }
}

fn id(seq: u64) -> ItemId {
    ItemId { traffic: Traffic::Live, seq: Seq(seq), part: 0, op: 0 }
}

fn item(seq: u64, keys: &[&str]) -> Item {
    Item {
        id: id(seq),
        keys: keys.iter().map(|key| Arc::from(*key)).collect(),
        payload: Encoded::Item(seq.to_string().into()),
        barrier: false,
        valid_until: None,
        first_failed: None,
        tries: 0,
    }
}

fn at(millis: i64) -> Time {
    Time::from_millis(1_000_000 + millis)
}

fn ok() -> Answer {
    Answer::Accepted { rejected: Vec::new() }
}

fn broken(status: u16) -> Answer {
    Answer::TryAgain { status: Some(status), retry_after: None, unknown_fate: true }
}

fn batch(flight: &Flight) -> (FlightId, Vec<String>) {
    match flight {
        Flight::Batch(id, items) => {
            (*id, items.iter().map(|item| String::from_utf8_lossy(item).into_owned()).collect())
        }
        other => panic!("expected a batch, got {other:?}"),
    }
}

fn fates(courier: &mut Courier) -> Vec<(u64, Fate)> {
    std::iter::from_fn(|| courier.next_settled())
        .map(|settled| (settled.id.seq.0, settled.fate))
        .collect()
}

#[test]
fn a_persons_items_share_a_batch_in_order_and_wait_for_nobody_elses() {
    let mut courier = Courier::new(config());
    for (seq, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "a"), (5, "a"), (6, "b")] {
        courier.push(item(seq, &[key]));
    }
    let flights = courier.poll(at(0));
    let (first, items) = batch(&flights[0]);
    assert_eq!(items, ["1", "2", "3", "4"]);
    assert_eq!(flights.len(), 1, "5 and 6 wait for the first batch");
    courier.answer(first, ok(), at(1));
    assert_eq!(fates(&mut courier).len(), 4);
    assert_eq!(batch(&courier.poll(at(1))[0]).1, ["5", "6"]);
}

#[test]
fn an_item_that_joins_two_people_waits_for_both() {
    let mut courier =
        Courier::new(CourierConfig { room: Room { items: 1, bytes: 1000 }, ..config() });
    courier.push(item(1, &["anon"]));
    courier.push(item(2, &["user"]));
    courier.push(item(3, &["anon", "user"]));
    courier.push(item(4, &["user"]));
    let flights = courier.poll(at(0));
    assert_eq!(flights.len(), 2);
    courier.answer(batch(&flights[0]).0, ok(), at(1));
    assert!(courier.poll(at(1)).is_empty(), "3 still waits for 2");
    courier.answer(batch(&flights[1]).0, ok(), at(2));
    let third = courier.poll(at(2));
    assert_eq!(batch(&third[0]).1, ["3"]);
    assert_eq!(third.len(), 1, "4 waits for 3");
}

#[test]
fn a_rejected_item_is_named_and_its_neighbours_are_delivered() {
    let mut courier = Courier::new(config());
    (1..=3).for_each(|seq| courier.push(item(seq, &["a"])));
    let flight = batch(&courier.poll(at(0))[0]).0;
    let error =
        ItemError { index: 1, reason: "invalid".into(), field: "x".into(), message: "m".into() };
    courier.answer(flight, Answer::Accepted { rejected: vec![error.clone()] }, at(1));
    let expected = [(1, Fate::Delivered), (2, Fate::Rejected(error, 207)), (3, Fate::Delivered)];
    assert_eq!(fates(&mut courier), expected);
}

#[test]
fn a_refused_batch_is_halved_down_to_the_culprit() {
    let mut courier =
        Courier::new(CourierConfig { room: Room { items: 64, bytes: 100_000 }, ..config() });
    (1..=64).for_each(|seq| courier.push(item(seq, &[&seq.to_string()])));
    let mut requests = 0;
    loop {
        let flights = courier.poll(at(0));
        if flights.is_empty() {
            break;
        }
        for flight in flights {
            requests += 1;
            let (id, items) = batch(&flight);
            let answer = match items.contains(&"37".into()) {
                true => Answer::Refused { status: 400, message: "no".into() },
                false => ok(),
            };
            courier.answer(id, answer, at(0));
        }
    }
    let fates = fates(&mut courier);
    assert_eq!(fates.len(), 64);
    let rejected: Vec<_> =
        fates.iter().filter(|(_, fate)| *fate != Fate::Delivered).map(|(seq, _)| *seq).collect();
    assert_eq!(rejected, [37]);
    assert!(requests <= 13, "{requests} requests: two for each halving");
}

#[test]
fn a_person_who_fails_before_anybody_else_comes_does_not_keep_the_breaker_open() {
    let mut courier = Courier::new(config());
    let mut delivered = Vec::new();
    let mut waited = 0;
    for round in 0..300 {
        let now = i64::try_from(round).unwrap() * 100;
        courier.push(item(round * 2, &["hot"]));
        if round >= 20 {
            courier.push(item(round * 2 + 1, &[&format!("p{round}")]));
        }
        for flight in courier.poll(at(now)) {
            let (id, items) = batch(&flight);
            let hot = items.iter().any(|item| item.parse::<u64>().unwrap() % 2 == 0);
            courier.answer(id, if hot { broken(500) } else { ok() }, at(now));
        }
        for (seq, fate) in fates(&mut courier) {
            assert_eq!(fate, Fate::Delivered);
            delivered.push(seq);
            waited = waited.max(round - seq / 2);
        }
    }
    assert!(delivered.iter().all(|seq| seq % 2 == 1));
    assert!(delivered.len() >= 275, "others go on: {}", delivered.len());
    assert!(waited <= 50, "the first of them waited for one probe: {waited} tenths of a second");
}

#[test]
fn a_failing_person_delays_nobody_else_and_leaves_the_line_after_a_minute() {
    let mut courier = Courier::new(config());
    let mut delivered = Vec::new();
    let mut postponed = Vec::new();
    let mut now = 0;
    for round in 0..400 {
        if round < 50 {
            courier.push(item(round * 2, &["hot"]));
        }
        courier.push(item(round * 2 + 1, &[&format!("p{round}")]));
        now += 500;
        for flight in courier.poll(at(now)) {
            let (id, items) = batch(&flight);
            let hot = items.iter().any(|item| item.parse::<u64>().unwrap() % 2 == 0);
            courier.answer(id, if hot { broken(500) } else { ok() }, at(now));
        }
        for (seq, fate) in fates(&mut courier) {
            match fate {
                Fate::Delivered => delivered.push(seq),
                Fate::Postponed { due, .. } => {
                    assert!(due > at(now));
                    postponed.push(seq);
                }
                other => panic!("{seq}: {other:?}"),
            }
        }
    }
    assert!(delivered.iter().all(|seq| seq % 2 == 1));
    assert!(delivered.len() >= 395, "others go on: {}", delivered.len());
    assert_eq!(
        postponed,
        (0..50).map(|round| round * 2).collect::<Vec<u64>>(),
        "all of them, in order"
    );
}

#[test]
fn refused_credentials_pause_everything_and_use_up_nothing() {
    let mut courier = Courier::new(config());
    courier.push(item(1, &["a"]));
    let flight = batch(&courier.poll(at(0))[0]).0;
    courier.answer(flight, Answer::Unauthorized { status: 401 }, at(1));
    assert_eq!(courier.standing(at(1)).paused, Some((at(1), 401)));
    assert!(courier.poll(at(1000)).is_empty());

    let Flight::Probe(probe) = courier.poll(at(31_000))[0] else { panic!("a probe is due") };
    courier.answer(probe, Answer::Unauthorized { status: 401 }, at(31_000));
    let day = 48 * 3_600_000;
    let Flight::Probe(probe) = courier.poll(at(day))[0] else { panic!("a probe is due") };
    courier.answer(probe, ok(), at(day));
    let flight = batch(&courier.poll(at(day))[0]).0;
    courier.answer(flight, broken(503), at(day));
    assert!(fates(&mut courier).is_empty(), "two days of pause are not held against it");
}

#[test]
fn an_item_that_is_refused_on_the_way_does_not_stop_everybody_for_ever() {
    let mut courier = Courier::new(config());
    for (seq, key) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        courier.push(item(seq, &[key]));
    }
    let mut delivered = Vec::new();
    let mut now = 0;
    while delivered.len() < 3 && now < 600_000 {
        for flight in courier.poll(at(now)) {
            match flight {
                Flight::Probe(id) => courier.answer(id, ok(), at(now)),
                flight => {
                    let (id, items) = batch(&flight);
                    let refused = Answer::Unauthorized { status: 403 };
                    let poison = items.contains(&"2".into());
                    courier.answer(id, if poison { refused } else { ok() }, at(now));
                }
            }
        }
        delivered.extend(fates(&mut courier));
        now += 1000;
    }
    assert_eq!(delivered.len(), 3, "after {now} ms: {delivered:?}");
    assert_eq!(courier.standing(at(now)).paused, None);
}

#[test]
fn what_cannot_be_delivered_within_its_budget_is_given_up() {
    let mut courier = Courier::new(config());
    courier.push(item(2, &["b"]));
    let flight = batch(&courier.poll(at(0))[0]).0;
    courier.answer(flight, ok(), at(0));
    assert_eq!(fates(&mut courier), [(2, Fate::Delivered)], "others succeed");

    for hours in 1..=25 {
        courier.poll(at(hours * 3_600_000));
    }
    courier.push(Item { first_failed: Some(at(0)), ..item(1, &["a"]) });
    let flight = batch(&courier.poll(at(25 * 3_600_000))[0]).0;
    courier.answer(flight, broken(500), at(25 * 3_600_000));
    assert_eq!(fates(&mut courier), [(1, Fate::Expired)]);
}

#[test]
fn a_clock_that_is_set_uses_up_nobodys_budget() {
    const DAY: i64 = 24 * 3_600_000;
    let mut courier = Courier::new(config());
    courier.push(item(2, &["b"]));
    let mut now = 0_i64;
    // Ahead by days, back, and so on, while one item fails and others succeed.
    courier.push(item(1, &["a"]));
    let mut tries = 0;
    for step in [0, 2 * DAY, 4 * DAY, 3 * DAY, 0, 8 * DAY] {
        for _ in 0..20 {
            now += 500;
            courier.push(item(1000 + now.unsigned_abs(), &["c"]));
            for flight in courier.poll(at(step + now)) {
                let (id, items) = batch(&flight);
                let fails = items.contains(&"1".to_owned());
                tries += u32::from(fails);
                courier.answer(id, if fails { broken(500) } else { ok() }, at(step + now));
            }
            let ends = fates(&mut courier);
            assert!(ends.iter().all(|(_, fate)| *fate != Fate::Expired), "{ends:?}");
            if ends.iter().any(|(seq, _)| *seq == 1) {
                // Out of line, it comes back later.
                courier.push(Item {
                    first_failed: Some(at(step + now)),
                    tries: 1,
                    ..item(1, &["a"])
                });
            }
        }
    }
    assert!(tries > 6, "{tries}");
}

#[test]
fn a_barrier_travels_alone_and_holds_the_line_until_it_is_durable() {
    let mut courier = Courier::new(config());
    courier.push(item(1, &["a"]));
    courier.push(Item { barrier: true, ..item(2, &["a"]) });
    courier.push(item(3, &["a"]));
    courier.push(item(4, &["b"]));
    let flight = batch(&courier.poll(at(0))[0]);
    assert_eq!(flight.1, ["1", "4"]);
    courier.answer(flight.0, ok(), at(1));
    let flight = batch(&courier.poll(at(1))[0]);
    assert_eq!(flight.1, ["2"]);
    courier.answer(flight.0, ok(), at(2));
    assert_eq!(fates(&mut courier).last(), Some(&(2, Fate::DeliveredBarrier)));
    assert!(courier.poll(at(2)).is_empty());
    courier.made_durable(id(2));
    assert_eq!(batch(&courier.poll(at(2))[0]).1, ["3"]);
}

#[test]
fn a_verdict_that_ran_out_is_asked_again_even_if_the_item_may_have_arrived() {
    let mut courier = Courier::new(config());
    courier.push(Item { valid_until: Some(at(100)), ..item(1, &["a"]) });
    courier.push(Item { valid_until: Some(at(100)), ..item(2, &["b"]) });
    let flight = batch(&courier.poll(at(0))[0]);
    assert_eq!(flight.1, ["1", "2"]);
    courier.answer(flight.0, Answer::Unauthorized { status: 403 }, at(1));
    let Flight::Probe(probe) = courier.poll(at(40_000))[0] else { panic!("a probe is due") };
    courier.answer(probe, ok(), at(40_000));
    assert!(courier.poll(at(40_000)).is_empty());
    assert_eq!(fates(&mut courier), [(1, Fate::Stale), (2, Fate::Stale)]);
    courier.push(item(4, &["a"]));
    assert!(courier.poll(at(40_000)).is_empty(), "it keeps its place until there is an answer");
    courier.withdraw(Traffic::Live, Seq(1), |_| true);
    courier.step_back(id(2), at(40_000));
    let flight = batch(&courier.poll(at(40_000))[0]);
    assert_eq!(flight.1, ["4"]);
    courier.answer(flight.0, ok(), at(40_000));
    assert!(matches!(fates(&mut courier)[..], [(2, Fate::Postponed { .. }), (4, _)]));

    courier.push(Item { valid_until: Some(at(50_000)), ..item(3, &["a"]) });
    let flight = batch(&courier.poll(at(41_000))[0]).0;
    courier.answer(flight, broken(500), at(60_000));
    assert!(courier.poll(at(70_000)).is_empty());
    assert_eq!(
        fates(&mut courier),
        [(3, Fate::Stale)],
        "its id tells if it arrived; it may be late"
    );
}

#[test]
fn a_backfill_leaves_a_slot_to_live_traffic() {
    let mut courier = Courier::new(CourierConfig {
        concurrency: 2,
        room: Room { items: 1, bytes: 1000 },
        ..config()
    });
    for seq in 1..=5 {
        courier.push(Item {
            id: ItemId { traffic: Traffic::Backfill, ..id(seq) },
            ..item(seq, &[&seq.to_string()])
        });
    }
    assert_eq!(courier.poll(at(0)).len(), 1);
    courier.push(item(6, &["live"]));
    assert_eq!(batch(&courier.poll(at(0))[0]).1, ["6"]);
}

#[test]
fn live_goes_first_and_never_in_one_request_with_a_backfill() {
    let mut courier = Courier::new(CourierConfig { concurrency: 1, ..config() });
    let old = ItemId { traffic: Traffic::Backfill, ..id(1) };
    courier.push(Item { id: old, ..item(1, &["a"]) });
    courier.push(item(2, &["b"]));
    let flight = batch(&courier.poll(at(0))[0]);
    assert_eq!(flight.1, ["2"]);
    courier.answer(flight.0, ok(), at(0));
    assert_eq!(batch(&courier.poll(at(0))[0]).1, ["1"]);
}

#[test]
fn retry_after_holds_everything() {
    let mut courier = Courier::new(config());
    courier.push(item(1, &["a"]));
    let flight = batch(&courier.poll(at(0))[0]).0;
    let busy = Answer::TryAgain {
        status: Some(429),
        retry_after: Some(Duration::from_secs(7)),
        unknown_fate: false,
    };
    courier.answer(flight, busy, at(0));
    courier.push(item(2, &["b"]));
    assert!(courier.poll(at(6_999)).is_empty());
    assert_eq!(courier.next_due(at(6_999)), Some(at(7_000)));
    assert_eq!(batch(&courier.poll(at(7_000))[0]).1, ["1", "2"]);
}

#[test]
fn a_probe_that_is_told_to_wait_closes_the_breaker() {
    let mut courier = Courier::new(config());
    courier.push(item(1, &["a"]));
    let mut now = 0;
    while !courier.standing(at(now)).breaker_open {
        for flight in courier.poll(at(now)) {
            courier.answer(batch(&flight).0, broken(503), at(now));
        }
        now += 1000;
    }
    now += 60_000;
    let probe = batch(&courier.poll(at(now))[0]).0;
    let busy = Answer::TryAgain { status: Some(429), retry_after: None, unknown_fate: false };
    courier.answer(probe, busy, at(now));
    assert!(!courier.standing(at(now)).breaker_open);
    assert_eq!(courier.poll(at(now + 2000)).len(), 1);
}

#[test]
fn a_batch_waits_for_company_and_no_longer() {
    let mut courier = Courier::new(CourierConfig { linger: Duration::from_millis(25), ..config() });
    courier.push(item(1, &["a"]));
    assert!(courier.poll(at(0)).is_empty());
    assert_eq!(courier.next_due(at(0)), Some(at(25)));
    courier.push(item(2, &["b"]));
    assert_eq!(batch(&courier.poll(at(25))[0]).1, ["1", "2"]);
}

/// What a scripted Customer.io answers to a request.
#[derive(Clone, Debug)]
enum Script {
    Fine,
    Broken,
    Busy,
    Malformed,
    RejectFirst,
}

fn script() -> impl Strategy<Value = Script> {
    prop_oneof![
        6 => Just(Script::Fine),
        2 => Just(Script::Broken),
        1 => Just(Script::Busy),
        1 => Just(Script::Malformed),
        1 => Just(Script::RejectFirst),
    ]
}

proptest! {
    /// Whatever Customer.io answers: every item ends once, and nobody's items are taken out of order.
    #[test]
    fn every_item_ends_once_and_each_person_in_order(
        people in prop::collection::vec((0_u8..6, 0_u8..6), 1..120),
        answers in prop::collection::vec(script(), 1..200),
    ) {
        let mut courier = Courier::new(config());
        for (seq, (one, other)) in people.iter().enumerate() {
            let keys: Vec<String> = [one, other].iter().map(|key| key.to_string()).collect();
            let keys: Vec<&str> = match one == other {
                true => vec![&keys[0]],
                false => keys.iter().map(String::as_str).collect(),
            };
            courier.push(item(seq as u64, &keys));
        }
        let mut answers = answers.into_iter().chain(std::iter::repeat(Script::Fine));
        let mut ended = Vec::new();
        let mut now = at(0);
        while ended.len() < people.len() {
            let flights = courier.poll(now);
            if flights.is_empty() {
                now = courier.next_due(now).expect("something must happen").max(now);
            }
            for flight in flights {
                let (id, items) = batch(&flight);
                let answer = match answers.next().unwrap_or(Script::Fine) {
                    Script::Fine => ok(),
                    Script::Broken => broken(500),
                    Script::Busy => Answer::TryAgain { status: Some(429), retry_after: None, unknown_fate: false },
                    Script::Malformed => Answer::Refused { status: 400, message: String::new() },
                    Script::RejectFirst => Answer::Accepted { rejected: vec![ItemError {
                        index: items.len() - 1, reason: String::new(), field: String::new(), message: String::new() }] },
                };
                courier.answer(id, answer, now);
            }
            ended.extend(fates(&mut courier).into_iter().map(|(seq, _)| seq));
        }
        for person in 0_u8..6 {
            let of_person: Vec<u64> = ended.iter().copied().filter(|seq| {
                let (one, other) = people[*seq as usize];
                one == person || other == person
            }).collect();
            prop_assert!(of_person.is_sorted(), "{person}: {of_person:?}");
        }
        let mut all = ended.clone();
        all.sort_unstable();
        all.dedup();
        prop_assert_eq!(all.len(), people.len());
    }
}

#[test]
fn a_clock_that_is_set_back_stops_nothing() {
    const HOUR: i64 = 3_600_000;
    let lingering =
        || Courier::new(CourierConfig { linger: Duration::from_millis(20), ..config() });
    let mut courier = lingering();
    courier.push(item(1, &["a"]));
    assert!(courier.poll(at(HOUR)).is_empty(), "it waits for company");
    courier.poll(at(0));
    assert_eq!(courier.poll(at(20)).len(), 1, "no longer than before");

    let mut courier = lingering();
    courier.push(item(1, &["a"]));
    courier.poll(at(HOUR));
    let flight = batch(&courier.poll(at(HOUR + 20))[0]).0;
    courier.answer(flight, broken(500), at(HOUR + 20));
    courier.poll(at(0));
    assert_eq!(courier.poll(at(20)).len(), 1, "a wait between tries");

    let mut courier = Courier::new(config());
    for seq in 1..=6 {
        courier.push(item(seq, &[&seq.to_string()]));
    }
    for _ in 0..40 {
        for flight in courier.poll(at(HOUR)) {
            courier.answer(batch(&flight).0, broken(500), at(HOUR));
        }
    }
    assert!(courier.standing(at(HOUR)).breaker_open);
    let mut probes = courier.poll(at(0));
    probes.extend(courier.poll(at(1)));
    assert_eq!(probes.len(), 1, "the probe of an open breaker");

    let mut courier = Courier::new(config());
    courier.push(item(1, &["a"]));
    let flight = batch(&courier.poll(at(HOUR))[0]).0;
    courier.answer(flight, Answer::Unauthorized { status: 401 }, at(HOUR));
    assert!(matches!(courier.poll(at(0))[..], [Flight::Probe(_)]), "the probe of a pause");
}

#[test]
fn one_persons_408_delays_nobody_else_and_may_not_come_too_late() {
    let mut courier =
        Courier::new(CourierConfig { room: Room { items: 1, bytes: 1000 }, ..config() });
    courier.push(Item { valid_until: Some(at(5)), ..item(1, &["a"]) });
    courier.push(item(2, &["b"]));
    let flights = courier.poll(at(0));
    courier.answer(batch(&flights[1]).0, ok(), at(1));
    courier.answer(batch(&flights[0]).0, broken(408), at(1));
    courier.push(item(3, &["c"]));
    let again: Vec<_> = courier.poll(at(1)).iter().map(|flight| batch(flight).1).collect();
    assert_eq!(again, [["3"]], "nobody else waits");
    assert!(courier.poll(at(2000)).is_empty());
    let fates = fates(&mut courier);
    assert!(fates.contains(&(1, Fate::Stale)), "the guard is asked again: {fates:?}");
}

#[test]
fn a_probe_that_waits_for_others_to_come_back_is_not_due() {
    let mut courier =
        Courier::new(CourierConfig { room: Room { items: 1, bytes: 1000 }, ..config() });
    for seq in 1..=12 {
        courier.push(item(seq, &[&seq.to_string()]));
    }
    let mut flights = courier.poll(at(0));
    let hanging = flights.pop();
    while !courier.standing(at(0)).breaker_open {
        for flight in std::mem::take(&mut flights) {
            courier.answer(batch(&flight).0, broken(500), at(0));
        }
        flights = courier.poll(at(0));
    }
    for flight in flights {
        courier.answer(batch(&flight).0, broken(500), at(0));
    }
    assert!(hanging.is_some());
    let late = at(60_000);
    assert!(courier.poll(late).is_empty());
    assert!(courier.next_due(late).is_none_or(|due| due > late));
}

fn of_backfill(seq: u64, keys: &[&str]) -> Item {
    let mut item = item(seq, keys);
    item.id.traffic = Traffic::Backfill;
    item
}

#[test]
fn a_live_event_takes_those_of_a_backfill_with_it_that_it_waits_for() {
    #[rustfmt::skip]
    let table = [
        ("of its person",        vec![(9, "u")],                       vec!["9", "10"]),
        ("through another key",  vec![(7, "a"), (8, "a u"), (9, "x")], vec!["7", "8", "10"]),
        ("nobody's",             vec![(9, "x")],                       vec!["10"]),
    ];
    for (what, earlier, expected) in table {
        let mut courier = Courier::new(config());
        for seq in 1..=6 {
            courier.push(of_backfill(seq, &[&format!("other {seq}")]));
        }
        for (seq, keys) in earlier {
            let keys: Vec<&str> = keys.split(' ').collect();
            courier.push(of_backfill(seq, &keys));
        }
        courier.push(item(10, &["u"]));
        let flights = courier.poll(at(0));
        assert_eq!(batch(&flights[0]).1, expected, "{what}");
    }
}

#[test]
fn who_joins_a_backfills_queue_later_lifts_only_what_is_ahead() {
    let mut courier = Courier::new(CourierConfig { concurrency: 1, ..config() });
    courier.push(of_backfill(1, &["u"]));
    courier.push(item(2, &["u"]));
    courier.push(of_backfill(3, &["u"]));
    courier.push(of_backfill(4, &["v"]));
    let (flight, sent) = batch(&courier.poll(at(0))[0]);
    assert_eq!(sent, ["1", "2"]);
    courier.push(item(5, &["u"]));
    courier.answer(flight, ok(), at(1));
    assert_eq!(batch(&courier.poll(at(1))[0]).1, ["3", "5"], "the other one's can wait");
}

#[test]
fn thousands_of_events_behind_one_are_found_in_one_go() {
    let mut queues = Queues::default();
    let count = 40_000;
    for seq in 0..count {
        queues.push(item(seq, &["u", "a"]));
    }
    queues.push(item(count, &["v"]));
    let behind = queues.behind(id(1));
    assert_eq!(behind.len() as u64, count - 1);
    assert!(!behind.contains(&id(0)) && !behind.contains(&id(count)));
}

fn identify(seq: u64, person: &str, plan: &str) -> Item {
    let body = format!(
        r#"{{"type":"person","action":"identify","identifiers":{{"id":"{person}"}},"timestamp":7,"attributes":{{"plan":"{plan}","seq{seq}":true}}}}"#
    );
    Item { payload: Encoded::Item(body.into()), ..item(seq, &[person]) }
}

#[test]
fn consecutive_identifies_of_a_person_travel_as_one() {
    let mut courier =
        Courier::new(CourierConfig { room: Room { items: 9, bytes: 100_000 }, ..config() });
    courier.push(identify(1, "u", "free"));
    courier.push(identify(2, "v", "free"));
    courier.push(identify(3, "u", "paid"));
    courier.push(item(4, &["u"]));
    courier.push(identify(5, "u", "gone"));
    let (flight, sent) = batch(&courier.poll(at(0))[0]);
    assert_eq!(sent.len(), 4, "{sent:?}");
    assert!(sent[0].contains(r#""plan":"paid","seq1":true,"seq3":true"#), "{}", sent[0]);
    assert!(sent[1].contains(r#""id":"v""#), "{}", sent[1]);
    assert_eq!(sent[2], "4");
    assert!(!sent[3].contains("seq3"), "an event is between them: {}", sent[3]);
    courier.answer(flight, ok(), at(1));
    assert_eq!(fates(&mut courier).len(), 5);
}

#[test]
fn identifies_that_were_refused_as_one_are_judged_one_by_one() {
    let mut courier =
        Courier::new(CourierConfig { room: Room { items: 9, bytes: 100_000 }, ..config() });
    courier.push(identify(1, "u", "free"));
    courier.push(identify(2, "u", "paid"));
    courier.push(identify(3, "v", "free"));
    let (flight, sent) = batch(&courier.poll(at(0))[0]);
    assert_eq!(sent.len(), 2);
    let rejected = |index| {
        let (reason, field, message) = ("invalid".into(), "attributes".into(), "no".into());
        Answer::Accepted { rejected: vec![ItemError { index, reason, field, message }] }
    };
    courier.answer(flight, rejected(0), at(1));
    assert_eq!(fates(&mut courier), [(3, Fate::Delivered)]);
    let mut now = 2;
    let mut ends = Vec::new();
    while courier.standing(at(now)).items > 0 {
        for flight in courier.poll(at(now)) {
            let (flight, sent) = batch(&flight);
            assert_eq!(sent.len(), 1);
            let is_first = sent[0].contains("free");
            courier.answer(flight, if is_first { rejected(0) } else { ok() }, at(now + 1));
            ends.extend(fates(&mut courier));
        }
        now += 10;
    }
    assert!(matches!(ends[..], [(1, Fate::Rejected(..)), (2, Fate::Delivered)]), "{ends:?}");
}

/// Lets a courier send until nothing is left to send at `now`; answers the requests.
fn drive(
    courier: &mut Courier,
    now: Time,
    answer: impl Fn(&[String]) -> Answer,
) -> Vec<Vec<String>> {
    let mut requests = Vec::new();
    loop {
        let flights = courier.poll(now);
        if flights.is_empty() {
            return requests;
        }
        for flight in flights {
            let (id, items) = batch(&flight);
            courier.answer(id, answer(&items), now);
            requests.push(items);
        }
    }
}

#[test]
fn a_failed_batch_is_halved_by_people_and_who_failed_travels_alone_from_then_on() {
    let room = Room { items: 64, bytes: 100_000 };
    let mut courier = Courier::new(CourierConfig { room, ..config() });
    // Odd ones are of one person, all others of somebody each.
    let person = |seq: u64| if seq % 2 == 1 { "hot".into() } else { seq.to_string() };
    (0..32).for_each(|seq| courier.push(item(seq, &[&person(seq)])));
    let fails = |items: &[String]| {
        let hot = items.iter().any(|item| item.parse::<u64>().unwrap() % 2 == 1);
        if hot { broken(500) } else { ok() }
    };
    let requests = drive(&mut courier, at(0), fails);
    let with_innocents = requests.iter().filter(|items| {
        let hot = items.iter().filter(|item| item.parse::<u64>().unwrap() % 2 == 1).count();
        hot > 0 && hot < items.len()
    });
    assert!(with_innocents.count() <= 5, "17 people are 5 halvings: {requests:?}");
    assert_eq!(fates(&mut courier).len(), 16, "everybody else's are delivered");

    // Its first one arrives; the second is refused for good. The next ones come with others.
    let due = courier.next_due(at(0)).unwrap();
    let refused = Answer::Refused { status: 400, message: String::new() };
    drive(&mut courier, due, |items| match items.contains(&"3".into()) {
        true => refused.clone(),
        false => ok(),
    });
    assert_eq!(courier.standing(due).items, 0);
    for (seq, key) in [(40, "a"), (41, "hot"), (42, "b"), (43, "hot")] {
        courier.push(item(seq, &[key]));
    }
    let requests = drive(&mut courier, due, |_| ok());
    assert_eq!(requests.len(), 1, "they were delivered since: {requests:?}");

    courier.push(Item { tries: 1, ..item(50, &["hot"]) });
    for (seq, key) in [(51, "a"), (52, "hot"), (53, "b")] {
        courier.push(item(seq, &[key]));
    }
    assert_eq!(drive(&mut courier, due, |_| ok()), [["50", "52"], ["51", "53"]]);
}

#[test]
fn with_a_crowd_behind_it_a_failing_item_goes_out_of_line_at_once() {
    for (behind, is_postponed) in [(10, false), (1000, true)] {
        let mut courier = Courier::new(config());
        courier.push(item(5000, &["other"]));
        drive(&mut courier, at(0), |_| ok());
        (1..=behind).for_each(|seq| courier.push(item(seq, &["hot"])));
        drive(&mut courier, at(1), |_| broken(500));
        let postponed = fates(&mut courier)
            .iter()
            .filter(|(_, fate)| matches!(fate, Fate::Postponed { .. }))
            .count() as u64;
        assert_eq!(postponed, if is_postponed { behind } else { 0 }, "{behind}");
    }
}

#[test]
fn live_traffic_waits_for_company_beside_a_full_backfill_and_leaves_it_a_quarter() {
    let config = CourierConfig {
        concurrency: 8,
        linger: Duration::from_millis(25),
        room: Room { items: 1, bytes: 1000 },
        ..config()
    };
    let mut courier = Courier::new(config);
    courier.push(item(100, &["live"]));
    assert_eq!(courier.poll(at(0)).len(), 1, "it is full by itself");
    for seq in 1..=20 {
        courier.push(of_backfill(seq, &[&seq.to_string()]));
    }
    assert_eq!(courier.poll(at(1)).len(), 2, "live traffic is there");
    assert_eq!(courier.next_due(at(1)), Some(at(1000)));
    assert_eq!(courier.poll(at(1000)).len(), 4, "it was not for a second: all but one slot");
    assert_eq!(courier.next_due(at(1000)), None);

    let room = Room { items: 4, bytes: 1000 };
    let mut courier = Courier::new(CourierConfig { room, ..config });
    for seq in 1..=4 {
        courier.push(of_backfill(seq, &[&seq.to_string()]));
    }
    courier.push(item(100, &["live"]));
    assert_eq!(batch(&courier.poll(at(0))[0]).1, ["1", "2", "3", "4"]);
    assert_eq!(courier.next_due(at(0)), Some(at(25)));
    assert_eq!(batch(&courier.poll(at(25))[0]).1, ["100"]);
}

#[test]
fn while_live_traffic_is_there_requests_of_a_backfill_are_short() {
    let room = Room { items: 10, bytes: 1000 };
    let mut courier = Courier::new(CourierConfig { concurrency: 8, room, ..config() });
    courier.push(item(100, &["live"]));
    for seq in 1..=30 {
        courier.push(of_backfill(seq, &[&seq.to_string()]));
    }
    let sizes = |courier: &mut Courier, now| -> Vec<usize> {
        courier.poll(now).iter().map(|flight| batch(flight).1.len()).collect()
    };
    assert_eq!(sizes(&mut courier, at(0)), [1, 2, 2]);
    assert_eq!(sizes(&mut courier, at(2000)), [10, 10, 6]);
}

#[test]
fn what_may_not_travel_with_a_batch_does_not_wait_for_company_again() {
    let mut courier = Courier::new(CourierConfig { linger: Duration::from_millis(25), ..config() });
    courier.push(Item { barrier: true, ..item(1, &["a"]) });
    courier.push(item(2, &["b"]));
    assert_eq!(batch(&courier.poll(at(0))[0]).1, ["1"], "it has nobody to wait for");
    assert!(courier.poll(at(24)).is_empty());
    assert_eq!(batch(&courier.poll(at(25))[0]).1, ["2"], "it has waited since then");
}

#[test]
fn after_a_429_one_request_tries_before_the_others() {
    let room = Room { items: 1, bytes: 1000 };
    let mut courier = Courier::new(CourierConfig { room, ..config() });
    (1..=9).for_each(|seq| courier.push(item(seq, &[&seq.to_string()])));
    let busy = Answer::TryAgain {
        status: Some(429),
        retry_after: Some(Duration::from_secs(5)),
        unknown_fate: false,
    };
    for flight in courier.poll(at(0)) {
        courier.answer(batch(&flight).0, busy.clone(), at(0));
    }
    for window in 1..4 {
        let now = at(window * 5000);
        let flights = courier.poll(now);
        assert_eq!(flights.len(), 1, "one a window");
        courier.answer(batch(&flights[0]).0, busy.clone(), now);
    }
    let flights = courier.poll(at(20_000));
    courier.answer(batch(&flights[0]).0, ok(), at(20_000));
    assert_eq!(courier.poll(at(20_000)).len(), 2, "one more with each answer");
}

/// Runs a courier against a Customer.io that fails whoever is "hot"; answers when others had their first
/// delivery. While as many items are here as `room`, nobody else comes in.
fn shut_out(hot: &[(u64, &str)], room: usize) -> Option<i64> {
    let mut courier = Courier::new(config());
    for (seq, key) in hot {
        courier.push(item(*seq, &[key]));
    }
    let last_hot = hot.len() as u64;
    let mut next = last_hot + 1;
    for now in (0..300_000).step_by(250) {
        let crowded = courier.standing(at(now)).items >= room;
        courier.note_crowded(Traffic::Live, crowded);
        if !crowded {
            courier.push(item(next, &[&format!("other {next}")]));
            next += 1;
        }
        for flight in courier.poll(at(now)) {
            let (id, items) = batch(&flight);
            let fails = items.iter().any(|item| item.parse::<u64>().unwrap() <= last_hot);
            courier.answer(id, if fails { broken(500) } else { ok() }, at(now));
        }
        for (seq, fate) in fates(&mut courier) {
            match fate {
                Fate::Delivered => return Some(now),
                Fate::Postponed { tries, first_failed, .. } => {
                    assert!(seq <= last_hot, "only who fails goes");
                    assert_eq!((tries, first_failed), (0, None), "it may be an outage");
                }
                other => panic!("{seq}: {other:?}"),
            }
        }
    }
    None
}

#[test]
fn who_fails_and_fills_the_memory_makes_room_for_others() {
    let one: Vec<(u64, &str)> = (1..=2000).map(|seq| (seq, "hot")).collect();
    let three: Vec<(u64, &str)> = (1..=90)
        .map(|seq| (seq, ["hot", "warm", "red"][usize::try_from(seq % 3).unwrap()]))
        .collect();
    for (what, hot, room) in [("one", one, 2000), ("three", three, 90)] {
        let first = shut_out(&hot, room);
        assert!(first.is_some_and(|at| at < 40_000), "{what}: others come in at {first:?}");
    }
}

/// What an outage puts out of line for want of room is nothing that is forgotten: a test bench that
/// never filled the memory let this pass.
#[test]
fn after_an_outage_that_filled_the_memory_everything_is_delivered() {
    let mut courier = Courier::new(config());
    let mut waiting: BTreeMap<u64, Time> = (1..=100).map(|seq| (seq, at(0))).collect();
    let mut delivered = 0;
    for now in (0..600_000).step_by(250) {
        let is_down = now < 180_000;
        let due = |(seq, due): (&u64, &Time)| (*due <= at(now)).then_some(*seq);
        for seq in waiting.iter().filter_map(due).collect::<Vec<_>>() {
            waiting.remove(&seq);
            courier.push(item(seq, &[&format!("u{}", seq % 20)]));
        }
        courier.note_crowded(Traffic::Live, is_down);
        for flight in courier.poll(at(now)) {
            courier.answer(batch(&flight).0, if is_down { broken(503) } else { ok() }, at(now));
        }
        for (seq, fate) in fates(&mut courier) {
            match fate {
                Fate::Delivered => delivered += 1,
                Fate::Postponed { due, .. } => {
                    assert!(is_down, "{seq} is put off at {now}");
                    waiting.insert(seq, due);
                }
                other => panic!("{seq}: {other:?}"),
            }
        }
    }
    assert_eq!((delivered, courier.standing(at(600_000)).items), (100, 0));
}

#[test]
fn an_outage_puts_nobody_out_of_line_while_there_is_room() {
    let mut courier = Courier::new(config());
    (1..=2000).for_each(|seq| courier.push(item(seq, &["u"])));
    for now in (0..3_600_000).step_by(1000) {
        for flight in courier.poll(at(now)) {
            courier.answer(batch(&flight).0, broken(503), at(now));
        }
        assert!(fates(&mut courier).is_empty());
    }
}

/// Lets Customer.io refuse what `refuses` says, for so long; its region is always told. Answers what was
/// delivered, and for how long it was paused.
fn run_refusing(
    courier: &mut Courier,
    millis: std::ops::Range<i64>,
    refuses: impl Fn(&[String]) -> bool,
) -> (Vec<u64>, i64) {
    let (mut delivered, mut paused) = (Vec::new(), 0);
    for now in millis.step_by(250) {
        for flight in courier.poll(at(now)) {
            match flight {
                Flight::Probe(id) => courier.answer(id, ok(), at(now)),
                flight => {
                    let (id, items) = batch(&flight);
                    let refused = Answer::Unauthorized { status: 403 };
                    courier.answer(id, if refuses(&items) { refused } else { ok() }, at(now));
                }
            }
        }
        paused += i64::from(courier.standing(at(now)).paused.is_some()) * 250;
        for (seq, fate) in fates(courier) {
            match fate {
                Fate::Delivered => delivered.push(seq),
                Fate::Postponed { .. } => {}
                other => panic!("{seq}: {other:?}"),
            }
        }
    }
    (delivered, paused)
}

#[test]
fn credentials_that_are_refused_for_events_alone_pause_everything_and_use_up_nothing() {
    let day = 24 * 3_600_000;
    let mut courier =
        Courier::new(CourierConfig { age_budget: Duration::from_secs(20), ..config() });
    (1..=20).for_each(|seq| courier.push(item(seq, &[&seq.to_string()])));
    let (delivered, paused) = run_refusing(&mut courier, 0..day, |_| true);
    assert!(delivered.is_empty());
    assert_eq!(paused, day, "and says so all the time");
    assert_eq!(courier.standing(at(day)).paused, Some((at(0), 403)));

    let (delivered, _) = run_refusing(&mut courier, day..day + 60_000, |_| false);
    assert_eq!(delivered.len(), 20, "nothing was lost: {delivered:?}");
    assert_eq!(courier.standing(at(day + 60_000)).paused, None);

    (21..=40).for_each(|seq| courier.push(item(seq, &[&seq.to_string()])));
    let again = day + 60_000..day + 120_000;
    run_refusing(&mut courier, again, |_| true);
    assert!(courier.standing(at(day + 120_000)).paused.is_some(), "they were right a minute ago");
}

#[test]
fn who_is_refused_on_the_way_is_found_though_it_is_the_first() {
    let mut courier =
        Courier::new(CourierConfig { room: Room { items: 500, bytes: 100_000 }, ..config() });
    (1..=500).for_each(|seq| courier.push(item(seq, &[&seq.to_string()])));
    let poison = |items: &[String]| items.contains(&"1".into());
    let (delivered, paused) = run_refusing(&mut courier, 0..120_000, poison);
    assert_eq!(delivered.len(), 499);
    assert!(paused <= 61_000, "one more pause, as it is tried first: {paused} ms");
}

#[test]
fn what_has_a_request_of_its_own_waits_for_no_company() {
    let linger = Duration::from_millis(25);
    let barrier = Item { barrier: true, ..item(1, &["u"]) };
    let call =
        Encoded::Call { method: Method::Put, path: "/api/v1/customers/u".into(), body: None };
    let call = Item { payload: call, ..item(1, &["u"]) };
    for (what, item) in [("a call", call), ("a barrier", barrier)] {
        let mut courier = Courier::new(CourierConfig { linger, ..config() });
        courier.push(item);
        assert_eq!(courier.poll(at(0)).len(), 1, "{what}");
    }
}

#[test]
fn a_live_event_behind_many_deletions_of_others_waits_only_for_the_rate() {
    let mut courier = Courier::new(CourierConfig {
        rate: 300,
        linger: Duration::from_millis(25),
        concurrency: 8,
        ..config()
    });
    (1..=1000)
        .for_each(|seq| courier.push(Item { barrier: true, ..item(seq, &[&seq.to_string()]) }));
    courier.push(item(1001, &["live"]));
    let mut arrived = None;
    for now in 0..20_000 {
        for flight in courier.poll(at(now)) {
            courier.answer(batch(&flight).0, ok(), at(now));
        }
        let ended = fates(&mut courier);
        arrived = arrived.or_else(|| ended.iter().any(|(seq, _)| *seq == 1001).then_some(now));
    }
    assert!(arrived.is_some_and(|at| at < 4000), "{arrived:?} ms for 1,000 requests at 300/s");
}

#[test]
fn an_error_of_an_item_that_was_not_sent_delivers_nothing() {
    let error = |index| {
        let (reason, field, message) = ("invalid".into(), String::new(), String::new());
        ItemError { index, reason, field, message }
    };
    let mut courier = Courier::new(config());
    courier.push(item(1, &["a"]));
    let flight = batch(&courier.poll(at(0))[0]).0;
    courier.answer(flight, Answer::Accepted { rejected: vec![error(1)] }, at(0));
    assert_eq!(fates(&mut courier), [(1, Fate::Rejected(error(1), 207))]);

    (2..=5).for_each(|seq| courier.push(item(seq, &[&seq.to_string()])));
    let flight = batch(&courier.poll(at(0))[0]).0;
    courier.answer(flight, Answer::Accepted { rejected: vec![error(4)] }, at(0));
    assert!(fates(&mut courier).is_empty(), "nobody knows whose it is: they are sent in halves");
    let halves: Vec<_> = courier.poll(at(0)).iter().map(|flight| batch(flight).1).collect();
    assert_eq!(halves, [["2", "3"], ["4", "5"]]);
}

#[test]
fn pauses_do_not_count_for_what_was_out_of_line_nor_does_its_backoff_begin_again() {
    let mut courier = Courier::new(config());
    courier.push(item(1, &["other"]));
    let flight = batch(&courier.poll(at(0))[0]).0;
    courier.answer(flight, Answer::Unauthorized { status: 401 }, at(0));
    run_refusing(&mut courier, 30_000..180_000, |_| true);
    run_refusing(&mut courier, 180_000..240_000, |_| false);

    let back = Item { first_failed: Some(at(100_000)), tries: 9, ..item(2, &["hot"]) };
    courier.push(back);
    let flight = batch(&courier.poll(at(240_000))[0]).0;
    courier.answer(flight, broken(500), at(240_000));
    match &fates(&mut courier)[..] {
        [(2, Fate::Postponed { due, first_failed, tries, .. })] => {
            assert_eq!((*first_failed, *tries), (Some(at(100_000)), 10));
            assert!(*due > at(240_000));
        }
        other => panic!("it failed for minutes already: {other:?}"),
    }
}

#[test]
fn a_429_without_end_is_said_and_never_retried_at_once() {
    let mut courier = Courier::new(config());
    courier.push(item(1, &["a"]));
    let mut requests = 0;
    for now in 0..180_000 {
        for flight in courier.poll(at(now)) {
            requests += 1;
            let retry_after = Some(Duration::ZERO);
            let busy = Answer::TryAgain { status: Some(429), retry_after, unknown_fate: false };
            courier.answer(batch(&flight).0, busy, at(now));
        }
        let expected = (now >= 120_000).then_some((at(0), Some(429)));
        assert_eq!(courier.standing(at(now)).stalled, expected, "after {now} ms");
    }
    assert!(requests <= 181, "{requests} requests in 180 s");
    let flight = batch(&courier.poll(at(200_000))[0]).0;
    courier.answer(flight, ok(), at(200_000));
    assert_eq!(courier.standing(at(200_000)).stalled, None);
}
