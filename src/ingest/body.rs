//! From what the connection brings to plain bytes: a deadline, a size cap before and after
//! inflating, and never a look at the content type (SDKs send JSON as `text/plain` and as
//! `application/x-www-form-urlencoded`).

use std::io::Read;
use std::time::Duration;

use actix_web::web;
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt;

use super::IngestError;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// The body is too large, too slow, or ends early.
pub(super) async fn receive(
    mut payload: web::Payload,
    announced: Option<usize>,
    limit: usize,
    deadline: Duration,
) -> Result<Bytes, IngestError> {
    if announced.is_some_and(|length| length > limit) {
        return Err(IngestError::BodyTooLarge(limit));
    }
    let reading = async {
        let Some(first) = payload.next().await else { return Ok(Bytes::new()) };
        let first = first.map_err(|_| IngestError::IncompleteBody)?;
        let mut whole: Option<BytesMut> = None;
        while let Some(more) = payload.next().await {
            let more = more.map_err(|_| IngestError::IncompleteBody)?;
            let whole = whole.get_or_insert_with(|| BytesMut::from(&first[..]));
            if whole.len() + more.len() > limit {
                return Err(IngestError::BodyTooLarge(limit));
            }
            whole.extend_from_slice(&more);
        }
        match whole {
            Some(whole) => Ok(whole.freeze()),
            None if first.len() > limit => Err(IngestError::BodyTooLarge(limit)),
            None => Ok(first),
        }
    };
    match tokio::time::timeout(deadline, reading).await {
        Ok(read) => read,
        Err(_) => {
            Err(IngestError::BodyTimeout(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)))
        }
    }
}

/// Whether a body is gzip. The first bytes say so more reliably than the header: proxies inflate and
/// leave the header, clients compress and forget it. JSON never starts like this.
pub(super) fn is_gzip(body: &[u8]) -> bool {
    body.starts_with(&GZIP_MAGIC)
}

/// Inflates a gzip body to at most `limit` bytes; returns any other body as it is.
///
/// # Errors
/// The gzip data is damaged, or inflates to more than `limit`; no more than that is ever inflated.
pub(super) fn inflate(body: Bytes, limit: usize) -> Result<Bytes, IngestError> {
    if !is_gzip(&body) {
        return Ok(body);
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
