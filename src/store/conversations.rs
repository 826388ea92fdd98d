//! Conversations: made, found, listed, changed, erased.
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, QueryBuilder, Row};
use uuid::Uuid;

use super::contents::CutRequest;
use super::conversation_rows::CONVERSATION;
use super::postgres::PgLog;
use super::retention::untouched_since;
use super::rows::{answered, checked_json, error};
use super::turns::{insert_messages, move_leaf};
use crate::domain::conversation::{
    Change, Conversation, Message, NewConversation, NewMessage, Running, Turn, title_of,
};
use crate::domain::generation::{Idempotency, NewGeneration};
use crate::domain::id::{ConversationId, GenerationId, MessageId, Tenant};
use crate::domain::prompt::{self, Role};
use crate::ports::{
    Begun, Changed, Context, ConversationAt, Conversations, Erased, Link, LinkLeft, LogError, Made,
    Page, Placed, Search, ShareOutcome, SharedConversation,
};

/// Conversations in the database of the log.
#[derive(Clone, Debug)]
pub(super) struct PgConversations {
    pub(super) log: PgLog,
}

#[async_trait]
impl Conversations for PgConversations {
    async fn create(&self, new: &NewConversation) -> Result<Made, LogError> {
        answered(self.insert(new)).await
    }

    async fn find(&self, at: &ConversationAt) -> Result<Option<Conversation>, LogError> {
        answered(self.fetch(at)).await
    }

    async fn list(&self, tenant: &Tenant, page: &Page) -> Result<Vec<Conversation>, LogError> {
        answered(self.fetch_page(tenant, page)).await
    }

    async fn change(&self, at: &ConversationAt, change: &Change) -> Result<Changed, LogError> {
        answered(self.update(at, change)).await
    }

    async fn erase(&self, at: &ConversationAt) -> Result<Erased, LogError> {
        let erased = answered(self.remove(at, None)).await?;
        if erased == Erased::Gone {
            self.log.forget_now().await;
        }
        Ok(erased)
    }

    async fn branch(
        &self,
        at: &ConversationAt,
        leaf: MessageId,
        limit: u32,
    ) -> Result<Vec<Message>, LogError> {
        answered(self.fetch_branch(at, leaf, limit)).await
    }

    async fn tree(
        &self,
        at: &ConversationAt,
        before: Option<MessageId>,
        limit: u32,
    ) -> Result<Vec<Message>, LogError> {
        answered(self.fetch_tree(at, before, limit)).await
    }

    async fn running(&self, at: &ConversationAt) -> Result<Vec<Running>, LogError> {
        answered(self.fetch_running(at)).await
    }

    async fn question(
        &self,
        at: &ConversationAt,
        leaf: MessageId,
    ) -> Result<Option<MessageId>, LogError> {
        answered(self.fetch_question(at, leaf)).await
    }

    async fn context(
        &self,
        at: &ConversationAt,
        leaf: MessageId,
        bytes: u64,
    ) -> Result<Option<Context>, LogError> {
        answered(self.fetch_context(at, leaf, bytes)).await
    }

    async fn add(
        &self,
        at: &ConversationAt,
        messages: &[(MessageId, NewMessage)],
    ) -> Result<Placed, LogError> {
        answered(self.add_messages(at, messages)).await
    }

    async fn take(
        &self,
        at: &ConversationAt,
        seen: (MessageId, Option<&prompt::Message>),
        rest: Option<&prompt::Message>,
    ) -> Result<Placed, LogError> {
        answered(self.take_message(at, seen, rest)).await
    }

    async fn begin(&self, new: &NewGeneration, turn: &Turn) -> Result<Begun, LogError> {
        let cut = CutRequest::of(new)?;
        answered(self.store_turn(new, turn, cut)).await
    }

    async fn share(
        &self,
        at: &ConversationAt,
        token_hash: &[u8],
        later_turns: bool,
    ) -> Result<ShareOutcome, LogError> {
        answered(self.insert_share(at, token_hash, later_turns)).await
    }

    async fn unshare(&self, at: &ConversationAt) -> Result<bool, LogError> {
        answered(self.delete_shares(at)).await
    }

    async fn shared(&self, token_hash: &[u8]) -> Result<Option<SharedConversation>, LogError> {
        answered(self.fetch_shared(token_hash)).await
    }

    async fn link(&self, token_hash: &[u8]) -> Result<Option<Link>, LogError> {
        answered(self.fetch_link(token_hash)).await
    }

    async fn links_left(&self, hashes: &[Vec<u8>]) -> Result<Vec<LinkLeft>, LogError> {
        answered(self.fetch_links_left(hashes)).await
    }
}

impl PgConversations {
    async fn insert(&self, new: &NewConversation) -> Result<Made, LogError> {
        let key = new.idempotency.as_ref();
        let sql = format!(
            "insert into conversations as c \
               (id, tenant, title, system, metadata, idempotency_key, fingerprint) \
             values ($1, $2, $3, $4, $5::json, $6, $7) on conflict do nothing returning {CONVERSATION}"
        );
        let at = ConversationAt { tenant: new.tenant.clone(), id: ConversationId::random() };
        let mut transaction = self.log.workers.begin().await.map_err(error)?;
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(at.id.0)
            .bind(new.tenant.as_str())
            .bind(&new.title)
            .bind(&new.system)
            .bind(checked_json(&new.metadata)?)
            .bind(key.map(|k| k.key.as_str()))
            .bind(key.map(|k| k.fingerprint.as_slice()))
            .fetch_optional(&mut *transaction)
            .await
            .map_err(error)?;
        if let Some((leaf, _)) = new.messages.last().filter(|_| row.is_some()) {
            insert_messages(&mut transaction, &at, None, &new.messages).await?;
            let first = new.messages.iter().find(|(_, message)| message.role == Role::User);
            let title = first.and_then(|(_, message)| title_of(&message.content.text()));
            move_leaf(&mut transaction, &at, *leaf, title.as_deref()).await?;
        }
        transaction.commit().await.map_err(error)?;
        match (row, key) {
            (Some(_), _) if !new.messages.is_empty() => {
                let gone = || LogError::Unavailable("the conversation was just erased".into());
                let made = self.fetch(&at).await?.ok_or_else(gone)?;
                Ok(Made::New(Box::new(made)))
            }
            (Some(row), _) => Ok(Made::New(Box::new(self.conversation_in(&row)?))),
            (None, Some(key)) => self.opened_by(&new.tenant, key).await,
            (None, None) => Err(LogError::Broken("a new conversation's id is taken".into())),
        }
    }

    /// The conversation that a key has opened.
    async fn opened_by(&self, tenant: &Tenant, key: &Idempotency) -> Result<Made, LogError> {
        let sql = format!(
            "select c.fingerprint, {CONVERSATION} from conversations c \
             where c.tenant = $1 and c.idempotency_key = $2"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(tenant.as_str())
            .bind(&key.key)
            .fetch_optional(&self.log.workers)
            .await
            .map_err(error)?;
        // Erased between the two statements: trying again stores it.
        let gone = || LogError::Unavailable("the earlier conversation was just erased".into());
        let row = row.ok_or_else(gone)?;
        let fingerprint: Vec<u8> = row.try_get("fingerprint").map_err(error)?;
        if fingerprint != key.fingerprint {
            return Ok(Made::KeyReused);
        }
        Ok(Made::Replayed(Box::new(self.conversation_in(&row)?)))
    }

    async fn fetch(&self, at: &ConversationAt) -> Result<Option<Conversation>, LogError> {
        let sql =
            format!("select {CONVERSATION} from conversations c where c.id = $1 and c.tenant = $2");
        sqlx::query(AssertSqlSafe(sql))
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .fetch_optional(&self.log.readers)
            .await
            .map_err(error)?
            .as_ref()
            .map(|row| self.conversation_in(row))
            .transpose()
    }

    /// By words, the index names the conversations; by characters, conversations are looked
    /// through from the newest on until the page is full.
    async fn fetch_page(
        &self,
        tenant: &Tenant,
        page: &Page,
    ) -> Result<Vec<Conversation>, LogError> {
        let mut sql = QueryBuilder::new(format!(
            "select {CONVERSATION} from conversations c where c.tenant = "
        ));
        sql.push_bind(tenant.as_str());
        if let Some((at, id)) = page.before {
            sql.push(" and (c.updated_at, c.id) < (").push_bind(at);
            sql.push(", ").push_bind(id.0).push(")");
        }
        match &page.search {
            None => {}
            Some(Search::Words(words)) => {
                sql.push(" and (c.title ilike ").push_bind(like(words));
                sql.push(" or c.id in (select m.conversation_id from messages m where m.tenant = ");
                sql.push_bind(tenant.as_str());
                // The very expression of the index; the last word may be a beginning.
                sql.push(" and to_tsvector('simple', left(m.text, 20000)) @@ ");
                sql.push("(nullif(plainto_tsquery('simple', ").push_bind(words);
                sql.push(")::text, '') || ':*')::tsquery))");
            }
            Some(Search::Characters(text)) => {
                sql.push(" and (c.title ilike ").push_bind(like(text));
                sql.push(" or exists (select from messages m where m.conversation_id = c.id ");
                sql.push("and m.tenant = ").push_bind(tenant.as_str());
                sql.push(" and m.text ilike ").push_bind(like(text)).push("))");
            }
        }
        sql.push(" order by c.updated_at desc, c.id desc limit ").push_bind(i64::from(page.limit));
        let rows = sql.build().fetch_all(&self.log.readers).await.map_err(error)?;
        rows.iter().map(|row| self.conversation_in(row)).collect()
    }

    async fn update(&self, at: &ConversationAt, change: &Change) -> Result<Changed, LogError> {
        if let Some(Some(leaf)) = change.active_leaf {
            let known: bool = sqlx::query_scalar(
                "select exists (select from messages \
                 where id = $1 and conversation_id = $2 and tenant = $3)",
            )
            .bind(leaf.0)
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .fetch_one(&self.log.workers)
            .await
            .map_err(error)?;
            if !known {
                let there = self.fetch(at).await?.is_some();
                return Ok(if there { Changed::NoMessage } else { Changed::NoConversation });
            }
        }
        // Looking at another branch is no news to those who look for the newest conversations.
        let news = change.title.is_some() || change.system.is_some() || change.metadata.is_some();
        let sql = format!(
            "update conversations c set title = case when $3 then $4 else c.title end, \
             system = case when $5 then $6 else c.system end, \
             metadata = coalesce($7::json, c.metadata), \
             active_leaf = case when $8 then $9 else c.active_leaf end, \
             updated_at = case when $10 then clock_timestamp() else c.updated_at end \
             where c.id = $1 and c.tenant = $2 returning {CONVERSATION}"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .bind(change.title.is_some())
            .bind(change.title.clone().flatten())
            .bind(change.system.is_some())
            .bind(change.system.clone().flatten())
            .bind(change.metadata.as_ref().map(checked_json).transpose()?)
            .bind(change.active_leaf.is_some())
            .bind(change.active_leaf.flatten().map(|leaf| leaf.0))
            .bind(news)
            .fetch_optional(&self.log.workers)
            .await
            .map_err(error)?;
        match row {
            None => Ok(Changed::NoConversation),
            Some(row) => Ok(Changed::Done(Box::new(self.conversation_in(&row)?))),
        }
    }

    /// Locks the conversation first, as every start in it does: nothing can begin to run in it. One
    /// that was touched in the last `days` is as if it were not there.
    pub(super) async fn remove(
        &self,
        at: &ConversationAt,
        days: Option<i32>,
    ) -> Result<Erased, LogError> {
        let mut transaction = self.log.workers.begin().await.map_err(error)?;
        let found = sqlx::query(concat!(
            "select from conversations where id = $1 and tenant = $2 and (",
            untouched_since!("$3"),
            ") is not false for update"
        ))
        .bind(at.id.0)
        .bind(at.tenant.as_str())
        .bind(days)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(error)?;
        if found.is_none() {
            return Ok(Erased::Absent);
        }
        let running: Option<Uuid> = sqlx::query_scalar(
            "select id from generations where conversation_id = $1 and tenant = $2 \
             and status in ('queued', 'running', 'cancelling') order by id limit 1",
        )
        .bind(at.id.0)
        .bind(at.tenant.as_str())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(error)?;
        if let Some(running) = running {
            return Ok(Erased::Running(GenerationId(running)));
        }
        let of_it = "select id from generations where conversation_id = $1 and tenant = $2";
        let ids: Vec<Uuid> = sqlx::query_scalar(of_it)
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .fetch_all(&mut *transaction)
            .await
            .map_err(error)?;
        super::compact::fold_all_of(&mut transaction, &ids).await?;
        let statements = [
            "delete from segments where generation_id in \
             (select id from generations where conversation_id = $1 and tenant = $2)",
            "delete from generations where conversation_id = $1 and tenant = $2",
            "delete from conversations where id = $1 and tenant = $2",
        ];
        for statement in statements {
            sqlx::query(statement)
                .bind(at.id.0)
                .bind(at.tenant.as_str())
                .execute(&mut *transaction)
                .await
                .map_err(error)?;
        }
        transaction.commit().await.map_err(error)?;
        Ok(Erased::Gone)
    }
}

/// The pattern for texts that contain `text`.
fn like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
