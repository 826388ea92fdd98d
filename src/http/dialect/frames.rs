//! The frames of a dialect, in pieces that large ones of several readers share.
use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use crate::domain::entry::escaped;
use crate::http::large::{self, LARGE, shared};

/// Frames that are made, and those of them that a reader wants.
#[derive(Debug, Default)]
pub(in crate::http) struct Frames {
    /// The number of the next frame, from 0.
    next: u64,
    /// The first frame that the reader wants.
    from: u64,
    /// The reader wants none for now.
    pub(in crate::http) silent: bool,
    /// The events from before the reader came are being told.
    pub(in crate::http) backlog: bool,
    /// Nothing more may follow.
    pub(in crate::http) over: bool,
    /// Frames may be large: each is measured before it is made.
    pub(in crate::http) large: bool,
    /// The pieces before `out`: the JSON of large frames, which readers share, and what is between.
    cut: VecDeque<Bytes>,
    out: BytesMut,
}

impl Frames {
    /// For a reader that has the frames up to `cursor`.
    pub(in crate::http) fn after(cursor: Option<u64>) -> Self {
        let from = cursor.map_or(0, |cursor| cursor.saturating_add(1));
        Self { from, backlog: true, ..Self::default() }
    }

    /// For a reader that wants no frames at all.
    pub(in crate::http) fn none() -> Self {
        Self { silent: true, ..Self::default() }
    }

    /// The number of the next frame.
    pub(in crate::http) fn number(&self) -> u64 {
        self.next
    }

    /// Whether the reader gets the frame of that number.
    pub(in crate::http) fn wants(&self, number: u64) -> bool {
        !self.silent && !self.over && number >= self.from
    }

    /// Whether the reader asked for what follows some frame.
    pub(in crate::http) fn has_cursor(&self) -> bool {
        self.from > 0
    }

    /// Whether the reader's cursor is a frame that was never made.
    pub(in crate::http) fn is_ahead(&self) -> bool {
        self.from > self.next
    }

    /// Whether the reader has every frame that was made.
    pub(in crate::http) fn has_all(&self) -> bool {
        self.from > 0 && self.from == self.next
    }

    /// One frame, with the event's name where the protocol has names.
    pub(in crate::http) fn frame(&mut self, name: Option<&str>, json: &impl Serialize) {
        let number = self.next;
        self.next += 1;
        if !self.wants(number) {
            return;
        }
        if let Some(name) = name {
            self.out.put_slice(b"event: ");
            self.out.put_slice(name.as_bytes());
            self.out.put_u8(b'\n');
        }
        self.data(json);
    }

    /// The same with its number as the event's id.
    pub(in crate::http) fn identified(&mut self, name: &str, json: &impl Serialize) {
        if self.wants(self.next) {
            self.out.put_slice(format!("id: {}\n", self.next).as_bytes());
        }
        self.frame(Some(name), json);
    }

    /// A frame that is not counted: it stands for no event.
    pub(in crate::http) fn data(&mut self, json: &impl Serialize) {
        if self.silent {
            return;
        }
        self.out.put_slice(b"data: ");
        if self.large
            && let Some(made) = large::made(json)
        {
            self.cut.push_back(self.out.split().freeze());
            self.cut.push_back(made);
            return self.out.put_slice(b"\n\n");
        }
        let begin = self.out.len();
        let written = serde_json::to_writer((&mut self.out).writer(), json);
        debug_assert!(written.is_ok(), "a frame is made of strings and numbers");
        let text = self.out.get(begin..).and_then(|json| std::str::from_utf8(json).ok());
        if let Some(Cow::Owned(text)) = text.map(escaped) {
            self.out.truncate(begin);
            self.out.put_slice(text.as_bytes());
        }
        if self.out.len() - begin > LARGE {
            // Copied, or the large one would stay for it.
            self.cut.push_back(Bytes::copy_from_slice(&self.out.split_to(begin)));
            self.cut.push_back(shared(std::mem::take(&mut self.out).freeze()));
        }
        self.out.put_slice(b"\n\n");
    }

    /// Bytes as they are, at the end.
    pub(in crate::http) fn raw(&mut self, bytes: &[u8]) {
        if !self.silent && !self.over {
            self.out.put_slice(bytes);
        }
    }

    /// Forgets what was made and not yet taken.
    pub(in crate::http) fn forget(&mut self) {
        self.cut.clear();
        self.out.clear();
    }

    /// How much was made and not yet taken, in bytes.
    pub(in crate::http) fn made(&self) -> usize {
        self.cut.iter().map(Bytes::len).sum::<usize>() + self.out.len()
    }

    /// Forgets what was made behind the first `made` bytes.
    pub(in crate::http) fn forget_behind(&mut self, made: usize) {
        let mut rest = made;
        self.cut.retain_mut(|piece| {
            piece.truncate(rest);
            rest -= piece.len();
            !piece.is_empty()
        });
        self.out.truncate(rest);
    }

    /// The next piece of what is ready: all of it, unless there are large frames. Empty if there is
    /// nothing.
    pub(in crate::http) fn take(&mut self) -> Bytes {
        self.cut.pop_front().unwrap_or_else(|| self.out.split().freeze())
    }

    /// All that is ready in one piece.
    pub(in crate::http) fn take_all(&mut self) -> Bytes {
        if self.cut.is_empty() {
            return self.take();
        }
        let mut all = BytesMut::with_capacity(self.made());
        self.cut.drain(..).for_each(|piece| all.put_slice(&piece));
        all.put_slice(&self.out.split());
        all.freeze()
    }
}

/// The JSON of the frames in a piece of [`Frames::take`]: that of a large frame is a piece by
/// itself.
pub(in crate::http) fn frames_in(piece: &Bytes) -> impl Iterator<Item = &str> {
    let alone = piece.starts_with(b"{");
    let lines = std::str::from_utf8(piece).unwrap_or_default().lines();
    lines.filter_map(move |line| if alone { Some(line) } else { line.strip_prefix("data: ") })
}
