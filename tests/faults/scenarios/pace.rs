//! How long events take when others are in the way, and what a long run leaves behind.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::World;
use crate::Options;
use crate::load::{Load, start};
use crate::oracle::{OLD, name};
use crate::report::{Report, millis, percentile, times};
use crate::server::{Segue, Setup};

/// People of the load that is in the way are apart from the others.
const OTHERS: u64 = 100_000;

/// Live traffic during a backfill at full speed, against the same without one: first beside a backfill that
/// has been taken already, then beside one that is also sent meanwhile, as fast as it can be. The second is
/// as much a matter of its senders, who work on the same machine.
pub(super) async fn backfill(options: Options) -> Report {
    let mut report = Report::new("backfill");
    let rate = options.rate / 4;
    report.figure("live events a second", rate);
    let alone = {
        let world = World::start(Setup::default()).await;
        live(&world, rate, options.seconds).await
    };
    report.figure("p50, p99 of live events, alone", both(alone.arrival));
    report.figure("p50, p99 of their 200s, alone", both(alone.answer));
    for is_sent_meanwhile in [false, true] {
        let world = World::start(Setup::default()).await;
        let url = format!("{}?replay=bench", world.load(0).url);
        let old = Load { url, rate: 0, batch: 100, first_person: OLD, senders: 2, ..world.load(0) };
        // Nothing of it leaves before enough waits that it does not run dry.
        world.fail(&["429/1, repeat"]);
        let sending = start(&old, &world.oracle, None);
        let enough = options.rate * options.seconds.as_secs() * 5;
        while world.oracle.acknowledged() < enough {
            sleep(Duration::from_millis(20)).await;
        }
        let mut sending = Some(sending);
        if !is_sent_meanwhile && let Some(sending) = sending.take() {
            sending.stop().await;
        }
        world.fail(&[]);
        let begins = world.segue.counts().await.delivered;
        let counted = async |segue: &Segue| Some(segue.counts().await.delivered);
        let begun = async |segue: &Segue| counted(segue).await.filter(|now| *now > begins);
        let before = world.segue.until("the backfill to move", begun).await;
        let begun = Instant::now();
        let beside = live(&world, rate, options.seconds).await;
        let after = world.segue.counts().await.delivered;
        let old = (after - before)
            .saturating_sub(world.oracle.sent_by(|person| person < OLD).len() as u64);
        let speed = old as f64 / begun.elapsed().as_secs_f64();
        if let Some(sending) = sending {
            sending.stop().await;
        }
        world.segue.drained().await;

        let beside_what = if is_sent_meanwhile { "one that is sent" } else { "one that waits" };
        let moved = speed > 0.0;
        let what = format!("backfill events a second, {beside_what}");
        report.must(&what, "> 0", format!("{speed:.0}"), moved);
        let what = format!("p50, p99 of live events, beside {beside_what}");
        report.figure(&what, both(beside.arrival));
        let what = format!("p50, p99 of their 200s, beside {beside_what}");
        report.figure(&what, both(beside.answer));
        write_ratio(&mut report, &format!("ratio of the p99, beside {beside_what}"), alone, beside);
        world.judge(&mut report).await;
    }
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
    report.figure("p50, p99 of others, nobody fails", both(well.arrival));
    report.figure("p50, p99 of others, one fails", both(ill.arrival));
    write_ratio(&mut report, "ratio of the p99", well, ill);
    report
}

/// Goes on and on with one error in a hundred.
pub(super) async fn soak(options: Options) -> Report {
    let mut report = Report::new("soak");
    // What is kept for days grows for days, up to its bounds: with bounds that are reached in minutes, only
    // what has none still grows.
    let more = "[journal]\ndedupe_max_keys = 320000\nkeep_trail = \"2m\"\n".to_owned();
    let world = World::start(Setup { more, ..Setup::default() }).await;
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

/// How long live events took, as p50 and p99.
#[derive(Clone, Copy)]
struct Took {
    /// From sending to the 200.
    answer: (Duration, Duration),
    /// From sending to Customer.io.
    arrival: (Duration, Duration),
}

/// Sends live events for a while.
async fn live(world: &World, rate: u64, seconds: Duration) -> Took {
    let load = Load { batch: 1, ..world.load(rate) };
    let sending = start(&load, &world.oracle, None);
    sleep(seconds).await;
    let mut answers = sending.stop().await.answers;
    let arrived = |least: usize| {
        let verdict = world.oracle.judge(&world.emulator, |_, _| true);
        let latencies = verdict.latencies.into_iter();
        let mine = latencies.filter(|(number, _)| world.oracle.person_of(*number) < OTHERS);
        let mine: Vec<Duration> = mine.map(|(_, took)| took).collect();
        (mine.len() >= least).then_some(mine)
    };
    let expected = world.oracle.sent_by(|person| person < OTHERS).len();
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
    let middle_and_most =
        |times: &mut Vec<Duration>| (percentile(times, 50), percentile(times, 99));
    Took { answer: middle_and_most(&mut answers), arrival: middle_and_most(&mut times) }
}

/// How much longer the slowest take to arrive than they did. What arrives within 3 s waits for the machine
/// and not behind others, however fast it was before.
fn write_ratio(report: &mut Report, what: &str, before: Took, after: Took) {
    let [before, after] = [before, after].map(|took| took.arrival.1.as_secs_f64().max(0.001));
    report.at_most(what, [1.2, f64::max(5.0, 3.0 / before)], after / before, times);
}

fn both((half, most): (Duration, Duration)) -> String {
    format!("{}, {}", millis(half), millis(most))
}
