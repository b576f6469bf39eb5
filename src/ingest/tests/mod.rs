//! The whole door, from bytes on a connection to what is in the journal.

mod answers;
mod auth;
mod bodies;
mod browsers;
mod recorded;
mod rooms;
mod support;
mod timing;
