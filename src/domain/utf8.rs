//! Joins text that an upstream cut in the middle of a character.

/// Turns byte pieces into text, keeping an unfinished character back until its rest arrives.
///
/// Bytes that can never become UTF-8 turn into U+FFFD, and so does U+0000, which Postgres
/// cannot store.
#[derive(Debug, Default)]
pub struct Utf8Joiner {
    rest: Vec<u8>,
}

impl Utf8Joiner {
    /// The text that `bytes` completes.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.rest.len());
        let mut pending = std::mem::take(&mut self.rest);
        let mut from = 0;
        for chunk in pending.utf8_chunks() {
            text.push_str(chunk.valid());
            from += chunk.valid().len();
            let broken = chunk.invalid();
            if broken.is_empty() {
                continue;
            }
            let at_end = from + broken.len() == pending.len();
            if at_end && std::str::from_utf8(broken).is_err_and(|e| e.error_len().is_none()) {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            from += broken.len();
        }
        self.rest = pending.split_off(from);
        without_nul(text)
    }

    /// The rest at the end: an unfinished character becomes U+FFFD.
    #[must_use]
    pub fn finish(self) -> &'static str {
        if self.rest.is_empty() { "" } else { "\u{FFFD}" }
    }
}

/// Replaces U+0000 by U+FFFD: Postgres cannot store it.
#[must_use]
pub fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(bytes: &[u8], cuts: &[usize]) -> String {
        let mut joiner = Utf8Joiner::default();
        let mut text = String::new();
        let mut from = 0;
        let mut ends: Vec<usize> = cuts.iter().map(|c| c % (bytes.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        for end in ends {
            text.push_str(&joiner.push(&bytes[from..end]));
            from = end;
        }
        text + joiner.finish()
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_text(text in "[^\u{0}]*", cuts in prop::collection::vec(any::<usize>(), 0..8)) {
            prop_assert_eq!(joined(text.as_bytes(), &cuts), text);
        }

        #[test]
        fn any_bytes_at_any_split_give_the_same_valid_text(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let whole = String::from_utf8_lossy(&bytes).replace('\0', "\u{FFFD}");
            prop_assert_eq!(joined(&bytes, &cuts), whole);
        }
    }

    #[test]
    fn an_emoji_cut_at_each_byte_is_joined() {
        let text = "a🦀é豆";
        for cut in 0..=text.len() {
            assert_eq!(joined(text.as_bytes(), &[cut]), text);
        }
    }
}
