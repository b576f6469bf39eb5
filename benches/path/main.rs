//! What an event costs on its way through Segue, as CPU time of the server's process and as a ratio
//! to parse-and-ack of the same run; how long it takes; how much memory that needs.
//!
//! `cargo bench --bench path` runs everything; `-- ratios`, `-- threads`, `-- latency` or
//! `-- stages` one part of it. Servers are processes of their own, so the load does not count. Machines are noisy, and change
//! their speed for minutes: rounds are interleaved, and only figures of one run may be compared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod baseline;
mod event;
mod figures;
mod load;
mod process;
mod sink;
mod stages;

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use figures::{Series, percentile};
use load::Shape;
use process::{ROLE, Server};
use sink::Arrivals;

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounds, each of which measures everything once.
const ROUNDS: usize = 7;
/// Events of a run, at most: each has a number of its own.
const MOST_EVENTS: usize = 4_000_000;
/// How requests are sent.
const SINGLES: Shape = Shape { batch: 1, connections: 32 };
const BATCHES: Shape = Shape { batch: 100, connections: 8 };
/// How many events the senders are ahead of the sink at most, unless a burst is meant: what is
/// further ahead is read back from disk.
const AHEAD: usize = 3_000;
/// Where Segue takes events.
const WEBHOOK: &str = "/webhook/web";
/// How long everything may take to arrive.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    match std::env::var(ROLE).as_deref() {
        Ok("baseline") => return baseline::serve(),
        Ok("stages") => return stages::print(),
        _ => {}
    }
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|word| word == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("one event: {} bytes", event::one(0).len());
    if wanted("ratios") {
        runtime.block_on(ratios());
    }
    if wanted("threads") {
        runtime.block_on(threads());
    }
    if wanted("latency") {
        runtime.block_on(latency());
    }
    if wanted("stages") {
        let this = std::env::current_exe().unwrap();
        assert!(Command::new(this).env(ROLE, "stages").status().unwrap().success());
    }
}

/// Numbers for events that no server has seen.
struct Numbers(AtomicUsize);

impl Numbers {
    fn take(&self, count: usize) -> Range<usize> {
        let first = self.0.fetch_add(count, Ordering::Relaxed);
        assert!(first + count <= MOST_EVENTS, "the run has too many events");
        first..first + count
    }
}

/// Segue with a journal on disk and the shipped scripts, in front of a sink.
struct Segue {
    server: Server,
    arrivals: Arc<Arrivals>,
    _folder: tempfile::TempDir,
}

impl Segue {
    /// Starts one; the sink answers every request with `status`.
    async fn start(status: &'static str) -> Self {
        let arrivals = Arrivals::new(MOST_EVENTS);
        let sink = sink::serve(status, Arc::clone(&arrivals)).await;
        // On the disk of the repository: a temporary folder may be memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = folder.path().join("segue.toml");
        let transforms = Path::new(env!("CARGO_MANIFEST_DIR")).join("transforms");
        let text = format!(
            "listen = \"127.0.0.1:0\"\ntransforms = {transforms:?}\n[admin]\nlisten = \"\"\n\
             [log]\nfilter = \"off\"\n[customerio]\nsite_id = \"bench\"\napi_key = \"bench\"\n\
             url = \"http://{sink}\"\n[[source]]\nname = \"web\"\nkind = \"segment\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
        command.args(["serve", "--config"]).arg(&file);
        Self { server: Server::start(command), arrivals, _folder: folder }
    }

    /// Sends events as they are dealt with, and waits until all have arrived and been written down.
    async fn deliver(&self, numbers: Range<usize>, shape: Shape) {
        self.deliver_ahead(numbers, shape, AHEAD).await;
    }

    /// The same, up to so many events ahead of what has arrived.
    async fn deliver_ahead(&self, numbers: Range<usize>, shape: Shape, ahead: usize) {
        let all = self.arrivals.count() + numbers.len();
        let gate = Some((Arc::clone(&self.arrivals), ahead));
        load::send_all(self.server.addr, WEBHOOK, numbers, shape, gate).await;
        self.arrived(all).await;
        self.server.settle();
    }

    async fn arrived(&self, all: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.arrivals.count() < all {
            assert!(Instant::now() < deadline, "{} of {all} arrived", self.arrivals.count());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// CPU time of a server for `count` events, in microseconds for each.
async fn cost(server: &Server, count: usize, work: impl Future<Output = ()>) -> f64 {
    server.settle();
    let before = server.cpu_micros();
    work.await;
    figures::float(server.cpu_micros() - before) / figures::float(count)
}

async fn ratios() {
    let numbers = Numbers(AtomicUsize::new(0));
    let baseline = Server::role("baseline");
    let whole = Segue::start("200 OK").await;
    let refused = Segue::start("401 Unauthorized").await;
    // Nothing leaves the refused one, so it soon holds all that it will hold in memory and runs no
    // more scripts: what is left is the way into the journal.
    let held = numbers.take(30_000);
    load::send_all(refused.server.addr, WEBHOOK, held, BATCHES, None).await;
    for shape in [SINGLES, BATCHES] {
        load::send_all(baseline.addr, "/scripts", numbers.take(5_000), shape, None).await;
        whole.deliver(numbers.take(5_000), shape).await;
    }
    for shape in [SINGLES, BATCHES] {
        let names = [
            "read and answer",
            "parse-and-ack",
            "parse + scripts",
            "whole path",
            "whole path, burst",
            "accept only",
        ];
        let mut series = names.map(Series::new);
        let events = if shape.batch == 1 { 8_000 } else { 20_000 };
        for _ in 0..ROUNDS {
            for (at, path) in ["/ack", "/parse", "/scripts"].into_iter().enumerate() {
                let count = if at < 2 { 2 * events } else { events };
                let sent = load::send_all(baseline.addr, path, numbers.take(count), shape, None);
                series[at].add(cost(&baseline, count, sent).await);
            }
            for (at, ahead) in [(3, AHEAD), (4, MOST_EVENTS)] {
                let delivered = whole.deliver_ahead(numbers.take(events), shape, ahead);
                series[at].add(cost(&whole.server, events, delivered).await);
            }
            let accepted = async {
                let events = numbers.take(events);
                load::send_all(refused.server.addr, WEBHOOK, events, shape, None).await;
                refused.server.settle();
            };
            series[5].add(cost(&refused.server, events, accepted).await);
        }
        let title = format!("{} to a request, {} connections", shape.batch, shape.connections);
        figures::print_ratios(&title, &series, 1);
    }
    let requests = whole.arrivals.requests();
    println!(
        "{} events to a request to Customer.io, on average",
        whole.arrivals.count() / requests
    );
}

/// Which threads of the whole path it goes to; long enough for a profiler to be attached.
async fn threads() {
    const EVENTS: usize = 150_000;
    let segue = Segue::start("200 OK").await;
    let numbers = Numbers(AtomicUsize::new(0));
    for shape in [SINGLES, BATCHES] {
        segue.deliver(numbers.take(5_000), shape).await;
        let (batch, events) = (shape.batch, if shape.batch == 1 { EVENTS / 5 } else { EVENTS });
        let (before, start) = (segue.server.threads_micros(), Instant::now());
        segue.deliver(numbers.take(events), shape).await;
        println!(
            "\n{batch} to a request, process {}: us CPU an event by thread",
            segue.server.id()
        );
        let mut all = 0.0;
        for (name, spent) in segue.server.threads_micros() {
            let spent = spent - before.get(&name).copied().unwrap_or(0);
            let each = figures::float(spent) / figures::float(events);
            all += each;
            println!("  {name:<18} {each:>7.2}");
        }
        println!("  {:<18} {all:>7.2}   in {:.1} s", "together", start.elapsed().as_secs_f64());
    }
}

/// Single events at 1,000 a second, and memory.
async fn latency() {
    const PER_SECOND: u32 = 1000;
    const EVENTS: usize = 20_000;
    let segue = Segue::start("200 OK").await;
    let numbers = Numbers(AtomicUsize::new(0));
    segue.deliver(numbers.take(2_000), SINGLES).await;
    let base = segue.arrivals.base;
    let addr = segue.server.addr;
    let (all, before) = (segue.arrivals.count() + EVENTS, segue.server.cpu_micros());
    let exchanges =
        load::send_paced(addr, WEBHOOK, numbers.take(EVENTS), PER_SECOND, (64, base)).await;
    segue.arrived(all).await;
    segue.server.settle();
    let cpu = figures::float(segue.server.cpu_micros() - before) / figures::float(EVENTS);
    let mut answered: Vec<Duration> = exchanges.iter().map(|one| one.answered - one.sent).collect();
    let mut arrived: Vec<Duration> = exchanges
        .iter()
        .map(|one| segue.arrivals.at(one.event).unwrap().saturating_sub(one.answered))
        .collect();
    println!("\n{PER_SECOND} single events a second for {} s, {cpu:.1} us CPU each", EVENTS / 1000);
    for (what, times) in [("request to 200", &mut answered), ("200 to Customer.io", &mut arrived)] {
        println!(
            "  {what:<20} p50 {:6.1} ms   p99 {:6.1} ms   max {:6.1} ms",
            percentile(times, 50.0),
            percentile(times, 99.0),
            percentile(times, 100.0)
        );
    }
    let (now, most) = segue.server.memory_mib();
    println!("  memory after that {now} MiB, at most {most} MiB");
    segue.deliver(numbers.take(100_000), BATCHES).await;
    let (now, most) = segue.server.memory_mib();
    println!("  memory after 100,000 more in batches of 100: {now} MiB, at most {most} MiB");
    segue.deliver_ahead(numbers.take(100_000), BATCHES, MOST_EVENTS).await;
    let (now, most) = segue.server.memory_mib();
    println!("  memory after 100,000 more at once: {now} MiB, at most {most} MiB");
}
