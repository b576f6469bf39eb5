//! From what the connection brings to plain bytes: a deadline, a size cap before and after
//! inflating, a bound on how much of all bodies is in memory at once, and never a look at the content
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

/// Bodies of more than this, in bytes, are inflated and taken apart beside the threads that serve.
/// They have room apart, too: those who wait for it are never ahead of somebody who needs little.
pub(super) const SMALL: usize = 256 * 1024;

/// How many bytes of bodies may be in memory at once for whoever brings a secret…
const FOR_TRUSTED: usize = 512 << 20;

/// …and for everybody else: write keys are public, and signatures are checked when the body is there.
/// What strangers send, or pretend to, cannot take the room of a webhook that has its token.
const FOR_OTHERS: usize = 128 << 20;

/// Room is given in pieces of this many bytes.
const PIECE: usize = 1024;

/// How long a body waits for its room: senders give up after 5 to 15 seconds.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long a client may send nothing in the middle of a body, while others wait for its room.
const STANDSTILL: Duration = Duration::from_secs(10);

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A body in memory, and the room that it takes.
pub struct Body {
    pub(super) bytes: Bytes,
    room: Option<OwnedSemaphorePermit>,
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, room: None }
    }
}

impl Body {
    /// Becomes what it inflates to, and gives back the room that it needs no more.
    ///
    /// # Errors
    /// As [`inflate`]; then it is as it was sent.
    pub(super) fn inflate(&mut self, limit: usize) -> Result<(), IngestError> {
        let inflated = inflate(&self.bytes, limit).map(|plain| self.bytes = plain);
        self.give_back();
        inflated
    }

    /// How many bytes it may need while it inflates to at most `limit`.
    pub(super) fn with_inflated(&self, limit: usize) -> usize {
        let length = self.bytes.len();
        if self.is_gzip() { length.saturating_add(limit) } else { length }
    }

    fn is_gzip(&self) -> bool {
        self.bytes.starts_with(&GZIP_MAGIC)
    }

    fn give_back(&mut self) {
        if let Some(room) = &mut self.room {
            let spare = room.num_permits().saturating_sub(self.bytes.len().div_ceil(PIECE));
            drop(room.split(spare));
        }
    }
}

/// The room for bodies, in memory: for each kind of sender, for small and for large ones.
pub(super) struct Rooms {
    trusted: [Room; 2],
    others: [Room; 2],
}

impl Default for Rooms {
    fn default() -> Self {
        // Half of either is for small bodies alone.
        let rooms = |size| [Room::of(size / 2), Room::of(size / 2)];
        Self { trusted: rooms(FOR_TRUSTED), others: rooms(FOR_OTHERS) }
    }
}

impl Rooms {
    /// The room of a body that takes `bytes` in all.
    fn of(&self, bytes: usize, trusted: bool) -> &Room {
        let [small, large] = if trusted { &self.trusted } else { &self.others };
        if bytes <= SMALL { small } else { large }
    }

    /// Gives a body room for `bytes` in all; what it has counts. Who is known to need it takes it at
    /// once: bodies that each hold half of their room would wait for each other.
    ///
    /// # Errors
    /// There was none in time.
    pub(super) async fn give(
        &self,
        body: &mut Body,
        bytes: usize,
        trusted: bool,
    ) -> Result<(), IngestError> {
        self.of(bytes, trusted).give(body, bytes).await
    }

    /// Inflates a body on this thread, where it is small and stays so.
    ///
    /// # Errors
    /// It is or becomes larger than that, or than `limit`; as [`inflate`]; there is no room in time.
    pub(super) async fn inflate_small(
        &self,
        body: &mut Body,
        limit: usize,
        trusted: bool,
    ) -> Result<(), IngestError> {
        let limit = limit.min(SMALL);
        if body.is_gzip() && body.bytes.len() <= limit {
            // What was sent is gone before anybody else is served by this thread.
            self.give(body, limit, trusted).await?;
        }
        body.inflate(limit)
    }

    /// How many bytes of it are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.trusted.iter().chain(&self.others).map(Room::taken).sum()
    }
}

/// Room that is given in the order in which it is asked for.
struct Room {
    size: usize,
    free: Arc<Semaphore>,
}

impl Room {
    fn of(size: usize) -> Self {
        Self { size, free: Arc::new(Semaphore::new(size / PIECE)) }
    }

    async fn give(&self, body: &mut Body, bytes: usize) -> Result<(), IngestError> {
        let held = body.room.as_ref().filter(|held| Arc::ptr_eq(held.semaphore(), &self.free));
        let has = held.map_or(0, OwnedSemaphorePermit::num_permits);
        // One body that may be larger than all the room gets all of it.
        let missing = bytes.min(self.size).div_ceil(PIECE).saturating_sub(has);
        if missing == 0 {
            return Ok(());
        }
        let pieces = u32::try_from(missing).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.free).acquire_many_owned(pieces);
        let Ok(Ok(more)) = tokio::time::timeout(PATIENCE, more).await else {
            return Err(IngestError::Busy);
        };
        match &mut body.room {
            Some(room) if has > 0 => room.merge(more),
            // It had none, or grew out of another one.
            room => *room = Some(more),
        }
        Ok(())
    }

    #[cfg(test)]
    fn taken(&self) -> usize {
        self.size - self.free.available_permits() * PIECE
    }
}

/// What is known of a body before it is read.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    /// The bytes that the client announced.
    pub(super) announced: Option<usize>,
    /// How large it may be.
    pub(super) limit: usize,
    /// Whether a secret in the head vouches for it.
    pub(super) trusted: bool,
    /// How long it may take.
    pub(super) deadline: Duration,
}

/// Reads a whole body.
///
/// # Errors
/// The body is too large, too slow, or ends early, or there is no room for it.
pub(super) async fn receive(
    payload: web::Payload,
    expected: Expected,
    rooms: &Rooms,
) -> Result<Body, IngestError> {
    if expected.announced.is_some_and(|length| length > expected.limit) {
        return Err(IngestError::BodyTooLarge(expected.limit));
    }
    let too_slow = |deadline: Duration| {
        IngestError::BodyTimeout(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX))
    };
    match tokio::time::timeout(expected.deadline, collect(payload, expected, rooms)).await {
        Ok(Some(collected)) => collected,
        Ok(None) => Err(too_slow(STANDSTILL.min(expected.deadline))),
        Err(_) => Err(too_slow(expected.deadline)),
    }
}

/// `None`: the client stood still.
async fn collect(
    mut payload: web::Payload,
    expected: Expected,
    rooms: &Rooms,
) -> Option<Result<Body, IngestError>> {
    let mut body = Body::from(Bytes::new());
    let mut collected = BytesMut::new();
    while let Some(chunk) = tokio::time::timeout(STANDSTILL, payload.next()).await.ok()? {
        let Ok(chunk) = chunk else { return Some(Err(IngestError::IncompleteBody)) };
        let length = body.bytes.len() + collected.len() + chunk.len();
        if length > expected.limit {
            return Some(Err(IngestError::BodyTooLarge(expected.limit)));
        }
        let whole = expected.announced.unwrap_or(match length <= SMALL {
            true => SMALL.min(expected.limit),
            false => expected.limit,
        });
        let whole = whole.max(length);
        // What a stranger announces may never come, and takes nothing. If so many come at once that
        // they wait for each other, the first of them loses patience and makes room.
        let bytes = if expected.trusted { whole } else { length };
        let room = rooms.of(whole, expected.trusted);
        if let Err(busy) = room.give(&mut body, bytes).await {
            return Some(Err(busy));
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
    Some(Ok(body))
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
    // A bomb costs no memory, and what is none gets just what it needs.
    let capacity = match limit <= SMALL {
        true => body.len().saturating_mul(4).min(limit),
        false => inflated_size(body, limit)?,
    };
    let mut plain = Vec::with_capacity(capacity);
    inflating(body, limit).read_to_end(&mut plain).map_err(|_| IngestError::InvalidGzip)?;
    if plain.len() > limit {
        return Err(IngestError::BodyTooLarge(limit));
    }
    Ok(plain.into())
}

/// How much a gzip body inflates to; nothing of it is kept.
fn inflated_size(body: &[u8], limit: usize) -> Result<usize, IngestError> {
    let size = std::io::copy(&mut inflating(body, limit), &mut std::io::sink())
        .map_err(|_| IngestError::InvalidGzip)?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > limit { Err(IngestError::BodyTooLarge(limit)) } else { Ok(size) }
}

/// What is in a gzip body, up to one byte more than it may be.
fn inflating(body: &[u8], limit: usize) -> impl Read {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(body).take(most)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn body() -> Body {
        Body::from(Bytes::from_static(b"{}"))
    }

    #[tokio::test]
    async fn a_body_keeps_its_room_until_it_is_gone() {
        let rooms = Rooms::default();
        let mut held: Vec<Body> = (0..4).map(|_| body()).collect();
        for one in &mut held {
            for bytes in [4 << 20, 8 << 20, 8 << 20] {
                rooms.give(one, bytes, false).await.unwrap();
            }
        }
        assert_eq!(rooms.taken(), 32 << 20, "what it has counts");

        held.pop();

        assert_eq!(rooms.taken(), 24 << 20);
    }

    #[tokio::test]
    async fn strangers_who_take_all_their_room_leave_that_of_the_trusted() {
        let rooms = Rooms::default();
        let (mut greedy, mut other, mut trusted) = (body(), body(), body());
        rooms.give(&mut greedy, usize::MAX, false).await.unwrap();

        let waiting = rooms.give(&mut other, SMALL + 1, false).now_or_never();
        let given = rooms.give(&mut trusted, 32 << 20, true).now_or_never();

        assert_eq!((waiting, given), (None, Some(Ok(()))));
    }

    #[tokio::test]
    async fn small_bodies_never_stand_behind_large_ones() {
        let rooms = Rooms::default();
        let (mut greedy, mut large, mut small) = (body(), body(), body());
        rooms.give(&mut greedy, usize::MAX, true).await.unwrap();
        let mut waiting = Box::pin(rooms.give(&mut large, SMALL + 1, true));
        assert_eq!((&mut waiting).now_or_never(), None);

        assert_eq!(rooms.give(&mut small, SMALL, true).now_or_never(), Some(Ok(())));

        drop(greedy);
        assert_eq!(waiting.await, Ok(()));
    }

    #[tokio::test]
    async fn a_thousand_slow_senders_with_a_token_leave_room_for_others() {
        let rooms = Rooms::default();
        let mut slow: Vec<Body> = (0..1000).map(|_| body()).collect();
        for one in &mut slow {
            rooms.give(one, 100_000, true).await.unwrap();
        }

        assert_eq!(rooms.give(&mut body(), SMALL, true).now_or_never(), Some(Ok(())));
    }

    #[tokio::test]
    async fn a_body_that_grows_large_leaves_the_room_of_the_small() {
        let rooms = Rooms::default();
        let mut one = body();
        rooms.give(&mut one, SMALL, true).await.unwrap();
        rooms.give(&mut one, 2 * SMALL, true).await.unwrap();

        let [small, large] = &rooms.trusted;
        assert_eq!((small.taken(), large.taken()), (0, 2 * SMALL));
    }
}
