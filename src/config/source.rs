//! `[[source]]`: one configured origin of events.

use serde::{Deserialize, Serialize};

use super::{Secret, Span};
use crate::destination::customerio::mapping::Mapping;
use crate::spec::Vendor;

/// `[[source]]`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// Its name: `/webhook/{name}`, labels of metrics, rules of scripts. Letters, digits, `-`, `_`.
    pub name: String,
    /// Whose rules it follows: `segment` or `rudderstack`.
    pub kind: Vendor,
    /// Write keys that open the SDK paths. Those of browsers are public.
    pub write_keys: Vec<Secret>,
    /// The shared secret of `X-Signature`, checked on webhook paths.
    pub webhook_secret: Option<Secret>,
    /// A token, sent as `Authorization: Bearer`, `X-Segue-Token`, password of Basic auth or `?token=`;
    /// checked on webhook paths.
    pub token: Option<Secret>,
    /// Whether a write key opens the webhook path too. Default: no.
    pub webhook_write_keys: bool,
    /// `segment` or `rudderstack`: which native destination it stands in for. Default: the kind.
    pub mapping: Option<Mapping>,
    /// Who its events belong to.
    pub identity: IdentityConfig,
    /// Replayed events older than this were already delivered by the native destination and are
    /// dropped: a time as in `2026-12-01T00:00:00Z`. Default: none.
    pub cutover: Option<String>,
    /// An event is late when it is older than this. Default: the guard's.
    pub late_after: Option<Span>,
    /// Business keys are compared among sources of the same scope. Default: all together.
    pub dedupe_scope: String,
    /// Whether everything of this source is a replay, for a source that a vendor's replay is pointed
    /// at. Default: no.
    pub replay: bool,
}

impl SourceConfig {
    /// A source of the demonstration: open on loopback, with a write key that says what it is.
    pub(super) fn demo(name: &str, kind: Vendor) -> Self {
        Self {
            name: name.into(),
            kind,
            write_keys: vec![Secret::new(format!("demo-{name}"))],
            ..Self::default()
        }
    }

    /// The mapping in force.
    pub fn mapping(&self) -> Mapping {
        self.mapping.unwrap_or_else(|| self.kind.into())
    }

    /// Whether anything beside a write key protects the webhook path.
    pub fn webhook_is_protected(&self) -> bool {
        self.webhook_secret.is_some()
            || self.token.is_some()
            || (self.webhook_write_keys && !self.write_keys.is_empty())
    }
}

/// `identity = { … }` of a source.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// The identifier that names a person. Default: `userId`.
    pub primary: PrimaryId,
    /// What happens to anonymous behaviour. Default: `send`.
    pub anonymous: AnonymousPolicy,
    /// Whether an identify that carries only the anonymous id goes first when another call taught
    /// that two ids are one person. Default: `identify`.
    pub stitch: StitchPolicy,
    /// Texts that are never an id, beside `null`, `undefined` and their like.
    pub junk: Vec<String>,
}

impl IdentityConfig {
    /// Whether this text is configured as one that is never an id: the whole text, or its beginning
    /// before a `*`.
    pub fn is_junk(&self, id: &str) -> bool {
        self.junk.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => id.starts_with(start),
            None => id == pattern,
        })
    }
}

/// Which identifier names a person.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PrimaryId {
    /// The user id; the e-mail address only where the native destination falls back to it.
    #[default]
    UserId,
    /// The e-mail address where there is one, else the user id.
    Email,
}

/// What happens to events that carry only an anonymous id.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AnonymousPolicy {
    /// They are sent as anonymous events.
    #[default]
    Send,
}

/// How Customer.io learns that two ids are one person when no identify said so.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StitchPolicy {
    /// By an identify of its own, sent first.
    #[default]
    Identify,
    /// Not at all.
    Off,
}
