//! The borders of the engine: the log, the conversations beside it, the keys, the models, and hints
//! between instances.
mod carried;
mod conversations;
mod keys;
mod log;
mod operations;
mod provider;
mod request_reads;
mod signals;

pub use carried::Carried;
pub use conversations::{
    Begun, Changed, Context, ConversationAt, Conversations, Erased, Link, Made, Page, Search,
    SharedConversation,
};
pub use keys::{Found, KeyRow, Keys, NewKey};
pub use log::{
    Address, Append, Claim, Claimed, Condition, Created, Deleted, Doubled, Filter, Holder, Log,
    LogError, LogWriter, Orphan, Orphans, Pool, RowChange, Tail,
};
pub use operations::Operations;
pub use provider::{Attempt, Continuation, Delta, Deltas, Provider, ProviderError, Resume};
pub use request_reads::{Attachment, ReadEnd, RequestReads};
pub use signals::{Received, Signal, Signals, Silence, To};
