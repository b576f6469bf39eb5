//! One event as it lies in the file: the envelope, the bytes of the element, and a checksum of both and of its
//! place.
//!
//! Decides when a record is damaged. SQLite does not notice a flipped bit in a row; an event with
//! wrong bytes must never be sent.
//!
//! Not here: which table it lies in ([`super::queues`]).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::{Accepted, JournalError, Seq};
use crate::clock::Time;
use crate::spec::{Arrival, RawCall, Traffic};

/// An accepted call, ready to be written.
#[derive(Debug)]
pub(super) struct Record {
    /// Its deduplication key.
    pub(super) key: u128,
    /// The queue that it goes to.
    pub(super) traffic: Traffic,
    /// The arrival as JSON; shared by the calls that came in alike.
    pub(super) envelope: Arc<str>,
    /// Over envelope and body; its place comes in when it is known.
    pub(super) crc: u32,
    /// The call itself, for the hand-off.
    pub(super) call: RawCall,
}

impl Record {
    /// Encodes a batch. Runs on the caller's thread: the writer has enough to do.
    pub(super) fn all_of(batch: Vec<Accepted>) -> Result<VecDeque<Self>, JournalError> {
        let mut last: Option<(Arc<Arrival>, Arc<str>)> = None;
        let mut records = VecDeque::with_capacity(batch.len());
        for Accepted { key, call } in batch {
            let envelope = match &last {
                Some((arrival, envelope)) if Arc::ptr_eq(arrival, &call.arrival) => {
                    Arc::clone(envelope)
                }
                _ => {
                    let envelope: Arc<str> = encode(&call.arrival)?.into();
                    last = Some((Arc::clone(&call.arrival), Arc::clone(&envelope)));
                    envelope
                }
            };
            let crc = checksum(envelope.as_bytes(), &call.body);
            records.push_back(Self { key, traffic: call.arrival.traffic(), envelope, crc, call });
        }
        Ok(records)
    }

    /// How many bytes wait with it.
    pub(super) fn size(&self) -> usize {
        self.envelope.len() + self.call.body.len()
    }

    /// When it was accepted.
    pub(super) fn at(&self) -> Time {
        self.call.arrival.accepted_at
    }
}

/// A call as it was found, with its size; `Err` says what is wrong with it.
pub(super) struct Found {
    pub(super) call: Result<RawCall, String>,
    pub(super) size: usize,
}

/// Reads a call from a row whose columns from `first` on are crc, envelope and body.
pub(super) fn found(seq: Seq, row: &Row<'_>, first: usize) -> Result<Found, rusqlite::Error> {
    let crc = row.get_ref(first)?;
    let envelope = bytes_of(row.get_ref(first + 1)?);
    let body = bytes_of(row.get_ref(first + 2)?);
    Ok(Found { call: read(seq, crc, envelope, body), size: envelope.len() + body.len() })
}

fn read(seq: Seq, crc: ValueRef<'_>, envelope: &[u8], body: &[u8]) -> Result<RawCall, String> {
    if crc != ValueRef::Integer(i64::from(sealed(checksum(envelope, body), seq))) {
        return Err(format!("record {} is damaged: its checksum does not match", seq.0));
    }
    match serde_json::from_slice(envelope) {
        Ok::<Arrival, _>(arrival) => Ok(RawCall::new(arrival, Bytes::copy_from_slice(body))),
        Err(error) => Err(format!("record {} has an unreadable envelope: {error}", seq.0)),
    }
}

fn encode(arrival: &Arrival) -> Result<String, JournalError> {
    serde_json::to_string(arrival)
        .map_err(|error| JournalError::Failed(format!("cannot store an arrival: {error}")))
}

/// The checksum as it is stored at a place: a row whose number was damaged would pass for another event.
pub(super) fn sealed(crc: u32, seq: Seq) -> u32 {
    crc ^ place(seq)
}

/// What turns the checksum at one place into that at another, where both are combined bit by bit.
pub(super) fn between(one: Seq, other: Seq) -> u32 {
    place(one) ^ place(other)
}

#[allow(clippy::cast_possible_truncation)]
fn place(seq: Seq) -> u32 {
    seq.0 as u32
}

fn checksum(envelope: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(envelope);
    crc.update(body);
    crc.finalize()
}

/// A damaged row may hold any type.
fn bytes_of(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        _ => &[],
    }
}
