//! Which answers leave actix: those that stream. actix keeps two buffers and its timers for further
//! requests: more than all that we know of a reader. An event costs less without it.
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

use actix_http::{BoxedPayloadStream, ConnectionType, HttpMessage, Payload, Request};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, apply_fn_factory, map_config};
use actix_web::body::{BodySize, BodyStream, EitherBody, MessageBody};
use actix_web::dev::{AppConfig, Response, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use actix_web::http::{Method, StatusCode, Version};
use bytes::Bytes;
use futures_util::stream::{self, Stream};

use super::shared::HandoffLine;

/// The connection that a request came on, among its connection's data.
#[derive(Clone)]
pub(super) struct Handoff(pub(super) Rc<dyn HandoffLine>);

/// The app, whose answers leave where they can.
pub(super) fn handed_off<I, F, B>(
    app: I,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = Response<EitherBody<B, Elsewhere>>,
    Error = actix_web::Error,
    InitError = (),
>
where
    I: IntoServiceFactory<F, Request>,
    F: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = actix_web::Error,
            InitError = (),
        >,
    B: MessageBody + 'static,
{
    let app = apply_fn_factory(app.into_factory(), |request: Request, app: &F::Service| {
        let old = request.version() < Version::HTTP_11;
        let (request, handoff) = with_handoff(request);
        let answer = app.call(request);
        async move {
            let mut response = Response::from(answer.await?);
            if old && response.body().size() == BodySize::Stream {
                // A client of HTTP/1.0 knows no chunks (RFC 9112 §6.1): the end of the connection
                // is that of the body.
                response.head_mut().no_chunking(true);
                response.head_mut().set_connection_type(ConnectionType::Close);
            }
            Ok(match handoff {
                Some(handoff) => handoff.offer(response),
                None => response.map_body(|_, body| EitherBody::left(body)),
            })
        }
    });
    map_config(app, |()| AppConfig::default())
}

/// The request, and the handoff for its answer. Over HTTP/2 there is none: a connection has many
/// answers.
fn with_handoff(mut request: Request) -> (Request, Option<Handoff>) {
    let Some(handoff) =
        request.conn_data::<Handoff>().filter(|_| request.version() < Version::HTTP_2)
    else {
        return (request, None);
    };
    let handoff = handoff.clone();
    handoff.0.request(body(&request));
    if !request.upgrade() {
        let in_chunks = request.version() == Version::HTTP_11 && *request.method() != Method::HEAD;
        return (request, Some(handoff).filter(|_| in_chunks));
    }
    let incoming =
        Incoming { before: Some(request.take_payload()), line: Rc::downgrade(&handoff.0) };
    let payload = Payload::Stream { payload: Box::pin(incoming) as BoxedPayloadStream };
    (request.replace_payload(payload).0, Some(handoff))
}

/// How many bytes the body of a request has, if it says so (RFC 9112 §6.3).
fn body(request: &Request) -> Option<u64> {
    let headers = request.headers();
    if request.upgrade() || headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    headers.get(CONTENT_LENGTH).map_or(Some(0), |length| length.to_str().ok()?.parse().ok())
}

impl Handoff {
    /// Takes the answer out, if it streams.
    fn offer<B: MessageBody + 'static>(
        &self,
        response: Response<B>,
    ) -> Response<EitherBody<B, Elsewhere>> {
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let streams = response.body().size() == BodySize::Stream && has_events(response.headers());
        if !upgraded && (!streams || !self.0.may_hand_off()) {
            return response.map_body(|_, body| EitherBody::left(body));
        }
        response.map_body(|_, body| {
            self.0.hand_off(body.boxed(), upgraded);
            EitherBody::right(BodyStream::new(stream::pending()))
        })
    }
}

fn has_events(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// actix's stand-in for a body that left: it goes on for ever, and says nothing.
type Elsewhere = BodyStream<stream::Pending<Result<Bytes, Infallible>>>;

/// The input of an upgraded connection: the bytes that actix has read, then the rest.
struct Incoming {
    before: Option<Payload>,
    /// Weak, because the connection may have the body that has this.
    line: Weak<dyn HandoffLine>,
}

impl Stream for Incoming {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(line) = self.line.upgrade() else { return Poll::Ready(None) };
        if let Some(before) = &mut self.before {
            let read = Pin::new(before).poll_next(cx);
            if !line.was_handed_off() || matches!(read, Poll::Ready(Some(Ok(_)))) {
                return read;
            }
            self.before = None;
        }
        let bytes = ready!(line.poll_read(cx))?;
        Poll::Ready(Some(bytes).filter(|bytes| !bytes.is_empty()).map(Ok))
    }
}
