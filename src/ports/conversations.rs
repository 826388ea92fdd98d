//! Conversations and their messages, and the starts and endings that write into them.
use async_trait::async_trait;
use time::OffsetDateTime;

use super::generations::Created;
use super::log::LogError;
use crate::domain::conversation::{
    Change, Conversation, Message, NewConversation, NewMessage, Running, Turn,
};
use crate::domain::generation::NewGeneration;
use crate::domain::id::{ConversationId, GenerationId, MessageId, Tenant};
use crate::domain::prompt;
use crate::domain::share::BranchEnd;

/// All conversations. Another tenant's rows look to a tenant as if they were not there.
#[async_trait]
pub trait Conversations: Send + Sync + 'static {
    /// Stores a new one, or finds what its key has opened.
    async fn create(&self, new: &NewConversation) -> Result<Made, LogError>;

    /// One of them; `None` if the tenant has none of that id.
    async fn find(&self, at: &ConversationAt) -> Result<Option<Conversation>, LogError>;

    /// The tenant's, the most recently updated first.
    async fn list(&self, tenant: &Tenant, page: &Page) -> Result<Vec<Conversation>, LogError>;

    /// Changes one.
    async fn change(&self, at: &ConversationAt, change: &Change) -> Result<Changed, LogError>;

    /// Erases one with its messages, generations and links.
    async fn erase(&self, at: &ConversationAt) -> Result<Erased, LogError>;

    /// The messages from the root to `leaf`, the last `limit` of them; empty if there is no such
    /// message.
    async fn branch(
        &self,
        at: &ConversationAt,
        leaf: MessageId,
        limit: u32,
    ) -> Result<Vec<Message>, LogError>;

    /// All messages, each behind its parent, the newest `limit` of those older than `before`.
    async fn tree(
        &self,
        at: &ConversationAt,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>, LogError>;

    /// The answers that are being made.
    async fn running(&self, at: &ConversationAt) -> Result<Vec<Running>, LogError>;

    /// The newest user's message of the branch that ends in `leaf`.
    async fn question(
        &self,
        at: &ConversationAt,
        leaf: MessageId,
    ) -> Result<Option<MessageId>, LogError>;

    /// The context that a model gets for the branch ending in `leaf`: all system messages, and the
    /// newest others up to `bytes` of text. `None` if there is no such message.
    async fn context(
        &self,
        at: &ConversationAt,
        leaf: MessageId,
        bytes: u64,
    ) -> Result<Option<Context>, LogError>;

    /// Adds messages below the active leaf, which then is the last of them.
    async fn add(
        &self,
        at: &ConversationAt,
        messages: &[(MessageId, NewMessage)],
    ) -> Result<Placed, LogError>;

    /// Leaves `rest` of a message, or nothing: what was said below it moves up then. `seen` is the
    /// message, and its `said` when `rest` was made of it.
    async fn take(
        &self,
        at: &ConversationAt,
        seen: (MessageId, Option<&prompt::Message>),
        rest: Option<&prompt::Message>,
    ) -> Result<Placed, LogError>;

    /// Stores a turn and its generation with its first events, in one transaction. Repeating it
    /// with the same generation's id changes nothing.
    async fn begin(&self, new: &NewGeneration, turn: &Turn) -> Result<Begun, LogError>;

    /// Stores a link, by the hash of its secret. The link covers the branch up to the active leaf
    /// and the answer that is being made behind it. With `later_turns` it covers turns that are
    /// asked below it afterwards, too.
    async fn share(
        &self,
        at: &ConversationAt,
        token_hash: &[u8],
        later_turns: bool,
    ) -> Result<ShareOutcome, LogError>;

    /// Makes every link to it worthless; false if the tenant has no such conversation.
    async fn unshare(&self, at: &ConversationAt) -> Result<bool, LogError>;

    /// The conversation behind a link.
    async fn shared(&self, token_hash: &[u8]) -> Result<Option<SharedConversation>, LogError>;

    /// The answer and the end that a link leads to; `None` if there is no such link.
    async fn link(&self, token_hash: &[u8]) -> Result<Option<Link>, LogError>;

    /// Those of these links, by their hashes, that lead somewhere. A link that shows later turns
    /// has a text beside it. This text changes with each turn and each erasure in its conversation.
    async fn links_left(&self, hashes: &[Vec<u8>]) -> Result<Vec<LinkLeft>, LogError>;
}

/// A conversation of a tenant.
#[derive(Clone, Debug)]
pub struct ConversationAt {
    /// The owner.
    pub tenant: Tenant,
    /// Which.
    pub id: ConversationId,
}

/// Which conversations to list.
#[derive(Clone, Debug)]
pub struct Page {
    /// Only those updated before this one.
    pub before: Option<(OffsetDateTime, ConversationId)>,
    /// Only those in which this is said.
    pub search: Option<Search>,
    /// At most so many.
    pub limit: u32,
}

/// The text to look for in titles and messages.
#[derive(Clone, Debug)]
pub enum Search {
    /// All of these words, the last of which may be the beginning of one: by an index.
    Words(String),
    /// These very characters, wherever they stand, in either case: message by message.
    Characters(String),
}

/// The result of an opening.
#[derive(Debug)]
pub enum Made {
    /// It is new.
    New(Box<Conversation>),
    /// The key had opened it before.
    Replayed(Box<Conversation>),
    /// The key was used for another opening.
    KeyReused,
}

/// The result of a change.
#[derive(Debug)]
pub enum Changed {
    /// The conversation as it is now.
    Done(Box<Conversation>),
    /// The tenant has none of that id.
    NoConversation,
    /// The new leaf is no message of it.
    NoMessage,
}

/// The result of adding or taking messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is so.
    Done,
    /// This generation is answering there.
    Busy(GenerationId),
    /// The tenant has none of that id.
    NoConversation,
    /// The message is not as it was seen.
    Changed,
}

/// The result of an erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erased {
    /// It is gone.
    Gone,
    /// The tenant has none of that id.
    Absent,
    /// This generation has not ended.
    Running(GenerationId),
}

/// The part of a branch that a model gets.
#[derive(Debug)]
pub struct Context {
    /// Oldest first.
    pub messages: Vec<prompt::Message>,
    /// How many older ones were left out.
    pub missing: u64,
}

/// The result of a turn.
#[derive(Debug)]
pub enum Begun {
    /// The result of its generation's start.
    Generation(Created),
    /// This generation is answering there.
    Busy(GenerationId),
    /// The active leaf or the parent is not what it was: look again.
    Moved,
    /// The tenant has no such conversation.
    NoConversation,
}

/// The conversation behind a link.
#[derive(Debug)]
pub struct SharedConversation {
    /// The conversation's name.
    pub title: Option<String>,
    /// From the root to the leaf that was shared, or to the answer that was being made then.
    pub messages: Vec<Message>,
    /// Whether that answer is still being made.
    pub answering: bool,
    /// Where the branch ends now, if the link shows later turns.
    pub end: Option<BranchEnd>,
}

/// The answer and the end that a link leads to.
#[derive(Clone, Debug)]
pub struct Link {
    /// The owner of its conversation.
    pub tenant: Tenant,
    /// The answer that was being made when the link was made. It may have ended.
    pub answer: Option<GenerationId>,
    /// Where the branch ends now, if the link shows later turns.
    pub end: Option<BranchEnd>,
}

/// The hash of a link that leads somewhere, and the state of its conversation.
pub type LinkLeft = (Vec<u8>, Option<String>);

/// The result of sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareOutcome {
    /// The link is there.
    Made,
    /// Nothing is said on the active branch: later turns have no place to begin at.
    Empty,
    /// The tenant has none of that id.
    NoConversation,
}
