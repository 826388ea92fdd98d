//! The client's messages.
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use actix_web::web::Payload;
use futures_util::StreamExt;

use super::wire::{Decoder, Fault, Message};
use crate::http::body::Share;

/// The incoming half of a connection.
pub(super) struct Inbound {
    payload: Payload,
    decoder: Decoder,
    /// Its part of the memory for what arrives, where messages may be large.
    share: Option<Share>,
}

impl Inbound {
    /// Messages of at most so many bytes.
    pub(super) fn new(payload: Payload, frame_bytes: usize) -> Self {
        Self { payload, decoder: Decoder::new(frame_bytes), share: None }
    }

    /// The same, within the memory that bodies of requests share.
    pub(super) fn sharing(mut self, share: Share) -> Self {
        self.share = Some(share);
        self
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
            let heard = self.decoder.next().transpose();
            if let Some(share) = self.share.as_mut().filter(|_| self.decoder.is_idle()) {
                share.release();
            }
            if let Some(heard) = heard {
                return Poll::Ready(Some(heard));
            }
            match ready!(self.payload.poll_next_unpin(cx)) {
                Some(Ok(bytes)) => {
                    let taken = self.share.as_mut().map_or(Ok(()), |s| s.take(bytes.len()));
                    if taken.is_err() {
                        return Poll::Ready(Some(Err(Fault::NoMemory)));
                    }
                    self.decoder.feed(bytes);
                }
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    }
}
