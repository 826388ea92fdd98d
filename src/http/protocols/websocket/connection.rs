//! The common part of the sockets of other protocols: incoming messages, signs of life, and the
//! reasons to close.
use std::pin::Pin;

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::frames::CloseCode;
use super::inbound::Inbound;
use super::outbox::Outbox;
use super::rate_limit::{Mistakes, Rate};
use super::session::{MISSED, code};
use super::wire::Message;
use crate::engine::{Caller, Engine};
use crate::metrics::Counted;

/// The clients that a connection serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clients {
    /// Those of `/v1/ws`: a large frame counts as several against the rate.
    Ours,
    /// OpenAI's SDKs: the size of a frame has another limit, and each counts once. They come back
    /// by themselves only after a close code of RFC 6455's own.
    OpenAi,
}

/// One connection, without the words of its protocol.
pub(super) struct Connection {
    engine: Engine,
    inbound: Inbound,
    rate: Rate,
    clients: Clients,
    mistakes: Mistakes,
    unanswered: u32,
    alarm: Pin<Box<Sleep>>,
    too_old: Pin<Box<Sleep>>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    pub(super) out: Outbox,
    /// Since when the last bytes have been waiting to be taken.
    handed: Option<Instant>,
    /// Nothing follows what is in `out`.
    pub(super) closed: bool,
    _open: Counted,
}

impl Connection {
    pub(super) fn new(
        engine: &Engine,
        caller: &Caller,
        inbound: Inbound,
        clients: Clients,
    ) -> Self {
        let (now, limits) = (Instant::now(), engine.limits().socket);
        Self {
            inbound,
            rate: Rate::new(limits.frames_per_s, now),
            clients,
            mistakes: Mistakes::new(limits.mistakes_per_minute, now),
            unanswered: 0,
            alarm: Box::pin(sleep_until(now + limits.ping)),
            too_old: Box::pin(sleep_until(now + engine.connection_age())),
            stop: Box::pin(engine.leave()),
            over: Box::pin(caller.over()),
            out: Outbox::default(),
            handed: None,
            closed: false,
            _open: Counted::new(engine.metrics().sockets.clone()),
            engine: engine.clone(),
        }
    }

    /// The bytes that are ready have been handed over before, and the client takes more now. Closes
    /// if it took too long.
    pub(super) fn taken(&mut self) {
        let stuck = self.engine.limits().stuck;
        if self.handed.take().is_some_and(|since| since.elapsed() >= stuck) {
            self.engine.metrics().slow_cut.inc();
            self.close(CloseCode::TooSlow);
        }
    }

    /// Everything that is ready to go out.
    pub(super) fn hand_over(&mut self) -> Bytes {
        self.handed = Some(Instant::now());
        self.out.take()
    }

    /// Waits for a text, which is read only while the connection `listens`, or for something to do
    /// about the connection itself, which is done. Cancel safe.
    pub(super) async fn heard(&mut self, listens: bool) -> Option<String> {
        tokio::select! {
            heard = self.inbound.next(), if listens => match heard {
                Some(Ok(message)) => return self.message(message),
                Some(Err(fault)) => self.close(code(fault)),
                // Nobody is there to be told.
                None => self.closed = true,
            },
            () = self.alarm.as_mut() => self.alarm(),
            () = self.too_old.as_mut() => self.close(CloseCode::TooOld),
            () = self.stop.as_mut() => self.close(CloseCode::Draining),
            () = self.over.as_mut() => self.close(CloseCode::Credential),
        }
        None
    }

    /// One more frame that makes no sense; too many of them end the connection.
    pub(super) fn mistake(&mut self) {
        if self.mistakes.one_more(Instant::now()) {
            self.close(CloseCode::BadFrames);
        }
    }

    pub(super) fn close(&mut self, code: CloseCode) {
        if !self.closed {
            self.closed = true;
            match self.clients {
                Clients::Ours => self.out.close(code),
                Clients::OpenAi => self.out.close_as(standard(code), code.wire().1),
            }
        }
    }

    fn alarm(&mut self) {
        if self.unanswered >= MISSED {
            return self.close(CloseCode::NoPong);
        }
        self.unanswered += 1;
        self.alarm.as_mut().reset(Instant::now() + self.engine.limits().socket.ping);
        self.out.ping();
    }

    fn message(&mut self, message: Message) -> Option<String> {
        self.unanswered = 0;
        let bytes = match (&message, self.clients) {
            (Message::Text(text), Clients::Ours) => text.len(),
            _ => 0,
        };
        if !self.rate.allows(bytes, Instant::now()) {
            self.close(CloseCode::Rate);
            return None;
        }
        match message {
            Message::Text(text) => return Some(text),
            Message::Part | Message::Pong => {}
            Message::Ping(payload) => self.out.pong(&payload),
            Message::Close(code) => {
                self.closed = true;
                self.out.echo(code);
            }
        }
        None
    }
}

/// The number in the words of RFC 6455, where the client shall come back: 1012 at once, 1013 later.
fn standard(code: CloseCode) -> u16 {
    match code {
        CloseCode::Draining | CloseCode::TooOld => 1012,
        CloseCode::TooSlow | CloseCode::NoPong | CloseCode::Rate => 1013,
        CloseCode::Protocol
        | CloseCode::Binary
        | CloseCode::NotUtf8
        | CloseCode::TooLarge
        | CloseCode::BadFrames
        | CloseCode::Credential
        | CloseCode::Origin
        | CloseCode::Subprotocol
        | CloseCode::NoHello => code.wire().0,
    }
}
