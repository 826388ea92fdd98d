//! The usage that a stream tells before its end.
use serde_json::{Value, json};

use crate::domain::generation::Generation;
use crate::domain::prompt::BYTES_PER_TOKEN;

/// A resume needs it from the first request, to make the same frames.
pub(crate) const INCLUDE_USAGE: &str = "include_usage";
/// The same of `stream_options.continuous_usage_stats`, which vLLM and SGLang have.
pub(crate) const CONTINUOUS: &str = "continuous_usage_stats";

/// The `usage` of every chunk but the last.
#[derive(Debug)]
pub(crate) enum Running {
    /// The client did not ask for usage.
    Absent,
    /// `null`, as OpenAI sends it.
    Null,
    /// The counts so far: an estimate, since upstreams report at the end.
    Estimate { input: u64, said: u64 },
}

impl Running {
    pub(crate) fn of(row: &Generation, include_usage: bool) -> Self {
        match (include_usage, row.request.echo.contains_key(CONTINUOUS)) {
            (false, _) => Self::Absent,
            (true, false) => Self::Null,
            (true, true) => Self::Estimate { input: row.request.prompt.estimated_input(), said: 0 },
        }
    }

    /// Whether a last chunk tells the usage.
    pub(crate) fn is_wanted(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// Counts what was said.
    pub(crate) fn add(&mut self, text: &str) {
        self.count(text.len());
    }

    /// Counts so many bytes of text.
    pub(crate) fn count(&mut self, bytes: usize) {
        if let Self::Estimate { said, .. } = self {
            *said += bytes as u64;
        }
    }

    /// Begins again: what was said is void.
    pub(crate) fn reset(&mut self) {
        if let Self::Estimate { said, .. } = self {
            *said = 0;
        }
    }

    /// The field of the next chunk.
    pub(crate) fn field(&self) -> Option<Value> {
        match self {
            Self::Absent => None,
            Self::Null => Some(Value::Null),
            Self::Estimate { input, said } => {
                let output = said.div_ceil(BYTES_PER_TOKEN);
                Some(json!({
                    "prompt_tokens": input, "completion_tokens": output,
                    "total_tokens": input + output, "estimated": true,
                }))
            }
        }
    }
}
