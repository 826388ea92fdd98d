//! Prompts and answers that are too old are erased, as their clients could do it themselves.
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::conversations::PgConversations;
use super::postgres::PgLog;
use super::rows::error;
use crate::domain::id::{ConversationId, GenerationId, Tenant};
use crate::ports::{Address, ConversationAt, Deleted, Erased, LogError, MOST_ERASED};

impl PgLog {
    /// Erases some of the prompts and answers of more than `days` days ago. Returns how many.
    pub(super) async fn erase_old_ones(&self, days: u32) -> Result<u64, LogError> {
        let days = i32::try_from(days).unwrap_or(i32::MAX);
        let mut erased = 0;
        for (id, tenant) in self.old(days, ALONE).await? {
            let at = Address { tenant: Tenant::named(tenant), id: GenerationId(id) };
            erased += u64::from(self.erase(&at).await? == Deleted::Gone);
        }
        let conversations = PgConversations { log: self.clone() };
        for (id, tenant) in self.old(days, UNTOUCHED).await? {
            let at = ConversationAt { tenant: Tenant::named(tenant), id: ConversationId(id) };
            let gone = conversations.remove(&at, Some(days)).await?;
            erased += u64::from(gone == Erased::Gone);
        }
        if erased > 0 {
            self.forget_now().await;
        }
        Ok(erased)
    }

    async fn old(&self, days: i32, which: &'static str) -> Result<Vec<(Uuid, String)>, LogError> {
        let sql = format!("{which} limit $2");
        sqlx::query_as(AssertSqlSafe(sql))
            .bind(days)
            .bind(i64::from(MOST_ERASED))
            .fetch_all(&self.workers)
            .await
            .map_err(error)
    }
}

/// Ended generations that belong to no conversation. Their ids are in the order of their days.
const ALONE: &str = "select id, tenant from generations \
    where id < first_uuid_of_day((clock_timestamp() at time zone 'utc')::date - $1::integer) \
    and conversation_id is null and done is not null order by id";

/// Whether a conversation was last touched more than so many days ago, by days as they are counted
/// for events.
macro_rules! untouched_since {
    ($days:literal) => {
        concat!(
            "(updated_at at time zone 'utc')::date < (clock_timestamp() at time zone 'utc')::date - ",
            $days,
            "::integer"
        )
    };
}
pub(super) use untouched_since;

/// Conversations that nobody went on with, with all that was said in them.
const UNTOUCHED: &str = concat!(
    "select id, tenant from conversations c where ",
    untouched_since!("$1"),
    " and not exists (select from generations g where g.conversation_id = c.id \
       and g.status in ('queued', 'running', 'cancelling')) order by updated_at"
);
