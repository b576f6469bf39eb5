//! What should be known about who people are, beside the answer itself.

use serde::Serialize;

/// Something that was noticed about people's identifiers and that somebody should look into.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// An anonymous id was seen with a second person.
    AnonymousIdContested,
    /// An identify states an e-mail address that is another person's.
    EmailOfAnotherPerson,
    /// A person has another e-mail address than before.
    EmailChanged,
    /// Two people of Customer.io's turned out to be one, and nobody merges them.
    PeopleNotMerged,
    /// An identify is older than what is known of its person: Customer.io ignores it.
    StaleIdentify,
    /// A user id came with another primary identifier than before.
    PrimaryIdChanged,
}

impl Notice {
    /// Every notice, for tables.
    pub const ALL: [Self; 6] = [
        Self::AnonymousIdContested,
        Self::EmailOfAnotherPerson,
        Self::EmailChanged,
        Self::PeopleNotMerged,
        Self::StaleIdentify,
        Self::PrimaryIdChanged,
    ];

    /// The stable code, a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AnonymousIdContested => "anonymous_id_contested",
            Self::EmailOfAnotherPerson => "email_of_another_person",
            Self::EmailChanged => "email_changed",
            Self::PeopleNotMerged => "people_not_merged",
            Self::StaleIdentify => "stale_identify",
            Self::PrimaryIdChanged => "primary_id_changed",
        }
    }
}
