//! What comes in, as messages.
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use actix_web::web::Payload;
use futures_util::StreamExt;

use super::wire::{Decoder, Fault, Message};

/// What the client sends.
pub(super) struct Inbound {
    payload: Payload,
    decoder: Decoder,
}

impl Inbound {
    /// Messages of at most so many bytes.
    pub(super) fn new(payload: Payload, frame_bytes: usize) -> Self {
        Self { payload, decoder: Decoder::new(frame_bytes) }
    }

    /// The next message; `None` when the client is gone. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<Message, Fault>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Fault>>> {
        loop {
            if let Some(heard) = self.decoder.next().transpose() {
                return Poll::Ready(Some(heard));
            }
            match ready!(self.payload.poll_next_unpin(cx)) {
                Some(Ok(bytes)) => self.decoder.feed(bytes),
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    }
}
