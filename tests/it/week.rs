//! A recorded week, replayed into a live stream: nothing fires that may not, nobody becomes two people,
//! and what the plan said is what happened.
//!
//! The week is made, not kept: customers of a shop browse as visitors, fill carts, leave an address or
//! log in, and some buy. Two sources see them, the shop's pages (Segment) and its server (RudderStack);
//! both tell the same orders. Some devices have wrong clocks, some events come late, some come twice.
//! In the middle of it the archive of the week before is replayed, source by source: a twentieth of all
//! events. Each plan is laid over the journal that it is for, and so knows what the source before told.
//!
//! `SEGUE_WEEK=200000 cargo test --release --test it week -- --nocapture` runs all of it and prints what
//! it counted; without the variable a short form runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use segue::clock::Time;
use segue::config::Config;
use segue::emulator::{Settings, settings::History};
use segue::fixture::{Delivery, Setup, World};
use segue::journal::Total;
use segue::spec::Ingress;
use segue::transform::Bundle;
use serde_json::{Value, json};

use crate::support::memory_folder;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// Events that come to the door together.
const TOGETHER: usize = 100;

/// When the live week begins.
fn monday() -> Time {
    Time::parse("2026-03-09T00:00:00Z").unwrap()
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        i64::try_from(self.0 % sides.unsigned_abs()).unwrap()
    }

    fn happens(&mut self, percent: i64) -> bool {
        self.roll(100) < percent
    }
}

/// One recorded event.
struct Recorded {
    /// When it comes in.
    at: Time,
    source: &'static str,
    body: Value,
}

/// A shop's week, from `from` on.
struct Shop {
    dice: Dice,
    from: Time,
    /// What tells this week's messages, orders and visits from others'.
    name: &'static str,
    events: Vec<Recorded>,
    customers: i64,
}

impl Shop {
    /// So many events or a few more, in the order in which they come in.
    fn week(name: &'static str, from: Time, customers: i64, events: usize) -> Vec<Recorded> {
        let dice = Dice(0x9e37_79b9_7f4a_7c15 ^ name.len() as u64);
        let mut shop = Self { dice, from, name, events: Vec::new(), customers };
        let mut visit = 0;
        while shop.events.len() < events {
            // Everybody comes once before anybody comes again.
            shop.visit(visit % customers, visit);
            visit += 1;
        }
        let mut events = shop.events;
        events.sort_by_key(|event| event.at);
        events
    }

    /// A visit: browsing, perhaps a cart, an address or a log-in, an order.
    fn visit(&mut self, customer: i64, visit: i64) {
        let (name, device) = (self.name, self.dice.roll(2));
        let visitor = format!("{name}-v{visit}-{device}");
        let user = format!("u{customer}");
        let skew = if self.dice.happens(4) { (self.dice.roll(96) - 48) * HOUR } else { 0 };
        let mut at = self.from.millis() + self.dice.roll(WEEK - 4 * HOUR);
        let mut nth = 0;
        let mut step = |shop: &mut Self, kind: &str, event: &str, properties: Value| {
            nth += 1;
            at += shop.dice.roll(3 * MINUTE);
            let message = format!("{name}-{visit}-{nth}");
            let mut body = json!({"type": kind, "messageId": message, "anonymousId": visitor,
                "properties": properties});
            if kind == "track" {
                body["event"] = json!(event);
            }
            shop.comes("segment", at, skew, body.clone());
            body
        };
        step(self, "page", "", json!({"url": "https://shop.example/"}));
        for _ in 0..self.dice.roll(4) {
            let product = self.dice.roll(500);
            step(self, "track", "Product Viewed", json!({"product_id": format!("p{product}")}));
        }
        step(self, "track", "Product Added", json!({"cart_id": visitor, "price": "$24.50"}));
        if !self.dice.happens(75) {
            return;
        }
        at += self.dice.roll(2 * MINUTE);
        let traits = json!({"email": format!("c{customer}@example.com"), "plan": "plus"});
        let identify = json!({"type": "identify", "messageId": format!("{name}-{visit}-i"),
            "anonymousId": visitor, "userId": user, "traits": traits});
        self.comes("segment", at, skew, identify);
        if !self.dice.happens(60) {
            return;
        }
        at += self.dice.roll(20 * MINUTE);
        let order = format!("{name}-o{visit}");
        let properties = json!({"order_id": order, "total": "$49.00", "currency": "usd"});
        for (source, event, tells) in
            [("segment", "Order Completed", 100), ("rudderstack", "order_completed", 60)]
        {
            if self.dice.happens(tells) {
                at += self.dice.roll(20_000);
                let mut body = json!({"type": "track", "event": event, "userId": user,
                    "messageId": format!("{name}-{visit}-{source}"), "properties": properties});
                if source == "segment" {
                    body["anonymousId"] = json!(visitor);
                }
                self.comes(source, at, if source == "segment" { skew } else { 0 }, body);
            }
        }
    }

    /// An event that happened at `at`, as its source passes it on.
    fn comes(&mut self, source: &'static str, at: i64, skew: i64, mut body: Value) {
        let waits = match self.dice.roll(100) {
            0..2 => 2 * HOUR + self.dice.roll(20 * HOUR),
            _ => self.dice.roll(5_000),
        };
        let time = |millis: i64| json!(Time::from_millis(millis).to_string());
        let received = at + waits;
        // Segment has corrected the time; RudderStack's servers have no clock to correct.
        body["timestamp"] = time(at);
        body["originalTimestamp"] = time(at + skew);
        body["sentAt"] = time(received + skew);
        body["receivedAt"] = time(received);
        body["properties"]["happened"] = json!(at);
        body["properties"]["archived"] = json!(self.name == "old");
        let event = Recorded { at: Time::from_millis(received), source, body };
        if self.dice.happens(2) {
            let again = event.at.plus(Duration::from_secs(30));
            self.events.push(Recorded { at: again, source, body: event.body.clone() });
        }
        self.events.push(event);
        debug_assert!(self.customers > 0);
    }
}

/// Everything that came of it.
struct Stage {
    world: World,
    seen: u64,
    fired: u64,
    forbidden: Vec<String>,
}

impl Stage {
    fn new(customers: i64) -> (Self, tempfile::TempDir) {
        let setup = Setup::new(&Config::demo(), Arc::new(Bundle::shipped().unwrap()));
        let most = usize::try_from(customers).unwrap() * 50 + 100_000;
        let history =
            History { events: most, profiles: most, activity: 100_000, ..History::default() };
        let setup = Setup { emulator: Settings { history, ..Settings::default() }, ..setup };
        let folder = memory_folder();
        let world = World::in_folder(&setup, monday(), folder.path()).unwrap();
        (Self { world, seen: 0, fired: 0, forbidden: Vec::new() }, folder)
    }

    fn take(&mut self, events: &[Recorded], replay: Option<&str>) {
        for source in ["segment", "rudderstack"] {
            let bodies: Vec<&Value> = events
                .iter()
                .filter(|event| event.source == source)
                .map(|event| &event.body)
                .collect();
            if bodies.is_empty() {
                continue;
            }
            let body = serde_json::to_vec(&bodies).unwrap().into();
            let delivery = Delivery { source, ingress: Ingress::Webhook, replay, body };
            let opened = self.world.open(&delivery).unwrap();
            self.world.store(opened).unwrap();
        }
        self.world.settle().unwrap();
        self.watch();
    }

    fn passes(&mut self, to: Time) {
        self.world.advance(to).unwrap();
        self.watch();
    }

    /// Looks at what could have started a campaign since it was last looked.
    fn watch(&mut self) {
        self.world.take_record();
        let emulator = self.world.emulator();
        let news = emulator.activity().rev().take_while(|entry| entry.seq > self.seen);
        for entry in
            news.filter(|entry| entry.event.as_ref().is_some_and(|event| event.could_trigger))
        {
            self.fired += 1;
            let event = entry.event.as_ref().unwrap();
            let of_visitor = entry.effect_of.is_some();
            let is_intent = event.name != "Order Completed";
            let late = entry.at.millis_since(event.time) > HOUR + 20 * MINUTE;
            let archived = event.time < monday();
            // An anonymous event was live when it was sent; who it belongs to was told later.
            if archived || (is_intent && late && !of_visitor) {
                self.forbidden.push(format!("{event:?} at {}", entry.at));
            }
        }
        self.seen = emulator.activity().next_back().map_or(0, |last| last.seq);
    }

    /// What became of the replay, by outcome and reason.
    fn of_replay(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for Total { outcome, reason, count, .. } in
            self.world.journal().totals().into_iter().filter(|total| total.label == "week")
        {
            *counts.entry(format!("{outcome} {reason}").trim().to_owned()).or_default() += count;
        }
        counts
    }
}

/// What `segue replay` says before anything is sent, of events of one source.
fn plan(archive: &[Recorded], at: Time, journal: &Path) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> = archive.iter().map(|event| event.body.to_string()).collect();
    std::fs::write(folder.path().join("week.ndjson"), lines.join("\n")).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_segue"))
        .args([
            "replay",
            "week.ndjson",
            "--as-replay",
            "week",
            "--json",
            "--source",
            archive[0].source,
            "--at",
            &at.to_string(),
            "--data-dir",
        ])
        .arg(journal)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn a_recorded_week_replayed_into_a_live_one_fires_nothing_and_splits_nobody() {
    let size =
        std::env::var("SEGUE_WEEK").ok().map_or(3_000, |size| size.parse::<usize>().unwrap());
    let customers = i64::try_from(size / 40).unwrap();
    let live = Shop::week("new", monday(), customers, size - size / 20);
    let before = Time::from_millis(monday().millis() - WEEK);
    let archive = Shop::week("old", before, customers, size / 20);
    let (pages, server): (Vec<_>, Vec<_>) =
        archive.into_iter().partition(|event| event.source == "segment");
    let replayed = pages.len() + server.len();
    let (mut stage, folder) = Stage::new(customers);

    // The replay begins on the first day, when part of the archive is young enough to fire.
    let begins = Time::from_millis(monday().millis() + 6 * HOUR);
    let (mut planned, mut at_once) = (Vec::new(), BTreeMap::new());
    for events in live.chunks(TOGETHER) {
        let due = events.last().unwrap().at;
        if due > begins && at_once.is_empty() {
            stage.passes(begins);
            for archive in [&pages, &server] {
                planned.push(plan(archive, begins, folder.path()));
                archive.chunks(TOGETHER).for_each(|old| stage.take(old, Some("week")));
            }
            at_once = stage.of_replay();
        }
        let due = due.max(stage.world.now());
        stage.passes(due);
        stage.take(events, None);
    }
    stage.passes(stage.world.now().plus(Duration::from_secs(6 * 24 * 3600)));

    // What the plan said is what came of it: at once, and when what was parked has left.
    let after = stage.of_replay();
    let counted =
        |counts: &BTreeMap<String, u64>, name: &str| counts.get(name).copied().unwrap_or(0);
    let planned_as = |name: &str| -> u64 {
        planned.iter().map(|plan| plan["outcomes"][name].as_u64().unwrap_or(0)).sum()
    };
    assert!(planned.iter().all(|plan| plan["would_fire"] == json!({})), "{planned:#?}");
    for name in ["delivered", "dropped duplicate", "dropped duplicate_key"] {
        assert_eq!(counted(&at_once, name), planned_as(name), "{name}: {planned:#?}\n{at_once:?}");
    }
    assert!(planned_as("dropped duplicate_key") > 0, "both sources tell the same orders");
    assert!(planned_as("parked") > 0, "part of the archive could have fired");
    assert_eq!(counted(&after, "accepted"), replayed as u64);
    assert_eq!(counted(&after, "dropped duplicate"), planned_as("dropped duplicate"));
    // Of an order that both told and that was parked, one leaves, and then the other is a copy.
    let left = counted(&after, "delivered") + counted(&after, "dropped duplicate_key");
    let expected = ["delivered", "dropped duplicate_key", "parked"].map(planned_as);
    assert_eq!(left, expected.iter().sum::<u64>(), "{planned:#?}\n{after:?}");

    assert_eq!(stage.forbidden, Vec::<String>::new(), "nothing fires that may not");
    assert!(stage.fired > 0, "live events fire");
    let people = stage.world.emulator().people();
    let split: Vec<_> =
        people.iter().filter(|person| person.id.is_none() || person.email.is_none()).collect();
    assert!(
        split.is_empty(),
        "{} people have only one identifier: {:?}",
        split.len(),
        split.first()
    );
    assert!(people.len() <= usize::try_from(customers).unwrap(), "{} people", people.len());
    let totals = stage.world.journal().balance();
    assert_eq!(totals.1.total(), 0, "everything has ended");
    println!(
        "{} live and {} replayed events of {customers} customers: {} could start a campaign, 0 of them \
         forbidden; {} people, 0 split; the plans {}, afterwards {after:?}",
        live.len(),
        replayed,
        stage.fired,
        people.len(),
        planned.iter().map(|plan| plan["outcomes"].to_string()).collect::<Vec<_>>().join(" and "),
    );
}
