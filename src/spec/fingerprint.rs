//! What makes two messages the same message.
//!
//! A vendor's retry must collapse; the several events that a RudderStack transformation makes of one,
//! all with its message id, must not. So the fingerprint covers type, name, message id, ids and the
//! whole content, as they arrived, in an order of keys that no vendor's serialiser can disturb.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Arrival, Object, field};

/// 128 bits of a SHA-256 over a call as it arrived.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Of a call that could be read.
    pub(super) fn of_fields(arrival: &Arrival, fields: &Object) -> Self {
        let mut hash = Sha256::new();
        match arrival.call {
            Some(call) => hash.update(call.as_str()),
            None => {
                let kind = field(fields, "type").and_then(Value::as_str).unwrap_or_default();
                hash.update(kind.to_ascii_lowercase());
            }
        }
        for name in ["event", "name", "messageId", "userId", "anonymousId", "groupId", "previousId"]
        {
            hash.update([0]);
            feed(&mut hash, field(fields, name).unwrap_or(&Value::Null));
        }
        for name in ["properties", "traits"] {
            hash.update([1]);
            feed(&mut hash, field(fields, name).unwrap_or(&Value::Null));
        }
        if field(fields, "traits").is_none()
            && let Some(context) = field(fields, "context").and_then(Value::as_object)
            && let Some(traits) = field(context, "traits")
        {
            feed(&mut hash, traits);
        }
        if !matches!(field(fields, "messageId"), Some(Value::String(_) | Value::Number(_))) {
            // Without a message id only time tells two equal calls apart.
            for name in ["timestamp", "originalTimestamp"] {
                hash.update([2]);
                feed(&mut hash, field(fields, name).unwrap_or(&Value::Null));
            }
        }
        Self::finish(hash)
    }

    /// Of bytes that are no JSON object.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
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

/// Feeds a value so that equal JSON gives equal hashes whatever the order of keys.
fn feed(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Null => hash.update(b"n"),
        Value::Bool(true) => hash.update(b"t"),
        Value::Bool(false) => hash.update(b"f"),
        Value::Number(number) => {
            hash.update(b"#");
            hash.update(number.as_str());
            hash.update([0]);
        }
        Value::String(text) => feed_text(hash, text),
        Value::Array(items) => {
            hash.update(b"[");
            items.iter().for_each(|item| feed(hash, item));
            hash.update(b"]");
        }
        Value::Object(object) => {
            hash.update(b"{");
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            for (key, item) in entries {
                feed_text(hash, key);
                feed(hash, item);
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
