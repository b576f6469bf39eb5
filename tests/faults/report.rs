//! What was measured, against what was promised.

use std::fmt::Display;
use std::time::Duration;

/// One line of the table.
pub(crate) struct Line {
    what: String,
    figure: String,
    mark: String,
    held: Held,
}

/// Whether a promise was kept.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Held {
    /// It was.
    Yes,
    /// It was not.
    No,
    /// A figure that depends on the machine missed its mark: only `--strict` fails for that.
    Beyond,
    /// There is no mark.
    Figure,
}

/// The lines of one scenario.
pub(crate) struct Report {
    /// Its name.
    pub(crate) name: &'static str,
    lines: Vec<Line>,
}

impl Report {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, lines: Vec::new() }
    }

    /// Of a scenario that did not come to its end, and why.
    pub(crate) fn broken(name: &'static str, why: &str) -> Self {
        let mut report = Self::new(name);
        report.must("came to its end", "yes", why, false);
        report
    }

    /// A promise that holds on every machine.
    pub(crate) fn must(
        &mut self,
        what: &str,
        mark: impl Display,
        figure: impl Display,
        held: bool,
    ) {
        self.line(what, mark, figure, if held { Held::Yes } else { Held::No });
    }

    /// A promise whose figure depends on the machine.
    pub(crate) fn should(
        &mut self,
        what: &str,
        mark: impl Display,
        figure: impl Display,
        held: bool,
    ) {
        self.line(what, mark, figure, if held { Held::Yes } else { Held::Beyond });
    }

    /// The same with a limit that is out of reach of the busiest machine: beyond that it is a defect.
    pub(crate) fn at_most<T: Copy + PartialOrd>(
        &mut self,
        what: &str,
        [mark, limit]: [T; 2],
        figure: T,
        show: fn(T) -> String,
    ) {
        let held = match figure {
            figure if figure <= mark => Held::Yes,
            figure if figure <= limit => Held::Beyond,
            _ => Held::No,
        };
        self.line(what, format!("<= {}, never {}", show(mark), show(limit)), show(figure), held);
    }

    /// A figure without a mark.
    pub(crate) fn figure(&mut self, what: &str, figure: impl Display) {
        self.line(what, "", figure, Held::Figure);
    }

    /// Puts the lines of another one behind its own.
    pub(crate) fn append(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    /// Whether every promise was kept; `strict`: those of the machine too.
    pub(crate) fn passed(&self, strict: bool) -> bool {
        self.lines
            .iter()
            .all(|line| line.held != Held::No && !(strict && line.held == Held::Beyond))
    }

    fn line(&mut self, what: &str, mark: impl Display, figure: impl Display, held: Held) {
        let (what, mark, figure) = (what.to_owned(), mark.to_string(), figure.to_string());
        self.lines.push(Line { what, figure, mark, held });
    }
}

/// Prints the table.
pub(crate) fn print(reports: &[Report]) {
    println!("\n{:<16} {:<46} {:>16}  {:<29}", "scenario", "what", "measured", "mark");
    for report in reports {
        for (index, line) in report.lines.iter().enumerate() {
            let name = if index == 0 { report.name } else { "" };
            let Line { what, figure, mark, held } = line;
            let held = match held {
                Held::Yes => "ok",
                Held::No => "MISSED",
                Held::Beyond => "beyond",
                Held::Figure => "",
            };
            println!("{name:<16} {what:<46} {figure:>16}  {mark:<29} {held}");
        }
    }
}

/// A time in milliseconds.
pub(crate) fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}

/// A time in seconds.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// So much memory.
pub(crate) fn mebibytes(mebibytes: u64) -> String {
    format!("{mebibytes} MiB")
}

/// How many times as much.
pub(crate) fn times(ratio: f64) -> String {
    format!("{ratio:.2}")
}

/// The time below which so many per cent are.
pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    times.get(last * percent / 100).copied().unwrap_or_default()
}
