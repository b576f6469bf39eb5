//! Numbers and money as people and shops write them.
//!
//! `1,299` and `1.299` are a thousand or one and a bit, depending on who wrote them. Nobody guesses
//! here: with exactly three digits behind a single mark the value is ambiguous unless the bundle says
//! which mark is the decimal one (`vars.locale`).

use rhai::Dynamic;

use super::reading::{Kind, Unread, parse};
use super::{Answer, Call, Group, Helper};
use crate::transform::handle::as_text;

pub(super) const HELPERS: &[Helper] = &[
    Helper {
        group: Group::Numbers,
        name: "parse_number",
        signature: "parse_number(value [, default [, locale]])",
        doc: "Reads a number from a number or a text, with or without thousands marks. A locale such as \
              `\"de\"` says what a single mark means.",
        example: "parse_number(\" 1,234.5 \")",
        gives: "1234.5",
        arity: (1, 3),
        run: |call| parse_as(call, Kind::Number),
    },
    Helper {
        group: Group::Numbers,
        name: "parse_int_or",
        signature: "parse_int_or(value, default)",
        doc: "Reads a whole number from a number or a text; the default where there is none.",
        example: "parse_int_or(\"2\", 1)",
        gives: "2",
        arity: (2, 2),
        run: |call| parse_as(call, Kind::Int),
    },
    Helper {
        group: Group::Numbers,
        name: "parse_money",
        signature: "parse_money(value [, default [, locale]])",
        doc: "Reads an amount: `$49.00`, `1.234,50 €`, `USD 1,299.00`, `(5.00)`, `49,-`. A single \
              mark with exactly three digits behind it (`1,299`) cannot be read unless a locale, or \
              else `vars.locale`, says what the mark means.",
        example: "parse_money(\"€1.234,50\")",
        gives: "1234.5",
        arity: (1, 3),
        run: |call| parse_as(call, Kind::Money),
    },
    Helper {
        group: Group::Numbers,
        name: "currency_of",
        signature: "currency_of(value)",
        doc: "The ISO code of the currency that a text names or shows; `()` where it shows none, or \
              a sign that several currencies share, such as `$`.",
        example: "currency_of(\"49,00 €\")",
        gives: "\"EUR\"",
        arity: (1, 1),
        run: |call| {
            let text = as_text(call.arg(0)).unwrap_or_default();
            Ok(currency_of(&text).map_or(Dynamic::UNIT, Dynamic::from))
        },
    },
    Helper {
        group: Group::Numbers,
        name: "round_to",
        signature: "round_to(number, digits)",
        doc: "Rounds to so many digits behind the decimal mark, halves away from zero.",
        example: "round_to(2.675, 2)",
        gives: "2.68",
        arity: (2, 2),
        run: |call| {
            let value = figure(call, 0)?;
            let digits = call.int(1)?.clamp(0, 12);
            Ok(Dynamic::from_float(round_to(value, u32::try_from(digits).unwrap_or(0))))
        },
    },
    Helper {
        group: Group::Numbers,
        name: "to_cents",
        signature: "to_cents(number)",
        doc: "An amount in hundredths, as a whole number.",
        example: "to_cents(19.99)",
        gives: "1999",
        arity: (1, 1),
        run: |call| {
            let cents = round_to(figure(call, 0)? * 100.0, 0);
            // Amounts are far below 2^53.
            #[allow(clippy::cast_possible_truncation)]
            Ok(Dynamic::from_int(cents as i64))
        },
    },
    Helper {
        group: Group::Numbers,
        name: "from_cents",
        signature: "from_cents(cents)",
        doc: "An amount given in hundredths.",
        example: "from_cents(1999)",
        gives: "19.99",
        arity: (1, 1),
        run: |call| Ok(Dynamic::from_float(figure(call, 0)? / 100.0)),
    },
];

fn parse_as(call: &mut Call<'_, '_>, kind: Kind) -> Answer {
    let session = call.session;
    let decimal = match call.count() {
        3 => Some(
            Decimal::of_locale(&call.text(2)?)
                .ok_or_else(|| call.wrong(2, "a language such as \"en\" or \"de-DE\""))?,
        ),
        _ => session.bundle.decimal(),
    };
    parse(call, 1, kind.noun(), |value| match kind {
        Kind::Money => money(value, decimal).map(Dynamic::from_float),
        Kind::Number => number(value, decimal),
        _ => kind.read(value, session),
    })
}

fn figure(call: &Call<'_, '_>, at: usize) -> Result<f64, Box<rhai::EvalAltResult>> {
    float(call.arg(at)).ok_or_else(|| call.wrong(at, "a number"))
}

/// The mark in front of the decimals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Decimal {
    /// `1,299.50`
    Point,
    /// `1.299,50`
    Comma,
}

impl Decimal {
    /// What a locale such as `en`, `de-DE` or `de_CH` uses.
    pub(crate) fn of_locale(locale: &str) -> Option<Self> {
        let locale = locale.trim().to_ascii_lowercase().replace('_', "-");
        let (language, region) = locale.split_once('-').unwrap_or((&locale, ""));
        let point_regions = ["ch", "li", "mx", "us", "gb", "ie", "in", "au", "nz", "ca", "jp"];
        Some(match language {
            "" => return None,
            "fr" if region == "ca" => Self::Comma,
            _ if point_regions.contains(&region) => Self::Point,
            "en" | "us" | "gb" | "zh" | "ja" | "ko" | "th" | "he" | "hi" | "ch" => Self::Point,
            "de" | "eu" | "fr" | "es" | "it" | "nl" | "pt" | "pl" | "sv" | "da" | "nb" | "no"
            | "fi" | "cs" | "sk" | "hu" | "ro" | "tr" | "ru" | "el" | "id" | "vi" => Self::Comma,
            _ => return None,
        })
    }
}

/// Reads an amount of money.
pub(crate) fn money(value: &Dynamic, decimal: Option<Decimal>) -> Result<f64, Unread> {
    if let Some(number) = float(value) {
        return Ok(number);
    }
    let text = as_text(value).ok_or(Unread::Not)?;
    read_amount(&text, decimal, true)
}

/// Reads a number. A text that is a JSON number is that number.
pub(crate) fn number(value: &Dynamic, decimal: Option<Decimal>) -> Result<Dynamic, Unread> {
    if value.is_int() || value.is_float() {
        return Ok(value.clone());
    }
    let text = as_text(value).ok_or(Unread::Not)?;
    let plain = text.trim().trim_start_matches('+');
    if let Ok(whole) = plain.parse::<i64>() {
        return Ok(Dynamic::from_int(whole));
    }
    let is_literal = plain.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if is_literal
        && decimal != Some(Decimal::Comma)
        && let Ok(float) = plain.parse::<f64>()
    {
        return if float.is_finite() { Ok(Dynamic::from_float(float)) } else { Err(Unread::Not) };
    }
    let float = read_amount(&text, decimal, false)?;
    Ok(exact_int(float).map_or_else(|| Dynamic::from_float(float), Dynamic::from_int))
}

/// Reads a whole number; `2.0` is one, `2.5` is none.
pub(crate) fn whole(value: &Dynamic, decimal: Option<Decimal>) -> Result<i64, Unread> {
    let number = number(value, decimal)?;
    if let Ok(whole) = number.as_int() {
        return Ok(whole);
    }
    number.as_float().ok().and_then(exact_int).ok_or(Unread::Not)
}

/// A number as a float; a text is none.
#[allow(clippy::cast_precision_loss)]
pub(super) fn float(value: &Dynamic) -> Option<f64> {
    value.as_float().ok().or_else(|| value.as_int().ok().map(|whole| whole as f64))
}

fn exact_int(float: f64) -> Option<i64> {
    // Within 2^53 every whole float is one integer.
    #[allow(clippy::cast_possible_truncation)]
    (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i64)
}

/// Rounds by the decimal digits, so that 2.675 becomes 2.68 as people expect.
fn round_to(value: f64, digits: u32) -> f64 {
    let scale = 10f64.powi(i32::try_from(digits).unwrap_or(0));
    let scaled = value * scale;
    if !scaled.is_finite() {
        return value;
    }
    // A half that lies a hair below because it has no exact binary form counts as a half.
    let nudged = scaled + scaled.signum() * scaled.abs().max(1.0) * f64::EPSILON * 2.0;
    nudged.round() / scale
}

const THREE_DIGITS: &str =
    "with exactly three digits behind the mark it has two meanings; set vars.locale";

fn read_amount(text: &str, decimal: Option<Decimal>, currency: bool) -> Result<f64, Unread> {
    let text = text.trim();
    if text.len() > 64 {
        return Err(Unread::Not);
    }
    let (text, bracketed) = match text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inside) => (inside.trim(), true),
        None => (text, false),
    };
    let (before, digits, after) = split_digits(text).ok_or(Unread::Not)?;
    let mut signs = usize::from(bracketed);
    for outside in [before, after] {
        let bare = strip_signs(outside, &mut signs);
        let says_nothing = matches!(bare, "" | "," | ".");
        if !(says_nothing || currency && is_currency(bare)) {
            return Err(Unread::Not);
        }
    }
    if signs > 1 {
        return Err(Unread::Not);
    }
    let amount = read_digits(digits, decimal)?;
    Ok(if signs == 1 { -amount } else { amount })
}

/// Splits at the first and the last digit. A point before the first digit belongs to it (`.99`),
/// unless it ends an abbreviation (`Rs.99`).
fn split_digits(text: &str) -> Option<(&str, &str, &str)> {
    let mut first = text.find(|c: char| c.is_ascii_digit())?;
    let last = text.rfind(|c: char| c.is_ascii_digit())?;
    let mut before = text[..first].chars().rev();
    if matches!(before.next(), Some('.' | ',')) && !before.next().is_some_and(char::is_alphabetic) {
        first -= 1;
    }
    Some((&text[..first], &text[first..=last], &text[last + 1..]))
}

/// Takes signs off an end; `,-` and `.–` are how some countries write "and no cents".
fn strip_signs<'a>(outside: &'a str, signs: &mut usize) -> &'a str {
    let mut bare = outside.trim();
    for no_cents in [",-", ",–", ",—", ".-", ".–", ".—", ",--"] {
        if let Some(rest) = bare.strip_prefix(no_cents) {
            bare = rest.trim();
        }
    }
    loop {
        let is_minus = |c: char| matches!(c, '-' | '−' | '–');
        let stripped = bare.strip_prefix(is_minus).or_else(|| bare.strip_suffix(is_minus));
        match stripped {
            Some(rest) => {
                *signs += 1;
                bare = rest.trim();
            }
            None => break bare.strip_prefix('+').unwrap_or(bare).trim(),
        }
    }
}

fn read_digits(digits: &str, decimal: Option<Decimal>) -> Result<f64, Unread> {
    let parts: Vec<&str> = digits.split(|c: char| !c.is_ascii_digit()).collect();
    let marks: Vec<char> = digits.chars().filter(|c| !c.is_ascii_digit()).collect();
    if marks.iter().any(|mark| !is_mark(*mark)) {
        return Err(Unread::Not);
    }
    let decimals = match marks.split_last() {
        None => false,
        Some((last, _)) if !matches!(last, '.' | ',') => false,
        Some((last, [])) => single_mark(*last, &parts, decimal)?,
        Some((last, others)) => !others.contains(last),
    };
    let (whole, fraction) = match parts.split_last() {
        Some((fraction, whole)) if decimals => (whole, *fraction),
        _ => (parts.as_slice(), ""),
    };
    let group_marks = if decimals { &marks[..marks.len() - 1] } else { &marks[..] };
    if group_marks.iter().any(|mark| Some(mark) != group_marks.first()) || !are_groups(whole) {
        return Err(Unread::Not);
    }
    format!("{}.{fraction}0", whole.concat()).parse().map_err(|_| Unread::Not)
}

/// Whether a single point or comma is the decimal mark.
fn single_mark(mark: char, parts: &[&str], decimal: Option<Decimal>) -> Result<bool, Unread> {
    let (whole, behind) = (parts[0], parts[1]);
    let may_group = behind.len() == 3 && (1..=3).contains(&whole.len()) && !whole.starts_with('0');
    match decimal {
        _ if !may_group => Ok(true),
        Some(Decimal::Point) => Ok(mark == '.'),
        Some(Decimal::Comma) => Ok(mark == ','),
        None => Err(Unread::Ambiguous(THREE_DIGITS)),
    }
}

/// Groups of three, or of two before the last three as in India.
fn are_groups(parts: &[&str]) -> bool {
    match parts {
        [_] => true,
        [first, middle @ .., last] => {
            (1..=3).contains(&first.len())
                && last.len() == 3
                && (middle.iter().all(|part| part.len() == 3)
                    || first.len() <= 2 && middle.iter().all(|part| part.len() == 2))
        }
        [] => false,
    }
}

fn is_mark(c: char) -> bool {
    matches!(c, '.' | ',' | '\'' | '’' | ' ' | '_' | '\u{a0}' | '\u{202f}' | '\u{2009}')
}

/// Signs and words that stand for one currency, in lower case.
#[rustfmt::skip]
const SIGNS: [(&str, &str); 38] = [
    ("€", "EUR"), ("£", "GBP"), ("₹", "INR"), ("₽", "RUB"), ("₺", "TRY"), ("₩", "KRW"),
    ("₪", "ILS"), ("₫", "VND"), ("₴", "UAH"), ("฿", "THB"), ("₱", "PHP"), ("₦", "NGN"),
    ("₿", "BTC"), ("us$", "USD"), ("a$", "AUD"), ("au$", "AUD"), ("c$", "CAD"), ("ca$", "CAD"),
    ("nz$", "NZD"), ("hk$", "HKD"), ("s$", "SGD"), ("r$", "BRL"), ("mx$", "MXN"), ("nt$", "TWD"),
    ("zł", "PLN"), ("kč", "CZK"), ("ft", "HUF"), ("лв", "BGN"), ("лв.", "BGN"), ("lei", "RON"),
    ("fr.", "CHF"), ("sfr.", "CHF"), ("euro", "EUR"), ("euros", "EUR"), ("руб.", "RUB"),
    ("rm", "MYR"), ("rp", "IDR"), ("s/", "PEN"),
];
/// Signs and words that several currencies share, in lower case.
const SHARED: [&str; 10] = ["$", "¥", "kr", "kr.", "rs", "rs.", "¢", "fr", "dollars", "pounds"];
/// Codes that are words in front of a number more often than currencies, or none that is paid with.
const NO_CODES: [&str; 9] = ["ALL", "TOP", "MOP", "CUP", "SOS", "XXX", "XTS", "XAU", "XAG"];

fn is_currency(text: &str) -> bool {
    SHARED.iter().any(|sign| sign.eq_ignore_ascii_case(text))
        || currency(text).is_some()
        || text.split_once(' ').is_some_and(|(a, b)| is_currency(a) && is_currency(b.trim()))
}

fn currency(text: &str) -> Option<&'static str> {
    let code = text.to_ascii_uppercase();
    let known = iso_currency::Currency::from_code(&code);
    if let Some(known) = known.filter(|_| !NO_CODES.contains(&code.as_str())) {
        return Some(known.code());
    }
    let lower = text.to_lowercase();
    SIGNS.iter().find(|(sign, _)| *sign == lower).map(|(_, code)| *code)
}

fn currency_of(text: &str) -> Option<&'static str> {
    let text = text.trim();
    let (before, _, after) = split_digits(text).unwrap_or((text, "", ""));
    let mut signs = 0;
    [before, after].into_iter().find_map(|outside| {
        let bare = strip_signs(outside, &mut signs);
        bare.split_whitespace().find_map(currency).or_else(|| currency(bare))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str, decimal: Option<Decimal>) -> Option<f64> {
        money(&Dynamic::from(text.to_owned()), decimal).ok()
    }

    #[test]
    fn amounts_are_read_as_people_write_them() {
        #[rustfmt::skip]
        let table = [
            ("plain", "49", 49.0), ("cents", "49.00", 49.0), ("dollar", "$49.00", 49.0),
            ("dollar and thousands", "$1,249.00", 1249.0), ("spaces", "  $ 49.00 ", 49.0),
            ("euro behind", "49,00 €", 49.0), ("euro before", "€3,50", 3.5),
            ("continental", "1.234,50", 1234.5), ("american", "1,299.50", 1299.5),
            ("millions", "1,234,567", 1_234_567.0), ("continental millions", "1.234.567,89", 1_234_567.89),
            ("code before", "USD 1,299.00", 1299.0), ("code behind", "49.00 usd", 49.0),
            ("sign and code", "$49.00 USD", 49.0), ("swiss", "CHF 1'234.50", 1234.5),
            ("french", "1 234,50 €", 1234.5), ("no-break space", "1\u{a0}234,50\u{a0}€", 1234.5),
            ("thin space", "1\u{202f}234,50 €", 1234.5), ("space groups", "1 299", 1299.0),
            ("indian", "₹1,00,000.50", 100_000.5), ("brazilian", "R$ 49,90", 49.9),
            ("kroner", "kr 49,50", 49.5), ("no cents", "49,-", 49.0), ("swiss no cents", "CHF 49.–", 49.0),
            ("negative", "-49.00", -49.0), ("minus before the sign", "-$49.00", -49.0),
            ("minus behind the sign", "$-49.00", -49.0), ("minus behind", "49.00-", -49.0),
            ("true minus", "−5,00 €", -5.0), ("in brackets", "($5.00)", -5.0),
            ("no whole part", ".99", 0.99), ("no whole part, sign", "$.99", 0.99),
            ("abbreviation", "Rs.99", 99.0), ("three decimals below one", "0.999", 0.999),
            ("three decimals of a long number", "12345.678", 12345.678), ("plus", "+49", 49.0),
            ("one decimal", "49.5", 49.5), ("zloty", "49,99 zł", 49.99),
        ];
        for (what, text, expected) in table {
            match amount(text, None) {
                Some(read) => assert!((read - expected).abs() < 1e-9, "{what}: {text} is {read}"),
                None => panic!("{what}: {text} was not read"),
            }
        }
    }

    #[test]
    fn what_is_no_amount_is_not_made_one() {
        let table = [
            "",
            " ",
            "$",
            "free",
            "forty nine",
            "49.00.00",
            "1,2,3",
            "12-34",
            "1.5k",
            "49 per month",
            "--49",
            "(-49)",
            "1,23,4567",
            "1 2",
            "NaN",
            "Infinity",
            "1e3",
            "0x10",
            "49%",
            "10 x 5",
        ];
        for text in table {
            assert_eq!(amount(text, None), None, "{text:?}");
        }
    }

    #[test]
    fn three_digits_behind_one_mark_need_a_locale() {
        let table = [
            ("1,299", Some(Decimal::Point), Some(1299.0)),
            ("1,299", Some(Decimal::Comma), Some(1.299)),
            ("1.299", Some(Decimal::Point), Some(1.299)),
            ("$1.299", Some(Decimal::Comma), Some(1299.0)),
            ("1,299", None, None),
            ("1.299 €", None, None),
            ("-1.299", None, None),
        ];
        for (text, decimal, expected) in table {
            assert_eq!(amount(text, decimal), expected, "{text} {decimal:?}");
        }
        assert_eq!(
            money(&Dynamic::from("1,299".to_owned()), None),
            Err(Unread::Ambiguous(THREE_DIGITS))
        );
        assert_eq!(money(&Dynamic::from_float(1.299), None), Ok(1.299), "a JSON number is no text");
    }

    #[test]
    fn locales_say_which_mark_is_the_decimal_one() {
        let table = [
            ("en", Some(Decimal::Point)),
            ("en-US", Some(Decimal::Point)),
            ("de_DE", Some(Decimal::Comma)),
            ("de-CH", Some(Decimal::Point)),
            ("fr-CA", Some(Decimal::Comma)),
            ("xx", None),
            ("", None),
        ];
        for (locale, expected) in table {
            assert_eq!(Decimal::of_locale(locale), expected, "{locale}");
        }
    }

    #[test]
    fn whole_numbers_are_whole() {
        let text = |text: &str| Dynamic::from(text.to_owned());
        let table = [
            ("an integer", Dynamic::from_int(2), Ok(2)),
            ("a whole float", Dynamic::from_float(2.0), Ok(2)),
            ("half", Dynamic::from_float(2.5), Err(Unread::Not)),
            ("a text", text(" 2 "), Ok(2)),
            ("a text with decimals", text("2.0"), Ok(2)),
            ("thousands", text("1,234,567"), Ok(1_234_567)),
            ("words", text("two"), Err(Unread::Not)),
            ("pieces", text("2 pcs"), Err(Unread::Not)),
            ("nothing", Dynamic::UNIT, Err(Unread::Not)),
        ];
        for (what, value, expected) in table {
            assert_eq!(whole(&value, None), expected, "{what}");
        }
    }

    #[test]
    fn a_currency_is_named_only_when_it_is_certain() {
        let table = [
            ("49,00 €", Some("EUR")),
            ("$49", None),
            ("US$49", Some("USD")),
            ("usd 49", Some("USD")),
            ("£5", Some("GBP")),
            ("kr 49", None),
            ("49", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(currency_of(text), expected, "{text:?}");
        }
    }

    #[test]
    fn halves_round_away_from_zero_as_they_are_written() {
        let table = [
            (2.675, 2, 2.68),
            (-2.675, 2, -2.68),
            (1.005, 2, 1.01),
            (49.994, 2, 49.99),
            (0.5, 0, 1.0),
        ];
        for (value, digits, expected) in table {
            assert!((round_to(value, digits) - expected).abs() < 1e-12, "{value}");
        }
    }
}
