//! Tokens of an answer while it comes. A server's own count is exact, a count of pieces is not.
use super::prompt::BYTES_PER_TOKEN;

/// A longer piece is more than one token, in bytes.
const PIECE_BYTES: u64 = 16;

/// Tokens of one attempt at an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCount {
    /// The server's last count that a piece came with.
    told: u64,
    /// A newer count, for the next piece.
    next: Option<u64>,
    /// Pieces and bytes behind the last count.
    pieces: u64,
    bytes: u64,
    /// Tokens that are left out: the text has them already.
    repeated: u64,
}

impl TokenCount {
    /// A count of an answer that nobody has counted while it came.
    #[must_use]
    pub fn of_text(bytes: usize) -> Self {
        Self { bytes: bytes as u64, ..Self::default() }
    }

    /// The server has made `tokens` by the end of the next piece.
    pub fn told(&mut self, tokens: u64) {
        self.next = Some(tokens);
    }

    /// A piece of so many bytes.
    pub fn piece(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        // A server that does not count says the same number again and again.
        if let Some(tokens) = self.next.take().filter(|tokens| *tokens > self.told) {
            *self = Self { told: tokens, repeated: self.repeated, ..Self::default() };
            return;
        }
        self.pieces += (bytes as u64).div_ceil(PIECE_BYTES);
        self.bytes += bytes as u64;
    }

    /// All up to here is said again, but for the piece that may come with the last count.
    pub fn repeated(&mut self) {
        self.repeated = self.next.unwrap_or(self.told).saturating_sub(1);
    }

    /// Tokens up to here, by the server's own count; `None` where it has not counted the last
    /// piece.
    #[must_use]
    pub fn exact(&self) -> Option<u64> {
        let counted = self.told > 0 && self.pieces == 0 && self.bytes == 0;
        counted.then(|| self.told.saturating_sub(self.repeated))
    }

    /// Tokens up to here, where a piece that nobody counted is one: at most as many as there are.
    #[must_use]
    pub fn at_least(&self) -> u64 {
        (self.told + self.pieces).saturating_sub(self.repeated)
    }

    /// Tokens up to here. Where nobody counts, a piece is at least one, and so are four bytes:
    /// gateways join tokens.
    #[must_use]
    pub fn total(&self) -> u64 {
        let uncounted = self.pieces.max(self.bytes.div_ceil(BYTES_PER_TOKEN));
        (self.told + uncounted).saturating_sub(self.repeated)
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::token_count::*;

    fn counted(pieces: &[(u64, usize)]) -> TokenCount {
        let mut count = TokenCount::default();
        for (tokens, bytes) in pieces {
            count.told(*tokens);
            count.piece(*bytes);
        }
        count
    }

    #[test]
    fn a_server_that_counts_is_believed() {
        let count = counted(&[(3, 40), (9, 2)]);
        assert_eq!((count.total(), count.exact()), (9, Some(9)), "joined and split tokens");
    }

    #[test]
    fn what_nobody_counts_is_estimated() {
        let mut count = counted(&[(1, 4)]);
        count.piece(3);
        count.piece(4);
        assert_eq!((count.total(), count.exact()), (3, None), "a piece is a token");
        count.piece(9);
        assert_eq!((count.total(), count.at_least()), (5, 4), "and 16 bytes are four");
        let mut same = counted(&[(1, 4), (1, 4), (1, 4)]);
        assert_eq!(same.total(), 3, "a count that stays is none");
        same.told(0);
        same.piece(0);
        assert_eq!(same.total(), 3, "a piece without text is none");
        assert_eq!(TokenCount::of_text(40).total(), 10);
    }

    #[test]
    fn what_is_said_again_is_left_out() {
        let mut count = TokenCount::default();
        for tokens in 1..=4 {
            count.told(tokens);
        }
        count.repeated();
        assert_eq!(count.total(), 0, "nothing is new yet");
        count.piece(6);
        assert_eq!((count.total(), count.exact()), (1, Some(1)), "the piece that ended it");
        count.told(6);
        count.piece(6);
        assert_eq!(count.total(), 3);
        let mut uncounted = TokenCount::default();
        uncounted.repeated();
        uncounted.piece(6);
        assert_eq!(uncounted.at_least(), 1);
    }
}
