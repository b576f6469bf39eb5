//! How the operator's commands reach Segue: a running server, or the journal of one that is not.
//!
//! A server is asked through the socket in its data folder. Where nobody listens and the journal is
//! free, a command that only needs the journal opens it itself. Where there is no socket (Windows, a
//! path too long for one) but somebody holds the journal, the operator's TCP listener is tried, if it
//! is the one of that very folder.
//!
//! Not here: what is asked ([`crate::admin`]).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::status::Status;
use crate::app;
use crate::clock::SystemClock;
use crate::config::{self, AdminConfig, Loaded, Overrides};
use crate::journal::sqlite::{SqliteJournal, SqliteOptions};
use crate::journal::{Journal, JournalError};

/// Where the server is, and how its answers are shown.
#[derive(Args, Clone, Debug, Default)]
pub struct OperatorArgs {
    /// The configuration file of the server. Default: segue.toml, where there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data folder of the server; then no configuration is read.
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    pub data_dir: Option<PathBuf>,
    /// Answers as JSON, one object on a line.
    #[arg(long)]
    pub json: bool,
}

/// What a command speaks to.
pub(super) enum Reach {
    /// A running server.
    Server(Server),
    /// The journal of one that is not running.
    Folder(SqliteJournal),
}

/// A running server.
pub(super) struct Server {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    runtime: tokio::runtime::Runtime,
}

/// Reaches the server, or else the journal that it would have.
pub(super) fn reach(args: &OperatorArgs) -> anyhow::Result<Reach> {
    let place = Place::of(args)?;
    if let Some(server) = place.server_at_socket()? {
        return Ok(Reach::Server(server));
    }
    let folder = place.options.directory.clone();
    if !folder.join("journal.db").exists() {
        bail!(
            "no Segue listens at {}, and there is no journal in that folder: say --config or --data-dir",
            place.socket().display()
        );
    }
    match SqliteJournal::open(place.options.clone(), Arc::new(SystemClock)) {
        Ok(journal) => {
            eprintln!("No Segue is running on {}: reading its journal here.", folder.display());
            Ok(Reach::Folder(journal))
        }
        Err(error @ JournalError::InUse(_)) => match place.server_at_listener()? {
            Some(server) => Ok(Reach::Server(server)),
            None => Err(anyhow!(error).context(format!(
                "somebody holds the journal but does not listen at {}",
                place.socket().display()
            ))),
        },
        Err(error) => Err(error.into()),
    }
}

/// Reaches the server; without one there is nothing to ask.
pub(super) fn server(args: &OperatorArgs) -> anyhow::Result<Server> {
    let place = Place::of(args)?;
    match place.server_at_socket()? {
        Some(server) => Ok(server),
        None => place.server_at_listener()?.with_context(|| {
            format!(
                "no Segue is running on {}: where is it? Say --config or --data-dir, or start it with `segue serve`",
                place.options.directory.display()
            )
        }),
    }
}

/// Waits for the journal's answer, and closes it when there are no more questions.
pub(super) fn close(journal: &SqliteJournal) -> anyhow::Result<()> {
    journal.close().blocking_recv().context("the journal did not close")??;
    Ok(())
}

impl Server {
    /// Asks for something.
    pub(super) fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> anyhow::Result<T> {
        self.send(self.http.get(self.address(path, query)))
    }

    /// Asks for something that may not be there; `None`: the server knows nothing of it.
    pub(super) fn find<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        match self.exchange(self.http.get(self.address(path, &[])))? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => read(status, &body).map(Some),
        }
    }

    /// Tells to do something.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let request = self.http.post(format!("{}{path}", self.base));
        self.send(request.body(serde_json::to_vec(body)?))
    }

    /// Asks for something that comes line by line, until `take` wants no more or the server ends it.
    pub(super) fn lines(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
        mut take: impl FnMut(&str) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let request = self.http.get(self.address(path, query));
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        self.runtime.block_on(async {
            let mut answer = request.send().await?;
            if !answer.status().is_success() {
                let (status, body) = (answer.status(), answer.bytes().await?);
                return Err(complaint(status, &body));
            }
            let mut pending: Vec<u8> = Vec::new();
            while let Some(bytes) = answer.chunk().await? {
                pending.extend_from_slice(&bytes);
                while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = pending.drain(..=end).collect();
                    let line = String::from_utf8_lossy(&line);
                    if !line.trim().is_empty() && !take(line.trim())? {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
    }

    fn address(&self, path: &str, query: &[(&str, Option<String>)]) -> String {
        let said = query.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let pairs: Vec<String> = said
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        format!("{}{path}?{}", self.base, pairs.join("&"))
    }

    fn new(http: reqwest::Client, base: String, token: Option<String>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { http, base, token, runtime })
    }

    fn send<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> anyhow::Result<T> {
        let (status, body) = self.exchange(request)?;
        read(status, &body)
    }

    fn exchange(&self, request: reqwest::RequestBuilder) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        self.runtime.block_on(async {
            let answer = request.send().await?;
            let status = answer.status();
            anyhow::Ok((status, answer.bytes().await?))
        })
    }
}

/// What a server answers.
fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> anyhow::Result<T> {
    if status.is_success() {
        return serde_json::from_slice(body)
            .context("the server's answer cannot be read: is it of another version?");
    }
    Err(complaint(status, body))
}

/// What a server says that refuses.
fn complaint(status: StatusCode, body: &[u8]) -> anyhow::Error {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    match said.get("message").and_then(Value::as_str) {
        Some(message) => anyhow!("{message}"),
        None => anyhow!("the server answered {status}"),
    }
}

/// Where the server is, or would be.
struct Place {
    options: SqliteOptions,
    admin: Option<AdminConfig>,
}

impl Place {
    fn of(args: &OperatorArgs) -> anyhow::Result<Self> {
        let (options, admin) = match &args.data_dir {
            Some(folder) => {
                (SqliteOptions { directory: folder.clone(), ..SqliteOptions::default() }, None)
            }
            None => {
                // These commands need no secret, but they must find the folder.
                let overrides = Overrides { demo: true, ..Overrides::default() };
                let Loaded { mut config, unset, .. } =
                    config::load_partly(args.config.as_deref(), &overrides)?;
                if let Some(unset) = unset.iter().find(|unset| unset.path == "data_dir") {
                    bail!(
                        "the environment variable {} is not set or empty, and data_dir reads it: set it, or say --data-dir",
                        unset.variable
                    );
                }
                if unset.iter().any(|unset| unset.path == "admin.token") {
                    config.admin.token = None;
                }
                (app::journal_options(&config), Some(config.admin))
            }
        };
        // The next server must still learn how the last one stopped.
        Ok(Self { options: SqliteOptions { keep_stop_note: true, ..options }, admin })
    }

    fn socket(&self) -> PathBuf {
        self.options.directory.join(crate::admin::SOCKET)
    }

    /// The server at the socket; `None`: nobody listens there.
    #[cfg(unix)]
    fn server_at_socket(&self) -> anyhow::Result<Option<Server>> {
        let socket = self.socket();
        match std::os::unix::net::UnixStream::connect(&socket) {
            Ok(_) => {
                let http = http().unix_socket(socket.as_path()).build()?;
                Ok(Some(Server::new(http, "http://segue".into(), None)?))
            }
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::InvalidInput => {
                    Ok(None)
                }
                ErrorKind::PermissionDenied => bail!(
                    "{} is for the user who runs Segue: run this as that user",
                    socket.display()
                ),
                _ => Err(error).with_context(|| format!("cannot connect to {}", socket.display())),
            },
        }
    }

    #[cfg(not(unix))]
    fn server_at_socket(&self) -> anyhow::Result<Option<Server>> {
        Ok(None)
    }

    /// The server at the operator's TCP listener, if it is the one of this folder.
    fn server_at_listener(&self) -> anyhow::Result<Option<Server>> {
        let Some(admin) = self.admin.as_ref().filter(|admin| !admin.listen.is_empty()) else {
            return Ok(None);
        };
        let token = admin.token.as_ref().filter(|token| !token.is_empty());
        let token = token.map(|token| token.expose().to_owned());
        let server = Server::new(http().build()?, format!("http://{}", admin.listen), token)?;
        let Ok(status) = server.get::<Status>("/api/status", &[]) else { return Ok(None) };
        let is_ours = folder_name(&self.options.directory) == status.journal.folder;
        Ok(is_ours.then_some(server))
    }
}

/// How a server names its own data folder.
fn folder_name(folder: &Path) -> String {
    std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf()).display().to_string()
}

/// A client that speaks to this machine only: no proxy, no certificates.
fn http() -> reqwest::ClientBuilder {
    // Fails when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

#[cfg(test)]
mod tests;
