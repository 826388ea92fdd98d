//! A model that was cut off by its window, and not by the limit of the answer: servers say `length`
//! for both.
use super::meter::Meter;
use crate::domain::event::FinishReason;
use crate::domain::generation::Request;
use crate::engine::models::Model;

/// Tokens that a server may keep of a full window. llama.cpp 11434 keeps none (2003 and 45 of
/// 2048).
const SPARE: u64 = 1;

/// The reason for an end: `context_window` where prompt and answer fill the window of `model`.
pub(in crate::engine) fn reason(
    reason: FinishReason,
    model: &Model,
    request: &Request,
    meter: &Meter,
) -> FinishReason {
    let is_full = || {
        let window = u64::from(model.context_tokens?.get());
        let used = meter.attempt()?;
        let limit = request.prompt.parameters.max_output_tokens.map(u64::from);
        let within = limit.is_none_or(|limit| used.output_tokens < limit);
        Some(within && used.input_tokens + used.output_tokens + SPARE >= window)
    };
    let full = reason == FinishReason::Length && is_full() == Some(true);
    if full { FinishReason::ContextWindow } else { reason }
}
