//! Arbitrary JSON, as the text that is sent and the text that is to be read.
use proptest::prelude::*;

/// A JSON value: what a client writes, and what everybody reads.
#[derive(Clone, Debug)]
pub(super) struct Json {
    pub(super) sent: String,
    pub(super) read: String,
}

impl Json {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { sent: text.clone(), read: text }
    }
}

/// Numbers that some parsers read differently.
const NUMBERS: [&str; 22] = [
    "0",
    "-0",
    "-0.0",
    "1.0",
    "1e2",
    "1E+2",
    "0.1",
    "5e-324",
    "1e-400",
    "1.7976931348623157e308",
    "-1.7976931348623157e308",
    "1.7e308",
    "2.2250738585072014e-308",
    "9007199254740993",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890",
    "0.30000000000000004",
    "435.99999999999994",
    // Numbers beyond the range of a double.
    "1e400",
    "-1E309",
];

/// Pieces of texts: in their escaped form, and as text.
const PIECES: [(&str, &str); 12] = [
    (r"\u0000", "\u{FFFD}"),
    (r"\ud83d", "\u{FFFD}"),
    (r"\uDE00", "\u{FFFD}"),
    (r"\ud83d\ude00", "😀"),
    (r"\\u0000", r"\\u0000"),
    (r"\/", "/"),
    (r"\u000a", r"\n"),
    (r#"\""#, r#"\""#),
    ("é", "é"),
    ("\u{2028}", "\u{2028}"),
    ("\u{7f}", "\u{7f}"),
    ("$serde_json::private::RawValue", "$serde_json::private::RawValue"),
];

fn text() -> impl Strategy<Value = Json> {
    let piece = prop_oneof![
        3 => "[a-z_ ]{0,4}".prop_map(|s| (s.clone(), s)),
        2 => prop::sample::select(&PIECES[..]).prop_map(|(s, r)| (s.to_owned(), r.to_owned())),
    ];
    // Two halves of a pair would be a whole if they stood together: a letter keeps them apart.
    prop::collection::vec(piece, 0..4).prop_map(|pieces| {
        let (sent, read): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
        Json { sent: format!("\"{}\"", sent.join("x")), read: format!("\"{}\"", read.join("x")) }
    })
}

fn leaf() -> impl Strategy<Value = Json> {
    prop_oneof![
        prop::sample::select(vec!["null", "true", "false", "{}", "[]", "\"\""])
            .prop_map(Json::plain),
        prop::sample::select(&NUMBERS[..]).prop_map(Json::plain),
        any::<f64>()
            .prop_filter("finite", |n| n.is_finite())
            .prop_map(|n| Json::plain(format!("{n:e}"))),
        any::<i64>().prop_map(|n| Json::plain(n.to_string())),
        text(),
    ]
}

fn joined(parts: &[String], open: char, close: char, space: &str) -> String {
    format!("{open}{space}{}{space}{close}", parts.join(&format!("{space},{space}")))
}

fn object(of: impl Strategy<Value = Json>) -> impl Strategy<Value = Json> {
    let space = prop::sample::select(vec!["", "", " ", "\n\t"]);
    (prop::collection::vec((text(), of), 0..5), space).prop_map(|(fields, space)| {
        let sent: Vec<_> =
            fields.iter().map(|(k, v)| format!("{}:{space}{}", k.sent, v.sent)).collect();
        let read: Vec<_> = fields.iter().map(|(k, v)| format!("{}:{}", k.read, v.read)).collect();
        Json { sent: joined(&sent, '{', '}', space), read: joined(&read, '{', '}', "") }
    })
}

fn array(of: impl Strategy<Value = Json>) -> impl Strategy<Value = Json> {
    prop::collection::vec(of, 0..4).prop_map(|values| {
        let (sent, read): (Vec<_>, Vec<_>) = values.into_iter().map(|v| (v.sent, v.read)).unzip();
        Json { sent: joined(&sent, '[', ']', ""), read: joined(&read, '[', ']', "") }
    })
}

fn value() -> impl Strategy<Value = Json> {
    leaf().prop_recursive(4, 24, 5, |inner| prop_oneof![object(inner.clone()), array(inner)])
}

/// An object; one in ten is nested about as deeply as the limit allows.
pub(super) fn document() -> impl Strategy<Value = Json> {
    let deep = (80usize..130, any::<bool>()).prop_map(|(levels, arrays)| {
        let (open, close) = if arrays { ("[", "]") } else { ("{\"k\":", "}") };
        let inner = if arrays { "" } else { "1" };
        Json::plain(format!("{{\"deep\":{}{inner}{}}}", open.repeat(levels), close.repeat(levels)))
    });
    prop_oneof![9 => object(value()), 1 => deep]
}
