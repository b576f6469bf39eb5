//! The head of a request: everything that can be known before its body is read.

use std::net::IpAddr;

use actix_web::http::header::HeaderMap;

use super::query::Query;
use crate::spec::Call;

/// A name of a replay is cut here, in characters.
const MAX_LABEL: usize = 100;

/// What a proxy, a tunnel or a browser puts into a request.
const TRACES: [&str; 7] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-real-ip",
    "via",
    "origin",
    "sec-fetch-site",
];

/// What is served at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Surface<'a> {
    /// `/webhook/{source}`
    Webhook(&'a str),
    /// `/v1/track` and its like: one event, of the type that the path says (`None`: its own).
    Single(Option<Call>),
    /// `/v1/batch` and its like.
    Batch,
}

/// The head of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// What was asked for.
    pub surface: Surface<'a>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The query, as it stands in the URL.
    pub query: &'a str,
    /// The other end of the connection.
    pub peer: Option<IpAddr>,
}

impl RequestHead<'_> {
    /// Whether the request was certainly made on this machine, as far as it can be told: what comes
    /// through a proxy or a tunnel may be from anywhere, and what a browser sends may be the idea of
    /// any page that is open in it.
    pub(super) fn is_local(&self) -> bool {
        self.peer.is_some_and(|peer| peer.to_canonical().is_loopback())
            && !TRACES.iter().any(|name| self.headers.contains_key(*name))
    }

    /// The client's address. A proxy on this machine is believed about whom it stands for: the last
    /// address is the one that it added itself.
    pub(super) fn client_ip(&self) -> Option<IpAddr> {
        let peer = self.peer?.to_canonical();
        if !peer.is_loopback() {
            return Some(peer);
        }
        let forwarded = self.headers.get_all("x-forwarded-for").last();
        let forwarded = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next());
        Some(forwarded.and_then(|address| address.trim().parse().ok()).unwrap_or(peer))
    }

    /// Whether everything is a replay by what the URL or a header says, and its name.
    pub(super) fn replay(&self, query: &Query) -> Option<Option<String>> {
        let header = self.headers.get("x-segue-replay").and_then(|value| value.to_str().ok());
        match query.get("replay").or(header)?.trim() {
            "false" | "0" => None,
            "" | "true" | "1" => Some(None),
            label => Some(Some(label.chars().take(MAX_LABEL).collect())),
        }
    }

    /// Whether the body is encoded in a way that can be read, as far as the sender says.
    pub(super) fn encoding_is_known(&self) -> bool {
        let Some(encoding) = self.headers.get("content-encoding") else { return true };
        ["gzip", "x-gzip", "identity", ""]
            .iter()
            .any(|known| encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(known.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn the_address_and_whether_it_is_this_machine() {
        #[rustfmt::skip]
        #[allow(clippy::type_complexity)]
        let table: &[(&str, &str, &[(&str, &str)], bool, &str)] = &[
            ("this machine", "127.0.0.1", &[], true, "127.0.0.1"),
            ("this machine, by IPv6", "::1", &[], true, "::1"),
            ("this machine, by both", "::ffff:127.0.0.1", &[], true, "127.0.0.1"),
            ("another machine", "203.0.113.7", &[], false, "203.0.113.7"),
            ("a proxy here", "127.0.0.1", &[("x-forwarded-for", "10.1.1.1, 203.0.113.9")], false, "203.0.113.9"),
            ("a proxy here, twice", "127.0.0.1",
                &[("x-forwarded-for", "10.1.1.1"), ("x-forwarded-for", "2001:db8::1")], false, "2001:db8::1"),
            ("a proxy here that says nothing useful", "127.0.0.1", &[("x-forwarded-for", "unknown")], false, "127.0.0.1"),
            ("another machine's word", "203.0.113.7", &[("x-forwarded-for", "127.0.0.1")], false, "203.0.113.7"),
            ("a page in a browser here", "127.0.0.1", &[("origin", "https://evil.example")], false, "127.0.0.1"),
        ];
        for (what, peer, lines, local, ip) in table {
            let mut headers = HeaderMap::new();
            for (name, value) in *lines {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let peer = Some(peer.parse().unwrap());
            let head = RequestHead { surface: Surface::Batch, headers: &headers, query: "", peer };
            assert_eq!(head.is_local(), *local, "{what}");
            assert_eq!(head.client_ip(), Some(ip.parse().unwrap()), "{what}");
        }
    }
}
