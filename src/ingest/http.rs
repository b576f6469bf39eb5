//! The handlers: decode, call the [`Intake`], encode. One for each shape of request; which URL has
//! which is in [`crate::server`].

use actix_web::http::header::{self, CONTENT_LENGTH};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use bytes::Bytes;
use tracing::Instrument;

use super::body::{self, Expected};
use super::query::Query;
use super::{Body, IngestError, Intake, RequestHead, Surface, Taken, browser, pixel};
use crate::spec::Call;

/// What the paths of [`crate::server`] begin with.
const FIRST_PARTS: [&str; 8] =
    ["b", "beacon", "health", "pixel", "projects", "sourceConfig", "v1", "webhook"];

/// Some SDKs parse the answer and retry when it is not this.
const SUCCESS: &str = r#"{"success":true}"#;

/// `POST /webhook/{source}`
pub(crate) async fn webhook(
    request: HttpRequest,
    payload: web::Payload,
    intake: web::Data<Intake>,
    source: web::Path<String>,
) -> HttpResponse {
    receive(Surface::Webhook(&source), &request, payload, &intake).await
}

/// `POST /v1/track` and its like; `None` where Segue knows no such call and keeps it as it is.
pub(crate) async fn single(
    call: Option<Call>,
    request: HttpRequest,
    payload: web::Payload,
    intake: web::Data<Intake>,
) -> HttpResponse {
    receive(Surface::Single(call), &request, payload, &intake).await
}

/// `POST /v1/batch` and its like.
pub(crate) async fn batch(
    request: HttpRequest,
    payload: web::Payload,
    intake: web::Data<Intake>,
) -> HttpResponse {
    receive(Surface::Batch, &request, payload, &intake).await
}

/// `POST /v1/m`: what analytics.js measures about itself. Read, so that the connection can be used
/// again, and ignored.
pub(crate) async fn ignored(
    request: HttpRequest,
    payload: web::Payload,
    intake: web::Data<Intake>,
) -> HttpResponse {
    let limit = intake.config.ingest.max_body_bytes;
    let read = read(&intake, &request, payload, (limit, false)).await;
    answer(&request, &intake, read.map(|_| Taken::default()))
}

/// `GET /v1/pixel/track` and its like. A picture whatever happens: it is shown in a mail.
pub(crate) async fn picture(
    call: Call,
    request: HttpRequest,
    intake: web::Data<Intake>,
) -> HttpResponse {
    let query = Query::parse(request.query_string());
    let taken = match pixel::event(&query, intake.clock.now()) {
        Ok(event) => take(Surface::Single(Some(call)), &request, &intake, event.into()).await,
        Err(error) => Err(error),
    };
    if let Err(error) = taken {
        refused(&request, &intake, &error);
    }
    HttpResponse::Ok()
        .content_type("image/gif")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(pixel::GIF)
}

/// `GET /v1/projects/{key}/settings`, with which analytics.js starts.
pub(crate) async fn segment_settings(
    request: HttpRequest,
    intake: web::Data<Intake>,
    key: web::Path<String>,
) -> HttpResponse {
    let connection = request.connection_info();
    match browser::segment_settings(&intake, &key, connection.host(), connection.scheme()) {
        Ok(settings) => HttpResponse::Ok().json(settings),
        Err(error) => answer(&request, &intake, Err(error)),
    }
}

/// `GET /sourceConfig`, with which RudderStack's SDKs start.
pub(crate) async fn source_config(request: HttpRequest, intake: web::Data<Intake>) -> HttpResponse {
    let query = Query::parse(request.query_string());
    match browser::source_config(&intake, request.headers(), &query) {
        Ok(config) => HttpResponse::Ok().json(config),
        Err(error) => answer(&request, &intake, Err(error)),
    }
}

async fn receive(
    surface: Surface<'_>,
    request: &HttpRequest,
    payload: web::Payload,
    intake: &web::Data<Intake>,
) -> HttpResponse {
    let span = tracing::debug_span!("request", path = %pattern(request));
    let taken = async {
        let admission = intake.admit(&head(surface, request))?;
        let (limit, trusted) = (admission.limit(), admission.has_secret());
        let body = read(intake, request, payload, (limit, trusted)).await?;
        intake.accept(admission, body).await
    };
    let taken = taken.instrument(span).await;
    answer(request, intake, taken)
}

/// As [`receive`], for a body that is not sent but made of the query.
async fn take(
    surface: Surface<'_>,
    request: &HttpRequest,
    intake: &web::Data<Intake>,
    body: Bytes,
) -> Result<Taken, IngestError> {
    let admission = intake.admit(&head(surface, request))?;
    intake.accept(admission, body).await
}

fn head<'a>(surface: Surface<'a>, request: &'a HttpRequest) -> RequestHead<'a> {
    RequestHead {
        surface,
        headers: request.headers(),
        query: request.query_string(),
        peer: request.peer_addr().map(|peer| peer.ip()),
    }
}

fn answer(
    request: &HttpRequest,
    intake: &Intake,
    taken: Result<Taken, IngestError>,
) -> HttpResponse {
    match taken {
        Ok(taken) => {
            tracing::debug!(events = taken.first, duplicates = taken.duplicates, "accepted");
            HttpResponse::Ok().content_type("application/json").body(SUCCESS)
        }
        Err(error) => {
            refused(request, intake, &error);
            error.error_response()
        }
    }
}

/// Says that a request was refused, to its sender and to whoever reads the log: a destination with a
/// wrong path or method loses everything, and would do so in silence.
pub(crate) fn refuse(request: &HttpRequest, error: &IngestError) -> HttpResponse {
    if let Some(intake) = request.app_data::<web::Data<Intake>>() {
        refused(request, intake, error);
    }
    error.error_response()
}

fn refused(request: &HttpRequest, intake: &Intake, error: &IngestError) {
    let named = request.match_info().get("source").unwrap_or_default();
    let source = intake.config.source(named).map_or("", |source| source.name.as_str());
    let path = request.match_pattern().unwrap_or_else(|| beginning(request.path()));
    intake.refusals.note((&path, source), error, intake.clock.now());
}

/// The beginning of a path that is none of ours, if that is one of ours: anything else may be a key.
fn beginning(path: &str) -> String {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let first = parts.next().unwrap_or_default();
    match (FIRST_PARTS.contains(&first), parts.next()) {
        (true, None) => format!("/{first}"),
        (true, Some(_)) => format!("/{first}/…"),
        (false, _) => "/…".into(),
    }
}

/// The route, not the URL: it may hold a key.
fn pattern(request: &HttpRequest) -> String {
    request.match_pattern().unwrap_or_default()
}

async fn read(
    intake: &Intake,
    request: &HttpRequest,
    payload: web::Payload,
    (limit, trusted): (usize, bool),
) -> Result<Body, IngestError> {
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    let expected = Expected { announced, limit, trusted, deadline: intake.body_deadline() };
    body::receive(payload, expected, &intake.rooms).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_path_that_is_none_of_ours_nothing_is_shown_that_may_be_a_key() {
        let table = [
            ("/s3cret-demo", "/…"),
            ("/s3cret-demo/webhook/segment", "/…"),
            ("/webhooks/segment", "/…"),
            ("/webhook/segment/s3cret-demo", "/webhook/…"),
            ("//v1/s3cret-demo", "/v1/…"),
            ("/webhook", "/webhook"),
            ("/webhook/", "/webhook"),
            ("/", "/…"),
        ];
        for (path, expected) in table {
            assert_eq!(beginning(path), expected, "{path}");
        }
    }
}
