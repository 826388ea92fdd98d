//! Hints between the instances on one database. They may be lost, late or doubled, and nothing
//! may depend on them but how soon something happens.
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, error::RecvError};

use super::carried::Carried;
use crate::domain::id::{ConversationId, GenerationId, InstanceId, Seq, Tenant};
use crate::domain::room::RoomHint;

/// Carries hints from instance to instance.
#[async_trait]
pub trait Signals: Send + Sync + 'static {
    /// Hands a hint in and never waits: it goes out with the others of the next few milliseconds.
    /// Of two equal ones that wait, the later stays. It never comes back to its sender.
    fn send(&self, to: To, signal: Signal);

    /// The hints that other instances send from now on.
    fn receive(&self) -> BoxStream<'static, Received>;

    /// Whether hints arrive here as far as is known. A safety net that polls the log may poll
    /// rarely then.
    fn work(&self) -> bool;

    /// Bytes of entries that a hint may carry: what is more is read from the log.
    fn room(&self) -> usize;

    /// Receives and sends until [`Signals::close`]; before it runs nothing comes and nothing goes.
    async fn run(self: Arc<Self>);

    /// Sends what waits, and ends.
    async fn close(&self);
}

/// Whom a hint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum To {
    /// All other instances.
    All,
    /// That instance.
    One(InstanceId),
}

/// A hint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Signal {
    /// A cancel was asked for, durably: for the generation's owner.
    Cancel {
        /// Which.
        generation: GenerationId,
    },
    /// That instance reads the generation, has it up to `after`, and wants to hear of more for a
    /// while: for its owner.
    Follow {
        /// The instance that reads.
        reader: InstanceId,
        /// Which.
        generation: GenerationId,
        /// The last entry that is there.
        after: Seq,
    },
    /// More of it is in the log: for those who follow it.
    Grown {
        /// Which.
        generation: GenerationId,
        /// The new entries, if they are few enough to fit: nobody has to read the log then.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        entries: Vec<Carried>,
    },
    /// It has a new owner, and its log has grown: for all who read it.
    TakenOver {
        /// Which.
        generation: GenerationId,
    },
    /// That instance has given its lease up: others may take its generations over at once.
    Released {
        /// The instance that committed.
        owner: InstanceId,
    },
    /// Something about who is in a conversation.
    Room {
        /// The instance that says so.
        from: InstanceId,
        /// The tenant of the conversation.
        tenant: Tenant,
        /// Which.
        conversation: ConversationId,
        /// The hint itself.
        #[serde(flatten)]
        hint: RoomHint,
    },
    /// That instance lives, and so do those who are in a conversation there.
    RoomsAlive {
        /// Which.
        from: InstanceId,
    },
    /// A key or a session has ended: look whether its callers are still in.
    KeyChanged,
    /// Readers of answers were cut, which is in the log: for repeats of their requests.
    ReadersCut,
}

impl Signal {
    /// Bytes of the entries that it carries.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        match self {
            Self::Grown { entries, .. } => entries.iter().map(Carried::bytes).sum(),
            Self::Cancel { .. }
            | Self::Follow { .. }
            | Self::TakenOver { .. }
            | Self::Released { .. }
            | Self::Room { .. }
            | Self::RoomsAlive { .. }
            | Self::KeyChanged
            | Self::ReadersCut => 0,
        }
    }

    /// The same without its entries: they are in the log.
    #[must_use]
    pub fn without_entries(&self) -> Self {
        match self {
            Self::Grown { generation, .. } => {
                Self::Grown { generation: *generation, entries: Vec::new() }
            }
            Self::Cancel { .. }
            | Self::Follow { .. }
            | Self::TakenOver { .. }
            | Self::Released { .. }
            | Self::Room { .. }
            | Self::RoomsAlive { .. }
            | Self::KeyChanged
            | Self::ReadersCut => self.clone(),
        }
    }
}

/// An item that a receiver gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A hint of another instance.
    Signal(Signal),
    /// Hints may have been lost, and from now on they arrive again: catch up. Comes first of all,
    /// too, when hints begin to arrive.
    Gap,
}

/// The items of a carrier's channel. A receiver that is too slow misses hints, which is a gap.
pub fn received(channel: broadcast::Receiver<Received>) -> BoxStream<'static, Received> {
    stream::unfold(channel, |mut channel| async move {
        match channel.recv().await {
            Ok(received) => Some((received, channel)),
            Err(RecvError::Lagged(_)) => Some((Received::Gap, channel)),
            Err(RecvError::Closed) => None,
        }
    })
    .boxed()
}

/// No hints at all: everything is found by looking at the log.
#[derive(Debug)]
pub struct Silence;

#[async_trait]
impl Signals for Silence {
    fn send(&self, _: To, _: Signal) {}

    fn receive(&self) -> BoxStream<'static, Received> {
        stream::pending().boxed()
    }

    fn work(&self) -> bool {
        false
    }

    fn room(&self) -> usize {
        0
    }

    async fn run(self: Arc<Self>) {}

    async fn close(&self) {}
}
