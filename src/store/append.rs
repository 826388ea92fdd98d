//! Appends of many generations in one transaction.
use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

use super::rows::{answered, error, json, seq, stored};
use super::turns::{Told, tell};
use crate::domain::generation::Outcome;
use crate::domain::id::{ConversationId, Epoch, GenerationId};
use crate::ports::{Append, LogError, LogWriter, RowChange, Tail};

/// One lane's own connection.
pub(super) struct PgWriter {
    pub(super) options: PgConnectOptions,
    pub(super) connection: Option<PgConnection>,
}

#[async_trait]
impl LogWriter for PgWriter {
    async fn append(&mut self, batch: &[&Append]) -> Result<(), LogError> {
        // A first connection is silent; a lost one was reported by the call that lost it.
        let mut connection = self.take().await?;
        let result = answered(append(&mut connection, batch)).await;
        self.keep(connection, &result);
        result
    }

    async fn tails(&mut self, ids: &[GenerationId]) -> Result<Vec<Tail>, LogError> {
        let mut connection = self.take().await?;
        let result = answered(tails(&mut connection, ids)).await;
        self.keep(connection, &result);
        result
    }
}

impl PgWriter {
    /// The connection, out of `self`: a call that is dropped half-way must not leave it in use.
    async fn take(&mut self) -> Result<PgConnection, LogError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => {
                answered(async { PgConnection::connect_with(&self.options).await.map_err(error) })
                    .await
            }
        }
    }

    /// Only a connection whose last call succeeded, or was refused for what it said, is in a
    /// known state.
    fn keep<T>(&mut self, connection: PgConnection, result: &Result<T, LogError>) {
        match result {
            Ok(_) | Err(LogError::Conflict) => self.connection = Some(connection),
            Err(LogError::Unavailable(_) | LogError::Broken(_)) => drop(connection),
        }
    }
}

async fn append(connection: &mut PgConnection, batch: &[&Append]) -> Result<(), LogError> {
    let changes = batch.iter().any(|a| !matches!(a.row, RowChange::None));
    if !changes {
        return insert(connection, batch).await;
    }
    let mut transaction = connection.begin().await.map_err(error)?;
    insert(&mut transaction, batch).await?;
    mark_started(&mut transaction, batch).await?;
    mark_kept(&mut transaction, batch).await?;
    let mut told = Vec::new();
    for &one in batch {
        if let RowChange::Ended(outcome) = &one.row {
            told.extend(mark_ended(&mut transaction, one, outcome).await?);
        }
    }
    tell(&mut transaction, told).await?;
    transaction.commit().await.map_err(error)
}

/// One statement for all events of the batch: it is one transaction, and it collides as a whole.
pub(super) async fn insert(
    connection: &mut PgConnection,
    batch: &[&Append],
) -> Result<(), LogError> {
    let count = batch.iter().map(|a| a.entries.len()).sum();
    let mut ids: Vec<Uuid> = Vec::with_capacity(count);
    let mut seqs: Vec<i64> = Vec::with_capacity(count);
    let mut epochs: Vec<i32> = Vec::with_capacity(count);
    let mut tenants: Vec<&str> = Vec::with_capacity(count);
    let mut types: Vec<&str> = Vec::with_capacity(count);
    let mut data: Vec<&str> = Vec::with_capacity(count);
    for one in batch {
        for entry in &one.entries {
            ids.push(one.at.id.0);
            seqs.push(stored(entry.seq));
            epochs.push(one.epoch.0);
            tenants.push(one.at.tenant.as_str());
            types.push(entry.kind.as_str());
            data.push(entry.data_tail());
        }
    }
    sqlx::query(
        "insert into events (generation_id, seq, epoch, tenant, type, data) \
         select g, s, e, t, k, ('{' || d)::json from \
         unnest($1::uuid[], $2::bigint[], $3::int[], $4::text[], $5::text[], $6::text[]) \
         as rows (g, s, e, t, k, d)",
    )
    .bind(&ids)
    .bind(&seqs)
    .bind(&epochs)
    .bind(&tenants)
    .bind(&types)
    .bind(&data)
    .execute(connection)
    .await
    .map(drop)
    .map_err(error)
}

async fn mark_started(connection: &mut PgConnection, batch: &[&Append]) -> Result<(), LogError> {
    let started: Vec<Uuid> =
        batch.iter().filter(|a| matches!(a.row, RowChange::Started)).map(|a| a.at.id.0).collect();
    if started.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update generations set started_at = coalesce(started_at, clock_timestamp()), \
         status = case status when 'queued' then 'running' else status end where id = any($1)",
    )
    .bind(&started)
    .execute(connection)
    .await
    .map(drop)
    .map_err(error)
}

/// Only of the owner: a change without events collides with nobody.
pub(super) async fn mark_kept(
    connection: &mut PgConnection,
    batch: &[&Append],
) -> Result<(), LogError> {
    for &one in batch {
        let RowChange::Kept(kept) = &one.row else { continue };
        sqlx::query(
            "update generations set kept = $3, \
             started_at = coalesce(started_at, clock_timestamp()), \
             status = case status when 'queued' then 'running' else status end \
             where id = $1 and epoch = $2",
        )
        .bind(one.at.id.0)
        .bind(one.epoch.0)
        .bind(kept.as_ref().map(json))
        .execute(&mut *connection)
        .await
        .map_err(error)?;
    }
    Ok(())
}

/// Writes the ending into the row, in the transaction of its `done` event; the conversation that
/// is to be told, if there is one.
pub(super) async fn mark_ended(
    connection: &mut PgConnection,
    append: &Append,
    outcome: &Outcome,
) -> Result<Option<Told>, LogError> {
    let last = append.entries.last().map(|entry| stored(entry.seq));
    let conversation: Option<Option<Uuid>> = sqlx::query_scalar(
        "update generations g set status = $2, text = $3, reasoning = $4, refusal = $5, \
         tool_calls = $6, done = $7, attempts = $8, last_seq = $9, \
         finished_at = clock_timestamp(), time_to_first_token_ms = \
           (select extract(epoch from e.at - g.created_at) * 1000 from events e \
            where e.generation_id = g.id \
            and e.type in ('delta', 'reasoning', 'refusal', 'tool_call') \
            order by e.seq limit 1) \
         where id = $1 returning conversation_id",
    )
    .bind(append.at.id.0)
    .bind(outcome.done.status.as_str())
    .bind(&outcome.answer.text)
    .bind(&outcome.answer.reasoning)
    .bind(&outcome.answer.refusal)
    .bind(json(&outcome.answer.tool_calls))
    .bind(json(&outcome.done))
    .bind(i32::try_from(outcome.attempts).unwrap_or(i32::MAX))
    .bind(last)
    .fetch_optional(connection)
    .await
    .map_err(error)?;
    Ok(conversation.flatten().map(|id| (ConversationId(id), append.at.id)))
}

async fn tails(connection: &mut PgConnection, ids: &[GenerationId]) -> Result<Vec<Tail>, LogError> {
    let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query(
        "select w.id, coalesce(g.epoch, 0) as epoch, \
         coalesce((select max(e.seq) from events e where e.generation_id = w.id), 0) as seq \
         from unnest($1::uuid[]) as w (id) left join generations g on g.id = w.id",
    )
    .bind(&wanted)
    .fetch_all(connection)
    .await
    .map_err(error)?;
    rows.iter()
        .map(|row| {
            Ok(Tail {
                id: GenerationId(row.try_get("id").map_err(error)?),
                seq: seq(row.try_get("seq").map_err(error)?),
                epoch: Epoch(row.try_get("epoch").map_err(error)?),
            })
        })
        .collect()
}
