//! One connection: actix reads requests and answers them until an answer streams. That one leaves
//! it, goes out by itself, and afterwards actix has the connection again.
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::Protocol;
use actix_server::GracefulShutdownSignal;
use actix_service::Service;
use actix_service::boxed::{BoxFuture, BoxService};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use super::accept::Arrived;
use super::shared::{HandoffLine, SharedConnection, Socket};
use super::streaming::Streaming;
use crate::http::ConnectionPermit;

/// How long a client may take to close its end. For actix, too: never between 1 and 500 ms, with
/// which connections leak (actix-http 3.20).
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// actix, for connections of one kind. It logs its errors itself.
pub(super) type Actix<S> = BoxService<(Socket<S>, Protocol, Option<SocketAddr>), (), ()>;

/// The server of a worker's connections.
pub(super) struct Endpoint<S> {
    pub(super) actix: Actix<S>,
    pub(super) stopping: GracefulShutdownSignal,
    /// How long a connection may wait for another request.
    pub(super) idle: Duration,
}

/// A connection, served to its end.
///
/// A future by hand, because it is small so, and readers are many.
pub(super) struct Connection<S> {
    endpoint: Rc<Endpoint<S>>,
    shared: Rc<SharedConnection<S>>,
    stage: Stage,
}

enum Stage {
    Actix(BoxFuture<Result<(), ()>>),
    Streaming(Streaming),
    /// Whether there is another request.
    Waiting(BoxFuture<io::Result<bool>>),
    Closing(BoxFuture<io::Result<()>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Connection<S> {
    pub(super) fn new(
        endpoint: Rc<Endpoint<S>>,
        arrived: Arrived<S>,
        place: ConnectionPermit,
    ) -> Self {
        let shared = SharedConnection::new(arrived, place);
        let stage = endpoint.begin(&shared);
        Self { endpoint, shared, stage }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Endpoint<S> {
    /// actix gets the connection.
    fn begin(&self, shared: &Rc<SharedConnection<S>>) -> Stage {
        Stage::Actix(self.actix.call((Socket::of(shared), shared.protocol, shared.peer)))
    }

    /// Waits for another request. As actix would, had it the connection: one that it gets while it
    /// is idle has only the time of a request's head.
    fn wait(&self, shared: &Rc<SharedConnection<S>>) -> Stage {
        let (stopping, shared, idle) = (self.stopping.clone(), shared.clone(), self.idle);
        Stage::Waiting(Box::pin(async move {
            tokio::select! {
                heard = poll_fn(|cx| shared.poll_heard(cx)) => heard,
                () = sleep(idle) => Ok(false),
                () = stopping.notified() => Ok(false),
            }
        }))
    }
}

/// Closes its half, then waits for the client to close. A client that was still sending when the
/// connection vanished would lose the last bytes unread (RFC 9112 §9.6).
fn close<S: AsyncRead + AsyncWrite + Unpin + 'static>(shared: &Rc<SharedConnection<S>>) -> Stage {
    let shared = shared.clone();
    Stage::Closing(Box::pin(async move {
        let said = async {
            poll_fn(|cx| shared.poll_shutdown(cx)).await?;
            while !poll_fn(|cx| shared.poll_read(cx)).await?.is_empty() {}
            Ok(())
        };
        timeout(LINGER, said).await.unwrap_or(Ok(()))
    }))
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Future for Connection<S> {
    /// An error when the client is gone, or an answer failed in its middle.
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { endpoint, shared, stage } = &mut *self;
        loop {
            *stage = match stage {
                Stage::Actix(actix) => match (actix.as_mut().poll(cx), shared.take_handed_off()) {
                    (Poll::Pending, Some(handed_off)) => {
                        Stage::Streaming(Streaming::new(handed_off))
                    }
                    (Poll::Pending, None) => return Poll::Pending,
                    (Poll::Ready(_), _) => return Poll::Ready(Ok(())),
                },
                Stage::Streaming(streaming) => {
                    ready!(streaming.poll(shared, cx))?;
                    if streaming.keeps_alive() { endpoint.wait(shared) } else { close(shared) }
                }
                Stage::Waiting(again) => match ready!(again.as_mut().poll(cx))? {
                    true => endpoint.begin(shared),
                    false => close(shared),
                },
                Stage::Closing(closed) => return closed.as_mut().poll(cx),
            };
        }
    }
}

#[cfg(test)]
mod tests;
