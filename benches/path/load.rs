//! The senders: keep-alive connections, as fast as answers come or at a given pace.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::event;
use crate::sink::{Arrivals, content_length, end_of_head, read_until};

/// How requests are sent.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Events in each.
    pub(crate) batch: usize,
    /// Connections; each sends its next request when its last was answered.
    pub(crate) connections: usize,
}

/// Sends every event once. Waits while more than `ahead` events of those sent are not in `arrivals`,
/// where that is given.
pub(crate) async fn send_all(
    addr: SocketAddr,
    path: &'static str,
    events: Range<usize>,
    Shape { batch, connections }: Shape,
    gate: Option<(Arc<Arrivals>, usize)>,
) {
    let arrived = gate.as_ref().map_or(0, |(arrivals, _)| arrivals.count());
    let start = events.start;
    let next = Arc::new(AtomicUsize::new(events.start));
    let mut senders = JoinSet::new();
    for _ in 0..connections {
        let (next, end, gate) = (Arc::clone(&next), events.end, gate.clone());
        senders.spawn(async move {
            let mut connection = Connection::open(addr).await;
            loop {
                let first = next.fetch_add(batch, Ordering::Relaxed);
                if first >= end {
                    return;
                }
                while let Some((arrivals, ahead)) = &gate
                    && first - start > arrivals.count() - arrived + ahead
                {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let body = match batch {
                    1 => event::one(first),
                    _ => event::batch(first..(first + batch).min(end)),
                };
                connection.post(path, &body).await;
            }
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender.expect("a sender must not fail");
    }
}

/// When a request was sent and when it was answered, after the base of the arrivals.
#[derive(Clone, Copy)]
pub(crate) struct Exchange {
    pub(crate) event: usize,
    pub(crate) sent: Duration,
    pub(crate) answered: Duration,
}

/// Sends single events at `per_second`, spread over connections so that one late answer does not
/// hold up what is due next.
pub(crate) async fn send_paced(
    addr: SocketAddr,
    path: &'static str,
    events: Range<usize>,
    per_second: u32,
    (connections, base): (usize, Instant),
) -> Vec<Exchange> {
    let start = tokio::time::Instant::now() + Duration::from_millis(50);
    let pace = Duration::from_secs(1) / per_second;
    let mut senders = JoinSet::new();
    for lane in 0..connections {
        let events = events.clone();
        senders.spawn(async move {
            let mut connection = Connection::open(addr).await;
            let mut exchanges = Vec::new();
            for event in events.clone().skip(lane).step_by(connections) {
                let turn = u32::try_from(event - events.start).expect("few events");
                tokio::time::sleep_until(start + pace * turn).await;
                let body = event::one(event);
                let sent = base.elapsed();
                connection.post(path, &body).await;
                exchanges.push(Exchange { event, sent, answered: base.elapsed() });
            }
            exchanges
        });
    }
    let mut exchanges = Vec::new();
    while let Some(sender) = senders.join_next().await {
        exchanges.extend(sender.expect("a sender must not fail"));
    }
    exchanges
}

struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("the server must listen");
        stream.set_nodelay(true).expect("a TCP stream");
        Self { stream, bytes: Vec::new() }
    }

    /// Posts a body and waits for its 200.
    async fn post(&mut self, path: &str, body: &str) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.expect("the server must read");
        let head = read_until(&mut self.stream, &mut self.bytes, end_of_head).await;
        let head = head.expect("an answer").expect("an open connection");
        assert!(
            self.bytes.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&self.bytes)
        );
        let end = head + content_length(&self.bytes[..head]);
        let whole = |bytes: &[u8]| (bytes.len() >= end).then_some(end);
        read_until(&mut self.stream, &mut self.bytes, whole).await.expect("the answer's body");
        self.bytes.drain(..end);
    }
}
