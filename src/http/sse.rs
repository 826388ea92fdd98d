//! A session as a body: its items become bytes, and the body ends when the session does.
use std::convert::Infallible;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderName};
use bytes::Bytes;
use futures_util::{Stream, stream};

use super::frame::{KEEP_ALIVE, OPENING, sse};
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
    streaming(id, bytes(session.counted_as(Transport::Sse, "native"), shape), extra)
}

/// The response that streams `body`, in whatever dialect.
pub(super) fn streaming(
    id: GenerationId,
    body: impl Stream<Item = Result<Bytes, Infallible>> + 'static,
    extra: Vec<(HeaderName, String)>,
) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((GENERATION, id.to_string()));
    for header in extra {
        response.insert_header(header);
    }
    response.streaming(body)
}

/// The first piece goes out at once, with whatever is ready, so that proxies and `onopen` see it.
fn bytes(session: Session, shape: Shape) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let opening = stream::iter([Ok(Bytes::from_static(OPENING))]);
    let events = stream::unfold(session, move |mut session| async move {
        let bytes = match session.next().await? {
            Item::Entries(entries) if shape.coalesce => sse(false, &coalesce(entries)),
            Item::Entries(entries) => sse(false, &entries),
            Item::Heartbeat => Bytes::from_static(KEEP_ALIVE),
        };
        Some((Ok(bytes), session))
    });
    futures_util::StreamExt::chain(opening, events)
}
