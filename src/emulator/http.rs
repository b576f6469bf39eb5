//! The emulator on a socket.
//!
//! Answers exactly what [`Emulator::handle`] gives, and carries out its faults: waits, sends a body
//! byte by byte, or closes the connection without an answer.
//!
//! Not here: what is answered.

use std::any::Any;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::dev::{Extensions, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt, web};
use bytes::Bytes;
use futures_util::stream;
use tokio::task::JoinHandle;

use super::{Emulator, Request, Response};
use crate::clock::Clock;

/// Larger bodies are answered with 413: far beyond every published limit.
const BODY_BYTES: usize = 8 << 20;

/// An emulator that is being served. Dropping it leaves the server running; [`Running::stop`] ends it.
pub struct Running {
    addr: SocketAddr,
    emulator: Arc<Mutex<Emulator>>,
    handle: ServerHandle,
    server: JoinHandle<io::Result<()>>,
}

impl Running {
    /// The address that is listened on, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The emulator itself, to look into.
    pub fn emulator(&self) -> Arc<Mutex<Emulator>> {
        Arc::clone(&self.emulator)
    }

    /// Locks the emulator. Do not hold it across an await: the server needs it too.
    pub fn lock(&self) -> MutexGuard<'_, Emulator> {
        lock(&self.emulator)
    }

    /// Stops listening and drops what is in flight.
    pub async fn stop(self) {
        self.handle.stop(false).await;
        // The server ended because it was told to; how it ended tells nothing more.
        let _ = self.server.await;
    }
}

/// Serves an emulator on `addr`; port 0 takes any free one. Runs inside a tokio or actix runtime.
///
/// # Errors
/// When the address cannot be bound or the server's thread cannot be started.
pub fn serve(addr: SocketAddr, emulator: Emulator, clock: Arc<dyn Clock>) -> io::Result<Running> {
    let listener = TcpListener::bind(addr)?;
    let addr = listener.local_addr()?;
    let emulator = Arc::new(Mutex::new(emulator));
    let shared = web::Data::new(Shared { emulator: Arc::clone(&emulator), clock });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .app_data(web::PayloadConfig::new(BODY_BYTES))
            .default_service(web::to(answer))
    })
    .on_connect(keep_socket)
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?
    .run();
    let handle = server.handle();
    let server = tokio::spawn(server);
    Ok(Running { addr, emulator, handle, server })
}

struct Shared {
    emulator: Arc<Mutex<Emulator>>,
    clock: Arc<dyn Clock>,
}

/// A second handle on the socket of a connection, through which it can be closed.
struct Socket(TcpStream);

async fn answer(shared: web::Data<Shared>, http: HttpRequest, body: Bytes) -> HttpResponse {
    let request = Request {
        method: http.method().as_str().to_owned(),
        path: http.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        headers: headers(&http),
        body,
    };
    let response = lock(&shared.emulator).handle(&request, shared.clock.now());
    let fault = response.fault;
    if !fault.delay.is_zero() {
        rt::time::sleep(fault.delay).await;
    }
    if fault.reset
        && let Some(Socket(socket)) = http.conn_data()
    {
        // A socket that cannot be shut down is closed already.
        let _ = socket.shutdown(Shutdown::Both);
    }
    into_http(response, fault.trickle)
}

fn headers(http: &HttpRequest) -> Vec<(String, String)> {
    http.headers()
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect()
}

fn into_http(response: Response, trickle: Duration) -> HttpResponse {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut http = HttpResponse::build(status);
    for (name, value) in response.headers {
        http.append_header((name, value));
    }
    if trickle.is_zero() {
        return http.body(response.body);
    }
    let bytes = response.body;
    http.streaming(stream::unfold((bytes, 0), move |(bytes, sent)| async move {
        if sent >= bytes.len() {
            return None;
        }
        rt::time::sleep(trickle).await;
        let next = bytes.slice(sent..=sent);
        Some((Ok::<Bytes, actix_web::Error>(next), (bytes, sent + 1)))
    }))
}

fn keep_socket(connection: &dyn Any, data: &mut Extensions) {
    let stream = connection.downcast_ref::<rt::net::TcpStream>();
    if let Some(socket) = stream.and_then(|stream| duplicate(stream).ok()) {
        data.insert(Socket(socket));
    }
}

#[cfg(unix)]
fn duplicate(stream: &rt::net::TcpStream) -> io::Result<TcpStream> {
    use std::os::fd::AsFd;
    stream.as_fd().try_clone_to_owned().map(TcpStream::from)
}

#[cfg(windows)]
fn duplicate(stream: &rt::net::TcpStream) -> io::Result<TcpStream> {
    use std::os::windows::io::AsSocket;
    stream.as_socket().try_clone_to_owned().map(TcpStream::from)
}

/// A panic while the lock was held leaves nothing half-written that would be worse than no emulator.
fn lock(emulator: &Mutex<Emulator>) -> MutexGuard<'_, Emulator> {
    emulator.lock().unwrap_or_else(PoisonError::into_inner)
}
