//! A connection's bytes, in the hands of whoever has them: actix, or an answer that streams.
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::Protocol;
use actix_web::body::BoxBody;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::accept::Arrived;
use super::request_framing::RequestFraming;
use crate::http::ConnectionPermit;

/// Bytes that are read at once, at most.
const READ: usize = 16 * 1024;

thread_local! {
    /// The read buffer of all connections of a thread: one that waits holds nothing.
    static INTO: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// An answer that leaves: its body, and its head as actix wrote it.
pub(super) struct HandedOff {
    pub(super) body: BoxBody,
    pub(super) head: BytesMut,
    /// Whether the connection speaks another protocol from now on: then the body says what becomes
    /// of what comes in, and goes out as it is.
    pub(super) upgraded: bool,
    /// Whether the head is whole.
    whole: bool,
}

/// The connection.
pub(super) struct SharedConnection<S> {
    stream: RefCell<S>,
    state: RefCell<State>,
    pub(super) protocol: Protocol,
    pub(super) peer: Option<SocketAddr>,
    /// It counts as open for as long as it is.
    pub(super) place: Rc<ConnectionPermit>,
}

#[derive(Default)]
struct State {
    framing: RequestFraming,
    handed_off: Option<HandedOff>,
    left: bool,
    /// The input that came while an answer streamed, for actix.
    early: Bytes,
}

impl<S> SharedConnection<S> {
    pub(super) fn new(arrived: Arrived<S>, place: ConnectionPermit) -> Rc<Self> {
        let Arrived { stream, protocol, peer } = arrived;
        let (stream, place) = (RefCell::new(stream), Rc::new(place));
        Rc::new(Self { stream, state: RefCell::default(), protocol, peer, place })
    }

    /// The answer that leaves, as soon as its head is whole.
    pub(super) fn take_handed_off(&self) -> Option<HandedOff> {
        let mut state = self.state.borrow_mut();
        let handed_off = state.handed_off.take_if(|handed_off| handed_off.whole)?;
        state.left = true;
        Some(handed_off)
    }
}

impl<S: AsyncRead + Unpin> SharedConnection<S> {
    /// Whether more comes in, which is kept for actix, or the client is gone.
    pub(super) fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.state.borrow().early.is_empty() {
            self.state.borrow_mut().early = ready!(self.poll_read(cx))?;
        }
        Poll::Ready(Ok(!self.state.borrow().early.is_empty()))
    }
}

impl<S: AsyncWrite + Unpin> SharedConnection<S> {
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, bytes)
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx)
    }

    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }
}

/// A connection without its kind, as the answers on it see it.
pub(super) trait HandoffLine {
    /// A request came, with a body of so many bytes, if it says so.
    fn request(&self, body: Option<u64>);
    /// Whether actix would lose nothing with the connection.
    fn may_hand_off(&self) -> bool;
    /// Has actix let go of the connection when it has written the head of the answer.
    fn hand_off(&self, body: BoxBody, upgraded: bool);
    /// Whether actix did.
    fn was_handed_off(&self) -> bool;
    /// The next input; nothing at its end.
    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>>;
}

impl<S: AsyncRead + Unpin> HandoffLine for SharedConnection<S> {
    fn request(&self, body: Option<u64>) {
        self.state.borrow_mut().framing.request(body);
    }

    fn may_hand_off(&self) -> bool {
        self.state.borrow().framing.at_end()
    }

    fn hand_off(&self, body: BoxBody, upgraded: bool) {
        let handed_off = HandedOff { body, head: BytesMut::new(), upgraded, whole: false };
        self.state.borrow_mut().handed_off = Some(handed_off);
    }

    fn was_handed_off(&self) -> bool {
        self.state.borrow().left
    }

    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let early = std::mem::take(&mut self.state.borrow_mut().early);
        if !early.is_empty() {
            return Poll::Ready(Ok(early));
        }
        INTO.with_borrow_mut(|into| {
            let mut into = ReadBuf::new(into);
            let read = Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut into);
            read.map_ok(|()| Bytes::copy_from_slice(into.filled()))
        })
    }
}

/// The connection as actix sees it. Once an answer leaves it reads nothing more from it, and the
/// head that it writes is kept for the answer.
pub(super) struct Socket<S>(pub(super) Rc<SharedConnection<S>>);

impl<S> Socket<S> {
    /// actix gets the connection, for the first time or again.
    pub(super) fn of(shared: &Rc<SharedConnection<S>>) -> Self {
        shared.state.borrow_mut().left = false;
        Self(shared.clone())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let state = &mut *self.0.state.borrow_mut();
        if state.handed_off.is_some() {
            return Poll::Pending;
        }
        let before = into.filled().len();
        if state.early.is_empty() {
            ready!(Pin::new(&mut *self.0.stream.borrow_mut()).poll_read(cx, into))?;
        } else {
            into.put_slice(&state.early.split_to(state.early.len().min(into.remaining())));
        }
        state.framing.read(into.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(handed_off) = &mut self.0.state.borrow_mut().handed_off {
            handed_off.head.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        self.0.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(handed_off) = &mut self.0.state.borrow_mut().handed_off {
            handed_off.whole = true;
            return Poll::Ready(Ok(()));
        }
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}
