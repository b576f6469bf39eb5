//! Bytes that are JSON but for a broken character: half an emoji, as programs leave that cut texts in
//! the middle, or a byte of another encoding. The character is lost already; the event need not be.
//!
//! Not here: what else may be wrong with bytes, which is for people to see (a dead letter).

/// What stands for a character that nobody can read any more.
const REPLACEMENT: &str = "\\ufffd";

/// The bytes with a replacement character in the place of each broken one; `None` where there is
/// none, so that nothing can be gained by reading them again.
pub(super) fn mend(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(bytes);
    let mut mended = String::with_capacity(text.len());
    let mut rest = &*text;
    let mut broken = matches!(text, std::borrow::Cow::Owned(_));
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        mended.push_str(before);
        let length = match unit(escape) {
            Some(0xd800..=0xdbff)
                if matches!(escape.get(6..).and_then(unit), Some(0xdc00..=0xdfff)) =>
            {
                12
            }
            Some(0xd800..=0xdfff) => {
                broken = true;
                mended.push_str(REPLACEMENT);
                rest = &escape[6..];
                continue;
            }
            Some(_) => 6,
            // A backslash and what it escapes.
            None => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        mended.push_str(&escape[..length]);
        rest = &escape[length..];
    }
    mended.push_str(rest);
    broken.then(|| mended.into_bytes())
}

/// The UTF-16 unit of an escape such as `\ud83d` at the beginning of a text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    all.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn broken_characters_are_replaced_and_nothing_else() {
        let table: [(&[u8], Option<&str>); 9] = [
            (br#"{"a":"\ud83d"}"#, Some(r#"{"a":"\ufffd"}"#)),
            (br#"{"a":"\ude00!"}"#, Some(r#"{"a":"\ufffd!"}"#)),
            (br#"{"a":"\ud83d\ud83d\ude00"}"#, Some(r#"{"a":"\ufffd\ud83d\ude00"}"#)),
            (br#"{"a":"\ud83dx\ude00"}"#, Some(r#"{"a":"\ufffdx\ufffd"}"#)),
            (b"{\"a\":\"caf\xe9\"}", Some("{\"a\":\"caf\u{fffd}\"}")),
            (br#"{"a":"\ud83d\ude00"}"#, None),
            (br#"{"a":"\\ud83d"}"#, None),
            (br#"{"a":"\u00e9 \n \" \\"}"#, None),
            (br#"{"a":"\u12"#, None),
        ];
        for (bytes, expected) in table {
            let mended = mend(bytes).map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(mended.as_deref(), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn what_is_mended_needs_no_more_of_it(text in "(\\\\|\\\\u|d83d|de00|00e9|[a-z\"é]){0,12}", byte in any::<u8>()) {
            let mut bytes = text.into_bytes();
            bytes.push(byte);
            if let Some(mended) = mend(&bytes) {
                prop_assert_eq!(mend(&mended), None);
            }
        }
    }
}
