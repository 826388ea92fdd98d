//! Counts tokens over all attempts; estimates what a provider does not report.
use crate::domain::event::Usage;
use crate::domain::prompt::estimate_tokens;
use crate::domain::token_count::TokenCount;
use crate::domain::transcript::Answer;

/// The most text of one token, in bytes. Vocabularies have tokens of 128 blanks.
const TOKEN_BYTES: u64 = 256;

/// The usage of one generation.
pub(in crate::engine) struct Meter {
    input: u64,
    total: Usage,
    reported: Option<Usage>,
    bytes: usize,
    attempting: bool,
    /// Tokens of the answer that counts: in earlier attempts …
    before: u64,
    /// … and in the attempt under way.
    count: TokenCount,
}

impl Meter {
    /// For a prompt of about `input` tokens. Output of `earlier` owners counts too.
    pub(in crate::engine) fn new(input: u64, earlier: &Answer, attempts: u32) -> Self {
        let mut total = Usage { exact: true, ..Usage::default() };
        if attempts > 0 {
            total.input_tokens = input * u64::from(attempts);
            total.output_tokens = estimate_tokens(&earlier.text)
                + estimate_tokens(&earlier.reasoning)
                + estimate_tokens(&earlier.refusal);
            total.exact = false;
        }
        let count = TokenCount::of_text(earlier.text.len() + earlier.reasoning.len());
        Self { input, total, reported: None, bytes: 0, attempting: false, before: 0, count }
    }

    /// Without `tokens` of the answer that no attempt of this generation has made.
    pub(in crate::engine) fn without(mut self, tokens: u64) -> Self {
        self.total.output_tokens = self.total.output_tokens.saturating_sub(tokens);
        self.before = std::mem::take(&mut self.count).total().saturating_sub(tokens);
        self
    }

    /// The meter of an answer that its upstream keeps and that goes on. The upstream will report
    /// all of it, the part in `heard` included. `attempts` are those before it.
    pub(super) fn resumed(input: u64, heard: &Answer, attempts: u32) -> Self {
        let mut meter = Self::new(input, &Answer::default(), attempts);
        meter.begin(false);
        meter.said(heard.len());
        meter
    }

    /// An attempt begins; one that `goes_on` is the same for its upstream as the one before.
    pub(in crate::engine) fn begin(&mut self, goes_on: bool) {
        if !(goes_on && self.attempting) {
            self.close();
        }
        self.attempting = true;
        if !goes_on {
            self.before += std::mem::take(&mut self.count).total();
        }
    }

    /// A piece of the answer came.
    pub(in crate::engine) fn said(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.count.piece(bytes);
    }

    /// So many bytes came that the answer has already, or that are no part of its text.
    pub(super) fn repeated(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.count.repeated();
    }

    /// Text beside the answer came, such as another choice.
    pub(super) fn said_beside(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(super) fn reported(&mut self, usage: Usage) {
        self.count.told(usage.output_tokens);
        self.reported = Some(usage);
    }

    /// The answer so far does not count any more.
    pub(super) fn voided(&mut self) {
        self.before = 0;
        self.count = TokenCount::default();
    }

    /// The answer so far has `tokens`, as its upstream has counted them.
    pub(super) fn recounted(&mut self, tokens: u64) {
        self.before = tokens;
        self.count = TokenCount::default();
    }

    /// Tokens of the answer so far: what a continuation has less.
    pub(super) fn spoken(&self) -> u64 {
        self.before + self.count.total()
    }

    /// The upstream's report of the attempt under way.
    pub(in crate::engine) fn attempt(&self) -> Option<Usage> {
        self.reported
    }

    /// Nobody was there to ask: the attempt cost nothing.
    pub(super) fn unmade(&mut self) {
        self.attempting = false;
    }

    /// The usage of all attempts up to now.
    pub(in crate::engine) fn total(&mut self) -> Usage {
        self.close();
        self.total
    }

    fn close(&mut self) {
        if !std::mem::take(&mut self.attempting) {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes) as u64;
        let estimate = bytes.div_ceil(4);
        let used = match self.reported.take() {
            None => Usage { input_tokens: self.input, output_tokens: estimate, ..Usage::default() },
            // So much text cannot have cost so few tokens.
            Some(reported)
                if !reported.exact
                    || reported.output_tokens.saturating_mul(TOKEN_BYTES) < bytes =>
            {
                let input_tokens =
                    if reported.input_tokens == 0 { self.input } else { reported.input_tokens };
                let output_tokens = reported.output_tokens.max(estimate);
                Usage { input_tokens, output_tokens, exact: false, ..reported }
            }
            Some(reported) => reported,
        };
        let add = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0) + b.unwrap_or(0)),
        };
        self.total = Usage {
            input_tokens: self.total.input_tokens + used.input_tokens,
            output_tokens: self.total.output_tokens + used.output_tokens,
            reasoning_tokens: add(self.total.reasoning_tokens, used.reasoning_tokens),
            cached_input_tokens: add(self.total.cached_input_tokens, used.cached_input_tokens),
            cache_write_input_tokens: add(
                self.total.cache_write_input_tokens,
                used.cache_write_input_tokens,
            ),
            exact: self.total.exact && used.exact,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_add_up_and_silence_is_estimated() {
        let mut meter = Meter::new(7, &Answer::default(), 0);
        meter.begin(false);
        meter.reported(Usage {
            input_tokens: 7,
            output_tokens: 2,
            exact: true,
            ..Usage::default()
        });
        meter.begin(false);
        meter.said(9);
        let total = meter.total();
        assert_eq!((total.input_tokens, total.output_tokens, total.exact), (14, 5, false));
        assert_eq!(meter.total(), total, "asking does not add");
    }

    #[test]
    fn an_answer_that_goes_on_is_counted_once() {
        let report = Usage { input_tokens: 7, output_tokens: 20, exact: true, ..Usage::default() };
        let mut meter = Meter::new(7, &Answer::default(), 0);
        meter.begin(false);
        meter.said(40);
        meter.begin(true);
        meter.said(40);
        meter.reported(report);
        assert_eq!(meter.total(), report, "broken off upstream");
        let heard = Answer { text: "x".repeat(40), ..Answer::default() };
        let mut meter = Meter::resumed(7, &heard, 0);
        meter.begin(true);
        meter.said(40);
        assert_eq!(meter.total().output_tokens, 20, "estimated as one");
        let mut meter = Meter::resumed(7, &heard, 1);
        meter.begin(true);
        meter.reported(report);
        let total = meter.total();
        assert_eq!((total.input_tokens, total.output_tokens, total.exact), (14, 20, false));
    }

    #[test]
    fn a_report_that_is_not_the_last_or_cannot_be_is_a_floor() {
        let used = |reported| {
            let mut meter = Meter::new(7, &Answer::default(), 0);
            meter.begin(false);
            meter.said(40);
            meter.reported(reported);
            let total = meter.total();
            (total.input_tokens, total.output_tokens, total.exact)
        };
        let early = Usage { input_tokens: 25, output_tokens: 1, ..Usage::default() };
        assert_eq!(used(early), (25, 10, false), "said at the start, then cut off");
        let zeros = Usage { exact: true, ..Usage::default() };
        assert_eq!(used(zeros), (7, 10, false), "a server that does not count");
        let mut made_up = Meter::new(7, &Answer::default(), 0);
        made_up.begin(false);
        made_up.said(4000);
        made_up.reported(Usage { input_tokens: 7, output_tokens: 2, exact: true, ..zeros });
        let total = made_up.total();
        assert_eq!((total.output_tokens, total.exact), (1000, false), "a token of 2,000 bytes");
        let exact = Usage { exact: true, ..early };
        assert_eq!(used(exact), (25, 1, true));
    }

    #[test]
    fn the_answer_that_counts_is_counted_over_attempts() {
        let tokens = |output_tokens| Usage { output_tokens, ..Usage::default() };
        let mut meter = Meter::new(7, &Answer::default(), 0);
        meter.begin(false);
        meter.reported(tokens(5));
        meter.said(9);
        assert_eq!(meter.spoken(), 5, "three tokens in a piece");
        meter.begin(false);
        meter.reported(tokens(2));
        meter.repeated(6);
        meter.begin(false);
        assert_eq!(meter.spoken(), 5, "asked once more, nothing was new");
        for told in 1..=3 {
            meter.reported(tokens(told));
        }
        meter.repeated(6);
        meter.said(4);
        assert_eq!(meter.spoken(), 6, "two tokens were said again");
        meter.voided();
        assert_eq!(meter.spoken(), 0);
    }

    #[test]
    fn an_answer_of_an_earlier_owner_is_counted_once() {
        let heard = Answer { text: "x".repeat(40), ..Answer::default() };
        let mut meter = Meter::resumed(7, &heard, 0);
        meter.begin(true);
        assert_eq!(meter.spoken(), 10, "estimated");
        meter.reported(Usage { output_tokens: 15, ..Usage::default() });
        meter.said(4);
        assert_eq!(meter.spoken(), 15, "its server counts all of it");
        let mut meter = Meter::new(7, &heard, 1).without(4);
        meter.begin(false);
        meter.said(4);
        assert_eq!(meter.spoken(), 10 - 4 + 1, "a given text is no part of it");
    }

    #[test]
    fn a_generation_that_never_reached_its_model_used_nothing() {
        let total = Meter::new(7, &Answer::default(), 0).total();
        assert_eq!((total.input_tokens, total.output_tokens, total.exact), (0, 0, true));
    }
}
