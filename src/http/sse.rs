//! A session as a body: its items become bytes, and the body ends when the session does.
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::{self, HeaderName};
use bytes::Bytes;
use serde_json::Value;

use super::frame::{EVENT_STREAM, KEEP_ALIVE, Pieces, opening};
use super::large;
use crate::domain::coalesce::coalesce;
use crate::domain::id::GenerationId;
use crate::engine::{Item, Session};
use crate::metrics::Transport;

/// Carries the generation's id, for clients that started it by this very request.
pub(super) const GENERATION: HeaderName = HeaderName::from_static("lastword-generation");

/// How a reader wants its events.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    /// Neighbouring texts of a backlog joined into one event.
    pub(super) coalesce: bool,
}

/// The response that streams `session`. `extra` are headers of the request that opened it.
pub(super) fn response(
    id: GenerationId,
    session: Session,
    shape: Shape,
    extra: Vec<(HeaderName, String)>,
) -> HttpResponse {
    let session = session.counted_as(Transport::Sse, "native");
    let events = Events { session, shape, opened: false, pieces: Pieces::default() };
    streaming(id, events, extra)
}

/// The response that streams `body`, in whatever dialect.
pub(super) fn streaming(
    id: GenerationId,
    body: impl MessageBody + 'static,
    extra: Vec<(HeaderName, String)>,
) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, EVENT_STREAM))
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((GENERATION, id.to_string()));
    for header in extra {
        response.insert_header(header);
    }
    response.body(body)
}

/// The response that has an answer in one piece.
pub(super) fn whole(
    id: GenerationId,
    object: &Value,
    extra: Vec<(HeaderName, String)>,
) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((GENERATION, id.to_string()));
    for header in extra {
        response.insert_header(header);
    }
    large::json(response, object)
}

/// A session as a body. The first piece goes out at once, so that proxies and `onopen` see it.
struct Events {
    session: Session,
    shape: Shape,
    opened: bool,
    /// The rest of what was read last.
    pieces: Pieces,
}

impl MessageBody for Events {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        if !std::mem::replace(&mut self.opened, true) {
            return Poll::Ready(Some(Ok(opening())));
        }
        if let Some(piece) = self.pieces.next() {
            return Poll::Ready(Some(Ok(piece)));
        }
        let bytes = match ready!(self.session.poll_next(cx)) {
            Some(Item::Entries(entries)) if self.shape.coalesce => {
                self.pieces.first_of(&coalesce(entries))
            }
            Some(Item::Entries(entries)) => self.pieces.first_of(&entries),
            Some(Item::Heartbeat) => Bytes::from_static(KEEP_ALIVE),
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(bytes)))
    }
}
