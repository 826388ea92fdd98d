//! The messages that a start in a conversation would give its model, without a start.
use super::super::Engine;
use super::super::models::Model;
use super::ConverseError;
use super::turn::for_model;
use crate::domain::conversation::TurnAsked;
use crate::domain::id::Tenant;
use crate::domain::prompt::{BYTES_PER_TOKEN, Message};
use crate::ports::{Context, ConversationAt};

impl Engine {
    /// The messages that `model` would get: the active branch with `asked` below it, cut to its
    /// window.
    ///
    /// # Errors
    /// See [`ConverseError`].
    pub async fn would_be_told(
        &self,
        tenant: &Tenant,
        asked: &TurnAsked,
        (model, max_output_tokens): (&Model, Option<u32>),
    ) -> Result<Vec<Message>, ConverseError> {
        let at = ConversationAt { tenant: tenant.clone(), id: asked.conversation };
        let store = self.conversations();
        let found = store.find(&at).await?.ok_or(ConverseError::NotFound)?;
        let room = self.room(max_output_tokens, model);
        let bytes = room.saturating_mul(BYTES_PER_TOKEN);
        let before = match found.active_leaf {
            Some(leaf) => store.context(&at, leaf, bytes).await?,
            None => None,
        };
        let before = before.unwrap_or(Context { messages: Vec::new(), missing: 0 });
        Ok(for_model(before, found.system, asked, room).messages)
    }
}
