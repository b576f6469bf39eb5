//! Why an operator's request is refused, and what the operator is told.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use crate::journal::JournalError;
use crate::outcome::DeadCode;

/// Why a request was refused. Nothing of it took effect.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AdminError {
    /// No such address.
    #[error(
        "nothing is served at this path; there are /metrics, /health, /api/status, /api/dead-letters, /api/recorded, /api/original, /api/tap, /api/why, /api/runs, /api/data-health, /api/contracts, /api/config and /api/reload"
    )]
    NotFound,
    /// The address exists, the method does not.
    #[error("this path takes {0} only")]
    MethodNotAllowed(&'static str),
    /// A token is configured and none was sent.
    #[error(
        "the operator's listener asks for the token of [admin]: send it as Authorization: Bearer, as the password of Basic auth or as X-Segue-Token"
    )]
    MissingToken,
    /// The token is another one.
    #[error("this is not the token of [admin]")]
    InvalidToken,
    /// The request names a host that this listener is not.
    #[error(
        "the operator's listener has no token, so it only answers to localhost and loopback addresses in the Host header"
    )]
    ForeignHost,
    /// A page of another site sent the request.
    #[error("a page of another site may not ask for this")]
    CrossSite,
    /// A parameter or the body cannot be read.
    #[error("{0}")]
    BadRequest(String),
    /// No such reason of dead letters.
    #[error("{0:?} is no reason of dead letters; there are {list}", list = reasons())]
    UnknownReason(String),
    /// Everything would go back at once.
    #[error(
        "no filter is given: name a reason, a source, a bundle, a time or a number, or say that all of them are meant"
    )]
    EmptyFilter,
    /// No dead letter has this number.
    #[error(
        "there is no dead letter {0}: it was redriven, it was too old to be kept, or it never was one"
    )]
    NoSuchDeadLetter(u64),
    /// There is no folder of scripts to read again.
    #[error("there is no folder {0}: the shipped scripts are in force, and they do not change")]
    NoScripts(String),
    /// The scripts on disk cannot be used; those in force stay.
    #[error("the scripts cannot be used, the ones in force stay: {0}")]
    BrokenScripts(String),
    /// Everybody may look, but not at the same time.
    #[error("several taps are open already: close one")]
    TooManyTaps,
    /// There are no scripts to go back to.
    #[error("the scripts in force stay: {0}")]
    NoWayBack(String),
    /// The store failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The server is stopping, or a thread of it went down.
    #[error("the request was not finished: the server is stopping")]
    Unfinished,
}

impl AdminError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::MissingToken => "missing_token",
            Self::InvalidToken => "invalid_token",
            Self::ForeignHost => "foreign_host",
            Self::CrossSite => "cross_site",
            Self::BadRequest(_) => "bad_request",
            Self::UnknownReason(_) => "unknown_reason",
            Self::EmptyFilter => "empty_filter",
            Self::NoSuchDeadLetter(_) => "no_such_dead_letter",
            Self::NoScripts(_) => "no_scripts",
            Self::BrokenScripts(_) => "broken_scripts",
            Self::TooManyTaps => "too_many_taps",
            Self::NoWayBack(_) => "no_way_back",
            Self::Journal(_) => "journal_failed",
            Self::Unfinished => "unfinished",
        }
    }
}

impl ResponseError for AdminError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NoSuchDeadLetter(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::MissingToken | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::ForeignHost | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::BadRequest(_) | Self::UnknownReason(_) | Self::EmptyFilter => {
                StatusCode::BAD_REQUEST
            }
            Self::NoScripts(_) | Self::BrokenScripts(_) | Self::NoWayBack(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Journal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unfinished | Self::TooManyTaps => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::MethodNotAllowed(allowed) => {
                response.insert_header((header::ALLOW, *allowed));
            }
            // Lets a browser ask for the token.
            Self::MissingToken | Self::InvalidToken => {
                response
                    .insert_header((header::WWW_AUTHENTICATE, r#"Basic realm="Segue operator""#));
            }
            _ => {}
        }
        let body = json!({ "code": self.code(), "message": self.to_string() });
        response.insert_header((header::CACHE_CONTROL, "no-store")).json(body)
    }
}

fn reasons() -> String {
    DeadCode::ALL.map(DeadCode::as_str).join(", ")
}
