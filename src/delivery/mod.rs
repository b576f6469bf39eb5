//! Stage 8: operations travel to Customer.io, in order for each person, until each has an answer.
//!
//! [`Courier`] is the whole policy and does no I/O: it is given items and answers, and asked for
//! requests; time is an argument. Whoever drives it sends the requests and brings the answers back,
//! in production by HTTP, in fixtures by a call of the emulator.
//!
//! * [`queues`]: an item waits only for earlier items of its own keys; [`ready`]: those that wait for none.
//! * [`batch`]: which ready items travel together; [`luggage`]: as what; [`suspects`]: who travels alone.
//! * [`backoff`], [`breaker`]: when to try again, when to stop trying.
//! * [`rate`], [`slots`]: how fast to go, and how many requests at a time.
//!
//! Not here: what an answer means ([`crate::destination`]), what the end of an item means for its
//! event ([`crate::relay`]).

pub mod backoff;
pub mod batch;
pub mod breaker;
mod courier;
pub mod luggage;
pub mod queues;
pub mod rate;
pub mod ready;
pub mod slots;
pub mod suspects;

pub use courier::{Courier, CourierConfig, Fate, Flight, FlightId, Settled, Standing};
pub use queues::{Item, ItemId};
