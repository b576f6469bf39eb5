//! How Customer.io spells its answers.
//!
//! v1 lists texts under `meta.errors` (a merge has one under `meta.error`), v2 lists
//! `{reason, field, message}`, and a batch adds the index of the item and the status 207. Bodies of
//! 401, 404, 405, 429 and 503 are not published; these are the emulator's own.

use serde_json::{Value, json};

use super::message::Response;
use super::parse::Problem;
use super::routes::Route;

/// The answer to a request whose items had these problems, by index.
pub(super) fn to_items(route: &Route, problems: &[(usize, Problem)]) -> Response {
    match (route, problems.first()) {
        (Route::Form(_), None) => Response::empty(204),
        (_, None) => Response::accepted(),
        (Route::Batch, Some(_)) => Response::json(207, &batch_errors(problems)),
        (_, Some((_, problem))) => refused(route, problem),
    }
}

/// A request that is invalid as a whole.
pub(super) fn refused(route: &Route, problem: &Problem) -> Response {
    let body = match route {
        Route::Entity | Route::Batch => json!({ "errors": [error(problem)] }),
        Route::Merge => json!({ "meta": { "error": sentence(problem) } }),
        _ => json!({ "meta": { "errors": [sentence(problem)] } }),
    };
    Response::json(400, &body)
}

/// The errors of a batch, for 207 and for a 200 that carries them.
pub(super) fn batch_errors(problems: &[(usize, Problem)]) -> Value {
    let errors = problems.iter().map(|(index, problem)| {
        let mut error = error(problem);
        error["batch_index"] = (*index).into();
        error
    });
    json!({ "errors": errors.collect::<Vec<_>>() })
}

/// An error that is not about the content, in the shape of the API that was called.
pub(super) fn failed(status: u16, is_v2: bool, reason: &str, message: &str) -> Response {
    let body = if is_v2 {
        json!({ "errors": [{ "reason": reason, "field": "", "message": message }] })
    } else {
        json!({ "meta": { "error": message } })
    };
    Response::json(status, &body)
}

fn error(problem: &Problem) -> Value {
    json!({ "reason": problem.reason, "field": problem.field, "message": problem.message })
}

fn sentence(problem: &Problem) -> String {
    if problem.field.is_empty() {
        problem.message.clone()
    } else {
        format!("{} {}", problem.field, problem.message)
    }
}
