//! Text of a model, joined across the chunks that it was cut into.
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use crate::domain::utf8::{Utf8Joiner, without_nul};

/// A JSON string as bytes, where lone surrogates (`\ud83d`) are kept in their three-byte form.
///
/// `serde_json` refuses them in a `String`, and the chunk's text would be lost. An array of
/// parts (`[{"type":"text","text":"…"}]`) counts as its joined texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChunkText(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for ChunkText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(ChunkTextVisitor)
    }
}

struct ChunkTextVisitor;

#[derive(serde::Deserialize)]
struct Part {
    text: Option<ChunkText>,
}

impl<'de> Visitor<'de> for ChunkTextVisitor {
    type Value = ChunkText;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<ChunkText, E> {
        Ok(ChunkText(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<ChunkText, E> {
        Ok(ChunkText(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<ChunkText, A::Error> {
        let mut joined = Vec::new();
        while let Some(part) = parts.next_element::<Part>()? {
            joined.extend(part.text.unwrap_or_default().0);
        }
        Ok(ChunkText(joined))
    }
}

/// The content of a message: a text, or parts among which there may be thoughts
/// (`[{"type":"thinking","thinking":[{"type":"text","text":"…"}]}]`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChunkContent {
    pub(crate) text: ChunkText,
    pub(crate) thoughts: Option<ChunkText>,
}

impl<'de> Deserialize<'de> for ChunkContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(ChunkContentVisitor)
    }
}

struct ChunkContentVisitor;

#[derive(serde::Deserialize)]
struct ContentPart {
    text: Option<ChunkText>,
    thinking: Option<ChunkText>,
}

impl<'de> Visitor<'de> for ChunkContentVisitor {
    type Value = ChunkContent;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<ChunkContent, E> {
        Ok(ChunkContent { text: ChunkText(bytes.to_vec()), thoughts: None })
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<ChunkContent, E> {
        Ok(ChunkContent { text: ChunkText(bytes), thoughts: None })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<ChunkContent, A::Error> {
        let mut content = ChunkContent::default();
        while let Some(part) = parts.next_element::<ContentPart>()? {
            content.text.0.extend(part.text.unwrap_or_default().0);
            if let Some(thought) = part.thinking {
                content.thoughts.get_or_insert_default().0.extend(thought.0);
            }
        }
        Ok(content)
    }
}

/// The escape for a byte that is not UTF-8 in a JSON string: a lone low surrogate, U+DC80 …
/// U+DCFF, as Python's `surrogateescape` has it. [`TextJoiner`] makes the byte of it again.
pub(crate) fn escape_byte(byte: u8) -> String {
    format!("\\udc{byte:02x}")
}

/// Makes text of the pieces of one channel. Characters cut in two are joined, between bytes or
/// between escaped surrogates. A piece that never becomes a character turns into U+FFFD.
#[derive(Debug, Default)]
pub(crate) struct TextJoiner {
    high: Option<u16>,
    /// Only once a piece was broken: nearly no stream needs it.
    bytes: Option<Utf8Joiner>,
}

impl TextJoiner {
    /// The text that `piece` completes; may be empty.
    pub(crate) fn push(&mut self, piece: ChunkText) -> String {
        if self.high.is_some() || self.bytes.is_some() {
            return self.join(&piece.0);
        }
        match String::from_utf8(piece.0) {
            Ok(text) => without_nul(text),
            Err(broken) => self.join(broken.as_bytes()),
        }
    }

    /// The rest at the end: an unfinished character becomes U+FFFD.
    pub(crate) fn finish(&mut self) -> String {
        let mut text = String::new();
        if self.high.take().is_some() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        text.push_str(self.bytes.take().map_or("", Utf8Joiner::finish));
        text
    }

    fn join(&mut self, piece: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(piece.len());
        let mut rest = piece;
        while let [first, tail @ ..] = rest {
            let surrogate = surrogate(rest);
            rest = if surrogate.is_some() { &rest[3..] } else { tail };
            match (self.high.take(), surrogate) {
                (Some(high), Some(low @ 0xDC00..)) => {
                    let pair = char::decode_utf16([high, low]).flatten().next();
                    push_char(&mut bytes, pair.unwrap_or(char::REPLACEMENT_CHARACTER));
                    continue;
                }
                (Some(_), _) => push_char(&mut bytes, char::REPLACEMENT_CHARACTER),
                (None, _) => {}
            }
            match surrogate {
                None => bytes.push(*first),
                Some(escaped @ 0xDC80..=0xDCFF) => bytes.push(escaped.to_le_bytes()[0]),
                Some(0xDC00..) => push_char(&mut bytes, char::REPLACEMENT_CHARACTER),
                Some(high) => self.high = Some(high),
            }
        }
        self.bytes.get_or_insert_default().push(&bytes)
    }
}

/// The surrogate that stands first in `bytes`, if one does.
fn surrogate(bytes: &[u8]) -> Option<u16> {
    match bytes {
        [0xED, b @ 0xA0..=0xBF, c @ 0x80..=0xBF, ..] => {
            Some(0xD000 | u16::from(b & 0x3F) << 6 | u16::from(c & 0x3F))
        }
        _ => None,
    }
}

fn push_char(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use crate::providers::upstream::text::*;

    fn joined(pieces: &[&str]) -> String {
        let mut joiner = TextJoiner::default();
        let mut text: String =
            pieces.iter().map(|json| joiner.push(serde_json::from_str(json).unwrap())).collect();
        text.push_str(&joiner.finish());
        text
    }

    #[test]
    fn cut_characters_are_joined() {
        let cases: [(&[&str], &str); 11] = [
            (&[r#""plain""#, r#"" text""#], "plain text"),
            (&[r#""a\ud83d\ude00b""#], "a😀b"),
            (&[r#""a\ud83d""#, r#""\ude00b""#], "a😀b"),
            (&[r#""a\ud83d""#, r#""""#, r#""\ude00b""#], "a😀b"),
            (&[r#""a\ud83d""#, r#""b""#], "a\u{FFFD}b"),
            (&[r#""a\ud83d""#], "a\u{FFFD}"),
            (&[r#""\ude00b""#], "\u{FFFD}b"),
            (&[r#""\ud83d\ud83d\ude00""#], "\u{FFFD}😀"),
            (&[r#""a\u0000b""#], "a\u{FFFD}b"),
            (&[r#"[{"type":"text","text":"a"},{"text":"b"},{"type":"x"}]"#], "ab"),
            (&["\"é\u{ED}🦀\""], "éí🦀"),
        ];
        for (pieces, text) in cases {
            assert_eq!(joined(pieces), text, "{pieces:?}");
        }
    }

    #[test]
    fn escaped_bytes_are_joined_at_every_cut() {
        let text = "a🦀é豆";
        let escape = |bytes: &[u8]| {
            let escaped: String = bytes.iter().map(|b| escape_byte(*b)).collect();
            format!("\"{escaped}\"")
        };
        // ASCII is never escaped; U+DC00 … U+DC7F do not stand for bytes.
        for cut in 1..=text.len() {
            let (head, tail) = text.as_bytes()[1..].split_at(cut - 1);
            assert_eq!(joined(&["\"a\"", &escape(head), &escape(tail)]), text);
        }
        assert_eq!(joined(&[&escape(b"\xE9"), "\" x\""]), "\u{FFFD} x", "Latin 1");
    }
}
