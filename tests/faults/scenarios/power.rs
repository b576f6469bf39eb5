//! The disk under the journal: without power, failing, and read-only.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::World;
use crate::Options;
use crate::drive::{Drive, Format, Mood};
use crate::load::{Seen, start};
use crate::report::{Report, millis, seconds};
use crate::server::{Segue, Setup};

/// The machine loses power again and again while it is sent to. Every other time Customer.io is down, so
/// that everything that was answered 200 lies on the disk alone.
pub(super) async fn cuts(options: Options) -> Report {
    let mut report = Report::new("power-cut");
    let Some((mut drive, mut world)) = on_drive(Format::Journalled, &mut report).await else {
        return report;
    };
    let sending = start(&world.load(options.rate), &world.oracle, None);
    let (mut slowest, mut false_alarms, mut on_their_way) = (Duration::ZERO, 0, 0);
    for cut in 0..options.cuts {
        world.fail(if cut % 2 == 0 { &["503, repeat"] } else { &[] });
        sleep(Duration::from_millis(400 + cut * 7919 % 1600)).await;
        let delivered = world.segue.counts().await.delivered;
        drive.cut(cut).await;
        world.segue.kill();
        drive = restarted(drive).await;
        slowest = slowest.max(world.segue.launch().await);
        on_their_way += world.arrived() - delivered;
        false_alarms += u64::from(world.segue.reasons().await.contains("missing_events"));
    }
    world.fail(&[]);
    sending.stop().await;
    world.segue.drained().await;

    report.figure("events a second; cuts", format!("{}; {}", options.rate, options.cuts));
    let lost = drive.lost_sectors();
    report.must("sectors that were not flushed, and lost", "> 0", lost, lost > 0);
    let verdict = world.judge(&mut report).await;
    report.must("starts that miss what nobody lost", "0", false_alarms, false_alarms == 0);
    let (again, mark) = (verdict.duplicates, format!("<= {on_their_way}, on their way"));
    report.must("resent, recognised by their ULID", mark, again, again <= on_their_way);
    let marks = [1, 20].map(Duration::from_secs);
    report.at_most("slowest start until ready", marks, slowest, millis);
    world.segue.kill();
    report
}

/// The disk fails, and Linux makes its file system read-only, as it does by default. Until somebody
/// mounts it anew nothing can be written: nothing may be answered 200, and nothing be lost.
pub(super) async fn read_only(options: Options) -> Report {
    let mut report = Report::new("read-only");
    let Some((mut drive, mut world)) = on_drive(Format::Journalled, &mut report).await else {
        return report;
    };
    world.fail(&["503, repeat"]);
    let sending = start(&world.load(options.rate), &world.oracle, None);
    sleep(Duration::from_millis(500)).await;
    drive.set(Mood::Broken);
    world
        .segue
        .until("Linux gives up on the disk", async |_| drive.is_read_only().then_some(()))
        .await;
    drive.set(Mood::Well);
    let before = world.oracle.acknowledged();
    sleep(Duration::from_millis(1000)).await;
    let meanwhile = world.oracle.acknowledged() - before;
    let reasons = world.segue.reasons().await;
    let (took, _) = world.segue.terminate().await;
    drive = restarted(drive).await;
    world.segue.launch().await;
    world.fail(&[]);
    let seen = sending.stop().await;
    world.segue.drained().await;

    report.must("answered 200 meanwhile", "0", meanwhile, meanwhile == 0);
    report.must("health says", "journal_full", &reasons, reasons.contains("journal_full"));
    write_refusals(&mut report, &seen);
    report.must("stopped in", "<= 10 s", millis(took), took <= Duration::from_secs(10));
    world.judge(&mut report).await;
    world.segue.kill();
    drop(drive);
    report
}

/// The disk answers EIO for a while, first when it is to confirm what it took, then to everything. The
/// file system bears that; nobody restarts anything.
pub(super) async fn errors(options: Options) -> Report {
    let mut report = Report::new("disk-errors");
    let Some((drive, mut world)) = on_drive(Format::GoesOn, &mut report).await else {
        return report;
    };
    let sending = start(&world.load(options.rate), &world.oracle, None);
    for mood in [Mood::NoFlush, Mood::Broken] {
        sleep(Duration::from_millis(500)).await;
        drive.set(mood);
        let reasons = world
            .segue
            .until("health says so", async |segue| {
                Some(segue.reasons().await).filter(|reasons| reasons.contains("journal_full"))
            })
            .await;
        report.must("health says", "journal_full", reasons, true);
        sleep(Duration::from_millis(500)).await;
        drive.set(Mood::Well);
        let before = world.oracle.acknowledged();
        world
            .segue
            .until("events are taken again", async |_| {
                (world.oracle.acknowledged() > before).then_some(())
            })
            .await;
    }
    let seen = sending.stop().await;
    world.segue.drained().await;

    write_refusals(&mut report, &seen);
    world.judge(&mut report).await;
    world.segue.kill();
    drop(drive);
    report
}

/// The disk takes 2 s for every confirmation, as disks do that are shared or dying. Nothing fails, so there is
/// nothing to notice but that it takes long. Told to stop at its worst, it ends when that is over.
pub(super) async fn slow(options: Options) -> Report {
    let mut report = Report::new("slow-disk");
    let Some((drive, mut world)) = on_drive(Format::Journalled, &mut report).await else {
        return report;
    };
    let sending = start(&world.load(options.rate), &world.oracle, None);
    let taken = async |more: u64| {
        let before = world.oracle.acknowledged();
        let more = async |_: &Segue| (world.oracle.acknowledged() >= before + more).then_some(());
        world.segue.until("events are taken", more).await;
    };
    taken(options.rate / 2).await;
    drive.set(Mood::Slow(Duration::from_secs(2)));
    let (begun, before) = (Instant::now(), world.oracle.acknowledged());
    sleep(options.seconds).await;
    // Slow as it is, it goes on.
    taken(1).await;
    let meanwhile = world.oracle.acknowledged() - before;
    let took = begun.elapsed();
    let healed = async { drive.set(Mood::Well) };
    let ((stopped, well), ()) = tokio::join!(world.segue.terminate(), healed);
    world.segue.launch().await;
    let seen = sending.stop().await;
    world.segue.drained().await;

    report.figure("slow for; answered 200 meanwhile", format!("{}; {meanwhile}", seconds(took)));
    write_odd(&mut report, &seen);
    report.must("stopped well", "exit code 0", well, well);
    report.must("in", "<= 10 s", millis(stopped), stopped <= Duration::from_secs(10));
    world.judge(&mut report).await;
    world.segue.kill();
    drop(drive);
    report
}

fn write_refusals(report: &mut Report, seen: &Seen) {
    let refused: u64 = seen.others.get(&503).copied().unwrap_or(0);
    report.must("requests answered 503", "> 0", refused, refused > 0);
    write_odd(report, seen);
}

fn write_odd(report: &mut Report, seen: &Seen) {
    let odd: Vec<_> = seen.others.keys().filter(|status| ![503, 0].contains(*status)).collect();
    report.must("or otherwise, but not at all", "none", format!("{odd:?}"), odd.is_empty());
}

/// A server whose journal is on a disk of its own; nothing where there can be none.
async fn on_drive(format: Format, report: &mut Report) -> Option<(Drive, World)> {
    match spawn_blocking(move || Drive::new(format)).await.unwrap() {
        Err(why) => {
            report.figure("skipped, it takes root", why);
            None
        }
        Ok(drive) => {
            let data = Some(drive.path().join("data"));
            Some((drive, World::start(Setup { data, ..Setup::default() }).await))
        }
    }
}

async fn restarted(mut drive: Drive) -> Drive {
    spawn_blocking(move || {
        drive.restart();
        drive
    })
    .await
    .unwrap()
}
