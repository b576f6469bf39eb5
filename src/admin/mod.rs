//! The operator's surface: what Segue tells about itself, and what it can be told to do.
//!
//! Two doors lead to the same API: a TCP listener (`[admin] listen`) for metrics, probes and
//! scripts, and a socket in the data folder for the command line, which only its owner can open.
//! Nothing that is answered here holds a payload, but for dead letters, recorded originals and taps,
//! which were asked for as such.
//!
//! | module | what is in it |
//! |---|---|
//! | `picture` | everything that is known at one moment |
//! | [`health`], `metrics`, [`status`] | what that picture says: to a probe, to Prometheus, to a person |
//! | [`dead_letters`], [`story`], [`runs`] | what could not be sent; what happened to whom, and to replays |
//! | [`originals`] | dead letters and recorded events with their payload, for export |
//! | [`tap`] | events as they pass |
//! | [`scripts`] | reload |
//! | `watch` | what the journal's counters do not tell |
//! | `access`, `http`, `socket` | who may ask, and where |
//!
//! Not here: the listener for events ([`crate::server`]), how the command line shows the answers
//! ([`crate::cli`]).

mod access;
pub mod contracts;
pub mod dead_letters;
mod error;
pub mod health;
mod http;
mod lately;
mod metrics;
pub mod originals;
mod picture;
mod recent;
pub mod runs;
pub mod scripts;
#[cfg(unix)]
mod socket;
pub mod status;
pub mod story;
pub mod tap;
mod watch;

pub use error::AdminError;
pub use picture::Picture;
pub use watch::Watch;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::task::JoinHandle;

use self::health::Health;
use crate::clock::Clock;
use crate::config::Config;
use crate::destination::customerio::client::Client;
use crate::journal::Journal;
use crate::relay;
use crate::server::{ReadinessProbe, Ready};
use crate::transform::Bundle;
use crate::transform::reload::Reloader;

/// The name of the socket in the data folder.
pub const SOCKET: &str = "admin.sock";

/// How often the health that probes are told is looked at anew.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long requests may take to end when the listener closes, in whole seconds.
const CLOSES_WITHIN_SECS: u64 = 2;

/// What the operator's surface looks at, and what it can set going.
pub struct Admin {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// The store.
    pub journal: Arc<dyn Journal>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The scripts in force.
    pub bundle: Arc<ArcSwap<Bundle>>,
    /// What the relay is doing.
    pub relay: relay::Contact,
    /// What carries requests to Customer.io.
    pub client: Arc<Client>,
    /// Exchanges the scripts.
    pub reloader: Arc<Reloader>,
    /// What the journal's counters do not tell.
    pub watch: Arc<Watch>,
    /// Where events can be looked at as they pass.
    pub tap: Arc<relay::Tap>,
}

/// A running operator's surface.
#[derive(Debug)]
pub struct Running {
    addr: Option<SocketAddr>,
    socket: Option<PathBuf>,
    server: Option<(ServerHandle, JoinHandle<std::io::Result<()>>)>,
    looking: JoinHandle<()>,
}

impl Running {
    /// Where the TCP listener is; `None`: there is none.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// The socket that the command line speaks to; `None`: there is none.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Stops listening and removes the socket.
    pub async fn stop(self) {
        self.looking.abort();
        if let Some(socket) = &self.socket {
            // Gone already is as good; otherwise the next start replaces it.
            let _ = std::fs::remove_file(socket);
        }
        if let Some((handle, server)) = self.server {
            handle.stop(true).await;
            // It ended because it was told to; how tells nothing more.
            let _ = server.await;
        }
    }
}

/// What `/health/ready` of the events' listener asks: reads what the last look found, so it is as
/// quick as the event path needs it.
pub fn readiness(admin: Arc<Admin>) -> Arc<ReadinessProbe> {
    // Before the first look only the journal can keep events out.
    admin.watch.judged(Health::of_journal(&admin.journal.health()));
    Arc::new(move || Ready {
        readiness: admin.watch.health().readiness(),
        bundle: admin.bundle.load().hash().to_owned(),
    })
}

/// Opens both doors. Needs a running tokio runtime.
///
/// # Errors
/// The TCP address cannot be bound. A socket that cannot be made is only logged: events matter more.
pub fn serve(admin: Arc<Admin>) -> anyhow::Result<Running> {
    let data = web::Data::from(Arc::clone(&admin));
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(web::PayloadConfig::new(http::BODY_BYTES))
            .configure(http::routes)
            .wrap(from_fn(access::guarded))
    })
    .on_connect(access::remember_door)
    .workers(1)
    .shutdown_timeout(CLOSES_WITHIN_SECS)
    .disable_signals();
    let listen = &admin.config.admin.listen;
    let mut addr = None;
    if !listen.is_empty() {
        let listener = TcpListener::bind(listen)
            .with_context(|| format!("the operator's listener cannot listen on {listen}"))?;
        addr = Some(listener.local_addr()?);
        server = server.listen(listener)?;
    }
    #[cfg(unix)]
    let (server, socket) = match socket::bind(&admin.config.data_dir) {
        Ok((listener, path)) => (server.listen_uds(listener)?, Some(path)),
        Err(error) => {
            let path = admin.config.data_dir.join(SOCKET);
            tracing::warn!(%error, path = %path.display(), "no socket for the command line");
            (server, None)
        }
    };
    #[cfg(not(unix))]
    let socket: Option<PathBuf> = None;
    let server = (addr.is_some() || socket.is_some()).then(|| {
        let running = server.run();
        (running.handle(), tokio::spawn(running))
    });
    Ok(Running { addr, socket, server, looking: tokio::spawn(keep_looking(admin)) })
}

/// Looks at everything once a second, for probes that must not wait.
async fn keep_looking(admin: Arc<Admin>) {
    let recalling = Arc::clone(&admin);
    let recalled = tokio::task::spawn_blocking(move || recalling.recall_exits()).await;
    if let Ok(Err(error)) = recalled {
        tracing::warn!(%error, "the dead letters of the last day could not be read");
    }
    loop {
        let picture = admin.look().await;
        admin.watch.judged(Health::of(&picture));
        admin.watch.tidy();
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
pub(crate) mod tests;
