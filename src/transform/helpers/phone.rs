//! Phone numbers, by the metadata of the `phonenumber` crate.

use phonenumber::Mode;
use phonenumber::country::Id;
use rhai::{Dynamic, ImmutableString};

use super::ids;
use super::reading::Unread;
use crate::transform::handle::as_text;
use crate::transform::session::Session;

/// Reads the metadata now. It takes milliseconds, which no script should be charged for.
pub(crate) fn warm_up() {
    let _ = parse("+14155552671", None);
    let _ = parse("030 901820", Some("DE"));
}

/// Reads a phone number for a script.
pub(super) fn read(
    value: &Dynamic,
    region: Option<&str>,
    session: &Session,
) -> Result<Dynamic, Unread> {
    let number = session.watch.excuse(|| e164(value, region));
    number.map(Dynamic::from).ok_or(Unread::Not)
}

/// Reads a phone number as E.164. A number without a country code needs the region where it is
/// dialled; there is no guessing.
fn e164(value: &Dynamic, region: Option<&str>) -> Option<ImmutableString> {
    let text = match as_text(value) {
        Some(text) => text,
        None => ids::id(value)?,
    };
    let text = text.trim();
    let digits = text.chars().filter(char::is_ascii_digit).count();
    if !(6..=20).contains(&digits) || text.len() > 40 || text.contains(['@', '*', '#']) {
        return None;
    }
    // `00` stands for the plus in most of the world, and for nothing else at the start.
    let international = match text.strip_prefix("00") {
        Some(rest) if region.is_none() => format!("+{rest}"),
        _ => text.replacen("(+", "+", 1),
    };
    parse(&international, region).map(ImmutableString::from)
}

fn parse(text: &str, region: Option<&str>) -> Option<String> {
    let country: Option<Id> = match region {
        Some(region) => Some(region.parse().ok()?),
        None if text.starts_with('+') => None,
        None => return None,
    };
    let number = phonenumber::parse(country, text).ok()?;
    number.is_valid().then(|| number.format().mode(Mode::E164).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_many_countries_become_e164() {
        #[rustfmt::skip]
        let table = [
            ("american", "(415) 555-2671", Some("US"), Some("+14155552671")),
            ("american with dots", "415.555.2671", Some("US"), Some("+14155552671")),
            ("american with the one", "1-415-555-2671", Some("US"), Some("+14155552671")),
            ("canadian", "+1 604-688-5000", None, Some("+16046885000")),
            ("british mobile", "07400 123456", Some("GB"), Some("+447400123456")),
            ("british with zero in brackets", "+44 (0)20 7946 0958", None, Some("+442079460958")),
            ("german", "030 901820", Some("DE"), Some("+4930901820")),
            ("german, 00", "0049 30 901820", Some("DE"), Some("+4930901820")),
            ("00 without a region", "0049 30 901820", None, Some("+4930901820")),
            ("french", "06 12 34 56 78", Some("FR"), Some("+33612345678")),
            ("indian", "098765 43210", Some("IN"), Some("+919876543210")),
            ("australian", "0412 345 678", Some("AU"), Some("+61412345678")),
            ("brazilian", "(11) 96123-4567", Some("BR"), Some("+5511961234567")),
            ("japanese", "090-1234-5678", Some("JP"), Some("+819012345678")),
            ("spanish", "612 345 678", Some("ES"), Some("+34612345678")),
            ("swedish", "070-123 45 67", Some("SE"), Some("+46701234567")),
            ("italian keeps its zero", "06 698 12345", Some("IT"), Some("+390669812345")),
            ("already fine", "+14155552671", None, Some("+14155552671")),
            ("a foreign number at home", "+49 30 901820", Some("US"), Some("+4930901820")),
            ("no region", "415 555 2671", None, None),
            ("unknown region", "415 555 2671", Some("XX"), None),
            ("too short", "12345", Some("US"), None),
            ("impossible", "000 000 0000", Some("US"), None),
            ("words", "call me", Some("US"), None),
            ("blank", "", Some("US"), None),
        ];
        for (what, text, region, expected) in table {
            let value = Dynamic::from(text.to_owned());
            assert_eq!(e164(&value, region).as_deref(), expected, "{what}: {text}");
        }
        let number = Dynamic::from_int(4_155_552_671);
        assert_eq!(e164(&number, Some("US")).as_deref(), Some("+14155552671"), "a JSON number");
    }
}
