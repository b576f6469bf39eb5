//! Who an operation is about, in Customer.io's terms.
//!
//! A person has one of three kinds of identifier, and the text alone says which: Customer.io reads
//! the paths of Track v1 by shape, so both transports must use the same rule or one id would name
//! two people.
//!
//! Not here: which of an event's ids wins ([`crate::identity`] and the mappings).

use serde::{Serialize, Serializer};

/// What marks the id that Customer.io itself gave to a person.
const CIO_PREFIX: &str = "cio_";

/// The characters of an address before the `@` beside letters, digits and the dot.
const LOCAL_PUNCTUATION: &[u8] = b"!#$%&'*+/=?^_`{|}~-";

/// The identifier of a person.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PersonId {
    /// An id of the team's own.
    Id(String),
    /// An e-mail address.
    Email(String),
    /// Customer.io's own id, without its `cio_` prefix.
    CioId(String),
}

impl PersonId {
    /// Reads an identifier by its shape: `cio_…` is a `cio_id`, an e-mail address is an `email`, all
    /// else, phone numbers too, is an `id`.
    pub fn from_text(text: &str) -> Self {
        match text.strip_prefix(CIO_PREFIX) {
            Some(rest) if !rest.is_empty() => Self::CioId(rest.into()),
            _ if is_email(text) => Self::Email(text.into()),
            _ => Self::Id(text.into()),
        }
    }

    /// Reads what [`Self::key`] wrote; an e-mail address comes back in lower case.
    pub fn from_key(key: &str) -> Option<Self> {
        match key.split_once(':')? {
            ("id", id) => Some(Self::Id(id.into())),
            ("email", email) => Some(Self::Email(email.into())),
            ("cio_id", id) => Some(Self::CioId(id.into())),
            _ => None,
        }
    }

    /// The identifier as one text, as in a path of Track v1: the opposite of [`Self::from_text`].
    pub fn to_text(&self) -> String {
        match self {
            Self::Id(id) | Self::Email(id) => id.clone(),
            Self::CioId(id) => format!("{CIO_PREFIX}{id}"),
        }
    }

    /// The name of the kind, as in `identifiers`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Id(_) => "id",
            Self::Email(_) => "email",
            Self::CioId(_) => "cio_id",
        }
    }

    /// The identifier without its kind.
    pub fn value(&self) -> &str {
        match self {
            Self::Id(id) | Self::Email(id) | Self::CioId(id) => id,
        }
    }

    /// A text that is equal for two identifiers exactly when Customer.io takes them for one: the
    /// case of an e-mail address does not matter to it, the case of an id does.
    pub fn key(&self) -> String {
        match self {
            Self::Email(email) => format!("email:{}", email.to_lowercase()),
            other => format!("{}:{}", other.kind(), other.value()),
        }
    }
}

/// The identifier as an object with one key, as in `identifiers`: `{"id":"42"}`.
impl Serialize for PersonId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.kind(), self.value())])
    }
}

/// A person, or somebody of whom only a device's or browser's id is known.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Who {
    /// A known person.
    Person(PersonId),
    /// An anonymous id. Customer.io keeps what it did for 30 days, until a person claims it.
    Anonymous(String),
}

impl Who {
    /// The person, where one is known.
    pub fn person(&self) -> Option<&PersonId> {
        match self {
            Self::Person(person) => Some(person),
            Self::Anonymous(_) => None,
        }
    }
}

/// As in `identifiers`: `{"id":"42"}` or `{"anonymous_id":"a1"}`.
impl Serialize for Who {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Person(person) => person.serialize(serializer),
            Self::Anonymous(id) => serializer.collect_map([("anonymous_id", id)]),
        }
    }
}

/// Whose event it is: what a mapping says, or what the identity stage made of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Subject {
    /// The person.
    pub person: Option<PersonId>,
    /// The anonymous id that came with it.
    pub anonymous: Option<String>,
}

impl Subject {
    /// The person, else the anonymous id, else nobody.
    pub fn who(&self) -> Option<Who> {
        match (&self.person, &self.anonymous) {
            (Some(person), _) => Some(Who::Person(person.clone())),
            (None, Some(anonymous)) => Some(Who::Anonymous(anonymous.clone())),
            (None, None) => None,
        }
    }
}

/// Whether a text is an e-mail address by the rule that Segment's destination uses: atoms joined by
/// dots, an `@`, and at least two labels of ASCII letters, digits and inner hyphens.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|c| c.is_ascii_alphanumeric() || LOCAL_PUNCTUATION.contains(&c))
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
    };
    local.split('.').all(atom) && domain.contains('.') && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_a_text_says_what_kind_of_identifier_it_is() {
        let id = |text: &str| PersonId::Id(text.into());
        let email = |text: &str| PersonId::Email(text.into());
        #[rustfmt::skip]
        let table = [
            ("an id",                          "42",                  id("42")),
            ("a phone number is an id",        "+15551234567",        id("+15551234567")),
            ("an address",                     "Ann.B+c@x.io",        email("Ann.B+c@x.io")),
            ("an address with an apostrophe",  "o'brien@mail.x.co.uk", email("o'brien@mail.x.co.uk")),
            ("no domain with a dot",           "ann@localhost",       id("ann@localhost")),
            ("two dots in the domain",         "ann@x..io",           id("ann@x..io")),
            ("a hyphen at the edge",           "ann@-x.io",           id("ann@-x.io")),
            ("a dot at the edge",              ".ann@x.io",           id(".ann@x.io")),
            ("two at signs",                   "a@b@x.io",            id("a@b@x.io")),
            ("a space",                        "ann b@x.io",          id("ann b@x.io")),
            ("Customer.io's own",              "cio_0a1b",            PersonId::CioId("0a1b".into())),
            ("a bare prefix",                  "cio_",                id("cio_")),
            ("another case is another thing",  "CIO_0a1b",            id("CIO_0a1b")),
        ];
        for (what, text, expected) in table {
            let person = PersonId::from_text(text);
            assert_eq!(person, expected, "{what}");
            assert_eq!(person.to_text(), text, "{what}");
            let read = PersonId::from_key(&person.key()).map(|person| person.key());
            assert_eq!(read, Some(person.key()), "{what}");
        }
    }

    #[test]
    fn the_case_of_an_address_does_not_make_another_person() {
        assert_eq!(PersonId::from_text("A@x.io").key(), PersonId::from_text("a@X.io").key());
        assert_ne!(PersonId::from_text("A").key(), PersonId::from_text("a").key());
        assert_ne!(PersonId::from_text("1").key(), PersonId::from_text("cio_1").key());
    }
}
