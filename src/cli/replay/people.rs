//! Whom the workspace has: by a list that somebody exported, and by what a Segue's journal knows.
//!
//! Not here: what is done about those whom it does not have ([`super::renew`], [`super::plan`]).

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use crate::clock::Time;
use crate::destination::customerio::PersonId;
use crate::identity;
use crate::journal::FactKey;
use crate::journal::sqlite::Base;
use crate::relay::hashed;

/// The people whom the workspace has, as far as is known.
#[derive(Debug)]
pub(super) struct People {
    listed: Option<HashSet<u64>>,
    journal: Option<Arc<Base>>,
    now: Time,
}

impl People {
    /// Those of a list (an id or e-mail address on a line, or in the first column) and those whom a
    /// journal knows at `now`; `None`: neither was given.
    ///
    /// # Errors
    /// The list cannot be read.
    pub(super) fn of(
        list: Option<&Path>,
        journal: Option<Arc<Base>>,
        now: Time,
    ) -> anyhow::Result<Option<Self>> {
        let listed = list.map(read).transpose()?;
        let is_given = listed.is_some() || journal.is_some();
        Ok(is_given.then_some(Self { listed, journal, now }))
    }

    /// Whether somebody is among them.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(super) fn have(&self, person: &PersonId) -> anyhow::Result<bool> {
        let is_listed =
            self.listed.as_ref().is_some_and(|listed| listed.contains(&hashed(&person.key())));
        Ok(is_listed || self.journal_knows(&identity::facts_that_show(person))?)
    }

    /// Whether a visitor was seen with one of them.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(super) fn have_visitor(&self, anonymous: &str) -> anyhow::Result<bool> {
        self.journal_knows(&[identity::fact_that_joins(anonymous)])
    }

    /// The journal that knows them.
    pub(super) fn journal(&self) -> Option<&Arc<Base>> {
        self.journal.as_ref()
    }

    /// What it means that somebody is not among them, as the end of a sentence.
    pub(super) fn meaning(&self) -> &'static str {
        match (&self.listed, &self.journal) {
            (Some(_), None) => "are not in the list of people and would be created",
            (Some(_), Some(_)) => {
                "are neither in the list of people nor identified by that Segue, and would be created"
            }
            (None, _) => {
                "were not identified by that Segue, and would be created unless the workspace has them \
                 from elsewhere"
            }
        }
    }

    fn journal_knows(&self, keys: &[FactKey]) -> anyhow::Result<bool> {
        let Some(journal) = &self.journal else { return Ok(false) };
        Ok(journal.load(keys, self.now)?.iter().any(Option::is_some))
    }
}

fn read(file: &Path) -> anyhow::Result<HashSet<u64>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    let first =
        |line: &str| line.split(',').next().map(|id| id.trim().trim_matches('"').to_owned());
    let ids = text.lines().filter_map(first).filter(|id| !id.is_empty());
    Ok(ids.map(|id| hashed(&PersonId::from_text(&id).key())).collect())
}
