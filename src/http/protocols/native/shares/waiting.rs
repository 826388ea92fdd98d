//! A viewer that has all of a link's branch, as a body that ends when the branch goes on.
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use crate::engine::{Alarm, Engine, Viewing};
use crate::http::frame::{KEEP_ALIVE, opening};
use crate::metrics::{Counted, Transport};

/// A viewing without events.
pub(super) struct Waiting {
    /// The branch has another end, the link is void, the connection is old, or the server stops.
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    heartbeat: Alarm,
    every: Duration,
    opened: bool,
    _viewing: Viewing,
    _counted: Counted,
}

impl Waiting {
    pub(super) fn new(engine: &Engine, viewing: Viewing) -> Self {
        let (moved, leave) = (viewing.over(), engine.leave());
        let old = sleep_until(Instant::now() + engine.connection_age());
        let over = Box::pin(async move {
            tokio::select! {
                () = moved => {}
                () = leave => {}
                () = old => {}
            }
        });
        let every = engine.limits().heartbeat;
        Self {
            over,
            heartbeat: Alarm::at(Instant::now() + every),
            every,
            opened: false,
            _viewing: viewing,
            _counted: engine.metrics().reading(Transport::Sse, "shared"),
        }
    }
}

impl MessageBody for Waiting {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if !std::mem::replace(&mut self.opened, true) {
            return Poll::Ready(Some(Ok(opening())));
        }
        if self.heartbeat.poll(cx).is_pending() {
            return Poll::Pending;
        }
        let every = self.every;
        self.heartbeat.reset(Instant::now() + every);
        Poll::Ready(Some(Ok(Bytes::from_static(KEEP_ALIVE))))
    }
}
