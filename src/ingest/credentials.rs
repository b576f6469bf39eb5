//! Who is asking: what a request brings along, compared with what the sources have.
//!
//! Write keys of browsers are public and say only which source it is. A token or a signature is a
//! secret: on a webhook path every one that the source has is required, and only what a secret
//! covers is trusted with deletions and merges. A write key opens a webhook path when `webhook_write_keys` says
//! so and the source has neither token nor webhook secret, and it makes nothing trusted.
//!
//! Secrets are compared by their hashes, in constant time and against all of them: neither the
//! length nor the position of a match shows in the time that an answer takes.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{IngestError, Query};
use crate::config::{Secret, SourceConfig};

/// Some clients leave the padding out, some break the line at its end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

type Hash = [u8; 32];

fn hash(text: &str) -> Hash {
    Sha256::digest(text).into()
}

/// What a request brings to show who it is from. Values are kept as hashes only.
#[derive(Clone, Default)]
pub(super) struct Credentials {
    keys: Vec<Hash>,
    tokens: Vec<Hash>,
    signature: Option<Vec<u8>>,
}

impl Credentials {
    /// Collects everything that may be a write key, a token or a signature.
    pub(super) fn read(headers: &HeaderMap, query: &Query) -> Self {
        let mut found = Self::default();
        let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some((scheme, value)) = authorization.and_then(|said| said.trim().split_once(' ')) {
            if scheme.eq_ignore_ascii_case("bearer") {
                found.add(value, true);
            } else if scheme.eq_ignore_ascii_case("basic")
                && let Ok(decoded) = BASE64.decode(value.trim())
                && let Ok(pair) = String::from_utf8(decoded)
            {
                let (user, password) = pair.split_once(':').unwrap_or((&pair, ""));
                found.add(user, true);
                found.add(password, false);
            }
        }
        if let Some(token) = headers.get("x-segue-token").and_then(|value| value.to_str().ok()) {
            found.add(token, false);
        }
        for (name, as_key) in [("token", false), ("writeKey", true)] {
            let said = query.get(name).unwrap_or_default();
            found.add(said, as_key);
            // Whoever pastes base64 into a URL writes a plus, which a query reads as a space.
            if said.contains(' ') {
                found.add(&said.replace(' ', "+"), as_key);
            }
        }
        // A signature that is no hex is a signature all the same: a wrong one.
        found.signature = headers
            .get("x-signature")
            .map(|value| hex::decode(value.as_bytes().trim_ascii()).unwrap_or_default());
        found
    }

    /// Adds the write key of a body.
    pub(super) fn add_key(&mut self, key: &str) {
        self.add(key, true);
    }

    /// Whatever opens the door may be the token: a key that only servers know has the same value.
    fn add(&mut self, value: &str, as_key: bool) {
        let value = value.trim();
        if value.is_empty() {
            return;
        }
        let hash = hash(value);
        if as_key {
            self.keys.push(hash);
        }
        self.tokens.push(hash);
    }
}

/// The secrets of all sources, in the order of the configuration.
pub(super) struct Keyring {
    sources: Vec<Secrets>,
}

struct Secrets {
    keys: Vec<Hash>,
    token: Option<Hash>,
    webhook_secret: Option<Secret>,
    write_keys_open_webhooks: bool,
}

impl Keyring {
    pub(super) fn of(sources: &[SourceConfig]) -> Self {
        let secrets = |source: &SourceConfig| Secrets {
            keys: source.write_keys.iter().map(|key| hash(key.expose().trim())).collect(),
            token: source.token.as_ref().map(|token| hash(token.expose().trim())),
            webhook_secret: source.webhook_secret.clone(),
            write_keys_open_webhooks: source.webhook_write_keys && !source.write_keys.is_empty(),
        };
        Self { sources: sources.iter().map(secrets).collect() }
    }

    /// The source that a write key of this request belongs to; of several, the first configured.
    pub(super) fn source_of(&self, credentials: &Credentials) -> Option<usize> {
        let mut found = None;
        for (at, source) in self.sources.iter().enumerate() {
            let matches = any_equal(&source.keys, &credentials.keys);
            if bool::from(matches) && found.is_none() {
                found = Some(at);
            }
        }
        found
    }

    /// The write key of `source` that the request brings.
    pub(super) fn key_of<'a>(
        source: &'a SourceConfig,
        credentials: &Credentials,
    ) -> Option<&'a Secret> {
        let brought =
            |key: &&Secret| any_equal(&[hash(key.expose().trim())], &credentials.keys).into();
        source.write_keys.iter().find(brought)
    }

    /// Why no source was found by a write key.
    pub(super) fn no_key(credentials: &Credentials) -> IngestError {
        if credentials.keys.is_empty() {
            IngestError::MissingWriteKey
        } else {
            IngestError::InvalidWriteKey
        }
    }

    /// Whether the request brings the token of this source.
    pub(super) fn has_token(&self, source: usize, credentials: &Credentials) -> bool {
        let token = self.sources[source].token.as_slice();
        any_equal(token, &credentials.tokens).into()
    }

    /// Checks what can be checked on a webhook path without the body: the token or, where the source
    /// has no secret, the write key. `local` says that the request certainly is from this machine.
    ///
    /// # Errors
    /// Something is missing or wrong, or nothing protects the source and the request is not local.
    pub(super) fn open_webhook(
        &self,
        at: usize,
        credentials: &Credentials,
        local: bool,
    ) -> Result<Opened, IngestError> {
        let source = &self.sources[at];
        if source.token.is_some() && !self.has_token(at, credentials) {
            return Err(if credentials.tokens.is_empty() {
                IngestError::MissingToken
            } else {
                IngestError::InvalidToken
            });
        }
        if source.token.is_some() {
            return Ok(Opened::BySecret);
        }
        if source.webhook_secret.is_some() {
            return Ok(Opened::NeedsSignature);
        }
        if source.write_keys_open_webhooks {
            return match any_equal(&source.keys, &credentials.keys).into() {
                true => Ok(Opened::ByWriteKey),
                false => Err(Self::no_key(credentials)),
            };
        }
        if local { Ok(Opened::Locally) } else { Err(IngestError::Unprotected) }
    }

    /// Checks the signature of a webhook's body, where the source has a secret for it: the hex
    /// HMAC-SHA1 of the raw body or, on a batch, of the first element alone (what Segment sends), with
    /// or without its `{"json": ..}` wrapper.
    ///
    /// # Errors
    /// It is missing or fits nothing. A body without events needs none: Segment signs none.
    pub(super) fn check_signature(
        &self,
        source: usize,
        credentials: &Credentials,
        signed: &Signable<'_>,
    ) -> Result<Covered, IngestError> {
        let Some(secret) = &self.sources[source].webhook_secret else {
            return Ok(Covered::Nothing);
        };
        let Some(signature) = &credentials.signature else {
            return match signed.first.is_empty() && signed.is_batch {
                true => Ok(Covered::Nothing),
                false => Err(IngestError::MissingSignature),
            };
        };
        if fits(secret, signature, signed.whole) {
            return Ok(Covered::Everything);
        }
        if signed.is_batch && signed.first.iter().any(|first| fits(secret, signature, first)) {
            return Ok(Covered::FirstElement);
        }
        Err(IngestError::InvalidSignature)
    }
}

/// How a webhook path was opened before its body is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opened {
    /// By the token.
    BySecret,
    /// Not yet: the signature decides.
    NeedsSignature,
    /// By a public write key.
    ByWriteKey,
    /// The source has no secret and the request is from this machine, whose users are trusted.
    Locally,
}

/// What a signature can be made of.
pub(super) struct Signable<'a> {
    /// The body as sent (inflated).
    pub(super) whole: &'a [u8],
    /// The first element of a batch, in the forms in which it may be signed.
    pub(super) first: &'a [&'a [u8]],
    /// Whether it is a batch.
    pub(super) is_batch: bool,
}

/// What a signature vouches for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Covered {
    Nothing,
    FirstElement,
    Everything,
}

fn fits(secret: &Secret, signature: &[u8], bytes: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()) else {
        return false;
    };
    mac.update(bytes);
    mac.verify_slice(signature).is_ok()
}

fn any_equal(known: &[Hash], presented: &[Hash]) -> Choice {
    let mut any = Choice::from(0);
    for one in known {
        for other in presented {
            any |= one.ct_eq(other);
        }
    }
    any
}
