//! Read-only links to a branch.
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::conversations::PgConversations;
use super::rows::error;
use crate::domain::id::{ConversationId, GenerationId, MessageId, Tenant};
use crate::domain::share::BranchEnd;
use crate::ports::{ConversationAt, Link, LinkLeft, LogError, ShareOutcome, SharedConversation};

/// The most messages that a link shows, the newest of the branch: it has no pages.
const SHOWN: u32 = 10_000;

/// Tables for `with recursive`: the `link` whose hash is `$1`, and the `branch_end` that it shows
/// if it shows later turns.
///
/// Below the message of its making is what the link covered then, and what was asked for after the
/// link was made. A turn of before, on another branch, was never shared. Of several ends the
/// newest one counts: what its owner looks at changes nothing.
pub(super) const LATER_TURNS: &str = "link as (select * from shares where token_hash = $1), \
    below as (\
      select m.id, null::uuid as parent, false as answering, 0 as depth \
      from link s join messages m on m.id = s.later_below \
        and m.conversation_id = s.conversation_id and m.tenant = s.tenant \
      union all select turn.id, b.id, turn.answering, b.depth + 1 \
      from below b cross join link s cross join lateral (\
        select m.id, false as answering from messages m \
        left join generations g on g.id = m.id and g.tenant = m.tenant \
        where coalesce(m.parent_id, m.conversation_id) = b.id \
          and m.conversation_id = s.conversation_id and m.tenant = s.tenant \
          and (m.id in (s.leaf, s.generation_id) \
            or coalesce(g.created_at, m.created_at) > s.created_at) \
        union all select g.id, true from generations g \
        where g.conversation_id = s.conversation_id and g.parent_id = b.id \
          and g.tenant = s.tenant and g.status in ('queued', 'running', 'cancelling') \
          and (g.id = s.generation_id or g.created_at > s.created_at)) turn \
      where not b.answering and b.depth < 10000), \
    branch_end as (\
      select b.id, b.depth, b.answering, case when b.answering then b.parent else b.id end as message \
      from below b where not exists (select from below other where other.parent = b.id) \
      order by b.id desc limit 1)";

impl PgConversations {
    /// The conversation's row is locked first: a turn that begins at this moment is in the link, or
    /// later than it.
    pub(super) async fn insert_share(
        &self,
        at: &ConversationAt,
        token_hash: &[u8],
        later_turns: bool,
    ) -> Result<ShareOutcome, LogError> {
        let mut transaction = self.log.workers.begin().await.map_err(error)?;
        let leaf: Option<Option<Uuid>> = sqlx::query_scalar(
            "select active_leaf from conversations where id = $1 and tenant = $2 \
             for no key update",
        )
        .bind(at.id.0)
        .bind(at.tenant.as_str())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(error)?;
        match leaf {
            None => return Ok(ShareOutcome::NoConversation),
            Some(None) if later_turns => return Ok(ShareOutcome::Empty),
            Some(_) => {}
        }
        // Another answer to the last question is a later turn, too.
        sqlx::query(
            "insert into shares (token_hash, tenant, conversation_id, leaf, generation_id, later_below) \
             select $3, c.tenant, c.id, c.active_leaf, (select g.id \
               from generations g where g.conversation_id = c.id and g.tenant = c.tenant \
               and g.parent_id = c.active_leaf and g.status in ('queued', 'running', 'cancelling') \
               order by g.id desc limit 1), (select case when m.role = 'assistant' \
                 then coalesce(m.parent_id, m.id) else m.id end from messages m \
               where $4 and m.id = c.active_leaf and m.conversation_id = c.id \
                 and m.tenant = c.tenant) \
             from conversations c where c.id = $1 and c.tenant = $2",
        )
        .bind(at.id.0)
        .bind(at.tenant.as_str())
        .bind(token_hash)
        .bind(later_turns)
        .execute(&mut *transaction)
        .await
        .map_err(error)?;
        transaction.commit().await.map_err(error)?;
        Ok(ShareOutcome::Made)
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
        let sql = format!(
            "with recursive {LATER_TURNS} \
             select c.id, c.tenant, c.title, e.id as end_id, e.depth, e.answering as growing, \
               coalesce(e.message, m.id, s.leaf) as leaf, coalesce(e.answering, m.id is null and \
               coalesce(g.status in ('queued', 'running', 'cancelling'), false)) as answering \
             from link s join conversations c \
             on c.id = s.conversation_id and c.tenant = s.tenant \
             left join branch_end e on true \
             left join messages m on m.id = s.generation_id and m.conversation_id = c.id \
             left join generations g on g.id = s.generation_id and g.tenant = c.tenant"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
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
        Ok(Some(SharedConversation {
            title: row.try_get("title").map_err(error)?,
            messages,
            answering: row.try_get("answering").map_err(error)?,
            end: end_in(
                row.try_get("end_id").map_err(error)?,
                row.try_get("depth").map_err(error)?,
                row.try_get("growing").map_err(error)?,
            ),
        }))
    }

    pub(super) async fn fetch_link(&self, token_hash: &[u8]) -> Result<Option<Link>, LogError> {
        let sql = format!(
            "with recursive {LATER_TURNS} \
             select s.tenant, s.generation_id, e.id, e.depth, e.answering \
             from link s left join branch_end e on true"
        );
        type Columns = (String, Option<Uuid>, Option<Uuid>, Option<i32>, Option<bool>);
        let found: Option<Columns> = sqlx::query_as(AssertSqlSafe(sql))
            .bind(token_hash)
            .fetch_optional(&self.log.readers)
            .await
            .map_err(error)?;
        Ok(found.map(|(tenant, answer, end, depth, answering)| Link {
            tenant: Tenant::named(tenant),
            answer: answer.map(GenerationId),
            end: end_in(end, depth, answering),
        }))
    }

    /// The state of a conversation is when it changed last and how many messages it has: an erasure
    /// is no change.
    pub(super) async fn fetch_links_left(
        &self,
        hashes: &[Vec<u8>],
    ) -> Result<Vec<LinkLeft>, LogError> {
        sqlx::query_as(
            "select s.token_hash, case when s.later_below is not null then \
               (select concat_ws(' ', c.updated_at, (select count(*) from messages m \
                 where m.conversation_id = c.id)) \
                from conversations c where c.id = s.conversation_id) end \
             from shares s where s.token_hash = any($1)",
        )
        .bind(hashes)
        .fetch_all(&self.log.readers)
        .await
        .map_err(error)
    }
}

/// The end in these columns.
fn end_in(id: Option<Uuid>, depth: Option<i32>, answering: Option<bool>) -> Option<BranchEnd> {
    let depth = u32::try_from(depth?).unwrap_or_default();
    Some(BranchEnd { id: MessageId(id?), depth, answering: answering? })
}
