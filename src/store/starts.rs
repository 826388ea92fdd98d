//! A start is stored once, whatever is repeated.
use sqlx::postgres::PgExecutor;

use super::pictures;
use super::rows::{self, error};
use crate::domain::entry::Entry;
use crate::domain::event::Status;
use crate::domain::generation::NewGeneration;
use crate::domain::id::Seq;
use crate::ports::LogError;

/// The statement of a start; the few that name pictures pay for a table more.
macro_rules! start {
    ($named:literal) => {
        concat!(
            "with g as (insert into generations (id, tenant, status, model, provider, request, \
               idempotency_key, fingerprint, owner, started_at, conversation_id, parent_id, key_id) \
               values ($1, $2, $3, $4, $5, $6::json, $7, $8, $9, \
                 case $3 when 'running' then clock_timestamp() end, $10, $11, $12) \
               on conflict do nothing returning *), \
             started as (select row_to_json(columns) as data from (select g.id as generation, \
               g.model, g.provider, to_char(g.created_at at time zone 'utc', \
                 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as created_at from g) columns), \
             reads as (insert into request_reads (generation_id, hash, reader) \
               select g.id, $13, $14 from g where $13 is not null)",
            $named,
            " insert into segments (generation_id, seq, last, epoch, at, lines) \
             select g.id, 1, 1, g.epoch, clock_timestamp(), \
               '0 started ' || substr(started.data::text, 2) \
             from g, started returning seq, epoch, lines, null::bigint as doubled",
        )
    };
}
const START: &str = start!("");
const START_WITH_PICTURES: &str = start!(
    ", named as (insert into picture_uses (tenant, hash, generation_id) \
         select $2, hash, g.id from g, unnest($15::bytea[]) hash)"
);

/// Stores the row and its `started` event by one statement: one commit on the way to the first
/// token. `None` if its id or its key is there already.
pub(super) async fn insert_generation(
    executor: impl PgExecutor<'_>,
    new: &NewGeneration,
    process: uuid::Uuid,
) -> Result<Option<Entry>, LogError> {
    let key = new.idempotency.as_ref();
    let request = rows::checked_json(&new.request)?;
    let pictures = pictures::named_outside(new);
    let statement = if pictures.is_empty() { START } else { START_WITH_PICTURES };
    let query = sqlx::query(statement)
        .bind(new.id.0)
        .bind(new.tenant.as_str())
        .bind(if new.queued { Status::Queued } else { Status::Running }.as_str())
        .bind(&new.request.model)
        .bind(&new.provider)
        .bind(request)
        .bind(key.map(|k| k.key.as_str()))
        .bind(key.map(|k| k.fingerprint.as_slice()))
        .bind(new.owner.0)
        .bind(new.place.map(|p| p.conversation.0))
        .bind(new.place.map(|p| p.parent.0))
        .bind(new.key.map(|(id, _)| id.0))
        .bind(new.request_hash.as_deref())
        .bind(process);
    let query = if pictures.is_empty() { query } else { query.bind(pictures) };
    let row = query.fetch_optional(executor).await.map_err(error)?;
    let mut started = Vec::new();
    if let Some(row) = &row {
        rows::unpack(row, new.id, Seq::ZERO, 1, &mut started)?;
    }
    Ok(started.pop())
}
