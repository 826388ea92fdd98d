//! The guard's facts about an attempt, for the consumer of its events.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use crate::domain::rate_limits::RateLimits;
use crate::ports::{Delta, ProviderError};

/// Shared by the guard, which writes, and the stream of deltas, which reads.
#[derive(Debug)]
pub(crate) struct Probe {
    status: AtomicU16,
    done: AtomicBool,
    loss: OnceLock<ProviderError>,
    request_id: OnceLock<String>,
    rate_limits: OnceLock<RateLimits>,
}

impl Probe {
    /// Nothing is known yet.
    pub(crate) fn new() -> Self {
        Self {
            status: AtomicU16::new(0),
            done: AtomicBool::new(false),
            loss: OnceLock::new(),
            request_id: OnceLock::new(),
            rate_limits: OnceLock::new(),
        }
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

    /// Keeps what an accepted request's answer says of limits.
    pub(crate) fn note_rate_limits(&self, limits: RateLimits) {
        let _only_one = self.rate_limits.set(limits);
    }

    /// The notice of these limits, if there are any.
    pub(crate) fn rate_limits(&self) -> Option<Delta> {
        let limits = self.rate_limits.get().filter(|limits| !limits.is_empty())?;
        Some(Delta::Notice { code: RateLimits::NOTICE, message: limits.message() })
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
