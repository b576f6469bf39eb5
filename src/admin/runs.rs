//! What is known of replays by their names, and of the data by its sources.
//!
//! The counts of a replay are the journal's and survive restarts. What was found in the data is known
//! since the start of the process.
//!
//! Not here: what is looked for ([`crate::data_health`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::data_health::{DataHealth, Figures};
use crate::journal::Total;

/// What became of one replay.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Run {
    /// Its name.
    pub name: String,
    /// Events that came in, repeated ones too.
    pub accepted: u64,
    /// Dead letters that were sent on their way again.
    pub redriven: u64,
    /// Delivered.
    pub delivered: u64,
    /// Dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Dead letters, by reason.
    pub dead_lettered: BTreeMap<String, u64>,
    /// Without an outcome: parked, or still on their way.
    pub pending: u64,
    /// What was found in its data; `None`: nothing is known since the start.
    pub data: Option<Figures>,
}

/// What was found in the data.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct DataReport {
    /// Since when.
    pub since: String,
    /// By source.
    pub sources: Vec<SourceData>,
}

/// What was found in the data of one source.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct SourceData {
    /// Its name.
    pub source: String,
    /// Messages that came again, since the journal began.
    pub duplicates: u64,
    /// Events that another one had told already, since the journal began.
    pub duplicate_keys: u64,
    /// What was found since the start.
    pub found: Figures,
}

/// The replays that the journal knows, by name; `data`: what was found in theirs.
pub fn runs(totals: &[Total], data: Option<&DataHealth>) -> Vec<Run> {
    let mut runs: BTreeMap<&str, Run> = BTreeMap::new();
    for total in totals.iter().filter(|total| !total.label.is_empty()) {
        let run = runs.entry(&total.label).or_default();
        match total.outcome.as_str() {
            "accepted" => run.accepted += total.count,
            "redriven" => run.redriven += total.count,
            "delivered" => run.delivered += total.count,
            "dropped" => *run.dropped.entry(total.reason.clone()).or_default() += total.count,
            "dead_lettered" => {
                *run.dead_lettered.entry(total.reason.clone()).or_default() += total.count;
            }
            _ => {}
        }
    }
    let finish = |(name, run): (&str, Run)| {
        let ended = run.delivered
            + run.dropped.values().sum::<u64>()
            + run.dead_lettered.values().sum::<u64>();
        Run {
            name: name.to_owned(),
            pending: (run.accepted + run.redriven).saturating_sub(ended),
            data: data.and_then(|data| data.runs().get(name).cloned()),
            ..run
        }
    };
    runs.into_iter().map(finish).collect()
}

/// What was found in the data of each source.
pub fn report(totals: &[Total], data: &DataHealth, since: String) -> DataReport {
    let mut sources: BTreeMap<&str, SourceData> = BTreeMap::new();
    for total in totals.iter().filter(|total| total.outcome == "dropped") {
        let found = sources.entry(&total.source).or_default();
        match total.reason.as_str() {
            "duplicate" => found.duplicates += total.count,
            "duplicate_key" => found.duplicate_keys += total.count,
            _ => {}
        }
    }
    for (source, figures) in data.sources() {
        sources.entry(source).or_default().found = figures.clone();
    }
    let named = |(source, found): (&str, SourceData)| SourceData { source: source.into(), ..found };
    DataReport { since, sources: sources.into_iter().map(named).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::total;

    #[test]
    fn a_replay_is_counted_by_its_name_over_all_sources() {
        let totals = [
            total("web", "march", "accepted", "", 10),
            total("app", "march", "accepted", "", 5),
            total("web", "march", "delivered", "", 6),
            total("web", "march", "dropped", "duplicate", 2),
            total("app", "march", "dead_lettered", "rejected", 1),
            total("web", "", "accepted", "", 99),
            total("web", "", "dropped", "duplicate", 7),
        ];
        let runs = runs(&totals, None);
        assert_eq!(runs.len(), 1);
        let run = &runs[0];
        assert_eq!((run.accepted, run.delivered, run.pending), (15, 6, 6));
        assert_eq!((run.dropped["duplicate"], run.dead_lettered["rejected"]), (2, 1));
        let report = report(&totals, &DataHealth::default(), String::new());
        assert_eq!((report.sources.len(), report.sources[0].duplicates), (1, 9));
    }
}
