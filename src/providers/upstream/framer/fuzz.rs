//! Any bytes, cut anywhere, against the specification's own way through a whole stream.
use proptest::prelude::*;
use serde::de::IgnoredAny;

use crate::fuzz::{cuts, hold, lines, pieces, soup};
use crate::providers::upstream::framer::*;

const WORDS: &[&[u8]] = &[
    b"data: {\"a\":1}",
    b"data:",
    b"data",
    b"data: [DONE]",
    b": c",
    b"event: error",
    b"event: ping",
    b"event:",
    b"error: no",
    b"id: 1",
    b" ",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\xEF\xBB\xBF",
    b"\xEF\xBB",
    b"\0",
    "é🦀".as_bytes(),
];

/// The frames, and whether the stream broke off.
fn run(pieces: &[&[u8]], most: usize) -> (Vec<Frame>, bool) {
    let mut framer = Framer::new(most);
    let mut frames = Vec::new();
    for piece in pieces {
        framer.push(Bytes::copy_from_slice(piece));
        loop {
            match framer.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(TooLarge) => return (frames, true),
            }
        }
    }
    frames.extend(framer.finish());
    (frames, false)
}

/// The same from whole lines.
fn expected(bytes: &[u8]) -> Vec<Frame> {
    let (lines, _) = lines(bytes);
    let (mut frames, mut data, mut sort) = (Vec::new(), Vec::new(), "");
    for line in lines {
        let Some((name, value)) = line else {
            frames.extend(frame(&std::mem::take(&mut data), std::mem::take(&mut sort)));
            continue;
        };
        match (name.as_slice(), value.as_slice()) {
            (b"data", _) => data.push(value),
            (b"error", _) => {
                sort = "error";
                data.push(value);
            }
            (b"event", b"error") => sort = "error",
            (b"event", b"ping" | b"keepalive" | b"heartbeat") => sort = "ping",
            (b"event", _) => sort = "",
            _ => {}
        }
    }
    // The last line of a cut stream counts if it is whole.
    frames.extend(frame(&data, sort).filter(|last| {
        let json = serde_json::from_slice::<IgnoredAny>(&last.data).is_ok();
        last.error || json || last.data.trim_ascii() == b"[DONE]"
    }));
    frames
}

/// The event of these lines of data. Those that are empty before anything else say nothing.
fn frame(lines: &[Vec<u8>], sort: &str) -> Option<Frame> {
    let begins = lines.iter().position(|line| !line.is_empty())?;
    let data = lines[begins..].join(&b'\n');
    let says = sort != "ping" && !data.trim_ascii().is_empty();
    says.then_some(Frame { data, error: sort == "error" })
}

#[test]
fn any_split_gives_what_the_specification_says() {
    let input = (soup(WORDS, 40), cuts(), prop_oneof![Just(1usize << 20), 0usize..64]);
    hold("framer", &input, |(bytes, cuts, most)| {
        let whole = run(&[&bytes], most);
        assert_eq!(run(&pieces(&bytes, &cuts), most), whole, "cut");
        assert_eq!(run(&bytes.chunks(1).collect::<Vec<_>>(), most), whole, "byte by byte");
        assert!(whole.0.iter().all(|frame| frame.data.len() <= most));
        if most > bytes.len() {
            assert_eq!(whole, (expected(&bytes), false));
        }
    });
}
