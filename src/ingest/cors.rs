//! What browsers are told. The SDKs send from any shop's pages, some with credentials, so any origin
//! may post; errors carry the headers too, else a script cannot even see the status.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, OPTIONS");

/// How long a browser may remember the answer to a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("900");

/// Answers `OPTIONS` on every path, and adds the headers to every other answer.
pub(crate) async fn cors<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let origin = request.headers().get(header::ORIGIN).cloned();
    if request.method() == Method::OPTIONS {
        let wanted = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let mut response = HttpResponse::Ok().finish();
        let headers = response.headers_mut();
        headers.insert(header::ALLOW, METHODS);
        if let Some(origin) = origin {
            allow(headers, origin);
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            // Echoed: with credentials a "*" would name a header called "*".
            if let Some(wanted) = wanted {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
            }
        }
        return Ok(request.into_response(response).map_into_right_body());
    }
    let mut response = next.call(request).await?.map_into_left_body();
    if let Some(origin) = origin {
        allow(response.headers_mut(), origin);
    }
    Ok(response)
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    // analytics.js waits as long as it is asked only where it may read this header.
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    let varies = HeaderValue::from_static("Origin, Access-Control-Request-Headers");
    headers.insert(header::VARY, varies);
}
