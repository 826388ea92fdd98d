//! Streams end with the credential that opened them, and when they are old.
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::header;
use bytes::Bytes;
use tokio::time::sleep;

use crate::engine::Caller;

/// An event stream, as any route makes one, ends when its caller may no longer read it. That is
/// an early end of the body: its reader comes back, and then gets 401.
pub(super) fn end_with(
    response: ServiceResponse<BoxBody>,
    caller: Option<Caller>,
    age: Option<Duration>,
) -> ServiceResponse<BoxBody> {
    let (Some(caller), Some(age)) = (caller, age) else { return response };
    let kind = response.headers().get(header::CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
        return response;
    }
    response.map_body(|_, body| Lasting::new(body, caller, age).boxed())
}

struct Lasting {
    body: BoxBody,
    caller: Caller,
    end: Pin<Box<dyn Future<Output = ()>>>,
}

impl Lasting {
    fn new(body: BoxBody, caller: Caller, age: Duration) -> Self {
        let over = caller.over();
        let end = Box::pin(async move {
            tokio::select! {
                () = over => {}
                () = sleep(age) => {}
            }
        });
        Self { body, caller, end }
    }
}

impl MessageBody for Lasting {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    /// What is ready goes first, so that an event costs no look at the clock.
    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.caller.is_over() {
            return Poll::Ready(None);
        }
        if let ready @ Poll::Ready(_) = Pin::new(&mut self.body).poll_next(cx) {
            return ready;
        }
        self.end.as_mut().poll(cx).map(|()| None)
    }
}
