//! What makes two messages the same message.
//!
//! A vendor's retry must collapse; the several events that a RudderStack transformation makes of one,
//! all with its message id, must not. So the fingerprint covers type, name, message id, ids and the
//! whole content, as they arrived, in an order of keys that no vendor's serialiser can disturb.

use sha2::{Digest, Sha256};

use super::{Arrival, Call, Sketch};

/// 128 bits of a SHA-256 over a call as it arrived.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Of a call with this body; `sketch` is what can be read in it.
    pub fn of(arrival: &Arrival, body: &[u8], sketch: Option<&Sketch<'_>>) -> Self {
        match sketch {
            Some(fields) if is_call(arrival, fields) => Self::of_fields(arrival, fields),
            _ => Self::of_bytes(body),
        }
    }

    fn of_fields(arrival: &Arrival, fields: &Sketch<'_>) -> Self {
        let mut hash = Sha256::new();
        match arrival.call {
            Some(call) => hash.update(call.as_str()),
            None => {
                let kind = fields.get("type").and_then(Sketch::as_str).unwrap_or_default();
                hash.update(kind.to_ascii_lowercase());
            }
        }
        for name in ["event", "name", "messageId", "userId", "anonymousId", "groupId", "previousId"]
        {
            hash.update([0]);
            feed(&mut hash, fields.get(name).unwrap_or(&Sketch::Null));
        }
        for name in ["properties", "traits"] {
            hash.update([1]);
            feed(&mut hash, fields.get(name).unwrap_or(&Sketch::Null));
        }
        if fields.get("traits").is_none()
            && let Some(traits) = fields.at("context.traits")
        {
            feed(&mut hash, traits);
        }
        if !has_message_id(fields) {
            // Without a message id only time tells two equal calls apart.
            for name in ["timestamp", "originalTimestamp"] {
                hash.update([2]);
                feed(&mut hash, fields.get(name).unwrap_or(&Sketch::Null));
            }
        }
        Self::finish(hash)
    }

    /// Of bytes that are no call: all of them count, since nobody knows what in them matters.
    fn of_bytes(bytes: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"raw\0");
        hash.update(bytes);
        Self::finish(hash)
    }

    /// The fingerprint of the `n`-th event that a script made of this one.
    ///
    /// The first keeps its own, so that a script which starts to split does not make Customer.io see
    /// the events of yesterday anew.
    #[must_use]
    pub fn child(self, n: u32) -> Self {
        if n == 0 {
            return self;
        }
        let mut hash = Sha256::new();
        hash.update(self.0.to_be_bytes());
        hash.update(n.to_be_bytes());
        Self::finish(hash)
    }

    /// The deduplication key of this message at `source`.
    pub fn dedupe_key(self, source: &str) -> u128 {
        let mut hash = Sha256::new();
        hash.update(source);
        hash.update([0]);
        hash.update(self.0.to_be_bytes());
        Self::finish(hash).0
    }

    /// The id that Customer.io deduplicates by. It names the message and not the source: the same
    /// event from two feeds collapses there.
    pub fn ulid(self) -> ulid::Ulid {
        ulid::Ulid(self.0)
    }

    /// A message id for a message that came without one.
    pub(crate) fn message_id(self) -> String {
        format!("segue-{:032x}", self.0)
    }

    fn finish(hash: Sha256) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        Self(u128::from_be_bytes(bytes))
    }
}

/// Whether it can be said which fields of it matter: it is an object whose type is known.
fn is_call(arrival: &Arrival, fields: &Sketch<'_>) -> bool {
    let named = || fields.get("type").and_then(Sketch::as_str).and_then(Call::from_name);
    matches!(fields, Sketch::Object(_)) && (arrival.call.is_some() || named().is_some())
}

/// A blank message id is none, here as for everybody behind.
fn has_message_id(fields: &Sketch<'_>) -> bool {
    match fields.get("messageId") {
        Some(Sketch::Text(id)) => !id.trim().is_empty(),
        Some(Sketch::Number(_)) => true,
        _ => false,
    }
}

/// Feeds a value so that equal JSON gives equal hashes whatever the order of keys.
fn feed(hash: &mut Sha256, value: &Sketch<'_>) {
    match value {
        Sketch::Null => hash.update(b"n"),
        Sketch::Bool(true) => hash.update(b"t"),
        Sketch::Bool(false) => hash.update(b"f"),
        Sketch::Number(number) => {
            hash.update(b"#");
            hash.update(number.as_bytes());
            hash.update([0]);
        }
        Sketch::Text(text) => feed_text(hash, text),
        Sketch::Array(items) => {
            hash.update(b"[");
            items.iter().for_each(|item| feed(hash, item));
            hash.update(b"]");
        }
        Sketch::Object(members) => {
            hash.update(b"{");
            let mut members: Vec<_> = members.iter().collect();
            // Stable: of a key that comes twice, the last one counts.
            members.sort_by_key(|(key, _)| key);
            for (at, (key, item)) in members.iter().enumerate() {
                if members.get(at + 1).is_none_or(|(next, _)| next != key) {
                    feed_text(hash, key);
                    feed(hash, item);
                }
            }
            hash.update(b"}");
        }
    }
}

fn feed_text(hash: &mut Sha256, text: &str) {
    hash.update(b"\"");
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text);
}
