//! How long events take when others are in the way, and what a long run leaves behind.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::World;
use crate::Options;
use crate::load::{Load, start};
use crate::oracle::{OLD, name};
use crate::report::{Report, millis, percentile};
use crate::server::Setup;

/// People of the load that is in the way are apart from the others.
const OTHERS: u64 = 100_000;

/// Live traffic during a backfill at full speed, against the same without one.
pub(super) async fn backfill(options: Options) -> Report {
    let mut report = Report::new("backfill");
    let rate = options.rate / 4;
    let alone = {
        let world = World::start(Setup::default()).await;
        live(&world, rate, options.seconds).await
    };
    let world = World::start(Setup::default()).await;
    let url = format!("{}?replay=bench", world.load(0).url);
    let old = Load { url, rate: 0, batch: 100, first_person: OLD, senders: 2, ..world.load(0) };
    let filling = start(&old, &world.oracle, None);
    // Enough waits that it never runs dry.
    while world.oracle.acknowledged() < options.rate * 10 {
        sleep(Duration::from_millis(20)).await;
    }
    let before = delivered(&world, true);
    let begun = Instant::now();
    let beside = live(&world, rate, options.seconds).await;
    let speed = (delivered(&world, true) - before) as f64 / begun.elapsed().as_secs_f64();
    filling.stop().await;
    world.segue.drained().await;

    report.figure("live events a second", rate);
    report.figure("backfill events a second, delivered", format!("{speed:.0}"));
    let moved = speed > 0.0;
    report.must("the backfill moved meanwhile", "> 0", moved, moved);
    report.figure("p50, p99 of live events, alone", both(alone));
    let ratio = beside.1.as_secs_f64() / alone.1.as_secs_f64().max(0.001);
    report.figure("p50, p99 of live events, beside it", both(beside));
    report.should("ratio of the p99", "<= 1.2", format!("{ratio:.2}"), ratio <= 1.2);
    world.judge(&mut report).await;
    report
}

/// One person makes half of the traffic and fails all the time, against the same without failures.
pub(super) async fn hot(options: Options) -> Report {
    let mut report = Report::new("hot");
    let rate = options.rate / 4;
    let mut figures = Vec::new();
    for fails in [false, true] {
        let world = World::start(Setup::default()).await;
        let rule = format!("person={}: 500, repeat", name(OTHERS));
        if fails {
            world.fail(&[&rule]);
        }
        let hot = Load { people: 1, senders: 1, first_person: OTHERS, ..world.load(rate) };
        // Behind the first of the others: where a failing person is all the traffic there is, Segue
        // must take it for an outage.
        let failing = async {
            sleep(options.seconds / 8).await;
            start(&hot, &world.oracle, None)
        };
        let (took, failing) = tokio::join!(live(&world, rate, options.seconds), failing);
        figures.push(took);
        failing.stop().await;
        world.fail(&[]);
        world.segue.drained().await;
        if fails {
            world.judge(&mut report).await;
        }
    }
    let (well, ill) = (figures[0], figures[1]);
    report.figure("p50, p99 of others, nobody fails", both(well));
    report.figure("p50, p99 of others, one fails", both(ill));
    let ratio = ill.1.as_secs_f64() / well.1.as_secs_f64().max(0.001);
    report.should("ratio of the p99", "<= 1.2", format!("{ratio:.2}"), ratio <= 1.2);
    report
}

/// Goes on and on with one error in a hundred.
pub(super) async fn soak(options: Options) -> Report {
    let mut report = Report::new("soak");
    let world = World::start(Setup::default()).await;
    world.fail(&["share=0.01: 503, repeat"]);
    let sending = start(&world.load(options.rate), &world.oracle, None);
    sleep(options.seconds / 4).await;
    let (memory, files) = (world.segue.memory_mib(), world.segue.open_files());
    let begun = Instant::now();
    sleep(options.seconds * 3 / 4).await;
    let hours = begun.elapsed().as_secs_f64() / 3600.0;
    let grown = world.segue.memory_mib() as f64 - memory as f64;
    let disk = world.segue.disk_mib();
    sending.stop().await;
    world.segue.drained().await;

    report.figure("memory", format!("{memory} MiB"));
    let slope = grown / hours;
    // A short run only shows that it does not run away.
    let long = options.seconds >= Duration::from_secs(600);
    report.should(
        "memory grows an hour",
        if long { "< 1 MiB" } else { "" },
        format!("{slope:.0} MiB"),
        !long || slope < 1.0,
    );
    report.figure("journal while it runs", format!("{disk} MiB"));
    let now = world.segue.open_files();
    report.must("open files, then and now", "flat", format!("{files} {now}"), now <= files + 32);
    world.judge(&mut report).await;
    report
}

/// Sends live events for a while; p50 and p99 from sending to arrival.
async fn live(world: &World, rate: u64, seconds: Duration) -> (Duration, Duration) {
    let load = Load { batch: 1, ..world.load(rate) };
    let sending = start(&load, &world.oracle, None);
    sleep(seconds).await;
    sending.stop().await;
    let arrived = |least: usize| {
        let verdict = world.oracle.judge(&world.emulator, |_, _| true);
        let latencies = verdict.latencies.into_iter();
        let mine = latencies.filter(|(number, _)| world.oracle.person_of(*number) < OTHERS);
        let mine: Vec<Duration> = mine.map(|(_, took)| took).collect();
        (mine.len() >= least).then_some(mine)
    };
    let expected = world.oracle.sent_by(|person| person < OTHERS);
    let mut times = world
        .segue
        .until("the live events to arrive", async |_| {
            let found = arrived(expected);
            if found.is_none() {
                sleep(Duration::from_millis(200)).await;
            }
            found
        })
        .await;
    (percentile(&mut times, 50), percentile(&mut times, 99))
}

/// How many events of the others were delivered so far.
fn delivered(world: &World, others: bool) -> usize {
    let verdict = world.oracle.judge(&world.emulator, |_, _| true);
    let is_other = |number: &&u64| world.oracle.person_of(**number) >= OTHERS;
    verdict.latencies.keys().filter(|number| is_other(number) == others).count()
}

fn both((half, most): (Duration, Duration)) -> String {
    format!("{}, {}", millis(half), millis(most))
}
