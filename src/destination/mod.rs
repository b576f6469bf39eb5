//! Stage 7: an event becomes operations of its destination.
pub mod customerio;
