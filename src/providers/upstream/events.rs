//! The events of an upstream's answer, sane: whole, of bounded size, in UTF-8, when they are asked
//! for.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::framer::{Frame, Framer, TooLarge};
use super::guard::{Guard, Timeouts, lost, not_begun, too_large, truncated};
use super::probe::Probe;
use super::text::escape_byte;
use crate::domain::event::ErrorCode;
use crate::ports::ProviderError;

/// How long the end of the body may take behind the end of the answer: then the connection is
/// closed.
const CLOSING: Duration = Duration::from_millis(100);

/// The data of an answer's events. It ends with the answer, at `[DONE]`, or with a loss that the
/// probe knows.
pub(crate) struct Events {
    /// `None` once it has ended.
    upstream: Option<BoxStream<'static, reqwest::Result<Bytes>>>,
    framer: Framer,
    max_event: usize,
    probe: Arc<Probe>,
    timeouts: Timeouts,
    /// When the first event must be there; `None` once it is. Until then the open connection
    /// counts as life: llama.cpp sends its head at once, and may send no byte while it reads.
    first_event: Option<Instant>,
    /// Whether a byte has come.
    begun: bool,
    last_byte: Instant,
    last_event: Instant,
    /// An event was taken, and nothing was asked for since.
    taken: bool,
    /// Rings at the deadline, or before it.
    alarm: Option<Pin<Box<Sleep>>>,
    closing: Option<Pin<Box<Sleep>>>,
}

/// Nothing came in time.
struct Silent;

impl Stream for Events {
    type Item = String;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<String>> {
        if std::mem::take(&mut self.taken) {
            // The consumer's time is not the upstream's.
            self.last_byte = Instant::now();
            self.last_event = self.last_byte;
        }
        match ready!(self.poll_frame(cx)) {
            Ok(Some(frame)) if frame.data.trim_ascii() == b"[DONE]" => self.probe.note_done(),
            Ok(Some(frame)) => {
                self.taken = true;
                self.first_event = None;
                return Poll::Ready(Some(sane(frame)));
            }
            Ok(None) => {}
            Err(loss) => {
                self.upstream = None;
                self.probe.fail(loss);
            }
        }
        Poll::Ready(None)
    }
}

impl Events {
    /// The events in the bytes of `upstream`, whose request was sent at `sent`.
    pub(crate) fn new(
        upstream: BoxStream<'static, reqwest::Result<Bytes>>,
        guard: Guard,
        sent: Instant,
    ) -> Self {
        Self {
            upstream: Some(upstream),
            framer: Framer::new(guard.max_event),
            max_event: guard.max_event,
            probe: guard.probe,
            timeouts: guard.timeouts,
            first_event: Some(sent + guard.timeouts.first_event),
            begun: false,
            last_byte: sent,
            last_event: sent,
            taken: false,
            alarm: None,
            closing: None,
        }
    }

    /// The answer is whole: waits a moment for the end of the body, or its connection could not be
    /// used again.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(upstream) = &mut self.upstream else { return Poll::Ready(()) };
        if upstream.poll_next_unpin(cx).is_ready() {
            return Poll::Ready(());
        }
        let closing = self.closing.get_or_insert_with(|| Box::pin(sleep(CLOSING)));
        closing.as_mut().poll(cx)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, ProviderError>> {
        loop {
            match self.framer.next() {
                Ok(None) => {}
                Ok(frame) => return Poll::Ready(Ok(frame)),
                Err(TooLarge) => return Poll::Ready(Err(too_large(self.max_event))),
            }
            if self.upstream.is_none() {
                return Poll::Ready(Ok(None));
            }
            match ready!(self.poll_bytes(cx)) {
                Ok(Some(Ok(bytes))) => {
                    self.last_byte = Instant::now();
                    self.begun = true;
                    self.framer.push(bytes);
                }
                Ok(Some(Err(_))) => {
                    return Poll::Ready(Err(truncated("the connection to the model broke")));
                }
                Ok(None) => {
                    self.upstream = None;
                    return Poll::Ready(Ok(self.framer.finish()));
                }
                Err(Silent) => return Poll::Ready(Err(self.silence())),
            }
        }
    }

    /// The next bytes, or a timeout. A new timer for each piece would take the runtime's lock
    /// twice. This one is set anew when it fires, or would fire too late.
    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<reqwest::Result<Bytes>>, Silent>> {
        let Some(upstream) = &mut self.upstream else { return Poll::Ready(Ok(None)) };
        if let Poll::Ready(bytes) = upstream.poll_next_unpin(cx) {
            return Poll::Ready(Ok(bytes));
        }
        let deadline = self.deadline();
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() > deadline {
            alarm.as_mut().reset(deadline);
        }
        loop {
            ready!(alarm.as_mut().poll(cx));
            if deadline <= Instant::now() {
                return Poll::Ready(Err(Silent));
            }
            alarm.as_mut().reset(deadline);
        }
    }

    fn deadline(&self) -> Instant {
        let bytes = self.last_byte + self.timeouts.idle_bytes;
        let events = self.last_event + self.timeouts.idle_events;
        self.first_event.unwrap_or_else(|| bytes.min(events))
    }

    fn silence(&self) -> ProviderError {
        if !self.begun {
            return not_begun(self.timeouts.first_event);
        }
        if self.first_event.is_some() {
            let time = self.timeouts.first_event;
            let message = format!("the model has said nothing within {time:?}, only keep-alives");
            return lost(ErrorCode::UpstreamStalled, message, true);
        }
        let dead = self.last_byte.elapsed() >= self.timeouts.idle_bytes;
        let (what, time) = if dead {
            ("the connection to the model has been silent", self.timeouts.idle_bytes)
        } else {
            ("the model has sent nothing but keep-alives", self.timeouts.idle_events)
        };
        lost(ErrorCode::UpstreamStalled, format!("{what} for {time:?}"), true)
    }
}

/// The data of one event in valid UTF-8.
fn sane(frame: Frame) -> String {
    let text = String::from_utf8(frame.data).unwrap_or_else(|invalid| {
        invalid.as_bytes().utf8_chunks().fold(String::new(), |mut text, chunk| {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|byte| escape_byte(*byte)));
            text
        })
    });
    if frame.error { as_error(text) } else { text }
}

/// The data of an `error` event in the form in which errors come inside the data.
fn as_error(text: String) -> String {
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| text.into());
    if value.get("error").is_some() {
        return value.to_string();
    }
    serde_json::json!({ "error": value }).to_string()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;

    use crate::providers::upstream::events::*;

    fn sane_text(data: &[u8], error: bool) -> String {
        sane(Frame { data: data.to_vec(), error })
    }

    #[test]
    fn what_is_let_through_is_one_event_in_utf8() {
        assert_eq!(sane_text(b"{\"a\":1}", false), "{\"a\":1}");
        assert_eq!(sane_text(b"{\n}", false), "{\n}");
        assert_eq!(sane_text(b"\"caf\xE9\"", false), "\"caf\\udce9\"");
        assert_eq!(sane_text(b"no", true), "{\"error\":\"no\"}");
        assert_eq!(sane_text(b"{\"code\":5}", true), "{\"error\":{\"code\":5}}");
        assert_eq!(sane_text(b"{\"error\":5}", true), "{\"error\":5}");
    }

    fn events(upstream: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static) -> Events {
        let timeouts = Timeouts::default();
        let guard = Guard {
            http: reqwest::Client::default(),
            probe: Arc::new(Probe::new()),
            timeouts,
            max_event: 1 << 20,
            trace: None,
            has_key: false,
            dress: Arc::default(),
        };
        Events::new(upstream.boxed(), guard, Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_ahead_and_the_consumers_time_counts_for_no_timeout() {
        let read = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&read);
        let flood = stream::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Bytes::from_static(b"data: 1\n\ndata: 2\n\n"))
        });
        let late = stream::once(async {
            tokio::time::sleep(Duration::from_secs(59)).await;
            Ok(Bytes::from_static(b"data: 3\n\n"))
        });
        let mut events = events(flood.take(2).chain(late));
        for expected in ["1", "2", "1", "2"] {
            assert_eq!(events.next().await.as_deref(), Some(expected));
        }
        assert_eq!(read.load(Ordering::Relaxed), 2);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(events.next().await.as_deref(), Some("3"));
        assert_eq!(events.next().await, None);
        assert_eq!(events.probe.loss(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_body_is_waited_for_but_not_for_long() {
        let done = || stream::iter([Ok(Bytes::from_static(b"data: [DONE]\n\n"))]);
        let soon = stream::once(async {
            tokio::time::sleep(CLOSING / 2).await;
            Ok(Bytes::new())
        });
        let never = stream::pending().boxed();
        let bodies = [done().boxed(), done().chain(soon).boxed(), done().chain(never).boxed()];
        let mut waits = Vec::new();
        for body in bodies {
            let mut events = events(body);
            assert_eq!(events.next().await, None);
            let begun = Instant::now();
            poll_fn(|cx| events.poll_closed(cx)).await;
            waits.push(begun.elapsed().as_millis());
        }
        assert_eq!(waits, [0, 50, 100]);
    }

    /// The code of the loss, and after how many seconds, when each of `pieces` comes after so many.
    async fn silence(pieces: &[(u64, &'static str)]) -> (ErrorCode, u64) {
        let start = Instant::now();
        let slow = stream::iter(pieces.to_vec()).then(|(seconds, text)| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(Bytes::from_static(text.as_bytes()))
        });
        let events = events(slow.chain(stream::pending()));
        let probe = events.probe.clone();
        events.for_each(|_| async {}).await;
        (probe.loss().unwrap().code, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn three_kinds_of_silence() {
        use ErrorCode::{UpstreamStalled as Stalled, UpstreamTimeout as Timeout};
        let event = "data: 1\n\n";
        assert_eq!(silence(&[]).await, (Timeout, 600), "a head alone is waited for");
        assert_eq!(silence(&[(599, event)]).await, (Stalled, 659), "a long prompt was read");
        assert_eq!(silence(&[(1, event)]).await, (Stalled, 61), "no byte after the first");
        assert_eq!(silence(&[(100, event)]).await, (Stalled, 160), "nor after a late one");
        let pings = &[(50, ":\n"), (50, ":\n"), (50, ":\n"), (50, ":\n"), (50, ":\n")];
        assert_eq!(silence(pings).await, (Stalled, 600), "a long prompt is waited for");
        let pings: Vec<_> = [(1, event)].into_iter().chain([(50, ":\n"); 5]).collect();
        assert_eq!(silence(&pings).await, (Stalled, 121), "keep-alives do not fool it");
        let slow = &[(59, event), (59, event), (59, event)];
        assert_eq!(silence(slow).await, (Stalled, 237), "slow is not silent");
    }
}
