//! How generations end, for every reason there is.
use super::policy;
use super::stop_conditions::Stop;
use crate::domain::event::{Done, ErrorCode, Failure, FinishReason, Status, Usage};
use crate::domain::transcript::Answer;
use crate::ports::ProviderError;

/// The model came to its end.
pub(super) fn finished(reason: FinishReason, raw: Option<String>) -> Done {
    Done { provider_finish_reason: raw, finish_reason: Some(reason), ..ended(reason.status()) }
}

/// The ending for a reason to stop; `None` if somebody else goes on.
pub(in crate::engine) fn stopped(stop: Stop) -> Option<Done> {
    match stop {
        Stop::Cancelled | Stop::Abandoned => Some(ended(Status::Cancelled)),
        Stop::TimeLimit => Some(finished(FinishReason::TimeLimit, None)),
        Stop::LetGo | Stop::HandOver => None,
    }
}

/// The ending by a failure of ours, or of nobody who could be asked again.
pub(in crate::engine) fn failed(error: Failure) -> Done {
    Done { error: Some(error.clone()), ..ended(policy::ending(error.code)) }
}

/// The ending of `answer` by a loss that is not made good.
pub(in crate::engine) fn lost(error: ProviderError, answer: &Answer) -> Done {
    let status = policy::ending_of(&error, answer);
    Done { error: Some(error.into()), ..ended(status) }
}

/// An ending without a reason.
pub(in crate::engine) fn ended(status: Status) -> Done {
    Done {
        status,
        finish_reason: None,
        provider_finish_reason: None,
        usage: Usage::default(),
        error: None,
    }
}

/// The stream of the model ended before the model did.
pub(super) fn truncated() -> ProviderError {
    ProviderError {
        code: ErrorCode::UpstreamTruncated,
        message: "the model's answer broke off".into(),
        retryable: true,
        retry_after: None,
        upstream: None,
    }
}

/// Nothing could be written for too long.
pub(super) fn log_outage() -> Failure {
    Failure {
        code: ErrorCode::StorageUnavailable,
        message: "the log could not be written for too long".into(),
        retryable: true,
        retry_after_ms: None,
        upstream: None,
    }
}
