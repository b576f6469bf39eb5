//! A TCP proxy that breaks connections on order.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// What it does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Nothing.
    Pass,
    /// Takes connections and resets them.
    Refuse,
    /// Takes connections and requests, and keeps every answer to itself.
    Swallow,
    /// Every n-th answer: the connection is reset instead, after the request was done.
    ResetAnswer(u64),
    /// Every n-th answer: half of it, and then the end.
    HalfAnswer(u64),
    /// Every n-th answer: all of it, and then the end, although the connection was to be kept.
    CloseAfter(u64),
    /// Every n-th answer: byte by byte, so many milliseconds apart.
    Trickle(u64, u64),
}

/// A proxy in front of one address.
pub(crate) struct Proxy {
    addr: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    broken: Arc<AtomicU64>,
}

impl Proxy {
    /// Begins to listen.
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mode = Arc::new(Mutex::new(Mode::Pass));
        let (broken, answers) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let shared = Shared { mode: Arc::clone(&mode), broken: Arc::clone(&broken), answers };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, upstream, shared.clone()));
            }
        });
        Self { addr, mode, broken }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The same without the scheme.
    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// Does something else from now on.
    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// How many connections it has broken.
    pub(crate) fn broken(&self) -> u64 {
        self.broken.load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
struct Shared {
    mode: Arc<Mutex<Mode>>,
    broken: Arc<AtomicU64>,
    answers: Arc<AtomicU64>,
}

impl Shared {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap()
    }

    /// Whether this answer is the n-th.
    fn is_turn(&self, every: u64) -> bool {
        self.answers.fetch_add(1, Ordering::SeqCst) % every == every - 1
    }
}

/// What to do with a connection after an answer.
enum Next {
    Go,
    End,
    Reset,
}

async fn carry(client: TcpStream, upstream: SocketAddr, shared: Shared) {
    // Neither matters for a connection that is broken anyway.
    let _ = client.set_nodelay(true);
    if shared.mode() == Mode::Refuse {
        let _ = client.set_zero_linger();
        return;
    }
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let _ = server.set_nodelay(true);
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let requests = tokio::spawn(pump(from_client, to_server));
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read) = from_server.read(&mut bytes).await
        && read > 0
    {
        match pass_on(&bytes[..read], &mut to_client, &shared).await {
            Next::Go => {}
            Next::End => {
                shared.broken.fetch_add(1, Ordering::SeqCst);
                let _ = to_client.shutdown().await;
                break;
            }
            Next::Reset => {
                shared.broken.fetch_add(1, Ordering::SeqCst);
                let _ = to_client.as_ref().set_zero_linger();
                break;
            }
        }
    }
    requests.abort();
}

async fn pass_on(bytes: &[u8], to: &mut OwnedWriteHalf, shared: &Shared) -> Next {
    let written = match shared.mode() {
        Mode::Refuse => return Next::Reset,
        Mode::Swallow => Ok(()),
        Mode::ResetAnswer(every) if shared.is_turn(every) => return Next::Reset,
        Mode::HalfAnswer(every) if shared.is_turn(every) => {
            let _ = to.write_all(&bytes[..bytes.len() / 2]).await;
            return Next::End;
        }
        Mode::CloseAfter(every) if shared.is_turn(every) => {
            let _ = to.write_all(bytes).await;
            return Next::End;
        }
        Mode::Trickle(every, pause) if shared.is_turn(every) => {
            for byte in bytes {
                sleep(Duration::from_millis(pause)).await;
                if to.write_all(&[*byte]).await.is_err() {
                    return Next::End;
                }
            }
            Ok(())
        }
        _ => to.write_all(bytes).await,
    };
    if written.is_ok() { Next::Go } else { Next::End }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut bytes).await
        && read > 0
        && to.write_all(&bytes[..read]).await.is_ok()
    {}
}
