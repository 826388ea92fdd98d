//! From a TCP connection to one that speaks HTTP of a known version.
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_http::Protocol;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How a connection over HTTP/2 begins (RFC 9113 §3.4): as much of it as HTTP/1.1 could not be.
const PREFACE: &[u8] = b"PRI * HTTP/2";
/// The kernel's buffer for one slow reader, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// A connection whose first request comes next.
pub(super) struct Arrived<S> {
    pub(super) stream: S,
    pub(super) protocol: Protocol,
    pub(super) peer: Option<SocketAddr>,
}

/// The options that connections get.
#[derive(Clone, Copy)]
pub(super) struct SocketOptions {
    /// A client that takes nothing for so long is gone; the kernel drops its connection. Without it
    /// a reader that never reads is kept for ever.
    pub(super) stuck: Duration,
    /// How long the first bytes may take, or a handshake.
    pub(super) patience: Duration,
}

impl SocketOptions {
    fn tune(self, tcp: &TcpStream) -> Option<SocketAddr> {
        let socket = SockRef::from(tcp);
        // A kernel that refuses one of these serves all the same.
        #[cfg(target_os = "linux")]
        let _ = socket.set_tcp_user_timeout(Some(self.stuck));
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
        let _ = socket.set_keepalive(true);
        // Small events must not wait for each other: with Nagle's algorithm and a client that
        // delays its ACKs, a token comes 40 ms late.
        let _ = tcp.set_nodelay(true);
        tcp.peer_addr().ok()
    }

    /// HTTP/1.1 in the clear.
    pub(super) fn plain(self, tcp: TcpStream) -> Arrived<TcpStream> {
        let peer = self.tune(&tcp);
        Arrived { stream: tcp, protocol: Protocol::Http1, peer }
    }

    /// The same, or HTTP/2 if the client begins with it.
    pub(super) async fn plain_or_h2(self, tcp: TcpStream) -> io::Result<Arrived<TcpStream>> {
        let peer = self.tune(&tcp);
        let mut begins = [0; PREFACE.len()];
        timeout(self.patience, tcp.peek(&mut begins)).await??;
        let protocol = if begins == PREFACE { Protocol::Http2 } else { Protocol::Http1 };
        Ok(Arrived { stream: tcp, protocol, peer })
    }

    /// Over TLS, where the client chooses (RFC 7301).
    pub(super) async fn tls(
        self,
        tcp: TcpStream,
        acceptor: TlsAcceptor,
    ) -> io::Result<Arrived<TlsStream<TcpStream>>> {
        let peer = self.tune(&tcp);
        // Boxed, because it is large and soon over.
        let stream = Box::pin(timeout(self.patience, acceptor.accept(tcp))).await??;
        let chosen = stream.get_ref().1.alpn_protocol();
        let protocol = if chosen == Some(b"h2") { Protocol::Http2 } else { Protocol::Http1 };
        Ok(Arrived { stream, protocol, peer })
    }
}
