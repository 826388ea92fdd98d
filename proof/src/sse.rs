//! The frames of an event stream (WHATWG HTML, server-sent events), from pieces of any size.

/// One frame: its fields as the standard dispatches them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: String,
    /// Bytes from the beginning of the body to the end of this frame.
    pub(crate) end: u64,
}

/// Takes bytes, gives frames. Bytes that are left over at the end are not a frame.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    line: Vec<u8>,
    after_cr: bool,
    id: Option<String>,
    event: String,
    data: Option<String>,
    read: u64,
}

impl Framer {
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for &byte in bytes {
            self.read += 1;
            let crlf = self.after_cr && byte == b'\n';
            self.after_cr = byte == b'\r';
            if crlf {
                continue;
            }
            if byte == b'\n' || byte == b'\r' {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
                frames.extend(self.take(&line));
            } else {
                self.line.push(byte);
            }
        }
        frames
    }

    fn take(&mut self, line: &str) -> Option<Frame> {
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        if line.is_empty() {
            let data = self.data.take();
            let event = std::mem::take(&mut self.event);
            let id = self.id.take();
            return data.map(|data| Frame { id, event, data, end: self.read });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, Framer};

    #[test]
    fn frames_are_the_same_at_any_split() {
        let bytes =
            ": hello\r\n\r\nid: 7\nevent: a\ndata: x\ndata:y\n\ndata: Grüße\r\n\r\ndata: cut"
                .as_bytes();
        let whole = Framer::default().feed(bytes);
        assert_eq!(
            whole[0],
            Frame { id: Some("7".into()), event: "a".into(), data: "x\ny".into(), end: 42 }
        );
        assert_eq!((whole.len(), whole[1].data.as_str()), (2, "Grüße"));
        for at in 0..bytes.len() {
            let mut framer = Framer::default();
            let mut frames = framer.feed(&bytes[..at]);
            frames.extend(framer.feed(&bytes[at..]));
            assert_eq!(frames, whole, "split at {at}");
        }
    }
}
