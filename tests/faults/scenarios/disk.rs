//! The disk: a quota, no space at all, and bytes that are not what was written.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use segue::clock::SystemClock;
use segue::journal::sqlite::{SqliteJournal, SqliteOptions};
use segue::journal::{Journal as _, Seq};
use segue::spec::Traffic;
use tokio::time::sleep;

use super::World;
use crate::Options;
use crate::load::start;
use crate::report::Report;
use crate::server::{Setup, copy_journal};

/// Customer.io is down and the quota of what may wait is reached.
pub(super) async fn quota(options: Options) -> Report {
    let mut report = Report::new("quota");
    let more = format!("[journal]\nmax_pending = {}", options.rate);
    let world = World::start(Setup { more, ..Setup::default() }).await;
    world.fail(&["503, repeat"]);
    let sending = start(&world.load(options.rate * 2), &world.oracle, Some(options.rate * 3));
    let reasons = world
        .segue
        .until("health says so", async |segue| {
            Some(segue.reasons().await).filter(|reasons| reasons.contains("journal_full"))
        })
        .await;
    world.fail(&[]);
    let seen = sending.end().await;
    world.segue.drained().await;

    report.must("health says", "journal_full", reasons, true);
    let refused = seen.others.get(&503).copied().unwrap_or(0);
    let only = seen.others.len() == 1;
    report.must("requests answered 503", "> 0, and nothing else", refused, refused > 0 && only);
    report.must("each says when to come again", "Retry-After", seen.says_when, seen.says_when);
    world.judge(&mut report).await;
    report
}

/// The system takes no more bytes, and later it does: nobody restarts anything.
pub(super) async fn full(_: Options) -> Report {
    let mut report = Report::new("disk-full");
    if Command::new("prlimit").arg("--version").output().is_err() {
        report.figure("skipped", "no prlimit here");
        return report;
    }
    // 4 MiB to a file; the signal that goes with it is ignored, so that writing fails.
    let before = "trap '' XFSZ; ulimit -S -f 4096; ".to_owned();
    let world = World::start(Setup { before, ..Setup::default() }).await;
    world.fail(&["503, repeat"]);
    let load = crate::load::Load { rate: 0, batch: 50, ..world.load(0) };
    let sending = start(&load, &world.oracle, None);
    world
        .segue
        .until("writing fails", async |segue| {
            segue.reasons().await.contains("journal_full").then_some(())
        })
        .await;
    sleep(Duration::from_millis(500)).await;
    let pid = world.segue.pid().to_string();
    let lifted = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
    report.must("space came back", "prlimit", lifted.is_ok(), lifted.is_ok_and(|it| it.success()));
    let seen = sending.stop().await;
    world.fail(&[]);
    world.segue.drained().await;

    let refused: u64 = seen.others.values().sum();
    let only = seen.others.keys().all(|status| *status == 503);
    report.must("requests answered 503", "> 0, and nothing else", refused, refused > 0 && only);
    report.must("each says when to come again", "Retry-After", seen.says_when, seen.says_when);
    world.judge(&mut report).await;
    report
}

/// Bits are flipped, blocks are zeroed and the end is cut off, in the file and in its log. What can
/// be read must be what was written; what cannot must be noticed.
pub(super) async fn flips(options: Options) -> Report {
    let mut report = Report::new("flips");
    let mut world = World::start(Setup::default()).await;
    world.fail(&["503, repeat"]);
    start(&world.load(0), &world.oracle, Some(800)).end().await;
    world.segue.kill();
    // Killed, everything is in the log of SQLite; stopped in good order, everything is in the file.
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [killed, stopped] = ["killed", "stopped"].map(|name| scratch.path().join(name));
    copy_journal(&world.segue.data(), &killed);
    world.segue.launch().await;
    world.segue.terminate().await;
    copy_journal(&world.segue.data(), &stopped);
    let damage = tokio::task::spawn_blocking(move || {
        let mut damage = Damage::default();
        damage.inflict(&killed, options.flips / 2);
        damage.inflict(&stopped, options.flips / 2);
        damage
    });
    let damage = damage.await.unwrap();

    report.figure("damaged copies", damage.copies);
    report.must("events read with wrong bytes", "0", damage.altered, damage.altered == 0);
    report.must("events in another place", "0", damage.misplaced, damage.misplaced == 0);
    report.must("panics", "0", damage.panics, damage.panics == 0);
    report.figure("journals that opened", damage.opened);
    report.figure("refused, with the reason", damage.refused);
    report.figure("events known as damaged", damage.known);
    report.figure("reads that failed, with the reason", damage.failed_reads);
    report.figure("events of damaged pages, still counted as waiting", damage.gone);
    report.figure("events of a log that was cut", damage.cut);
    report.must("of them said to be missing otherwise", "0", damage.unsaid, damage.unsaid == 0);
    report
}

#[derive(Default)]
struct Damage {
    copies: u64,
    altered: u64,
    misplaced: u64,
    panics: u64,
    opened: u64,
    refused: u64,
    known: u64,
    failed_reads: u64,
    cut: u64,
    unsaid: u64,
    gone: u64,
}

impl Damage {
    fn inflict(&mut self, data: &std::path::Path, copies: u64) {
        let this = self;
        this.copies += copies;
        let is_log = data.join("journal.db-wal").exists();
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let whole = scratch.path().join("whole");
        copy_journal(data, &whole);
        let good = match read(&whole) {
            Found::Events { events, .. } => events,
            Found::Refused => panic!("an undamaged journal must open"),
        };
        assert!(good.len() > 100, "there must be something to damage");
        for copy in 0..copies {
            let folder = scratch.path().join("copy");
            drop(std::fs::remove_dir_all(&folder));
            copy_journal(data, &folder);
            damage(&folder, copy);
            match std::panic::catch_unwind(|| read(&folder)) {
                Err(_) => this.panics += 1,
                Ok(Found::Refused) => this.refused += 1,
                Ok(Found::Events { events, damaged, failed, said }) => {
                    this.opened += 1;
                    this.known += damaged;
                    this.failed_reads += u64::from(failed);
                    let missing =
                        good.len() as u64 - (events.len() as u64 + damaged).min(good.len() as u64);
                    if is_log {
                        this.cut += missing;
                        this.unsaid += missing.abs_diff(said);
                    } else if !failed {
                        this.gone += missing;
                    }
                    for (seq, body) in &events {
                        match good.get(seq) {
                            Some(written) => this.altered += u64::from(written != body),
                            None => this.misplaced += 1,
                        }
                    }
                }
            }
        }
    }
}

enum Found {
    /// What can be read, how much is known as damaged, whether reading failed, and how much is said to
    /// be missing.
    Events {
        events: BTreeMap<Seq, Vec<u8>>,
        damaged: u64,
        failed: bool,
        said: u64,
    },
    Refused,
}

/// Reads everything that waits in a journal.
fn read(folder: &std::path::Path) -> Found {
    let options =
        SqliteOptions { directory: folder.into(), ballast_bytes: 0, ..SqliteOptions::default() };
    let Ok(journal) = SqliteJournal::open(options, Arc::new(SystemClock)) else {
        return Found::Refused;
    };
    let (mut events, mut damaged, mut failed, mut after) = (BTreeMap::new(), 0, false, None);
    loop {
        match journal.read(Traffic::Live, after, 100) {
            Err(_) => failed = true,
            Ok(page) => {
                after = page.last().map(|stored| stored.seq);
                for stored in page {
                    match stored.call {
                        Ok(call) => drop(events.insert(stored.seq, call.body.to_vec())),
                        Err(_) => damaged += 1,
                    }
                }
                if after.is_some() {
                    continue;
                }
            }
        }
        let said = journal.opened().missing;
        return Found::Events { events, damaged, failed, said };
    }
}

/// Damages one of the files, each time elsewhere, the same in every run.
fn damage(folder: &std::path::Path, copy: u64) {
    let random = |salt: u64| {
        let mut bits = (copy * 31 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits ^= bits >> 29;
        bits.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11
    };
    let log = folder.join("journal.db-wal");
    let has_log = log.metadata().is_ok_and(|file| file.len() > 8192);
    let file = if has_log { log } else { folder.join("journal.db") };
    let mut bytes = std::fs::read(&file).unwrap();
    let size = bytes.len() as u64;
    let place = random(1) % size;
    match copy % 3 {
        0 => bytes[place as usize] ^= 1 << (random(2) % 8),
        1 => {
            let end = (place + 4096).min(size);
            bytes[place as usize..end as usize].fill(0);
        }
        _ => bytes.truncate((size - 1 - random(3) % 4096.min(size - 1)) as usize),
    }
    std::fs::write(&file, bytes).unwrap();
}
