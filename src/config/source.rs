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
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// The identifier that names a person. Default: `userId`.
    pub primary: PrimaryId,
    /// What happens to anonymous behaviour. Default: `send`.
    pub anonymous: AnonymousPolicy,
    /// How long it is held, where it is. Default: `30m`.
    pub hold_for: Span,
    /// Whether an identify that carries only the anonymous id goes first when another call taught
    /// that two ids are one person. Default: `identify`.
    pub stitch: StitchPolicy,
    /// Whether a person who is in Customer.io twice, because another identifier was known first, is
    /// merged, which cannot be undone. Default: no, it is reported.
    pub merge_email_people: bool,
    /// Whether an identify of a flagged replay may create a person. Default: no, it changes those who are
    /// there.
    pub replay_creates_people: bool,
    /// Texts that are never an id, beside `null`, `undefined` and their like.
    pub junk: Vec<String>,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            primary: PrimaryId::default(),
            anonymous: AnonymousPolicy::default(),
            hold_for: Span::from_secs(30 * 60),
            stitch: StitchPolicy::default(),
            merge_email_people: false,
            replay_creates_people: false,
            junk: Vec::new(),
        }
    }
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

/// Which identifier names a person. The others that an identify states stand for the same person from
/// then on.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum PrimaryId {
    /// The user id; the e-mail address only where the native destination falls back to it.
    #[default]
    UserId,
    /// The e-mail address where there is one, else the user id.
    Email,
    /// A trait where there is one, else the user id.
    Trait(String),
}

impl TryFrom<String> for PrimaryId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match (text.as_str(), text.strip_prefix("traits.")) {
            ("userId", _) => Ok(Self::UserId),
            ("email", _) => Ok(Self::Email),
            (_, Some(name)) if !name.is_empty() => Ok(Self::Trait(name.to_owned())),
            _ => Err(format!("primary is {text:?}: use \"userId\", \"email\" or \"traits.NAME\"")),
        }
    }
}

impl From<PrimaryId> for String {
    fn from(primary: PrimaryId) -> Self {
        match primary {
            PrimaryId::UserId => "userId".into(),
            PrimaryId::Email => "email".into(),
            PrimaryId::Trait(name) => format!("traits.{name}"),
        }
    }
}

/// What happens to events that carry only an anonymous id.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AnonymousPolicy {
    /// They are sent as anonymous events.
    #[default]
    Send,
    /// They are kept for a while. When it turns out whose they are, they are sent as that person's, in
    /// order; else as anonymous events.
    Hold,
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
