//! Read-only links to a branch.
use sqlx::Row;
use uuid::Uuid;

use super::conversations::PgConversations;
use super::rows::error;
use crate::domain::id::{ConversationId, MessageId, Tenant};
use crate::ports::{ConversationAt, LogError, Shared};

/// The most messages that a link shows, the newest of the branch: it has no pages.
const SHOWN: u32 = 10_000;

impl PgConversations {
    pub(super) async fn insert_share(
        &self,
        at: &ConversationAt,
        token_hash: &[u8],
    ) -> Result<bool, LogError> {
        let stored = sqlx::query(
            "insert into shares (token_hash, tenant, conversation_id, leaf) \
             select $3, tenant, id, active_leaf from conversations where id = $1 and tenant = $2",
        )
        .bind(at.id.0)
        .bind(at.tenant.as_str())
        .bind(token_hash)
        .execute(&self.log.workers)
        .await
        .map_err(error)?;
        Ok(stored.rows_affected() > 0)
    }

    pub(super) async fn delete_shares(&self, at: &ConversationAt) -> Result<bool, LogError> {
        sqlx::query(
            "with gone as (delete from shares where conversation_id = $1 and tenant = $2) \
             select from conversations where id = $1 and tenant = $2",
        )
        .bind(at.id.0)
        .bind(at.tenant.as_str())
        .fetch_optional(&self.log.workers)
        .await
        .map(|found| found.is_some())
        .map_err(error)
    }

    pub(super) async fn fetch_shared(&self, token_hash: &[u8]) -> Result<Option<Shared>, LogError> {
        let row = sqlx::query(
            "select c.id, c.tenant, c.title, s.leaf from shares s join conversations c \
             on c.id = s.conversation_id and c.tenant = s.tenant where s.token_hash = $1",
        )
        .bind(token_hash)
        .fetch_optional(&self.log.readers)
        .await
        .map_err(error)?;
        let Some(row) = row else { return Ok(None) };
        let tenant = Tenant::named(row.try_get("tenant").map_err(error)?);
        let at = ConversationAt { tenant, id: ConversationId(row.try_get("id").map_err(error)?) };
        let leaf: Option<Uuid> = row.try_get("leaf").map_err(error)?;
        let messages = match leaf {
            Some(leaf) => self.fetch_branch(&at, MessageId(leaf), SHOWN).await?,
            None => Vec::new(),
        };
        Ok(Some(Shared { title: row.try_get("title").map_err(error)?, messages }))
    }
}
