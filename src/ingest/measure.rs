//! What is counted and logged about requests. What became of the events is counted by the journal.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;

use super::IngestError;
use crate::clock::Time;

/// Requests, by `path` (the pattern of the route) and `status`.
pub const METRIC_REQUESTS: &str = "segue_http_requests_total";

/// Events in requests that were answered with success, by `source`; repeated ones count again.
pub const METRIC_EVENTS: &str = "segue_http_events_total";

/// Requests that were refused, by `source` (empty where none is named) and `code`.
pub const METRIC_REFUSED: &str = "segue_http_refused_total";

/// Each reason of refusals is, for each source, logged at most this often.
const QUIET: Duration = Duration::from_secs(60);

/// Counts every answer, by its route and status.
pub(crate) async fn measured<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let response = next.call(request).await?;
    let path = response.request().match_pattern().unwrap_or_else(|| "other".into());
    let status = response.status().as_u16().to_string();
    metrics::counter!(METRIC_REQUESTS, "path" => path, "status" => status).increment(1);
    Ok(response)
}

/// Counts the events of one request.
pub(super) fn events(source: &str, count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    metrics::counter!(METRIC_EVENTS, "source" => source.to_owned()).increment(count);
}

/// Remembers which refusals were logged lately: a client with a wrong key sends a thousand requests
/// a second, and one line says it.
#[derive(Default)]
pub(super) struct Refusals(Mutex<BTreeMap<(&'static str, String), Seen>>);

#[derive(Default)]
struct Seen {
    logged_at: Option<Time>,
    unlogged: u64,
}

impl Refusals {
    /// Counts that a request to `path` for `source` (empty: none that is configured) was refused, and
    /// logs it if its reason was not logged lately. Neither the body nor what the client says about
    /// itself is shown.
    pub(super) fn note(&self, (path, source): (&str, &str), error: &IngestError, now: Time) {
        let code = error.code();
        metrics::counter!(METRIC_REFUSED, "source" => source.to_owned(), "code" => code)
            .increment(1);
        let Some(unlogged) = self.due(code, source, now) else { return };
        tracing::warn!(path, source, code, unlogged, "a request was refused: {error}");
    }

    /// How many went unlogged before this one, if this one is to be logged.
    fn due(&self, code: &'static str, source: &str, now: Time) -> Option<u64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry((code, source.to_owned())).or_default();
        if seen.logged_at.is_some_and(|at| now.since(at) < QUIET && now >= at) {
            seen.unlogged += 1;
            return None;
        }
        seen.logged_at = Some(now);
        Some(std::mem::take(&mut seen.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_logged_once_a_minute_with_how_many_went_unlogged() {
        let refusals = Refusals::default();
        let at = Time::from_secs;

        assert_eq!(refusals.due("invalid_json", "web", at(0)), Some(0));
        assert_eq!(refusals.due("invalid_json", "web", at(1)), None);
        assert_eq!(refusals.due("empty_body", "web", at(1)), Some(0), "another reason");
        assert_eq!(refusals.due("invalid_json", "shop", at(1)), Some(0), "another source");
        assert_eq!(refusals.due("invalid_json", "web", at(59)), None);
        assert_eq!(refusals.due("invalid_json", "web", at(60)), Some(2));
        assert_eq!(refusals.due("invalid_json", "web", at(120)), Some(0));
    }
}
