//! Carries requests to Customer.io: connection, credentials, redirects, time limits.
//!
//! Redirects are followed by hand, because an account in the other region answers with one: an HTTP
//! library would turn the POST into a GET and drop the credentials. They are followed within
//! `customer.io` only, so that no key ever reaches anybody else.
//!
//! Not here: what an answer means ([`super::response`]), when to try again ([`crate::delivery`]).

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Response, Url};
use serde::Deserialize;

use super::Region;
use super::request::{Method, Request};
use super::response::{self, Answer};
use crate::clock::{Clock, SystemClock, Time};
use crate::spec::timestamp;

/// Hops from one host to another; the regions need one.
const REDIRECTS: usize = 3;

/// What is read of an answer: errors about 500 items fit in it several times.
const BODY_BYTES: usize = 512 * 1024;

/// A connection that is silent for so long while requests are on it is asked whether it is alive…
const PING_EVERY: Duration = Duration::from_secs(5);
/// …and given up after this: one that hangs open would otherwise take one request after another down with it.
const PING_ANSWERED_WITHIN: Duration = Duration::from_secs(5);

const REGION_PATH: &str = "/api/v1/accounts/region";

const USER_AGENT: &str = concat!("segue/", env!("CARGO_PKG_VERSION"));

/// How to reach an account.
#[derive(Clone)]
pub struct ClientConfig<'a> {
    /// Where the account lives.
    pub region: Region,
    /// Another base URL instead of the region's: an emulator, a proxy.
    pub url: Option<&'a str>,
    /// The site id.
    pub site_id: &'a str,
    /// The API key.
    pub api_key: &'a str,
    /// The longest time to wait for a connection. Default: 3 s.
    pub connect_timeout: Duration,
    /// The longest time for a request with its answer. Default: 10 s.
    pub timeout: Duration,
    /// How long an idle connection is kept. Default: 20 s.
    pub idle_timeout: Duration,
    /// Whether the proxies of the environment (`HTTPS_PROXY`) are left alone. A loopback address is
    /// never reached through one.
    pub no_proxy: bool,
}

impl<'a> ClientConfig<'a> {
    /// An account in a region, with the default time limits.
    pub fn new(region: Region, site_id: &'a str, api_key: &'a str) -> Self {
        Self {
            region,
            url: None,
            site_id,
            api_key,
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(20),
            no_proxy: false,
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The site id or the key is empty.
    #[error("{0} is empty: Customer.io knows no account without one")]
    NoCredentials(&'static str),
    /// The base URL cannot be used.
    #[error("customerio.url is not usable: {0}")]
    BadUrl(&'static str),
    /// The HTTP client cannot start, for example for want of root certificates.
    #[error("the HTTP client cannot start; are the system's root certificates installed?")]
    Start(#[source] reqwest::Error),
}

/// A connection pool for one account.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    custom: bool,
    authorization: HeaderValue,
    warned_of_redirect: AtomicBool,
    warned_of_odd_answer: AtomicBool,
    /// By how many milliseconds the clock here is ahead of the one that dates the answers.
    ahead: AtomicI64,
    last_failure: Mutex<Option<Failure>>,
}

/// A request that Customer.io did not deal with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// When it was known.
    pub at: Time,
    /// Why, for people: a status, or what became of the connection.
    pub why: String,
}

/// Stands for a clock that nothing is known about.
const UNKNOWN: i64 = i64::MIN;

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client for an account. Nothing is connected yet.
    ///
    /// # Errors
    /// Empty credentials, an unusable URL, or no root certificates.
    pub fn new(config: &ClientConfig<'_>) -> Result<Self, ClientError> {
        for (what, value) in [("the site id", config.site_id), ("the API key", config.api_key)] {
            if value.is_empty() {
                return Err(ClientError::NoCredentials(what));
            }
        }
        let base = base_url(config.url.unwrap_or_else(|| config.region.url()))?;
        // Fails when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(config.connect_timeout)
            .timeout(config.timeout)
            .pool_idle_timeout(config.idle_timeout)
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_ANSWERED_WITHIN)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false);
        if config.no_proxy || is_loopback(&base) {
            builder = builder.no_proxy();
        }
        if base.scheme() == "http" {
            // Without TLS a machine without root certificates will do.
            builder = builder.tls_certs_only([]);
        }
        let credentials = format!("{}:{}", config.site_id, config.api_key);
        let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
        let mut authorization = HeaderValue::from_str(&format!("Basic {encoded}"))
            .map_err(|_| ClientError::NoCredentials("the API key"))?;
        authorization.set_sensitive(true);
        Ok(Self {
            http: builder.build().map_err(ClientError::Start)?,
            base,
            custom: config.url.is_some(),
            authorization,
            warned_of_redirect: AtomicBool::new(false),
            warned_of_odd_answer: AtomicBool::new(false),
            ahead: AtomicI64::new(UNKNOWN),
            last_failure: Mutex::default(),
        })
    }

    /// By how many milliseconds this machine's clock is ahead of Customer.io's, within a second and the
    /// time that an answer takes; negative: behind. `None`: no answer has said what time it is there.
    pub fn clock_ahead(&self) -> Option<i64> {
        Some(self.ahead.load(Ordering::Relaxed)).filter(|ahead| *ahead != UNKNOWN)
    }

    /// Takes the time from the head of an answer.
    fn compare_clocks(&self, response: &Response) {
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        if let Some(there) = date.and_then(timestamp::parse_text) {
            self.ahead.store(SystemClock.now().millis_since(there), Ordering::Relaxed);
        }
    }

    /// Sends a request and reads the answer. It never fails: no answer is one too.
    pub async fn send(&self, request: &Request) -> Answer {
        match self.exchange(request).await {
            Ok((status, retry_after, body)) => {
                if response::is_odd(status, &body)
                    && !self.warned_of_odd_answer.swap(true, Ordering::Relaxed)
                {
                    tracing::warn!(http.status = status, "an answer of Customer.io is not JSON");
                }
                let now = SystemClock.now();
                if status >= 500 {
                    self.failed(now, format!("it answered {status}"));
                }
                response::read(status, retry_after.as_deref(), &body, now)
            }
            Err(error) => {
                let unknown_fate = !(error.is_connect() || error.is_builder());
                // The path of a request may name a person.
                let why = cause(&error.without_url());
                tracing::debug!(why, "a request to Customer.io got no answer");
                self.failed(SystemClock.now(), why);
                Answer::TryAgain { status: None, retry_after: None, unknown_fate }
            }
        }
    }

    /// The last request that failed since the start.
    pub fn last_failure(&self) -> Option<Failure> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failed(&self, at: Time, why: String) {
        let mut last = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Failure { at, why });
    }

    /// Asks where the account lives, which also shows whether the credentials are right.
    pub async fn region_probe(&self) -> Probe {
        let request = Request { method: Method::Get, path: REGION_PATH.into(), body: Bytes::new() };
        match self.exchange(&request).await {
            Ok((200, _, body)) => {
                let answer = serde_json::from_slice(&body).map(|Where { region }| region);
                answer.map_or(Probe::Unreadable { status: 200 }, Probe::Region)
            }
            Ok((status @ (401 | 403), ..)) => Probe::Unauthorized { status },
            Ok((status, ..)) => Probe::Unreadable { status },
            Err(_) => Probe::Unreachable,
        }
    }

    /// One request with its answer, along redirects.
    async fn exchange(
        &self,
        request: &Request,
    ) -> Result<(u16, Option<String>, Vec<u8>), reqwest::Error> {
        let mut url = self.address(&request.path);
        let mut response = self.once(request, url.clone()).await?;
        for _ in 0..REDIRECTS {
            let Some(next) = self.redirected(&url, &response) else { break };
            url = next;
            response = self.once(request, url.clone()).await?;
        }
        self.compare_clocks(&response);
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = header.map(str::to_owned);
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while body.len() < BODY_BYTES
            && let Some(chunk) = response.chunk().await?
        {
            body.extend_from_slice(&chunk[..chunk.len().min(BODY_BYTES - body.len())]);
        }
        Ok((status, retry_after, body))
    }

    async fn once(&self, request: &Request, url: Url) -> Result<Response, reqwest::Error> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut sent = self.http.request(method, url).header(AUTHORIZATION, &self.authorization);
        if !request.body.is_empty() {
            let json = HeaderValue::from_static("application/json");
            sent = sent.header(CONTENT_TYPE, json).body(request.body.clone());
        }
        sent.send().await
    }

    /// The address of a path. Paths are made of percent-encoded segments, so that they can be set.
    fn address(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let prefix = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{prefix}{path}"));
        url
    }

    /// Where an answer sends us, if we may go there.
    fn redirected(&self, from: &Url, response: &Response) -> Option<Url> {
        if !matches!(response.status().as_u16(), 301 | 302 | 307 | 308) {
            return None;
        }
        let next = from.join(response.headers().get(LOCATION)?.to_str().ok()?).ok()?;
        let allowed = may_follow(self.custom, from, &next);
        if !self.warned_of_redirect.swap(true, Ordering::Relaxed) {
            let host = next.host_str().unwrap_or_default();
            if allowed {
                tracing::warn!(host, "Customer.io redirects: is the configured region right?");
            } else {
                tracing::warn!(host, "a redirect out of customer.io is not followed");
            }
        }
        allowed.then_some(next)
    }
}

/// What is at the bottom of an error: the outer ones only say that a request failed.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        let what = if error.is_connect() { "connection" } else { "answer" };
        return format!("no {what} in time");
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Where Customer.io says that an account lives.
#[derive(Deserialize)]
struct Where {
    region: Region,
}

/// What [`Client::region_probe`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Probe {
    /// The account lives there.
    Region(Region),
    /// The credentials are wrong, or belong to an account of another region.
    Unauthorized {
        /// The HTTP status.
        status: u16,
    },
    /// An answer that says nothing about a region.
    Unreadable {
        /// The HTTP status.
        status: u16,
    },
    /// No answer.
    Unreachable,
}

impl Probe {
    /// What to tell the operator who configured `region`; `None` when all is well.
    pub fn complaint(self, region: Region) -> Option<String> {
        let (configured, other) = match region {
            Region::Us => ("us", "eu"),
            Region::Eu => ("eu", "us"),
        };
        Some(match self {
            Self::Region(found) if found == region => return None,
            Self::Region(found) => format!(
                "the account lives in region \"{found}\", and customerio.region is \
                 \"{configured}\": data takes a detour through another region or is refused; set \
                 customerio.region = \"{found}\"",
                found = found.as_str(),
            ),
            Self::Unauthorized { status } => format!(
                "Customer.io refuses the credentials ({status}): check customerio.site_id and \
                 customerio.api_key (a Track API key, not an App API key), and whether \
                 customerio.region = \"{other}\" is meant"
            ),
            Self::Unreadable { status } => format!(
                "Customer.io does not say where the account lives ({status}); region \
                 \"{configured}\" is used as configured"
            ),
            Self::Unreachable => {
                "Customer.io cannot be reached; events are kept until it can".into()
            }
        })
    }
}

/// Whether a request with the key may go on to `next`.
fn may_follow(custom: bool, from: &Url, next: &Url) -> bool {
    let origin = |url: &Url| (url.host_str().map(str::to_owned), url.port_or_known_default());
    if custom {
        return origin(from) == origin(next) && (next.scheme() == from.scheme());
    }
    let host = next.host_str().unwrap_or_default();
    next.scheme() == "https" && (host == "customer.io" || host.ends_with(".customer.io"))
}

/// Whether this can be the base URL of an account.
///
/// # Errors
/// Why not, and what to write.
pub fn check_url(text: &str) -> Result<(), ClientError> {
    base_url(text).map(drop)
}

fn base_url(text: &str) -> Result<Url, ClientError> {
    let url = Url::parse(text)
        .map_err(|_| ClientError::BadUrl("it is no URL; write https://host or http://host:port"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(ClientError::BadUrl("it must begin with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ClientError::BadUrl("credentials belong into site_id and api_key"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ClientError::BadUrl("it must end with the host or a path"));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests;
