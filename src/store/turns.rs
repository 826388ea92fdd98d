//! The two moments when a generation writes into its conversation: its start, which stores what
//! was asked, and its ending, which stores what was answered.
use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;

use super::append;
use super::contents::CutRequest;
use super::conversations::PgConversations;
use super::pictures;
use super::rows::{GENERATION, checked_json, error};
use super::starts::insert_generation;
use crate::domain::conversation::{NewMessage, Turn};
use crate::domain::generation::NewGeneration;
use crate::domain::id::{ConversationId, Epoch, GenerationId, MessageId, Seq};
use crate::ports::{
    Address, Append, Begun, ConversationAt, Created, Events, Generations, LogError, RowChange,
};

/// The state that a start finds, once nobody else can start in its conversation.
struct Found {
    /// Tried before, without an answer.
    known: bool,
    /// The answer that runs on the branch.
    running: Option<GenerationId>,
    /// Whether the parent is there.
    parent: bool,
}

impl PgConversations {
    /// The conversation's row is locked first: of two starts on one branch the second sees what
    /// the first has stored.
    pub(super) async fn store_turn(
        &self,
        new: &NewGeneration,
        turn: &Turn,
        cut: CutRequest,
    ) -> Result<Begun, LogError> {
        let Some(place) = new.place else {
            return Err(LogError::Broken(format!("generation {} has no place", new.id)));
        };
        // Before the lock, which nobody shall hold for longer.
        let stored = self.log.stored_request(new, cut).await?;
        let mut transaction = self.log.workers.begin().await.map_err(error)?;
        let leaf: Option<Option<Uuid>> = sqlx::query_scalar(
            "select active_leaf from conversations where id = $1 and tenant = $2 \
             for no key update",
        )
        .bind(place.conversation.0)
        .bind(new.tenant.as_str())
        .fetch_optional(&mut *transaction)
        .await
        .map_err(error)?;
        let Some(leaf) = leaf else { return Ok(Begun::NoConversation) };
        let found = look(&mut transaction, new, turn).await?;
        if found.known {
            // Its connection may be the one that the look needs.
            transaction.rollback().await.map_err(error)?;
            return self.repeated_turn(new, turn).await;
        }
        if let Some(running) = found.running.filter(|_| !turn.concurrent) {
            return Ok(Begun::Busy(running));
        }
        let expected = turn.expected_leaf.map(|leaf| leaf.map(|id| id.0));
        if !found.parent || expected.is_some_and(|expected| expected != leaf) {
            return Ok(Begun::Moved);
        }
        if !super::keys::has_room(&mut transaction, new).await? {
            return Ok(Begun::Generation(Created::KeyBusy));
        }
        let process = self.log.process;
        let first = insert_generation(&mut *transaction, new, &stored, process).await?;
        let Some(first) = first else {
            // Its key was used elsewhere at this very moment.
            transaction.rollback().await.map_err(error)?;
            return self.repeated_turn(new, turn).await;
        };
        let mut entries = vec![first];
        let at = ConversationAt { tenant: new.tenant.clone(), id: place.conversation };
        insert_messages(&mut transaction, &at, turn.parent, &turn.messages).await?;
        // The one that is answered.
        move_leaf(&mut transaction, &at, place.parent, turn.title.as_deref()).await?;
        let append = Append {
            at: Address { tenant: new.tenant.clone(), id: new.id },
            epoch: Epoch::FIRST,
            entries: turn.first.clone(),
            row: RowChange::None,
        };
        append::insert_segment(&mut transaction, &append).await?;
        entries.extend(append.entries);
        transaction.commit().await.map_err(error)?;
        let row = super::rows::fresh(new, &entries)?;
        Ok(Begun::Generation(Created::New(Box::new(row), entries)))
    }

    /// A try of this very start whose reply was lost, or an earlier start with its key.
    async fn repeated_turn(&self, new: &NewGeneration, turn: &Turn) -> Result<Begun, LogError> {
        let sql =
            format!("select {GENERATION} from generations g where g.id = $1 and g.tenant = $2");
        let own = sqlx::query(AssertSqlSafe(sql))
            .bind(new.id.0)
            .bind(new.tenant.as_str())
            .fetch_optional(&self.log.workers)
            .await
            .map_err(error)?;
        if let Some(row) = own {
            // As it was stored: what was read of the conversation since then is not its context.
            let row = self.log.generation_in(&row)?;
            let at = Address { tenant: new.tenant.clone(), id: new.id };
            let limit = u32::try_from(turn.first.len()).unwrap_or(u32::MAX).saturating_add(1);
            let entries = self.log.read(&at, Seq::ZERO, limit).await?;
            return Ok(Begun::Generation(Created::New(Box::new(row), entries)));
        }
        let Some(key) = &new.idempotency else { return Ok(Begun::Moved) };
        let earlier = self.log.repeated(&new.tenant, key).await?;
        Ok(earlier.map_or(Begun::Moved, Begun::Generation))
    }
}

async fn look(
    connection: &mut PgConnection,
    new: &NewGeneration,
    turn: &Turn,
) -> Result<Found, LogError> {
    let row = sqlx::query(
        "select exists (select from generations where tenant = $2 \
             and (id = $3 or idempotency_key = $4)) as known, \
           (select id from generations where conversation_id = $1 and parent_id = $5 \
             and tenant = $2 and status in ('queued', 'running', 'cancelling') \
             order by id limit 1) as running, \
           $5 is null or exists (select from messages where id = $5 and conversation_id = $1 \
             and tenant = $2) as parent",
    )
    .bind(new.place.map(|p| p.conversation.0))
    .bind(new.tenant.as_str())
    .bind(new.id.0)
    .bind(new.idempotency.as_ref().map(|k| k.key.as_str()))
    .bind(turn.parent.map(|id| id.0))
    .fetch_one(connection)
    .await
    .map_err(error)?;
    let running: Option<Uuid> = row.try_get("running").map_err(error)?;
    Ok(Found {
        known: row.try_get("known").map_err(error)?,
        running: running.map(GenerationId),
        parent: row.try_get("parent").map_err(error)?,
    })
}

/// One below the other.
pub(super) async fn insert_messages(
    connection: &mut PgConnection,
    at: &ConversationAt,
    mut parent: Option<MessageId>,
    messages: &[(MessageId, NewMessage)],
) -> Result<(), LogError> {
    for (id, said) in messages {
        let text = said.content.text();
        let content = said.content.is_parts().then(|| checked_json(&said.content)).transpose()?;
        sqlx::query(
            "insert into messages \
               (id, tenant, conversation_id, parent_id, role, content, text, said) \
             values ($1, $2, $3, $4, $5, $6::json, $7, $8::json)",
        )
        .bind(id.0)
        .bind(at.tenant.as_str())
        .bind(at.id.0)
        .bind(parent.map(|id| id.0))
        .bind(said.role.as_str())
        .bind(content)
        .bind(&text)
        .bind(said.said.as_deref().map(checked_json).transpose()?)
        .execute(&mut *connection)
        .await
        .map_err(error)?;
        pictures::name(connection, at, *id, said).await?;
        parent = Some(*id);
    }
    Ok(())
}

/// The active branch ends in `leaf` now; `title` fills an empty place.
pub(super) async fn move_leaf(
    connection: &mut PgConnection,
    at: &ConversationAt,
    leaf: MessageId,
    title: Option<&str>,
) -> Result<(), LogError> {
    sqlx::query(
        "update conversations set active_leaf = $3, title = coalesce(title, $4), \
         updated_at = clock_timestamp() where id = $1 and tenant = $2",
    )
    .bind(at.id.0)
    .bind(at.tenant.as_str())
    .bind(leaf.0)
    .bind(title)
    .execute(connection)
    .await
    .map(drop)
    .map_err(error)
}

/// An ending that has a conversation to be told to.
pub(super) type Told = (ConversationId, GenerationId);

/// Writes the answers' messages, in the transaction of their `done` events. The active leaf
/// follows where it still is what was answered.
///
/// In the order of the conversations: two lanes that tell the same two must not wait for each
/// other.
pub(super) async fn tell(
    connection: &mut PgConnection,
    mut endings: Vec<Told>,
) -> Result<(), LogError> {
    endings.sort_unstable();
    for (conversation, id) in endings {
        sqlx::query(
            "with said as (insert into messages \
                 (id, tenant, conversation_id, parent_id, role, text) \
               select g.id, g.tenant, c.id, g.parent_id, 'assistant', \
                 coalesce(nullif(g.text, ''), g.refusal, '') \
               from generations g join conversations c \
                 on c.id = g.conversation_id and c.tenant = g.tenant \
               where g.id = $1 and c.id = $2 on conflict (id) do nothing \
               returning id, conversation_id, parent_id) \
             update conversations c set updated_at = clock_timestamp(), active_leaf = \
               case when c.active_leaf = said.parent_id then said.id else c.active_leaf end \
             from said where c.id = said.conversation_id",
        )
        .bind(id.0)
        .bind(conversation.0)
        .execute(&mut *connection)
        .await
        .map_err(error)?;
    }
    Ok(())
}

/// Locks the conversation of a generation, if it has one: before the generation's own row, as
/// everybody does.
pub(super) async fn lock_conversation(
    connection: &mut PgConnection,
    at: &Address,
) -> Result<Option<ConversationId>, LogError> {
    let locked: Option<Uuid> = sqlx::query_scalar(
        "select c.id from conversations c where c.tenant = $2 and c.id = \
         (select g.conversation_id from generations g where g.id = $1 and g.tenant = $2) \
         for update",
    )
    .bind(at.id.0)
    .bind(at.tenant.as_str())
    .fetch_optional(connection)
    .await
    .map_err(error)?;
    Ok(locked.map(ConversationId))
}

/// Takes the message of a generation out of its conversation: what was said below it moves up.
pub(super) async fn take_out(
    connection: &mut PgConnection,
    at: &Address,
    conversation: ConversationId,
) -> Result<(), LogError> {
    let statements = [
        "update conversations c set active_leaf = m.parent_id from messages m \
         where m.id = $1 and m.tenant = $2 and c.id = $3 and c.active_leaf = m.id",
        "update shares s set leaf = m.parent_id from messages m \
         where m.id = $1 and m.tenant = $2 and s.conversation_id = $3 and s.leaf = m.id",
        "update messages below set parent_id = m.parent_id from messages m \
         where m.id = $1 and m.tenant = $2 and m.conversation_id = $3 \
         and below.conversation_id = $3 and below.parent_id = m.id",
        "delete from messages where id = $1 and tenant = $2 and conversation_id = $3",
    ];
    for statement in statements {
        sqlx::query(statement)
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .bind(conversation.0)
            .execute(&mut *connection)
            .await
            .map_err(error)?;
    }
    Ok(())
}
