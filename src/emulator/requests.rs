//! The raw requests as they came, for as long as there is room.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::message::Request;
use super::settings::History;
use crate::clock::Time;

/// Headers whose values are not kept.
const SECRET: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// A request with the answer it got.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestRecord {
    /// Counts up from 1.
    pub seq: u64,
    /// When it came.
    pub at: Time,
    /// The method.
    pub method: String,
    /// Path and query, percent-encoded as sent.
    pub path: String,
    /// The headers; credentials are masked.
    pub headers: Vec<(String, String)>,
    /// The body as sent.
    pub body: Bytes,
    /// The status that was answered, or would have been without a reset.
    pub status: u16,
    /// How many operations of it were done.
    pub applied: usize,
    /// The fault that was injected.
    pub fault: Option<String>,
}

impl RequestRecord {
    /// The body as JSON, if it is that.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.body.len() + self.path.len() + headers.sum::<usize>()
    }
}

/// The body is shown as JSON exactly as sent, or as text in `body_text` when it is none.
impl Serialize for RequestRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut view = serializer.serialize_struct("RequestRecord", 9)?;
        view.serialize_field("seq", &self.seq)?;
        view.serialize_field("at", &self.at.to_string())?;
        view.serialize_field("method", &self.method)?;
        view.serialize_field("path", &self.path)?;
        view.serialize_field("headers", &self.headers)?;
        match serde_json::from_slice::<&RawValue>(&self.body) {
            Ok(json) => view.serialize_field("body", json)?,
            Err(_) => view.serialize_field("body_text", &String::from_utf8_lossy(&self.body))?,
        }
        view.serialize_field("status", &self.status)?;
        view.serialize_field("applied", &self.applied)?;
        view.serialize_field("fault", &self.fault)?;
        view.end()
    }
}

/// The latest requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    records: VecDeque<RequestRecord>,
    bytes: usize,
    last: u64,
    forgotten: u64,
}

impl Requests {
    /// The number that the next request gets.
    pub(super) fn next(&self) -> u64 {
        self.last + 1
    }

    /// Writes a request down under the number that [`Self::next`] gave.
    pub(super) fn write(
        &mut self,
        request: &Request,
        at: Time,
        (status, applied, fault): (u16, usize, Option<String>),
        history: &History,
    ) {
        self.last += 1;
        let headers = request.headers.iter().map(|(name, value)| {
            let secret = SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret));
            (name.clone(), if secret { "(hidden)".into() } else { value.clone() })
        });
        let record = RequestRecord {
            seq: self.last,
            at,
            method: request.method.clone(),
            path: request.path.clone(),
            headers: headers.collect(),
            body: request.body.clone(),
            status,
            applied,
            fault,
        };
        self.bytes += record.size();
        self.records.push_back(record);
        while self.records.len() > history.requests || self.bytes > history.request_bytes {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= oldest.size();
            self.forgotten += 1;
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &RequestRecord> {
        self.records.iter()
    }

    pub(super) fn total(&self) -> u64 {
        self.last
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
