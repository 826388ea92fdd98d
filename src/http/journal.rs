//! One log line a request, when its answer is out: what was asked, what came of it, how long it
//! took. Never a query, a header or a body: those hold prompts and credentials.
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::Error;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use bytes::Bytes;
use tokio::time::Instant;

use super::sse::GENERATION;

/// Wraps the whole table of routes.
///
/// # Errors
/// Those of the routes.
pub async fn journal<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let begun = Instant::now();
    let method = request.method().clone();
    let trace_id = super::trace::of(request.request()).map(|trace| trace.trace_id());
    let response = next.call(request).await?;
    let generation = response.headers().get(GENERATION).and_then(|id| id.to_str().ok());
    let route = response.request().match_pattern().unwrap_or_else(|| "unknown".into());
    let line = Line {
        begun,
        method,
        tenant: super::tenant(response.request()).as_str().to_owned(),
        status: response.status().as_u16(),
        head_ms: milliseconds(begun),
        generation: generation.map(str::to_owned),
        route,
        trace_id,
        bytes: 0,
    };
    Ok(response.map_body(move |_, body| Journaled { body: Box::pin(body), line }))
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What is known of a request; written when it is dropped, with its body.
struct Line {
    begun: Instant,
    method: Method,
    route: String,
    tenant: String,
    status: u16,
    /// Until the head of the answer.
    head_ms: u64,
    generation: Option<String>,
    trace_id: Option<String>,
    bytes: u64,
}

impl Drop for Line {
    fn drop(&mut self) {
        // What asks every second is of no interest unless it fails.
        if self.status < 400 && matches!(self.route.as_str(), "/healthz" | "/readyz" | "/metrics") {
            return;
        }
        tracing::info!(
            target: "lastword::request",
            method = self.method.as_str(),
            route = self.route,
            status = self.status,
            tenant = self.tenant,
            generation = self.generation,
            trace_id = self.trace_id,
            head_ms = self.head_ms,
            ms = milliseconds(self.begun),
            bytes = self.bytes,
            "request"
        );
    }
}

/// A body that is counted, and that ends its request's line.
struct Journaled<B> {
    body: Pin<Box<B>>,
    line: Line,
}

impl<B: MessageBody> MessageBody for Journaled<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = self.body.as_mut().poll_next(context);
        if let Poll::Ready(Some(Ok(bytes))) = &polled {
            self.line.bytes += bytes.len() as u64;
        }
        polled
    }
}
