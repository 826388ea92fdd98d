//! Large entries on their way: their bytes are those of the entry, which all its readers share.
use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{begin, end, sse};
use crate::domain::entry::Entry;

/// A part of a large piece, for connections that are watched for progress; bytes.
const PART: usize = 64 * 1024;

/// Output in pieces that are taken one after the other. Small output lies side by side; what is
/// large is a piece of its own, which nobody has copied.
#[derive(Debug, Default)]
pub(in crate::http) struct Mixed {
    cut: VecDeque<Bytes>,
    /// The bytes behind `cut`.
    pub(in crate::http) out: BytesMut,
}

impl Mixed {
    /// Adds the JSON of an entry.
    pub(in crate::http) fn json(&mut self, entry: &Entry) {
        if entry.is_large() {
            self.share(Bytes::from_owner(Json(entry.clone())));
        } else {
            self.out.extend_from_slice(entry.json().as_bytes());
        }
    }

    /// Adds bytes that are not copied.
    pub(in crate::http) fn share(&mut self, bytes: Bytes) {
        if !self.out.is_empty() {
            self.cut.push_back(std::mem::take(&mut self.out).freeze());
        }
        self.cut.push_back(bytes);
    }

    /// How many bytes were not taken yet.
    pub(in crate::http) fn len(&self) -> usize {
        self.cut.iter().map(Bytes::len).sum::<usize>() + self.out.len()
    }

    /// The next piece, at most a part of a large one; empty if there is none. Leaves no memory
    /// behind with the last.
    pub(in crate::http) fn take(&mut self) -> Bytes {
        let Some(next) = self.cut.front_mut() else {
            self.cut = VecDeque::new();
            return std::mem::take(&mut self.out).freeze();
        };
        if next.len() > 2 * PART {
            return next.split_to(PART);
        }
        self.cut.pop_front().unwrap_or_default()
    }
}

/// The bytes of some entries, in pieces that are taken one after the other.
#[derive(Default)]
pub(in crate::http) struct Pieces(VecDeque<Bytes>);

impl Pieces {
    /// The first piece of `entries`; the others are kept. Without a large one that is all of it.
    pub(in crate::http) fn first_of(&mut self, entries: &[Entry]) -> Bytes {
        if !entries.iter().any(Entry::is_large) {
            return sse(entries);
        }
        let mut around = BytesMut::new();
        for some in entries.chunk_by(|one, next| !one.is_large() && !next.is_large()) {
            match some {
                [large] if large.is_large() => {
                    begin(&mut around, large);
                    self.0.push_back(around.split().freeze());
                    self.0.push_back(Bytes::from_owner(Json(large.clone())));
                    end(&mut around, large);
                }
                small => around.extend_from_slice(&sse(small)),
            }
        }
        self.0.push_back(around.freeze());
        self.next().unwrap_or_default()
    }

    /// The next piece.
    pub(in crate::http) fn next(&mut self) -> Option<Bytes> {
        let next = self.0.pop_front();
        if self.0.is_empty() {
            // A reader of small entries keeps no memory for it.
            self.0 = VecDeque::new();
        }
        next
    }
}

/// The JSON of an entry, as an owner of its bytes.
struct Json(Entry);

impl AsRef<[u8]> for Json {
    fn as_ref(&self) -> &[u8] {
        self.0.json().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::LARGE;
    use crate::domain::event::Event;
    use crate::domain::id::Seq;

    #[test]
    fn the_bytes_are_those_of_one_piece() {
        let sizes = [1, 2, LARGE, LARGE + 5, 3, LARGE * 2, 4];
        let entry = |(seq, size): (u64, &usize)| {
            Entry::encode(Seq(seq), &Event::Delta { text: "\u{e9}\n".repeat(*size / 3) })
        };
        let entries: Vec<Entry> = (1..).zip(&sizes).map(entry).collect();
        for some in [&entries[..], &entries[..2], &entries[2..4], &entries[3..4], &entries[4..]] {
            let mut pieces = Pieces::default();
            let mut bytes = pieces.first_of(some).to_vec();
            while let Some(piece) = pieces.next() {
                bytes.extend_from_slice(&piece);
            }
            assert!(bytes == sse(some));
        }
    }

    #[test]
    fn mixed_output_comes_in_order_and_in_parts() {
        let large = Entry::encode(Seq(1), &Event::Delta { text: "x".repeat(LARGE) });
        let small = Entry::encode(Seq(2), &Event::Delta { text: "y".into() });
        let mut mixed = Mixed::default();
        mixed.out.extend_from_slice(b"a");
        [&large, &small, &large].iter().for_each(|entry| mixed.json(entry));
        mixed.out.extend_from_slice(b"z");
        let whole = format!("a{0}{1}{0}z", large.json(), small.json());
        assert_eq!(mixed.len(), whole.len());
        let (mut all, mut parts) = (Vec::new(), 0);
        while mixed.len() > 0 {
            let part = mixed.take();
            assert!(!part.is_empty() && part.len() <= 2 * PART);
            all.extend_from_slice(&part);
            parts += 1;
        }
        assert!(all == whole.as_bytes());
        assert!(parts > 2 * LARGE / (2 * PART), "a connection shows its progress: {parts}");
        assert!(mixed.take().is_empty());
    }

    #[test]
    fn a_large_entry_is_not_copied() {
        let large = Entry::encode(Seq(1), &Event::Delta { text: "x".repeat(LARGE) });
        let mut pieces = Pieces::default();
        let begin = pieces.first_of(std::slice::from_ref(&large));
        assert_eq!(begin.as_ref(), b"event: delta\ndata: ");
        assert_eq!(pieces.next().unwrap().as_ptr(), large.json().as_ptr());
    }
}
