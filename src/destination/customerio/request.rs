//! A request to Customer.io in its final bytes: the same on every try.
//!
//! Not here: the host and the credentials, which the [`super::client`] adds.

use std::fmt;

use bytes::Bytes;

use super::Encoded;

/// The address of v2 batches.
pub const BATCH_PATH: &str = "/api/v2/batch";

const HEAD: &[u8] = b"{\"batch\":[";
const TAIL: &[u8] = b"]}";

/// What a batch weighs beside its items, of which each but the first adds a comma.
pub const BATCH_ENVELOPE_BYTES: usize = HEAD.len() + TAIL.len();

/// An HTTP method that the Track API uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// Reads.
    Get,
    /// Reports or tells.
    Post,
    /// Creates or changes.
    Put,
    /// Removes.
    Delete,
}

impl Method {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request without host and credentials. Its body is JSON, or absent when empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, percent-encoded, from its first slash on.
    pub path: String,
    /// The body.
    pub body: Bytes,
}

impl From<Encoded> for Request {
    /// An item becomes a batch of one.
    fn from(encoded: Encoded) -> Self {
        match encoded {
            Encoded::Item(item) => batch_request(&[item]),
            Encoded::Call { method, path, body } => {
                Self { method, path, body: body.map(Bytes::from).unwrap_or_default() }
            }
        }
    }
}

/// The request that carries items of a v2 batch, in their order. How many there may be is the
/// caller's business: [`super::limits::BATCH_ITEMS`], [`super::limits::BATCH_BYTES`] and
/// [`BATCH_ENVELOPE_BYTES`].
pub fn batch_request(items: &[impl AsRef<[u8]>]) -> Request {
    let size: usize = items.iter().map(|item| item.as_ref().len() + 1).sum();
    let mut body = Vec::with_capacity(BATCH_ENVELOPE_BYTES + size);
    body.extend_from_slice(HEAD);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(item.as_ref());
    }
    body.extend_from_slice(TAIL);
    Request { method: Method::Post, path: BATCH_PATH.into(), body: body.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_become_a_batch_in_their_order() {
        let request = batch_request(&["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(request.path, "/api/v2/batch");
        assert_eq!(&request.body[..], br#"{"batch":[{"a":1},{"b":2}]}"#);
        assert_eq!(request.body.len(), BATCH_ENVELOPE_BYTES + 7 + 1 + 7);
    }

    #[test]
    fn a_call_without_a_body_has_an_empty_one() {
        let call = Encoded::Call {
            method: Method::Delete,
            path: "/api/v1/customers/u".into(),
            body: None,
        };
        assert!(Request::from(call).body.is_empty());
    }
}
