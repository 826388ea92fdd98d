//! A start is stored once, whatever is repeated.
use sqlx::postgres::PgExecutor;

use super::contents::{StoredRequest, retried};
use super::{pictures, rows};
use crate::domain::entry::Entry;
use crate::domain::event::Status;
use crate::domain::generation::NewGeneration;
use crate::domain::id::Seq;
use crate::ports::LogError;

/// The statement of a start; those that name pictures or have long requests pay for tables more.
macro_rules! start {
    ($column:literal, $value:literal, $named:literal) => {
        concat!(
            "with g as (insert into generations (id, tenant, status, model, provider, request, \
               idempotency_key, fingerprint, owner, started_at, conversation_id, parent_id, key_id",
            $column,
            ") values ($1, $2, $3, $4, $5, $6::json, $7, $8, $9, \
                 case $3 when 'running' then clock_timestamp() end, $10, $11, $12",
            $value,
            ") on conflict do nothing returning *), \
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
const START: &str = start!("", "", "");
const START_WITH_PICTURES: &str = start!(
    "",
    "",
    ", named as (insert into picture_uses (tenant, hash, generation_id) \
         select $2, hash, g.id from g, unnest($15::bytea[]) hash)"
);
/// In the order of their hashes, as everybody stores them.
const START_WITH_CONTENTS: &str = start!(
    ", packed",
    ", $16",
    ", named as (insert into picture_uses (tenant, hash, generation_id) \
         select $2, hash, g.id from g, unnest($15::bytea[]) hash), \
       kept as (insert into contents (hash, tenant, body) select c.hash, $2, c.body \
         from g, unnest($17::bytea[], $18::text[]) as c (hash, body) on conflict do nothing), \
       made as (insert into content_parts (whole, part) select p.whole, p.part \
         from g, unnest($19::bytea[], $20::bytea[]) as p (whole, part) on conflict do nothing), \
       uses as (insert into content_uses (generation_id, hash) \
         select g.id, hash from g, unnest($21::bytea[]) hash)"
);

/// Stores the row and its `started` event by one statement: one commit on the way to the first
/// token. `None` if its id or its key is there already.
pub(super) async fn insert_generation(
    executor: impl PgExecutor<'_>,
    new: &NewGeneration,
    stored: &StoredRequest,
    process: uuid::Uuid,
) -> Result<Option<Entry>, LogError> {
    let key = new.idempotency.as_ref();
    let pictures = pictures::named_outside(new);
    let statement = match &stored.packed {
        Some(_) => START_WITH_CONTENTS,
        None if pictures.is_empty() => START,
        None => START_WITH_PICTURES,
    };
    let query = sqlx::query(statement)
        .bind(new.id.0)
        .bind(new.tenant.as_str())
        .bind(if new.queued { Status::Queued } else { Status::Running }.as_str())
        .bind(&new.request.model)
        .bind(&new.provider)
        .bind(&stored.request)
        .bind(key.map(|k| k.key.as_str()))
        .bind(key.map(|k| k.fingerprint.as_slice()))
        .bind(new.owner.0)
        .bind(new.place.map(|p| p.conversation.0))
        .bind(new.place.map(|p| p.parent.0))
        .bind(new.key.map(|(id, _)| id.0))
        .bind(new.request_hash.as_deref())
        .bind(process);
    let query = match &stored.packed {
        Some(packed) => query
            .bind(pictures)
            .bind(&packed.text)
            .bind(columns(&packed.hashes))
            .bind(&packed.bodies)
            .bind(columns(&packed.wholes))
            .bind(columns(&packed.parts))
            .bind(columns(&packed.used)),
        None if pictures.is_empty() => query,
        None => query.bind(pictures),
    };
    let row = query.fetch_optional(executor).await.map_err(retried)?;
    let mut started = Vec::new();
    if let Some(row) = &row {
        rows::unpack(row, new.id, Seq::ZERO, 1, &mut started)?;
    }
    Ok(started.pop())
}

fn columns(hashes: &[[u8; 32]]) -> Vec<&[u8]> {
    hashes.iter().map(<[u8; 32]>::as_slice).collect()
}
