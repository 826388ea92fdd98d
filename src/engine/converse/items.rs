//! A conversation's branch as a list that clients add to and take from.
use super::super::Engine;
use super::{ConverseError, MessagePage, Which};
use crate::domain::conversation::{Conversation, Message, NewMessage};
use crate::domain::id::MessageId;
use crate::domain::prompt;
use crate::ports::{ConversationAt, Placed};

/// The most messages of a branch that are listed, the newest: as many as a link shows.
const SHOWN: usize = 10_000;
/// How many are read at once.
const PAGE: u32 = 1000;

impl Engine {
    /// The active branch from root to leaf.
    ///
    /// # Errors
    /// See [`ConverseError`].
    pub async fn branch(&self, at: &ConversationAt) -> Result<Vec<Message>, ConverseError> {
        let mut all: Vec<Message> = Vec::new();
        let mut cursor = None;
        while all.len() < SHOWN {
            let page = MessagePage { cursor, limit: PAGE };
            let older = self.messages(at, Which::Active, page).await?;
            all.splice(..0, older.data);
            match older.next_cursor {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        Ok(all)
    }

    /// Adds messages below the active leaf, each below the one before; their ids.
    ///
    /// # Errors
    /// See [`ConverseError`]; nothing was added then.
    pub async fn add_messages(
        &self,
        at: &ConversationAt,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<MessageId>, ConverseError> {
        let messages: Vec<(MessageId, NewMessage)> =
            messages.into_iter().map(|message| (MessageId::random(), message)).collect();
        placed(self.conversations().add(at, &messages).await?)?;
        Ok(messages.into_iter().map(|(id, _)| id).collect())
    }

    /// Leaves `rest` of a message of the active branch, or nothing; the conversation as it is then.
    /// `None` if `message` is not as it was seen: a part of it was taken meanwhile.
    ///
    /// # Errors
    /// See [`ConverseError`].
    pub async fn take_message(
        &self,
        at: &ConversationAt,
        message: &Message,
        rest: Option<&prompt::Message>,
    ) -> Result<Option<Conversation>, ConverseError> {
        let seen = (message.id, message.said.as_deref());
        if !placed(self.conversations().take(at, seen, rest).await?)? {
            return Ok(None);
        }
        self.conversation(at).await.map(Some)
    }
}

/// Whether it was done.
fn placed(placed: Placed) -> Result<bool, ConverseError> {
    match placed {
        Placed::Done => Ok(true),
        Placed::Changed => Ok(false),
        Placed::NoConversation => Err(ConverseError::NotFound),
        Placed::Busy(generation) => Err(ConverseError::Running(generation)),
    }
}
