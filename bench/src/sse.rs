//! The view of one reader: events in order, each stamped with its birth.
use crate::socket::Event;

/// Digits of a stamp: microseconds since 1970.
const DIGITS: usize = 16;

/// The measured part of the run, in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// One stream's account.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Stamped tokens, in and out of the window.
    pub(crate) tokens: u64,
    /// Events whose seq was not the next.
    pub(crate) gaps: u64,
    /// Whether `done` came.
    pub(crate) done: bool,
    /// Events after `done`.
    pub(crate) late: u64,
    /// Microseconds from birth to read of each token in the window.
    pub(crate) latencies: Vec<u32>,
    last_seq: u64,
    /// The event that is being read is `done`.
    ends: bool,
    line: Vec<u8>,
}

impl Seen {
    /// Of a reader that has the events up to `last_seq`.
    pub(crate) fn after(last_seq: u64) -> Self {
        Self { last_seq, ..Self::default() }
    }

    /// Whether all of `tokens` came, in order, with an end behind them and nothing behind that.
    pub(crate) fn is_whole(&self, tokens: u64) -> bool {
        self.tokens == tokens && self.gaps == 0 && self.done && self.late == 0
    }

    /// Takes the next part of the body, which was read at `now`. Lines may be cut anywhere.
    pub(crate) fn take(&mut self, body: &[u8], now: u64, window: Window) {
        let mut rest = body;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            if self.line.is_empty() {
                self.on_line(&rest[..end], now, window);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&rest[..end]);
                self.on_line(&line, now, window);
                line.clear();
                self.line = line;
            }
            rest = &rest[end + 1..];
        }
        self.line.extend_from_slice(rest);
    }

    fn on_line(&mut self, line: &[u8], now: u64, window: Window) {
        if let Some(id) = line.strip_prefix(b"id: ") {
            self.on_seq(number(id));
        } else if line.starts_with(b"event: done") {
            self.ends = true;
        } else if line.is_empty() {
            // Its id is its last field.
            self.done |= std::mem::take(&mut self.ends);
        } else if line.starts_with(b"data:") {
            self.on_text(line, now, window);
        }
    }

    /// Takes one event as a socket brings it.
    pub(crate) fn event(&mut self, event: &Event<'_>, now: u64, window: Window) {
        self.on_seq(Some(event.seq));
        self.done |= event.kind == "done";
        self.on_text(event.text.as_bytes(), now, window);
    }

    fn on_seq(&mut self, seq: Option<u64>) {
        self.late += u64::from(self.done);
        self.gaps += u64::from(seq != Some(self.last_seq + 1));
        self.last_seq = seq.unwrap_or(self.last_seq);
    }

    /// Counts the stamps in `text`.
    fn on_text(&mut self, text: &[u8], now: u64, window: Window) {
        for (at, _) in text.iter().enumerate().filter(|(_, b)| **b == b'@') {
            let Some(born) = text.get(at + 1..at + 1 + DIGITS).and_then(number) else {
                continue;
            };
            self.tokens += 1;
            if (window.from..window.to).contains(&now) {
                let latency = now.saturating_sub(born);
                self.latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
            }
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    let value = |n: u64, b: &u8| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, value) }
}
