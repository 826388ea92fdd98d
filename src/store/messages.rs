//! Branches, trees, and what a model is told of them.
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::conversation_rows::{MADE_BY, MESSAGE, said};
use super::conversations::PgConversations;
use super::rows::error;
use crate::domain::conversation::{Message, Running};
use crate::domain::id::{GenerationId, MessageId};
use crate::ports::{Context, ConversationAt, LogError};

impl PgConversations {
    pub(super) async fn fetch_branch(
        &self,
        at: &ConversationAt,
        leaf: MessageId,
        limit: u32,
    ) -> Result<Vec<Message>, LogError> {
        let sql = format!(
            "with recursive up as (\
               select id, parent_id, 1::bigint as depth from messages \
               where id = $3 and conversation_id = $1 and tenant = $2 \
               union all select m.id, m.parent_id, up.depth + 1 from up \
               join messages m on m.id = up.parent_id \
               where up.depth < $4 and m.conversation_id = $1 and m.tenant = $2) \
             select {MESSAGE} from up join messages m on m.id = up.id {MADE_BY} \
             order by up.depth desc"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .bind(leaf.0)
            .bind(i64::from(limit))
            .fetch_all(&self.log.readers)
            .await
            .map_err(error)?;
        rows.iter().map(|row| self.message_in(row)).collect()
    }

    pub(super) async fn fetch_tree(
        &self,
        at: &ConversationAt,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>, LogError> {
        let sql = format!(
            "select {MESSAGE} from messages m {MADE_BY} \
             where m.conversation_id = $1 and m.tenant = $2 and ($3::uuid is null or \
               (m.created_at, m.id) < (select created_at, id from messages \
                where id = $3 and conversation_id = $1 and tenant = $2)) \
             order by m.created_at desc, m.id desc limit $4"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .bind(before.map(|id| id.0))
            .bind(i64::from(limit))
            .fetch_all(&self.log.readers)
            .await
            .map_err(error)?;
        rows.iter().rev().map(|row| self.message_in(row)).collect()
    }

    pub(super) async fn fetch_running(
        &self,
        at: &ConversationAt,
    ) -> Result<Vec<Running>, LogError> {
        let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
            "select id, parent_id from generations where conversation_id = $1 and tenant = $2 \
             and status in ('queued', 'running', 'cancelling') order by id",
        )
        .bind(at.id.0)
        .bind(at.tenant.as_str())
        .fetch_all(&self.log.readers)
        .await
        .map_err(error)?;
        let running =
            |(id, parent)| Running { generation: GenerationId(id), parent_id: MessageId(parent) };
        Ok(rows.into_iter().map(running).collect())
    }

    pub(super) async fn fetch_question(
        &self,
        at: &ConversationAt,
        leaf: MessageId,
    ) -> Result<Option<MessageId>, LogError> {
        let found: Option<Uuid> = sqlx::query_scalar(
            "with recursive up as (\
               select id, parent_id, role from messages \
               where id = $3 and conversation_id = $1 and tenant = $2 \
               union all select m.id, m.parent_id, m.role from up \
               join messages m on m.id = up.parent_id \
               where up.role <> 'user' and m.conversation_id = $1 and m.tenant = $2) \
             select id from up where role = 'user'",
        )
        .bind(at.id.0)
        .bind(at.tenant.as_str())
        .bind(leaf.0)
        .fetch_optional(&self.log.readers)
        .await
        .map_err(error)?;
        Ok(found.map(MessageId))
    }

    /// Sizes first: of a long conversation only what may fit is read.
    pub(super) async fn fetch_context(
        &self,
        at: &ConversationAt,
        leaf: MessageId,
        bytes: u64,
    ) -> Result<Option<Context>, LogError> {
        let rows = sqlx::query(
            "with recursive up as (\
               select id, parent_id, role, 1 as depth, \
                 octet_length(coalesce(said::text, text))::bigint as size, \
                 octet_length(coalesce(said::text, text))::bigint as total from messages \
               where id = $3 and conversation_id = $1 and tenant = $2 \
               union all select m.id, m.parent_id, m.role, up.depth + 1, \
                 octet_length(coalesce(m.said::text, m.text))::bigint, \
                 up.total + octet_length(coalesce(m.said::text, m.text)) from up \
               join messages m on m.id = up.parent_id \
               where m.conversation_id = $1 and m.tenant = $2), \
             chosen as (select *, depth = 1 or total <= $4 or role in ('system', 'developer') \
                 or depth = (select min(depth) from up where role = 'user') \
               as kept from up) \
             select m.role, m.text, m.said::text as said, g.tool_calls::text as tool_calls, \
               case when m.said is null and octet_length(g.extras::text) <= 1048576 \
                 then g.extras::text end as extras, \
               case when g.extras is not null then g.reasoning end as reasoning, \
               (select count(*) from chosen where not kept and size > 0) as missing \
             from chosen join messages m on m.id = chosen.id \
             left join generations g on g.id = m.id and g.tenant = m.tenant \
             where chosen.kept order by chosen.depth desc",
        )
        .bind(at.id.0)
        .bind(at.tenant.as_str())
        .bind(leaf.0)
        .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
        .fetch_all(&self.log.readers)
        .await
        .map_err(error)?;
        let Some(first) = rows.first() else { return Ok(None) };
        let missing: i64 = first.try_get("missing").map_err(error)?;
        let messages = rows.iter().map(said).collect::<Result<_, _>>()?;
        Ok(Some(Context { messages, missing: missing.unsigned_abs() }))
    }
}
