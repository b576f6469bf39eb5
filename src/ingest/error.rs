//! Why a request is refused, and what its sender is told.
//!
//! The status is part of the contract with the senders. Segment, RudderStack and every SDK give up
//! for good on 4xx (but for 408 and 429) and try again on 5xx; so 4xx means that sending the same
//! again cannot help. The body always has `code` and `message`: the Python SDKs take an error
//! without them for a failure of the network. A broken event inside a batch is none of these: it is
//! accepted, and becomes a dead letter.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;

use crate::journal::JournalError;

/// What senders are asked to wait when nothing more can be stored, in whole seconds.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a request was refused; nothing of it was stored, unless a journal failed in the middle of a
/// very large batch (then the retry finds the first part as duplicates).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IngestError {
    /// No such address.
    #[error(
        "nothing is served at this path; events go to /webhook/{{source}} or to the /v1 paths of the Segment and RudderStack SDKs"
    )]
    NotFound,
    /// `/webhook/{source}` names a source that is not configured.
    #[error(
        "no source of this name is configured; the last part of /webhook/{{source}} must be the name of a [[source]]"
    )]
    UnknownSource,
    /// The address exists, the method does not.
    #[error("{0}")]
    MethodNotAllowed(&'static str),
    /// No write key was sent.
    #[error(
        "no write key: send it as the user of Basic auth, as ?writeKey= or as a Bearer token; on the SDK paths also as writeKey in the body"
    )]
    MissingWriteKey,
    /// None of the keys that were sent is known. RudderStack's Android SDK stops on these words only.
    #[error(
        "invalid write key: none of the write keys in this request belongs to a configured source"
    )]
    InvalidWriteKey,
    /// The source has a token and the request brings none.
    #[error(
        "this source needs its token: send it as Authorization: Bearer, as the password of Basic auth, as X-Segue-Token or as ?token="
    )]
    MissingToken,
    /// The token is another one.
    #[error("the token in this request is not the one of this source")]
    InvalidToken,
    /// The source has a webhook secret and the request is not signed.
    #[error(
        "this source needs a signature: enter its webhook_secret as the shared secret of the webhook destination, so that requests carry X-Signature"
    )]
    MissingSignature,
    /// The signature does not fit the body.
    #[error(
        "X-Signature does not fit this body and the source's webhook_secret: the shared secret is another one, or the body was changed on its way"
    )]
    InvalidSignature,
    /// The source has no secret, and the request may come from anywhere.
    #[error(
        "this source has no token and no webhook_secret, so its webhook path only serves programs on this machine, not browsers and not proxies: configure one of them"
    )]
    Unprotected,
    /// There is no body.
    #[error("the request has no body; expected JSON: one event, an array, or {{\"batch\": [..]}}")]
    EmptyBody,
    /// The body is no JSON.
    #[error("the body is not valid JSON: {0}")]
    InvalidJson(String),
    /// The body is JSON but cannot hold an event.
    #[error("the body is {0}; expected one event, an array of events, or {{\"batch\": [..]}}")]
    NotEvents(&'static str),
    /// A batch path without a batch.
    #[error("the body has no batch: this path takes {{\"batch\": [..]}} or an array of events")]
    MissingBatch,
    /// The body starts like gzip and cannot be inflated.
    #[error("the body cannot be inflated: its gzip data is damaged or cut off")]
    InvalidGzip,
    /// The body is encoded in a way that Segue does not read.
    #[error("this Content-Encoding is not supported: send the body as it is or with gzip")]
    UnsupportedEncoding,
    /// The connection broke inside the body.
    #[error("the body ended before its announced length")]
    IncompleteBody,
    /// The client was too slow.
    #[error("the body did not arrive within {}", crate::config::Span::from_millis(*.0))]
    BodyTimeout(
        /// The deadline in milliseconds.
        u64,
    ),
    /// The body is too large, as sent or inflated.
    #[error("the body is larger than {0} bytes, as sent or when inflated; send smaller batches")]
    BodyTooLarge(usize),
    /// The batch has too many elements, or would take too much space with the fields of the batch
    /// given to each of them.
    #[error("the batch is too large: {0}")]
    BatchTooLarge(String),
    /// Too many bodies are being read at once.
    #[error("too many large requests at once; try again")]
    Busy,
    /// The journal takes no more events for now.
    #[error("no more events can be stored for now; try again")]
    JournalFull,
    /// The journal failed, or was closed.
    #[error("the events could not be stored; try again")]
    JournalFailed,
}

impl IngestError {
    /// The status and the stable code, listed in the README.
    pub fn answer(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::UnknownSource => (StatusCode::NOT_FOUND, "unknown_source"),
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::MissingWriteKey => (StatusCode::UNAUTHORIZED, "missing_write_key"),
            Self::InvalidWriteKey => (StatusCode::UNAUTHORIZED, "invalid_write_key"),
            Self::MissingToken => (StatusCode::UNAUTHORIZED, "missing_token"),
            Self::InvalidToken => (StatusCode::UNAUTHORIZED, "invalid_token"),
            Self::MissingSignature => (StatusCode::UNAUTHORIZED, "missing_signature"),
            Self::InvalidSignature => (StatusCode::UNAUTHORIZED, "invalid_signature"),
            Self::Unprotected => (StatusCode::FORBIDDEN, "source_unprotected"),
            Self::EmptyBody => (StatusCode::BAD_REQUEST, "empty_body"),
            Self::InvalidJson(_) => (StatusCode::BAD_REQUEST, "invalid_json"),
            Self::NotEvents(_) => (StatusCode::BAD_REQUEST, "not_events"),
            Self::MissingBatch => (StatusCode::BAD_REQUEST, "missing_batch"),
            Self::InvalidGzip => (StatusCode::BAD_REQUEST, "invalid_gzip"),
            Self::UnsupportedEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding")
            }
            Self::IncompleteBody => (StatusCode::BAD_REQUEST, "incomplete_body"),
            Self::BodyTimeout(_) => (StatusCode::REQUEST_TIMEOUT, "body_timeout"),
            Self::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::BatchTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "batch_too_large"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::JournalFull => (StatusCode::SERVICE_UNAVAILABLE, "journal_full"),
            Self::JournalFailed => (StatusCode::SERVICE_UNAVAILABLE, "journal_failed"),
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.answer().1
    }
}

/// The journal's own words are for the operator, not for the sender.
impl From<JournalError> for IngestError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Full(_) => Self::JournalFull,
            JournalError::Failed(_) | JournalError::NewerSchema { .. } | JournalError::InUse(_) => {
                Self::JournalFailed
            }
        }
    }
}

/// The body of every refusal. Ruby's SDK reads `error`.
#[derive(Serialize)]
struct Refusal<'a> {
    success: bool,
    code: &'a str,
    message: &'a str,
    error: &'a str,
}

impl ResponseError for IngestError {
    fn status_code(&self) -> StatusCode {
        self.answer().0
    }

    fn error_response(&self) -> HttpResponse {
        let (status, code) = self.answer();
        let message = self.to_string();
        let mut response = HttpResponseBuilder::new(status);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            // A whole number: only one of all clients reads a date here.
            response.insert_header((header::RETRY_AFTER, RETRY_AFTER.as_secs().to_string()));
        }
        response.json(Refusal { success: false, code, message: &message, error: &message })
    }
}
