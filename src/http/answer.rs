//! The body of every answer. It ends when its terms do, and then leaves one log line: the request,
//! its result and its duration. Never a query, a header or a body: those hold prompts and
//! credentials.
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};
use bytes::Bytes;
use tokio::time::Instant;

use super::auth::Terms;
use super::repeats;
use super::sse::GENERATION;
use super::trace::REQUEST_ID;

/// Wraps the whole table of routes.
///
/// # Errors
/// Those of the routes.
pub async fn answer<B: MessageBody + Unpin + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let begun = Instant::now();
    let method = request.method().clone();
    let request_id = super::trace::request_id(request.request());
    let trace_id = super::trace::of(request.request()).map(|trace| trace.trace_id());
    let mut response = next.call(request).await?;
    response.headers_mut().insert(REQUEST_ID, request_id.clone());
    let generation = response.headers().get(GENERATION).and_then(|id| id.to_str().ok());
    let route = response.request().match_pattern().unwrap_or_else(|| "unknown".into());
    let about = Box::new(About {
        begun,
        method,
        tenant: super::tenant(response.request()).as_str().to_owned(),
        status: response.status().as_u16(),
        head_ms: milliseconds(begun),
        generation: generation.map(str::to_owned),
        route,
        trace_id,
        request_id,
    });
    let attached = response.request().extensions().get::<repeats::Attached>().is_some();
    if attached && response.status().is_success() {
        response.headers_mut().insert(repeats::ATTACHED, HeaderValue::from_static("1"));
    }
    let cut = response.request().extensions_mut().remove::<repeats::Cut>();
    let terms = response.request().extensions_mut().remove::<Terms>();
    let line = AccessLogLine { bytes: 0, about };
    Ok(response.map_body(move |_, body| TrackedBody { body: Some(body), terms, cut, line }))
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The facts about a request; written when it is dropped, with its body.
struct AccessLogLine {
    bytes: u64,
    about: Box<About>,
}

/// The part that does not change while the body goes out.
struct About {
    begun: Instant,
    method: Method,
    route: String,
    tenant: String,
    status: u16,
    /// Until the head of the answer.
    head_ms: u64,
    generation: Option<String>,
    trace_id: Option<String>,
    request_id: HeaderValue,
}

impl Drop for AccessLogLine {
    fn drop(&mut self) {
        let about = &self.about;
        // Routes that are polled every second, and a page's files, are of no interest unless they
        // fail.
        let quiet = about.route.starts_with("/static/")
            || matches!(about.route.as_str(), "/healthz" | "/health" | "/readyz" | "/metrics");
        if about.status < 400 && quiet {
            return;
        }
        tracing::info!(
            target: "lastword::request",
            method = about.method.as_str(),
            route = about.route,
            status = about.status,
            tenant = about.tenant,
            generation = about.generation,
            trace_id = about.trace_id,
            request_id = about.request_id.to_str().unwrap_or_default(),
            head_ms = about.head_ms,
            ms = milliseconds(about.begun),
            bytes = self.bytes,
            "request"
        );
    }
}

/// One body around the route's, and not one for each concern: an event goes through all of them.
struct TrackedBody<B> {
    /// None once it has ended. Its reader's end is then on its way to the log, before the client
    /// sees the end and comes back.
    body: Option<B>,
    terms: Option<Terms>,
    /// Told when the terms end the stream.
    cut: Option<repeats::Cut>,
    line: AccessLogLine,
}

impl<B: MessageBody + Unpin> MessageBody for TrackedBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.as_ref().map_or(BodySize::Sized(0), MessageBody::size)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let Self { body: whole, terms, cut, line } = &mut *self;
        let Some(body) = whole else { return Poll::Ready(None) };
        let lasts = terms.as_mut().and_then(|terms| terms.lasts.as_mut());
        if lasts.as_ref().is_some_and(|lasts| lasts.is_over()) {
            return Self::end_early(whole, cut.as_ref());
        }
        match Pin::new(body).poll_next(cx) {
            Poll::Ready(Some(Ok(bytes))) => {
                line.bytes += bytes.len() as u64;
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(ended) => Poll::Ready(ended),
            Poll::Pending => match lasts.map(|lasts| lasts.poll(cx)) {
                Some(Poll::Ready(())) => Self::end_early(whole, cut.as_ref()),
                Some(Poll::Pending) | None => Poll::Pending,
            },
        }
    }
}

impl<B: MessageBody> TrackedBody<B> {
    /// Ends a stream early.
    fn end_early(
        body: &mut Option<B>,
        cut: Option<&repeats::Cut>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        cut.into_iter().for_each(repeats::Cut::set);
        *body = None;
        Poll::Ready(None)
    }
}
