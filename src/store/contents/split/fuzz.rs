//! Nothing of a text is lost, whatever it is.
use proptest::prelude::*;

use super::split;
use super::tests::whole;
use crate::fuzz::hold;

/// Signs, and strings of which some are long enough to be contents.
fn text() -> impl Strategy<Value = String> {
    let sign = prop::sample::select(vec!["[", "]", "{", "}", ",", "\"", "\\", ":", "é", "1"]);
    let piece = prop_oneof![
        6 => sign.prop_map(str::to_owned),
        1 => (0usize..1300).prop_map(|n| format!("\"{}\"", "é\\\"".repeat(n / 4))),
        1 => (0usize..1300).prop_map(|n| format!("[\"{}\"]", "x".repeat(n))),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

#[test]
fn nothing_of_a_text_is_lost() {
    hold("contents", &text(), |text| {
        if let Some(split) = split("t", &text) {
            assert_eq!(whole(&split), text);
        }
    });
}
