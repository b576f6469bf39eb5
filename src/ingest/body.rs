//! From what the connection brings to plain bytes: a deadline, a size cap before and after
//! inflating, a bound on how many large bodies are in memory at once, and never a look at the content
//! type (SDKs send JSON as `text/plain` and as `application/x-www-form-urlencoded`).

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::IngestError;

/// Bodies of more than this, in bytes, take one of the few places for large ones.
pub(super) const SMALL: usize = 256 * 1024;

/// How many large bodies may be in memory at once; the others wait before they are read on.
const LARGE_AT_ONCE: usize = 16;

/// How long a large body waits for its place: senders give up after 5 to 15 seconds.
const PATIENCE: Duration = Duration::from_secs(4);

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A body in memory, and its place among the large ones.
pub struct Body {
    pub(super) bytes: Bytes,
    place: Option<OwnedSemaphorePermit>,
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, place: None }
    }
}

/// The places for large bodies.
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_AT_ONCE)))
    }
}

impl Places {
    /// Gives a body one of the places, unless it has one.
    ///
    /// # Errors
    /// None became free in time.
    pub(super) async fn give(&self, body: &mut Body) -> Result<(), IngestError> {
        if body.place.is_some() {
            return Ok(());
        }
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.0).acquire_owned()).await {
            Ok(Ok(place)) => {
                body.place = Some(place);
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(IngestError::Busy),
        }
    }
}

/// Reads a whole body of at most `limit` bytes, of which the client says that it has `announced`.
///
/// # Errors
/// The body is too large, too slow, or ends early.
pub(super) async fn receive(
    payload: web::Payload,
    announced: Option<usize>,
    limit: usize,
    deadline: Duration,
    places: &Places,
) -> Result<Body, IngestError> {
    if announced.is_some_and(|length| length > limit) {
        return Err(IngestError::BodyTooLarge(limit));
    }
    match tokio::time::timeout(deadline, collect(payload, limit, places)).await {
        Ok(collected) => collected,
        Err(_) => {
            Err(IngestError::BodyTimeout(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)))
        }
    }
}

async fn collect(
    mut payload: web::Payload,
    limit: usize,
    places: &Places,
) -> Result<Body, IngestError> {
    let mut body = Body::from(Bytes::new());
    let mut collected = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| IngestError::IncompleteBody)?;
        let length = body.bytes.len() + collected.len() + chunk.len();
        if length > limit {
            return Err(IngestError::BodyTooLarge(limit));
        }
        if length > SMALL {
            places.give(&mut body).await?;
        }
        if body.bytes.is_empty() && collected.is_empty() {
            // Most bodies are one chunk, which need not be copied.
            body.bytes = chunk;
            continue;
        }
        if collected.is_empty() {
            collected.extend_from_slice(&std::mem::take(&mut body.bytes));
        }
        collected.extend_from_slice(&chunk);
    }
    if !collected.is_empty() {
        body.bytes = collected.freeze();
    }
    Ok(body)
}

/// Inflates a gzip body to at most `limit` bytes; returns any other body, of at most that, as it is.
///
/// The first bytes tell gzip more reliably than the header does: proxies inflate and leave the header,
/// clients compress and forget it. JSON never starts like this.
///
/// # Errors
/// The body is larger than `limit` (no more than that is ever inflated), or its gzip data is damaged.
pub(super) fn inflate(body: &Bytes, limit: usize) -> Result<Bytes, IngestError> {
    if body.len() > limit {
        return Err(IngestError::BodyTooLarge(limit));
    }
    if !body.starts_with(&GZIP_MAGIC) {
        return Ok(body.clone());
    }
    let cap = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut plain = Vec::with_capacity(body.len().saturating_mul(4).min(limit));
    MultiGzDecoder::new(&body[..])
        .take(cap)
        .read_to_end(&mut plain)
        .map_err(|_| IngestError::InvalidGzip)?;
    if plain.len() > limit {
        return Err(IngestError::BodyTooLarge(limit));
    }
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_large_body_keeps_its_place_until_it_is_gone() {
        let places = Places::default();
        let body = || Body::from(Bytes::from_static(b"{}"));
        let mut held: Vec<Body> = (0..LARGE_AT_ONCE).map(|_| body()).collect();
        for one in &mut held {
            places.give(one).await.unwrap();
            places.give(one).await.unwrap();
        }
        assert_eq!(places.0.available_permits(), 0, "one place for each, also when asked twice");

        held.pop();

        places.give(&mut body()).await.unwrap();
    }
}
