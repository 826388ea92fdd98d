//! The next output, as bytes: everything that is ready together, in one piece. Large frames go
//! out in parts, so that the client is seen to take them.
use std::cell::RefCell;

use bytes::{BufMut, Bytes};
use serde::Serialize;
use uuid::fmt::Hyphenated;

use super::frames::CloseCode;
use super::wire;
use crate::domain::entry::Entry;
use crate::domain::id::GenerationId;
use crate::http::frame::Mixed;
use crate::http::large::{self, LARGE};

/// The bytes that wait to be taken.
#[derive(Debug, Default)]
pub(super) struct Outbox(Mixed);

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of it, unless something in it is large: then the next part. Leaves no memory behind:
    /// most sockets are silent most of the time.
    pub(super) fn take(&mut self) -> Bytes {
        self.0.take()
    }

    pub(super) fn frame(&mut self, frame: &impl Serialize) {
        thread_local! {
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        SCRATCH.with_borrow_mut(|json| {
            json.clear();
            let written = serde_json::to_writer(&mut *json, frame);
            debug_assert!(written.is_ok(), "a frame is made of strings and numbers");
            wire::text_head(json.len(), &mut self.0.out);
            if json.len() > LARGE {
                return self.0.share(large::shared(std::mem::take(json).into()));
            }
            self.0.out.put_slice(json);
        });
    }

    /// A frame of this text, of which a long one is not copied.
    pub(super) fn text(&mut self, text: Bytes) {
        wire::text_head(text.len(), &mut self.0.out);
        if text.len() > LARGE {
            self.0.share(text);
        } else {
            self.0.out.put_slice(&text);
        }
    }

    /// The frames of these entries, around the JSON that SSE carries, which was encoded once.
    pub(super) fn events(&mut self, generation: GenerationId, entries: &[Entry]) {
        const HEAD: &[u8] = br#"{"type":"event","generation":""#;
        const MIDDLE: &[u8] = br#"","event":"#;
        const AROUND: usize = HEAD.len() + Hyphenated::LENGTH + MIDDLE.len() + 1;
        // A frame's own head is at most 10 bytes.
        let small = entries.iter().filter(|entry| !entry.is_large());
        let size: usize = small.map(|entry| entry.json().len() + AROUND + 10).sum();
        self.0.out.reserve(size);
        let mut digits = [0; Hyphenated::LENGTH];
        let id = generation.0.hyphenated().encode_lower(&mut digits);
        for entry in entries {
            let out = &mut self.0.out;
            wire::text_head(AROUND + entry.json().len(), out);
            out.put_slice(HEAD);
            out.put_slice(id.as_bytes());
            out.put_slice(MIDDLE);
            self.0.json(entry);
            self.0.out.put_u8(b'}');
        }
    }

    pub(super) fn ping(&mut self) {
        wire::ping(&mut self.0.out);
    }

    pub(super) fn pong(&mut self, payload: &[u8]) {
        wire::pong(payload, &mut self.0.out);
    }

    pub(super) fn close(&mut self, code: CloseCode) {
        let (number, why) = code.wire();
        self.close_as(number, why);
    }

    /// The same under another number.
    pub(super) fn close_as(&mut self, number: u16, why: &str) {
        wire::close(Some(number), why, &mut self.0.out);
    }

    /// The answer to a client's close.
    pub(super) fn echo(&mut self, code: Option<u16>) {
        wire::close(code, "", &mut self.0.out);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use crate::domain::event::Event;
    use crate::domain::id::Seq;
    use crate::http::protocols::websocket::frames::ServerFrame;

    use crate::http::protocols::websocket::outbox::*;

    fn all(mut out: Outbox) -> Vec<u8> {
        let mut bytes = Vec::new();
        while out.len() > 0 {
            bytes.extend_from_slice(&out.take());
        }
        bytes
    }

    #[test]
    fn an_event_frame_is_what_the_enum_says() {
        for text in ["Hel", "\"\n\u{2028}", &"x".repeat(70_000), &"x".repeat(700_000)] {
            let generation = GenerationId(uuid::Uuid::from_u128(7));
            let entry = Entry::encode(Seq(9), &Event::Delta { text: text.into() });
            let event = RawValue::from_string(entry.json().to_owned()).unwrap();
            let (mut spliced, mut whole) = (Outbox::default(), Outbox::default());
            spliced.events(generation, &[entry]);
            whole.frame(&ServerFrame::Event { generation, event });
            assert_eq!(all(spliced), all(whole));
        }
    }
}
