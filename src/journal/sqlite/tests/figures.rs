//! What the journal costs, to be run by hand on an optimised build:
//! `cargo test --release --lib journal::sqlite::tests::figures -- --ignored --nocapture --test-threads 1`.

use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::clock::SystemClock;
use crate::journal::{Accepted, TrailEntry};
use crate::spec::{Arrival, RawCall};

/// An event of about 1.4 kB, parsed as it is when it arrives.
fn event(n: u64) -> Accepted {
    let items: Vec<_> = (0..6)
        .map(|item| {
            serde_json::json!({
                "product_id": format!("product-{item}"), "sku": format!("SKU-{item:06}"),
                "name": "A thing with a name of its own", "price": 19.99, "quantity": 2,
                "category": "Things", "url": "https://shop.example.com/things/of/their/own",
            })
        })
        .collect();
    let body = serde_json::json!({
        "type": "track", "event": "Order Completed", "messageId": format!("message-{n:020}"),
        "userId": format!("user-{}", n % 5000), "timestamp": "2026-01-15T12:00:00.000Z",
        "properties": { "order_id": n.to_string(), "total": "$49.00", "products": items },
    });
    let arrival =
        Arrival { source: "web".into(), accepted_at: SystemClock.now(), ..Arrival::default() };
    let mut call = RawCall::new(arrival, Bytes::from(body.to_string()));
    let key = call.fingerprint().dedupe_key("web");
    Accepted { key, call }
}

/// CPU time of this process so far, in microseconds, user and system.
fn cpu_micros() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks * 10_000
}

fn open(engine: &Engine) -> SqliteJournal {
    let options =
        SqliteOptions { directory: engine.path().unwrap().into(), ..SqliteOptions::default() };
    SqliteJournal::open(options, Arc::new(SystemClock)).unwrap()
}

fn end(stored: &Stored) -> Change {
    let outcome = Outcome::Delivered;
    let trail = TrailEntry {
        at: SystemClock.now(),
        source: "web".into(),
        message_id: format!("message-{:020}", stored.seq.0),
        person: Some(format!("user-{}", stored.seq.0 % 5000)),
        event: "track Order Completed".into(),
        class: "live".into(),
        action: "deliver".into(),
        outcome: "delivered".into(),
        bundle: "0123456789abcdef".into(),
        answer: "200".into(),
        ..TrailEntry::default()
    };
    let (seq, place) = (stored.seq, stored.place);
    Change::Settle(Settlement { seq, place, outcome, done: Vec::new(), facts: Vec::new(), trail })
}

fn percentile(times: &mut [u128], part: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() - 1) * part / 100] as f64 / 1000.0
}

/// How many events are made, outside of what is measured, before they go in and out.
const ROUND: u64 = 5000;

#[test]
#[ignore = "prints figures, decides nothing"]
fn what_an_event_costs() {
    for (batch, rounds) in [(1, 6), (25, 40), (100, 100)] {
        let engine = Engine::disk();
        let journal = open(&engine);
        let (mut after, mut accepting, mut leaving) = (None, 0, 0);
        let (mut accepts, mut settles) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let keys: Vec<u64> = (round * ROUND..(round + 1) * ROUND).collect();
            let batches: Vec<Vec<Accepted>> =
                keys.chunks(batch).map(|keys| keys.iter().copied().map(event).collect()).collect();
            let start = cpu_micros();
            for events in batches {
                let begin = Instant::now();
                assert_eq!(done(journal.accept(events)).len(), batch);
                accepts.push(begin.elapsed().as_micros());
            }
            let middle = cpu_micros();
            accepting += middle - start;
            loop {
                let page = journal.read(Traffic::Live, after, batch).unwrap();
                let Some(last) = page.last() else { break };
                after = Some(last.seq);
                let changes: Vec<_> = page.iter().map(end).collect();
                let begin = Instant::now();
                done(journal.commit(changes.into()));
                settles.push(begin.elapsed().as_micros());
            }
            leaving += cpu_micros() - middle;
        }
        let events = (rounds * ROUND) as f64;
        println!(
            "batch {batch:3}: {:5.1} us CPU an event to accept, {:5.1} to read and settle; ms to accept \
             p50 {:.2} p99 {:.2} max {:.2}, to settle p50 {:.2} p99 {:.2}; {} bytes of files",
            accepting as f64 / events,
            leaving as f64 / events,
            percentile(&mut accepts, 50),
            percentile(&mut accepts, 99),
            percentile(&mut accepts, 100),
            percentile(&mut settles, 50),
            percentile(&mut settles, 99),
            journal.health().size_bytes,
        );
    }
}

#[test]
#[ignore = "prints figures, decides nothing"]
fn how_long_opening_takes_with_200_000_pending() {
    let engine = Engine::disk();
    {
        let journal = open(&engine);
        for batch in 0..400 {
            done(journal.accept((batch * 500..batch * 500 + 500).map(event).collect()));
        }
    }
    let begin = Instant::now();
    let journal = open(&engine);
    let opened = begin.elapsed();
    let first = journal.read(Traffic::Live, None, 100).unwrap().len();
    println!("opened in {opened:?}, first page after {:?}", begin.elapsed());
    assert_eq!((journal.pending().live, first), (200_000, 100));
}

#[test]
#[ignore = "prints figures, decides nothing"]
fn how_deduplication_holds_up_at_four_million_keys() {
    let engine = Engine::disk();
    let journal = open(&engine);
    let key = |n: u128| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let mut worst = 0;
    let small = |n| Accepted { key: key(n), ..tiny() };
    let (begin, cpu) = (Instant::now(), cpu_micros());
    let mut after = None;
    for batch in 0..16_000_u128 {
        let begin = Instant::now();
        done(journal.accept((batch * 250..batch * 250 + 250).map(small).collect()));
        worst = worst.max(begin.elapsed().as_millis());
        let page = journal.read(Traffic::Live, after, 250).unwrap();
        after = page.last().map(|stored| stored.seq).or(after);
        done(journal.commit(Arc::new(page.iter().map(end).collect())));
    }
    let events = 4_000_000.0;
    println!(
        "{:.0} keys a second, {:.1} us CPU each with a tiny event and its settlement, worst batch of 250 {worst} ms, {} bytes",
        events / begin.elapsed().as_secs_f64(),
        (cpu_micros() - cpu) as f64 / events,
        journal.health().size_bytes,
    );
    let copies = done(journal.accept((0..100).map(small).collect()));
    assert_eq!(copies, [Receipt::Duplicate; 100]);
    drop(journal);
    let begin = Instant::now();
    drop(open(&engine));
    println!("opened in {:?}", begin.elapsed());
}

fn tiny() -> Accepted {
    let arrival = Arrival { source: "web".into(), ..Arrival::default() };
    Accepted { key: 0, call: RawCall::new(arrival, Bytes::from_static(b"{}")) }
}
