//! The guard between an upstream's socket and whoever parses its events.
//!
//! It stands under the HTTP providers as a tower service, made for one attempt. What it lets
//! through is sane: whole events of bounded size, in UTF-8, at most 64 ahead of their
//! consumer. What it stops is noted in the probe, because the libraries above it report a
//! broken stream as a finished one.
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use tokio::time::{Instant, Sleep, sleep_until};

use super::answer::{expect_stream, no_answer};
use super::framer::{Frame, Framer, TooLarge};
use super::probe::Probe;
use super::text::escape_byte;
use crate::domain::event::ErrorCode;
use crate::domain::trace::TraceParent;
use crate::ports::ProviderError;

/// How many events may be ahead of their consumer: enough to keep a fast model busy, little
/// enough to be no memory.
pub(crate) const WINDOW: usize = 64;

/// Larger than any event that a chat model has reason to send, in bytes.
pub(crate) const MAX_EVENT: usize = 1 << 20;

const TRACEPARENT: http::HeaderName = http::HeaderName::from_static("traceparent");

/// How long to wait for an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Duration,
    /// From the request to the first byte of the answer's body.
    pub first_byte: Duration,
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
}

impl tower::Service<HttpRequestFactory> for Guard {
    type Response = reqwest::Response;
    type Error = OpenAIError;
    type Future = Pin<Box<dyn Future<Output = Result<reqwest::Response, OpenAIError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, factory: HttpRequestFactory) -> Self::Future {
        let guard = self.clone();
        Box::pin(async move {
            let request = factory.build().await?;
            let probe = guard.probe.clone();
            guard.execute(request).await.map_err(|loss| {
                probe.fail(loss);
                OpenAIError::InvalidArgument("see the probe".into())
            })
        })
    }
}

impl Guard {
    /// Sends `request` and returns the answer with its body guarded.
    ///
    /// # Errors
    /// No connection, no answer in time, a status that is no success, no event stream.
    pub(crate) async fn execute(
        self,
        mut request: reqwest::Request,
    ) -> Result<reqwest::Response, ProviderError> {
        if !self.has_key {
            request.headers_mut().remove(AUTHORIZATION);
        }
        let trace = self.trace.map(|trace| http::HeaderValue::try_from(trace.to_string()));
        if let Some(Ok(trace)) = trace {
            request.headers_mut().insert(TRACEPARENT, trace);
        }
        let first_byte = Instant::now() + self.timeouts.first_byte;
        let sent = tokio::time::timeout_at(first_byte, self.http.execute(request)).await;
        let response = sent.map_err(|_| no_first_byte(self.timeouts))?.map_err(no_answer)?;
        self.probe.note_request_id(response.headers());
        self.probe.note_status(response.status().as_u16());
        let response = expect_stream(response).await?;
        let body = Body {
            upstream: Some(response.bytes_stream().boxed()),
            framer: Framer::new(self.max_event),
            max_event: self.max_event,
            probe: self.probe,
            timeouts: self.timeouts,
            first_byte: Some(first_byte),
            last_byte: first_byte,
            last_event: first_byte,
            alarm: None,
        };
        let events = stream::unfold(body, Body::next);
        let mut guarded = http::Response::new(reqwest::Body::wrap_stream(events));
        let event_stream = http::HeaderValue::from_static("text/event-stream");
        guarded.headers_mut().insert(CONTENT_TYPE, event_stream);
        Ok(guarded.into())
    }
}

/// The body's state between two events.
struct Body {
    /// `None` once it has ended.
    upstream: Option<BoxStream<'static, reqwest::Result<Bytes>>>,
    framer: Framer,
    max_event: usize,
    probe: Arc<Probe>,
    timeouts: Timeouts,
    /// When the first byte must be there; `None` once it is.
    first_byte: Option<Instant>,
    last_byte: Instant,
    last_event: Instant,
    /// Rings at the deadline, or before it.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// Nothing came in time.
struct Silent;

impl Body {
    async fn next(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)> {
        match self.frame().await {
            Ok(Some(frame)) if frame.data.trim_ascii() == b"[DONE]" => self.probe.note_done(),
            Ok(Some(frame)) => {
                self.probe.wait_for_room(frame.data.len()).await;
                // The consumer's time is not the upstream's.
                self.last_byte = Instant::now();
                self.last_event = self.last_byte;
                return Some((Ok(sane(&frame)), self));
            }
            Ok(None) => {}
            Err(loss) => self.probe.fail(loss),
        }
        None
    }

    async fn frame(&mut self) -> Result<Option<Frame>, ProviderError> {
        loop {
            if let Some(frame) = self.framer.next().map_err(|TooLarge| too_large(self.max_event))? {
                return Ok(Some(frame));
            }
            if self.upstream.is_none() {
                return Ok(None);
            }
            match poll_fn(|cx| self.poll_bytes(cx)).await {
                Ok(Some(Ok(bytes))) => {
                    self.last_byte = Instant::now();
                    if self.first_byte.take().is_some() {
                        self.last_event = self.last_byte;
                    }
                    self.framer.push(bytes);
                }
                Ok(Some(Err(_))) => return Err(truncated("the connection to the model broke")),
                Ok(None) => {
                    self.upstream = None;
                    return Ok(self.framer.finish());
                }
                Err(Silent) => return Err(self.silence()),
            }
        }
    }

    /// What comes next, or that it is too late for it. To make a timer for each piece is to take the
    /// runtime's lock twice: this one is set anew when it rings, or would ring too late.
    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<reqwest::Result<Bytes>>, Silent>> {
        let Some(upstream) = &mut self.upstream else { return Poll::Ready(Ok(None)) };
        if let Poll::Ready(bytes) = upstream.poll_next_unpin(cx) {
            return Poll::Ready(Ok(bytes));
        }
        let deadline = self.deadline();
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() > deadline {
            alarm.as_mut().reset(deadline);
        }
        loop {
            ready!(alarm.as_mut().poll(cx));
            if deadline <= Instant::now() {
                return Poll::Ready(Err(Silent));
            }
            alarm.as_mut().reset(deadline);
        }
    }

    fn deadline(&self) -> Instant {
        let bytes = self.last_byte + self.timeouts.idle_bytes;
        let events = self.last_event + self.timeouts.idle_events;
        self.first_byte.unwrap_or_else(|| bytes.min(events))
    }

    fn silence(&self) -> ProviderError {
        if self.first_byte.is_some() {
            return no_first_byte(self.timeouts);
        }
        let dead = self.last_byte.elapsed() >= self.timeouts.idle_bytes;
        let (what, time) = if dead {
            ("the connection to the model has been silent", self.timeouts.idle_bytes)
        } else {
            ("the model has sent nothing but keep-alives", self.timeouts.idle_events)
        };
        lost(ErrorCode::UpstreamStalled, format!("{what} for {time:?}"), true)
    }
}

/// One event as the parser above can stand it: data lines only, and valid UTF-8.
fn sane(frame: &Frame) -> Bytes {
    let text = frame.data.utf8_chunks().fold(String::new(), |mut text, chunk| {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| escape_byte(*byte)));
        text
    });
    let data = if frame.error { as_error(text) } else { text };
    let mut event = String::with_capacity(data.len() + 16);
    for line in data.split('\n') {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event.into()
}

/// The data of an `error` event in the form in which errors come inside the data.
fn as_error(text: String) -> String {
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| text.into());
    if value.get("error").is_some() {
        return value.to_string();
    }
    serde_json::json!({ "error": value }).to_string()
}

fn no_first_byte(timeouts: Timeouts) -> ProviderError {
    let message = format!("the model did not begin to answer within {:?}", timeouts.first_byte);
    lost(ErrorCode::UpstreamTimeout, message, false)
}

fn too_large(limit: usize) -> ProviderError {
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
    ProviderError { code, message, retryable, retry_after: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sane_text(data: &[u8], error: bool) -> String {
        let frame = Frame { data: data.to_vec(), error };
        String::from_utf8(sane(&frame).to_vec()).unwrap()
    }

    #[test]
    fn what_is_let_through_is_one_event_in_utf8() {
        assert_eq!(sane_text(b"{\"a\":1}", false), "data: {\"a\":1}\n\n");
        assert_eq!(sane_text(b"{\n}", false), "data: {\ndata: }\n\n");
        assert_eq!(sane_text(b"\"caf\xE9\"", false), "data: \"caf\\udce9\"\n\n");
        assert_eq!(sane_text(b"no", true), "data: {\"error\":\"no\"}\n\n");
        assert_eq!(sane_text(b"{\"code\":5}", true), "data: {\"error\":{\"code\":5}}\n\n");
        assert_eq!(sane_text(b"{\"error\":5}", true), "data: {\"error\":5}\n\n");
    }

    fn body(upstream: BoxStream<'static, reqwest::Result<Bytes>>, timeouts: Timeouts) -> Body {
        let now = Instant::now();
        Body {
            upstream: Some(upstream),
            framer: Framer::new(MAX_EVENT),
            max_event: MAX_EVENT,
            probe: Arc::new(Probe::new()),
            timeouts,
            first_byte: Some(now + timeouts.first_byte),
            last_byte: now,
            last_event: now,
            alarm: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_window_is_let_through() {
        let flood = stream::repeat_with(|| Ok(Bytes::from_static(b"data: 1\n\ndata: 2\n\n")));
        let body = body(flood.boxed(), Timeouts::default());
        let probe = body.probe.clone();
        let mut events = stream::unfold(body, Body::next).boxed();
        let mut let_through = 0;
        let hour = Duration::from_secs(3600);
        while tokio::time::timeout(hour, events.next()).await.is_ok_and(|e| e.is_some()) {
            let_through += 1;
        }
        assert_eq!(let_through, WINDOW);
        probe.make_room();
        assert!(events.next().await.is_some(), "and the wait counts for no timeout");
        assert_eq!(probe.loss(), None);
    }

    /// The code of the loss, and after how many seconds, when each of `pieces` comes after so many.
    async fn silence(pieces: &[(u64, &'static str)]) -> (ErrorCode, u64) {
        let start = Instant::now();
        let slow = stream::iter(pieces.to_vec()).then(|(seconds, text)| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(Bytes::from_static(text.as_bytes()))
        });
        let body = body(slow.chain(stream::pending()).boxed(), Timeouts::default());
        let probe = body.probe.clone();
        let taken = stream::unfold(body, Body::next).for_each(|_| async { probe.make_room() });
        taken.await;
        (probe.loss().unwrap().code, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn three_kinds_of_silence() {
        use ErrorCode::{UpstreamStalled as Stalled, UpstreamTimeout as Timeout};
        let event = "data: 1\n\n";
        assert_eq!(silence(&[]).await, (Timeout, 120), "no byte at all");
        assert_eq!(silence(&[(1, event)]).await, (Stalled, 61), "no byte after the first");
        assert_eq!(silence(&[(100, event)]).await, (Stalled, 160), "nor after a late one");
        let pings = &[(50, ":\n"), (50, ":\n"), (50, ":\n"), (50, ":\n"), (50, ":\n")];
        assert_eq!(silence(pings).await, (Stalled, 170), "keep-alives do not fool it");
        let slow = &[(59, event), (59, event), (59, event)];
        assert_eq!(silence(slow).await, (Stalled, 237), "slow is not silent");
    }
}
