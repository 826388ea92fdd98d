//! Read-only links to a branch.
use sqlx::Row;
use uuid::Uuid;

use super::conversations::PgConversations;
use super::rows::error;
use crate::domain::id::{ConversationId, GenerationId, MessageId, Tenant};
use crate::ports::{Address, ConversationAt, Link, LogError, SharedConversation};

/// The most messages that a link shows, the newest of the branch: it has no pages.
const SHOWN: u32 = 10_000;

impl PgConversations {
    pub(super) async fn insert_share(
        &self,
        at: &ConversationAt,
        token_hash: &[u8],
    ) -> Result<bool, LogError> {
        let stored = sqlx::query(
            "insert into shares (token_hash, tenant, conversation_id, leaf, generation_id) \
             select $3, c.tenant, c.id, c.active_leaf, (select g.id \
               from generations g where g.conversation_id = c.id and g.tenant = c.tenant \
               and g.parent_id = c.active_leaf and g.status in ('queued', 'running', 'cancelling') \
               order by g.id desc limit 1) \
             from conversations c where c.id = $1 and c.tenant = $2",
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

    pub(super) async fn fetch_shared(
        &self,
        token_hash: &[u8],
    ) -> Result<Option<SharedConversation>, LogError> {
        let row = sqlx::query(
            "select c.id, c.tenant, c.title, coalesce(m.id, s.leaf) as leaf, m.id is null and \
               coalesce(g.status in ('queued', 'running', 'cancelling'), false) as answering \
             from shares s join conversations c \
             on c.id = s.conversation_id and c.tenant = s.tenant \
             left join messages m on m.id = s.generation_id and m.conversation_id = c.id \
             left join generations g on g.id = s.generation_id and g.tenant = c.tenant \
             where s.token_hash = $1",
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
        let answering = row.try_get("answering").map_err(error)?;
        Ok(Some(SharedConversation {
            title: row.try_get("title").map_err(error)?,
            messages,
            answering,
        }))
    }

    pub(super) async fn fetch_link(&self, token_hash: &[u8]) -> Result<Link, LogError> {
        let found: Option<(String, Option<Uuid>)> =
            sqlx::query_as("select tenant, generation_id from shares where token_hash = $1")
                .bind(token_hash)
                .fetch_optional(&self.log.readers)
                .await
                .map_err(error)?;
        let Some((tenant, generation)) = found else { return Ok(Link::Nowhere) };
        Ok(generation.map_or(Link::Still, |id| {
            Link::Answer(Address { tenant: Tenant::named(tenant), id: GenerationId(id) })
        }))
    }

    pub(super) async fn fetch_links_left(
        &self,
        hashes: &[Vec<u8>],
    ) -> Result<Vec<Vec<u8>>, LogError> {
        sqlx::query_scalar("select token_hash from shares where token_hash = any($1)")
            .bind(hashes)
            .fetch_all(&self.log.readers)
            .await
            .map_err(error)
    }
}
