//! The deltas of one attempt, as the engine pulls them.
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use tokio::time::Sleep;

use super::events::Events;
use super::probe::Probe;
use crate::ports::{Delta, ProviderError};

/// How long the usage may take behind the finish: the answer is complete and waits for it.
const USAGE_TIME: Duration = Duration::from_secs(3);

/// The sum of a wire protocol's chunks: a pure fold, with the rule for its end.
pub(crate) trait Fold {
    /// One event of the wire.
    type Chunk: DeserializeOwned;

    /// Takes a chunk.
    ///
    /// # Errors
    /// The chunk says that the attempt is lost.
    fn chunk(&mut self, chunk: Self::Chunk) -> Result<(), ProviderError>;

    /// Takes a chunk that could not be parsed.
    fn bad_chunk(&mut self);

    /// Whether the model came to its end: nothing but usage counts from then on.
    fn is_finished(&self) -> bool;

    /// Whether the wire said that nothing follows.
    fn is_over(&self) -> bool;

    /// The stream is over: `done` if `[DONE]` was seen, `loss` if the guard stopped it.
    ///
    /// # Errors
    /// It was cut off.
    fn end(&mut self, done: bool, loss: Option<ProviderError>) -> Result<(), ProviderError>;

    /// The next delta that the consumer has not taken yet.
    fn pop(&mut self) -> Option<Delta>;
}

/// Pulls events and yields their deltas. Dropping it closes the upstream; so does its end.
pub(crate) struct DeltaStream<F> {
    /// `None` once it is over.
    events: Option<Events>,
    /// Nothing follows but the end of the body.
    over: bool,
    fold: F,
    probe: Arc<Probe>,
    /// The notice made from the answer's head; it comes first.
    head: Option<Delta>,
    loss: Option<ProviderError>,
    /// Runs from the finish on.
    patience: Option<Pin<Box<Sleep>>>,
    secrets: Vec<String>,
}

impl<F: Fold> DeltaStream<F> {
    /// The deltas that `fold` makes of `events`, which come through the guard of `probe`.
    pub(crate) fn new(events: Events, fold: F, probe: Arc<Probe>, secrets: Vec<String>) -> Self {
        Self {
            events: Some(events),
            over: false,
            fold,
            head: probe.rate_limits(),
            probe,
            loss: None,
            patience: None,
            secrets,
        }
    }

    fn take(&mut self, event: String) {
        let chunk = serde_json::from_str(&event);
        // It may have megabytes, which the chunk has a copy of.
        drop(event);
        match chunk {
            Ok(chunk) => {
                if let Err(loss) = self.fold.chunk(chunk) {
                    self.end_with(loss);
                }
            }
            Err(_) => self.fold.bad_chunk(),
        }
        if self.fold.is_over() {
            self.over = true;
        } else if self.fold.is_finished() && self.patience.is_none() {
            self.patience = Some(Box::pin(tokio::time::sleep(USAGE_TIME)));
        }
    }

    fn end(&mut self) {
        self.events = None;
        if let Err(loss) = self.fold.end(self.probe.is_done(), self.probe.loss()) {
            self.end_with(loss);
        }
    }

    fn end_with(&mut self, loss: ProviderError) {
        self.events = None;
        self.loss = Some(self.probe.describe(loss, self.secrets.iter().map(String::as_str)));
    }
}

impl<F: Fold + Unpin> Stream for DeltaStream<F> {
    type Item = Result<Delta, ProviderError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(head) = this.head.take() {
                return Poll::Ready(Some(Ok(head)));
            }
            if let Some(delta) = this.fold.pop() {
                return Poll::Ready(Some(Ok(delta)));
            }
            let Some(events) = &mut this.events else {
                return Poll::Ready(this.loss.take().map(Err));
            };
            if this.over {
                ready!(events.poll_closed(cx));
                this.end();
                continue;
            }
            match (events.poll_next_unpin(cx), &mut this.patience) {
                (Poll::Ready(Some(event)), _) => this.take(event),
                (Poll::Ready(None), _) => this.over = true,
                (Poll::Pending, Some(patience)) => {
                    ready!(patience.as_mut().poll(cx));
                    this.end();
                }
                (Poll::Pending, None) => return Poll::Pending,
            }
        }
    }
}
