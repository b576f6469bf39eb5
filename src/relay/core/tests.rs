//! The core over a journal in memory, with time moved by hand.

mod learning;

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::config;
use crate::delivery::batch::Room;
use crate::destination::customerio::response::ItemError;
use crate::journal::sqlite::{SqliteJournal, SqliteOptions};
use crate::journal::{Accepted, DeadFilter, Receipt, RecordedFilter, RecordedRow};
use crate::relay::Purge;
use crate::spec::{Arrival, Ingress, RawCall, Replay};
use crate::transform::{Bundle, Runner};

const START: &str = "2026-03-14T12:00:00Z";

/// A core over a journal in memory; Customer.io is a closure, time is moved by hand.
struct World {
    core: Core,
    journal: Arc<dyn Journal>,
    clock: ManualClock,
    runner: Runner,
    config: Arc<Config>,
    after: Option<Seq>,
    sent: Vec<Value>,
}

impl World {
    fn new(script: &str) -> Self {
        let clock = ManualClock::at(Time::parse(START).unwrap());
        let text = "destination = \"emulator\"\n[[source]]\nname = \"web\"\n";
        let config = Arc::new(config::parse(text, "test", &|_| None).unwrap());
        let files = [
            ("transforms.toml", "[[stage]]\nfile = \"mine\"\n".to_owned()),
            ("mine.rhai", script.to_owned()),
        ];
        let files =
            files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
        let bundle = Bundle::from_files(files).unwrap();
        let options =
            SqliteOptions { record_keep: Duration::from_secs(3600), ..SqliteOptions::default() };
        let journal: Arc<dyn Journal> =
            Arc::new(SqliteJournal::in_memory(options, Arc::new(clock.clone())).unwrap());
        let core =
            Core::new(Arc::clone(&config), Arc::clone(&journal), courier(), clock.now()).unwrap();
        Self {
            core,
            journal,
            clock,
            runner: Runner::new(Arc::new(bundle)),
            config,
            after: None,
            sent: Vec::new(),
        }
    }

    fn plain() -> Self {
        Self::new("fn transform(event, ctx) { event }")
    }

    /// Accepts an event that a secret vouches for.
    fn accept(&mut self, body: Value) {
        self.accept_as(body, None);
    }

    /// Accepts an event of a replay.
    fn accept_backfill(&mut self, body: Value) {
        self.accept_as(body, Some(Replay::Flagged { label: None }));
    }

    fn accept_as(&mut self, body: Value, replay: Option<Replay>) {
        let arrival = Arrival {
            replay,
            source: "web".into(),
            ingress: Ingress::Webhook,
            accepted_at: self.clock.now(),
            trusted: true,
            ..Arrival::default()
        };
        let mut call = RawCall::new(arrival, Bytes::from(body.to_string()));
        let key = call.fingerprint().dedupe_key("web");
        let receipts =
            self.journal.accept(vec![Accepted { key, call }]).blocking_recv().unwrap().unwrap();
        assert!(matches!(receipts[..], [Receipt::First(_)]), "{body}");
    }

    fn track(&mut self, user: &str, name: &str) {
        let at = self.clock.now().to_string();
        let id = self.journal.pending().total()
            + self.sent.len() as u64
            + 1000 * self.clock.now().millis().unsigned_abs();
        self.accept(json!({"type": "track", "event": name, "userId": user, "messageId": id, "timestamp": at}));
    }

    fn advance(&mut self, by: Duration) {
        self.clock.set(self.clock.now().plus(by));
    }

    /// Processes what there is until nothing more happens at this moment; `answer` is Customer.io and
    /// gets the items of each request.
    fn run(&mut self, mut answer: impl FnMut(&[Value]) -> Answer) {
        loop {
            let now = self.clock.now();
            let mut events = self.journal.read(Traffic::Live, self.after, 100).unwrap();
            self.after = events.last().map(|event| event.seq).or(self.after);
            events.extend(self.journal.take_due(now, 100).unwrap());
            let idle = events.is_empty();
            self.admit(events);
            let flights = self.core.poll(now);
            let quiet = idle && flights.is_empty();
            for flight in flights {
                self.fly(flight, &mut answer);
            }
            let mut wrote = false;
            while let Some(commit) = self.core.take_commit() {
                self.journal.commit(commit.changes).blocking_recv().unwrap().unwrap();
                self.core.committed(commit.id);
                wrote = true;
            }
            if quiet && !wrote {
                return;
            }
        }
    }

    /// Admits what is new in the queue.
    fn admit_next(&mut self) {
        let events = self.journal.read(Traffic::Live, self.after, 100).unwrap();
        self.after = events.last().map(|event| event.seq).or(self.after);
        self.admit(events);
    }

    /// Prepares events and hands them to the core.
    fn admit(&mut self, events: Vec<Stored>) {
        let now = self.clock.now();
        for mut stored in events {
            let call = std::mem::replace(&mut stored.call, Err("taken".into())).unwrap();
            let tries = stored.attempts.tries;
            let prepared = pipeline::prepare(&self.config, &mut self.runner, call, tries, now);
            self.core.admit(&stored, &prepared, now).unwrap();
        }
    }

    fn fly(&mut self, flight: Flight, answer: &mut impl FnMut(&[Value]) -> Answer) {
        let now = self.clock.now();
        let (id, items) = match flight {
            Flight::Batch(id, items) => {
                let items: Vec<Value> =
                    items.iter().map(|item| serde_json::from_slice(item).unwrap()).collect();
                (id, items)
            }
            Flight::Probe(id) => (id, vec![json!("probe")]),
            Flight::Call(..) => panic!("nothing here needs a request of its own"),
        };
        let answer = answer(&items);
        if matches!(answer, Answer::Accepted { .. }) {
            self.sent.extend(items);
        }
        self.core.answer(id, answer, now);
    }

    /// Puts all dead letters back into their queues.
    fn redrive(&self) {
        self.journal.redrive(&DeadFilter::default(), 100).blocking_recv().unwrap().unwrap();
    }

    /// Forgets what lies here of people who are gone.
    fn purge(&mut self) {
        let mut purge = Purge::new(Arc::clone(&self.journal));
        for _ in 0..6 {
            purge.step(self.clock.now(), |seqs| self.core.forgotten(&seqs)).unwrap();
        }
    }

    /// The core as it is after a restart.
    fn restarted(&self) -> Core {
        let journal = Arc::clone(&self.journal);
        Core::new(Arc::clone(&self.config), journal, courier(), self.clock.now()).unwrap()
    }

    fn names(&self) -> Vec<&str> {
        self.sent
            .iter()
            .filter_map(|item| item["name"].as_str().or(item["action"].as_str()))
            .collect()
    }

    fn total(&self, outcome: &str) -> u64 {
        self.journal
            .totals()
            .iter()
            .filter(|total| total.outcome == outcome)
            .map(|total| total.count)
            .sum()
    }
}

fn courier() -> CourierConfig {
    CourierConfig {
        rate: 100_000,
        concurrency: 4,
        linger: Duration::ZERO,
        room: Room { items: 100, bytes: 100_000 },
        age_budget: Duration::from_secs(24 * 3600),
        seed: 7,
    }
}

fn fine(_: &[Value]) -> Answer {
    Answer::Accepted { rejected: Vec::new() }
}

fn broken_for(user: &'static str) -> impl FnMut(&[Value]) -> Answer {
    move |items| match items.iter().any(|item| item["identifiers"]["id"] == user) {
        true => Answer::TryAgain { status: Some(500), retry_after: None, unknown_fate: true },
        false => fine(items),
    }
}

fn rejecting(name: &'static str) -> impl FnMut(&[Value]) -> Answer {
    move |items| {
        let rejected = (0..)
            .zip(items)
            .filter(|(_, item)| item["name"] == name)
            .map(|(index, _)| ItemError {
                index,
                reason: "invalid".into(),
                field: "attributes".into(),
                message: "no".into(),
            })
            .collect();
        Answer::Accepted { rejected }
    }
}

#[test]
fn a_failing_person_goes_out_of_line_and_comes_back_in_order() {
    let mut world = World::plain();
    world.track("hot", "first");
    world.track("hot", "second");
    fail_for_minutes(&mut world);
    assert_eq!(world.total("delivered"), 300, "everybody else's");
    assert_eq!(world.journal.pending().retry, 2);
    world.sent.clear();

    world.track("hot", "third");
    world.run(broken_for("hot"));
    assert_eq!(world.journal.pending().retry, 3, "it waits behind them");

    world.advance(Duration::from_secs(600));
    world.run(fine);
    assert_eq!(world.names(), ["first", "second", "third"]);
    assert_eq!((world.total("delivered"), world.journal.pending().total()), (303, 0));
}

/// Customer.io fails for one person while another's events go through.
fn fail_for_minutes(world: &mut World) {
    for _ in 0..300 {
        world.track("other", "tick");
        world.run(broken_for("hot"));
        world.advance(Duration::from_secs(1));
    }
}

#[test]
fn what_is_out_of_line_still_holds_the_line_after_a_restart() {
    let mut world = World::plain();
    world.track("hot", "first");
    fail_for_minutes(&mut world);
    assert_eq!(world.journal.pending().retry, 1);
    world.sent.clear();
    world.core = world.restarted();
    world.track("hot", "second");
    world.run(fine);
    assert!(world.names().is_empty(), "it is not `first`'s time yet");
    for _ in 0..2 {
        world.advance(Duration::from_secs(600));
        world.run(fine);
    }
    assert_eq!(world.names(), ["first", "second"]);
}

#[test]
fn one_refused_part_makes_the_event_a_dead_letter_and_the_others_are_delivered() {
    let mut world = World::new(
        r#"fn on_track(event, ctx) {
            let good = event.copy(); good.event = "good";
            let bad = event.copy(); bad.event = "bad";
            [good, bad]
        }"#,
    );
    world.track("u", "both");
    world.run(rejecting("bad"));

    assert_eq!((world.total("dead_lettered"), world.total("delivered")), (1, 0));
    let dead = world.journal.dead(&DeadFilter::default(), None, 10).unwrap();
    let operations = &dead[0].letter.detail.as_ref().unwrap()["operations"];
    assert_eq!(operations[0]["field"], "attributes");
    assert!(world.names().contains(&"good"));
}

#[test]
fn a_copy_of_an_order_is_dropped_unless_its_holder_never_arrived() {
    let script =
        r#"fn on_track(event, ctx) { event.dedupe_by("order", event.properties.order_id); event }"#;
    let order = |source: &str, id: &str| {
        json!({"type": "track", "event": source, "userId": "u", "messageId": id, "timestamp": START,
            "properties": {"order_id": "1"}})
    };
    let mut world = World::new(script);
    world.accept(order("web", "1"));
    world.accept(order("server", "2"));
    world.run(fine);
    assert_eq!(world.names(), ["web"]);
    world.accept(order("late copy", "3"));
    world.run(fine);
    assert_eq!((world.total("delivered"), world.total("dropped")), (1, 2));

    let mut world = World::new(script);
    world.accept(order("web", "1"));
    world.run(rejecting("web"));
    world.accept(order("server", "2"));
    world.run(rejecting("web"));
    assert_eq!(world.names().last(), Some(&"server"), "it takes the key over");
    assert_eq!((world.total("delivered"), world.total("dead_lettered")), (1, 1));
}

#[test]
fn an_event_that_grew_old_while_nothing_could_be_sent_is_parked_instead() {
    let mut world = World::plain();
    world.track("u", "Added to Cart");
    world.track("u", "Order Completed");
    world.run(|_| Answer::Unauthorized { status: 401 });
    world.advance(Duration::from_secs(2 * 3600));
    world.run(fine);
    world.run(fine);
    assert_eq!(
        world.names(),
        ["Order Completed"],
        "the cart of two hours ago would start a reminder"
    );
    assert_eq!(world.journal.pending().parked, 1);

    world.advance(Duration::from_secs(72 * 3600));
    world.run(fine);
    assert_eq!(world.names(), ["Order Completed", "Added to Cart"]);
    assert_eq!(
        world.sent[1]["timestamp"],
        Time::parse(START).unwrap().secs(),
        "with its true time"
    );
}

#[test]
fn what_follows_a_deletion_leaves_after_the_deletion_is_durable() {
    let mut world = World::plain();
    world.track("u", "before");
    world.accept(json!({"type": "delete", "userId": "u", "messageId": "d"}));
    world.track("u", "after");
    let mut requests = Vec::new();
    world.run(|items| {
        requests.push(items.len());
        fine(items)
    });
    assert_eq!(world.names(), ["before", "delete", "after"]);
    assert_eq!(requests, [1, 1, 1], "it travels alone");
}

#[test]
fn what_happened_before_a_deletion_and_comes_after_it_does_not_bring_the_person_back() {
    let mut world = World::plain();
    world.accept(json!({"type": "delete", "userId": "u", "messageId": "d"}));
    world.run(fine);
    world.advance(Duration::from_secs(60));
    let late = |id: &str, user: &str, time: &str| json!({"type": "track", "event": id, "userId": user, "messageId": id, "timestamp": time});
    world.accept(late("old", "u", "2026-03-14T11:59:59Z"));
    world.accept(late("of another", "v", "2026-03-14T11:59:59Z"));
    world.accept(late("new", "u", "2026-03-14T12:00:30Z"));
    world.run(fine);
    assert_eq!(world.names(), ["delete", "of another", "new"]);
    assert_eq!(world.total("dropped"), 1);

    world.core = world.restarted();
    world.accept(late("old too", "u", "2026-03-14T11:59:58Z"));
    world.run(fine);
    assert_eq!(world.total("dropped"), 2, "a restart does not forget who is gone");

    world.advance(Duration::from_secs(30 * 24 * 3600));
    world.accept(late("after a month", "u", "2026-03-14T11:59:57Z"));
    world.run(fine);
    assert_eq!(world.names().last(), Some(&"after a month"));
}

#[test]
fn a_deletion_that_customer_io_refuses_makes_nobody_gone() {
    let mut world = World::plain();
    world.accept(json!({"type": "delete", "userId": "u", "messageId": "d"}));
    world.run(|_| Answer::Refused { status: 400, message: "no".into() });
    world.accept(json!({"type": "track", "event": "old", "userId": "u", "messageId": "o", "timestamp": "2026-03-14T11:59:59Z"}));
    world.run(fine);
    assert_eq!(world.names().last(), Some(&"old"));
    assert!(world.journal.gone().unwrap().is_empty());
}

#[test]
fn a_refused_deletion_does_not_bring_those_back_who_were_deleted_before() {
    let mut world = World::plain();
    world.accept(json!({"type": "delete", "userId": "u", "messageId": "d"}));
    world.run(fine);
    world.advance(Duration::from_secs(60));
    world.accept(json!({"type": "delete", "userId": "u", "messageId": "again"}));
    world.run(|_| Answer::Refused { status: 400, message: "no".into() });
    world.accept(json!({"type": "track", "event": "old", "userId": "u", "messageId": "o", "timestamp": "2026-03-14T11:59:59Z"}));
    world.run(fine);
    assert_eq!(world.total("dropped"), 1);
}

#[test]
fn a_backfill_that_a_deletion_overtakes_does_not_bring_the_person_back() {
    let mut world = World::plain();
    let old = |id: &str, user: &str| json!({"type": "identify", "userId": user, "messageId": id, "timestamp": START});
    world.accept_backfill(old("overtaken", "u"));
    world.accept_backfill(old("of another", "v"));
    world.advance(Duration::from_secs(60));
    // By the clock of its sender it happened earlier than what came before it.
    world.accept(json!({"type": "delete", "userId": "u", "messageId": "d", "timestamp": "2026-03-14T11:59:00Z"}));
    world.run(fine);
    world.advance(Duration::from_secs(60));
    world.accept(old("came back", "u"));
    world.run(fine);
    let stored = world.journal.read(Traffic::Backfill, None, 100).unwrap();
    world.admit(stored);
    world.run(fine);

    assert_eq!(world.names(), ["delete", "identify", "identify"]);
    assert_eq!(world.total("dropped"), 1, "the one that was overtaken");
}

#[test]
fn what_lies_here_of_who_was_deleted_or_suppressed_is_forgotten_and_nothing_of_anybody_else() {
    let leave = [
        json!({"type": "delete", "userId": "u", "messageId": "d"}),
        json!({"type": "track", "event": "User Suppressed", "userId": "u", "messageId": "d"}),
    ];
    for leave in leave {
        let mut world = World::new(
            r#"fn on_track(event, ctx) {
            if event.event == "Dies" { return fail("broken"); }
            event
        }"#,
        );
        let event = |name: &str, who: Value| {
            let mut body = json!({"type": "track", "event": name, "messageId": format!("{name} {who}"), "timestamp": START});
            body.as_object_mut().unwrap().extend(who.as_object().unwrap().clone());
            body
        };
        let cart = |who: Value| {
            let mut body = event("Added to Cart", who);
            body["timestamp"] = json!("2026-03-14T04:00:00Z");
            body
        };
        world.accept(event("Seen", json!({"userId": "u", "anonymousId": "a"})));
        for who in [json!({"userId": "u"}), json!({"anonymousId": "a"}), json!({"userId": "v"})] {
            for event in [event("Dies", who.clone()), event("Kept", who.clone()), cart(who)] {
                world.accept(event);
            }
        }
        world.run(fine);
        let here = |world: &World| {
            let recorded = world.journal.recorded(&RecordedFilter::default(), None, 99).unwrap();
            let kept = |row: &&RecordedRow| row.call.as_ref().is_ok_and(|call| says(call, "Kept"));
            let dead = world.journal.dead(&DeadFilter::default(), None, 99).unwrap();
            let parked = world.journal.pending().parked;
            (recorded.iter().filter(kept).count(), dead.len(), parked)
        };
        assert_eq!(here(&world), (3, 3, 3), "{leave}");
        world.advance(Duration::from_secs(1));
        world.accept(leave.clone());
        world.run(fine);

        world.purge();
        assert_eq!(here(&world), (1, 1, 1), "those of v: {leave}");
        assert!(world.journal.gone().unwrap()[0].searched);
        let (totals, pending) = world.journal.balance();
        let sum = |outcomes: &[&str]| -> u64 {
            let counted = totals.iter().filter(|total| outcomes.contains(&total.outcome.as_str()));
            counted.map(|total| total.count).sum()
        };
        assert_eq!(
            sum(&["accepted"]),
            sum(&["delivered", "dropped", "dead_lettered"]) + pending.total()
        );
    }
}

fn says(call: &RawCall, name: &str) -> bool {
    String::from_utf8_lossy(&call.body).contains(name)
}

#[test]
fn nobody_waits_for_an_event_that_was_held_and_is_forgotten() {
    let mut world = World::holding();
    world.accept(json!({"type": "track", "event": "Ordered", "anonymousId": "a", "messageId": "1",
        "timestamp": START, "properties": {"email": "u@example.com"}}));
    world.run(fine);
    assert_eq!(world.journal.pending().held, 1);
    world.advance(Duration::from_secs(1));
    world.accept(json!({"type": "delete", "userId": "u@example.com", "messageId": "2"}));
    world.run(fine);
    world.purge();
    assert_eq!(world.journal.pending().total(), 0);

    world.accept(json!({"type": "identify", "userId": "v", "anonymousId": "a", "messageId": "3"}));
    world.run(fine);
    world.track("v", "next");
    world.run(fine);
    assert_eq!(world.names(), ["delete", "identify", "next"]);
    assert_eq!(world.journal.pending().total(), 0);
}

#[test]
fn an_event_that_is_taken_up_again_while_people_are_forgotten_ends_once() {
    let mut world = World::plain();
    world
        .accept(json!({"type": "track", "event": "Added to Cart", "userId": "v", "messageId": "1",
        "timestamp": "2026-03-14T04:00:00Z", "properties": {"email": "u@example.com"}}));
    world.run(fine);
    assert_eq!(world.journal.pending().parked, 1);
    world.accept(json!({"type": "delete", "userId": "u@example.com", "messageId": "2"}));
    world.run(fine);
    world.advance(Duration::from_secs(72 * 3600));
    let due = world.journal.take_due(world.clock.now(), 9).unwrap();
    world.admit(due);
    let mut flights = world.core.poll(world.clock.now());
    assert_eq!(flights.len(), 1);

    world.purge();
    world.fly(flights.remove(0), &mut fine);
    world.run(fine);
    assert_eq!(world.names(), ["delete", "Added to Cart"]);
    assert_eq!((world.total("delivered"), world.total("dropped")), (2, 0));
    assert_eq!(world.journal.pending().total(), 0);
}

#[test]
fn the_person_is_told_to_customer_io_before_the_event_that_showed_both_ids() {
    let mut world = World::plain();
    world.accept(json!({"type": "track", "event": "Logged In", "userId": "u", "anonymousId": "a", "messageId": "1", "timestamp": START}));
    world.accept(json!({"type": "track", "event": "Later", "anonymousId": "a", "messageId": "2", "timestamp": START}));
    world.run(fine);
    assert_eq!(world.names(), ["identify", "Logged In", "Later"]);
    assert_eq!(world.sent[0]["attributes"], json!({"anonymous_id": "a"}));
    assert_eq!(world.sent[2]["identifiers"], json!({"id": "u"}));
}

#[test]
fn a_person_is_free_again_when_what_held_the_line_is_parked_dropped_or_dead() {
    let script = r#"fn on_track(event, ctx) {
        if ctx.attempt > 0 && event.event == "Dropped later" { return drop("no more"); }
        if ctx.attempt > 0 && event.event == "Dead later" { return fail("no more"); }
        event
    }"#;
    for held in ["Added to Cart", "Dropped later", "Dead later"] {
        let mut world = World::new(script);
        world.track("hot", held);
        fail_for_minutes(&mut world);
        assert_eq!(world.journal.pending().retry, 1, "{held}");
        world.sent.clear();
        // By then the cart is too old to be sent as if it happened just now.
        world.advance(Duration::from_secs(2 * 3600));
        world.track("hot", "next");
        for _ in 0..5 {
            world.run(fine);
            world.advance(Duration::from_secs(60));
        }
        assert_eq!(world.names(), ["next"], "{held}");
    }
}

#[test]
fn an_anonymous_event_that_comes_back_as_a_persons_holds_nobody_up() {
    let mut world = World::plain();
    world.accept(json!({"type": "track", "event": "seen", "anonymousId": "a", "messageId": "1", "timestamp": START}));
    let broken = |items: &[Value]| match items.iter().any(|item| item["name"] == "seen") {
        true => Answer::TryAgain { status: Some(500), retry_after: None, unknown_fate: true },
        false => fine(items),
    };
    for _ in 0..300 {
        world.track("other", "tick");
        world.run(broken);
        world.advance(Duration::from_secs(1));
    }
    assert_eq!(world.journal.pending().retry, 1);
    world.sent.clear();
    // It comes a moment before the first is due, and so is looked after a moment later.
    let due = world.journal.next_due().unwrap().unwrap();
    world.clock.set(Time::from_millis(due.millis() - 100));
    world.accept(json!({"type": "identify", "userId": "u", "anonymousId": "a", "messageId": "2", "timestamp": START}));
    world.run(broken);
    world.clock.set(due);
    world.run(fine);
    for _ in 0..20 {
        world.advance(Duration::from_secs(60));
        world.run(fine);
    }
    assert_eq!(world.names(), ["seen", "identify"]);
    assert_eq!(world.journal.pending().total(), 0);
}

#[test]
fn a_part_that_must_wait_takes_no_other_part_with_it() {
    let mut world = World::new(
        r#"fn on_track(event, ctx) {
            if event.event != "both" { return event; }
            let cart = event.copy(); cart.event = "Added to Cart";
            let merge = event.copy(); merge.type = "alias"; merge.previousId = "old";
            [cart, merge]
        }"#,
    );
    // More than fly at a time, so that the second part is still here when the first is asked about.
    world.track("somebody", "tick");
    for id in ["a", "b", "c", "d"] {
        world.accept(json!({"type": "alias", "userId": id, "previousId": format!("old {id}"), "messageId": id}));
    }
    world.track("u", "both");
    world.run(|_| Answer::Unauthorized { status: 401 });
    world.advance(Duration::from_secs(2 * 3600));
    world.run(fine);
    world.run(fine);
    let merges = world.names().iter().filter(|name| **name == "merge").count();
    assert_eq!((merges, world.names().contains(&"Added to Cart")), (5, false));
    assert_eq!(world.journal.pending().parked, 1);
    world.advance(Duration::from_secs(72 * 3600));
    world.run(fine);
    assert_eq!(world.names().last(), Some(&"Added to Cart"));
    // A merge each, behind the identify by which the person is there.
    assert_eq!((world.total("delivered"), world.names().len()), (6, 1 + 5 * 2 + 1));
}

#[test]
fn an_event_that_must_be_prepared_again_keeps_its_place() {
    let mut world = World::plain();
    marking_what_is_late(&mut world);
    world.track("u", "first");
    world.track("u", "second");
    world.track("v", "third");
    world.run(|_| Answer::Unauthorized { status: 401 });
    world.advance(Duration::from_secs(2 * 3600));
    world.run(fine);
    for _ in 0..3 {
        world.advance(Duration::from_secs(5));
        world.run(fine);
    }
    let places: Vec<_> = ["first", "second"]
        .map(|name| world.names().iter().position(|sent| *sent == name))
        .into_iter()
        .collect();
    assert!(places[0].is_some() && places[0] < places[1], "{:?}", world.names());
    assert_eq!((world.total("delivered"), world.names().len()), (3, 3));
}

/// Verdicts about `first` run out when it is two hours late, and all stages are to run again then.
fn marking_what_is_late(world: &mut World) {
    Arc::make_mut(&mut world.config).guard.rule = vec![guard::GuardRule {
        event: vec!["first".into()],
        class: vec![guard::Class::Late],
        action: Some(Action::Mark),
        ..guard::GuardRule::default()
    }];
    world.core = world.restarted();
}

#[test]
fn nobody_overtakes_a_part_that_must_be_prepared_again_while_another_part_flies() {
    let mut world = World::new(
        r#"fn on_track(event, ctx) {
            if event.event != "both" { return event; }
            let steady = event.copy(); steady.event = "steady";
            let first = event.copy(); first.event = "first";
            [steady, first]
        }"#,
    );
    marking_what_is_late(&mut world);
    world.track("v", "tick");
    world.track("u", "both");
    world.run(|_| Answer::Unauthorized { status: 401 });
    world.advance(Duration::from_secs(2 * 3600));
    // The one that tries the credentials, then everything else.
    let is_steady = |item: &Bytes| String::from_utf8_lossy(item).contains("steady");
    let mut on_its_way = Vec::new();
    for _ in 0..3 {
        for flight in world.core.poll(world.clock.now()) {
            match &flight {
                Flight::Batch(_, items) if items.iter().any(is_steady) => on_its_way.push(flight),
                _ => world.fly(flight, &mut fine),
            }
        }
    }
    assert_eq!(on_its_way.len(), 1);
    assert!(world.names().iter().all(|name| *name != "first"));

    world.track("u", "next");
    world.admit_next();
    world.fly(on_its_way.remove(0), &mut fine);
    for _ in 0..3 {
        world.run(fine);
        world.advance(Duration::from_secs(5));
    }
    assert_eq!(world.names()[world.names().len() - 3..], ["steady", "first", "next"]);
    assert_eq!((world.total("delivered"), world.journal.pending().total()), (3, 0));
}

#[test]
fn what_customer_io_refused_is_a_dead_letter_although_another_part_had_to_wait() {
    let script = r#"fn on_track(event, ctx) {
        if event.event != "both" { return event; }
        let one = event.copy(); one.event = "bad";
        let two = event.copy(); two.event = "slow"; two.userId = "hot";
        [one, two]
    }"#;
    let mut world = World::new(script);
    world.track("u", "both");
    let answer = |items: &[Value]| match broken_for("hot")(items) {
        Answer::Accepted { .. } => rejecting("bad")(items),
        failed => failed,
    };
    for _ in 0..300 {
        world.track("other", "tick");
        world.run(answer);
        world.advance(Duration::from_secs(1));
    }
    assert_eq!(world.journal.pending().retry, 1);
    for _ in 0..3 {
        world.advance(Duration::from_secs(600));
        world.run(rejecting("bad"));
    }
    assert!(world.names().contains(&"slow"));
    assert_eq!((world.total("dead_lettered"), world.journal.pending().total()), (1, 0));
    assert_eq!(world.names().iter().filter(|name| **name == "slow").count(), 1);
}

#[test]
fn what_a_script_puts_behind_a_deletion_follows_it() {
    let mut world = World::new(
        r#"fn on_alias(event, ctx) {
            let after = event.copy(); after.type = "track"; after.event = "Merged";
            [event, after]
        }"#,
    );
    world.accept(json!({"type": "alias", "userId": "u", "previousId": "old", "messageId": "1", "timestamp": START}));
    world.run(fine);
    for _ in 0..3 {
        world.advance(Duration::from_secs(2));
        world.run(fine);
    }
    assert_eq!(world.names(), ["identify", "merge", "Merged"]);
    assert_eq!((world.total("delivered"), world.journal.pending().total()), (1, 0));
}

#[test]
fn what_was_learned_last_is_what_is_kept_however_the_answers_come() {
    let mut world = World::plain();
    let event = |user: &str, id: &str| json!({"type": "identify", "userId": user, "anonymousId": "a", "messageId": id, "timestamp": START});
    world.accept(event("hot", "1"));
    world.accept(event("second", "2"));
    let mut failing = broken_for("hot");
    for _ in 0..20 {
        world.track("other", "tick");
        world.run(&mut failing);
        world.advance(Duration::from_secs(1));
    }
    world.run(fine);
    for _ in 0..20 {
        world.advance(Duration::from_secs(10));
        world.run(fine);
    }
    assert_eq!(world.journal.pending().total(), 0);
    let link = world.journal.load(&[FactKey("link:a".into())], world.clock.now()).unwrap();
    let link = &link[0].as_ref().unwrap().value;
    assert!(link.contains("\"contested\":true"), "{link}");
}

#[test]
fn who_comes_back_to_be_parked_gives_up_its_business_key() {
    let mut world = World::new(
        r#"fn on_track(event, ctx) {
            if event.event != "tick" { event.dedupe_by("cart", event.properties.cart_id); }
            event
        }"#,
    );
    let cart = |user: &str, id: &str, at: Time| {
        json!({"type": "track", "event": "Added to Cart", "userId": user, "messageId": id,
            "timestamp": at.to_string(), "properties": {"cart_id": "1"}})
    };
    world.accept(cart("hot", "1", world.clock.now()));
    fail_for_minutes(&mut world);
    assert_eq!(world.journal.pending().retry, 1);
    world.sent.clear();
    world.advance(Duration::from_secs(2 * 3600));
    world.run(fine);
    assert_eq!(world.journal.pending().parked, 1);
    world.accept(cart("u", "2", world.clock.now()));
    world.run(fine);
    assert_eq!(world.names(), ["Added to Cart"], "the copy takes the key over");
}

#[test]
fn what_a_dropped_copy_showed_is_told_to_customer_io() {
    let script =
        r#"fn on_track(event, ctx) { event.dedupe_by("order", event.properties.order_id); event }"#;
    let mut world = World::new(script);
    for (id, anonymous) in [("1", "a"), ("2", "b")] {
        world.accept(json!({"type": "track", "event": "Order Completed", "userId": "u",
            "anonymousId": anonymous, "messageId": id, "timestamp": START,
            "properties": {"order_id": "1"}}));
    }
    world.run(fine);
    assert_eq!(world.names(), ["identify", "Order Completed", "identify"]);
    assert_eq!(world.sent[2]["attributes"], json!({"anonymous_id": "b"}));
}

/// The scripts with this one in force instead.
fn runner(script: &str) -> Runner {
    let manifest = "[[stage]]\nfile = \"mine\"\n";
    let files = [("transforms.toml", manifest), ("mine.rhai", script)];
    let files = files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
    Runner::new(Arc::new(Bundle::from_files(files.into()).unwrap()))
}

#[test]
fn scripts_that_changed_while_an_event_waited_lose_none_of_its_parts_and_send_none_twice() {
    let splits = |names: &[&str]| {
        let parts = names.iter().map(|name| {
            let hot = if *name == "slow" { "part.userId = \"hot\";" } else { "" };
            format!("let part = event.copy(); part.event = \"{name}\"; {hot} parts.push(part);")
        });
        let parts: String = parts.collect();
        format!(
            "fn on_track(event, ctx) {{ if event.event != \"both\" {{ return event; }} let parts = []; {parts} parts }}"
        )
    };
    #[rustfmt::skip]
    let table: [(&str, &[&str], &[&str]); 5] = [
        ("the same",         &["done", "slow"],          &["slow"]),
        ("one taken out",    &["slow"],                  &["slow"]),
        ("one put before",   &["new", "done", "slow"],   &["new", "slow"]),
        ("turned round",     &["slow", "done"],          &["slow"]),
        ("twice",            &["done", "done", "slow"],  &["done", "slow"]),
    ];
    for (what, then, expected) in table {
        let mut world = World::new(&splits(&["done", "slow"]));
        world.track("u", "both");
        fail_for_minutes(&mut world);
        assert_eq!(world.journal.pending().retry, 1, "{what}");
        let first = world.sent.iter().find(|item| item["name"] == "done").unwrap()["id"].clone();
        world.sent.clear();
        world.runner = runner(&splits(then));
        world.advance(Duration::from_secs(600));
        world.run(fine);
        let mut names = world.names();
        names.sort_unstable();
        assert_eq!(names, expected, "{what}");
        assert!(world.sent.iter().all(|item| item["id"] != first), "{what}: taken for a copy");
        assert_eq!(world.journal.pending().total(), 0, "{what}");
    }
}

#[test]
fn who_comes_back_to_be_dropped_by_a_script_gives_up_its_business_key() {
    let mut world = World::new(
        r#"fn on_track(event, ctx) {
            if event.event != "tick" { event.dedupe_by("order", event.properties.order_id); }
            event
        }"#,
    );
    let order = |user: &str, id: &str| {
        json!({"type": "track", "event": "Order Completed", "userId": user, "messageId": id,
            "timestamp": START, "properties": {"order_id": "1"}})
    };
    world.accept(order("hot", "1"));
    fail_for_minutes(&mut world);
    assert_eq!(world.journal.pending().retry, 1);
    world.sent.clear();
    world.runner = runner(
        r#"fn on_track(event, ctx) {
            event.dedupe_by("order", event.properties.order_id);
            if event.userId == "hot" { return drop("a test account"); }
            event
        }"#,
    );
    world.advance(Duration::from_secs(600));
    world.run(fine);
    world.accept(order("u", "2"));
    world.run(fine);
    assert_eq!(world.names(), ["Order Completed"], "the copy takes the key over");
}

#[test]
fn counters_of_what_scripts_drop_have_an_end() {
    let mut world = World::new("fn on_track(event, ctx) { drop(event.event) }");
    for number in 0..1010 {
        world.accept(json!({"type": "track", "event": format!("reason {number}"), "userId": "u", "messageId": number}));
    }
    world.run(fine);
    assert_eq!(world.total("dropped"), 1010);
    let reasons = world.journal.totals().iter().filter(|total| total.outcome == "dropped").count();
    assert_eq!(reasons, 1001, "a thousand, and one for all others");
    assert_eq!(world.journal.trail("1009", 1).unwrap()[0].reason, "reason 1009");
}

#[test]
fn what_is_not_sent_teaches_nothing() {
    let long = "x".repeat(200);
    let no = [
        ("opted out", json!({"integrations": {"Customer.io": false}})),
        ("unmappable", json!({"event": long})),
    ];
    for (what, change) in no {
        let mut world = World::plain();
        let mut first = json!({"type": "track", "event": "first", "userId": "u", "anonymousId": "a",
            "messageId": "1", "timestamp": START});
        first.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        world.accept(first);
        world.accept(json!({"type": "track", "event": "second", "userId": "u", "anonymousId": "a",
            "messageId": "2", "timestamp": START}));
        world.run(fine);
        assert_eq!(world.names(), ["identify", "second"], "{what}: the second one tells it");
    }
}

#[test]
fn a_commit_that_is_written_again_does_not_undo_a_later_one() {
    let mut world = World::plain();
    let mut commits = Vec::new();
    for (user, id) in [("first", "1"), ("second", "2")] {
        world.accept(json!({"type": "identify", "userId": user, "anonymousId": "a",
            "messageId": id, "timestamp": START}));
        let now = world.clock.now();
        world.admit_next();
        for flight in world.core.poll(now) {
            world.fly(flight, &mut fine);
        }
        commits.extend(world.core.take_commit());
    }
    let [mut first, second]: [Commit; 2] = commits.try_into().unwrap();
    // The first one fails, the second one does not.
    world.journal.commit(second.changes).blocking_recv().unwrap().unwrap();
    world.core.committed(second.id);
    world.core.again(&mut first);
    world.journal.commit(first.changes).blocking_recv().unwrap().unwrap();
    world.core.committed(first.id);
    let link = world.journal.load(&[FactKey("link:a".into())], world.clock.now()).unwrap();
    let link = &link[0].as_ref().unwrap().value;
    assert!(link.contains("\"contested\":true"), "{link}");
    assert_eq!((world.total("delivered"), world.journal.pending().total()), (2, 0));
}

#[test]
fn an_anonymous_or_junk_old_id_is_nobody_to_merge() {
    let mut world = World::plain();
    Arc::make_mut(&mut world.config).source[0].identity.junk = vec!["test-*".into()];
    world.core = world.restarted();
    let alias = |previous: &str, id: &str| json!({"type": "alias", "userId": "u", "previousId": previous, "messageId": id, "timestamp": START});
    for (user, id) in [("first", "1"), ("second", "2")] {
        world.accept(json!({"type": "identify", "userId": user, "anonymousId": "contested",
            "messageId": id, "timestamp": START}));
    }
    world.accept(json!({"type": "identify", "userId": "u", "anonymousId": "own", "messageId": "3", "timestamp": START}));
    world.run(fine);
    world.sent.clear();
    for (previous, id) in [("contested", "4"), ("test-7", "5")] {
        world.accept(alias(previous, id));
    }
    let mut with_both = alias("contested", "6");
    with_both["anonymousId"] = json!("contested");
    world.accept(with_both);
    world.run(fine);
    assert!(world.names().is_empty(), "{:?}", world.sent);
    assert_eq!((world.total("dropped"), world.total("dead_lettered")), (2, 1));

    world.accept(alias("own", "7"));
    world.accept(alias("old", "8"));
    world.run(fine);
    assert_eq!(world.names(), ["identify", "merge"], "an anonymous id of one's own is told");
}

#[test]
fn thousands_of_one_persons_events_out_of_line_come_back_in_order() {
    let mut world = World::plain();
    let count = 3000;
    world.track("hot", "the first");
    fail_for_minutes(&mut world);
    for _ in 1..count {
        world.track("hot", "one of many");
        world.advance(Duration::from_millis(1));
    }
    world.run(broken_for("hot"));
    assert_eq!(world.journal.pending().retry, count);
    world.sent.clear();
    for _ in 0..5 {
        world.advance(Duration::from_secs(600));
        world.run(fine);
    }
    let ids: Vec<&Value> = world.sent.iter().map(|item| &item["timestamp"]).collect();
    assert_eq!(ids.len() as u64, count);
    assert!(ids.is_sorted_by_key(|time| time.as_i64()));
}

impl World {
    /// A world that holds what is anonymous.
    fn holding() -> Self {
        let mut world = Self::plain();
        Arc::make_mut(&mut world.config).source[0].identity.anonymous =
            config::AnonymousPolicy::Hold;
        world.core = world.restarted();
        world
    }

    fn visit(&mut self, name: &str) {
        let at = self.clock.now().to_string();
        self.accept(json!({"type": "track", "event": name, "anonymousId": "a", "messageId": name, "timestamp": at}));
        self.run(fine);
        self.advance(Duration::from_secs(1));
    }

    fn who(&self) -> Vec<(&str, &str)> {
        let who = |item: &'static str| item;
        let kinds = [who("id"), who("anonymous_id")];
        let of = |item: &'_ Value| {
            kinds.into_iter().find(|kind| item["identifiers"].get(kind).is_some())
        };
        self.names().into_iter().zip(self.sent.iter().map(|item| of(item).unwrap_or(""))).collect()
    }
}

#[test]
fn what_is_held_follows_the_identify_as_the_persons_own_and_in_order() {
    for restarts in [false, true] {
        let mut world = World::holding();
        world.visit("viewed");
        world.visit("carted");
        assert_eq!((world.names().len(), world.journal.pending().held), (0, 2));
        if restarts {
            world.core = world.restarted();
        }
        world.accept(json!({"type": "identify", "userId": "u", "anonymousId": "a", "messageId": "i", "timestamp": START}));
        world.track("u", "after");
        for _ in 0..3 {
            world.run(fine);
            world.advance(Duration::from_secs(1));
        }
        let as_person = ["identify", "viewed", "carted", "after"].map(|name| (name, "id"));
        assert_eq!(world.who(), as_person, "restarts: {restarts}");
        assert_eq!(world.journal.pending().total(), 0);
    }
}

#[test]
fn what_is_held_goes_ahead_of_the_order_that_shows_whose_it_is() {
    let mut world = World::holding();
    world.visit("viewed");
    world.visit("carted");
    world.accept(json!({"type": "track", "event": "Order Completed", "userId": "u", "anonymousId": "a", "messageId": "o", "timestamp": START}));
    world.track("u", "after");
    for _ in 0..5 {
        world.run(fine);
        world.advance(Duration::from_secs(1));
    }
    assert_eq!(world.names(), ["viewed", "carted", "identify", "Order Completed", "after"]);
    assert!(world.who().iter().all(|(_, kind)| *kind == "id"), "{:?}", world.who());
}

#[test]
fn what_is_held_in_vain_leaves_in_order_as_anonymous() {
    let mut world = World::holding();
    world.visit("viewed");
    world.visit("carted");
    world.advance(Duration::from_secs(30 * 60 - 3));
    world.run(fine);
    assert!(world.names().is_empty(), "not yet");
    for _ in 0..3 {
        world.advance(Duration::from_secs(1));
        world.run(fine);
    }
    assert_eq!(world.who(), [("viewed", "anonymous_id"), ("carted", "anonymous_id")]);
    assert_eq!(world.journal.pending().total(), 0);
}

#[test]
fn a_person_who_is_there_twice_is_merged_behind_the_identify_that_shows_it() {
    let mut world = World::plain();
    Arc::make_mut(&mut world.config).source[0].identity.merge_email_people = true;
    world.core = world.restarted();
    let identify = |id: &str, user: Value| {
        json!({"type": "identify", "userId": user, "messageId": id, "timestamp": START,
            "traits": {"email": "ann@example.com"}})
    };
    world.accept(identify("1", Value::Null));
    world.run(fine);
    world.accept(identify("2", json!("hot")));
    world.track("hot", "after");
    let mut failing = broken_for("hot");
    for _ in 0..80 {
        world.track("other", "tick");
        world.run(&mut failing);
        world.advance(Duration::from_secs(1));
    }
    world.sent.clear();
    for _ in 0..5 {
        world.advance(Duration::from_secs(60));
        world.run(fine);
    }
    let mut names = world.names();
    names.retain(|name| *name != "tick");
    assert_eq!(names, ["identify", "merge", "after"], "also after a retry");
}

#[test]
fn who_is_who_survives_a_restart() {
    let mut world = World::plain();
    world.accept(json!({"type": "identify", "userId": "u", "anonymousId": "a", "messageId": "1", "timestamp": START,
        "traits": {"email": "ann@example.com"}}));
    world.accept(json!({"type": "alias", "userId": "u", "previousId": "old", "messageId": "2", "timestamp": START}));
    world.run(fine);
    world.sent.clear();
    world.core = world.restarted();
    let ids = [json!({"anonymousId": "a"}), json!({"userId": "old"})];
    for (id, ids) in ids.iter().enumerate() {
        let mut event = json!({"type": "track", "event": "E", "messageId": format!("e{id}"), "timestamp": START});
        event.as_object_mut().unwrap().extend(ids.as_object().unwrap().clone());
        world.accept(event);
    }
    world.accept(
        json!({"type": "identify", "messageId": "3", "traits": {"email": "ann@example.com"}}),
    );
    world.run(fine);
    assert_eq!(world.sent.len(), 3);
    let is_hers = |item: &Value| item["identifiers"] == json!({"id": "u"});
    assert!(world.sent.iter().all(is_hers), "{:?}", world.sent);
}

#[test]
fn a_clock_that_is_set_back_keeps_no_retry_waiting() {
    for restarts in [false, true] {
        let mut world = World::plain();
        world.track("hot", "first");
        fail_for_minutes(&mut world);
        assert_eq!(world.journal.pending().retry, 1);
        world.sent.clear();
        world.clock.set(world.clock.now().minus(Duration::from_secs(3600)));
        if restarts {
            world.core = world.restarted();
        }
        world.track("hot", "second");
        for _ in 0..3 {
            world.run(fine);
            world.advance(Duration::from_secs(1));
        }
        assert_eq!(world.names(), ["first", "second"], "restarts: {restarts}");
    }
}

#[test]
fn what_was_parked_stays_so_when_the_clock_is_set_back() {
    let mut world = World::plain();
    let old = world.clock.now().minus(Duration::from_secs(2 * 3600)).to_string();
    world.accept(json!({"type": "track", "event": "Added to Cart", "userId": "u", "messageId": "1", "timestamp": old}));
    world.track("hot", "first");
    fail_for_minutes(&mut world);
    world.clock.set(world.clock.now().minus(Duration::from_secs(3600)));
    for _ in 0..2 {
        world.run(fine);
        world.advance(Duration::from_secs(1));
    }
    let pending = world.journal.pending();
    assert_eq!((pending.parked, pending.retry), (1, 0));
}

#[test]
fn who_is_found_while_it_cannot_be_written_that_others_are_held_gets_them_all_the_same() {
    let mut world = World::holding();
    let mut commits = Vec::new();
    let viewed = json!({"type": "track", "event": "viewed", "anonymousId": "a", "messageId": "v", "timestamp": START});
    let identify = json!({"type": "identify", "userId": "u", "anonymousId": "a", "messageId": "i", "timestamp": START});
    for body in [viewed, identify] {
        world.accept(body);
        let now = world.clock.now();
        world.admit_next();
        for flight in world.core.poll(now) {
            world.fly(flight, &mut fine);
        }
        commits.extend(world.core.take_commit());
    }
    let [mut held, released]: [Commit; 2] = commits.try_into().unwrap();
    world.journal.commit(released.changes).blocking_recv().unwrap().unwrap();
    world.core.committed(released.id);
    world.core.again(&mut held);
    world.journal.commit(held.changes).blocking_recv().unwrap().unwrap();
    world.core.committed(held.id);
    world.run(fine);
    assert_eq!(world.who(), [("identify", "id"), ("viewed", "id")]);
}

#[test]
fn a_redriven_event_sends_neither_what_was_delivered_nor_takes_its_id() {
    let splits = |names: &[&str]| {
        let parts = names.iter().map(|name| {
            format!("let part = event.copy(); part.event = \"{name}\"; parts.push(part);")
        });
        let parts: String = parts.collect();
        format!("fn on_track(event, ctx) {{ let parts = []; {parts} parts }}")
    };
    #[rustfmt::skip]
    let table: [(&str, &[&str], &[&str]); 4] = [
        ("the same",      &["a", "b", "c"],  &["c"]),
        ("one taken out", &["a", "c"],       &["c"]),
        ("only it",       &["c"],            &["c"]),
        ("without it",    &["b", "a"],       &[]),
    ];
    for (what, then, expected) in table {
        for fails_again in [false, true] {
            let mut world = World::new(&splits(&["a", "b", "c"]));
            world.track("u", "all");
            world.run(rejecting("c"));
            assert_eq!(world.total("dead_lettered"), 1, "{what}");
            let ids: Vec<Value> = world.sent.drain(..).map(|item| item["id"].clone()).collect();
            for rejects in [fails_again, false] {
                world.runner = runner(&splits(then));
                world.redrive();
                if rejects {
                    world.run(rejecting("c"));
                    world.sent.clear();
                } else {
                    world.run(fine);
                }
            }
            assert_eq!(world.names(), expected, "{what}");
            assert!(world.sent.iter().all(|item| !ids[..2].contains(&item["id"])), "{what}");
            assert_eq!(
                (world.total("delivered"), world.journal.pending().total()),
                (1, 0),
                "{what}"
            );
        }
    }
}
