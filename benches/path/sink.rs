//! What stands in for Customer.io: it answers at once, and notes when which event arrived. It runs
//! in the process of the benchmark, so its cost is nobody's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::event::{DIGITS, MARK};

/// When which event arrived, in nanoseconds after `base`; 0: not yet.
pub(crate) struct Arrivals {
    pub(crate) base: Instant,
    at: Vec<AtomicU64>,
    count: AtomicUsize,
    requests: AtomicUsize,
}

impl Arrivals {
    /// Room for `events` events.
    pub(crate) fn new(events: usize) -> Arc<Self> {
        Arc::new(Self {
            base: Instant::now(),
            at: (0..events).map(|_| AtomicU64::new(0)).collect(),
            count: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        })
    }

    /// How many different events have arrived.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// How many requests brought them.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }

    /// When an event arrived.
    pub(crate) fn at(&self, number: usize) -> Option<Duration> {
        match self.at[number].load(Ordering::Acquire) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    fn note(&self, body: &[u8]) {
        let now = u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.requests.fetch_add(1, Ordering::AcqRel);
        let mut rest = body;
        while let Some(found) = rest.windows(MARK.len()).position(|window| window == MARK) {
            rest = &rest[found + MARK.len()..];
            let digits = rest.get(..DIGITS).and_then(|digits| std::str::from_utf8(digits).ok());
            let number: usize = digits.and_then(|digits| digits.parse().ok()).expect("a number");
            if self.at[number].swap(now, Ordering::AcqRel) == 0 {
                self.count.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

/// Listens on a free port and answers every request with `status`.
pub(crate) async fn serve(status: &'static str, arrivals: Arc<Arrivals>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let arrivals = Arc::clone(&arrivals);
            tokio::spawn(async move { drop(answer_all(stream, status, &arrivals).await) });
        }
    });
    addr
}

async fn answer_all(
    mut stream: TcpStream,
    status: &str,
    arrivals: &Arrivals,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    let mut bytes = Vec::new();
    loop {
        let Some(head) = read_until(&mut stream, &mut bytes, end_of_head).await? else {
            return Ok(());
        };
        let length = content_length(&bytes[..head]);
        let whole = |bytes: &[u8]| (bytes.len() >= head + length).then_some(head + length);
        let Some(end) = read_until(&mut stream, &mut bytes, whole).await? else { return Ok(()) };
        if status.starts_with("200") {
            arrivals.note(&bytes[head..end]);
        }
        bytes.drain(..end);
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// Reads on until `found` finds an end; `None` when the other side closes before.
pub(crate) async fn read_until(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    found: impl Fn(&[u8]) -> Option<usize>,
) -> std::io::Result<Option<usize>> {
    loop {
        if let Some(end) = found(bytes) {
            return Ok(Some(end));
        }
        if stream.read_buf(bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// Where the body begins.
pub(crate) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// How long the body is.
pub(crate) fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
