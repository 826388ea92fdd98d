//! An answer that streams, without actix: its body is written as it comes, and while there is
//! nothing to write the connection holds no buffer.
use std::cell::Cell;
use std::fmt::Write;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BoxBody, MessageBody};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::shared::{HandedOff, SharedConnection};

/// Bytes that wait for the socket before the body is asked for more.
const ENOUGH: usize = 32 * 1024;

thread_local! {
    /// A buffer for whoever writes next: mostly it is empty again before another needs one.
    static SPARE: Cell<BytesMut> = Cell::new(BytesMut::with_capacity(ENOUGH));
}

/// The rest of an answer.
pub(super) struct Streaming {
    body: BoxBody,
    /// The rest of the body's last piece: a large one goes out in parts.
    given: Bytes,
    upgraded: bool,
    /// Without a buffer while nothing waits.
    out: BytesMut,
    over: bool,
    /// Whether nothing more is to be heard here: the client has asked again already, or the body
    /// hears it.
    heard: bool,
    keeps_alive: bool,
}

impl Streaming {
    pub(super) fn new(handed_off: HandedOff) -> Self {
        let HandedOff { body, head, upgraded, .. } = handed_off;
        // The head that the client gets.
        let told = String::from_utf8_lossy(&head);
        let closes = told.lines().any(|line| line.eq_ignore_ascii_case("connection: close"));
        let keeps_alive = !upgraded && !closes;
        let given = Bytes::new();
        Self { body, given, upgraded, out: head, over: false, heard: upgraded, keeps_alive }
    }

    /// Whether the client may ask again on this connection.
    pub(super) fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    /// Writes what there is; ready when all of it is out.
    ///
    /// # Errors
    /// The client is gone, or the body failed.
    pub(super) fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        line: &SharedConnection<S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let more = self.fill(cx)?;
            if self.write(line, cx)?.is_pending() {
                break;
            }
            if self.over {
                return Poll::Ready(Ok(()));
            }
            if !more {
                break;
            }
        }
        if !self.heard
            && let Poll::Ready(more) = line.poll_heard(cx)?
        {
            if !more {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            self.heard = true;
        }
        Poll::Pending
    }

    /// Asks the body until it has nothing, or enough waits; whether it may have more.
    fn fill(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        while !self.over && self.out.len() < ENOUGH {
            if !self.given.is_empty() {
                let part = self.given.split_to(self.given.len().min(ENOUGH));
                self.put(&part);
                continue;
            }
            match Pin::new(&mut self.body).poll_next(cx) {
                // Put in parts above. An empty chunk would be the last, and is never put.
                Poll::Ready(Some(Ok(bytes))) => self.given = bytes,
                Poll::Ready(Some(Err(error))) => return Err(io::Error::other(error.to_string())),
                Poll::Ready(None) => {
                    self.over = true;
                    self.put(&[]);
                }
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    /// A piece of the body: after a head that said so, a chunk (RFC 9112 §7.1), of which an empty
    /// one is the last.
    fn put(&mut self, bytes: &[u8]) {
        if self.out.is_empty() {
            self.out = SPARE.take();
            self.out.reserve(ENOUGH);
        }
        if self.upgraded {
            return self.out.extend_from_slice(bytes);
        }
        let _infallible = write!(self.out, "{:x}\r\n", bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    fn write<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        line: &SharedConnection<S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut out = std::mem::take(&mut self.out);
        let mut written = 0;
        while let Some(rest) = out.get(written..).filter(|rest| !rest.is_empty()) {
            match line.poll_write(cx, rest)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(count) => written += count,
                Poll::Pending => {
                    self.out = BytesMut::from(rest);
                    break;
                }
            }
        }
        // Neither a head's few bytes, nor what a large event has made of it.
        if (ENOUGH..=2 * ENOUGH).contains(&out.capacity()) {
            out.clear();
            SPARE.set(out);
        }
        if self.out.is_empty() { line.poll_flush(cx) } else { Poll::Pending }
    }
}
