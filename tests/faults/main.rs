//! The fault bench: a real server, an emulator that fails on order, a proxy that breaks connections,
//! and an oracle that knows every event.
//!
//! `cargo test --test faults` runs every scenario short. Names run only those, `--strict` fails for
//! figures that depend on the machine too, and the options make a scenario long:
//!
//! ```text
//! cargo test --release --test faults -- kills --kills 50 --rate 2000
//! cargo test --release --test faults -- power-cut --cuts 20 --rate 1000
//! cargo test --release --test faults -- outage --outage 600 --rate 1000
//! cargo test --release --test faults -- backfill hot --seconds 30 --rate 500 --strict
//! cargo test --release --test faults -- weather --seconds 150 --seed 7
//! ```
//!
//! Not here: what one module alone can show; the tests beside the code do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

mod drive;
mod front;
mod load;
mod lot;
mod oracle;
mod proxy;
mod report;
mod scenarios;
mod server;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::stream;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;

use scenarios::{ALL, Scenario};

/// Scenarios that run side by side when all of them do: most of their time they wait.
const SIDE_BY_SIDE: usize = 5;

/// How long and how hard.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// How often the process is killed.
    kills: u64,
    /// How often the power is cut.
    cuts: u64,
    /// Events a second.
    rate: u64,
    /// How long Customer.io is down.
    outage: Duration,
    /// How long a scenario that only goes on goes on.
    seconds: Duration,
    /// Damaged copies of a journal.
    flips: u64,
    /// Connections that misbehave.
    connections: usize,
    /// Which of the random courses.
    seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kills: 3,
            cuts: 3,
            rate: 250,
            outage: Duration::from_secs(15),
            seconds: Duration::from_secs(4),
            flips: 60,
            connections: 100,
            seed: 1,
        }
    }
}

impl Options {
    /// How long a scenario may take before it counts as stuck; out of reach of a busy machine.
    fn patience(&self) -> Duration {
        let times = self.kills + self.cuts + self.flips / 10;
        Duration::from_secs(240 + times * 15) + self.outage * 4 + self.seconds * 10
    }
}

/// What Rust's own test harness understands, and `cargo` hands to every test binary alike.
const HARNESS: [&str; 9] = [
    "--bench",
    "--exact",
    "--ignored",
    "--include-ignored",
    "--no-capture",
    "--nocapture",
    "--quiet",
    "--show-output",
    "-q",
];
/// The same, with a value.
const HARNESS_SETTINGS: [&str; 6] =
    ["--color", "--format", "--logfile", "--skip", "--test-threads", "-Z"];

/// What the command line asks for.
#[derive(Default)]
struct Asked {
    names: Vec<String>,
    /// Something in another test binary.
    elsewhere: bool,
    options: Options,
    strict: bool,
    list: bool,
}

fn main() -> ExitCode {
    let asked = match read(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let all = asked.names.is_empty() && !asked.elsewhere;
    let wanted: Vec<&Scenario> =
        ALL.iter().filter(|one| all || asked.names.iter().any(|name| one.name == name)).collect();
    if asked.list {
        wanted.iter().for_each(|one| println!("{}: test", one.name));
        return ExitCode::SUCCESS;
    }
    if wanted.is_empty() {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // What was named is measured: nothing else may run beside it.
    let lanes = if all { SIDE_BY_SIDE } else { 1 };
    let options = asked.options;
    let begun = Instant::now();
    let mut reports: Vec<report::Report> = runtime.block_on(async {
        let runs = wanted.into_iter().map(|one| async move {
            let run = AssertUnwindSafe((one.run)(options)).catch_unwind();
            let begun = Instant::now();
            let report = match timeout(options.patience(), run).await {
                Ok(Ok(report)) => report,
                Ok(Err(_)) => report::Report::broken(one.name, "no, see above"),
                Err(_) => report::Report::broken(one.name, "it was stuck"),
            };
            eprintln!("{:<16} {}", one.name, report::seconds(begun.elapsed()));
            report
        });
        stream::iter(runs).buffer_unordered(lanes).collect().await
    });
    // What is stuck is not waited for.
    runtime.shutdown_background();
    reports.sort_by_key(|report| ALL.iter().position(|one| one.name == report.name));
    report::print(&reports);
    println!("\n{} scenarios in {}", reports.len(), report::seconds(begun.elapsed()));
    match reports.iter().all(|report| report.passed(asked.strict)) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What is wrong with a word, and what would be right.
fn unknown(word: &str) -> String {
    let names: Vec<&str> = ALL.iter().map(|one| one.name).collect();
    let flags = "--kills N --cuts N --rate N --outage N --seconds N --flips N --seed N --connections N \
                 --strict --list";
    format!("{word} is no scenario and no flag\nscenarios: {}\nflags: {flags}", names.join(" "))
}

fn read(words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let mut words = words;
    while let Some(word) = words.next() {
        let mut number = || -> Result<u64, String> {
            let number = words.next().and_then(|text| text.parse().ok());
            number.ok_or_else(|| format!("{word} needs a whole number"))
        };
        let options = &mut asked.options;
        match word.as_str() {
            "--kills" => options.kills = number()?,
            "--cuts" => options.cuts = number()?,
            "--rate" => options.rate = number()?.max(1),
            "--outage" => options.outage = Duration::from_secs(number()?),
            "--seconds" => options.seconds = Duration::from_secs(number()?),
            "--flips" => options.flips = number()?,
            "--seed" => options.seed = number()?,
            "--connections" => options.connections = number()? as usize,
            "--strict" => asked.strict = true,
            "--list" => asked.list = true,
            flag if HARNESS.contains(&flag) => {}
            flag if HARNESS_SETTINGS.contains(&flag) => drop(words.next()),
            flag if flag.split_once('=').is_some_and(|(it, _)| HARNESS_SETTINGS.contains(&it)) => {}
            name if ALL.iter().any(|one| one.name == name) => asked.names.push(name.to_owned()),
            // `cargo test` asks every binary for the names of tests elsewhere.
            name if !name.starts_with('-') => {
                eprintln!("{}", unknown(name));
                asked.elsewhere = true;
            }
            _ => return Err(unknown(&word)),
        }
    }
    Ok(asked)
}
