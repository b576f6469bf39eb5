//! Segue sits between Segment or RudderStack and Customer.io: it turns messy events into one
//! contract with scripts that engineers edit, keeps old and repeated events from firing live
//! campaigns, attaches every event to the right person, and loses nothing on the way.
//!
//! # The path of an event
//!
//! Modules are listed in the order in which an event meets them:
//!
//! 1. [`ingest`] authenticates a request and takes its events apart.
//! 2. [`spec`] turns each into one shape: texts for ids, one event time.
//! 3. [`journal`] makes it durable, once, before the sender is answered.
//! 4. [`transform`] runs the team's Rhai scripts.
//! 5. [`guard`] decides what an old or repeated event may still do.
//! 6. [`contract`] compares it with what the team agreed on.
//! 7. [`identity`] decides whose event it is.
//! 8. [`destination`] maps it to Customer.io operations.
//! 9. [`delivery`] sends them, in order for each person, until each has an answer.
//!
//! [`pipeline`] is the only place that knows this order: start reading there. Every event leaves
//! with exactly one [`outcome::Outcome`].
//!
//! Beside the path stand the [`emulator`] of Customer.io, the [`admin`] surface and the
//! command line ([`cli`]).

// `println!` panics when whoever reads has gone; commands write by `cli::stdout`.
#![warn(clippy::print_stdout)]

pub mod clock;
pub mod outcome;
pub mod pace;

pub mod ingest;
pub mod spec;
pub mod journal;
pub mod transform;
pub mod guard;
pub mod contract;
pub mod identity;
pub mod destination;
pub mod delivery;
pub mod pipeline;
pub mod relay;

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod data_health;
pub mod emulator;
pub mod fixture;
pub mod server;
pub mod telemetry;
