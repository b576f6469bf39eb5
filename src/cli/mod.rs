//! The command line.

pub mod map;
