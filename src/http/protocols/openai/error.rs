//! Refusals that come of an answer's ending.
use actix_web::HttpRequest;
use actix_web::http::StatusCode;

use crate::domain::event::{Done, ErrorCode, Status};
use crate::domain::generation::Generation;
use crate::domain::upstream_words::upstream_words;
use crate::engine::Engine;
use crate::http::dialect::Dialect;
use crate::http::dialect_reader::Reader;
use crate::http::problem::Problem;
use crate::http::while_allowed;

/// Holds the head of a streamed answer until the model's server has accepted the prompt. A refusal
/// is then a status, as from the server itself. `of` is the generation, and whether a repeat would
/// be the same start.
pub(crate) async fn held<D: Dialect>(
    engine: &Engine,
    request: &HttpRequest,
    reader: &mut Reader<D>,
    of: (&Generation, bool),
) -> Result<(), Problem> {
    let at = super::at(of.0);
    let failed = while_allowed(request, async { Ok(reader.hold(engine, &at).await) }).await?;
    let refusal = failed.and_then(|done| of_ending(Some(done), of.1));
    refusal.map_or(Ok(()), Err)
}

/// The refusal that an ending amounts to for a client that waits for an answer in one piece.
pub(in crate::http) fn of_ending(done: Option<&Done>, repeatable: bool) -> Option<Problem> {
    let Some(done) = done else {
        let detail = "the server stops; the generation goes on and can be retrieved by its id";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stream_cut", detail);
        return Some(problem.retry_after(1).retry(repeatable));
    };
    match done.status {
        Status::Completed | Status::Incomplete => return None,
        Status::Cancelled => {
            let detail = "the generation was cancelled";
            return Some(Problem::new(StatusCode::CONFLICT, "cancelled", detail).retry(false));
        }
        Status::Failed
        | Status::Interrupted
        | Status::Queued
        | Status::Running
        | Status::Cancelling => {}
    }
    let failure = done.error.as_ref()?;
    let (status, code) = meaning(failure.code);
    let refused = failure.upstream.as_ref().filter(|said| matches!(said.status, 400..=599));
    let own = refused.and_then(|said| StatusCode::from_u16(said.status).ok());
    let message = refused.map_or(failure.message.as_str(), |_| upstream_words(&failure.message));
    let problem = Problem::new(own.unwrap_or(status), code, message.to_owned());
    let mut problem = problem.said_upstream(refused.cloned());
    if let Some(ms) = failure.retry_after_ms {
        problem = problem.retry_after(u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX));
    }
    // A repeat under the same key would get this very ending again.
    Some(problem.retry(failure.retryable && !repeatable))
}

fn meaning(code: ErrorCode) -> (StatusCode, &'static str) {
    match code {
        ErrorCode::UpstreamRateLimited => (StatusCode::TOO_MANY_REQUESTS, "upstream_rate_limited"),
        ErrorCode::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"),
        ErrorCode::UpstreamUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "upstream_unavailable"),
        ErrorCode::UpstreamRejected => (StatusCode::BAD_GATEWAY, "upstream_rejected"),
        ErrorCode::UpstreamStalled => (StatusCode::BAD_GATEWAY, "upstream_stalled"),
        ErrorCode::UpstreamProtocol => (StatusCode::BAD_GATEWAY, "upstream_protocol"),
        ErrorCode::UpstreamTruncated => (StatusCode::BAD_GATEWAY, "upstream_truncated"),
        ErrorCode::ServerLost => (StatusCode::SERVICE_UNAVAILABLE, "server_lost"),
        ErrorCode::StorageUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "storage_unavailable"),
        ErrorCode::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}
