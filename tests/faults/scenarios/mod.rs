//! The scenarios, and what they share.

mod answers;
mod crashes;
mod disk;
mod door;
mod kinds;
mod outages;
mod pace;
mod power;
mod weather;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use segue::clock::SystemClock;
use segue::emulator::settings::History;
use segue::emulator::{self, Emulator, FaultRule, Settings};

use crate::Options;
use crate::load::Load;
use crate::oracle::{Oracle, Verdict};
use crate::report::Report;
use crate::server::{Counts, Segue, Setup};

/// What is only in ids of people and in payloads.
const PERSONAL: [&str; 5] = ["person-", "visitor-", "former-", "Grüße", "xxxxx"];

/// Runs a scenario.
type Run = fn(Options) -> Pin<Box<dyn Future<Output = Report>>>;

/// A scenario by its name.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
}

/// All of them; those that wait longest come first.
pub(crate) const ALL: [Scenario; 27] = [
    Scenario { name: "slow", run: |options| Box::pin(outages::slow(options)) },
    Scenario { name: "slowloris", run: |options| Box::pin(door::slowloris(options)) },
    Scenario { name: "order", run: |options| Box::pin(answers::order(options)) },
    Scenario { name: "outage", run: |options| Box::pin(outages::outage(options)) },
    Scenario { name: "weather", run: |options| Box::pin(weather::weather(options)) },
    Scenario { name: "kills", run: |options| Box::pin(crashes::kills(options)) },
    Scenario { name: "power-cut", run: |options| Box::pin(power::cuts(options)) },
    Scenario { name: "kinds", run: |options| Box::pin(kinds::kinds(options)) },
    Scenario { name: "backfill", run: |options| Box::pin(pace::backfill(options)) },
    Scenario { name: "hot", run: |options| Box::pin(pace::hot(options)) },
    Scenario { name: "storm", run: |options| Box::pin(outages::storm(options)) },
    Scenario { name: "soak", run: |options| Box::pin(pace::soak(options)) },
    Scenario { name: "lost-200", run: |options| Box::pin(crashes::lost_answers(options)) },
    Scenario { name: "resets", run: |options| Box::pin(answers::resets(options)) },
    Scenario { name: "http2", run: |options| Box::pin(answers::http2(options)) },
    Scenario { name: "partial", run: |options| Box::pin(answers::partial(options)) },
    Scenario { name: "rotated-key", run: |options| Box::pin(outages::rotated_key(options)) },
    Scenario { name: "quota", run: |options| Box::pin(disk::quota(options)) },
    Scenario { name: "disk-full", run: |options| Box::pin(disk::full(options)) },
    Scenario { name: "flips", run: |options| Box::pin(disk::flips(options)) },
    Scenario { name: "read-only", run: |options| Box::pin(power::read_only(options)) },
    Scenario { name: "disk-errors", run: |options| Box::pin(power::errors(options)) },
    Scenario { name: "slow-disk", run: |options| Box::pin(power::slow(options)) },
    Scenario { name: "stop", run: |options| Box::pin(crashes::stop(options)) },
    Scenario { name: "newer-journal", run: |options| Box::pin(crashes::newer(options)) },
    Scenario { name: "copies", run: |options| Box::pin(door::copies(options)) },
    Scenario { name: "hostile", run: |options| Box::pin(door::hostile(options)) },
];

/// A server with an emulator behind it, and an oracle beside.
pub(crate) struct World {
    pub(crate) segue: Segue,
    pub(crate) emulator: emulator::Running,
    pub(crate) oracle: Arc<Oracle>,
}

impl World {
    /// The server speaks to the emulator itself.
    pub(crate) async fn start(setup: Setup) -> Self {
        let emulator = emulate();
        Self::behind(Setup { url: emulator.url(), ..setup }, emulator).await
    }

    /// The server speaks to whatever `setup` names.
    pub(crate) async fn behind(setup: Setup, emulator: emulator::Running) -> Self {
        let segue = Segue::start(&setup).await;
        Self { segue, emulator, oracle: Arc::default() }
    }

    /// A load at so many events a second.
    pub(crate) fn load(&self, rate: u64) -> Load {
        Load::new(&self.segue.addr, rate)
    }

    /// Tells the emulator to fail, in the short form of its faults.
    pub(crate) fn fail(&self, rules: &[&str]) {
        let rules = rules.iter().map(|rule| FaultRule::parse(rule).unwrap()).collect();
        self.emulator.lock().set_faults(rules);
    }

    /// Judges everything, and writes what must always hold.
    pub(crate) async fn judge(&self, report: &mut Report) -> Verdict {
        self.judge_but(report, |_, _| false).await
    }

    /// The same; `excused` says which events need not have arrived.
    pub(crate) async fn judge_but(
        &self,
        report: &mut Report,
        excused: impl Fn(u64, u64) -> bool,
    ) -> Verdict {
        let verdict = self.oracle.judge(&self.emulator, excused);
        verdict.write(report);
        if verdict.lost > 0 {
            let dead = self.segue.dead_letters().await;
            eprintln!("{}: dead letters: {:?}", report.name, &dead[..dead.len().min(5)]);
        }
        self.balance(report, verdict.arrived + verdict.nasty).await;
        verdict
    }

    /// What no log may hold: that something panicked, who somebody is, and what an event carries.
    fn read_log(&self, report: &mut Report) {
        let panics = self.segue.said(&["panicked"]);
        report.must("panics", "0", panics.len(), panics.is_empty());
        let personal = self.segue.said(&PERSONAL);
        if let Some(line) = personal.first() {
            eprintln!("{}: in the log: {line}", report.name);
        }
        report.must(
            "lines of the log with ids or payload",
            "0",
            personal.len(),
            personal.is_empty(),
        );
    }

    /// Asks the server what it counted: just those that `arrived` as delivered, and nothing left over. An
    /// event that is stored twice arrives once by its ULID, and is delivered twice in the journal. Then reads
    /// its log.
    pub(crate) async fn balance(&self, report: &mut Report, arrived: u64) {
        let Counts { accepted, redriven, delivered, dropped, dead_lettered, pending } =
            self.segue.counts().await;
        let once = delivered == arrived;
        report.must("delivered, as the server counted", arrived, delivered, once);
        let [came, went] = [accepted + redriven, delivered + dropped + dead_lettered + pending];
        report.must("accepted = ended + pending", came, went, came == went);
        self.read_log(report);
    }

    /// How many events Customer.io has. Those of them that Segue does not know to be delivered are on
    /// their way: they are sent again when it goes down.
    pub(crate) fn arrived(&self) -> u64 {
        self.emulator.lock().events().count() as u64
    }

    /// How many requests Customer.io got.
    pub(crate) fn requests(&self) -> usize {
        self.emulator.lock().requests().count()
    }
}

/// An emulator that forgets nothing.
pub(crate) fn emulate() -> emulator::Running {
    let history = History {
        events: usize::MAX,
        activity: usize::MAX,
        event_ids: usize::MAX,
        requests: 200_000,
        request_bytes: 64 << 20,
        ..History::default()
    };
    let settings = Settings { history, ..Settings::default() };
    let local = ([127, 0, 0, 1], 0).into();
    emulator::serve(local, Emulator::new(settings), Arc::new(SystemClock)).unwrap()
}
