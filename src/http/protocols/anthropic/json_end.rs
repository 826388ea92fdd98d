//! Where a JSON object that comes in pieces ends.

/// A scanner over the pieces of one object.
#[derive(Debug, Default)]
pub(super) struct JsonEnd {
    depth: u32,
    in_string: bool,
    escaped: bool,
    over: bool,
    /// It is no object: its end cannot be told.
    other: bool,
}

impl JsonEnd {
    /// How many bytes of `piece` belong to the object: all, until it has ended.
    pub(super) fn push(&mut self, piece: &str) -> usize {
        for (at, byte) in piece.bytes().enumerate() {
            if self.over {
                return at;
            }
            self.byte(byte);
        }
        piece.len()
    }

    /// Whether the object has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    fn byte(&mut self, byte: u8) {
        if self.other {
            return;
        }
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            self.escaped = byte == b'\\' && !self.escaped;
            return;
        }
        match byte {
            b'"' if self.depth > 0 => self.in_string = true,
            b'{' | b'[' if self.depth > 0 || byte == b'{' => self.depth += 1,
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                self.over = self.depth == 0;
            }
            _ => self.other = self.depth == 0 && !byte.is_ascii_whitespace(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::anthropic::json_end::*;

    fn taken(pieces: &[&str]) -> (String, bool) {
        let mut end = JsonEnd::default();
        let all = pieces.iter().map(|piece| &piece[..end.push(piece)]).collect();
        (all, end.is_over())
    }

    #[test]
    fn an_object_ends_with_its_last_brace() {
        let text = r#" {"a":["}",{"b":"\"}\\"}],"c":"🦀"}"#;
        assert_eq!(taken(&[text]), (text.to_owned(), true));
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        assert_eq!(taken(&bytes), (text.to_owned(), true));
        assert_eq!(taken(&[text, "\n", "{}"]), (text.to_owned(), true));
        assert_eq!(taken(&["{}{\"a\":1}"]), ("{}".to_owned(), true));
        for open in ["", " ", "{", r#"{"a":"}"#, r#"{"a":"\"}"#, "null", "[{}]", "x{}"] {
            assert_eq!(taken(&[open]), (open.to_owned(), false));
        }
    }
}
