//! What an attempt's guard and its consumer tell each other past the library between them.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::sync::Semaphore;

use super::guard::WINDOW;
use crate::ports::ProviderError;

/// An event of so many bytes takes one more place in the window.
const LARGE: usize = 1 << 20;

/// Shared by the guard, which writes, and the stream of deltas, which reads.
#[derive(Debug)]
pub(crate) struct Probe {
    room: Semaphore,
    /// The room that each event takes which its consumer has not taken yet.
    taken: Mutex<VecDeque<u32>>,
    status: AtomicU16,
    done: AtomicBool,
    loss: OnceLock<ProviderError>,
    request_id: OnceLock<String>,
}

impl Probe {
    /// A probe with room for [`WINDOW`] events.
    pub(crate) fn new() -> Self {
        Self {
            room: Semaphore::new(WINDOW),
            taken: Mutex::default(),
            status: AtomicU16::new(0),
            done: AtomicBool::new(false),
            loss: OnceLock::new(),
            request_id: OnceLock::new(),
        }
    }

    /// Waits until one more event of that many bytes may be let through: a large one takes the
    /// place of many.
    pub(crate) async fn wait_for_room(&self, bytes: usize) {
        let places = (1 + bytes / LARGE).min(WINDOW);
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        if let Ok(permit) = self.room.acquire_many(places).await {
            permit.forget();
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).push_back(places);
        }
    }

    /// The consumer has taken an event.
    pub(crate) fn make_room(&self) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        self.room.add_permits(taken.unwrap_or_default() as usize);
    }

    /// Keeps the status of the answer.
    pub(crate) fn note_status(&self, status: u16) {
        self.status.store(status, Ordering::Release);
    }

    /// The status of the answer; 0 before there is one.
    pub(crate) fn status(&self) -> u16 {
        self.status.load(Ordering::Acquire)
    }

    /// `[DONE]` was seen.
    pub(crate) fn note_done(&self) {
        self.done.store(true, Ordering::Release);
    }

    /// Whether `[DONE]` was seen.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// The attempt is lost; the first reason counts.
    pub(crate) fn fail(&self, loss: ProviderError) {
        let _first_counts = self.loss.set(loss);
    }

    /// Why the attempt was lost, if it was.
    pub(crate) fn loss(&self) -> Option<ProviderError> {
        self.loss.get().cloned()
    }

    /// Keeps the upstream's id of the request, by which its support finds it.
    pub(crate) fn note_request_id(&self, headers: &http::HeaderMap) {
        const MAX_CHARS: usize = 80;
        let id = ["x-request-id", "request-id"].iter().find_map(|name| headers.get(*name));
        if let Some(id) = id.and_then(|id| id.to_str().ok()) {
            let _only_one = self.request_id.set(id.chars().take(MAX_CHARS).collect());
        }
    }

    /// `loss` as it may be told: without `secrets`, with the upstream's id of the request.
    pub(crate) fn describe<'a>(
        &self,
        mut loss: ProviderError,
        secrets: impl Iterator<Item = &'a str>,
    ) -> ProviderError {
        /// Shorter texts stand in a message by chance. In bytes.
        const SECRET: usize = 8;
        for secret in secrets.map(str::trim).filter(|s| s.len() >= SECRET) {
            loss.message = loss.message.replace(secret, "[…]");
        }
        if let Some(id) = self.request_id.get() {
            loss.message = format!("{} (request {id})", loss.message);
        }
        loss
    }
}
