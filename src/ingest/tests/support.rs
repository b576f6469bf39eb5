//! A real server on a free port, a journal that remembers in memory, and a client that sends exactly
//! the bytes that it is told to.

use std::collections::HashSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::clock::{ManualClock, Time};
use crate::config::{Config, Secret, SourceConfig};
use crate::ingest::Intake;
use crate::journal::{
    Accepted, Change, DeadFilter, DeadRow, Fact, FactKey, Gone, Journal, JournalError,
    JournalHealth, Opened, Pending, Place, Receipt, RecordedFilter, RecordedRow, Reply, Seq,
    Stored, Total, TrailEntry, Waiting,
};
use crate::server::{Readiness, Server, StopHandle};
use crate::spec::{RawCall, Traffic};

/// Where every test stands in time.
pub(super) fn now() -> Time {
    Time::parse("2026-01-15T12:00:00Z").unwrap()
}

/// Remembers what it accepted. Only what ingest calls is there.
#[derive(Default)]
pub(super) struct MemoryJournal {
    stored: Mutex<Vec<RawCall>>,
    keys: Mutex<HashSet<u128>>,
    pub(super) broken: Mutex<Option<JournalError>>,
    /// Whether requests are left without an answer, as by a writer that is gone.
    pub(super) gone: AtomicBool,
    /// Called whenever something is to be stored, before it is.
    pub(super) on_accept: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl MemoryJournal {
    /// Takes out what was accepted so far, in order.
    pub(super) fn take(&self) -> Vec<RawCall> {
        std::mem::take(&mut self.stored.lock().unwrap())
    }
}

impl Journal for MemoryJournal {
    fn accept(&self, batch: Vec<Accepted>) -> Reply<Vec<Receipt>> {
        if let Some(called) = &*self.on_accept.lock().unwrap() {
            called();
        }
        let (answer, reply) = oneshot::channel();
        if self.gone.load(Ordering::SeqCst) {
            return reply;
        }
        if let Some(error) = self.broken.lock().unwrap().clone() {
            let _ = answer.send(Err(error));
            return reply;
        }
        let mut receipts = Vec::new();
        for one in batch {
            if !self.keys.lock().unwrap().insert(one.key) {
                receipts.push(Receipt::Duplicate);
                continue;
            }
            let mut stored = self.stored.lock().unwrap();
            stored.push(one.call);
            receipts.push(Receipt::First(Seq(stored.len() as u64)));
        }
        let _ = answer.send(Ok(receipts));
        reply
    }

    fn on_accepted(&self, _: Box<dyn Fn() + Send + Sync>) {
        unreachable!("ingest does not ask")
    }
    fn read(&self, _: Traffic, _: Option<Seq>, _: usize) -> Result<Vec<Stored>, JournalError> {
        unreachable!("ingest does not ask")
    }
    fn take_due(&self, _: Time, _: usize) -> Result<Vec<Stored>, JournalError> {
        unreachable!("ingest does not ask")
    }
    fn take(&self, _: Seq) -> bool {
        unreachable!("ingest does not ask")
    }
    fn give_back(&self, _: &[Seq]) {
        unreachable!("ingest does not ask")
    }
    fn next_due(&self) -> Result<Option<Time>, JournalError> {
        unreachable!("ingest does not ask")
    }
    fn blocked_keys(&self) -> Result<Vec<(String, Seq)>, JournalError> {
        unreachable!("ingest does not ask")
    }
    fn load(&self, _: &[FactKey], _: Time) -> Result<Vec<Option<Fact>>, JournalError> {
        unreachable!("ingest does not ask")
    }
    fn commit(&self, _: Arc<Vec<Change>>) -> Reply<()> {
        unreachable!("ingest does not ask")
    }
    fn totals(&self) -> Vec<Total> {
        Vec::new()
    }
    fn balance(&self) -> (Vec<Total>, Pending) {
        unreachable!("ingest does not ask")
    }

    fn pending(&self) -> Pending {
        unreachable!("ingest does not ask")
    }
    fn dead(&self, _: &DeadFilter, _: Option<Seq>, _: usize) -> Result<Vec<DeadRow>, JournalError> {
        unreachable!("ingest does not ask")
    }
    fn recorded(
        &self,
        _: &RecordedFilter,
        _: Option<u64>,
        _: usize,
    ) -> Result<Vec<RecordedRow>, JournalError> {
        unreachable!("ingest does not ask")
    }
    fn waiting(&self, _: Place, _: Option<Seq>, _: usize) -> Result<Vec<Waiting>, JournalError> {
        unreachable!("ingest does not ask")
    }
    fn gone(&self) -> Result<Vec<Gone>, JournalError> {
        unreachable!("ingest does not ask")
    }
    fn redrive(&self, _: &DeadFilter, _: usize) -> Reply<u64> {
        unreachable!("ingest does not ask")
    }
    fn trail(&self, _: &str, _: usize) -> Result<Vec<TrailEntry>, JournalError> {
        unreachable!("ingest does not ask")
    }
    fn opened(&self) -> Opened {
        unreachable!("ingest does not ask")
    }
    fn note_trying(&self, _: Option<Seq>) -> Result<(), JournalError> {
        unreachable!("ingest does not ask")
    }
    fn maintain(&self, _: Time) -> Reply<()> {
        unreachable!("ingest does not ask")
    }
    fn health(&self) -> JournalHealth {
        unreachable!("ingest does not ask")
    }
    fn close(&self) -> Reply<()> {
        unreachable!("ingest does not ask")
    }
}

/// The secrets of the sources below.
pub(super) const SECRET: &str = "shared-secret-of-tests";
pub(super) const TOKEN: &str = "token-of-tests";

/// The demonstration's two sources and one for each way to protect a webhook path.
pub(super) fn config() -> Config {
    let mut config = Config { listen: "127.0.0.1:0".into(), ..Config::demo() };
    let source = |name: &str| SourceConfig {
        name: name.into(),
        write_keys: vec![Secret::new(format!("key-{name}"))],
        ..SourceConfig::default()
    };
    let secret = Some(Secret::new(SECRET));
    let token = Some(Secret::new(TOKEN));
    config.source.extend([
        SourceConfig { webhook_secret: secret.clone(), ..source("signed") },
        SourceConfig { token: token.clone(), ..source("token") },
        SourceConfig { webhook_secret: secret, token, ..source("both") },
        SourceConfig { webhook_write_keys: true, ..source("keyed") },
        SourceConfig { replay: true, ..source("backfill") },
    ]);
    config
}

pub(super) fn intake(config: &Config) -> (Arc<Intake>, Arc<MemoryJournal>) {
    let journal = Arc::new(MemoryJournal::default());
    let clock = Arc::new(ManualClock::at(now()));
    let intake = Intake::new(Arc::new(config.clone()), Arc::clone(&journal) as _, clock);
    (Arc::new(intake), journal)
}

/// A running server.
pub(super) struct App {
    pub(super) addr: SocketAddr,
    pub(super) intake: Arc<Intake>,
    pub(super) journal: Arc<MemoryJournal>,
    pub(super) stop: StopHandle,
    pub(super) readiness: Arc<Mutex<Readiness>>,
    pub(super) serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl App {
    pub(super) fn start() -> Self {
        Self::start_with(&config())
    }

    pub(super) fn start_with(config: &Config) -> Self {
        let (intake, journal) = intake(config);
        let readiness = Arc::new(Mutex::new(Readiness::Ready));
        let told = Arc::clone(&readiness);
        let probe = Arc::new(move || crate::server::Ready {
            readiness: *told.lock().unwrap(),
            bundle: "abc".into(),
        });
        let server =
            Server::bind(config, Arc::clone(&intake), probe, Duration::from_secs(1)).unwrap();
        let (addr, stop) = (server.addr(), server.stop_handle());
        Self { addr, intake, journal, stop, readiness, serving: tokio::spawn(server.run()) }
    }

    pub(super) async fn post(&self, target: &str, headers: &[&str], body: &[u8]) -> Answer {
        self.send("POST", target, headers, body).await
    }

    pub(super) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Answer {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(&request(method, target, headers, body)).await.unwrap();
        Answer::read(&mut stream).await
    }
}

/// The bytes of a request on a connection of its own.
pub(super) fn request(method: &str, target: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: segue.test\r\n");
    if !headers.iter().any(|line| line.starts_with("Connection:")) {
        head.push_str("Connection: close\r\n");
    }
    if !headers.iter().any(|line| line.starts_with("Transfer-Encoding:")) {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for line in headers {
        head.push_str(&format!("{line}\r\n"));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Reads one answer; of a HEAD and of a connection that is closed, what there is.
    pub(super) async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let reading =
            async { while !is_whole(&bytes) && stream.read_buf(&mut bytes).await.unwrap() > 0 {} };
        tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap();
        let (head, body) = split(&bytes).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self { status, headers: lines.map(header).collect(), body: body.into() }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status with the error's code, after checking that the body is what every SDK can read.
    pub(super) fn told(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json"));
        let body = self.json();
        if self.status == 200 {
            assert_eq!(self.body, br#"{"success":true}"#);
            return "200".into();
        }
        assert_eq!(body["success"], false);
        assert!(!body["message"].as_str().unwrap().is_empty());
        assert_eq!(body["error"], body["message"]);
        format!("{} {}", self.status, body["code"].as_str().unwrap())
    }
}

fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((std::str::from_utf8(&bytes[..end]).unwrap(), &bytes[end + 4..]))
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some((head, body)) = split(bytes) else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
    });
    length.is_some_and(|length: usize| body.len() >= length)
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {pair}")
}

/// The elements that were stored, as texts.
pub(super) fn bodies(stored: &[RawCall]) -> Vec<String> {
    stored.iter().map(|call| String::from_utf8_lossy(&call.body).into_owned()).collect()
}
