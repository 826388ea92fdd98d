//! The HTTP server: actix with the settings that long streams need.
use std::any::Any;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpServer, web};
use socket2::SockRef;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::files;
use super::tls::{Tls, TlsError};
use crate::engine::{Access, Engine, Limits, answer_bell};
use crate::http::{Connections, Origins, answer, configure, cors, guard};

/// A client that takes nothing for the limit and this time is gone; the kernel drops its
/// connection. Without it a reader that never reads is kept for ever. The time is for a socket that
/// shall hear why, should its client read on after all.
const LAST_WORD: Duration = Duration::from_secs(5);
/// What the kernel holds for one slow reader, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(5);
/// Idle connections wait this long for another request: longer than proxies keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Connections above the limit that are there to be refused.
const SPARE: usize = 1000;
/// Connections to the database at most: two pools, a lane, what listens and what sends.
const DATABASE: usize = 26;
/// Files for all else: what listens, wakes and is written to, and connections that are there to be
/// refused.
const RESERVE: usize = 128;
/// How long connections may take to end after their bodies have.
const LAST_BYTES: u64 = 3;
/// How long the listener may take to close; longer, and another process has the same port.
const CLOSING: Duration = Duration::from_secs(1);

/// Connections that wait to be accepted: all readers of an instance that ended may come at once, and
/// one that finds no place is tried again only after a second, then after two more.
const BACKLOG: i32 = 4096;

/// Who may come in, from which pages, and in which tongue.
pub(super) struct Door {
    pub(super) access: Access,
    pub(super) origins: Origins,
    pub(super) tongue: Tongue,
}

/// What is spoken below HTTP.
pub(super) enum Tongue {
    /// HTTP/1.1 in the clear.
    Plain,
    /// The same, or HTTP/2 by prior knowledge: for a proxy in front. actix waits without a limit
    /// for the first byte of such a connection, so it is not for the internet.
    PlainOrH2,
    /// HTTP/2 or HTTP/1.1 over TLS.
    Tls(Tls),
}

impl Tongue {
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
    door: &Door,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let shared = web::Data::new(engine.clone());
    let stuck = engine.limits().stuck + LAST_WORD;
    let access = web::Data::new(door.access.clone());
    let origins = web::Data::new(door.origins.clone());
    let most = places(files::raise(), engine.limits());
    let connections = Connections::new(most);
    let server = HttpServer::new(move || {
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the worker whose readers it wakes"
        )]
        let _answering = actix_web::rt::spawn(answer_bell());
        App::new()
            .app_data(shared.clone())
            .app_data(access.clone())
            .app_data(origins.clone())
            .configure(configure)
            .wrap(from_fn(guard))
            .wrap(cors(&origins))
            .wrap(from_fn(answer))
    })
    // Before the listener: actix applies it only to those that come after.
    .on_connect(move |connection, data| {
        tune(connection, stuck);
        data.insert(connections.enter());
    })
    // Never reached, for each worker counts its own: ours are refused in words before.
    .max_connections(most + SPARE)
    // Small events must not wait for each other: with Nagle's algorithm and a client that
    // delays its ACKs, a token comes 40 ms late.
    .tcp_nodelay(true)
    // A client that hangs up is noticed at once, not at the second write.
    .h1_allow_half_closed(false)
    .client_request_timeout(HEAD)
    // Never between 1 and 500 ms: such connections leak (actix-http 3.20).
    .client_disconnect_timeout(Duration::from_secs(1))
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(LAST_BYTES)
    .tls_handshake_timeout(HEAD)
    .disable_signals();
    let server = match &door.tongue {
        Tongue::Plain => server.listen(listener)?,
        Tongue::PlainOrH2 => server.listen_auto_h2c(listener)?,
        Tongue::Tls(tls) => server.listen_rustls_0_23(listener, tls.config())?,
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

/// How many connections are served: as many as configured, if this process may open so many files
/// beside those that it needs itself.
fn places(files: usize, limits: &Limits) -> usize {
    // Whoever runs has its model's connection.
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

fn tune(connection: &dyn Any, stuck: Duration) {
    let under_tls = || connection.downcast_ref::<TlsStream<TcpStream>>().map(|tls| tls.get_ref().0);
    let plain = connection.downcast_ref::<TcpStream>();
    let Some(stream) = plain.or_else(under_tls) else { return };
    let socket = SockRef::from(stream);
    // A kernel that refuses one of these serves all the same.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(stuck));
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    let _ = socket.set_keepalive(true);
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
