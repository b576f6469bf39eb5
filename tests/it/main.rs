//! Black-box tests: the real server on a free port, the emulator of Customer.io behind it.
//!
//! No test sleeps to wait for something: it polls a condition with a deadline ([`support::eventually`]).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod against;
mod architecture;
mod bench;
mod conservation;
mod crash;
mod delivery;
mod docs;
mod fixtures;
mod input;
mod misfires;
mod offline;
mod operation;
mod relay;
mod replays;
mod scripts;
mod support;
mod week;
