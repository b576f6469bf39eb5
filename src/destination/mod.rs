//! Stage 7: an event becomes operations of its destination.
//!
//! There is one destination, [`customerio`]: its mappings, its operations, how they are written for
//! either transport, its limits, its HTTP client and the meaning of its answers.
//!
//! Not here: whose event it is ([`crate::identity`]), when and in which order operations are sent
//! ([`crate::delivery`]).

pub mod customerio;
