//! Stage 1: bytes become raw calls; decides who is asking and what the sender is answered.
//!
//! A request is admitted by what its head says ([`Intake::admit`]), then its body is taken apart and
//! every element stored with its exact bytes ([`Intake::accept`]); the sender is answered when the
//! journal has all of it on disk. What is wrong with a single element is found later and makes it a
//! dead letter: here it never costs its neighbours anything.
//!
//! Trust: an element is trusted with deletions when a secret vouches for it. The source's token
//! vouches for the whole request, on the SDK paths too; a signature for what it was made of, which on
//! Segment's batches is the first element alone; a write key for nothing. A source without any secret
//! is open to programs on this machine only, and they are trusted.
//!
//! Not here: routes and the listener ([`crate::server`]), what a call means ([`crate::spec`]).

mod body;
mod browser;
mod cors;
mod credentials;
mod error;
mod head;
mod http;
mod measure;
mod pixel;
mod query;
mod runs;
mod split;

pub use body::Body;
pub(crate) use cors::cors;
pub use error::IngestError;
pub use head::{RequestHead, Surface};
pub(crate) use http::{
    batch, ignored, picture, refuse, segment_settings, single, source_config, webhook,
};
pub(crate) use measure::measured;
pub use measure::{METRIC_EVENTS, METRIC_REFUSED, METRIC_REQUESTS};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName};
use bytes::Bytes;
use serde_json::Value;

use crate::clock::Clock;
use crate::config::{Config, SECRET_HEADERS};
use crate::guard::replay;
use crate::journal::{Accepted, Journal, Receipt};
use crate::spec::{Arrival, BatchDefaults, Call, Fingerprint, Ingress, RawCall, Replay, Sketch};
use body::Rooms;
use credentials::{Covered, Credentials, Keyring, Opened, Signable};
use measure::Refusals;
use query::Query;
use runs::Runs;
use split::Unpacked;

/// What is kept with the elements of a request may not take more than this many times its size limit
/// in the journal.
const MAX_EXPANSION: usize = 4;

/// The door: shared by all workers.
pub struct Intake {
    config: Arc<Config>,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    keyring: Keyring,
    on_loopback: bool,
    shown_headers: Vec<HeaderName>,
    rooms: Rooms,
    refusals: Refusals,
    runs: Runs,
}

/// A request whose head is in order: what is known before its body is read.
pub struct Admission {
    packing: Packing,
    source: Option<usize>,
    trusted: bool,
    credentials: Credentials,
    replay: Option<Option<String>>,
    ip: Option<String>,
    headers: BTreeMap<String, String>,
    encoding_is_known: bool,
    limit: usize,
    /// Whether the head brings a secret of the source.
    has_secret: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Packing {
    Webhook,
    Single(Option<Call>),
    Batch,
}

impl Admission {
    /// How large the body may be, in bytes, before and after inflating.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether the request brings a secret, so that it is no stranger's.
    pub fn has_secret(&self) -> bool {
        self.has_secret
    }
}

/// What became of a request that was answered with success.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Taken {
    /// Elements that were stored.
    pub first: usize,
    /// Elements that were stored before.
    pub duplicates: usize,
}

impl Intake {
    /// A door to `journal` for the sources of `config`. Whether a source without secrets is served
    /// depends on `config.listen`: only on a loopback address.
    pub fn new(config: Arc<Config>, journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> Self {
        let listen = config.listen.parse::<SocketAddr>();
        let shown = |name: &String| name.to_ascii_lowercase().parse::<HeaderName>().ok();
        Self {
            keyring: Keyring::of(&config.source),
            on_loopback: listen.is_ok_and(|listen| listen.ip().is_loopback()),
            shown_headers: config
                .ingest
                .headers
                .iter()
                .filter_map(shown)
                .filter(|name| !SECRET_HEADERS.contains(&name.as_str()))
                .collect(),
            rooms: Rooms::default(),
            refusals: Refusals::default(),
            runs: Runs::of(journal.totals()),
            config,
            journal,
            clock,
        }
    }

    /// How long a client may take to send a body.
    pub fn body_deadline(&self) -> Duration {
        self.config.ingest.body_deadline.duration()
    }

    /// Decides from a request's head whether its body is worth reading.
    ///
    /// # Errors
    /// The source is unknown, or a secret that does not need the body is missing or wrong.
    pub fn admit(&self, head: &RequestHead<'_>) -> Result<Admission, IngestError> {
        let query = Query::parse(head.query);
        let credentials = Credentials::read(head.headers, &query);
        let limits = &self.config.ingest;
        let (packing, source, trusted, limit) = match head.surface {
            Surface::Webhook(name) => {
                let at = self.config.source.iter().position(|source| source.name == name);
                let at = at.ok_or(IngestError::UnknownSource)?;
                let local = self.on_loopback && head.is_local();
                let opened = self.keyring.open_webhook(at, &credentials, local)?;
                let trusted = matches!(opened, Opened::BySecret | Opened::Locally);
                (Packing::Webhook, Some(at), trusted, limits.max_webhook_body_bytes)
            }
            Surface::Single(call) => {
                let source = self.keyring.source_of(&credentials);
                (Packing::Single(call), source, false, limits.max_body_bytes)
            }
            Surface::Batch => {
                let source = self.keyring.source_of(&credentials);
                (Packing::Batch, source, false, limits.max_body_bytes)
            }
        };
        let has_secret =
            trusted || source.is_some_and(|source| self.keyring.has_token(source, &credentials));
        Ok(Admission {
            has_secret,
            packing,
            source,
            trusted,
            credentials,
            replay: head.replay(&query),
            ip: head.client_ip().map(|ip| ip.to_string()),
            headers: self.headers_for_scripts(head.headers),
            encoding_is_known: head.encoding_is_known(),
            limit,
        })
    }

    /// Stores the events of an admitted request; returns when they are safe.
    ///
    /// # Errors
    /// The body cannot be taken apart, its key or signature is wrong, or the journal takes nothing.
    pub async fn accept(
        self: &Arc<Self>,
        admission: Admission,
        body: impl Into<Body>,
    ) -> Result<Taken, IngestError> {
        let ((source, batch), body) = self.inflate(admission, body.into()).await?;
        let count = batch.len();
        if count == 0 {
            return Ok(Taken::default());
        }
        let stored = self.journal.accept(batch).await;
        // Only now: the journal held on to its bytes.
        drop(body);
        let receipts = stored.map_err(|_| IngestError::JournalFailed)??;
        measure::events(&self.config.source[source].name, count);
        let first = receipts.iter().filter(|one| matches!(one, Receipt::First(_))).count();
        Ok(Taken { first, duplicates: receipts.len() - first })
    }

    /// Inflates a body and takes it apart, the room with it: the body comes back.
    async fn inflate(
        self: &Arc<Self>,
        admission: Admission,
        mut body: Body,
    ) -> Result<((usize, Vec<Accepted>), Body), IngestError> {
        let (limit, trusted) = (admission.limit, admission.has_secret);
        match self.rooms.inflate_small(&mut body, limit, trusted).await {
            Ok(()) => Ok((self.take_apart(admission, &body.bytes)?, body)),
            // Large, or inflates to something large: not on the thread that serves the others.
            Err(IngestError::BodyTooLarge(_)) => {
                let most = body.with_inflated(limit);
                self.rooms.give(&mut body, most, trusted).await?;
                let intake = Arc::clone(self);
                // The body goes along: who hangs up meanwhile frees no room that is still in use.
                let work = move || {
                    body.inflate(limit)?;
                    Ok((intake.take_apart(admission, &body.bytes)?, body))
                };
                let done = tokio::task::spawn_blocking(work).await;
                done.map_err(|_| IngestError::JournalFailed)?
            }
            Err(error) => Err(error),
        }
    }

    /// What [`Self::accept`] would store, without storing it: fixtures and dry runs come in by the
    /// same door.
    ///
    /// # Errors
    /// The body cannot be taken apart, or its key or signature is wrong.
    pub fn open(&self, admission: Admission, sent: &Bytes) -> Result<Vec<Accepted>, IngestError> {
        let plain = body::inflate(sent, admission.limit)?;
        Ok(self.take_apart(admission, &plain)?.1)
    }

    /// Unpacks, authenticates by what is in the body, and gives every element its envelope.
    fn take_apart(
        &self,
        mut admission: Admission,
        plain: &Bytes,
    ) -> Result<(usize, Vec<Accepted>), IngestError> {
        let unpacked = match split::unpack(plain, admission.packing == Packing::Webhook) {
            Err(IngestError::InvalidJson(_)) if !admission.encoding_is_known => {
                return Err(IngestError::UnsupportedEncoding);
            }
            other => other?,
        };
        let (source, trust) = self.authenticate(&mut admission, plain, &unpacked)?;
        if admission.packing == Packing::Batch && !unpacked.is_batch {
            return Err(IngestError::MissingBatch);
        }
        let defaults = unpacked.said.read()?;
        Ok((source, self.raw_calls(admission, (source, trust), unpacked, defaults)?))
    }

    /// Finds the source where only the body names it, and what is trusted.
    fn authenticate(
        &self,
        admission: &mut Admission,
        plain: &[u8],
        unpacked: &Unpacked,
    ) -> Result<(usize, Covered), IngestError> {
        let everything = |trusted: bool| match trusted {
            true => Covered::Everything,
            false => Covered::Nothing,
        };
        let credentials = &mut admission.credentials;
        if admission.packing != Packing::Webhook {
            if let (None, Some(key)) = (admission.source, &unpacked.write_key) {
                credentials.add_key(key);
                admission.source = self.keyring.source_of(credentials);
            }
            let source = admission.source.ok_or_else(|| Keyring::no_key(credentials))?;
            return Ok((source, everything(self.keyring.has_token(source, credentials))));
        }
        let source = admission.source.ok_or(IngestError::UnknownSource)?;
        let first: Vec<&[u8]> = unpacked
            .wrapped_first
            .iter()
            .chain(unpacked.elements.first())
            .map(|element| &element[..])
            .collect();
        let signed = Signable { whole: plain, first: &first, is_batch: unpacked.is_batch };
        let covered = self.keyring.check_signature(source, credentials, &signed)?;
        Ok((source, if admission.trusted { Covered::Everything } else { covered }))
    }

    fn raw_calls(
        &self,
        admission: Admission,
        (source, trust): (usize, Covered),
        unpacked: Unpacked,
        defaults: Option<BatchDefaults>,
    ) -> Result<Vec<Accepted>, IngestError> {
        let source = &self.config.source[source];
        let ingress = match admission.packing {
            Packing::Webhook => Ingress::Webhook,
            Packing::Single(_) | Packing::Batch => Ingress::Api,
        };
        let call = match admission.packing {
            // A batch that was sent to the address of single calls: its elements say what they are.
            Packing::Single(call) if !unpacked.is_batch => call,
            _ => None,
        };
        let accepted_at = self.clock.now();
        let guard = &self.config.guard;
        let batch = defaults.map(Arc::new);
        // What a batch says for all of its elements, it says of each.
        let of_batch = batch.as_ref().and_then(|batch| {
            let context = Value::Object(batch.context.clone()?);
            let fields = Sketch::Object(vec![("context".into(), Sketch::from(&context))]);
            match replay::at_acceptance(guard, Ingress::Api, accepted_at, None, Some(&fields))? {
                Replay::Flagged { label } => Some(label),
                Replay::ReceivedAge => None,
            }
        });
        let flag = admission.replay.or(of_batch).or(source.replay.then_some(None));
        let arrival = Arc::new(Arrival {
            source: source.name.clone(),
            ingress,
            call,
            accepted_at,
            replay: None,
            trusted: trust == Covered::Everything,
            ip: admission.ip,
            headers: admission.headers,
            batch,
        });
        check_expansion(&arrival, unpacked.elements.len(), admission.limit)?;
        let accepted = |(at, element): (usize, Bytes)| {
            let mut arrival = Arc::clone(&arrival);
            if trust == Covered::FirstElement && at == 0 {
                Arc::make_mut(&mut arrival).trusted = true;
            }
            let (fingerprint, replay) = RawCall::sketch(&element, |sketch| {
                let fingerprint = Fingerprint::of(&arrival, &element, sketch);
                let flag = flag.clone();
                let replay = replay::at_acceptance(guard, ingress, accepted_at, flag, sketch);
                (fingerprint, replay)
            });
            if replay.is_some() {
                Arc::make_mut(&mut arrival).replay = self.runs.counted(replay);
            }
            let key = fingerprint.dedupe_key(&source.name);
            Accepted { key, call: RawCall::known(arrival, element, fingerprint) }
        };
        Ok(unpacked.elements.into_iter().enumerate().map(accepted).collect())
    }

    fn headers_for_scripts(&self, headers: &HeaderMap) -> BTreeMap<String, String> {
        let shown = |name: &HeaderName| {
            let value = headers.get(name)?.to_str().ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        };
        self.shown_headers.iter().filter_map(shown).collect()
    }
}

/// An arrival is kept with each element, and has in it what a client may make large: the fields of the
/// batch and the headers for scripts. A few bytes of request must not become gigabytes of journal.
fn check_expansion(arrival: &Arrival, elements: usize, limit: usize) -> Result<(), IngestError> {
    let size = serde_json::to_vec(arrival).map_or(0, |envelope| envelope.len());
    if size.saturating_mul(elements) > limit.saturating_mul(MAX_EXPANSION) {
        return Err(IngestError::BatchTooLarge(format!(
            "{elements} events, and {size} bytes of context, integrations and headers are kept with each; send fewer at once"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
