//! A `segue` that runs on until it is stopped, in a process of its own, with what it printed at the start.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

pub struct Served {
    child: Child,
    pub printed: String,
}

impl Served {
    /// Starts it, and waits until it has printed `last`: then it listens.
    pub fn start(command: &mut Command, last: &str) -> Self {
        let started = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut served = Self { child: started.unwrap(), printed: String::new() };
        let mut lines = BufReader::new(served.child.stdout.take().unwrap());
        while !served.printed.contains(last) {
            let length = lines.read_line(&mut served.printed).unwrap();
            assert_ne!(length, 0, "it ended early: {}", served.printed);
        }
        served
    }

    /// The address behind a word of what it printed.
    pub fn address(&self, before: &str) -> String {
        let rest = self.printed.split_once(before).unwrap_or_else(|| panic!("{}", self.printed)).1;
        let start = rest.find("http://").unwrap();
        rest[start..].split_whitespace().next().unwrap().trim_end_matches(':').to_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
