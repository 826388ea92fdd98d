//! The readers of the answer to a request: the same request, sent again, can take the answer over.
use std::time::Duration;

use async_trait::async_trait;

use super::LogError;
use crate::domain::id::GenerationId;

/// The readers of answers to POSTs of a protocol.
#[async_trait]
pub trait RequestReads: Send + Sync + 'static {
    /// Takes over the oldest answer to the same request whose reader was cut within `window`, and
    /// which nobody took over yet. Of several callers at a time each gets another one, or none.
    async fn attach(&self, sought: Sought<'_>, window: Duration) -> Result<Attachment, LogError>;

    /// Notes how readers of this process ended. A lost note costs one attachment too many, or one
    /// too few.
    async fn note(&self, ended: &[(GenerationId, ReadEnd)]) -> Result<(), LogError>;
}

/// An answer to be taken over.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    /// Of its request.
    pub hash: &'a [u8],
    /// Whether it may be one whose client closed by itself.
    pub is_retry: bool,
    /// That one and no other.
    pub of: Option<GenerationId>,
}

/// The result of an attempt to take an answer over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// The caller reads this answer now.
    Taken(GenerationId),
    /// The same request runs, and somebody reads its answer.
    Read,
    /// There is no such answer.
    None,
}

/// How a reader of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadEnd {
    /// It has the whole answer.
    Delivered,
    /// The server cut it.
    Cut,
    /// The client closed its connection.
    ClientLeft,
}
