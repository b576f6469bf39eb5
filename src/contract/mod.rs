//! Stage 6: whether an event holds what the team agreed on, and what happens when it does not.
//!
//! A contract is a file `schemas/<event>.json` of the transforms folder: a subset of JSON Schema for
//! the `properties` of a track, page or screen, or the `traits` of an identify or group. It is found by
//! the canonical key of the event, so it holds whatever style of names a team sends on. An event is
//! looked at twice: as it arrived ([`Contracts::look`]), which says what a source sends, and as the
//! scripts left it ([`Contracts::enforce`]), which says what Customer.io gets. Only the second look
//! decides anything, and by default it only reports.
//!
//! Schemas are compiled once (`reader`, `schema`) and compared without allocating until something is
//! wrong (`compare`).
//!
//! Not here: what scripts repair before ([`crate::transform`]); where violations are counted,
//! which is the operator's surface.

mod bounds;
mod compare;
mod dictionary;
mod place;
mod reader;
mod schema;
mod violation;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use dictionary::Entry;
pub use reader::{Fault, keywords};
pub use schema::Contract;
pub use violation::{Kind, Violation};

use crate::outcome::{DeadCode, DeadLetter, Stage};
use crate::spec::{self, Call, Event, Object};

/// Where the schemas are in the transforms folder.
pub const FOLDER: &str = "schemas/";

/// More than this of one event are not told one by one.
const MOST_VIOLATIONS: usize = 50;
/// More than this are not named in the sentence of a dead letter.
const MOST_NAMED: usize = 5;

/// What is counted as the event of calls that no contract is about.
const OTHER: &str = "(other)";

/// What happens to an event that breaks its contract.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// It is delivered as it is, and reported.
    #[default]
    Deliver,
    /// It becomes a dead letter.
    DeadLetter,
    /// What is wrong is taken out, and the rest is delivered. What is missing stays missing.
    Omit,
}

impl Policy {
    /// The name in a schema and in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::DeadLetter => "dead_letter",
            Self::Omit => "omit",
        }
    }
}

/// What happens to tracked events that no schema is about.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unplanned {
    /// Nothing.
    #[default]
    Ignore,
    /// They are delivered, and reported.
    Report,
    /// They become dead letters.
    DeadLetter,
}

/// `[contracts]` of the manifest.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// The policy of schemas that name none.
    pub on_violation: Policy,
    /// What happens to tracked events without a schema.
    pub unplanned: Unplanned,
}

/// All contracts of a bundle.
#[derive(Clone, Debug, Default)]
pub struct Contracts {
    by_key: HashMap<String, Contract>,
    rules: Rules,
    /// The names under which calls without a contract are counted.
    others: Others,
}

/// One look at one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The event by which it is counted: the key of the contract, or what kind of call it is.
    pub event: Arc<str>,
    /// Whether there is a contract.
    pub planned: bool,
    /// What is wrong.
    pub violations: Vec<Violation>,
}

impl Look {
    /// Whether it is worth telling: something was compared, or something is wrong.
    pub fn tells(&self) -> bool {
        self.planned || !self.violations.is_empty()
    }
}

impl Contracts {
    /// Reads and compiles schemas: their file names without folder and `.json`, and their texts.
    ///
    /// # Errors
    /// Every fault of every file.
    pub fn read<'a>(
        files: impl Iterator<Item = (&'a str, &'a str)>,
        rules: Rules,
    ) -> Result<Self, Vec<Fault>> {
        let mut contracts = Self { rules, ..Self::default() };
        let mut faults = Vec::new();
        for (key, text) in files {
            match Contract::read(key, text, rules.on_violation) {
                Ok(contract) => {
                    contracts.by_key.insert(key.to_owned(), contract);
                }
                Err(more) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(contracts) } else { Err(faults) }
    }

    /// All contracts, by the keys of their events.
    pub fn all(&self) -> BTreeMap<&str, &Contract> {
        self.by_key.iter().map(|(key, contract)| (key.as_str(), contract)).collect()
    }

    /// The rules for all of them.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Looks at an event with this canonical key and changes nothing.
    pub fn look(&self, event: &Event, canonical: &str) -> Look {
        match self.find(event.call(), canonical) {
            Some(contract) => contract.look(event),
            None => self.look_at_other(event.call()),
        }
    }

    /// Looks at an event and does what the contract says: takes out what may not go on, or gives
    /// the dead letter that the event becomes.
    pub fn enforce(&self, event: &mut Event, canonical: &str) -> (Look, Option<DeadLetter>) {
        let Some(contract) = self.find(event.call(), canonical) else {
            let look = self.look_at_other(event.call());
            let dies = !look.violations.is_empty() && self.rules.unplanned == Unplanned::DeadLetter;
            let letter = dies.then(|| letter_of(canonical, &look.violations));
            return (look, letter);
        };
        let look = contract.look(event);
        if look.violations.is_empty() {
            return (look, None);
        }
        let letter =
            (contract.policy == Policy::DeadLetter).then(|| letter_of(canonical, &look.violations));
        if letter.is_none() {
            let field = contract.field();
            if let Some(Value::Object(fields)) = event.fields_mut().get_mut(field) {
                contract.omit(fields, &look.violations);
            }
        }
        (look, letter)
    }

    fn find(&self, call: Call, canonical: &str) -> Option<&Contract> {
        if self.by_key.is_empty() {
            return None;
        }
        match call {
            Call::Track => self.by_key.get(canonical).filter(|contract| !contract.is_of_a_call()),
            call => self.by_key.get(call.as_str()),
        }
    }

    fn look_at_other(&self, call: Call) -> Look {
        let is_unplanned = call == Call::Track && self.rules.unplanned != Unplanned::Ignore;
        let violations = is_unplanned.then(Violation::unplanned).into_iter().collect();
        Look { event: self.others.of(call), planned: false, violations }
    }
}

/// The names of calls that no contract is about.
#[derive(Clone, Debug)]
struct Others([Arc<str>; 5]);

impl Default for Others {
    fn default() -> Self {
        Self(["identify", "group", "page", "screen", OTHER].map(Arc::from))
    }
}

impl Others {
    fn of(&self, call: Call) -> Arc<str> {
        let at = match call {
            Call::Identify => 0,
            Call::Group => 1,
            Call::Page => 2,
            Call::Screen => 3,
            Call::Track | Call::Alias | Call::Delete => 4,
        };
        Arc::clone(&self.0[at])
    }
}

impl Contract {
    fn look(&self, event: &Event) -> Look {
        static NOTHING: std::sync::LazyLock<Object> = std::sync::LazyLock::new(Object::new);
        let field = self.field();
        let fields =
            spec::field(event.fields(), field).and_then(Value::as_object).unwrap_or(&NOTHING);
        let violations = compare::compare(&self.root, field, fields, MOST_VIOLATIONS);
        Look { event: Arc::clone(&self.event), planned: true, violations }
    }

    /// Takes out what the policies do not let through.
    fn omit(&self, fields: &mut Object, violations: &[Violation]) {
        // From the end, so that places in lists stay where they are.
        for violation in violations.iter().rev() {
            let goes = match violation.kind {
                Kind::AdditionalProperties => self.omits_additional || self.policy == Policy::Omit,
                Kind::DatatypeMismatch | Kind::AdvanceRules => self.policy == Policy::Omit,
                Kind::RequiredMissing | Kind::Unknown | Kind::UnplannedEvent => false,
            };
            if goes {
                compare::remove(fields, &violation.steps);
            }
        }
    }
}

fn letter_of(canonical: &str, violations: &[Violation]) -> DeadLetter {
    let named: Vec<String> = violations.iter().take(MOST_NAMED).map(Violation::to_string).collect();
    let more = violations.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let canonical: String = canonical.chars().take(100).collect();
    let message = format!(
        "{canonical} breaks its contract: {}{more}; mend it in a script or at the source, or change \
         schemas/, and redrive",
        named.join("; ")
    );
    let told = violations.iter().map(|violation| {
        json!({"kind": violation.name(), "path": violation.path(), "wanted": violation.wanted})
    });
    let detail = json!({"event": canonical, "violations": told.collect::<Vec<_>>()});
    DeadLetter::new(DeadCode::ContractViolated, Stage::Contract, message).with_detail(detail)
}

#[cfg(test)]
mod tests;
