//! The decision after a lost attempt: pure, without I/O.
use std::time::Duration;

use crate::domain::event::{ErrorCode, Event, LossReason, Status};
use crate::domain::generation::Request;
use crate::domain::id::Seq;
use crate::domain::source::Source;
use crate::domain::transcript::{Answer, Transcript};
use crate::engine::models::{Model, OnLoss};
use crate::ports::{Continuation, ProviderError};

/// Attempts of one generation by all its owners: a prompt that kills its server must not go
/// round for ever.
pub(super) const MAX_ATTEMPTS_EVER: u32 = 16;
/// The first pause before another attempt; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause, also where an upstream asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How to go on.
#[derive(Debug, PartialEq)]
pub(in crate::engine) enum Next {
    /// Nothing was said yet: simply ask again.
    Again,
    /// This event begins an attempt that continues the answer.
    Continue(Event),
    /// This event voids the answer, and a new attempt begins.
    Restart(Event),
    /// It is over.
    End,
}

/// The facts about a generation beside its text.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Facts {
    /// The model's upstream keeps the answer.
    pub(in crate::engine) kept: bool,
    /// The answer has a format: servers begin their grammar anew in a continuation.
    pub(in crate::engine) structured: bool,
}

impl Facts {
    /// Of a request whose answer is `kept` or not.
    pub(in crate::engine) fn of(request: &Request, kept: bool) -> Self {
        Self { kept, structured: is_structured(request) }
    }
}

/// Whether a grammar rules the answer. It reads the client's body, so it is asked once.
pub(super) fn is_structured(request: &Request) -> bool {
    request.prompt.parameters.openai.response_format.is_some()
        || request.source.as_ref().is_some_and(Source::has_grammar)
}

/// Decides how to go on when an attempt with `transcript` was lost for `reason`.
pub(in crate::engine) fn next(
    model: &Model,
    transcript: &Transcript,
    reason: LossReason,
    facts: Facts,
) -> Next {
    let attempt = transcript.attempts + 1;
    if attempt > MAX_ATTEMPTS_EVER {
        return Next::End;
    }
    if transcript.answer.is_empty() {
        return match reason {
            LossReason::Upstream => Next::Again,
            LossReason::Takeover => Next::Continue(Event::Resumed { reason, attempt }),
        };
    }
    match model.on_loss {
        OnLoss::Interrupt => Next::End,
        OnLoss::Continue if can_continue(model, &transcript.answer, facts) => {
            Next::Continue(Event::Resumed { reason, attempt })
        }
        OnLoss::Continue | OnLoss::Restart => {
            Next::Restart(Event::Superseded { after: Seq::ZERO.next(), reason })
        }
    }
}

/// Whether the model goes on behind `answer`.
pub(in crate::engine) fn can_continue(model: &Model, answer: &Answer, facts: Facts) -> bool {
    if facts.kept && model.continuation() == Continuation::ProviderResume {
        return true;
    }
    let structured = facts.structured || model.recovery.structured;
    let free = !structured || model.recovery.continues_structured;
    match model.continuation_without() {
        Continuation::None | Continuation::ProviderResume => false,
        Continuation::Instruct => free && is_plain_text(answer),
        Continuation::Prefix => {
            let thinks = model.recovery.continues_thoughts && is_thoughts(answer);
            free && (is_plain_text(answer) || thinks)
        }
    }
}

/// Whether a draining instance gives the generation to another at once. It does where the next
/// owner continues exactly, or where nothing was said yet. The others may end where they are.
pub(in crate::engine) fn may_move(model: &Model, transcript: &Transcript, facts: Facts) -> bool {
    let exact = match model.continuation() {
        Continuation::None | Continuation::Instruct => transcript.answer.is_empty(),
        Continuation::Prefix => true,
        // Until its name is known, what the upstream makes would be made, and paid for, twice.
        Continuation::ProviderResume => {
            let begun = !transcript.answer.is_empty();
            facts.kept || (begun && model.continuation_without() == Continuation::Prefix)
        }
    };
    match next(model, transcript, LossReason::Takeover, facts) {
        Next::Continue(_) | Next::Again => exact,
        Next::Restart(_) | Next::End => false,
    }
}

/// A half-made tool call or refusal cannot be continued from its text; an answer can. Behind
/// thoughts alone, and a blank between them and the text, a model thinks anew.
fn is_plain_text(answer: &Answer) -> bool {
    let said = if answer.has_thought() { answer.text.trim() } else { answer.text.as_str() };
    !said.is_empty() && answer.refusal.is_empty() && answer.tool_calls.is_empty()
}

/// Whether it broke off inside the thoughts, before the answer itself.
fn is_thoughts(answer: &Answer) -> bool {
    let silent = answer.text.is_empty() && answer.refusal.is_empty();
    silent && answer.tool_calls.is_empty() && !answer.reasoning.is_empty()
}

/// Whether the model may be asked again after `error`, when `made` attempts were made here.
///
/// Whether a broken answer gets another attempt. It may get one even for errors that are final at a
/// start: its cost is spent, and its text can be kept.
pub(super) fn may_retry(
    model: &Model,
    transcript: &Transcript,
    error: &ProviderError,
    made: u32,
) -> bool {
    let broke_off = !transcript.answer.is_empty() && error.code == ErrorCode::UpstreamUnavailable;
    (error.retryable || broke_off) && made < model.max_attempts
}

/// Whether another model may answer instead. It may not where broken answers shall stay as they
/// are, nor where the model was not at fault.
pub(super) fn may_fall_back(model: &Model, transcript: &Transcript, error: &ProviderError) -> bool {
    let keeps = model.on_loss == OnLoss::Interrupt && !transcript.answer.is_empty();
    !keeps && is_upstream(error.code)
}

fn is_upstream(code: ErrorCode) -> bool {
    match code {
        ErrorCode::UpstreamUnavailable
        | ErrorCode::UpstreamRateLimited
        | ErrorCode::UpstreamRejected
        | ErrorCode::UpstreamTimeout
        | ErrorCode::UpstreamStalled
        | ErrorCode::UpstreamProtocol
        | ErrorCode::UpstreamTruncated => true,
        ErrorCode::ServerLost | ErrorCode::StorageUnavailable | ErrorCode::Internal => false,
    }
}

/// How long to wait before attempt `made + 1`; `chance` in 0..1 spreads many callers.
pub(in crate::engine) fn pause(error: &ProviderError, made: u32, chance: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << made.saturating_sub(1).min(10));
    let jittered = doubled.mul_f64(0.5 + chance / 2.0);
    error.retry_after.unwrap_or_default().max(jittered).min(LONGEST_PAUSE)
}

/// Whether nobody was there to answer: a server that starts again, or loads its model.
pub(super) fn is_away(error: &ProviderError) -> bool {
    error.code == ErrorCode::UpstreamUnavailable && error.retryable
}

/// Whether `error` is a no to going on from a text. It says nothing about the prompt, which was
/// taken before.
pub(super) fn refuses_to_continue(model: &Model, error: &ProviderError) -> bool {
    let status = error.upstream.as_ref().map_or(0, |said| said.status);
    let asked = match model.continuation_without() {
        Continuation::Prefix | Continuation::Instruct => true,
        Continuation::None | Continuation::ProviderResume => false,
    };
    asked
        && error.code == ErrorCode::UpstreamRejected
        && matches!(status, 400 | 404..=407 | 409..=428 | 430..=499)
}

/// The ending of an answer that is lost: nobody said no where nobody was there.
pub(super) fn ending_of(error: &ProviderError, answer: &Answer) -> Status {
    if is_away(error) && !answer.is_empty() {
        return Status::Interrupted;
    }
    ending(error.code)
}

/// `failed` where somebody said no, `interrupted` where we lost it.
pub(in crate::engine) fn ending(code: ErrorCode) -> Status {
    match code {
        ErrorCode::UpstreamUnavailable
        | ErrorCode::UpstreamRateLimited
        | ErrorCode::UpstreamRejected
        | ErrorCode::UpstreamTimeout
        | ErrorCode::UpstreamProtocol
        | ErrorCode::Internal => Status::Failed,
        ErrorCode::UpstreamStalled
        | ErrorCode::UpstreamTruncated
        | ErrorCode::ServerLost
        | ErrorCode::StorageUnavailable => Status::Interrupted,
    }
}
