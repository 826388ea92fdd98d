//! The guard between an upstream's socket and whoever parses its events, made for one attempt.
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use tokio::time::Instant;

use super::adjust::Dress;
use super::answer::{expect_stream, no_answer, rate_limits};
use super::events::Events;
use super::probe::Probe;
use crate::domain::event::ErrorCode;
use crate::domain::trace::TraceParent;
use crate::ports::ProviderError;

/// The usual limit of an event, in bytes: a picture or a sound may come in one. The last events of
/// Responses repeat the whole answer.
pub(crate) const MAX_EVENT: usize = 16 << 20;

const TRACEPARENT: http::HeaderName = http::HeaderName::from_static("traceparent");

/// How long to wait for an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Duration,
    /// From the request to the head of the answer.
    pub first_byte: Duration,
    /// From the request to the first event, once the head is there: a long prompt is being read.
    pub first_event: Duration,
    /// Between any two bytes after that: the link is dead.
    pub idle_bytes: Duration,
    /// Between any two events after that: the model is stalled, although pings may still come.
    pub idle_events: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(120),
            first_event: Duration::from_secs(600),
            idle_bytes: Duration::from_secs(60),
            idle_events: Duration::from_secs(120),
        }
    }
}

/// Executes one attempt's request. Never tries again by itself.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) http: reqwest::Client,
    pub(crate) probe: Arc<Probe>,
    pub(crate) timeouts: Timeouts,
    /// The largest event, in bytes.
    pub(crate) max_event: usize,
    /// Passed on as it came: this service adds no span of its own to it.
    pub(crate) trace: Option<TraceParent>,
    /// async-openai sends `Authorization: Bearer` even without a key: then it is taken off.
    pub(crate) has_key: bool,
    /// The configuration's additions.
    pub(crate) dress: Arc<Dress>,
}

impl Guard {
    /// Sends `request` and returns the events of the answer.
    ///
    /// # Errors
    /// No connection, no answer in time, a status that is no success, no event stream.
    pub(crate) async fn execute(
        self,
        mut request: reqwest::Request,
    ) -> Result<Events, ProviderError> {
        if !self.has_key {
            request.headers_mut().remove(AUTHORIZATION);
        }
        self.dress.put_on(&mut request);
        let trace = self.trace.map(|trace| http::HeaderValue::try_from(trace.to_string()));
        if let Some(Ok(trace)) = trace {
            request.headers_mut().insert(TRACEPARENT, trace);
        }
        let sent_at = Instant::now();
        let first_byte = sent_at + self.timeouts.first_byte;
        let sent = tokio::time::timeout_at(first_byte, self.http.execute(request)).await;
        let response = sent.map_err(|_| not_begun(self.timeouts.first_byte))?.map_err(no_answer)?;
        self.probe.note_request_id(response.headers());
        self.probe.note_status(response.status().as_u16());
        self.probe.note_rate_limits(rate_limits(response.headers()));
        let body = expect_stream(response, self.max_event, first_byte).await?;
        Ok(Events::new(body, self, sent_at))
    }
}

/// Nothing came.
pub(crate) fn not_begun(within: Duration) -> ProviderError {
    let message = format!("the model did not begin to answer within {within:?}");
    lost(ErrorCode::UpstreamTimeout, message, false)
}

/// It cannot be read on.
pub(crate) fn too_large(limit: usize) -> ProviderError {
    let message = format!("the model sent an event of more than {limit} bytes");
    lost(ErrorCode::UpstreamProtocol, message, false)
}

/// The stream ended before the model did. Another attempt may succeed.
pub(crate) fn truncated(message: &str) -> ProviderError {
    lost(ErrorCode::UpstreamTruncated, message.into(), true)
}

/// The request did not even get to the guard.
pub(crate) fn unsent() -> ProviderError {
    let message = "the request could not be made; see the settings of the model";
    lost(ErrorCode::Internal, message.into(), false)
}

/// A loss of that kind.
pub(crate) fn lost(code: ErrorCode, message: String, retryable: bool) -> ProviderError {
    ProviderError { code, message, retryable, retry_after: None, upstream: None }
}
