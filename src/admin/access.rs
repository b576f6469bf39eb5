//! Who may ask: decided before any handler runs.
//!
//! The socket needs no token: its file mode says who may open it. On TCP a configured token is
//! required. Without one the listener is on loopback (the configuration sees to that), and then the
//! `Host` header must name this machine: else any web page could read everything here by letting its
//! own name resolve to 127.0.0.1. And whatever a page of another site sends is refused, because a
//! browser sends it without asking and with what it knows of us.
//!
//! Not here: the keys of senders ([`crate::ingest`]).

use std::any::Any;
use std::net::IpAddr;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError as _, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::metrics::REFUSED;
use super::{Admin, AdminError};
use crate::config::Secret;

/// What tells no more than the listener for events tells anybody.
const OPEN: [&str; 2] = ["/health/live", "/health/ready"];

/// The door through which a connection came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Door {
    /// The socket in the data folder.
    Socket,
    /// The TCP listener.
    Tcp,
}

/// Notes the door of a new connection.
pub(super) fn remember_door(connection: &dyn Any, data: &mut Extensions) {
    #[cfg(unix)]
    if connection.is::<actix_web::rt::net::UnixStream>() {
        data.insert(Door::Socket);
        return;
    }
    let _ = connection;
    data.insert(Door::Tcp);
}

/// Lets a request through to its handler, or answers why not.
pub(super) async fn guarded<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let admin = request.app_data::<web::Data<Admin>>();
    let token = admin.and_then(|admin| admin.config.admin.token.as_ref());
    let door = request.conn_data::<Door>().copied().unwrap_or(Door::Tcp);
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let asked = Asked { door, path: request.path(), headers: request.headers(), authority };
    match asked.judge(token) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(error) => {
            // Counted, not logged: whoever guesses tokens must not fill the log.
            metrics::counter!(REFUSED, "code" => error.code()).increment(1);
            Ok(request.into_response(error.error_response()).map_into_right_body())
        }
    }
}

/// What is looked at of a request.
struct Asked<'a> {
    door: Door,
    path: &'a str,
    headers: &'a HeaderMap,
    /// The host of an HTTP/2 request.
    authority: Option<&'a str>,
}

impl Asked<'_> {
    fn judge(&self, token: Option<&Secret>) -> Result<(), AdminError> {
        if self.door == Door::Socket || OPEN.contains(&self.path) {
            return Ok(());
        }
        let host = self.header(HOST.as_str()).or(self.authority).unwrap_or_default();
        if self.is_cross_site(host) {
            return Err(AdminError::CrossSite);
        }
        match token.filter(|token| !token.is_empty()) {
            Some(token) => self.check_token(token),
            None if names_this_machine(host) => Ok(()),
            None => Err(AdminError::ForeignHost),
        }
    }

    fn check_token(&self, token: &Secret) -> Result<(), AdminError> {
        let sent = self.tokens();
        if sent.is_empty() {
            return Err(AdminError::MissingToken);
        }
        let expected = Sha256::digest(token.expose().trim());
        let found = sent.iter().fold(subtle::Choice::from(0), |found, sent| {
            found | Sha256::digest(sent.trim()).ct_eq(&expected)
        });
        if bool::from(found) { Ok(()) } else { Err(AdminError::InvalidToken) }
    }

    fn tokens(&self) -> Vec<String> {
        let mut tokens: Vec<String> =
            self.header("x-segue-token").map(String::from).into_iter().collect();
        let Some((scheme, value)) =
            self.header(AUTHORIZATION.as_str()).and_then(|said| said.trim().split_once(' '))
        else {
            return tokens;
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            tokens.push(value.to_owned());
        } else if scheme.eq_ignore_ascii_case("basic")
            && let Ok(pair) = STANDARD.decode(value.trim())
            && let Ok(pair) = String::from_utf8(pair)
            && let Some((_, password)) = pair.split_once(':')
        {
            tokens.push(password.to_owned());
        }
        tokens
    }

    /// Browsers say where a request comes from, and pages cannot make them say something else.
    fn is_cross_site(&self, host: &str) -> bool {
        let site = self.header("sec-fetch-site");
        if site.is_some_and(|site| site != "same-origin" && site != "none") {
            return true;
        }
        let origin = self.header(ORIGIN.as_str());
        origin.is_some_and(|origin| {
            origin.split_once("://").is_none_or(|(_, from)| !from.eq_ignore_ascii_case(host))
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Whether a `Host` is a name that no other party can make resolve to us.
fn names_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn judge(
        door: Door,
        path: &str,
        headers: &[(&str, &str)],
        token: Option<&str>,
    ) -> &'static str {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let asked = Asked { door, path, headers: &map, authority: None };
        match asked.judge(token.map(Secret::new).as_ref()) {
            Ok(()) => "ok",
            Err(error) => error.code(),
        }
    }

    #[test]
    fn the_door_the_host_and_the_token_decide() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let (right, wrong) = (basic("anyone:s3cret"), basic("s3cret:anyone"));
        let api = "/api/status";
        type Row<'a> = (&'a str, Door, &'a str, Vec<(&'a str, &'a str)>, Option<&'a str>, &'a str);
        #[rustfmt::skip]
        let table: Vec<Row> = vec![
            ("the socket needs nothing", Door::Socket, api, vec![], Some("s3cret"), "ok"),
            ("localhost", Door::Tcp, api, vec![("host", "localhost:8081")], None, "ok"),
            ("in capitals", Door::Tcp, api, vec![("host", "LocalHost")], None, "ok"),
            ("IPv4", Door::Tcp, api, vec![("host", "127.0.0.1:8081")], None, "ok"),
            ("IPv6", Door::Tcp, api, vec![("host", "[::1]:8081")], None, "ok"),
            ("a name that resolves to us", Door::Tcp, api, vec![("host", "evil.example:8081")], None, "foreign_host"),
            ("a name that only begins well", Door::Tcp, api, vec![("host", "localhost.evil.example")], None, "foreign_host"),
            ("an address elsewhere", Door::Tcp, api, vec![("host", "10.0.0.1")], None, "foreign_host"),
            ("no host at all", Door::Tcp, api, vec![], None, "foreign_host"),
            ("probes may come by any name", Door::Tcp, "/health/live", vec![("host", "pod-7")], None, "ok"),
            ("and need no token", Door::Tcp, "/health/ready", vec![], Some("s3cret"), "ok"),
            ("reasons need it", Door::Tcp, "/health", vec![("host", "localhost")], Some("s3cret"), "missing_token"),
            ("bearer", Door::Tcp, api, vec![("authorization", "Bearer s3cret")], Some("s3cret"), "ok"),
            ("the header", Door::Tcp, api, vec![("x-segue-token", "s3cret")], Some("s3cret"), "ok"),
            ("password", Door::Tcp, api, vec![("authorization", &right)], Some("s3cret"), "ok"),
            ("user instead of password", Door::Tcp, api, vec![("authorization", &wrong)], Some("s3cret"), "invalid_token"),
            ("another token", Door::Tcp, api, vec![("authorization", "Bearer s3cre")], Some("s3cret"), "invalid_token"),
            ("an empty one", Door::Tcp, api, vec![("x-segue-token", "")], Some("s3cret"), "invalid_token"),
            ("with a token any host will do", Door::Tcp, api, vec![("host", "segue.internal"), ("x-segue-token", "s3cret")], Some("s3cret"), "ok"),
            ("an empty token is none", Door::Tcp, api, vec![("host", "evil.example")], Some(""), "foreign_host"),
            ("our own page", Door::Tcp, api, vec![("host", "localhost:8081"), ("origin", "http://localhost:8081"), ("sec-fetch-site", "same-origin")], None, "ok"),
            ("typed into the browser", Door::Tcp, api, vec![("host", "localhost"), ("sec-fetch-site", "none")], None, "ok"),
            ("a page elsewhere", Door::Tcp, api, vec![("host", "localhost"), ("origin", "https://evil.example")], None, "cross_site"),
            ("a page without origin", Door::Tcp, api, vec![("host", "localhost"), ("origin", "null")], None, "cross_site"),
            ("a picture in a page elsewhere", Door::Tcp, api, vec![("host", "localhost"), ("sec-fetch-site", "cross-site")], None, "cross_site"),
            ("another port of this machine", Door::Tcp, api, vec![("host", "localhost:8081"), ("sec-fetch-site", "same-site")], None, "cross_site"),
            ("even with the token", Door::Tcp, api, vec![("origin", "https://evil.example"), ("x-segue-token", "s3cret")], Some("s3cret"), "cross_site"),
        ];
        for (what, door, path, headers, token, expected) in table {
            assert_eq!(judge(door, path, &headers, token), expected, "{what}");
        }
    }
}
