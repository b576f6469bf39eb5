//! The stages behind the journal, in their order. Start reading here.
//!
//! [`prepare()`] is pure and runs in parallel, an event at a time: spec, scripts, guard,
//! contract. [`resolve()`] runs in the order of acceptance, on one thread, because what one event teaches counts for the
//! next: identity, business key, mapping. What comes out of it are bytes for Customer.io.
//!
//! Neither does I/O beyond looking facts up, and neither reads a clock: fixtures run the same code.
//!
//! Not here: what happens to an event over time ([`crate::relay`]).

mod prepare;
mod resolve;

pub use prepare::{prepare, prepare_traced};
pub use resolve::{REMEMBERS_GONE, facts_about, resolve};

use std::sync::Arc;

use crate::clock::Time;
use crate::contract::Look;
use crate::destination::customerio::{Encoded, Subject};
use crate::guard::{Case, Verdict};
use crate::identity::{Departure, Notice};
use crate::journal::{Fact, FactKey};
use crate::outcome::{DeadLetter, Outcome};
use crate::spec::{Arrival, Event, Ingress, Traffic};
use crate::transform::Hints;

/// An event behind the pure stages.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Where it comes from, for counters and the trail.
    pub origin: Origin,
    /// What became of it.
    pub result: Result<Vec<Part>, Outcome>,
    /// How it, and what the scripts made of it, compares with the contracts.
    pub checks: Arc<[Check]>,
    /// The hash of the scripts that made it.
    pub bundle: Arc<str>,
}

/// One comparison of an event with its contract.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Which event that the scripts made; `None` for the one that arrived.
    pub part: Option<u32>,
    /// What was found, with what the scripts reported.
    pub look: Look,
}

/// What is told about an event whatever becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The source.
    pub source: String,
    /// The name of the replay that it belongs to; empty otherwise.
    pub label: String,
    /// The message id.
    pub message_id: String,
    /// Type and name, as they arrived.
    pub event: String,
    /// When it was accepted.
    pub accepted_at: Time,
    /// The class of traffic.
    pub traffic: Traffic,
    /// Whether it ends what other events started: a purchase that never arrives is what fires wrong
    /// messages.
    pub exit: bool,
    /// When it happened, as its sender or else its vendor says; absent for replays.
    pub happened_at: Option<Time>,
}

impl Origin {
    /// What is known before the call is read.
    pub fn of(arrival: &Arrival) -> Self {
        Self {
            source: arrival.source.clone(),
            label: arrival.label().to_owned(),
            message_id: String::new(),
            event: String::new(),
            accepted_at: arrival.accepted_at,
            traffic: arrival.traffic(),
            exit: false,
            happened_at: None,
        }
    }
}

/// One of the events that the scripts made, with the guard's verdict.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its number among its siblings.
    pub index: u32,
    /// The event.
    pub event: Event,
    /// What the scripts said about it.
    pub hints: Hints,
    /// What the guard was asked.
    pub case: Case,
    /// What the guard answered.
    pub verdict: Verdict,
    /// What it becomes instead of being sent, when its contract says so.
    pub refused: Option<DeadLetter>,
    /// The door through which it came.
    pub ingress: Ingress,
    /// Whether a secret vouches for it.
    pub trusted: bool,
}

/// A part with its person, ready to travel.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// The operations, frozen, in their order.
    pub operations: Vec<Frozen>,
    /// Whose order they keep.
    pub keys: Vec<Arc<str>>,
    /// What the event taught.
    pub taught: Vec<(FactKey, Option<Fact>)>,
    /// The business key that the event holds now.
    pub holds: Option<FactKey>,
    /// The person or anonymous id for the trail; never an e-mail address.
    pub person: Option<String>,
    /// Who is deleted or suppressed by it.
    pub leaving: Option<Leaving>,
    /// How the person was found.
    pub identity: &'static str,
    /// What was noticed about its identifiers.
    pub notices: Vec<Notice>,
    /// Until when it is held: its person may become known. Nothing is sent for it before.
    pub hold_until: Option<Time>,
    /// Whose event it is.
    pub subject: Subject,
    /// The end of the part: at once where there are no operations, else when they are delivered.
    pub end: Option<Outcome>,
}

/// Somebody whom an event deletes or suppresses, if Customer.io does it.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaving {
    /// The key of the person.
    pub person: String,
    /// When it happened, and that it is expected.
    pub departure: Departure,
    /// What is forgotten with the person.
    pub forgets: Vec<FactKey>,
}

/// One operation as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Frozen {
    /// Its name, for reports.
    pub name: &'static str,
    /// The bytes.
    pub payload: Encoded,
    /// Whether it must travel alone.
    pub barrier: bool,
}
