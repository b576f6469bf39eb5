//! From bytes to operations: required keys, types and the published limits.
//!
//! An item is either valid as a whole or refused with its first problem. Keys that the specification
//! does not list are ignored, as it allows them.
//!
//! Not here: what a valid operation does ([`super::workspace`]), how a refusal is spelled on the wire
//! ([`super::answer`]).

mod fields;
mod limits;
mod parts;
mod v1;
mod v2;

pub(super) use limits::ATTRIBUTES;
pub(super) use parts::as_ulid;

use super::message::Request;
use super::operation::Item;
use super::routes::Route;
use super::settings::Settings;

/// Why an item, or a whole request, is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Problem {
    /// `required`, `invalid` or `parse_error`.
    pub(super) reason: &'static str,
    /// The path of the key at fault; empty for the whole.
    pub(super) field: String,
    /// What is wrong with it.
    pub(super) message: String,
}

impl Problem {
    fn required(field: impl Into<String>) -> Self {
        Self { reason: "required", field: field.into(), message: "is required".into() }
    }

    fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: "invalid", field: field.into(), message: message.into() }
    }

    fn unreadable(error: &serde_json::Error) -> Self {
        Self {
            reason: "parse_error",
            field: String::new(),
            message: format!(
                "the body is not JSON of the expected shape (line {}, column {})",
                error.line(),
                error.column()
            ),
        }
    }
}

/// What the body of a request holds.
#[derive(Clone, Debug)]
pub(super) enum Parsed {
    /// The request cannot be read as a whole.
    Refused(Problem),
    /// Its items, each valid or not; all calls but the v2 batch have exactly one.
    Items(Vec<Result<Item, Problem>>),
}

/// Reads the body of a request to the Track API.
pub(super) fn read(route: &Route, request: &Request, settings: &Settings) -> Parsed {
    let one = |item| Parsed::Items(vec![item]);
    match route {
        Route::Entity => one(v2::entity(&request.body, settings)),
        Route::Batch => v2::batch(&request.body, settings),
        Route::Region | Route::View(_) => Parsed::Items(Vec::new()),
        other => one(v1::read(other, request, settings)),
    }
}
