//! As much HTTP/1.1 as a measurement needs, on a plain socket.
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Failure;

const READ: usize = 64 * 1024;
/// A response's head beyond this is refused; bytes.
const HEAD: usize = 64 * 1024;
/// The model without an upstream.
pub(crate) const BUILT_IN: &str = "demo";
/// For everything that is no stream.
const PATIENCE: Duration = Duration::from_secs(10);

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, accept: &str, body: &str) -> Vec<u8> {
    request_with((method, path), accept, "", body)
}

/// The same with further `fields` of its head, each with its line's end.
pub(crate) fn request_with(
    (method, path): (&str, &str),
    accept: &str,
    fields: &str,
    body: &str,
) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: bench\r\nAccept: {accept}\r\n{fields}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The start of a generation whose events come back as the response.
pub(crate) fn start(model: Option<&str>, prompt: &str) -> Vec<u8> {
    let mut body = serde_json::json!({ "prompt": prompt });
    if let Some(model) = model {
        body["model"] = model.into();
    }
    request("POST", "/v1/generations", "text/event-stream", &body.to_string())
}

/// A response whose body is read as it comes.
pub(crate) struct Response {
    stream: TcpStream,
    buffer: Vec<u8>,
    framing: Framing,
    /// Of the status line.
    pub(crate) status: u16,
}

impl Response {
    /// Sends `request` on `stream` and reads the head of the answer.
    pub(crate) async fn to(mut stream: TcpStream, request: &[u8]) -> io::Result<Self> {
        stream.write_all(request).await?;
        let mut head = Vec::with_capacity(1024);
        let end = loop {
            if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if head.len() > HEAD || stream.read_buf(&mut head).await? == 0 {
                return Err(io::Error::other("the answer is not HTTP"));
            }
        };
        let buffer = head.split_off(end);
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0);
        let field = |name: &str| head.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
        let framing = match (field("transfer-encoding:"), field("content-length:")) {
            (Some(_), _) => Framing::Size(0),
            (None, Some("0")) => Framing::End,
            (None, Some(length)) => Framing::Data(length.parse().unwrap_or(u64::MAX), false),
            (None, None) => Framing::Data(u64::MAX, false),
        };
        Ok(Self { stream, buffer, framing, status })
    }

    /// Appends the next part of the body to `body`; false at its end.
    pub(crate) async fn read(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        if self.framing == Framing::End {
            return Ok(false);
        }
        if self.buffer.is_empty() {
            self.buffer.reserve(READ);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return match self.framing {
                    Framing::Data(u64::MAX, false) => Ok(false),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
        self.framing.take(&self.buffer, body);
        self.buffer.clear();
        Ok(true)
    }

    /// The rest of the body.
    pub(crate) async fn text(mut self) -> io::Result<String> {
        let mut body = Vec::new();
        while self.read(&mut body).await? {}
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// Where in a body we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// In a chunk's size, which is this up to now.
    Size(u64),
    /// Behind a chunk's size, before the end of its line.
    Line(u64),
    /// So many bytes are left of the chunk (true) or of the body.
    Data(u64, bool),
    /// Between a chunk and the next one's size.
    Gap,
    /// Behind the last chunk.
    End,
}

impl Framing {
    /// Appends the content in `raw` to `body` and leaves the framing out.
    pub(crate) fn take(&mut self, mut raw: &[u8], body: &mut Vec<u8>) {
        while let [first, rest @ ..] = raw {
            match *self {
                Self::Size(n) => {
                    *self = match char::from(*first).to_digit(16) {
                        Some(digit) => Self::Size(n.saturating_mul(16) + u64::from(digit)),
                        None if *first == b'\n' => Self::after_size(n),
                        None => Self::Line(n),
                    };
                    raw = rest;
                }
                Self::Line(n) => {
                    if *first == b'\n' {
                        *self = Self::after_size(n);
                    }
                    raw = rest;
                }
                Self::Data(left, chunked) => {
                    let n = raw.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    body.extend_from_slice(&raw[..n]);
                    raw = &raw[n..];
                    let left = if left == u64::MAX { left } else { left - n as u64 };
                    *self = match (left, chunked) {
                        (0, true) => Self::Gap,
                        (0, false) => Self::End,
                        (left, chunked) => Self::Data(left, chunked),
                    };
                }
                Self::Gap => {
                    if *first == b'\n' {
                        *self = Self::Size(0);
                    }
                    raw = rest;
                }
                Self::End => return,
            }
        }
    }

    fn after_size(size: u64) -> Self {
        if size == 0 { Self::End } else { Self::Data(size, true) }
    }
}

/// Status and body of a `GET`.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<(u16, String), Failure> {
    ask(address, ("GET", path), "").await
}

/// Status and body of any request that is answered in one piece.
pub(crate) async fn ask(
    address: SocketAddr,
    (method, path): (&str, &str),
    body: &str,
) -> Result<(u16, String), Failure> {
    let whole = async {
        let stream = TcpStream::connect(address).await?;
        let response = Response::to(stream, &request(method, path, "*/*", body)).await?;
        Ok((response.status, response.text().await?))
    };
    let result: io::Result<_> = timeout(PATIENCE, whole).await.unwrap_or_else(|e| Err(e.into()));
    result.map_err(|e| format!("{method} {path}: {e}"))
}

/// Starts a generation of the demo model; its id.
pub(crate) async fn begin(address: SocketAddr, prompt: &str) -> Result<String, Failure> {
    let body = serde_json::json!({ "prompt": prompt, "model": BUILT_IN }).to_string();
    let (status, text) = ask(address, ("POST", "/v1/generations"), &body).await?;
    let receipt: Value = serde_json::from_str(&text).unwrap_or_default();
    let id = receipt["id"].as_str().map(str::to_owned);
    id.ok_or(format!("a start was answered with {status}: {text}"))
}

/// Ends it, so that the server need not wait for it.
pub(crate) async fn cancel(address: SocketAddr, id: &str) -> Result<(), Failure> {
    ask(address, ("POST", &format!("/v1/generations/{id}/cancel")), "{}").await.map(drop)
}

/// The request for the events behind `after`.
pub(crate) fn events(id: &str, after: u64) -> Vec<u8> {
    request("GET", &format!("/v1/generations/{id}/events?after={after}"), "text/event-stream", "")
}

/// A name for the model `name`. It is its own name, or the first that is not built in if the server
/// has its own name for an upstream. `None` is the default one.
pub(crate) async fn model(address: SocketAddr, name: &str) -> Result<Option<String>, Failure> {
    let (_, body) = get(address, "/v1/models").await?;
    let value: Value = serde_json::from_str(&body).unwrap_or_default();
    let list = value.get("data").or(value.get("models")).unwrap_or(&value);
    let names = list.as_array().into_iter().flatten();
    let names: Vec<_> = names.filter_map(|m| m.get("id").or(m.get("name"))?.as_str()).collect();
    let same = names.iter().find(|n| **n == name);
    let other = names.iter().find(|n| name != BUILT_IN && **n != BUILT_IN);
    Ok(same.or(other).map(|n| (*n).to_owned()))
}
