//! Conversations: what a client sees of them and changes in them. [`turn`] starts generations in
//! them.
mod continued;
mod items;
mod links;
mod told;
mod turn;
mod viewers;

pub use continued::Continue;
pub use links::{ViewError, Viewed};
use serde::Serialize;
pub(super) use turn::Turns;
pub(super) use viewers::Links;
pub use viewers::{VIEWERS, Viewing};

use super::Engine;
use crate::domain::conversation::{Change, Conversation, Message, NewConversation, Running};
use crate::domain::id::{GenerationId, MessageId, Tenant};
use crate::domain::share::{NoRandomness, ShareToken};
use crate::ports::{
    Changed, ConversationAt, Conversations, Erased, LogError, Made, Page, ShareOutcome,
    SharedConversation,
};

/// Why a request about one conversation is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConverseError {
    /// The tenant has none of that id.
    #[error("there is no conversation of that id")]
    NotFound,
    /// It has no message of that id.
    #[error("there is no message of that id in this conversation")]
    NoMessage,
    /// This generation has not ended.
    #[error("a generation of this conversation has not ended: cancel it first")]
    Running(GenerationId),
    /// Not a cursor of these messages.
    #[error("`cursor` is the `next_cursor` of an earlier page of the same messages")]
    NoCursor,
    /// A link to later turns begins at a message.
    #[error("nothing is said on this branch yet: a link to later turns begins at a message")]
    NothingSaid,
    /// No link without a secret.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The log is out of reach or broken.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Which messages to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of the active branch.
    Active,
    /// Those of the branch that ends there.
    Branch(MessageId),
    /// All.
    Tree,
}

/// How much of them.
#[derive(Clone, Copy, Debug)]
pub struct MessagePage {
    /// Only what is older than the page that gave it.
    pub cursor: Option<MessageId>,
    /// The newest so many.
    pub limit: u32,
}

/// Messages of a conversation, and what there is to know beside them.
#[derive(Debug, Serialize)]
pub struct Messages {
    /// Root to leaf, or each behind its parent.
    pub data: Vec<Message>,
    /// Leads to older ones, if there are any.
    pub next_cursor: Option<MessageId>,
    /// The message that the active branch ends in.
    pub active_leaf: Option<MessageId>,
    /// Answers that are no messages yet.
    pub running: Vec<Running>,
}

impl Engine {
    pub(super) fn conversations(&self) -> &dyn Conversations {
        &*self.inner.log.conversations
    }

    /// Stores a new conversation, or finds what its key has opened.
    ///
    /// # Errors
    /// The log is out of reach or broken.
    pub async fn new_conversation(&self, new: &NewConversation) -> Result<Made, LogError> {
        self.conversations().create(new).await
    }

    /// A conversation as it stands.
    ///
    /// # Errors
    /// See [`ConverseError`].
    pub async fn conversation(&self, at: &ConversationAt) -> Result<Conversation, ConverseError> {
        self.conversations().find(at).await?.ok_or(ConverseError::NotFound)
    }

    /// The tenant's conversations, the most recently updated first, and whether there are more.
    ///
    /// # Errors
    /// The log is out of reach or broken.
    pub async fn list_conversations(
        &self,
        tenant: &Tenant,
        mut page: Page,
    ) -> Result<(Vec<Conversation>, bool), LogError> {
        let wanted = page.limit;
        page.limit += 1;
        let mut found = self.conversations().list(tenant, &page).await?;
        let more = found.len() > wanted as usize;
        found.truncate(wanted as usize);
        Ok((found, more))
    }

    /// Changes a conversation.
    ///
    /// # Errors
    /// See [`ConverseError`].
    pub async fn change_conversation(
        &self,
        at: &ConversationAt,
        change: &Change,
    ) -> Result<Conversation, ConverseError> {
        match self.conversations().change(at, change).await? {
            Changed::Done(conversation) => Ok(*conversation),
            Changed::NoConversation => Err(ConverseError::NotFound),
            Changed::NoMessage => Err(ConverseError::NoMessage),
        }
    }

    /// Erases a conversation with its messages, generations and links.
    ///
    /// # Errors
    /// See [`ConverseError`].
    pub async fn erase_conversation(&self, at: &ConversationAt) -> Result<(), ConverseError> {
        match self.conversations().erase(at).await? {
            Erased::Gone => {
                self.look_at_links();
                Ok(())
            }
            Erased::Absent => Err(ConverseError::NotFound),
            Erased::Running(generation) => Err(ConverseError::Running(generation)),
        }
    }

    /// Messages of a conversation.
    ///
    /// Running answers are read first. An answer that ends meanwhile is then in both lists, under
    /// one id, and never in none.
    ///
    /// # Errors
    /// See [`ConverseError`].
    pub async fn messages(
        &self,
        at: &ConversationAt,
        which: Which,
        page: MessagePage,
    ) -> Result<Messages, ConverseError> {
        let store = self.conversations();
        let running = store.running(at).await?;
        let conversation = self.conversation(at).await?;
        let active_leaf = conversation.active_leaf;
        let leaf = match which {
            Which::Tree => None,
            Which::Active => active_leaf,
            Which::Branch(leaf) => Some(leaf),
        };
        let MessagePage { cursor, limit } = page;
        let (data, next_cursor) = match (which, cursor.or(leaf)) {
            (Which::Tree, _) => {
                // One more, to know whether there are more.
                let mut tree = store.tree(at, cursor, limit + 1).await?;
                let more = tree.len() > limit as usize;
                tree.drain(..usize::from(more));
                let next = tree.first().filter(|_| more).map(|message| message.id);
                (tree, next)
            }
            (Which::Active | Which::Branch(_), None) => (Vec::new(), None),
            (Which::Active | Which::Branch(_), Some(leaf)) => {
                // The next page is the branch that ends above this one.
                let branch = store.branch(at, leaf, limit).await?;
                let next = branch.first().and_then(|message| message.parent_id);
                (branch, next)
            }
        };
        match (which, cursor) {
            (_, Some(_)) if data.is_empty() => return Err(ConverseError::NoCursor),
            (Which::Branch(_), None) if data.is_empty() => return Err(ConverseError::NoMessage),
            (Which::Tree | Which::Active | Which::Branch(_), _) => {}
        }
        let running = running.into_iter().filter(|r| data.iter().all(|m| m.id.0 != r.generation.0));
        Ok(Messages { running: running.collect(), active_leaf, data, next_cursor })
    }

    /// A link to the active branch as it is now, and to the answer that is being made there. With
    /// `later_turns` it leads also to turns that are asked below it afterwards.
    ///
    /// # Errors
    /// See [`ConverseError`].
    pub async fn share(
        &self,
        at: &ConversationAt,
        later_turns: bool,
    ) -> Result<ShareToken, ConverseError> {
        let token = ShareToken::random()?;
        match self.conversations().share(at, &token.hash(), later_turns).await? {
            ShareOutcome::Made => Ok(token),
            ShareOutcome::Empty => Err(ConverseError::NothingSaid),
            ShareOutcome::NoConversation => Err(ConverseError::NotFound),
        }
    }

    /// Makes every link to a conversation worthless.
    ///
    /// # Errors
    /// See [`ConverseError`].
    pub async fn unshare(&self, at: &ConversationAt) -> Result<(), ConverseError> {
        let there = self.conversations().unshare(at).await?;
        self.look_at_links();
        if there { Ok(()) } else { Err(ConverseError::NotFound) }
    }

    /// The conversation behind a link; `None` if there is no such link or it was revoked.
    ///
    /// # Errors
    /// The log is out of reach or broken.
    pub async fn shared(&self, token: &ShareToken) -> Result<Option<SharedConversation>, LogError> {
        self.conversations().shared(&token.hash()).await
    }
}
