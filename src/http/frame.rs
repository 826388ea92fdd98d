//! The bytes of an event on SSE. WebSocket carries the same JSON.
#[cfg(test)]
mod fuzz;
mod large;

use bytes::{BufMut, Bytes, BytesMut};

use crate::domain::entry::{Entry, decimal};
pub(super) use large::{Mixed, Pieces};

/// The content type of every event stream. Without the charset some clients take Latin-1.
pub(super) const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// Milliseconds that an `EventSource` waits before it reconnects: the least, and how many more at
/// most. A second on average, and not all readers of an instance that stops in one moment.
const RETRY_MS: (u32, f64) = (500, 1000.0);

/// The opening of every stream: how long this client waits before it reconnects. It is a block of
/// its own, so that it delays no event.
pub(super) fn opening() -> Bytes {
    let (least, spread) = RETRY_MS;
    Bytes::from(format!("retry: {}\n\n", f64::from(least) + (spread * fastrand::f64()).round()))
}

/// A comment: proxies and clients see that the connection lives.
pub(super) const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// All of `entries` as one piece of bytes, for one write.
///
/// `id:` comes last. Some clients take it at its line. One that is cut in the middle of an event
/// must not have its id without its data.
pub fn sse(entries: &[Entry]) -> Bytes {
    let size: usize = entries.iter().map(|entry| entry.json().len() + 64).sum();
    let mut bytes = BytesMut::with_capacity(size);
    for entry in entries {
        begin(&mut bytes, entry);
        bytes.put_slice(entry.json().as_bytes());
        end(&mut bytes, entry);
    }
    bytes.freeze()
}

/// The lines before the JSON of an entry.
fn begin(bytes: &mut BytesMut, entry: &Entry) {
    bytes.put_slice(b"event: ");
    bytes.put_slice(entry.name().as_bytes());
    bytes.put_slice(b"\ndata: ");
}

/// The lines behind it.
fn end(bytes: &mut BytesMut, entry: &Entry) {
    bytes.put_slice(b"\nid: ");
    bytes.put_slice(decimal(entry.seq.0, &mut [0; 20]).as_bytes());
    bytes.put_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use crate::domain::event::Event;
    use crate::domain::id::Seq;

    use super::*;

    #[test]
    fn the_wire_form() {
        let event = Event::Delta { text: "a\nb\r\u{2028}\u{85}".into() };
        let entries = [Entry::encode(Seq(9), &event), Entry::encode(Seq(1_234_567_890), &event)];
        assert_eq!(
            std::str::from_utf8(&sse(&entries)).unwrap(),
            "event: delta\n\
             data: {\"seq\":9,\"type\":\"delta\",\"text\":\"a\\nb\\r\\u2028\\u0085\"}\nid: 9\n\n\
             event: delta\n\
             data: {\"seq\":1234567890,\"type\":\"delta\",\"text\":\"a\\nb\\r\\u2028\\u0085\"}\n\
             id: 1234567890\n\n"
        );
    }

    #[test]
    fn readers_do_not_come_back_all_at_once() {
        let pauses: std::collections::BTreeSet<u32> = (0..100)
            .map(|_| {
                let text = String::from_utf8(opening().to_vec()).unwrap();
                let ms = text.strip_prefix("retry: ").unwrap().strip_suffix("\n\n").unwrap();
                ms.parse().unwrap()
            })
            .collect();
        assert!(pauses.len() > 20, "{pauses:?}");
        assert!(pauses.iter().all(|ms| (500..=1500).contains(ms)), "{pauses:?}");
    }
}
