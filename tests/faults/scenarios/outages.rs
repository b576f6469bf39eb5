//! Customer.io as a whole is not well: down, slow, overrun, or of another opinion about the key.

use std::time::Duration;

use segue::clock::{Clock as _, SystemClock, Time};
use segue::emulator::FaultRule;
use tokio::time::{Instant, sleep};

use super::{World, emulate};
use crate::Options;
use crate::load::start;
use crate::proxy::{Mode, Proxy};
use crate::report::{Report, mebibytes, millis, percentile, seconds};
use crate::server::{Segue, Setup};

/// Down for a while: it answers 503 first, then nobody is there at all. The memory fills up meanwhile: what
/// may wait there goes by how many requests fly at a time, 1,000 events for each.
pub(super) async fn outage(options: Options) -> Report {
    let mut report = Report::new("outage");
    let emulator = emulate();
    let proxy = Proxy::start(emulator.addr()).await;
    let filled = options.rate * options.outage.as_secs() / 2 / 1000;
    let customerio = format!("concurrency = {}", filled.clamp(1, 8));
    let setup = Setup { url: proxy.url(), customerio, ..Setup::default() };
    let world = World::behind(setup, emulator).await;
    let sending = start(&world.load(options.rate), &world.oracle, None);
    sleep(Duration::from_secs(1)).await;
    let before = world.segue.memory_mib();
    world.fail(&["503, repeat"]);
    sleep(options.outage / 2).await;
    proxy.set(Mode::Refuse);
    let mut most = before;
    let until = Instant::now() + options.outage / 2;
    while Instant::now() < until {
        most = most.max(world.segue.memory_mib());
        sleep(Duration::from_millis(200)).await;
    }
    let pending = world.segue.status().await.unwrap()["pending"]["live"].as_u64().unwrap_or(0);
    let mut seen = sending.stop().await;
    world.fail(&[]);
    proxy.set(Mode::Pass);
    let requests = world.requests();
    let recovered = Instant::now();
    // The first second after the first success is what a herd would show.
    while world.requests() == requests {
        sleep(Duration::from_millis(5)).await;
    }
    sleep(Duration::from_secs(1)).await;
    let rush = world.requests() - requests;
    world.segue.drained().await;
    let drained = recovered.elapsed();

    let down = format!("{}; {}", options.rate, seconds(options.outage));
    report.figure("events a second; down for", down);
    report.figure("events that waited at the end", pending);
    let others: u64 = seen.others.values().sum();
    report.must("requests not answered 200", "0", others, others == 0);
    let late = percentile(&mut seen.answers, 99);
    report.at_most("p99 of the answers", [250, 10_000].map(Duration::from_millis), late, millis);
    report.at_most("memory grew by", [100, 300], most.saturating_sub(before), mebibytes);
    report.must("drained in", "<= 900 s", seconds(drained), drained <= Duration::from_secs(900));
    report.must("requests in the first second after", "<= 330, the rate", rush, rush <= 330);
    world.judge(&mut report).await;
    report
}

/// Answers that come late, byte by byte, or never: the deadline of 10 s ends them.
pub(super) async fn slow(options: Options) -> Report {
    let mut report = Report::new("slow");
    let emulator = emulate();
    let proxy = Proxy::start(emulator.addr()).await;
    let world = World::behind(Setup { url: proxy.url(), ..Setup::default() }, emulator).await;
    let sending = start(&world.load(options.rate / 2), &world.oracle, None);
    sleep(Duration::from_secs(1)).await;
    world.fail(&["slow/30000*3"]);
    let mut most = 0;
    // Where that is longer than the deadline, those that hung have failed, and fewer are on their way.
    let swallowed = options.outage.max(Duration::from_secs(4));
    for (mode, span) in
        [(Mode::Trickle(3, 1000), Duration::from_secs(4)), (Mode::Swallow, swallowed)]
    {
        proxy.set(mode);
        let until = Instant::now() + span;
        while Instant::now() < until {
            most = most.max(world.segue.in_flight().await);
            sleep(Duration::from_millis(50)).await;
        }
    }
    let hanging = world.segue.in_flight().await;
    proxy.set(Mode::Pass);
    let healed = Instant::now();
    let mut seen = sending.stop().await;
    world.segue.drained().await;
    let took = healed.elapsed();

    report.figure("requests that hung at the end", hanging);
    report.must("requests on their way at most", "<= 8", most, most <= 8);
    let others: u64 = seen.others.values().sum();
    report.must("requests not answered 200", "0", others, others == 0);
    report.figure("p99 of the answers", millis(percentile(&mut seen.answers, 99)));
    report.must("well again after", "<= 60 s", seconds(took), took <= Duration::from_secs(60));
    world.judge(&mut report).await;
    report
}

/// Answers 429 again and again, with every kind of `Retry-After`.
pub(super) async fn storm(options: Options) -> Report {
    let mut report = Report::new("storm");
    let mut world = World::start(Setup::default()).await;
    world.fail(&["429/1, repeat"]);
    let sending = start(&world.load(options.rate / 4), &world.oracle, None);
    let before = world.requests();
    sleep(Duration::from_secs(4)).await;
    let asked = world.requests() - before;
    // Nobody waits for that here: a start forgets it.
    let endless = refused(&world, "1000000000".into()).await;
    let enough = world.oracle.acknowledged() + options.rate / 2;
    let taken = async |_: &Segue| (world.oracle.acknowledged() >= enough).then_some(());
    world.segue.until("events are taken", taken).await;
    world.segue.terminate().await;
    let asked_endless = asked_between(&world, endless, SystemClock.now());
    world.segue.launch().await;
    let date = SystemClock.now().plus(Duration::from_secs(4));
    let dated = refused(&world, http_date(date)).await;
    world.fail(&["429/soon*2, 429, 429/-5*2, 429/1"]);
    sending.stop().await;
    world.segue.drained().await;
    let asked_dated = asked_between(&world, dated, Time::from_secs(date.secs()));

    // One for each window, behind those that were in flight when the first one was refused.
    let most = 8 + 4;
    report.must("requests in 4 s of Retry-After: 1", format!("<= {most}"), asked, asked <= most);
    for (what, asked) in [("10^9", asked_endless), ("a date, before it", asked_dated)] {
        report.must(&format!("requests after {what}"), "<= 8, in flight", asked, asked <= 8);
    }
    let dead = world.segue.counts().await.dead_lettered;
    report.must("given up", "0", dead, dead == 0);
    world.judge(&mut report).await;
    report
}

/// Refuses the next request with this `Retry-After`; when that was.
async fn refused(world: &World, retry_after: String) -> Time {
    let before = world.requests();
    let mut rule = FaultRule::parse("429").unwrap();
    rule.steps[0].retry_after = Some(retry_after);
    world.emulator.lock().set_faults(vec![rule]);
    let refusal = async |_: &Segue| {
        let emulator = world.emulator.lock();
        emulator.requests().skip(before).find(|one| one.status == 429).map(|one| one.at)
    };
    world.segue.until("a request is refused", refusal).await
}

/// How many requests came between two times.
fn asked_between(world: &World, after: Time, until: Time) -> usize {
    let emulator = world.emulator.lock();
    emulator.requests().filter(|one| one.at > after && one.at < until).count()
}

/// As HTTP writes it.
fn http_date(at: Time) -> String {
    let at = jiff::Timestamp::from_millisecond(at.millis()).unwrap();
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The key is exchanged in Customer.io first and in Segue later.
pub(super) async fn rotated_key(options: Options) -> Report {
    let mut report = Report::new("rotated-key");
    let emulator = emulate();
    let setup = |key: &str, url: String| Setup {
        url,
        customerio: format!("api_key = \"{key}\""),
        ..Setup::default()
    };
    let url = emulator.url();
    let mut world = World::behind(setup("old", url.clone()), emulator).await;
    world.fail(&["path=/api/v2: 401, repeat", "path=/api/v1: 401, repeat"]);
    let seen = start(&world.load(options.rate), &world.oracle, Some(options.rate * 2)).end().await;
    let reasons = world
        .segue
        .until("health says so", async |segue| {
            Some(segue.reasons().await).filter(|reasons| reasons.contains("credentials"))
        })
        .await;
    let asked = world.requests();
    sleep(Duration::from_secs(1)).await;
    let meanwhile = world.requests() - asked;
    let dead = world.segue.counts().await.dead_lettered;
    world.segue.terminate().await;
    world.segue.configure(&setup("new", url));
    world.fail(&[]);
    world.segue.launch().await;
    world.segue.drained().await;

    let others: u64 = seen.others.values().sum();
    report.must("requests not answered 200", "0", others, others == 0);
    report.must("health says", "credentials_refused", &reasons, reasons == "credentials_refused");
    report.must("requests in a second of pause", "<= 1", meanwhile, meanwhile <= 1);
    report.must("dead letters", "0", dead, dead == 0);
    world.judge(&mut report).await;
    report
}
