//! Characters in a JSON text that no text can hold, before anything reads it.
use std::borrow::Cow;

/// An escape of one unit: a backslash, `u` and four digits.
const LENGTH: usize = 6;
const REPLACED: &[u8; LENGTH] = br"\uFFFD";

/// `json` with U+FFFD in place of characters that PostgreSQL does not store, and at which model
/// servers fail. These are U+0000 and lone surrogates, as in a text that was cut within an emoji.
#[must_use]
pub fn mended(json: &[u8]) -> Cow<'_, [u8]> {
    let mut json = Cow::Borrowed(json);
    let mut at = 0;
    while let Some(found) = json.get(at..).and_then(|rest| rest.iter().position(|b| *b == b'\\')) {
        at += found;
        let Some(here) = unit(&json, at) else {
            // A backslash and the character behind it.
            at += 2;
            continue;
        };
        let low = |at| unit(&json, at).is_some_and(|unit| (0xDC00..0xE000).contains(&unit));
        match here {
            0xD800..0xDC00 if low(at + LENGTH) => at += 2 * LENGTH,
            0 | 0xD800..0xE000 => {
                if let Some(place) = json.to_mut().get_mut(at..at + LENGTH) {
                    place.copy_from_slice(REPLACED);
                }
                at += LENGTH;
            }
            _ => at += LENGTH,
        }
    }
    json
}

/// The same for a text: what is replaced and what replaces it are ASCII.
#[must_use]
pub fn mended_text(json: &str) -> Cow<'_, str> {
    match mended(json.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(json),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// The unit that an escape at `at` names.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + LENGTH)?.strip_prefix(br"\u")?;
    // Not `+1`, which `from_str_radix` takes for a number.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mend(json: &str) -> String {
        String::from_utf8(mended(json.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn what_no_text_can_hold_is_replaced() {
        for (came, is) in [
            (r#""a\u0000b""#, r#""a\uFFFDb""#),
            (r#""\ud83d""#, r#""\uFFFD""#),
            (r#""\uD83D\uDE00""#, r#""\uD83D\uDE00""#),
            (r#""\ude00\ud83d""#, r#""\uFFFD\uFFFD""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\uFFFD\ud83d\ude00""#),
            (r#""\ud83dx\ude00""#, r#""\uFFFDx\uFFFD""#),
            (r#""\\u0000""#, r#""\\u0000""#),
            (r#""\\\u0000""#, r#""\\\uFFFD""#),
            (r#""\u00e9\n""#, r#""\u00e9\n""#),
            (r#"{"\u0000":1}"#, r#"{"\uFFFD":1}"#),
            // Not JSON; said so by whoever parses it.
            (r#""\u00"#, r#""\u00"#),
            ("\"\\", "\"\\"),
            (r#""\ud83d\u+c00""#, r#""\uFFFD\u+c00""#),
        ] {
            assert_eq!(mend(came), is);
        }
        assert!(matches!(mended(br#""a\nb""#), Cow::Borrowed(_)));
        assert!(matches!(mended_text(r#""é\nb""#), Cow::Borrowed(_)));
        assert_eq!(mended_text(r#""é\ud83d🦀""#), r#""é\uFFFD🦀""#);
    }

    proptest! {
        /// The units as Rust reads them, whatever they are.
        #[test]
        fn it_is_what_utf_16_says(units in prop::collection::vec(prop_oneof![
            Just(0u16), 0xD7FE..0xE002u16, any::<u16>()], 0..8)) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let read: String = serde_json::from_str(&mend(&format!("\"{escaped}\""))).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units).replace('\0', "\u{FFFD}"));
        }
    }
}
