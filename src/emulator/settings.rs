//! What the emulator assumes where Customer.io says nothing, or says it twice: one switch each.
//!
//! A default follows the vendor's documentation where there is any. Where there is none it is the
//! reading under which a mistake of the sender shows: a repeated event counts twice, an event from
//! the future can trigger, an attribute update that is too old is lost.
//!
//! # Readings without a switch
//!
//! Small enough not to need one, and not documented either:
//!
//! * Operations are done in the order in which they come. Customer.io does not promise that.
//! * An empty batch is refused. The name of an event is limited in v2 as in v1.
//! * A call that names a suppressed identifier anywhere has no effect; unsuppressing one identifier
//!   frees those that were suppressed together with it.
//! * A blank or `null` identifier among the attributes removes nothing.
//! * An event id counts as seen when the event was stored, not when it was dropped.
//! * Deleting a person frees its anonymous ids. A device token may be several people's.
//! * Attributes of objects have no order in time: the last to come wins.
//! * Of a profile that has the most attributes allowed, new ones are failed changes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::faults::FaultRule;

/// The emulator's settings; `segue emulate --set NAME=VALUE` sets each by its name here.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The site id that requests must carry. Default: none, any is accepted, but a well-formed
    /// `Authorization: Basic` header must be there.
    pub site_id: Option<String>,
    /// The API key that requests must carry. Never shown. Default: none, any is accepted.
    #[serde(skip_serializing)]
    pub api_key: Option<ApiKey>,
    /// What `/api/v1/accounts/region` answers.
    pub region: Region,
    /// Bytes in the `kb` of Customer.io's limits, 1000 or 1024 (not stated). Default 1000.
    pub kilobyte: usize,

    /// Requests a second before 429. Customer.io has a soft limit of 1000 a second over v1 and v2 and
    /// declares no 429. Default: no limit.
    pub rate_limit: Option<u32>,
    /// Seconds in the `Retry-After` of such a 429. Default 1.
    pub retry_after: u64,

    /// What an identify that is older than what it meets loses. Not documented. Default `profile`.
    pub stale: Stale,
    /// What an id or e-mail that belongs to somebody else spoils. Not documented; the error that
    /// users see names the attribute. Default `attribute`.
    pub conflict: Conflict,
    /// The workspace setting "Allow updates to email using ID". Default off.
    pub email_change: bool,
    /// The workspace setting "Multi-identifier profile merge". Default on.
    pub auto_merge: bool,
    /// Whether an event, a device or a relationship creates the person that it names. Not
    /// documented. Default on.
    pub implicit_people: bool,
    /// Where a v2 identify may carry its time. Documentation and senders disagree; the current
    /// specification has a top-level `timestamp`. Default `timestamp`.
    pub identify_time: IdentifyTime,

    /// The workspace setting "Anonymous event merge". Default on.
    pub anonymous_merge: bool,
    /// Whether another identify with the same anonymous id lets events of that id in again. The
    /// documentation said so once and does not any more. Default `reopens`.
    pub reidentify: Reidentify,
    /// What happens to an anonymous id that a second person claims. Documented as "not reusable",
    /// without the effect. Default `refused`.
    pub anonymous_reuse: AnonymousReuse,
    /// Which time decides whether an anonymous event is within its 30 days. Not documented. Default
    /// `received`.
    pub anonymous_age: AnonymousAge,

    /// What Segment and RudderStack send although the specification does not list it: persons
    /// identified by `anonymous_id`, the actions `viewed_content` and `clicked_content`, devices of
    /// another platform than `ios` and `android`. Default `accept`, with a note in the activity log.
    pub undocumented: Undocumented,
    /// Which event ids Customer.io recognises again. Documented for ULIDs only. Default `ulid`.
    pub dedupe: Dedupe,
    /// Hours for which an event id is remembered. Not documented. Default: without end.
    pub dedupe_hours: Option<u64>,
    /// Whether an event from the future can trigger a campaign. Not documented. Default on.
    pub future_triggers: bool,

    /// Milliseconds by which every answer is late. Default 0.
    pub latency_ms: u64,
    /// How much is remembered.
    pub history: History,
    /// The faults to begin with.
    pub faults: Vec<FaultRule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            site_id: None,
            api_key: None,
            region: Region::Us,
            kilobyte: 1000,
            rate_limit: None,
            retry_after: 1,
            stale: Stale::Profile,
            conflict: Conflict::Attribute,
            email_change: false,
            auto_merge: true,
            implicit_people: true,
            identify_time: IdentifyTime::Timestamp,
            anonymous_merge: true,
            reidentify: Reidentify::Reopens,
            anonymous_reuse: AnonymousReuse::Refused,
            anonymous_age: AnonymousAge::Received,
            undocumented: Undocumented::Accept,
            dedupe: Dedupe::Ulid,
            dedupe_hours: None,
            future_triggers: true,
            latency_ms: 0,
            history: History::default(),
            faults: Vec::new(),
        }
    }
}

/// An API key: compared, never printed.
#[derive(Clone, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct ApiKey(String);

impl ApiKey {
    /// Wraps a key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    pub(super) fn is(&self, given: &str) -> bool {
        self.0 == given
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

/// The data centre of the account.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// United States.
    Us,
    /// European Union.
    Eu,
}

/// What an identify with an old time loses.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stale {
    /// All of it, when anything of the profile is newer.
    Profile,
    /// The attributes that are newer on the profile.
    Attribute,
    /// Nothing: the last call to arrive wins.
    Never,
}

/// What a conflict of identifiers spoils.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// The identifier only: the other attributes are stored.
    Attribute,
    /// The whole call.
    Call,
}

/// Where a v2 identify carries its time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentifyTime {
    /// In a top-level `timestamp` and nowhere else.
    Timestamp,
    /// Also in `_timestamp`, at the top or among the attributes.
    Anywhere,
}

/// What a repeated identify with the same anonymous id does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reidentify {
    /// Attaches what came meanwhile and opens another five minutes.
    Reopens,
    /// Nothing: only the first counts.
    Once,
}

/// What happens to an anonymous id that a second person claims.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnonymousReuse {
    /// It stays with the first person, and the activity log says so.
    Refused,
    /// Events from now on belong to the second person.
    Moves,
}

/// Which time of an anonymous event the 30 days are counted from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnonymousAge {
    /// When it came.
    Received,
    /// When it happened.
    EventTime,
}

/// What happens to requests outside the specification that are sent all the same.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Undocumented {
    /// They work.
    Accept,
    /// They are invalid.
    Reject,
}

/// Which event ids make a repeated event a duplicate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dedupe {
    /// ULIDs; other texts are accepted and not recognised.
    Ulid,
    /// Any text.
    Any,
    /// ULIDs; other texts are invalid.
    UlidOnly,
}

/// How much the emulator remembers. What is older is forgotten, and the views say how much.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Raw requests. Default 5,000.
    pub requests: usize,
    /// Bytes of raw requests. Default 32 MiB.
    pub request_bytes: usize,
    /// Entries of the activity log. Default 50,000.
    pub activity: usize,
    /// Events, of all people. Default 50,000.
    pub events: usize,
    /// Event ids remembered for recognising duplicates. Default 1,000,000.
    pub event_ids: usize,
    /// People, visitors, objects and suppressed identifiers together. Beyond it requests are
    /// answered with 503 and change nothing. Default 250,000.
    pub profiles: usize,
}

impl Default for History {
    fn default() -> Self {
        Self {
            requests: 5_000,
            request_bytes: 32 << 20,
            activity: 50_000,
            events: 50_000,
            event_ids: 1_000_000,
            profiles: 250_000,
        }
    }
}
