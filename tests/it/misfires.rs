//! No misfires: whatever happens to Segue, no event reaches Customer.io while it could start a campaign
//! that the policy forbids.
//!
//! Histories are made at random: live, late, replayed and repeated events of two vendors, devices whose
//! clocks are wrong, refusals and broken connections, days that pass, scripts that change, dead letters
//! that are sent again, processes that are stopped or killed, and a clock of the machine that is set
//! forwards and backwards. The production code runs through each on one thread; the emulator says which
//! events could have started a campaign, and [`Policy`] says, without asking the guard, which may.
//!
//! `SEGUE_HISTORIES` says how many (default 64), `SEGUE_SEED` which ones. A history that fails is kept
//! in `proptest-regressions/misfires.txt`, and lived through again before all others.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{
    Config as Cases, FileFailurePersistence, RngAlgorithm, TestRng, TestRunner,
};
use segue::clock::Time;
use segue::config::{self, Config};
use segue::emulator::FaultRule;
use segue::fixture::{Delivery, End, Setup, World};
use segue::spec::Ingress;
use segue::transform::Bundle;
use serde_json::{Value, json};

use crate::support::memory_folder;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Where histories that failed are kept.
const KEPT: &str = "proptest-regressions/misfires.txt";

/// By how many seconds the clock here may be wrong: less than the margin behind 72 hours.
const WRONG_BY: i64 = 50 * MINUTE;
/// How wrong a device's clock may be before Segue notices.
const UNNOTICED: i64 = 5 * MINUTE;

/// What is done, and what it is to a campaign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Deed {
    Cart,
    Page,
    Screen,
    Order,
    Quiz,
    Identify,
    Alias,
}

/// Who says that it is a replay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flag {
    Nobody,
    Request,
    Field,
    Path,
    ReverseEtl,
    Script,
}

/// An event that comes in. Times are in seconds.
#[derive(Clone, Debug)]
struct Comer {
    deed: Deed,
    person: u8,
    anonymous: Option<u8>,
    named: bool,
    /// From what happened to the vendor's receipt.
    age: i64,
    /// From the vendor's receipt until it comes here.
    delay: i64,
    /// By how much the device's clock is ahead.
    skew: i64,
    has_time: bool,
    flag: Flag,
    rudderstack: bool,
    ingress: Ingress,
    order: u8,
}

#[derive(Clone, Debug)]
enum Step {
    Comes(Vec<Comer>),
    /// A body that came before comes again, perhaps as part of a replay, perhaps by the other source.
    Again {
        which: prop::sample::Index,
        flagged: bool,
        elsewhere: bool,
    },
    Fails(&'static str),
    Passes(i64),
    ClockIsAhead(i64),
    Restarts(End),
    ScriptsChange(usize),
    Redrives,
}

fn comer() -> impl Strategy<Value = Comer> {
    let deed = prop_oneof![
        5 => Just(Deed::Cart), 2 => Just(Deed::Page), 1 => Just(Deed::Screen),
        4 => Just(Deed::Order), 2 => Just(Deed::Quiz), 3 => Just(Deed::Identify), 1 => Just(Deed::Alias),
    ];
    let age = prop_oneof![
        4 => 0..2 * MINUTE,
        4 => 0..3 * HOUR,
        3 => 0..4 * DAY,
        1 => 3 * DAY - HOUR..3 * DAY + 2 * HOUR,
    ];
    let delay = prop_oneof![6 => Just(0), 2 => 0..2 * HOUR, 2 => 20 * HOUR..5 * DAY];
    let skew = prop_oneof![
        6 => Just(0), 1 => -UNNOTICED..UNNOTICED, 1 => Just(3 * HOUR), 1 => Just(-3 * HOUR),
        1 => Just(4 * DAY), 1 => Just(-4 * DAY),
    ];
    let flag = prop_oneof![
        8 => Just(Flag::Nobody), 2 => Just(Flag::Request), 1 => Just(Flag::Field),
        1 => Just(Flag::Path), 1 => Just(Flag::ReverseEtl), 1 => Just(Flag::Script),
    ];
    let who = (0..4_u8, prop::option::weighted(0.5, 0..3_u8), prop::bool::weighted(0.75));
    let how = (prop::bool::weighted(0.9), flag, any::<bool>(), prop::bool::weighted(0.2), 0..4_u8);
    (deed, who, age, delay, skew, how).prop_map(|(deed, who, age, delay, skew, how)| {
        let (person, anonymous, named) = who;
        let (has_time, flag, rudderstack, api, order) = how;
        let ingress = if api { Ingress::Api } else { Ingress::Webhook };
        let delay = if api { 0 } else { delay };
        let named = named || anonymous.is_none();
        Comer {
            deed,
            person,
            anonymous,
            named,
            age,
            delay,
            skew,
            has_time,
            flag,
            rudderstack,
            ingress,
            order,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let faults = prop_oneof![
        Just("ok"),
        Just("503*9"),
        Just("lost*5, 500*3"),
        Just("reset*4"),
        Just("429/30, lost, reset"),
        Just("reject, 400"),
        Just("401"),
        Just("garbage*2, 503"),
    ];
    let end = prop_oneof![1 => Just(End::Stopped), 2 => Just(End::Killed)];
    prop_oneof![
        10 => prop::collection::vec(comer(), 1..5).prop_map(Step::Comes),
        3 => (any::<prop::sample::Index>(), any::<bool>(), prop::bool::weighted(0.3))
            .prop_map(|(which, flagged, elsewhere)| Step::Again { which, flagged, elsewhere }),
        3 => faults.prop_map(Step::Fails),
        5 => prop_oneof![2 => 0..30_i64, 3 => 0..2 * HOUR, 1 => 0..2 * DAY].prop_map(Step::Passes),
        2 => (-WRONG_BY..WRONG_BY).prop_map(Step::ClockIsAhead),
        2 => end.prop_map(Step::Restarts),
        1 => (0..SCRIPTS.len()).prop_map(Step::ScriptsChange),
        1 => Just(Step::Redrives),
    ]
}

/// What a team has configured, and what it forbids in consequence.
#[derive(Clone, Copy, Debug)]
enum Policy {
    /// Nothing: the defaults.
    Default,
    /// The rules of the README, reverse ETL as replays, and a field of their own.
    Ruled,
    /// What is late is dropped, early.
    Strict,
    /// The defaults, and anonymous behaviour is held until its person is known.
    Held,
}

impl Policy {
    fn config(self) -> Config {
        let rules = match self {
            Self::Default | Self::Held => "",
            Self::Ruled => {
                "[guard]\nreplay_flags = [\"context.replay\", \"properties.imported\"]\nretl_is_replay = true\n\
                 [[guard.rule]]\nevent = [\"Added to Cart\", \"Checkout Started\"]\nclass = \"late\"\n\
                 action = \"park\"\nmax_age = \"4h\"\n\
                 [[guard.rule]]\nevent = [\"Order *\"]\nclass = \"replay\"\naction = \"mark\"\n\
                 [customerio]\ntransport = \"v1\"\n"
            }
            Self::Strict => {
                "[guard]\nlate_after = \"20m\"\nreplay_flags = [\"context.replay\", \"properties.imported\"]\n\
                 [[guard.rule]]\nclass = \"late\"\ntype = \"track\"\naction = \"drop\"\n\
                 [[guard.rule]]\nclass = \"late\"\naction = \"park\"\n"
            }
        };
        let anonymous = if matches!(self, Self::Held) { "hold" } else { "send" };
        let source = |kind: &str| {
            format!(
                "[[source]]\nname = \"{kind}\"\nkind = \"{kind}\"\n\
                 identity = {{ anonymous = \"{anonymous}\", hold_for = \"3h\" }}\n"
            )
        };
        let sources = source("segment") + &source("rudderstack");
        config::parse(
            &format!("destination = \"emulator\"\n{sources}{rules}"),
            "policy.toml",
            &|_| None,
        )
        .unwrap()
    }

    /// Whether an event that came in so may start a campaign when Customer.io gets it at `at`.
    fn lets_start(self, came: &Came, at: Time) -> bool {
        let Came { comer, happened, .. } = came;
        let is_intent = matches!(comer.deed, Deed::Cart | Deed::Page | Deed::Screen);
        let flagged = match comer.flag {
            Flag::Nobody => false,
            Flag::Request | Flag::Field | Flag::Script => true,
            Flag::Path => !matches!(self, Self::Default | Self::Held),
            Flag::ReverseEtl => matches!(self, Self::Ruled),
        };
        if flagged {
            // Rules match names after the scripts, and only orders are let through, marked.
            return matches!(self, Self::Ruled) && comer.deed == Deed::Order;
        }
        // The clock that measures it may be wrong; what lies beyond that is certain.
        if is_intent && comer.delay > DAY + WRONG_BY {
            return false;
        }
        let late_after = if matches!(self, Self::Strict) { 20 * MINUTE } else { HOUR };
        // Where it comes in without a vendor in between, that clock also dated it.
        let wrong_by =
            if comer.ingress == Ingress::Api { 2 * WRONG_BY } else { WRONG_BY } + UNNOTICED;
        let age = at.millis_since(*happened) / 1000;
        let late = age > late_after + wrong_by + MINUTE;
        let by_vendor = comer.delay > DAY - WRONG_BY;
        let forbidden = is_intent || (matches!(self, Self::Strict) && !by_vendor);
        !(late && forbidden)
    }
}

/// How an event came in.
#[derive(Clone, Debug)]
struct Came {
    comer: Comer,
    /// When it really happened, by Customer.io's clock; the time of receipt where nobody says.
    happened: Time,
    /// When the vendor received it, by the same clock.
    received: Time,
    body: String,
}

/// Stages around the shipped ones. The first is in all of them: what a script flags stays flagged.
const FLAGS: &str = r#"fn transform(event, ctx) {
    if event.properties.old == true { event.replay("old"); }
    event
}"#;
const SCRIPTS: [&str; 4] = [
    "fn transform(event, ctx) { event }",
    "fn transform(event, ctx) { if event.properties.n % 3 == 0 { fail(\"not today\"); } event }",
    "fn transform(event, ctx) { if event.properties.n % 2 == 0 { event.timestamp = (); } else { \
        event.timestamp = event.timestamp.replaced(\".000Z\", \"Z\"); } event }",
    "fn transform(event, ctx) { if event.type == \"track\" { [event, event.copy()] } else { event } }",
];

static BUNDLES: LazyLock<Vec<Arc<Bundle>>> = LazyLock::new(|| SCRIPTS.map(bundle).into());

fn bundle(last: &str) -> Arc<Bundle> {
    let shipped = Bundle::shipped().unwrap();
    let mut files: BTreeMap<String, Vec<u8>> =
        shipped.files().map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).collect();
    let manifest = String::from_utf8(files["transforms.toml"].clone()).unwrap();
    let manifest = manifest.replacen("[[stage]]", "[[stage]]\nfile = \"flags\"\n\n[[stage]]", 1);
    let manifest = format!("{manifest}\n[[stage]]\nfile = \"last\"\n");
    files.insert("transforms.toml".into(), manifest.into_bytes());
    files.insert("flags.rhai".into(), format!("//! Flags.\n{FLAGS}\n").into_bytes());
    files.insert("last.rhai".into(), format!("//! Trouble.\n{last}\n").into_bytes());
    let bundle = Bundle::from_files(files).unwrap_or_else(|findings| panic!("{findings:?}"));
    Arc::new(bundle)
}

/// A history under way.
struct History {
    world: Option<World>,
    policy: Policy,
    came: Vec<Came>,
    /// How each event came in, by its number; more than once where it was sent again.
    by_number: HashMap<u64, Vec<Came>>,
}

impl History {
    fn world(&mut self) -> &mut World {
        self.world.as_mut().unwrap()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Comes(comers) => comers.into_iter().for_each(|comer| self.comes(comer)),
            Step::Again { which, flagged, elsewhere } => self.again(which, flagged, elsewhere),
            Step::Fails(text) => {
                let rule = FaultRule::parse(text).unwrap();
                self.world().emulator_mut().set_faults(vec![rule]);
            }
            Step::Passes(secs) => {
                let to = self.world().now().plus(Duration::from_secs(secs.unsigned_abs()));
                self.world().advance(to).unwrap();
            }
            Step::ClockIsAhead(secs) => self.world().step_clock(secs * 1000),
            Step::Restarts(end) => {
                let world = self.world.take().unwrap();
                self.world = Some(world.restart(end).unwrap());
            }
            Step::ScriptsChange(which) => {
                self.world().exchange_scripts(Arc::clone(&BUNDLES[which]))
            }
            Step::Redrives => {
                self.world().settle().unwrap();
                self.world().redrive().unwrap();
            }
        }
    }

    fn comes(&mut self, comer: Comer) {
        let number = self.by_number.len() as u64;
        let outside = self.world().outside();
        let before = |at: Time, secs: i64| Time::from_millis(at.millis() - secs * 1000);
        let received = before(outside, comer.delay);
        let happened = before(received, comer.age);
        let body = body(&comer, number, happened, received).to_string();
        let happened = if comer.has_time { happened } else { received };
        let came = Came { comer, happened, received, body };
        self.deliver(&came);
        self.by_number.entry(number).or_default().push(came.clone());
        self.came.push(came);
    }

    fn again(&mut self, which: prop::sample::Index, flagged: bool, elsewhere: bool) {
        if self.came.is_empty() {
            return;
        }
        let index = which.index(self.came.len());
        let mut came = self.came[index].clone();
        if flagged && came.comer.flag == Flag::Nobody {
            came.comer.flag = Flag::Request;
        }
        // The other vendor's rules for times differ: what they make of a wrong clock is its own case.
        came.comer.rudderstack ^= elsewhere && came.comer.skew == 0;
        let outside = self.world().outside();
        if came.comer.ingress == Ingress::Api {
            // An SDK says anew when it sends, and without a time nobody knows when it happened.
            came.body = body(&came.comer, index as u64, came.happened, outside).to_string();
            came.happened = if came.comer.has_time { came.happened } else { outside };
        } else {
            came.comer.delay = outside.millis_since(came.received) / 1000;
        }
        self.deliver(&came);
        self.by_number.entry(index as u64).or_default().push(came);
    }

    fn deliver(&mut self, came: &Came) {
        let delivery = Delivery {
            source: if came.comer.rudderstack { "rudderstack" } else { "segment" },
            ingress: came.comer.ingress,
            replay: (came.comer.flag == Flag::Request).then_some("march"),
            body: came.body.clone().into(),
        };
        let events = self.world().open(&delivery).unwrap();
        self.world().store(events).unwrap();
    }

    /// What could have started a campaign although it may not.
    fn misfires(&mut self) -> Vec<String> {
        let policy = self.policy;
        let world = self.world.as_ref().unwrap();
        let records: HashMap<u64, _> =
            world.emulator().events().map(|record| (record.seq, record)).collect();
        let fired = world.emulator().activity().filter_map(|entry| {
            let event = entry.event.as_ref().filter(|event| event.could_trigger)?;
            records.get(&event.seq?).copied()
        });
        let mut misfires = Vec::new();
        for record in fired {
            let number =
                record.data.get("n").and_then(Value::as_f64).expect("every event has a number");
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let ways = &self.by_number[&(number as u64)];
            if !ways.iter().any(|came| policy.lets_start(came, record.received_at)) {
                let at = record.received_at;
                misfires
                    .push(format!("{:?} got at {at}, under {policy:?}: {ways:#?}", record.name));
            }
        }
        misfires
    }
}

fn body(comer: &Comer, number: u64, happened: Time, received: Time) -> Value {
    let by_device = |at: Time| Time::from_millis(at.millis() + comer.skew * 1000);
    let (kind, name) = match comer.deed {
        Deed::Cart => ("track", "Added to Cart"),
        Deed::Order => ("track", "Order Completed"),
        Deed::Quiz => ("track", "Quiz Answered"),
        Deed::Page => ("page", "Cart"),
        Deed::Screen => ("screen", "Cart"),
        Deed::Identify => ("identify", ""),
        Deed::Alias => ("alias", ""),
    };
    let mut body = json!({"type": kind, "event": name, "name": name, "messageId": format!("m{number}"),
        "previousId": "u0", "traits": {"plan": "plus"},
        "properties": {"n": number, "url": "https://shop.example/"}});
    if comer.deed == Deed::Order {
        body["properties"]["order_id"] = json!(format!("o{}", comer.order));
    }
    if comer.named {
        body["userId"] = json!(format!("u{}", comer.person));
    }
    if let Some(anonymous) = comer.anonymous {
        body["anonymousId"] = json!(format!("a{anonymous}"));
    }
    if comer.ingress == Ingress::Webhook {
        body["receivedAt"] = json!(received.to_string());
    }
    if comer.has_time {
        // Segment corrects before it passes on; RudderStack does not.
        let corrected = comer.ingress == Ingress::Webhook && !comer.rudderstack;
        let stated = if corrected { happened } else { by_device(happened) };
        body["timestamp"] = json!(stated.to_string());
        body["originalTimestamp"] = json!(by_device(happened).to_string());
        body["sentAt"] = json!(by_device(received).to_string());
    }
    match comer.flag {
        Flag::Nobody | Flag::Request => {}
        Flag::Field => body["context"]["replay"] = json!(true),
        Flag::Path => body["properties"]["imported"] = json!(true),
        Flag::ReverseEtl => body["context"]["sources"]["job_run_id"] = json!("run-1"),
        Flag::Script => body["properties"]["old"] = json!(true),
    }
    body
}

/// What was tried, so that a test which proves nothing is noticed.
#[derive(Debug, Default)]
struct Tried {
    events: usize,
    fired: usize,
    forbidden: usize,
}

fn live_through(
    policy: Policy,
    steps: Vec<Step>,
    tried: &RefCell<Tried>,
) -> Result<(), TestCaseError> {
    let start = Time::parse("2026-03-14T12:00:00Z").unwrap();
    let folder = memory_folder();
    let setup = Setup::new(&policy.config(), Arc::clone(&BUNDLES[0]));
    let world = World::in_folder(&setup, start, folder.path()).unwrap();
    let mut history =
        History { world: Some(world), policy, came: Vec::new(), by_number: HashMap::new() };
    steps.into_iter().for_each(|step| history.take(step));

    history.take(Step::Fails("ok"));
    history.take(Step::ClockIsAhead(0));
    history.take(Step::Passes(6 * DAY));
    let misfires = history.misfires();
    prop_assert!(misfires.is_empty(), "{}", misfires.join("\n"));
    let pending = history.world().journal().pending();
    prop_assert_eq!(pending.total(), 0, "everything has ended: {:?}", pending);

    let mut tried = tried.borrow_mut();
    let emulator = history.world().emulator();
    tried.fired += emulator
        .activity()
        .filter(|entry| entry.event.as_ref().is_some_and(|event| event.could_trigger))
        .count();
    tried.events += history.by_number.len();
    let never = |ways: &Vec<Came>| !ways.iter().any(|came| policy.lets_start(came, came.happened));
    tried.forbidden += history.by_number.values().filter(|ways| never(ways)).count();
    Ok(())
}

fn number(variable: &str, default: u64) -> u64 {
    let said = std::env::var(variable).ok();
    said.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

#[test]
fn no_history_makes_an_event_start_a_campaign_that_the_policy_forbids() {
    let (histories, seed) = (number("SEGUE_HISTORIES", 64), number("SEGUE_SEED", 1));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let cases = Cases {
        cases: u32::try_from(histories).unwrap(),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(KEPT))),
        max_shrink_iters: 2000,
        ..Cases::default()
    };
    let mut runner =
        TestRunner::new_with_rng(cases, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let policies = prop_oneof![
        Just(Policy::Default),
        Just(Policy::Ruled),
        Just(Policy::Strict),
        Just(Policy::Held)
    ];
    let tried = RefCell::new(Tried::default());

    let result = runner
        .run(&(policies, prop::collection::vec(step(), 5..60)), |(policy, steps)| {
            live_through(policy, steps, &tried)
        });

    println!("{histories} histories, seed {seed}: {:?}", tried.borrow());
    if let Err(failure) = result {
        panic!("SEGUE_SEED={seed}: {failure}");
    }
    let tried = tried.borrow();
    assert!(histories < 20 || (tried.fired > 0 && tried.forbidden > 0), "{tried:?}");
}

#[test]
fn programs_that_are_being_started_keep_no_journal_from_opening_again() {
    let folder = memory_folder();
    let setup = Setup::new(&Policy::Default.config(), Arc::clone(&BUNDLES[0]));
    let start = Time::parse("2026-03-14T12:00:00Z").unwrap();
    let world = World::in_folder(&setup, start, folder.path()).unwrap();
    let over = AtomicBool::new(false);

    let restarted = std::thread::scope(|scope| {
        // Between its fork and its exec, a program holds whatever this process had open.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                std::process::Command::new("true").status().unwrap();
            }
        });
        let restarted = (0..30).try_fold(world, |world, _| world.restart(End::Killed));
        over.store(true, Ordering::Relaxed);
        restarted
    });

    assert_eq!(restarted.unwrap().now(), start);
}
