//! The URLs of the operator's listener, and their handlers: decode, ask, encode.
//!
//! Not here: who may ask ([`super::access`]), what the answers say (the modules beside this one).

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, Resource, guard, web};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::dead_letters::{self, Redrive, Redriven, Selection};
use super::health::{self, Health};
use super::originals::{self, Which};
use super::tap::{self, Wanted};
use super::{Admin, AdminError, metrics, runs, scripts, story};

/// Larger bodies are refused: a filter is small.
pub(super) const BODY_BYTES: usize = 64 * 1024;

type Answer = Result<HttpResponse, AdminError>;

/// Every URL of the operator's listener.
pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.service(get("/metrics", prometheus))
        .service(get("/health", health_with_reasons))
        .service(get("/health/live", live))
        .service(get("/health/ready", ready))
        .service(get("/api/status", status))
        .service(get("/api/config", config))
        .service(get("/api/why", why))
        .service(get("/api/runs", runs))
        .service(get("/api/data-health", data_health))
        .service(get("/api/dead-letters", list))
        .service(post("/api/dead-letters/redrive", redrive))
        .service(get("/api/dead-letters/export", export))
        .service(get("/api/dead-letters/{seq}", show))
        .service(get("/api/recorded", recorded))
        .service(get("/api/contracts", contracts))
        .service(get("/api/original", original))
        .service(get("/api/tap", tap))
        .service(post("/api/reload", reload))
        .default_service(web::to(|| async { Answer::Err(AdminError::NotFound) }));
}

fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    let reads = guard::Any(guard::Get()).or(guard::Head());
    web::resource(path)
        .route(web::route().guard(reads).to(handler))
        .default_service(web::to(|| async { Answer::Err(AdminError::MethodNotAllowed("GET")) }))
}

fn post<F, Args>(path: &str, handler: F) -> Resource
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    web::resource(path)
        .route(web::post().to(handler))
        .default_service(web::to(|| async { Answer::Err(AdminError::MethodNotAllowed("POST")) }))
}

async fn prometheus(admin: web::Data<Admin>) -> HttpResponse {
    let admin = admin.into_inner();
    let picture = admin.look().await;
    let text = metrics::exposition(&picture) + &admin.watch.process().render();
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(text)
}

async fn health_with_reasons(admin: web::Data<Admin>) -> HttpResponse {
    let health = Health::of(&admin.into_inner().look().await);
    HttpResponse::build(status_of(&health)).insert_header((CACHE_CONTROL, "no-store")).json(health)
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

async fn ready(admin: web::Data<Admin>) -> HttpResponse {
    let health = admin.watch.health();
    HttpResponse::build(status_of(&health)).json(json!({
        "status": health.status,
        "bundle": admin.bundle.load().hash(),
    }))
}

async fn status(admin: web::Data<Admin>) -> HttpResponse {
    let admin = admin.into_inner();
    let picture = admin.look().await;
    found(&admin.status(&picture))
}

async fn contracts(admin: web::Data<Admin>) -> HttpResponse {
    found(&admin.kept())
}

/// Secrets write themselves as a mask.
async fn config(admin: web::Data<Admin>) -> HttpResponse {
    found(admin.config.as_ref())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhyQuery {
    of: String,
    limit: Option<usize>,
}

async fn why(admin: web::Data<Admin>, request: HttpRequest) -> Answer {
    let WhyQuery { of, limit } = query(&request)?;
    let limit = limit.unwrap_or(story::USUAL);
    let admin = admin.into_inner();
    let asked = admin.ask(move |admin| story::tell(admin.journal.as_ref(), &of, limit));
    asked.await.map(|story| found(&story))
}

async fn runs(admin: web::Data<Admin>) -> HttpResponse {
    let totals = admin.journal.totals();
    found(&runs::runs(&totals, Some(&admin.watch.data())))
}

async fn data_health(admin: web::Data<Admin>) -> HttpResponse {
    let totals = admin.journal.totals();
    let since = admin.watch.started_at().to_string();
    found(&runs::report(&totals, &admin.watch.data(), since))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    code: Option<String>,
    source: Option<String>,
    bundle: Option<String>,
    since: Option<String>,
    until: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

async fn list(admin: web::Data<Admin>, request: HttpRequest) -> Answer {
    let ListQuery { code, source, bundle, since, until, after, limit } = query(&request)?;
    let selection = Selection { seq: None, code, source, bundle, since, until };
    let limit = limit.unwrap_or(dead_letters::PAGE);
    let admin = admin.into_inner();
    let asked = admin.ask(move |admin| {
        dead_letters::list(admin.journal.as_ref(), &selection, after, limit, admin.clock.now())
    });
    asked.await.map(|page| found(&page))
}

/// The same filter as the list, answered with payloads.
async fn export(admin: web::Data<Admin>, request: HttpRequest) -> Answer {
    let ListQuery { code, source, bundle, since, until, after, limit } = query(&request)?;
    let selection = Selection { seq: None, code, source, bundle, since, until };
    let limit = limit.unwrap_or(dead_letters::LONGEST_PAGE);
    let admin = admin.into_inner();
    let asked = admin.ask(move |admin| {
        originals::dead(admin.journal.as_ref(), &selection, after, limit, admin.clock.now())
    });
    asked.await.map(|page| found(&page))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedQuery {
    source: Option<String>,
    since: Option<String>,
    until: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

async fn recorded(admin: web::Data<Admin>, request: HttpRequest) -> Answer {
    let RecordedQuery { source, since, until, after, limit } = query(&request)?;
    let which = Which { source, since, until };
    let limit = limit.unwrap_or(dead_letters::LONGEST_PAGE);
    let admin = admin.into_inner();
    let asked = admin.ask(move |admin| {
        originals::recorded(admin.journal.as_ref(), &which, after, limit, admin.clock.now())
    });
    asked.await.map(|page| found(&page))
}

async fn show(admin: web::Data<Admin>, seq: web::Path<String>) -> Answer {
    let seq = seq.parse().map_err(|_| {
        AdminError::BadRequest("the number of a dead letter is a whole number".into())
    })?;
    let admin = admin.into_inner();
    let asked = admin.ask(move |admin| dead_letters::show(admin.journal.as_ref(), seq));
    asked.await.map(|letter| found(&letter))
}

async fn redrive(admin: web::Data<Admin>, body: Result<web::Bytes, actix_web::Error>) -> Answer {
    let request: Redrive = read(body)?;
    let admin = admin.into_inner();
    let now = admin.clock.now();
    let reply = dead_letters::redrive(admin.journal.as_ref(), &request, now)?;
    let redriven = reply.await.map_err(|_| AdminError::Unfinished)??;
    tracing::info!(redriven, "dead letters go back into their queues");
    admin.ask(move |admin| Ok(admin.watch.check_exits(admin.journal.as_ref(), true, now)?)).await?;
    Ok(found(&Redriven { redriven }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OriginalQuery {
    id: String,
}

/// One original with its payload; `null`: nothing is kept of it.
async fn original(admin: web::Data<Admin>, request: HttpRequest) -> Answer {
    let OriginalQuery { id } = query(&request)?;
    let admin = admin.into_inner();
    let asked = admin.ask(move |admin| originals::find(admin.journal.as_ref(), &id));
    asked.await.map(|original| found(&original))
}

/// Lines of JSON without an end, until the client goes.
async fn tap(admin: web::Data<Admin>, request: HttpRequest) -> Answer {
    let wanted: Wanted = query(&request)?;
    let lines = tap::open(&admin.into_inner(), wanted)?;
    let lines = futures_util::stream::unfold(lines, |mut lines| async {
        let line = lines.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), lines))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/x-ndjson"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(lines))
}

async fn reload(admin: web::Data<Admin>, body: Result<web::Bytes, actix_web::Error>) -> Answer {
    let wanted: Option<scripts::Wanted> = match &body {
        Ok(body) if body.is_empty() => None,
        _ => read(body)?,
    };
    let admin = admin.into_inner();
    let asking = Arc::clone(&admin);
    let asked = admin.ask(move |_| asking.reload(wanted.unwrap_or_default()));
    asked.await.map(|in_force| found(&in_force))
}

/// Events that are taken and kept are no reason to send traffic elsewhere.
fn status_of(health: &Health) -> StatusCode {
    match health.status {
        health::Status::Ready | health::Status::Degraded => StatusCode::OK,
        health::Status::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn found<T: Serialize>(answer: &T) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer)
}

fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, AdminError> {
    web::Query::<T>::from_query(request.query_string())
        .map(web::Query::into_inner)
        .map_err(|error| AdminError::BadRequest(format!("the query cannot be read: {error}")))
}

fn read<T: DeserializeOwned>(body: Result<web::Bytes, actix_web::Error>) -> Result<T, AdminError> {
    let refused =
        |error: String| AdminError::BadRequest(format!("the body cannot be read: {error}"));
    let body = body.map_err(|error| refused(error.to_string()))?;
    serde_json::from_slice(&body).map_err(|error| refused(error.to_string()))
}
