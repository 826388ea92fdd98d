//! RFC 6455 frames: bytes to messages as soon as the bytes allow, and back.
//!
//! Pure. actix-ws's own stream is not used, for three reasons. It waits for a whole frame before it
//! looks at its length, so that a client decides how much we hold. It reads ahead, so that a bad
//! frame hides the good ones before it. It sees bad UTF-8 only when the message has ended.
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A control frame's payload is at most this, in bytes (RFC 6455 §5.5).
const CONTROL: usize = 125;

/// A client's message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A whole text.
    Text(String),
    /// A part of a text that goes on.
    Part,
    /// To be answered with the same payload.
    Ping(Bytes),
    /// The answer to ours.
    Pong,
    /// The client closes, and maybe says why.
    Close(Option<u16>),
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Against RFC 6455.
    Protocol,
    /// A binary frame.
    Binary,
    /// A text that is not UTF-8.
    NotUtf8,
    /// A message beyond the limit.
    TooLarge,
    /// There is no memory for what comes in.
    NoMemory,
}

/// The kinds of frame (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Continue,
    Text,
    Close,
    Ping,
    Pong,
}

/// A frame whose payload is coming.
#[derive(Clone, Copy, Debug)]
struct Head {
    opcode: Opcode,
    last: bool,
    mask: [u8; 4],
    /// Bytes of the payload, and how many of them were taken.
    length: usize,
    taken: usize,
}

/// Takes bytes as they come.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The most bytes of a message.
    limit: usize,
    buffer: BytesMut,
    head: Option<Head>,
    /// A message whose parts are coming: its text so far.
    text: Option<Vec<u8>>,
    /// How much of it is known to be UTF-8.
    valid: usize,
    control: Vec<u8>,
}

impl Decoder {
    pub(super) fn new(limit: usize) -> Self {
        let (buffer, control) = (BytesMut::new(), Vec::new());
        Self { limit, buffer, head: None, text: None, valid: 0, control }
    }

    /// Whether nothing of a message has come yet.
    pub(super) fn is_idle(&self) -> bool {
        self.buffer.is_empty() && self.head.is_none() && self.text.is_none()
    }

    /// More bytes.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        if self.buffer.is_empty() {
            self.buffer = bytes.into();
        } else {
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// The next message in the bytes so far; `None` when more are needed.
    ///
    /// # Errors
    /// The connection cannot go on; nothing behind it is looked at.
    pub(super) fn next(&mut self) -> Result<Option<Message>, Fault> {
        let head = match self.head.take() {
            Some(head) => head,
            None => match self.open()? {
                Some(head) => head,
                None => return Ok(self.wait()),
            },
        };
        let head = self.take(head)?;
        if head.taken < head.length {
            self.head = Some(head);
            return Ok(self.wait());
        }
        self.close(head).map(Some)
    }

    /// Lets go of what the bytes came in, which may be large, while there is nothing to do.
    fn wait(&mut self) -> Option<Message> {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        None
    }

    /// The head of a frame; refused as early as it can be.
    fn open(&mut self) -> Result<Option<Head>, Fault> {
        let &[first, second, ..] = self.buffer.as_ref() else { return Ok(None) };
        let (last, reserved) = (first & 0x80 != 0, first & 0x70 != 0);
        let (masked, short) = (second & 0x80 != 0, second & 0x7f);
        let opcode = match first & 0x0f {
            0 => Opcode::Continue,
            1 => Opcode::Text,
            2 if !reserved && masked && self.text.is_none() => return Err(Fault::Binary),
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(Fault::Protocol),
        };
        let fits = match opcode {
            Opcode::Continue => self.text.is_some(),
            Opcode::Text => self.text.is_none(),
            Opcode::Close | Opcode::Ping | Opcode::Pong => last && usize::from(short) <= CONTROL,
        };
        if reserved || !masked || !fits {
            return Err(Fault::Protocol);
        }
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(rest) = self.buffer.get(2..2 + extended + 4) else { return Ok(None) };
        let (length, mask) = rest.split_at(extended);
        let length = match length {
            [] => u64::from(short),
            bytes => bytes.iter().fold(0, |n, byte| (n << 8) | u64::from(*byte)),
        };
        let mask = mask.try_into().unwrap_or_default();
        if length > i64::MAX.unsigned_abs() {
            return Err(Fault::Protocol);
        }
        let length = usize::try_from(length).map_err(|_| Fault::TooLarge)?;
        if self.text.as_ref().map_or(0, Vec::len).saturating_add(length) > self.limit {
            return Err(Fault::TooLarge);
        }
        self.buffer.advance(2 + extended + 4);
        if opcode == Opcode::Text {
            self.text = Some(Vec::new());
            self.valid = 0;
        }
        Ok(Some(Head { opcode, last, mask, length, taken: 0 }))
    }

    /// Takes what there is of the payload.
    fn take(&mut self, mut head: Head) -> Result<Head, Fault> {
        let count = self.buffer.len().min(head.length - head.taken);
        let masked = self.buffer.split_to(count);
        let mask = head.mask.iter().cycle().skip(head.taken % 4);
        let plain = masked.iter().zip(mask).map(|(byte, mask)| byte ^ mask);
        head.taken += count;
        match head.opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => self.control.extend(plain),
            Opcode::Continue | Opcode::Text => {
                let Some(text) = &mut self.text else { return Err(Fault::Protocol) };
                text.extend(plain);
                match std::str::from_utf8(text.get(self.valid..).unwrap_or_default()) {
                    Ok(_) => self.valid = text.len(),
                    // Bytes that cannot become a character are refused at once, not at the end.
                    Err(error) if error.error_len().is_some() => return Err(Fault::NotUtf8),
                    Err(error) => self.valid += error.valid_up_to(),
                }
            }
        }
        Ok(head)
    }

    /// A frame is whole.
    fn close(&mut self, head: Head) -> Result<Message, Fault> {
        match head.opcode {
            Opcode::Continue | Opcode::Text if !head.last => Ok(Message::Part),
            Opcode::Continue | Opcode::Text => {
                let text = self.text.take().unwrap_or_default();
                String::from_utf8(text).map(Message::Text).map_err(|_| Fault::NotUtf8)
            }
            Opcode::Ping => Ok(Message::Ping(std::mem::take(&mut self.control).into())),
            Opcode::Pong => {
                self.control.clear();
                Ok(Message::Pong)
            }
            Opcode::Close => match std::mem::take(&mut self.control).as_slice() {
                [] => Ok(Message::Close(None)),
                [high, low, why @ ..] => {
                    let code = u16::from_be_bytes([*high, *low]);
                    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                        return Err(Fault::Protocol);
                    }
                    std::str::from_utf8(why).map_err(|_| Fault::NotUtf8)?;
                    Ok(Message::Close(Some(code)))
                }
                [_] => Err(Fault::Protocol),
            },
        }
    }
}

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// Writes the head of a text frame of `length` bytes, which follow.
pub(super) fn text_head(length: usize, out: &mut BytesMut) {
    head(TEXT, length, out);
}

/// Writes an empty ping.
pub(super) fn ping(out: &mut BytesMut) {
    head(PING, 0, out);
}

/// Writes the answer to a ping.
pub(super) fn pong(payload: &[u8], out: &mut BytesMut) {
    head(PONG, payload.len(), out);
    out.put_slice(payload);
}

/// Writes the last frame: a code, and why in at most 123 bytes.
pub(super) fn close(code: Option<u16>, why: &str, out: &mut BytesMut) {
    let Some(code) = code else { return head(CLOSE, 0, out) };
    let why = why.get(..why.floor_char_boundary(CONTROL - 2)).unwrap_or_default();
    head(CLOSE, 2 + why.len(), out);
    out.put_u16(code);
    out.put_slice(why.as_bytes());
}

/// A server's frames are whole and not masked.
fn head(first: u8, length: usize, out: &mut BytesMut) {
    out.put_u8(first);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.put_u8(short),
        (_, Ok(medium)) => {
            out.put_u8(126);
            out.put_u16(medium);
        }
        (_, Err(_)) => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::http::protocols::websocket::wire::*;

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        head(first, payload.len(), &mut bytes);
        bytes[1] |= 0x80;
        let mask = [1, 2, 3, 250];
        bytes.put_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes.to_vec()
    }

    fn decode(bytes: &[u8], chunk: usize) -> (Vec<Message>, Option<Fault>) {
        let mut decoder = Decoder::new(70_000);
        let mut messages = Vec::new();
        for chunk in bytes.chunks(chunk.max(1)) {
            decoder.feed(Bytes::copy_from_slice(chunk));
            loop {
                match decoder.next() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(fault) => return (messages, Some(fault)),
                }
            }
        }
        (messages, None)
    }

    proptest! {
        #[test]
        fn messages_come_whole_however_the_bytes_are_cut(
            texts in prop::collection::vec(".{0,300}", 1..5),
            cut in 0usize..300,
            chunk in 1usize..700,
        ) {
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for text in &texts {
                let (one, other) = text.as_bytes().split_at(cut.min(text.len()));
                bytes.extend(frame(0x01, one));
                bytes.extend(frame(PING, b"p"));
                bytes.extend(frame(0x80, other));
                expected.push(Message::Part);
                expected.push(Message::Ping(Bytes::from_static(b"p")));
                expected.push(Message::Text(text.clone()));
            }
            prop_assert_eq!(decode(&bytes, chunk), (expected, None));
        }

        #[test]
        fn any_bytes_are_a_message_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let at_once = decode(&bytes, 1000);
            prop_assert_eq!(decode(&bytes, 1), at_once);
        }
    }

    #[test]
    fn each_length_has_its_form() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 70_000] {
            let text = "x".repeat(length);
            let expected = vec![Message::Text(text.clone())];
            assert_eq!(decode(&frame(TEXT, text.as_bytes()), 1 << 20), (expected, None));
        }
    }

    #[test]
    fn too_much_is_refused_at_its_head() {
        let head_only = &frame(TEXT, &[b'x'; 70_001])[..14];
        assert_eq!(decode(head_only, 1), (vec![], Some(Fault::TooLarge)));
        let parts = [frame(0x01, &[b'x'; 70_000]), frame(0x80, b"y")].concat();
        assert_eq!(decode(&parts, 4096), (vec![Message::Part], Some(Fault::TooLarge)));
    }

    #[test]
    fn bad_text_is_refused_at_the_byte_that_spoils_it() {
        let whole = frame(TEXT, b"ab\xff and much more that never comes");
        assert_eq!(decode(&whole[..9], 1), (vec![], Some(Fault::NotUtf8)));
        let half_a_character = frame(TEXT, "é".as_bytes()[..1].as_ref());
        assert_eq!(decode(&half_a_character, 1), (vec![], Some(Fault::NotUtf8)));
    }
}
