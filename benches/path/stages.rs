//! Where it goes: every stage by itself, in this process, on one thread, in batches of 100.
//!
//! CPU time of the whole process, because the journal writes on a thread of its own; nothing else
//! runs meanwhile. HTTP in and out is not in it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use segue::app;
use segue::clock::{Clock, SystemClock, Time};
use segue::config::{self, Config};
use segue::delivery::Flight;
use segue::destination::customerio::request;
use segue::destination::customerio::response::Answer;
use segue::guard;
use segue::identity::Facts;
use segue::journal::sqlite::{SqliteJournal, SqliteOptions};
use segue::journal::{Accepted, Journal, Seq, Stored};
use segue::pipeline::{self, Prepared};
use segue::relay::Core;
use segue::spec::{self, Arrival, Ingress, RawCall, Traffic, Vendor};
use segue::transform::{Bundle, Context, Runner, shipped};
use serde_json::value::RawValue;

use crate::event;
use crate::figures::Series;

const BATCH: usize = 100;
const BATCHES: usize = 60;
const ROUNDS: usize = 9;

/// Measures and prints.
pub(crate) fn print() {
    // Scripts need the stack of a script thread.
    let thread = std::thread::Builder::new().stack_size(16 << 20).spawn(measure).unwrap();
    thread.join().unwrap();
}

/// The stages in the order of the path.
#[derive(Clone, Copy)]
enum Stage {
    Split,
    Parse,
    Fingerprint,
    Accept,
    Read,
    Prepare,
    Normalise,
    Clone,
    Scripts,
    InAndOut,
    Calls,
    Guard,
    Contract,
    Prefetch,
    Admit,
    Resolve,
    Compose,
    Conclude,
    Settle,
    LetGo,
}

const STAGES: [(Stage, &str); 20] = [
    (Stage::Split, "find the elements"),
    (Stage::Parse, "parse"),
    (Stage::Fingerprint, "fingerprint, key"),
    (Stage::Accept, "journal: accept"),
    (Stage::Read, "journal: read"),
    (Stage::Prepare, "prepare, all of it"),
    (Stage::Normalise, ". normalise"),
    (Stage::Clone, ". a copy of the event"),
    (Stage::Scripts, ". scripts"),
    (Stage::InAndOut, ". . in and out of them"),
    (Stage::Calls, ". . and empty handlers"),
    (Stage::Guard, ". guard"),
    (Stage::Contract, ". contract, twice"),
    (Stage::Prefetch, "core: look facts up"),
    (Stage::Admit, "core: admit"),
    (Stage::Resolve, ". resolve, map, encode"),
    (Stage::Compose, "core: compose a request"),
    (Stage::Conclude, "core: answer, conclude"),
    (Stage::Settle, "journal: settle"),
    (Stage::LetGo, "let go of it"),
];

type Spent = [Duration; STAGES.len()];

/// Inside another stage: not counted twice.
fn is_part(name: &str) -> bool {
    name.starts_with('.')
}

struct Bench {
    config: Arc<Config>,
    journal: Arc<SqliteJournal>,
    runner: Runner,
    /// The shipped stages for another type of call: an event goes in and out.
    unmatched: Runner,
    /// The shipped stages with handlers that do nothing.
    empty: Runner,
    core: Core,
    facts: Facts,
    after: Option<Seq>,
    now: Time,
    spent: Spent,
}

fn measure() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut bench = Bench::new(folder.path());
    let mut series = STAGES.map(|(_, name)| Series::new(name));
    let mut numbers = 0;
    // The first round warms up.
    for round in 0..=ROUNDS {
        bench.spent = [Duration::ZERO; STAGES.len()];
        for _ in 0..BATCHES {
            bench.batch(numbers);
            numbers += BATCH;
        }
        if round > 0 {
            for (series, spent) in series.iter_mut().zip(bench.spent) {
                series.add(spent.as_secs_f64() * 1e6 / crate::figures::float(BATCH * BATCHES));
            }
        }
    }
    println!("\nwhere it goes: us CPU an event, in batches of {BATCH}, without HTTP");
    let mut sum = 0.0;
    for ((_, name), series) in STAGES.iter().zip(&series) {
        let (median, least, most) = series.spread();
        let indent = if is_part(name) { "    " } else { "  " };
        println!("{indent}{:<26} {median:>6.2}  ({least:.2} .. {most:.2})", name);
        sum += if is_part(name) { 0.0 } else { median };
    }
    println!("  {:<26} {sum:>6.2}", "together");
}

impl Bench {
    fn new(folder: &std::path::Path) -> Self {
        let text = "[customerio]\nsite_id = \"s\"\napi_key = \"k\"\n[[source]]\nname = \"web\"\n";
        let config = Arc::new(config::parse(text, "bench.toml", &|_| None).unwrap());
        let options = SqliteOptions { directory: folder.into(), ..SqliteOptions::default() };
        let journal = Arc::new(SqliteJournal::open(options, Arc::new(SystemClock)).unwrap());
        let shared: Arc<dyn Journal> = Arc::clone(&journal) as Arc<dyn Journal>;
        let now = SystemClock.now();
        let courier = app::courier_config(&config);
        Self {
            core: Core::new(Arc::clone(&config), Arc::clone(&shared), courier, now).unwrap(),
            facts: Facts::new(shared),
            runner: Runner::new(Arc::new(Bundle::shipped().unwrap())),
            unmatched: Runner::new(shipped_with("fn on_page(event, ctx) { event }")),
            empty: Runner::new(shipped_with("fn on_track(event, ctx) { event }")),
            config,
            journal,
            after: None,
            now,
            spent: [Duration::ZERO; STAGES.len()],
        }
    }

    fn batch(&mut self, first: usize) {
        let body = Bytes::from(event::batch(first..first + BATCH));
        // A tick later each time: the rate limit must not hold a request back.
        self.now = self.now.plus(Duration::from_millis(10));
        let accepted = self.accept(&body);
        let events: Vec<RawCall> = accepted.iter().map(|accepted| accepted.call.clone()).collect();
        timed(&mut self.spent, Stage::Accept, || {
            self.journal.accept(accepted).blocking_recv().unwrap().unwrap()
        });
        let stored = timed(&mut self.spent, Stage::Read, || {
            self.journal.read(Traffic::Live, self.after, BATCH).unwrap()
        });
        self.after = stored.last().map(|stored| stored.seq);
        self.prepare_by_parts(events);
        let prepared = self.prepare(&stored);
        self.resolve(&prepared);
        self.deliver(&stored, &prepared);
        timed(&mut self.spent, Stage::LetGo, || drop((stored, prepared)));
    }

    fn accept(&mut self, body: &Bytes) -> Vec<Accepted> {
        let elements = timed(&mut self.spent, Stage::Split, || {
            let elements: Vec<&RawValue> = serde_json::from_slice(body).unwrap();
            elements.into_iter().map(|one| body.slice_ref(one.get().as_bytes())).collect::<Vec<_>>()
        });
        let arrival = Arc::new(Arrival {
            source: "web".into(),
            ingress: Ingress::Webhook,
            accepted_at: self.now,
            trusted: true,
            ip: Some("127.0.0.1".into()),
            ..Arrival::default()
        });
        let mut calls: Vec<RawCall> =
            elements.into_iter().map(|body| RawCall::new(Arc::clone(&arrival), body)).collect();
        timed(&mut self.spent, Stage::Parse, || {
            calls.iter_mut().for_each(|call| {
                black_box(call.fields());
            });
        });
        timed(&mut self.spent, Stage::Fingerprint, || {
            let accepted = |mut call: RawCall| {
                let key = call.fingerprint().dedupe_key("web");
                Accepted { key, call }
            };
            calls.into_iter().map(accepted).collect()
        })
    }

    /// What [`pipeline::prepare`] is made of, one by one.
    fn prepare_by_parts(&mut self, mut calls: Vec<RawCall>) {
        let events = timed(&mut self.spent, Stage::Normalise, || {
            let normalise = |call: &mut RawCall| spec::normalise(call, Vendor::Segment).unwrap();
            calls.iter_mut().map(normalise).collect::<Vec<_>>()
        });
        timed(&mut self.spent, Stage::Clone, || {
            events.iter().for_each(|event| drop(black_box(event.clone())))
        });
        let context = Context {
            source: "web".into(),
            ingress: Ingress::Webhook,
            now: self.now,
            ..Context::default()
        };
        let runners = [
            (Stage::InAndOut, &mut self.unmatched),
            (Stage::Calls, &mut self.empty),
            (Stage::Scripts, &mut self.runner),
        ];
        for (stage, runner) in runners {
            let events = events.clone();
            timed(&mut self.spent, stage, || {
                for event in events {
                    black_box(runner.run_with_original(event, &mut || None, &context));
                }
            });
        }
    }

    fn prepare(&mut self, stored: &[Stored]) -> Vec<Prepared> {
        let calls: Vec<RawCall> = stored.iter().map(|one| one.call.clone().unwrap()).collect();
        let (config, now) = (Arc::clone(&self.config), self.now);
        let prepared = timed(&mut self.spent, Stage::Prepare, || {
            let prepare = |call| pipeline::prepare(&config, &mut self.runner, call, 0, now);
            calls.into_iter().map(prepare).collect::<Vec<_>>()
        });
        timed(&mut self.spent, Stage::Guard, || {
            for part in prepared.iter().flat_map(|event| event.result.as_ref().unwrap()) {
                black_box(guard::judge(&config.guard, &part.case, now));
            }
        });
        let bundle = Arc::clone(self.runner.bundle());
        timed(&mut self.spent, Stage::Contract, || {
            for part in prepared.iter().flat_map(|event| event.result.as_ref().unwrap()) {
                // As it arrived, and as the scripts left it.
                for _ in 0..2 {
                    black_box(bundle.contracts().look(&part.event, &part.case.canonical));
                }
            }
        });
        prepared
    }

    /// What is decided in order, over facts of its own.
    fn resolve(&mut self, prepared: &[Prepared]) {
        let (config, now) = (Arc::clone(&self.config), self.now);
        let parts: Vec<_> =
            prepared.iter().flat_map(|event| event.result.as_ref().unwrap()).collect();
        let keys = parts.iter().flat_map(|part| pipeline::facts_about(&config, part)).collect();
        self.facts.prefetch(keys, now).unwrap();
        let resolved = timed(&mut self.spent, Stage::Resolve, || {
            let resolve =
                |part| pipeline::resolve(&config, part, &mut self.facts, false, now).unwrap();
            parts.into_iter().map(resolve).collect::<Vec<_>>()
        });
        for (key, _) in resolved.iter().flat_map(|resolved| &resolved.taught) {
            self.facts.settled(key);
        }
    }

    fn deliver(&mut self, stored: &[Stored], prepared: &[Prepared]) {
        let (now, later) = (self.now, self.now.plus(Duration::from_millis(500)));
        let before = cpu_time();
        self.core.prefetch(prepared.iter(), now).unwrap();
        let looked_up = cpu_time();
        for (stored, prepared) in stored.iter().zip(prepared) {
            self.core.admit(stored, prepared, now).unwrap();
        }
        let admitted = cpu_time();
        self.core.poll(now);
        let flights = self.core.poll(later);
        assert!(!flights.is_empty(), "something must be ready to be sent");
        let mut sent = Vec::new();
        for flight in flights {
            let Flight::Batch(id, items) = flight else { panic!("only batches are expected") };
            black_box(request::batch_request(&items));
            sent.push(id);
        }
        let composed = cpu_time();
        for id in sent {
            self.core.answer(id, Answer::Accepted { rejected: Vec::new() }, later);
        }
        while self.core.next_report().is_some() {}
        let commit = self.core.take_commit().unwrap();
        let concluded = cpu_time();
        assert_eq!(commit.changes.len(), stored.len(), "every event must have its end");
        self.journal.commit(commit.changes).blocking_recv().unwrap().unwrap();
        let settled = cpu_time();
        self.core.committed(commit.id);
        self.spent[Stage::Prefetch as usize] += looked_up - before;
        self.spent[Stage::Admit as usize] += admitted - looked_up;
        self.spent[Stage::Compose as usize] += composed - admitted;
        self.spent[Stage::Conclude as usize] += concluded - composed;
        self.spent[Stage::Settle as usize] += settled - concluded;
    }
}

/// The shipped bundle, with this in the place of every stage's script.
fn shipped_with(script: &str) -> Arc<Bundle> {
    let files = shipped::FILES.iter().map(|(path, text)| {
        let is_stage = path.ends_with(".rhai") && !path.contains('/');
        ((*path).to_owned(), if is_stage { script } else { text }.as_bytes().to_vec())
    });
    Arc::new(Bundle::from_files(files.collect()).unwrap())
}

/// Runs `work` and adds what it took to its stage.
fn timed<T>(spent: &mut Spent, stage: Stage, work: impl FnOnce() -> T) -> T {
    let before = cpu_time();
    let result = work();
    spent[stage as usize] += cpu_time() - before;
    result
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
