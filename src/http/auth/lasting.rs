//! Streams end with the credential that opened them, and when they are old.
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::dev::ServiceResponse;
use actix_web::http::header;
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::engine::{Alarm, Caller, PollGate};

/// The end of an event stream of any route: it goes on while its caller may read it, and until it
/// is of `age`. That is an early end of the body: its reader comes back, and then gets 401.
pub(in crate::http) struct Lasts {
    caller: Caller,
    over: PollGate<WaitForCancellationFutureOwned>,
    old: Alarm,
}

impl Lasts {
    /// Of this answer, if it is a stream.
    pub(super) fn of<B>(
        response: &ServiceResponse<B>,
        caller: Option<Caller>,
        age: Option<Duration>,
    ) -> Option<Self> {
        let kind = response.headers().get(header::CONTENT_TYPE)?;
        if !kind.as_bytes().starts_with(b"text/event-stream") {
            return None;
        }
        let (caller, old) = (caller?, Alarm::at(Instant::now() + age?));
        Some(Self { over: PollGate::new(Box::pin(caller.over())), caller, old })
    }

    /// Whether it is over by now: what is ready does not go out any more.
    pub(in crate::http) fn is_over(&self) -> bool {
        self.caller.is_over()
    }

    /// Ready when it is over. Asked with every event: neither costs a look at the clock or a lock.
    pub(in crate::http) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.over.poll(self.caller.is_over(), cx).is_ready() {
            return Poll::Ready(());
        }
        self.old.poll(cx)
    }
}
