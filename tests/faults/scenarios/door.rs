//! Senders that mean no good, or cannot do better.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::World;
use crate::Options;
use crate::load::{client, start};
use crate::oracle::NASTY;
use crate::report::{Report, mebibytes, millis, percentile, seconds};
use crate::server::Setup;

/// Heads and bodies that come byte by byte, on many connections.
pub(super) async fn slowloris(options: Options) -> Report {
    let mut report = Report::new("slowloris");
    let more = "[ingest]\nbody_deadline = \"3s\"".to_owned();
    let world = World::start(Setup { more, ..Setup::default() }).await;
    let alone = start(&world.load(options.rate / 4), &world.oracle, Some(options.rate / 2)).end();
    let before = percentile(&mut alone.await.answers, 99);
    let mut slow = tokio::task::JoinSet::new();
    for one in 0..options.connections {
        let addr = world.segue.addr.clone();
        let head = match one % 2 {
            0 => "POST /webhook/web HTTP/1.1\r\nhost: bench\r\nx-slow: ",
            _ => "POST /webhook/web HTTP/1.1\r\nhost: bench\r\ncontent-length: 100000\r\n\r\n",
        };
        slow.spawn(async move { (one % 2, drip(&addr, head).await) });
    }
    let sending = start(&world.load(options.rate / 4), &world.oracle, None);
    let mut longest = [Duration::ZERO; 2];
    let mut odd = Vec::new();
    while let Some(ended) = slow.join_next().await {
        let (kind, (took, status)) = ended.unwrap();
        longest[kind] = longest[kind].max(took);
        if ![Some(408), None].contains(&status) {
            odd.push(status);
        }
    }
    let during = percentile(&mut sending.stop().await.answers, 99);
    world.segue.drained().await;

    report.figure("slow connections", options.connections);
    let [heads, bodies] = longest;
    report.must(
        "slow heads end after",
        "<= 15 s",
        seconds(heads),
        heads <= Duration::from_secs(15),
    );
    report.must(
        "slow bodies end after (limit 3 s)",
        "<= 8 s",
        seconds(bodies),
        bodies <= Duration::from_secs(8),
    );
    report.must("answered otherwise than 408 or closed", "0", odd.len(), odd.is_empty());
    report.figure("p99 of good clients, before", millis(before));
    let twice = before * 2 + Duration::from_millis(5);
    let marks = [twice, before * 10 + Duration::from_secs(3)];
    report.at_most("p99 of good clients, meanwhile", marks, during, millis);
    world.judge(&mut report).await;
    report
}

/// Sends a head and then a byte now and then, until the other side ends it.
async fn drip(addr: &str, head: &str) -> (Duration, Option<u16>) {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    drop(stream.write_all(head.as_bytes()).await);
    let mut answer = Vec::new();
    loop {
        let mut bytes = [0; 512];
        match timeout(Duration::from_millis(500), stream.read(&mut bytes)).await {
            Ok(Ok(read)) if read > 0 => answer.extend_from_slice(&bytes[..read]),
            Ok(_) => break,
            Err(_) if begun.elapsed() > Duration::from_secs(60) => break,
            Err(_) => {
                if stream.write_all(b"x").await.is_err() {
                    break;
                }
            }
        }
    }
    let text = String::from_utf8_lossy(&answer);
    (begun.elapsed(), text.split(' ').nth(1).and_then(|status| status.parse().ok()))
}

/// One hundred copies of a message at once.
pub(super) async fn copies(_: Options) -> Report {
    let mut report = Report::new("copies");
    let world = World::start(Setup::default()).await;
    let (number, event) = world.oracle.next(1);
    let (url, body) = (world.load(0).url, event.to_string());
    let http = client();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let request = http.post(&url).body(body.clone());
        senders.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    let answers = senders.join_all().await;
    world.oracle.acknowledge(&[number]);
    world.segue.drained().await;
    let fine = answers.iter().filter(|status| **status == 200).count();
    report.must("copies answered 200", "100", fine, fine == 100);
    if let Some(other) = answers.iter().find(|status| **status != 200) {
        report.figure("one of the others", other);
    }
    let dropped = world.segue.counts().await.dropped;
    report.must("dropped as duplicates", "99", dropped, dropped == 99);
    let verdict = world.judge(&mut report).await;
    report.must("delivered", "1", verdict.arrived, verdict.arrived == 1);
    report
}

/// Bodies that are too large, explode, nest or are no JSON. Good events go on between them.
pub(super) async fn hostile(options: Options) -> Report {
    let mut report = Report::new("hostile");
    let source = "write_keys = [\"key\"]".to_owned();
    let world = World::start(Setup { source, ..Setup::default() }).await;
    let sending = start(&world.load(options.rate / 4), &world.oracle, None);
    // Until it has taken what memory good events take.
    sleep(Duration::from_secs(2)).await;
    let before = world.segue.memory_mib();
    let http = client();
    let post = async |path: &str, body: Vec<u8>, gzip: bool| {
        let request =
            http.post(format!("http://{}{path}", world.segue.addr)).basic_auth("key", None::<&str>);
        let request = if gzip { request.header("content-encoding", "gzip") } else { request };
        let begun = Instant::now();
        let answer = request.body(body).send().await;
        (answer.map_or(0, |answer| answer.status().as_u16()), begun.elapsed())
    };
    // What SDKs may send, and what webhooks may: one inflates to 4 MB at most, the other to 32 MiB.
    for (path, gib, limit, ceiling) in [("/v1/batch", 3, 50, 16), ("/webhook/web", 10, 500, 64)] {
        let before = world.segue.memory_mib();
        let (bombed, took) = post(path, bomb(gib), true).await;
        report.must(&format!("a gzip bomb of {gib} GiB is answered"), "413", bombed, bombed == 413);
        report.at_most("in", [limit, 10_000].map(Duration::from_millis), took, millis);
        let most = world.segue.memory_mib().saturating_sub(before);
        report.at_most("memory grew by", [ceiling, 300], most, mebibytes);
    }
    let (large, _) = post("/v1/batch", vec![b' '; 5_000_000], false).await;
    report.must("a body over the limit", "413 or closed", large, [413, 0].contains(&large));
    let chunked = endless(&world.segue.addr).await;
    report.must("an endless chunked body", "413 or closed", chunked, [413, 0].contains(&chunked));

    let mut broken = 0;
    let bodies = nasty();
    for body in &bodies {
        for path in ["/webhook/web", "/v1/batch"] {
            let (status, _) = post(path, body.clone(), false).await;
            broken += u64::from(status == 0 || status >= 500);
        }
    }
    report.must("nasty bodies with a 5xx or no answer", "0", broken, broken == 0);
    let most = world.segue.memory_mib().saturating_sub(before);
    // Bodies of up to 32 MiB are taken on webhook paths.
    report.at_most("memory grew by, all together", [128, 600], most, mebibytes);
    sending.stop().await;
    world.segue.drained().await;
    world.judge(&mut report).await;
    report
}

/// So many GiB in a thousandth of that: a member of 1 MiB, again and again.
fn bomb(gib: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
    encoder.finish().unwrap().repeat(gib << 10)
}

/// A chunked body without an end; the status that stops it, 0 when the connection is closed.
async fn endless(addr: &str) -> u16 {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = "POST /webhook/web HTTP/1.1\r\nhost: bench\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 65536], b"\r\n"].concat();
    for _ in 0..2048 {
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let mut answer = vec![0; 64];
    let read = timeout(Duration::from_secs(5), stream.read(&mut answer)).await;
    let read = read.ok().and_then(Result::ok).unwrap_or(0);
    let text = String::from_utf8_lossy(&answer[..read]).into_owned();
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

fn nasty() -> Vec<Vec<u8>> {
    let wrap = |inside: String| {
        let head = r#"{"type":"track","event":"E","userId":"#;
        format!(r#"{head}"{NASTY}","properties":{inside}}}"#).into_bytes()
    };
    let keys: Vec<String> = (0..1_000_000).map(|key| format!("\"k{key}\":{key}")).collect();
    vec![
        "[".repeat(100_000).into_bytes(),
        wrap("[".repeat(100_000) + &"]".repeat(100_000)),
        wrap("{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000)),
        wrap(format!("{{{}}}", keys.join(","))),
        wrap("{\"a\":1,\"a\":2,\"a\":{\"a\":3}}".into()),
        wrap("{\"n\":1e400,\"m\":-1e-400,\"l\":123456789012345678901234567890}".into()),
        wrap("{\"s\":\"\\ud800\"}".into()),
        wrap("{\"s\":\"\\u0000\"}".into()),
        b"{\"type\":\"track\",\"event\":\"\xff\xfe\",\"userId\":\"nasty\"}".to_vec(),
        b"\0\0\0\0".to_vec(),
        b"\"".to_vec(),
        b"null".to_vec(),
        b"{\"batch\":[[[[]]],null,7,{\"type\":{}}]}".to_vec(),
        Vec::new(),
    ]
}
