//! The HTTP server: actix with the settings that long streams need.
use std::any::Any;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpServer, web};
use socket2::SockRef;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::http::configure;

/// A client that takes nothing for so long is gone; the kernel drops its connection. Without it
/// a reader that never reads is kept for ever.
const STUCK: Duration = Duration::from_secs(30);
/// What the kernel holds for one slow reader, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(5);
/// Idle connections wait this long for another request: longer than proxies keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long connections may take to end after their bodies have.
const LAST_BYTES: u64 = 3;
/// How long the listener may take to close; longer, and another process has the same port.
const CLOSING: Duration = Duration::from_secs(1);

/// Serves until `stop`; returns when the listener and all connections are closed.
pub(super) async fn serve(
    listener: TcpListener,
    engine: &Engine,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let shared = web::Data::new(engine.clone());
    let server = HttpServer::new(move || App::new().app_data(shared.clone()).configure(configure))
        // Before the listener: actix applies it only to those that come after.
        .on_connect(tune)
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
        .disable_signals()
        .listen(listener)?
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

/// Ends when nobody listens at the address any more. actix closes in a thread of its own, and
/// does not tell when.
async fn refused(address: SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {
        sleep(Duration::from_millis(2)).await;
    }
}

fn tune(connection: &dyn Any, _: &mut actix_web::dev::Extensions) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
    let socket = SockRef::from(stream);
    // A kernel that refuses one of these serves all the same.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(STUCK));
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    let _ = socket.set_keepalive(true);
}
