//! A request and an answer as plain values: what a transport hands to the emulator and gets back.
//!
//! Not here: sockets ([`super::http`]).

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::faults::Fault;

/// An HTTP request, whole.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// Path and query as on the wire, percent-encoded.
    pub path: String,
    /// Names and values; names in any case.
    pub headers: Vec<(String, String)>,
    /// The body as sent.
    pub body: Bytes,
}

impl Request {
    /// A request without headers.
    pub fn new(method: &str, path: &str, body: impl Into<Bytes>) -> Self {
        Self { method: method.into(), path: path.into(), headers: Vec::new(), body: body.into() }
    }

    /// The same request with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body; empty for 204.
    pub body: Bytes,
    /// What the transport has to do to this answer: delay it, spoil it, never send it.
    pub fault: Fault,
}

impl Response {
    /// An answer with a JSON body.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).unwrap_or_else(|_| b"null".to_vec());
        Self {
            status,
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.into(),
            fault: Fault::default(),
        }
    }

    /// Customer.io's answer to a request in which it found nothing wrong.
    pub(super) fn accepted() -> Self {
        Self::json(200, &json!({}))
    }

    /// An answer without a body.
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), fault: Fault::default() }
    }

    /// The same answer with one more header.
    #[must_use]
    pub(super) fn with_header(mut self, name: &str, value: String) -> Self {
        self.headers.push((name.into(), value));
        self
    }

    /// The body as JSON; `null` when it is none.
    pub fn body_json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}
