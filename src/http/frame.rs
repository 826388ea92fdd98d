//! The bytes of an event on SSE. WebSocket carries the same JSON.
#[cfg(test)]
mod fuzz;

use bytes::{BufMut, Bytes, BytesMut};

use crate::domain::entry::{Entry, decimal};

/// What opens every stream: how many milliseconds an `EventSource` waits before it reconnects,
/// in a block of its own so that no event is delayed by it.
pub(super) const OPENING: &[u8] = b"retry: 1000\n\n";

/// A comment: proxies and clients see that the connection lives.
pub(super) const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// All of `entries` as one piece of bytes, for one write.
pub fn sse(opening: bool, entries: &[Entry]) -> Bytes {
    let size: usize = entries.iter().map(|entry| entry.json().len() + 64).sum();
    let mut bytes = BytesMut::with_capacity(size + OPENING.len());
    if opening {
        bytes.put_slice(OPENING);
    }
    for entry in entries {
        let mut digits = [0; 20];
        bytes.put_slice(b"id: ");
        bytes.put_slice(decimal(entry.seq.0, &mut digits).as_bytes());
        bytes.put_slice(b"\nevent: ");
        bytes.put_slice(entry.name().as_bytes());
        bytes.put_slice(b"\ndata: ");
        bytes.put_slice(entry.json().as_bytes());
        bytes.put_slice(b"\n\n");
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use crate::domain::event::Event;
    use crate::domain::id::Seq;

    use super::*;

    #[test]
    fn the_wire_form() {
        let event = Event::Delta { text: "a\nb\r\u{2028}".into() };
        let entries = [Entry::encode(Seq(9), &event), Entry::encode(Seq(1_234_567_890), &event)];
        assert_eq!(
            std::str::from_utf8(&sse(true, &entries)).unwrap(),
            "retry: 1000\n\n\
             id: 9\nevent: delta\ndata: {\"seq\":9,\"type\":\"delta\",\"text\":\"a\\nb\\r\u{2028}\"}\n\n\
             id: 1234567890\nevent: delta\n\
             data: {\"seq\":1234567890,\"type\":\"delta\",\"text\":\"a\\nb\\r\u{2028}\"}\n\n"
        );
    }
}
