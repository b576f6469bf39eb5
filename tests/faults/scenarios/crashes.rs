//! The process goes down: killed, told to stop, or cut off from its senders.

use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::World;
use crate::Options;
use crate::load::{Load, Seen, client, start, until_taken};
use crate::proxy::{Mode, Proxy};
use crate::report::{Report, millis};
use crate::server::{Segue, Setup};

/// Killed again and again while it is sent to. Every other time Customer.io answers so late that the kill
/// comes between a request and its answer.
pub(super) async fn kills(options: Options) -> Report {
    let mut report = Report::new("kills");
    let mut world = World::start(Setup::default()).await;
    let sending = start(&world.load(options.rate), &world.oracle, None);
    let (mut slowest, mut on_their_way) = (Duration::ZERO, 0);
    for kill in 0..options.kills {
        let is_slow = kill % 2 == 0;
        world.fail(if is_slow { &["slow/5000, repeat"] } else { &[] });
        // 0.4 to 2 s, the same in every run.
        sleep(Duration::from_millis(400 + kill * 7919 % 1600)).await;
        let unanswered = async |segue: &Segue| {
            let delivered = segue.counts().await.delivered;
            (!is_slow || world.arrived() > delivered).then_some(delivered)
        };
        let delivered = world.segue.until("something is on its way", unanswered).await;
        world.segue.kill();
        world.fail(&[]);
        slowest = slowest.max(world.segue.launch().await);
        on_their_way += world.arrived() - delivered;
    }
    sending.stop().await;
    world.segue.drained().await;

    report.figure("events a second; kills", format!("{}; {}", options.rate, options.kills));
    let verdict = world.judge(&mut report).await;
    let (again, mark) = (verdict.duplicates, format!("<= {on_their_way}, on their way"));
    report.must("resent, recognised by their ULID", mark, again, again <= on_their_way);
    report.must("some were", "> 0", again, again > 0);
    let marks = [1, 20].map(Duration::from_secs);
    report.at_most("slowest start until ready", marks, slowest, millis);
    report
}

/// The senders do not get the 200 and send everything again; also to a server that was killed meanwhile.
pub(super) async fn lost_answers(options: Options) -> Report {
    let mut report = Report::new("lost-200");
    let mut world = World::start(Setup::default()).await;
    let proxy = Proxy::start(world.segue.addr.parse().unwrap()).await;
    proxy.set(Mode::ResetAnswer(4));
    let load = Load::new(&proxy.addr(), options.rate);
    start(&load, &world.oracle, Some(options.rate * 3)).end().await;
    // The same request before a kill and behind it, as of a sender who did not get the answer.
    let (numbers, events): (Vec<u64>, Vec<Value>) =
        (0..load.batch).map(|person| world.oracle.next(person)).unzip();
    let (url, body) = (world.load(0).url, Value::Array(events).to_string());
    let (http, mut seen) = (client(), Seen::default());
    until_taken(&http, &url, body.clone(), &mut seen).await;
    let delivered = world.segue.counts().await.delivered;
    world.segue.kill();
    world.segue.launch().await;
    let on_their_way = world.arrived() - delivered;
    until_taken(&http, &url, body, &mut seen).await;
    world.oracle.acknowledge(&numbers);
    world.segue.drained().await;

    report.figure("answers that were lost", proxy.broken());
    report.must("some were", "> 0", proxy.broken(), proxy.broken() > 0);
    let verdict = world.judge(&mut report).await;
    let (again, mark) = (verdict.duplicates, format!("<= {on_their_way}, on their way"));
    report.must("resent, recognised by their ULID", mark, again, again <= on_their_way);
    let dropped = world.segue.counts().await.dropped;
    let least = proxy.broken() + load.batch;
    report.must("copies recognised at the door", "all", dropped, dropped >= least);
    report
}

/// A newer version was here: this one leaves its journal alone and says so.
pub(super) async fn newer(options: Options) -> Report {
    let mut report = Report::new("newer-journal");
    let mut world = World::start(Setup::default()).await;
    world.fail(&["503, repeat"]);
    start(&world.load(0), &world.oracle, Some(options.rate * 2)).end().await;
    world.segue.terminate().await;
    let journal = rusqlite::Connection::open(world.segue.data().join("journal.db")).unwrap();
    let set = |version: &str| {
        journal.execute("UPDATE meta SET v = ?1 WHERE k = 'schema'", [version]).unwrap()
    };
    let ours: String =
        journal.query_row("SELECT v FROM meta WHERE k = 'schema'", [], |row| row.get(0)).unwrap();
    set("99");
    let well = world.segue.refused().await;
    let said = world.segue.last_words();
    set(&ours);
    drop(journal);
    world.fail(&[]);
    world.segue.launch().await;
    world.segue.drained().await;

    report.must("a start with it fails", "yes", !well, !well);
    let named = said.contains("99") && said.contains(&ours);
    report.must("and names both versions", "yes", named, named);
    world.judge(&mut report).await;
    report
}

/// Told to stop with much on its way, and with a client that does not end.
pub(super) async fn stop(options: Options) -> Report {
    let mut report = Report::new("stop");
    let mut world = World::start(Setup::default()).await;
    world.fail(&["slow/40, repeat"]);
    let mut slow = TcpStream::connect(&world.segue.addr).await.unwrap();
    let head = "POST /webhook/web HTTP/1.1\r\nhost: bench\r\ncontent-length: 1000\r\n\r\n[";
    slow.write_all(head.as_bytes()).await.unwrap();
    let load = Load { rate: 0, batch: 100, ..world.load(0) };
    let sending = start(&load, &world.oracle, None);
    while world.oracle.acknowledged() < options.rate * 5 {
        sleep(Duration::from_millis(10)).await;
    }
    let waiting = world.segue.status().await.unwrap()["pending"]["live"].as_u64().unwrap_or(0);
    let (took, well) = world.segue.terminate().await;
    world.segue.launch().await;
    sending.stop().await;
    world.fail(&[]);
    world.segue.drained().await;

    report.figure("events that waited", waiting);
    report.must("ended well", "exit code 0", well, well);
    report.must("took", "<= 10 s", millis(took), took <= Duration::from_secs(10));
    let verdict = world.judge(&mut report).await;
    // What is on its way gets its answer first.
    report.must("resent", "0", verdict.duplicates, verdict.duplicates == 0);
    report
}
