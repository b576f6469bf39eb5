//! Medians, spreads and how they are shown.

use std::time::Duration;

/// What was measured for one thing, a figure for each round.
pub(crate) struct Series {
    name: &'static str,
    rounds: Vec<f64>,
}

impl Series {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, rounds: Vec::new() }
    }

    pub(crate) fn add(&mut self, figure: f64) {
        self.rounds.push(figure);
    }

    /// The median and both ends.
    pub(crate) fn spread(&self) -> (f64, f64, f64) {
        spread(self.rounds.clone())
    }

    fn ratios(&self, to: &Self) -> Vec<f64> {
        self.rounds.iter().zip(&to.rounds).map(|(one, other)| one / other).collect()
    }
}

fn spread(mut figures: Vec<f64>) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    let last = figures.len().saturating_sub(1);
    (figures[last / 2], figures[0], figures[last])
}

/// A table of series with their ratios to one of them, round by round.
pub(crate) fn print_ratios(title: &str, series: &[Series], to: usize) {
    println!("\n{title}");
    println!("  {:<18} {:>28}   x {}", "", "us CPU an event (median, ends)", series[to].name);
    for one in series {
        let (median, least, most) = one.spread();
        let (ratio, lowest, highest) = spread(one.ratios(&series[to]));
        println!(
            "  {:<18} {median:>10.2}  ({least:>6.2} .. {most:>6.2})   {ratio:>5.2}  ({lowest:.2} .. {highest:.2})",
            one.name
        );
    }
}

/// The time below which so many per cent are, in milliseconds.
pub(crate) fn percentile(times: &mut [Duration], percent: f64) -> f64 {
    times.sort_unstable();
    let last = float(times.len().saturating_sub(1));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let at = (last * percent / 100.0).round() as usize;
    times[at].as_secs_f64() * 1000.0
}

/// A count as a number to calculate with.
pub(crate) fn float(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().unwrap_or(u32::MAX))
}
