//! The least of an HTTP/1.1 server, for the scripted upstream and the reference server. It sees
//! when its client disconnects, and can break an answer off where a real server never would.
use std::io;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request's head and body have this many bytes at most.
const MOST_BYTES: usize = 4 << 20;

/// A request. Header names are in lower case.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Reads one request; none if the client went away or sent what is not one.
    pub(crate) async fn read(socket: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            fill(socket, &mut bytes).await?;
        };
        let mut request = Self::default();
        let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
        let mut lines = text.split("\r\n");
        let mut first = lines.next()?.split(' ');
        request.method = first.next()?.to_owned();
        request.path = first.next()?.to_owned();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut body = bytes.split_off(head + 4);
        let chunked = request.header("transfer-encoding").is_some_and(|v| v.contains("chunked"));
        if chunked {
            while !body.ends_with(b"0\r\n\r\n") {
                fill(socket, &mut body).await?;
            }
            body = unchunked(&body)?;
        } else {
            let length = request.header("content-length").map_or(Some(0), |v| v.parse().ok())?;
            while body.len() < length {
                fill(socket, &mut body).await?;
            }
        }
        request.body = serde_json::from_slice(&body).unwrap_or_default();
        Some(request)
    }
}

async fn fill(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let read = socket.read_buf(bytes).await.ok()?;
    (read > 0 && bytes.len() <= MOST_BYTES).then_some(())
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend(rest.get(line + 2..line + 2 + size)?);
        rest = rest.get(line + 4 + size..)?;
    }
}

/// Answers with JSON and closes.
pub(crate) async fn json(socket: &mut TcpStream, status: &str, body: &Value) -> io::Result<()> {
    json_with(socket, status, "", body).await
}

/// The same with more header lines.
pub(crate) async fn json_with(
    socket: &mut TcpStream,
    status: &str,
    headers: &str,
    body: &Value,
) -> io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await?;
    socket.shutdown().await
}

/// The head of an event stream, in chunks, so that a broken body can be told from a whole one.
pub(crate) async fn stream(socket: &mut TcpStream, headers: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n{headers}transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await
}

/// One chunk of a body.
pub(crate) async fn chunk(socket: &mut TcpStream, text: &str) -> io::Result<()> {
    socket.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await
}

/// The regular end of a body in chunks.
pub(crate) async fn end(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(b"0\r\n\r\n").await?;
    socket.shutdown().await
}

/// Resolves when the client has closed its side.
pub(crate) async fn gone(socket: &mut TcpStream) {
    let mut rest = [0; 1024];
    while socket.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}
