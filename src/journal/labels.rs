//! Names by which something is counted for good although others choose them: names of replays, reasons
//! of scripts. So there is an end to them; what comes after shares one name.

use std::collections::HashSet;

/// The names that were seen, over restarts.
#[derive(Debug, Default)]
pub(crate) struct Labels(HashSet<String>);

impl Labels {
    /// So many have a counter of their own.
    pub(crate) const MOST: usize = 1000;
    /// What all others are called.
    pub(crate) const OTHERS: &str = "others";

    /// The name by which this one is counted.
    pub(crate) fn counted(&mut self, name: String) -> String {
        if self.0.contains(&name) {
            return name;
        }
        if self.0.len() >= Self::MOST {
            return Self::OTHERS.to_owned();
        }
        self.0.insert(name.clone());
        name
    }
}

impl FromIterator<String> for Labels {
    fn from_iter<T: IntoIterator<Item = String>>(names: T) -> Self {
        Self(names.into_iter().collect())
    }
}
