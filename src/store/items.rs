//! Messages that are added to a conversation, and taken out of it, without a generation.
use sqlx::PgConnection;
use uuid::Uuid;

use super::conversations::PgConversations;
use super::rows::{checked_json, error};
use super::turns::{insert_messages, move_leaf, take_out};
use crate::domain::conversation::NewMessage;
use crate::domain::id::{GenerationId, MessageId};
use crate::domain::prompt;
use crate::ports::{Address, ConversationAt, LogError, Placed};

impl PgConversations {
    /// The conversation's row is locked first, as by every start in it.
    pub(super) async fn add_messages(
        &self,
        at: &ConversationAt,
        messages: &[(MessageId, NewMessage)],
    ) -> Result<Placed, LogError> {
        let mut transaction = self.log.workers.begin().await.map_err(error)?;
        let Some(leaf) = locked(&mut transaction, at).await? else {
            return Ok(Placed::NoConversation);
        };
        // An answer that ends later would stand beside what is added, on a branch of its own.
        if let Some(running) = answering(&mut transaction, at, leaf).await? {
            return Ok(Placed::Busy(running));
        }
        insert_messages(&mut transaction, at, leaf.map(MessageId), messages).await?;
        if let Some((last, _)) = messages.last() {
            move_leaf(&mut transaction, at, *last, None).await?;
        }
        transaction.commit().await.map_err(error)?;
        Ok(Placed::Done)
    }

    /// Leaves `rest` of a message, or nothing: what was said below it moves up then.
    pub(super) async fn take_message(
        &self,
        at: &ConversationAt,
        (id, seen): (MessageId, Option<&prompt::Message>),
        rest: Option<&prompt::Message>,
    ) -> Result<Placed, LogError> {
        let mut transaction = self.log.workers.begin().await.map_err(error)?;
        if locked(&mut transaction, at).await?.is_none() {
            return Ok(Placed::NoConversation);
        }
        // An answer that ends later would have no parent.
        if let Some(running) = answering(&mut transaction, at, Some(id.0)).await? {
            return Ok(Placed::Busy(running));
        }
        // Two that take a part each would else each put back what the other took.
        if said_now(&mut transaction, at, id).await?.as_ref().map(Option::as_ref) != Some(seen) {
            return Ok(Placed::Changed);
        }
        match rest {
            None => {
                let address = Address { tenant: at.tenant.clone(), id: GenerationId(id.0) };
                take_out(&mut transaction, &address, at.id).await?;
            }
            Some(rest) => {
                sqlx::query(
                    "update messages set said = $4::json, text = $5 \
                     where id = $1 and tenant = $2 and conversation_id = $3",
                )
                .bind(id.0)
                .bind(at.tenant.as_str())
                .bind(at.id.0)
                .bind(checked_json(rest)?)
                .bind(&rest.content)
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
            }
        }
        transaction.commit().await.map_err(error)?;
        Ok(Placed::Done)
    }
}

/// The `said` of a message; `None` if there is no such message.
async fn said_now(
    connection: &mut PgConnection,
    at: &ConversationAt,
    id: MessageId,
) -> Result<Option<Option<prompt::Message>>, LogError> {
    let said: Option<Option<String>> = sqlx::query_scalar(
        "select said::text from messages where id = $1 and tenant = $2 and conversation_id = $3",
    )
    .bind(id.0)
    .bind(at.tenant.as_str())
    .bind(at.id.0)
    .fetch_optional(connection)
    .await
    .map_err(error)?;
    Ok(said.map(|said| said.and_then(|said| serde_json::from_str(&said).ok())))
}

/// Locks the conversation; its active leaf, or `None` if the tenant has no such conversation.
async fn locked(
    connection: &mut PgConnection,
    at: &ConversationAt,
) -> Result<Option<Option<Uuid>>, LogError> {
    sqlx::query_scalar(
        "select active_leaf from conversations where id = $1 and tenant = $2 for update",
    )
    .bind(at.id.0)
    .bind(at.tenant.as_str())
    .fetch_optional(connection)
    .await
    .map_err(error)
}

/// The generation that answers a message.
async fn answering(
    connection: &mut PgConnection,
    at: &ConversationAt,
    message: Option<Uuid>,
) -> Result<Option<GenerationId>, LogError> {
    let running: Option<Uuid> = sqlx::query_scalar(
        "select id from generations where conversation_id = $1 and parent_id = $3 \
         and tenant = $2 and status in ('queued', 'running', 'cancelling') order by id limit 1",
    )
    .bind(at.id.0)
    .bind(at.tenant.as_str())
    .bind(message)
    .fetch_optional(connection)
    .await
    .map_err(error)?;
    Ok(running.map(GenerationId))
}
