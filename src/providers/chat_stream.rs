//! The deltas of one attempt, as the engine pulls them.
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_openai::error::OpenAIError;
use async_openai::types::stream::StreamResponse;
use futures_util::Stream;
use tokio::time::Sleep;

use super::chat_map::ChatMap;
use super::chat_wire::ChatChunk;
use super::probe::Probe;
use crate::ports::{Delta, ProviderError};

/// How long the usage may take behind the finish: the answer is complete and waits for it.
const USAGE_TIME: Duration = Duration::from_secs(3);

/// Pulls chunks, gives the guard room for each, and yields their deltas. Dropping it closes the
/// upstream; so does its end.
pub(crate) struct ChatStream {
    /// `None` once it is over.
    chunks: Option<StreamResponse<ChatChunk>>,
    probe: Arc<Probe>,
    map: ChatMap,
    loss: Option<ProviderError>,
    /// Runs from the finish on.
    patience: Option<Pin<Box<Sleep>>>,
    key: Option<String>,
}

impl ChatStream {
    /// The deltas of `chunks`, which come through the guard of `probe`.
    pub(crate) fn new(
        chunks: StreamResponse<ChatChunk>,
        probe: Arc<Probe>,
        key: Option<String>,
    ) -> Self {
        let map = ChatMap::default();
        Self { chunks: Some(chunks), probe, map, loss: None, patience: None, key }
    }

    fn take(&mut self, chunk: Result<ChatChunk, OpenAIError>) {
        self.probe.make_room();
        match chunk {
            Ok(chunk) => {
                if let Err(loss) = self.map.chunk(chunk) {
                    self.end_with(loss);
                }
            }
            // Only a chunk that is not JSON, or not of its shape, comes as an error: the guard
            // lets no other fault through.
            Err(_) => self.map.bad_chunk(),
        }
        if self.map.is_finished() && self.patience.is_none() {
            self.patience = Some(Box::pin(tokio::time::sleep(USAGE_TIME)));
        }
    }

    fn end(&mut self) {
        self.chunks = None;
        if let Err(loss) = self.map.end(self.probe.is_done(), self.probe.loss()) {
            self.end_with(loss);
        }
    }

    fn end_with(&mut self, loss: ProviderError) {
        self.chunks = None;
        self.loss = Some(self.probe.describe(loss, self.key.as_deref().into_iter()));
    }
}

impl Stream for ChatStream {
    type Item = Result<Delta, ProviderError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(delta) = this.map.out.pop_front() {
                return Poll::Ready(Some(Ok(delta)));
            }
            let Some(chunks) = &mut this.chunks else {
                return Poll::Ready(this.loss.take().map(Err));
            };
            match (chunks.as_mut().poll_next(cx), &mut this.patience) {
                (Poll::Ready(Some(chunk)), _) => this.take(chunk),
                (Poll::Ready(None), _) => this.end(),
                (Poll::Pending, Some(patience)) => {
                    ready!(patience.as_mut().poll(cx));
                    this.end();
                }
                (Poll::Pending, None) => return Poll::Pending,
            }
        }
    }
}
