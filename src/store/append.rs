//! Appends of many generations in one transaction.
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::append_cache::Flush;
use super::endings::mark_ended;
use super::lane::{Admitted, LanePosition};
use super::lines;
use super::pieces;
use super::rows::{error, json, stored};
use super::turns::tell;
use crate::domain::entry::Entry;
use crate::ports::{Append, Doubled, LogError, RowChange};

/// Appends `batch` by a lane; refused as a whole if the lane was closed, or if one of it is not
/// where its generation is.
pub(super) async fn append(
    connection: &mut PgConnection,
    lane: &mut LanePosition,
    batch: &[&Append],
) -> Result<(), LogError> {
    let Some(admitted) = lane.admit(batch) else { return Err(LogError::Conflict) };
    let long = batch.iter().flat_map(|append| &append.entries).any(is_long);
    if !long && batch.iter().all(|append| matches!(append.row, RowChange::None)) {
        return flush(connection, lane, batch, admitted).await;
    }
    let mut transaction = connection.begin().await.map_err(error)?;
    if long {
        flush_long(&mut transaction, lane, batch, admitted).await?;
    } else {
        flush(&mut transaction, lane, batch, admitted).await?;
    }
    mark_started(&mut transaction, batch).await?;
    mark_kept(&mut transaction, batch).await?;
    let told = mark_ended(&mut transaction, batch, |id| lane.spoke(id)).await?;
    tell(&mut transaction, told).await?;
    lane.forget_ended(batch);
    transaction.commit().await.map_err(error)
}

/// One row of the journal for the whole batch. A generation that is new to this lane must have the
/// epoch on record. A take-over after this statement began has closed the lane.
async fn flush(
    connection: &mut PgConnection,
    lane: &mut LanePosition,
    batch: &[&Append],
    admitted: Admitted,
) -> Result<(), LogError> {
    let flush = Flush::of(batch);
    if flush.ids.is_empty() {
        return Ok(());
    }
    let checked = "with lane as (select from lanes where id = $1 and open for key share) \
         insert into journal (lane, n, ids, lines) select $1, $2, $3, $4 from lane where not exists ( \
           select from unnest($5::uuid[], $6::integer[]) as f (id, epoch) \
           left join generations g on g.id = f.id where g.epoch is distinct from f.epoch) \
         returning at";
    // As most are, and so without a step more than it needs.
    let known = "insert into journal (lane, n, ids, lines) select $1, $2, $3, $4 from lanes \
         where id = $1 and open for key share returning at";
    let query = sqlx::query_scalar(if admitted.fresh.is_empty() { known } else { checked })
        .bind(lane.id)
        .bind(lane.n)
        .bind(&flush.ids)
        .bind(&flush.lines);
    let query = if admitted.fresh.is_empty() {
        query
    } else {
        query.bind(&admitted.fresh).bind(&admitted.epochs)
    };
    let at = query.fetch_optional(connection).await.map_err(error)?;
    lane.note(&admitted, at.ok_or(LogError::Conflict)?);
    lane.append_cache.keep(lane.id, lane.n, flush);
    Ok(())
}

fn is_long(entry: &Entry) -> bool {
    entry.json().len() > pieces::LONG
}

/// The same for a batch with an entry of megabytes, whose lines go in pieces. No copy is kept for
/// the fold: the database folds such a row itself.
async fn flush_long(
    connection: &mut PgConnection,
    lane: &mut LanePosition,
    batch: &[&Append],
    admitted: Admitted,
) -> Result<(), LogError> {
    let (ids, parts) = lines::in_parts(batch);
    pieces::send(connection, lane.id, &parts).await?;
    let at = sqlx::query_scalar(
        "with lane as (select from lanes where id = $1 and open for key share) \
         insert into journal (lane, n, ids, lines) select $1, $2, $3, take_pieces($1) from lane \
         where not exists (select from unnest($4::uuid[], $5::integer[]) as f (id, epoch) \
           left join generations g on g.id = f.id where g.epoch is distinct from f.epoch) \
         returning at",
    )
    .bind(lane.id)
    .bind(lane.n)
    .bind(&ids)
    .bind(&admitted.fresh)
    .bind(&admitted.epochs)
    .fetch_optional(connection)
    .await
    .map_err(error)?;
    lane.note(&admitted, at.ok_or(LogError::Conflict)?);
    Ok(())
}

/// Entries of one owner as a segment, by whoever holds the generation: its take-over. Refused if
/// there are events where they begin, or later.
pub(super) async fn insert_segment(
    connection: &mut PgConnection,
    append: &Append,
) -> Result<(), LogError> {
    let mut lines = String::new();
    for entry in &append.entries {
        lines::add(&mut lines, 0, &format!("{} {}", entry.name(), entry.data()));
    }
    let (Some(first), Some(last)) = (append.entries.first(), append.entries.last()) else {
        return Ok(());
    };
    let inserted = sqlx::query(
        "insert into segments (generation_id, seq, last, epoch, at, lines) \
         select $1, $2, $3, $4, clock_timestamp(), $5 where coalesce((select s.last from segments s \
           where s.generation_id = $1 order by s.seq desc limit 1), 0) < $2",
    )
    .bind(append.at.id.0)
    .bind(stored(first.seq))
    .bind(stored(last.seq))
    .bind(append.epoch.0)
    .bind(lines)
    .execute(connection)
    .await
    .map_err(error)?;
    if inserted.rows_affected() == 1 {
        return Ok(());
    }
    Err(LogError::Doubled(vec![Doubled { generation: append.at.id, seq: first.seq }]))
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
        let RowChange::Background(kept) = &one.row else { continue };
        sqlx::query(
            "update generations set kept = $3::json, \
             started_at = coalesce(started_at, clock_timestamp()), \
             status = case status when 'queued' then 'running' else status end \
             where id = $1 and epoch = $2",
        )
        .bind(one.at.id.0)
        .bind(one.epoch.0)
        .bind(kept.as_ref().map(json).transpose()?)
        .execute(&mut *connection)
        .await
        .map_err(error)?;
    }
    Ok(())
}
