//! E-mail addresses, phone numbers, countries.

use std::str::FromStr;

use rhai::{Dynamic, ImmutableString};

use super::reading::{Kind, Unread, parse};
use super::{Group, Helper, phone};
use crate::transform::handle::as_text;

pub(super) const HELPERS: &[Helper] = &[
    Helper {
        group: Group::People,
        name: "normalize_email",
        signature: "normalize_email(value [, default])",
        doc: "An e-mail address without blanks around it, in lower case.",
        example: "normalize_email(\" Ann@Example.COM \")",
        gives: "\"ann@example.com\"",
        arity: (1, 2),
        run: |call| {
            parse(call, 1, Kind::Email.noun(), |value| {
                email(value).map(Dynamic::from).ok_or(Unread::Not)
            })
        },
    },
    Helper {
        group: Group::People,
        name: "email_domain",
        signature: "email_domain(value)",
        doc: "The domain of an e-mail address, in lower case; `()` for what is no address.",
        example: "email_domain(\"Ann@Example.com\")",
        gives: "\"example.com\"",
        arity: (1, 1),
        run: |call| {
            let address = email(call.arg(0));
            let domain = address.as_deref().and_then(|address| address.split_once('@'));
            Ok(domain.map_or(Dynamic::UNIT, |(_, domain)| Dynamic::from(domain.to_owned())))
        },
    },
    Helper {
        group: Group::People,
        name: "normalize_phone",
        signature: "normalize_phone(value, region [, default])",
        doc: "A phone number as `+` and digits (E.164). The region, such as `\"US\"`, is where a \
              number without a country code is dialled; `()` when it is not known.",
        example: "normalize_phone(\"(415) 555-2671\", \"US\")",
        gives: "\"+14155552671\"",
        arity: (2, 3),
        run: |call| {
            let region = match call.arg(1) {
                unit if unit.is_unit() => None,
                other => country(other),
            };
            let session = call.session;
            parse(call, 2, Kind::Phone.noun(), |value| {
                phone::read(value, region.as_deref(), session)
            })
        },
    },
    Helper {
        group: Group::People,
        name: "country_code",
        signature: "country_code(value [, default])",
        doc: "The ISO code of a country in two letters, from a code of two or three letters or a name, \
              in English or as its people say.",
        example: "country_code(\"Germany\")",
        gives: "\"DE\"",
        arity: (1, 2),
        run: |call| {
            parse(call, 1, "country", |value| country(value).map(Dynamic::from).ok_or(Unread::Not))
        },
    },
];

/// Reads an e-mail address: `Ann <ann@x.com>` and `mailto:ann@x.com` hold one too.
pub(super) fn email(value: &Dynamic) -> Option<ImmutableString> {
    let text = as_text(value)?;
    let mut address = text.trim();
    if let Some((_, inside)) = address.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        address = inside.trim();
    }
    if let Some(("mailto" | "MAILTO" | "Mailto", rest)) = address.split_once(':') {
        address = rest;
    }
    is_email(address).then(|| address.to_lowercase().into())
}

fn is_email(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let bad = |c: char| c.is_whitespace() || c.is_control() || "@,;:<>()[]\\\"".contains(c);
    let local_is_good = !local.is_empty()
        && local.len() <= 64
        && !local.contains(bad)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..");
    let mut labels = domain.split('.');
    let last = labels.next_back().unwrap_or_default();
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    let top_is_good = is_label(last)
        && last.chars().count() >= 2
        && (last.chars().all(char::is_alphabetic) || last.starts_with("xn--"));
    local_is_good
        && domain.contains('.')
        && address.len() <= 254
        && top_is_good
        && labels.all(is_label)
}

/// Names of countries beside the English ones, and what people write for those that shops meet most.
const COUNTRIES: &str = include_str!("countries.csv");

/// Reads a country.
pub(super) fn country(value: &Dynamic) -> Option<String> {
    let text = as_text(value)?;
    let name = text.trim();
    if name.is_empty() || name.len() > 64 {
        return None;
    }
    let wanted = name.to_lowercase();
    let own = COUNTRIES.lines().find_map(|line| {
        let (code, names) = line.split_once(',')?;
        let is_it = code.eq_ignore_ascii_case(name) || names.split('|').any(|name| name == wanted);
        is_it.then(|| code.to_owned())
    });
    own.or_else(|| {
        let key: String = wanted.chars().filter(|c| c.is_alphanumeric()).collect();
        let is_number = key.chars().all(|c| c.is_ascii_digit());
        celes::Country::from_str(&key)
            .ok()
            .filter(|_| !is_number)
            .map(|country| country.alpha2.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_impossible_ones_are_not() {
        let table = [
            (" Ann@Example.COM ", Some("ann@example.com")),
            ("ann+news@mail.example.co.uk", Some("ann+news@mail.example.co.uk")),
            ("Ann Doe <ann@example.com>", Some("ann@example.com")),
            ("mailto:ann@example.com", Some("ann@example.com")),
            ("ö@müller.de", Some("ö@müller.de")),
            ("o'neil@example.ie", Some("o'neil@example.ie")),
            ("a@xn--mller-kva.xn--p1ai", Some("a@xn--mller-kva.xn--p1ai")),
            ("", None),
            ("ann", None),
            ("ann@localhost", None),
            ("ann@example", None),
            ("ann@@example.com", None),
            ("ann example@x.com", None),
            ("ann@exa mple.com", None),
            (".ann@example.com", None),
            ("ann..doe@example.com", None),
            ("ann@-example.com", None),
            ("ann@example.c", None),
            ("ann@127.0.0.1", None),
            ("ann@example.com,bob@example.com", None),
            ("undefined", None),
        ];
        for (text, expected) in table {
            assert_eq!(email(&Dynamic::from(text.to_owned())).as_deref(), expected, "{text:?}");
        }
        assert_eq!(email(&Dynamic::from_int(5)), None);
    }

    #[test]
    fn countries_go_by_code_and_by_name() {
        let table = [
            ("de", Some("DE")),
            ("DEU", Some("DE")),
            ("Germany", Some("DE")),
            ("United States of America", Some("US")),
            ("uk", Some("GB")),
            ("Atlantis", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(country(&Dynamic::from(text.to_owned())).as_deref(), expected, "{text:?}");
        }
    }
}
