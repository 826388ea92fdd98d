//! A text that was cut is the same again, and a list that grows adds little.
use std::collections::BTreeSet;
use std::fmt::Write;

use super::*;

/// The text of a split, as the database puts it together.
pub(super) fn whole(split: &Split) -> String {
    let named = |hash: &Hash| {
        hash.iter().fold(String::new(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        })
    };
    let bodies: BTreeMap<String, &str> =
        split.contents.iter().map(|(hash, content)| (named(hash), content.body.as_str())).collect();
    let mut text = split.packed.clone();
    while text.contains(MARK) {
        let pieces = text.split(MARK).enumerate();
        text = pieces.map(|(n, piece)| if n % 2 == 0 { piece } else { bodies[piece] }).collect();
    }
    text
}

/// An agent's request with so many turns behind it.
fn body(turns: usize) -> String {
    let tool = |n| format!(r#"{{"type":"function","name":"t{n}","text":"{}"}}"#, "d".repeat(1000));
    let tools: Vec<String> = (0..25).map(tool).collect();
    let mut messages = vec![format!(r#"{{"role":"system","content":"{}"}}"#, "s".repeat(40_000))];
    for n in 0..turns {
        messages.push(format!(r#"{{"role":"assistant","content":"call {n}"}}"#));
        let text = format!("{n:04}").repeat(2000);
        messages.push(format!(r#"{{"role":"tool","content":"{text}"}}"#));
    }
    let (messages, tools) = (messages.join(","), tools.join(", "));
    format!(r#"{{"model":"m","messages":[{messages}],"tools":[{tools}]}}"#)
}

#[test]
fn a_text_is_the_same_again() {
    for turns in [0, 1, 7, 60, 200] {
        let text = body(turns);
        let split = split("t", &text).unwrap();
        assert_eq!(whole(&split), text);
        assert!(split.packed.len() < 8192, "{} bytes name it", split.packed.len());
        assert!(split.used.len() < 32, "{} rows", split.used.len());
    }
}

#[test]
fn a_list_that_grows_adds_what_is_new() {
    let mut known = BTreeSet::new();
    let mut stored = Vec::new();
    for turns in 1..=120 {
        let split = split("t", &body(turns)).unwrap();
        let new = split.contents.iter().filter(|(hash, _)| known.insert(**hash));
        stored.push(split.packed.len() + new.map(|(_, content)| content.body.len()).sum::<usize>());
    }
    // A turn has some 8 KB; the first one has all the rest, too.
    assert!(stored[1..].iter().all(|bytes| *bytes < 16_000), "{stored:?}");
    let (first, later) = stored[1..].split_at(60);
    let sum = |bytes: &[usize]| bytes.iter().sum::<usize>();
    assert!(sum(later) < sum(first) * 11 / 10, "it grows in a line: {stored:?}");
}

#[test]
fn small_messages_have_no_row_each() {
    let message = |n| format!(r#"{{"role":"user","content":"{n:060}"}}"#);
    let messages: Vec<String> = (0..5000).map(message).collect();
    let text = format!(r#"{{"messages":[{}]}}"#, messages.join(","));
    let split = split("t", &text).unwrap();
    assert_eq!(whole(&split), text);
    assert!(split.contents.len() < 300, "{} contents", split.contents.len());
    assert!(split.used.len() < 32 && split.packed.len() < 4096, "{}", split.packed.len());
}

#[test]
fn one_long_string_is_one_content() {
    let text = format!(r#"{{"prompt":"{}\n"}}"#, "é\\\"".repeat(1_000_000));
    let split = split("t", &text).unwrap();
    assert_eq!(split.contents.len(), 1);
    assert!(whole(&split) == text);
}

#[test]
fn what_is_short_or_has_the_mark_stays() {
    assert!(split("t", &format!(r#"{{"a":"{}"}}"#, "x".repeat(2000))).is_none());
    assert!(split("t", &format!("\"{}\u{1}\"", "x".repeat(8000))).is_none());
}

#[test]
fn tenants_have_nothing_in_common() {
    let hashes = |tenant| -> BTreeSet<Hash> {
        split(tenant, &body(3)).unwrap().contents.into_keys().collect()
    };
    assert_eq!(hashes("a"), hashes("a"));
    assert!(hashes("a").is_disjoint(&hashes("b")));
}

#[test]
fn one_string_in_two_spellings_is_two() {
    let text = format!(r#"["{}","{}"]"#, "é".repeat(2000), r"\u00e9".repeat(2000));
    let split = split("t", &text).unwrap();
    assert_eq!((split.used.len(), whole(&split)), (2, text));
}

#[test]
fn contents_within_contents_have_an_end() {
    let mut text = String::from("1");
    for _ in 0..100 {
        let more: Vec<String> = (0..20).map(|n| format!("\"{}{n}\"", "x".repeat(900))).collect();
        text = format!("[{text},{}]", more.join(","));
    }
    let split = split("t", &text).unwrap();
    assert!(whole(&split) == text);
    let depth = split.contents.values().map(|content| content.depth).max();
    assert_eq!(depth, Some(DEPTH));
}
