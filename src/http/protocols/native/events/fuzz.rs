//! A cursor is what we gave out, or it is refused: nothing is guessed.
use actix_web::http::header::HeaderValue;
use actix_web::test::TestRequest;
use proptest::prelude::*;

use crate::fuzz::{hold, soup};
use crate::http::protocols::native::events::*;

const WORDS: &[&[u8]] = &[
    b"0",
    b"1",
    b"9",
    b"17",
    b"99999999",
    b"+",
    b"-",
    b".",
    b"e",
    b"0x",
    b" ",
    b"\t",
    b",",
    b"_",
    b"NaN",
    b"inf",
    "\u{661}".as_bytes(),
    "\u{ff11}".as_bytes(),
];

#[test]
fn a_cursor_is_digits_and_nothing_else() {
    hold(
        "cursor",
        &prop_oneof![soup(WORDS, 6), "[0-9]{1,24}".prop_map(String::into_bytes)],
        |bytes| {
            let digits = (1..=18).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit);
            let meant = digits.then(|| {
                bytes.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'))
            });
            if let Ok(text) = std::str::from_utf8(&bytes) {
                let cursor = parse_cursor(text);
                assert_eq!(cursor.as_ref().ok().map(|seq| seq.0), meant);
                if let Ok(seq) = cursor {
                    assert_eq!(parse_cursor(&seq.to_string()).unwrap(), seq, "as we write it");
                    assert!(i64::try_from(seq.next().0).is_ok(), "it fits into its column");
                }
            }
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return };
            let request =
                TestRequest::get().insert_header(("Last-Event-ID", value)).to_http_request();
            match header_cursor(&request) {
                Ok(cursor) => assert_eq!(cursor.map(|seq| seq.0), meant),
                Err(problem) => {
                    assert_eq!((problem.into_parts().0, meant), ("invalid_cursor", None));
                }
            }
        },
    );
}
