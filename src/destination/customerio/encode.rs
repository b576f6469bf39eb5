//! How an operation is written: as an item of a v2 batch, or as a request of Track v1.
//!
//! Each transport carries something that the other cannot: objects and content reports are v2 only,
//! delivery metrics and events over 32,000 bytes are v1 only. Such an operation goes by the other
//! one.
//!
//! Not here: what an operation says ([`super::mapping`]), how bodies are spelt (`wire.rs`), how
//! items become requests ([`super::request`]).

use std::cell::RefCell;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::limits;
use super::mapping::MapError;
use super::operation::{Event, Identify, Operation};
use super::request::Method;
use super::wire::{Merge, V1Device, V1Event, V1Identify};
use super::{PersonId, Transport, Who};

/// What `encodeURIComponent` leaves bare, so that paths look as those of the native destinations.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// What a buffer for operations keeps, in bytes: nearly all of them fit.
const LARGEST_SCRATCH: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

const EVENTS: &str = "/api/v1/events";
const MERGE: &str = "/api/v1/merge_customers";
const METRICS: &str = "/api/v1/metrics";

/// An operation in its final bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Encoded {
    /// An element of `{"batch":[…]}`.
    Item(Bytes),
    /// A request of its own.
    Call {
        /// The method.
        method: Method,
        /// The path, percent-encoded, from its first slash on.
        path: String,
        /// The JSON body, where there is one.
        body: Option<Vec<u8>>,
    },
}

/// Writes an operation whose fields are within the limits.
pub(super) fn encode(operation: &Operation<'_>, transport: Transport) -> Result<Encoded, MapError> {
    match (operation, transport) {
        (Operation::Metric(metric), _) => call(Method::Post, METRICS.into(), Some(metric)),
        (_, Transport::V1) | (Operation::Identify(Identify { instructs: true, .. }), _) => {
            v1(operation)?.map_or_else(|| item(operation), Ok)
        }
        (Operation::Event(event), Transport::V2) => {
            let bytes = json(operation)?;
            if bytes.len() <= limits::ITEM_BYTES {
                return Ok(Encoded::Item(bytes.into()));
            }
            v1_event(event)?.ok_or(MapError::Limit {
                field: "the event".into(),
                limit: limits::ITEM_BYTES,
                size: bytes.len(),
                unit: "bytes",
            })
        }
        (_, Transport::V2) => item(operation),
    }
}

fn item(operation: &Operation<'_>) -> Result<Encoded, MapError> {
    let bytes = json(operation)?;
    limits::within(operation.name(), bytes.len(), limits::ITEM_BYTES)?;
    Ok(Encoded::Item(bytes.into()))
}

/// The request of Track v1, or `None` where v1 has none.
fn v1(operation: &Operation<'_>) -> Result<Option<Encoded>, MapError> {
    match operation {
        // What is only an attribute on v2 would be an instruction here.
        Operation::Identify(identify)
            if !identify.instructs && identify.attributes.contains("cio_relationships") =>
        {
            Ok(None)
        }
        Operation::Identify(identify) => match person_path(identify.who.person(), "") {
            Some(path) => call(Method::Put, path, Some(&V1Identify(identify))).map(Some),
            None => Ok(None),
        },
        Operation::Event(event) => v1_event(event),
        Operation::AddDevice(device) => match person_path(Some(&device.person), "/devices") {
            Some(path) => call(Method::Put, path, Some(&V1Device(device))).map(Some),
            None => Ok(None),
        },
        Operation::DeleteDevice { person, token } => {
            let Some(token) = component(token) else { return Ok(None) };
            at(Method::Delete, person, &format!("/devices/{token}"))
        }
        Operation::Delete { person } => at(Method::Delete, person, ""),
        Operation::Suppress { person } => at(Method::Post, person, "/suppress"),
        Operation::Unsuppress { person } => at(Method::Post, person, "/unsuppress"),
        Operation::Merge { primary, secondary } => {
            let body = Merge { primary, secondary };
            call(Method::Post, MERGE.into(), Some(&body)).map(Some)
        }
        Operation::Metric(metric) => call(Method::Post, METRICS.into(), Some(metric)).map(Some),
        Operation::Object(_) | Operation::Content(_) => Ok(None),
    }
}

fn v1_event(event: &Event<'_>) -> Result<Option<Encoded>, MapError> {
    let path = match &event.who {
        Who::Anonymous(_) => Some(EVENTS.to_owned()),
        Who::Person(person) => person_path(Some(person), "/events"),
    };
    let Some(path) = path else { return Ok(None) };
    let body = json(&V1Event(event))?;
    if body.len() > limits::EVENT_DATA_BYTES {
        limits::within("properties", json(&event.attributes)?.len(), limits::EVENT_DATA_BYTES)?;
    }
    Ok(Some(Encoded::Call { method: Method::Post, path, body: Some(body) }))
}

/// A request about a person without a body.
fn at(method: Method, person: &PersonId, rest: &str) -> Result<Option<Encoded>, MapError> {
    Ok(person_path(Some(person), rest).map(|path| Encoded::Call { method, path, body: None }))
}

fn call<T: Serialize>(method: Method, path: String, body: Option<&T>) -> Result<Encoded, MapError> {
    Ok(Encoded::Call { method, path, body: body.map(json).transpose()? })
}

/// The path of a person, or `None` when there is none that arrives.
fn person_path(person: Option<&PersonId>, rest: &str) -> Option<String> {
    let prefix = match person? {
        PersonId::CioId(_) => "cio_",
        PersonId::Id(_) | PersonId::Email(_) => "",
    };
    let id = component(person?.value())?;
    Some(format!("/api/v1/customers/{prefix}{id}{rest}"))
}

/// One segment of a path. HTTP clients resolve `.` and `..` away, encoded or not, so an id of that
/// kind would reach another address.
fn component(text: &str) -> Option<String> {
    (!matches!(text, "" | "." | "..")).then(|| utf8_percent_encode(text, COMPONENT).to_string())
}

/// Written into a buffer that is used again, and copied once its length is known: what waits to be
/// sent takes no more memory than it has bytes.
fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, MapError> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        // Maps with text keys, texts and numbers are all there is, and a Vec takes every write.
        let written = serde_json::to_writer(&mut *scratch, value);
        let bytes = scratch.as_slice().to_vec();
        scratch.shrink_to(LARGEST_SCRATCH);
        let unmappable =
            |_| MapError::Unmappable { message: "the operation cannot be written as JSON" };
        written.map(|()| bytes).map_err(unmappable)
    })
}
