//! Where requests end among the bytes that actix has read of a connection. It does not tell, and an
//! answer may leave it only if nothing else was read: that would be lost with it.

/// How far a connection was read, and how far requests reach.
#[derive(Debug, Default)]
pub(super) struct RequestFraming {
    read: u64,
    /// Where the last request ends.
    end: u64,
    /// Where the head behind it ends, as soon as that was read.
    head: Option<u64>,
    /// How much of an empty line there is at the end of what was read of that head.
    matched: u8,
    /// Whether a request could not be measured: then nothing is known any more.
    lost: bool,
}

impl RequestFraming {
    /// More was read.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        if self.lost {
            return;
        }
        let from = self.end.max(self.read);
        let behind = usize::try_from(from - self.read).ok().and_then(|body| bytes.get(body..));
        for (at, byte) in (from..).zip(behind.unwrap_or_default()) {
            if self.head.is_some() {
                break;
            }
            self.matched = match (self.matched, byte) {
                (0 | 2, b'\r') | (1 | 3, b'\n') => self.matched + 1,
                (_, b'\r') => 1,
                _ => 0,
            };
            // An empty line ends a head (RFC 9112 §2.1).
            if self.matched == 4 {
                (self.head, self.matched) = (Some(at + 1), 0);
            }
        }
        self.read += bytes.len() as u64;
    }

    /// The next request has come, with a body of so many bytes, if it says so.
    pub(super) fn request(&mut self, body: Option<u64>) {
        let end = self.head.take().zip(body).and_then(|(head, body)| head.checked_add(body));
        // The bytes read behind it may hold a head that is not found any more.
        self.lost |= end.is_none_or(|end| self.read > end);
        self.end = end.unwrap_or_default();
    }

    /// Whether all that was read belongs to requests that have come, and they are whole.
    pub(super) fn at_end(&self) -> bool {
        !self.lost && self.read == self.end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(body: usize) -> Vec<u8> {
        let head = format!("POST /\r\n HTTP/1.1\r\nContent-Length: {body}\r\n\r\n");
        [head.as_bytes(), "\r\n\r\n".repeat(body).get(..body).unwrap().as_bytes()].concat()
    }

    proptest! {
        #[test]
        fn requests_end_where_they_end(
            bodies in prop::collection::vec(0usize..50, 1..5),
            chunk in 1usize..200,
        ) {
            let mut framing = RequestFraming::default();
            for body in bodies {
                let bytes = request(body);
                let head = bytes.len() - body;
                let mut read = 0;
                for piece in bytes.chunks(chunk) {
                    framing.read(piece);
                    let had = read < head;
                    read += piece.len();
                    if had && read >= head {
                        framing.request(Some(body as u64));
                    }
                    prop_assert_eq!(framing.at_end(), read == bytes.len());
                }
            }
        }

        #[test]
        fn what_came_too_early_is_seen(body in 0usize..50, more in 1usize..100) {
            let next = request(60);
            let mut framing = RequestFraming::default();
            let both = [request(body).as_slice(), &next[..more]].concat();
            framing.read(&both);
            framing.request(Some(body as u64));
            prop_assert!(!framing.at_end());
            framing.read(&next[more..]);
            framing.request(Some(60));
            prop_assert!(!framing.at_end(), "whatever follows: the place was lost");
        }
    }

    #[test]
    fn nothing_is_known_behind_a_body_of_unknown_length() {
        let mut framing = RequestFraming::default();
        framing.read(&request(0));
        framing.request(None);
        assert!(!framing.at_end());
        framing.read(&request(0));
        framing.request(Some(0));
        assert!(!framing.at_end());
    }
}
