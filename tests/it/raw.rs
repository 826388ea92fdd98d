//! HTTP as bytes on a socket: requests that a client library would not send, and answers that it
//! would hide.
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::client::PATIENCE;

/// A request as bytes. `head` is header lines, each with its CRLF.
pub(crate) fn request(line: &str, head: &str, body: &[u8]) -> Vec<u8> {
    let length = if body.is_empty() && line.starts_with("GET") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let head = format!("{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{length}{head}\r\n");
    [head.as_bytes(), body].concat()
}

/// An answer to its last byte.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// `None` while the head has not come.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
        let (head, rest) = (std::str::from_utf8(&bytes[..end]).unwrap(), &bytes[end + 4..]);
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Self { status, headers, body: Vec::new() };
        answer.body = match answer.header("transfer-encoding") {
            Some("chunked") => chunks(rest).concat(),
            _ => rest.to_vec(),
        };
        Some(answer)
    }

    /// The header's value; the name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The whole chunks of a chunked body.
fn chunks(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    while let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(chunk) = bytes.get(end + 2..end + 2 + size) else { break };
        chunks.push(chunk.to_vec());
        bytes = bytes.get(end + 4 + size..).unwrap_or_default();
    }
    chunks
}

/// Sends bytes on a connection of their own and reads to its end.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = RawStream::send(address, request, None).await;
    stream.end().await;
    stream.answer()
}

/// A connection with one request, whose answer is seen as bytes.
pub(crate) struct RawStream {
    socket: TcpStream,
    seen: Vec<u8>,
}

impl RawStream {
    /// Opens the events of a generation.
    pub(crate) async fn events(address: SocketAddr, id: &str, query: &str) -> Self {
        let line = format!("GET /v1/generations/{id}/events{query}");
        Self::send(address, &request(&line, "", b""), None).await
    }

    /// The same with a small receive buffer, in bytes, for a reader that is slow.
    pub(crate) async fn slow_events(address: SocketAddr, id: &str, buffer: u32) -> Self {
        let line = format!("GET /v1/generations/{id}/events");
        Self::send(address, &request(&line, "", b""), Some(buffer)).await
    }

    /// Sends any request.
    pub(crate) async fn of(address: SocketAddr, request: &[u8]) -> Self {
        Self::send(address, request, None).await
    }

    async fn send(address: SocketAddr, request: &[u8], buffer: Option<u32>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let mut socket = socket.connect(address).await.unwrap();
        // A server may answer, and close, before it has read everything.
        let _ = socket.write_all(request).await;
        Self { socket, seen: Vec::new() }
    }

    /// Sends more.
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// All bytes that have come.
    pub(crate) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Signals that no more requests follow, as a client does that hangs up.
    pub(crate) async fn half_close(&mut self) {
        self.socket.shutdown().await.unwrap();
    }

    /// Reads until the text has been seen so many times.
    pub(crate) async fn until(&mut self, text: &str, times: usize) {
        let count = |seen: &[u8]| String::from_utf8_lossy(seen).matches(text).count();
        while count(&self.seen) < times {
            assert!(self.read().await, "ended before {text:?}");
        }
    }

    /// Reads to the end of the connection, in whatever way it ends.
    pub(crate) async fn end(&mut self) {
        while self.read().await {}
    }

    async fn read(&mut self) -> bool {
        let read = timeout(PATIENCE, self.socket.read_buf(&mut self.seen));
        read.await.expect("bytes in time").is_ok_and(|n| n > 0)
    }

    pub(crate) fn answer(&self) -> Answer {
        Answer::parse(&self.seen).expect("an answer")
    }

    /// The chunks of the body as the server wrote them, without the empty last one.
    pub(crate) fn chunks(&self) -> Vec<Vec<u8>> {
        let end = self.seen.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let mut chunks = chunks(&self.seen[end + 4..]);
        chunks.retain(|chunk| !chunk.is_empty());
        chunks
    }
}
