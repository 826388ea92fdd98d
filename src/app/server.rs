//! The HTTP server: actix until an answer streams, and then that answer.
mod accept;
mod connection;
mod handoff;
mod request_framing;
mod shared;
mod streaming;
mod worker;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_server::Server;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::files;
use super::tls::{Tls, TlsError};
use crate::engine::{Access, Engine, Limits};
use crate::http::{Bodies, Connections, Origins, PublicAddress, most_of_a_body};
use accept::SocketOptions;
use connection::Connection;
use worker::{HEAD, Worker};

/// A client that takes nothing for the limit and this time is gone. The time is for a socket that
/// shall hear why, should its client read on after all.
const LAST_WORD: Duration = Duration::from_secs(5);
/// Connections above the limit that are there to be refused.
const SPARE: usize = 1000;
/// Connections to the database at most: two pools, a lane, what listens and what sends.
const DATABASE: usize = 26;
/// Files for all else: what listens, wakes and is written to, and connections that are there to be
/// refused.
const RESERVE: usize = 128;
/// Seconds for connections to end: 2 in which their bodies end one after the other, 3 for the last
/// bytes.
const LAST_BYTES: u64 = 5;
/// How long the listener may take to close; longer, and another process has the same port.
const CLOSING: Duration = Duration::from_secs(1);

/// Connections that wait to be accepted. All readers of an ended instance may come at once, and one
/// without a place tries again only after a second, then after two more.
const BACKLOG: i32 = 4096;

/// The callers, pages and transport that a listener accepts, and its address.
pub(super) struct ServeContext {
    pub(super) access: Access,
    pub(super) origins: Origins,
    pub(super) public: PublicAddress,
    pub(super) transport: Transport,
}

/// The protocol below HTTP.
pub(super) enum Transport {
    /// HTTP/1.1 in the clear.
    Plain,
    /// The same, or HTTP/2 by prior knowledge: for a proxy in front.
    PlainOrH2,
    /// HTTP/2 or HTTP/1.1 over TLS.
    Tls(Tls),
}

impl Transport {
    /// How addresses begin.
    pub(super) fn scheme(&self) -> &'static str {
        match self {
            Self::Plain | Self::PlainOrH2 => "http",
            Self::Tls(_) => "https",
        }
    }

    /// Looks after the certificate, if there is one.
    pub(super) async fn watch(&self) -> Result<Infallible, TlsError> {
        match self {
            Self::Plain | Self::PlainOrH2 => std::future::pending().await,
            Self::Tls(tls) => tls.watch().await,
        }
    }
}

/// Listens on `address`, which must be free.
pub(super) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // Once more, because the standard library lets 128 wait.
    SockRef::from(&listener).listen(BACKLOG)?;
    Ok(listener)
}

/// Serves until `stop`; returns when the listener and all connections are closed.
pub(super) async fn serve(
    listener: TcpListener,
    engine: &Engine,
    context: &ServeContext,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let socket_options = SocketOptions { stuck: engine.limits().stuck + LAST_WORD, patience: HEAD };
    let most = places(files::raise(), engine.limits());
    let server = Server::build()
        // Never reached, for each worker counts its own: ours are refused in words before.
        .max_concurrent_connections(most + SPARE)
        .shutdown_timeout(LAST_BYTES)
        .disable_signals();
    let worker = Worker {
        engine: engine.clone(),
        access: context.access.clone(),
        origins: context.origins.clone(),
        public: context.public.clone(),
        connections: Connections::new(most),
        bodies: bodies(engine.limits()),
        encrypted: matches!(context.transport, Transport::Tls(_)),
        stopping: server.graceful_shutdown_signal(),
    };
    let server = match &context.transport {
        Transport::Plain => server.listen("http", listener, move || {
            let open = move |tcp, endpoint, place| {
                Connection::new(endpoint, socket_options.plain(tcp), place)
            };
            worker.clone().serve(open)
        })?,
        Transport::PlainOrH2 => server.listen("http", listener, move || {
            let open = move |tcp, endpoint, place| async move {
                Connection::new(endpoint, socket_options.plain_or_h2(tcp).await?, place).await
            };
            worker.clone().serve(open)
        })?,
        Transport::Tls(tls) => {
            let acceptor = TlsAcceptor::from(Arc::new(tls.config()));
            server.listen("https", listener, move || {
                let acceptor = acceptor.clone();
                let open = move |tcp, endpoint, place| {
                    let arrives = socket_options.tls(tcp, acceptor.clone());
                    async move { Connection::new(endpoint, arrives.await?, place).await }
                };
                worker.clone().serve(open)
            })?
        }
    }
    .run();
    let handle = server.handle();
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = stop.cancelled() => {}
    }
    // The listener closes before any body ends: a reader that comes back goes elsewhere.
    let stopping = handle.stop(true);
    let _past_the_limit_it_goes_on = tokio::select! {
        ended = &mut server => return ended,
        refused = timeout(CLOSING, refused(address)) => refused,
    };
    engine.close();
    let ((), ended) = tokio::join!(stopping, server);
    ended
}

/// The memory for bodies: as much as configured, and enough for the largest, encoded and decoded.
fn bodies(limits: &Limits) -> Bodies {
    Bodies::new(limits.bodies_bytes.max(2 * most_of_a_body(limits)))
}

/// How many connections are served: as many as configured, if this process may open so many files
/// beside those that it needs itself.
fn places(files: usize, limits: &Limits) -> usize {
    // Each running generation has its model's connection.
    let kept = limits.running.saturating_add(DATABASE + RESERVE);
    // Where there are few, readers and generations share them: most generations have a reader.
    let most = files - kept.min(files / 2);
    if most < limits.connections {
        tracing::warn!(
            connections = most,
            files,
            running = limits.running,
            "fewer connections than configured: raise `ulimit -n`, or lower `running`"
        );
    }
    most.min(limits.connections)
}

/// Ends when nobody listens at the address any more. actix closes in a thread of its own, and
/// does not tell when.
async fn refused(address: SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {
        sleep(Duration::from_millis(2)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_get_the_files_that_nothing_else_needs() {
        let places = |files, running, connections| {
            places(files, &Limits { running, connections, ..Limits::default() })
        };
        assert_eq!(places(20_000, 64, 100_000), 20_000 - 64 - 26 - 128);
        assert_eq!(places(20_000, 4096, 100_000), 20_000 - 4096 - 26 - 128);
        assert_eq!(places(20_000, 4096, 15_000), 15_000, "as configured");
        assert_eq!(places(1024, 4096, 15_000), 512, "half of few");
        assert_eq!(places(usize::MAX, 1 << 24, 15_000), 15_000);
    }
}
