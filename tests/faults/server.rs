//! The server under test: a process of its own, started, killed, stopped and measured.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::load::client;

/// How long anything may take before it counts as never; draining after a long outage has its own.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long everything that waits may take to be delivered.
const DRAINS_WITHIN: Duration = Duration::from_secs(900);

/// How a server is set up.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    /// Where Customer.io is.
    pub(crate) url: String,
    /// Lines of `[customerio]`.
    pub(crate) customerio: String,
    /// Lines of the source.
    pub(crate) source: String,
    /// The folder of the scripts; by default those that come with Segue.
    pub(crate) transforms: String,
    /// Further sections.
    pub(crate) more: String,
    /// The folder of its journal; by default beside its configuration.
    pub(crate) data: Option<PathBuf>,
    /// What the shell does before it becomes the server.
    pub(crate) before: String,
}

/// What a server says became of the events, over all sources.
#[derive(Clone, Copy, Deserialize)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) redriven: u64,
    pub(crate) delivered: u64,
    pub(crate) dropped: u64,
    pub(crate) dead_lettered: u64,
    /// Without an outcome, wherever they wait.
    #[serde(default)]
    pub(crate) pending: u64,
}

/// What it says of a dead letter.
#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "the rest is there to be printed")]
pub(crate) struct Dead {
    pub(crate) message_id: String,
    reason: String,
    message: String,
}

/// The server. Its folder goes with it.
pub(crate) struct Segue {
    /// Where it takes events.
    pub(crate) addr: String,
    admin: String,
    folder: TempDir,
    data: PathBuf,
    before: String,
    process: Option<Child>,
    http: reqwest::Client,
}

impl Segue {
    /// Starts one and waits until it takes events.
    pub(crate) async fn start(setup: &Setup) -> Self {
        // On the disk of the repository: a temporary folder may be memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut segue = Self {
            addr: format!("127.0.0.1:{}", free_port()),
            admin: format!("127.0.0.1:{}", free_port()),
            data: setup.data.clone().unwrap_or_else(|| folder.path().join("data")),
            folder,
            before: setup.before.clone(),
            process: None,
            http: client(),
        };
        segue.configure(setup);
        segue.launch().await;
        segue
    }

    /// Writes another configuration, for the next start.
    pub(crate) fn configure(&self, setup: &Setup) {
        let (addr, admin) = (&self.addr, &self.admin);
        let Setup { url, customerio, source, more, .. } = setup;
        let scripts = Some(setup.transforms.as_str()).filter(|folder| !folder.is_empty());
        let scripts = scripts.unwrap_or("shipped");
        let key = if customerio.contains("api_key") { "" } else { "api_key = \"bench\"" };
        let text = format!(
            "listen = \"{addr}\"\ndata_dir = {:?}\ntransforms = \"{scripts}\"\n[admin]\nlisten = \"{admin}\"\n\
             [customerio]\nsite_id = \"bench\"\n{key}\nurl = \"{url}\"\n\
             {customerio}\n[[source]]\nname = \"web\"\n{source}\n{more}\n",
            self.data
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// Starts the process, which is to end by itself; answers whether it did so with success.
    pub(crate) async fn refused(&mut self) -> bool {
        self.process = Some(self.spawn());
        self.ended().await
    }

    /// Starts the process; answers how long it took until it was ready for events.
    pub(crate) async fn launch(&mut self) -> Duration {
        let begun = Instant::now();
        self.process = Some(self.spawn());
        let url = format!("http://{}/health/ready", self.addr);
        self.until("it takes events", async |segue| {
            let answer = segue.http.get(&url).send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        begun.elapsed()
    }

    fn spawn(&self) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let line = format!("{}exec \"$0\" serve --config \"$1\"", self.before);
        Command::new("bash")
            .args(["-c", &line, env!("CARGO_BIN_EXE_segue")])
            .arg(self.config())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Kills it as a power cut would: nothing is written any more.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Asks it to stop; answers how long it took, and whether it ended with success.
    pub(crate) async fn terminate(&mut self) -> (Duration, bool) {
        let begun = Instant::now();
        self.signal("-TERM");
        let well = self.ended().await;
        (begun.elapsed(), well)
    }

    /// Waits until the process ends by itself; answers whether it did so with success.
    async fn ended(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let process = self.process.as_mut().unwrap();
            if let Some(status) = process.try_wait().unwrap() {
                self.process = None;
                return status.success();
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.last_words());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets it do nothing for so long, as a machine that sleeps.
    pub(crate) async fn stand_still(&self, span: Duration) {
        self.signal("-STOP");
        sleep(span).await;
        self.signal("-CONT");
    }

    fn signal(&self, which: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([which, &pid]).status().unwrap().success());
    }

    /// Waits until nothing waits any more, parked events left out; answers how long it took.
    pub(crate) async fn drained(&self) -> Duration {
        let begun = Instant::now();
        self.within(DRAINS_WITHIN, "everything is delivered", async |segue| {
            let status = segue.status().await?;
            let waits = |state: &str| status["pending"][state].as_u64();
            (waits("live")? + waits("backfill")? + waits("retry")? == 0).then_some(())
        })
        .await;
        begun.elapsed()
    }

    /// What the operator is told; `None` while it does not answer.
    pub(crate) async fn status(&self) -> Option<Value> {
        let answer =
            self.http.get(format!("http://{}/api/status", self.admin)).send().await.ok()?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    }

    /// The newest dead letters, up to a thousand; none while it does not answer.
    pub(crate) async fn dead_letters(&self) -> Vec<Dead> {
        let url = format!("http://{}/api/dead-letters?limit=1000", self.admin);
        let Ok(answer) = self.http.get(url).send().await else { return Vec::new() };
        let bytes = answer.bytes().await.unwrap_or_default();
        let page: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        serde_json::from_value(page["dead_letters"].clone()).unwrap_or_default()
    }

    /// What it counted, at one moment. A server that is too busy to say is asked again.
    pub(crate) async fn counts(&self) -> Counts {
        let counted = async |segue: &Self| {
            let status = segue.status().await?;
            let pending = status["pending"].as_object()?.values().filter_map(Value::as_u64).sum();
            let counts = serde_json::from_value(status["events"].clone()).ok()?;
            Some(Counts { pending, ..counts })
        };
        self.until("it says what it counted", counted).await
    }

    /// Requests to Customer.io without an answer; none while it does not say.
    pub(crate) async fn in_flight(&self) -> u64 {
        let status = self.status().await.unwrap_or_default();
        status["delivery"]["in_flight"].as_u64().unwrap_or(0)
    }

    /// The reasons of its health, in one text.
    pub(crate) async fn reasons(&self) -> String {
        let status = self.status().await.unwrap_or_default();
        let reasons = status["health"]["reasons"].as_array().cloned().unwrap_or_default();
        let codes: Vec<&str> = reasons.iter().filter_map(|one| one["code"].as_str()).collect();
        codes.join(" ")
    }

    /// Polls until `probe` finds something.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        probe: impl AsyncFnMut(&Self) -> Option<T>,
    ) -> T {
        self.within(PATIENCE, what, probe).await
    }

    async fn within<T>(
        &self,
        patience: Duration,
        what: &str,
        mut probe: impl AsyncFnMut(&Self) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = probe(self).await {
                return found;
            }
            let words = || format!("waiting until {what}: {}", self.last_words());
            assert!(!self.is_dead(), "the server went down {}", words());
            assert!(Instant::now() < deadline, "in vain {}", words());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Memory in use, in MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
    }

    /// Open files and connections.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// Size of the journal, in MiB.
    pub(crate) fn disk_mib(&self) -> u64 {
        let files = std::fs::read_dir(self.data()).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum::<u64>() >> 20
    }

    /// Whether it ended without being told to.
    fn is_dead(&self) -> bool {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        self.process.is_some() && stat.contains(") Z ")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    /// The folder of its journal.
    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// The lines of its log that hold one of these.
    pub(crate) fn said(&self, words: &[&str]) -> Vec<String> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines = log.lines().filter(|line| words.iter().any(|word| line.contains(word)));
        lines.map(str::to_owned).collect()
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("segue.toml")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Segue {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

/// A port that is free, and that the system does not give to a connection while the server is down.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + std::process::id() as u16 % 1000 * 16;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 3000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Copies the files of a journal.
pub(crate) fn copy_journal(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["journal.db", "journal.db-wal", "journal.mark"] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}
