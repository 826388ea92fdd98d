//! The borders of the engine: the log, the conversations beside it, the keys, the models, and hints
//! between instances.
mod carried;
mod conversations;
pub mod envelope;
mod events;
mod generations;
mod keys;
mod leases;
mod log;
mod operations;
mod outbox;
mod ownership;
mod pictures;
mod provider;
mod request_reads;
mod signals;
mod storage;
mod upkeep;

pub use carried::Carried;
pub use conversations::{
    Begun, Changed, Context, ConversationAt, Conversations, Erased, Link, LinkLeft, Made, Page,
    Placed, Search, ShareOutcome, SharedConversation,
};
pub use events::{Append, EventPage, Events, LogWriter, PAGE_BYTES, RowChange, Tail};
pub use generations::{Created, Deleted, Filter, Generations};
pub use keys::{Found, KeyRow, Keys, NewKey};
pub use leases::Leases;
pub use log::{Address, Doubled, Log, LogError};
pub use operations::Operations;
pub use outbox::Outbox;
pub use ownership::{Claim, Claimed, Orphan, Orphans, Ownership};
pub use pictures::Pictures;
pub use provider::{Attempt, Continuation, Delta, Deltas, Provider, ProviderError, Resume};
pub use request_reads::{Attachment, ReadEnd, RequestReads, Sought};
pub use signals::{Received, Signal, Signals, Silence, To, received};
pub use storage::Storage;
pub use upkeep::{Condition, Holder, HolderKind, MOST_ERASED, Pool, Upkeep};
