//! From journal to outcome: what happens to an event over time.
//!
//! [`Core`] is the whole of it without I/O and without a clock: prepared events go in, requests and
//! changes of the journal come out, answers and acknowledgements go in. [`run`] drives it in
//! production, with script threads before it and HTTP behind it; fixtures drive it on one thread and
//! step the time.
//!
//! An event is made of parts (what the scripts made of it), a part of operations. The event is
//! settled, deferred or parked when all of its parts have an end.
//!
//! Not here: what the stages decide ([`crate::pipeline`]), how requests are composed and tried again
//! ([`crate::delivery`]).

mod core;
mod ledger;
mod purge;
mod reading;
mod run;
mod scripts;
mod sighting;
mod tap;

pub use self::core::{Commit, Core};
pub use ledger::{Decided, Report};
pub use purge::Purge;
pub use run::{Contact, Handle, Relay, Status};
pub use sighting::{Sighting, hashed};
pub use tap::{Heard, Listener, Passed, Tap};
