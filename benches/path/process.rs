//! Child processes, and what the system says about them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The name of the variable that tells this binary which role to play.
pub(crate) const ROLE: &str = "SEGUE_BENCH_ROLE";

/// A server in a process of its own; gone when it is dropped.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    child: Child,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts `command` and waits for the line that names its address.
    #[allow(clippy::zombie_processes, reason = "Drop waits for it")]
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a server must start");
        let mut stdout = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut line = String::new();
        loop {
            line.clear();
            let read = stdout.read_line(&mut line).expect("its output must be readable");
            assert!(read > 0, "the server ended before it said where it listens");
            if let Some((_, addr)) = line.trim().split_once("http://") {
                let addr = addr.parse().expect("an address");
                return Self { addr, child, _stdout: stdout };
            }
        }
    }

    /// Starts this binary again, in a role.
    pub(crate) fn role(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.env(ROLE, role);
        Self::start(command)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time so far, user and system, in microseconds (whole ticks of the system: 10 ms).
    pub(crate) fn cpu_micros(&self) -> u64 {
        let stat = self.proc("stat");
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().expect("a number of ticks");
        (ticks(11) + ticks(12)) * 10_000
    }

    /// CPU time so far of its threads, in microseconds, by the name that threads of a kind share.
    pub(crate) fn threads_micros(&self) -> BTreeMap<String, u64> {
        let mut spent = BTreeMap::new();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).expect("it runs");
        for task in tasks.flatten() {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file)).ok();
            let (Some(name), Some(stat)) = (read("comm"), read("schedstat")) else { continue };
            let nanos: u64 = stat.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            let kind = name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
            *spent.entry(kind.to_owned()).or_default() += nanos / 1000;
        }
        spent
    }

    /// Waits until it has nothing left to do: no tick for 150 ms.
    pub(crate) fn settle(&self) {
        let mut before = self.cpu_micros();
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(150));
            let now = self.cpu_micros();
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Memory in use, and the most that ever was, in MiB.
    pub(crate) fn memory_mib(&self) -> (u64, u64) {
        let status = self.proc("status");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
            kib / 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.id())).expect("it runs, on Linux")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
