//! Stage 4: the team's Rhai scripts turn one event into none, one or several.
//!
//! A [`Bundle`] is the transforms folder: scripts, libraries, tables and manifest, checked as a whole
//! and named by the hash of its content. A [`Runner`] is a bundle compiled for one thread; it takes
//! an event through the stages and gives back what was [`Made`] of it, with what the scripts said to
//! the stages behind them ([`Hints`]). Scripts are pure: the same event and context give the same
//! result. They reach nothing but their event, are stopped by limits ([`Limits`]), and whatever they
//! do wrong ends as a [`ScriptError`] with file and line; the original event is untouched.
//!
//! In the order in which an event meets them: `runner` and `stages` (matching and error policy), `frame` (the call), `sandbox` (what a
//! script may use), `handle` (the event in a script), `helpers` (functions for scripts), `results`
//! (what a handler may return). When one fails: `blame` (where), `mishap` (what), `repair` (how the line would be right). Beside the path: `compile` and `lint` (what `check` says), [`reload`], [`mod@reference`].
//!
//! Not here: what an old event may do ([`crate::guard`]), whose it is ([`crate::identity`]).

mod blame;
mod bundle;
mod compile;
pub mod coverage;
mod diagnostic;
mod error;
mod frame;
mod handle;
mod helpers;
mod limits;
mod lint;
mod made;
pub mod manifest;
mod mask;
mod mishap;
pub mod reference;
pub mod reload;
mod repair;
mod results;
mod runner;
mod sandbox;
mod schemas;
mod script_context;
mod session;
pub mod shelf;
pub mod shipped;
mod stage_trace;
mod stages;
pub mod trial;

pub use bundle::Bundle;
pub use diagnostic::{Diagnostic, Severity};
pub use error::{ScriptError, code};
pub use helpers::{Group, Helper, helpers};
pub use limits::Limits;
pub use lint::{Lint, lints};
pub use made::{
    BusinessKey, Hints, IdentifyAs, Made, Printed, Scripted, StageTrace, TraceOutcome, Violation,
    Warning,
};
pub use runner::Runner;
pub use script_context::Context;

#[cfg(test)]
mod tests;
