//! Sends recorded events to a running Segue: paced, in batches, again when that may help.
//!
//! Sending twice does no harm: Segue knows a message that it has seen.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha1::Sha1;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::progress::Progress;
use crate::fixture::bodies::Body;

/// Events in a request, at most.
const BATCH_EVENTS: u64 = 100;
/// Bytes in a request, about: what the SDK paths take is 500,000.
const BATCH_BYTES: usize = 400_000;
/// Tries of one request before giving up.
const TRIES: u32 = 8;
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often events are let through.
const BEAT: Duration = Duration::from_millis(100);

/// Where to, and how.
pub(super) struct Target {
    pub(super) url: String,
    pub(super) replay: Option<String>,
    pub(super) token: Option<String>,
    pub(super) write_key: Option<String>,
    pub(super) webhook_secret: Option<String>,
    pub(super) rate: u32,
}

/// The source that a webhook's URL names.
pub(super) fn source_in(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let mut segments = url.path_segments()?.rev().skip_while(|segment| segment.is_empty());
    let name = segments.next()?;
    (segments.next() == Some("webhook")).then(|| name.to_owned())
}

/// Collects bodies into requests and sends them.
pub(super) struct Sender<'a> {
    target: &'a Target,
    url: Url,
    http: reqwest::Client,
    pace: Pace,
    /// Whether the SDK paths are meant, which take a batch as an object.
    is_api: bool,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    skip: u64,
    sent: u64,
    progress: Option<Progress>,
}

impl<'a> Sender<'a> {
    /// A sender that leaves out the first `skip` events, and notes how far it came.
    pub(super) fn new(
        target: &'a Target,
        skip: u64,
        progress: Option<Progress>,
    ) -> anyhow::Result<Self> {
        let mut url = Url::parse(&target.url).with_context(|| {
            format!(
                "--send {:?} is no URL; write for example http://127.0.0.1:8080/webhook/web",
                target.url
            )
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            bail!("--send needs an http or https URL");
        }
        if let Some(name) = &target.replay {
            url.query_pairs_mut().append_pair("replay", name);
        }
        // Fails when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder =
            reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        if url.scheme() == "http" {
            // Without TLS a machine without root certificates will do.
            builder = builder.tls_certs_only([]);
        }
        Ok(Self {
            is_api: url.path().starts_with("/v1/"),
            http: builder.build().context("the HTTP client cannot start")?,
            url,
            pace: Pace::new(target.rate),
            target,
            waiting: Vec::new(),
            waiting_bytes: 0,
            skip,
            sent: 0,
            progress,
        })
    }

    /// Takes a body; sends when a request is full.
    pub(super) async fn take(&mut self, body: Body) -> anyhow::Result<()> {
        let count = count_of(&body.bytes);
        if count > 1 {
            // A batch has fields of its own beside its events: it travels as it is.
            self.flush().await?;
            if self.skip >= count {
                self.skip -= count;
                self.sent += count;
                return Ok(());
            }
            self.skip = 0;
            return self.post(body.bytes, count).await;
        }
        if self.skip > 0 {
            self.skip -= 1;
            self.sent += 1;
            return Ok(());
        }
        let full = self.waiting.len() as u64 >= BATCH_EVENTS
            || self.waiting_bytes + body.bytes.len() > BATCH_BYTES;
        if full && !self.waiting.is_empty() {
            self.flush().await?;
        }
        self.waiting_bytes += body.bytes.len() + 1;
        self.waiting.push(body.bytes);
        Ok(())
    }

    /// Sends what is left; answers how many events were sent in all.
    pub(super) async fn finish(mut self) -> anyhow::Result<u64> {
        self.flush().await?;
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
        Ok(self.sent)
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        let events = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if events.is_empty() {
            return Ok(());
        }
        let (head, tail): (&[u8], &[u8]) =
            if self.is_api { (b"{\"batch\":[", b"]}") } else { (b"[", b"]") };
        let mut body = head.to_vec();
        for (index, event) in events.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(event);
        }
        body.extend_from_slice(tail);
        self.post(body.into(), events.len() as u64).await
    }

    /// Sends one request until it is taken.
    async fn post(&mut self, body: Bytes, events: u64) -> anyhow::Result<()> {
        self.pace.wait_for(events).await;
        for tried in 0..TRIES {
            let (problem, wait) = match self.once(body.clone()).await {
                Ok(response) if response.status().is_success() => {
                    self.sent += events;
                    if let Some(progress) = &mut self.progress {
                        progress.note(self.sent)?;
                    }
                    return Ok(());
                }
                Ok(response) if may_pass(response.status()) => {
                    (format!("it answers {}", response.status()), asked_wait(&response))
                }
                Ok(response) => {
                    let status = response.status();
                    let said: String =
                        response.text().await.unwrap_or_default().chars().take(300).collect();
                    bail!("{} refuses: {status} {said}\n{}", self.target.url, self.standing());
                }
                Err(error) => (error.without_url().to_string(), None),
            };
            if tried + 1 == TRIES {
                bail!("{} cannot be reached: {problem}\n{}", self.target.url, self.standing());
            }
            let backoff = Duration::from_secs(1 << tried.min(6));
            sleep(wait.unwrap_or(backoff).min(LONGEST_WAIT)).await;
        }
        Ok(())
    }

    fn standing(&self) -> String {
        let again = match &self.progress {
            Some(_) => "run it again, and it goes on there".to_owned(),
            None => format!("go on with --skip {}", self.sent),
        };
        format!("{} events were sent; {again}", self.sent)
    }

    async fn once(&self, body: Bytes) -> reqwest::Result<Response> {
        let mut request = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.target.token {
            request = request.header("x-segue-token", token);
        }
        if let Some(key) = &self.target.write_key {
            request = request.basic_auth(key, Some(""));
        }
        if let Some(secret) = &self.target.webhook_secret
            && let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes())
        {
            mac.update(&body);
            request = request.header("x-signature", hex::encode(mac.finalize().into_bytes()));
        }
        request.body(body).send().await
    }
}

/// Lets so many events through a second, evenly.
struct Pace {
    beat: Option<Interval>,
    per_beat: f64,
    credit: f64,
}

impl Pace {
    fn new(rate: u32) -> Self {
        Self { beat: None, per_beat: f64::from(rate) * BEAT.as_secs_f64(), credit: 0.0 }
    }

    async fn wait_for(&mut self, events: u64) {
        let beat = self.beat.get_or_insert_with(|| {
            let mut beat = interval(BEAT);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            beat
        });
        while self.credit <= 0.0 {
            beat.tick().await;
            self.credit += self.per_beat;
        }
        // A request larger than a beat is paid for by waiting longer before the next.
        self.credit -= events as f64;
    }
}

/// How many events a body holds.
fn count_of(body: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        batch: Option<Vec<&'a RawValue>>,
    }
    let batch = serde_json::from_slice::<Batch<'_>>(body).ok().and_then(|body| body.batch);
    batch.map_or(1, |batch| batch.len().max(1) as u64)
}

/// Whether the same request may be taken later.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

fn asked_wait(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
