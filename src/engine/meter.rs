//! Counts tokens over all attempts; estimates what a provider does not report.
use crate::domain::event::Usage;
use crate::domain::prompt::estimate_tokens;
use crate::domain::transcript::Answer;

/// The usage of one generation.
pub(super) struct Meter {
    input: u64,
    total: Usage,
    reported: Option<Usage>,
    bytes: usize,
    attempting: bool,
}

impl Meter {
    /// For a prompt of about `input` tokens. What `earlier` owners had the model say counts too.
    pub(super) fn new(input: u64, earlier: &Answer, attempts: u32) -> Self {
        let mut total = Usage { exact: true, ..Usage::default() };
        if attempts > 0 {
            total.input_tokens = input * u64::from(attempts);
            total.output_tokens = estimate_tokens(&earlier.text)
                + estimate_tokens(&earlier.reasoning)
                + estimate_tokens(&earlier.refusal);
            total.exact = false;
        }
        Self { input, total, reported: None, bytes: 0, attempting: false }
    }

    pub(super) fn begin(&mut self) {
        self.close();
        self.attempting = true;
    }

    pub(super) fn said(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(super) fn reported(&mut self, usage: Usage) {
        self.reported = Some(usage);
    }

    /// The usage of all attempts up to now.
    pub(super) fn total(&mut self) -> Usage {
        self.close();
        self.total
    }

    fn close(&mut self) {
        if !std::mem::take(&mut self.attempting) {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes) as u64;
        let used = self.reported.take().unwrap_or(Usage {
            input_tokens: self.input,
            output_tokens: bytes.div_ceil(4),
            ..Usage::default()
        });
        let add = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0) + b.unwrap_or(0)),
        };
        self.total = Usage {
            input_tokens: self.total.input_tokens + used.input_tokens,
            output_tokens: self.total.output_tokens + used.output_tokens,
            reasoning_tokens: add(self.total.reasoning_tokens, used.reasoning_tokens),
            cached_input_tokens: add(self.total.cached_input_tokens, used.cached_input_tokens),
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
        meter.begin();
        meter.reported(Usage {
            input_tokens: 7,
            output_tokens: 2,
            exact: true,
            ..Usage::default()
        });
        meter.begin();
        meter.said(9);
        let total = meter.total();
        assert_eq!((total.input_tokens, total.output_tokens, total.exact), (14, 5, false));
        assert_eq!(meter.total(), total, "asking does not add");
    }

    #[test]
    fn a_generation_that_never_reached_its_model_used_nothing() {
        let total = Meter::new(7, &Answer::default(), 0).total();
        assert_eq!((total.input_tokens, total.output_tokens, total.exact), (0, 0, true));
    }
}
