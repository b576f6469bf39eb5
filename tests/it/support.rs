//! What the tests share: a Segue in this process, a Segue in a process of its own, and patience.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use segue::app::App;
use segue::clock::SystemClock;
use segue::config::{self, Config};
use segue::emulator::EventRecord;
use serde_json::{Value, json};

/// Longer than anything takes on a busy machine; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `probe` finds something.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An HTTP client that goes nowhere but where it is told.
pub fn http() -> reqwest::Client {
    // Another test may have installed it already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A Segue in this process, with a folder of its own that goes with it.
pub struct Segue {
    pub app: App,
    pub http: reqwest::Client,
    pub folder: tempfile::TempDir,
}

/// A configuration for tests: free ports, the emulator, `more` on top.
pub fn config(folder: &Path, more: &str) -> Config {
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndestination = \"emulator\"\n{more}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[source]]\nname = \"web\"\nkind = \"segment\"\nwrite_keys = [\"key\"]\n\
         [[source]]\nname = \"server\"\nkind = \"rudderstack\"\n"
    );
    let mut config = config::parse(&text, "test.toml", &|_| None).unwrap();
    config.data_dir = folder.join("data");
    config.transforms = match folder.join("transforms") {
        own if own.exists() => own,
        _ => "shipped".into(),
    };
    config
}

impl Segue {
    /// Starts one with the shipped scripts.
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), "").await
    }

    /// Starts one in a folder, which may hold `transforms`, with more configuration.
    pub async fn start_in(folder: tempfile::TempDir, more: &str) -> Self {
        let config = config(folder.path(), more);
        let app = App::start(config, Arc::new(SystemClock)).await.unwrap();
        let http = http();
        Self { app, http, folder }
    }

    /// Stops it and keeps the folder.
    pub async fn stop(self) -> tempfile::TempDir {
        self.app.stop().await;
        self.folder
    }

    /// Posts a body; answers status and body.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.app.addr());
        let request = self.http.post(url).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    /// Posts to the webhook of the Segment source and expects success.
    pub async fn send(&self, body: &Value) {
        let answer = self.post("/webhook/web", body).await;
        assert_eq!(answer, (200, json!({"success": true})));
    }

    /// The emulator's events so far.
    pub fn events(&self) -> Vec<EventRecord> {
        self.app.emulator().unwrap().lock().events().cloned().collect()
    }

    /// Tells the emulator to fail.
    pub fn fail(&self, rules: Value) {
        let rules = serde_json::from_value(rules).unwrap();
        self.app.emulator().unwrap().lock().set_faults(rules);
    }

    /// Waits until nothing is pending.
    pub async fn settled(&self) {
        eventually("everything to be settled", async || {
            (self.app.journal().pending().total() == 0).then_some(())
        })
        .await;
    }

    /// A counter of the journal, over all sources.
    pub fn total(&self, outcome: &str) -> u64 {
        let totals = self.app.journal().totals();
        totals.iter().filter(|total| total.outcome == outcome).map(|total| total.count).sum()
    }

    /// Checks that every accepted event is accounted for.
    pub fn assert_conservation(&self) {
        let accepted = self.total("accepted") + self.total("redriven");
        let ended = self.total("delivered") + self.total("dropped") + self.total("dead_lettered");
        assert_eq!(accepted, ended + self.app.journal().pending().total());
    }
}

/// A track event of `user`.
pub fn track(user: &str, name: &str, id: &str) -> Value {
    json!({"type": "track", "event": name, "userId": user, "messageId": id,
        "properties": {"n": id}, "timestamp": now()})
}

/// The time now, as senders write it.
pub fn now() -> String {
    use segue::clock::Clock;
    SystemClock.now().to_string()
}

/// A Segue in a process of its own, that can be killed.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `segue serve` with a configuration file, on a port of its own, and waits until it
    /// listens.
    pub async fn start(config: &Path, addr: &str) -> Self {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_segue"));
        serve.args(["serve", "--config"]).arg(config);
        Self::of(serve.stdout(Stdio::null()).stderr(Stdio::null()), addr).await
    }

    /// Starts what was put together, and waits until it listens.
    pub async fn of(serve: &mut Command, addr: &str) -> Self {
        let process = Self { child: serve.spawn().unwrap() };
        let http = http();
        let url = format!("http://{addr}/health/live");
        eventually("the process to listen", async || http.get(&url).send().await.ok()).await;
        process
    }

    /// Kills it as a power cut would: nothing is written any more.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop; answers whether it ended with success.
    pub fn terminate(&mut self) -> bool {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder that costs no disk where the system has one: a sync of it takes no time.
pub fn memory_folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made = memory.is_dir().then(|| tempfile::tempdir_in(memory).ok()).flatten();
    made.unwrap_or_else(|| tempfile::tempdir().unwrap())
}
