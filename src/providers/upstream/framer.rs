//! Server-sent events out of bytes: strict about what an event is, lenient about how it is cut.
#[cfg(test)]
mod fuzz;

use bytes::{Buf, Bytes};
use serde::de::IgnoredAny;

const BOM: &[u8] = b"\xEF\xBB\xBF";
/// A longer line is not copied, and its memory not kept for the next one; bytes.
const LARGE: usize = 256 * 1024;

/// Cuts a byte stream into events, however the bytes were split on their way.
///
/// Every byte is looked at once, so that neither large chunks nor large events cost more than
/// their size. Comments and pings make no event.
#[derive(Debug)]
pub(crate) struct Framer {
    input: Bytes,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    data: Vec<u8>,
    sort: Sort,
    /// How many bytes of a byte order mark were seen; `None` once the first line has begun.
    bom: Option<usize>,
    /// The last line ended with CR: a LF that follows belongs to it.
    after_cr: bool,
    max_event: usize,
}

/// One event: its data, with the lines joined by LF. The bytes may be invalid UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Never blank.
    pub(crate) data: Vec<u8>,
    /// Whether it came as an `error` event or in an `error:` field, as old llama.cpp does.
    pub(crate) error: bool,
}

/// An event is larger than allowed; the stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sort {
    #[default]
    Data,
    Error,
    Ping,
}

impl Framer {
    /// A framer that refuses events of more than `max_event` bytes.
    pub(crate) fn new(max_event: usize) -> Self {
        Self {
            input: Bytes::new(),
            line: Vec::new(),
            data: Vec::new(),
            sort: Sort::Data,
            bom: Some(0),
            after_cr: false,
            max_event,
        }
    }

    /// Takes the next bytes. Those before must have been used up: [`Framer::next`] gave `None`.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        debug_assert!(self.input.is_empty(), "the bytes before are not used up");
        self.input = bytes;
    }

    /// The next whole event, or `None` if more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, TooLarge> {
        self.skip_bom();
        while !self.input.is_empty() {
            if std::mem::take(&mut self.after_cr) && self.input.starts_with(b"\n") {
                self.input.advance(1);
                continue;
            }
            let end = self.input.iter().position(|b| matches!(b, b'\n' | b'\r'));
            let piece = self.input.split_to(end.unwrap_or(self.input.len()));
            if self.line.len() + self.data.len() + piece.len() > self.max_event {
                return Err(TooLarge);
            }
            if end.is_none() {
                self.line.extend_from_slice(&piece);
                break;
            }
            self.after_cr = self.input.get_u8() == b'\r';
            if let Some(frame) = self.end_line(&piece) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// The last event, where the stream ended cleanly but without the blank line behind it.
    ///
    /// The specification drops it. Real servers end like that, so it counts if it is whole:
    /// `[DONE]`, complete JSON or an error.
    pub(crate) fn finish(&mut self) -> Option<Frame> {
        let last = self.end_line(&[]).or_else(|| self.dispatch())?;
        let whole = last.error
            || last.data.trim_ascii() == b"[DONE]"
            || serde_json::from_slice::<IgnoredAny>(&last.data).is_ok();
        whole.then_some(last)
    }

    fn skip_bom(&mut self) {
        let Some(mut seen) = self.bom else { return };
        while let (Some(byte), Some(expected)) = (self.input.first(), BOM.get(seen)) {
            if byte != expected {
                self.line.extend_from_slice(&BOM[..seen]);
                self.bom = None;
                return;
            }
            self.input.advance(1);
            seen += 1;
        }
        self.bom = (seen < BOM.len()).then_some(seen);
    }

    fn end_line(&mut self, piece: &[u8]) -> Option<Frame> {
        if self.line.is_empty() {
            return self.take_line(piece);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(piece);
        if line.len() > LARGE && self.data.is_empty() && line.starts_with(b"data: ") {
            // The event itself: not copied, and nothing of its size is kept.
            line.drain(..b"data: ".len());
            self.data = line;
            return None;
        }
        let frame = self.take_line(&line);
        if line.capacity() <= LARGE {
            line.clear();
            self.line = line;
        }
        frame
    }

    fn take_line(&mut self, line: &[u8]) -> Option<Frame> {
        if line.is_empty() {
            return self.dispatch();
        }
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => self.add(value),
            b"error" => {
                self.sort = Sort::Error;
                self.add(value);
            }
            b"event" => {
                self.sort = match value {
                    b"error" => Sort::Error,
                    b"ping" | b"keepalive" | b"heartbeat" => Sort::Ping,
                    _ => Sort::Data,
                }
            }
            _ => {}
        }
        None
    }

    fn add(&mut self, value: &[u8]) {
        if !self.data.is_empty() {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
    }

    fn dispatch(&mut self) -> Option<Frame> {
        let sort = std::mem::take(&mut self.sort);
        if sort == Sort::Ping || self.data.trim_ascii().is_empty() {
            self.data.clear();
            return None;
        }
        Some(Frame { data: std::mem::take(&mut self.data), error: sort == Sort::Error })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::providers::upstream::framer::*;

    fn frames(pieces: &[&[u8]]) -> Vec<Frame> {
        let mut framer = Framer::new(1 << 20);
        let mut frames = Vec::new();
        for piece in pieces {
            framer.push(Bytes::copy_from_slice(piece));
            while let Some(frame) = framer.next().unwrap() {
                frames.push(frame);
            }
        }
        frames.extend(framer.finish());
        frames
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        frames(&[bytes]).iter().map(|f| String::from_utf8_lossy(&f.data).into()).collect()
    }

    #[test]
    fn what_is_an_event() {
        let cases: [(&str, &[u8], &[&str]); 14] = [
            ("LF", b"data: a\n\ndata: b\n\n", &["a", "b"]),
            ("CR", b"data: a\r\rdata: b\r\r", &["a", "b"]),
            ("CRLF", b"data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
            ("a mixture", b"data: a\r\n\ndata: b\n\r\n", &["a", "b"]),
            ("BOM", b"\xEF\xBB\xBFdata: a\n\n", &["a"]),
            ("no space", b"data:a\n\n", &["a"]),
            ("one space only", b"data:  a\n\n", &[" a"]),
            ("comments", b": ping\n\n:\ndata: a\n: x\n\n", &["a"]),
            ("lines are joined", b"data: a\ndata: b\n\n", &["a\nb"]),
            ("pings", b"event: ping\ndata: {}\n\ndata: a\n\n", &["a"]),
            ("other fields", b"id: 1\nretry: 5\nfoo\ndata: a\n\n", &["a"]),
            ("blank data", b"data:\n\ndata: \n\ndata: a\n\n", &["a"]),
            ("[DONE] unended", b"data: a\n\ndata: [DONE]", &["a", "[DONE]"]),
            ("cut JSON", b"data: a\n\ndata: {\"b\":", &["a"]),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(texts(bytes), expected, "{name}");
        }
        assert_eq!(texts(b"data: {\"a\":1}\n"), ["{\"a\":1}"], "whole JSON, unended");
    }

    #[test]
    fn errors_are_marked() {
        let frame = |bytes: &[u8]| frames(&[bytes]).remove(0);
        assert!(frame(b"error: {\"code\":500}\n\n").error);
        assert!(frame(b"event: error\ndata: {}\n\n").error);
        assert!(!frame(b"data: {}\n\n").error);
    }

    #[test]
    fn an_event_has_a_limit_but_the_stream_has_none() {
        let mut framer = Framer::new(16);
        for _ in 0..100 {
            framer.push(Bytes::from_static(b": comment\ndata: a\n\n"));
            assert!(framer.next().unwrap().is_some());
            assert!(framer.next().unwrap().is_none());
        }
        framer.push(Bytes::from_static(b"data: 0123456789\ndata: 0123456789\n\n"));
        assert_eq!(framer.next(), Err(TooLarge));
    }

    #[test]
    fn a_large_event_in_small_pieces_is_not_quadratic() {
        let mut framer = Framer::new(8 << 20);
        framer.push(Bytes::from_static(b"data: "));
        assert_eq!(framer.next(), Ok(None));
        let piece = Bytes::from(vec![b'x'; 1400]);
        for _ in 0..3000 {
            framer.push(piece.clone());
            assert_eq!(framer.next(), Ok(None));
        }
        framer.push(Bytes::from_static(b"\n\n"));
        assert_eq!(framer.next().unwrap().unwrap().data.len(), 3000 * 1400);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            lines in prop::collection::vec(
                prop::sample::select(vec![
                    "data: {\"a\":\"é🦀\"}", "data:x", "data", ": c", "", "", "event: error",
                    "error: no", "event: ping", "\u{FEFF}data: y", "data: [DONE]",
                ]), 0..20),
            ends in prop::collection::vec(prop::sample::select(vec!["\n", "\r", "\r\n"]), 20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut bytes = Vec::new();
            for (line, end) in lines.iter().zip(&ends) {
                bytes.extend_from_slice(line.as_bytes());
                bytes.extend_from_slice(end.as_bytes());
            }
            let mut at: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(frames(&pieces), frames(&[&bytes]));
            let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(frames(&bytewise), frames(&[&bytes]));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for frame in frames(&[&bytes]) {
                prop_assert!(!frame.data.is_empty());
                prop_assert!(!frame.data.contains(&b'\r'));
            }
        }
    }
}
