//! Compaction: rows that appends left in the journal become segments.

use std::sync::atomic::Ordering;

use sqlx::{PgConnection, Row};
use tokio::task::yield_now;
use uuid::Uuid;

use super::append_cache::{Flush, Flushes};
use super::lane::close;
use super::pieces;
use super::postgres::PgLog;
use super::rows::{error, seq};
use super::segments::Segments;
use crate::domain::id::{GenerationId, InstanceId};
use crate::ports::{Doubled, LogError};

/// Lanes of others that are cleared away in one round.
const ROUND: i64 = 16;
/// Rows of one lane that are folded at a time, so that no backlog outlasts a statement's time: some
/// hundred thousand events. Four times a second that is more than a lane can write.
const ROWS: i64 = 2000;
/// Rows after which a lane's row says how far it is folded, while a session keeps PostgreSQL from
/// cleaning up. Readers walk past each version of that row then. They walk past these rows instead.
const SPARING: i64 = 1000;
/// A long row becomes segments in the database if its events have so many bytes on average: each is
/// a segment then.
const LONG_EVENTS: i64 = 8 * 1024;
/// Rows after which others have their turn on this thread: some tenths of a millisecond's work.
const BESIDE: usize = 8;

/// Lanes that nobody writes by, seen from the owner `$1`.
const LEFT: &str = "(not l.open or l.owner <> $1 and not exists (select from instances i \
    where i.id = l.owner and i.lease_until >= clock_timestamp()))";

impl PgLog {
    /// Folds what the lanes of `owner` have written, and clears away lanes that nobody writes by.
    pub(super) async fn fold_lanes(&self, owner: InstanceId) -> Result<u64, LogError> {
        let found = self.lanes(owner).await?;
        let open: Vec<Uuid> = found.iter().filter(|lane| lane.1).map(|lane| lane.0).collect();
        self.append_cache.retain(&open);
        let mut folded = Folded::default();
        let note = if self.horizon_held.load(Ordering::Relaxed) { SPARING } else { 1 };
        for lane in &open {
            let mut transaction = self.upkeep.begin_by_key().await.map_err(error)?;
            let copies = self.append_cache.take(*lane);
            folded.add(fold(&mut transaction, *lane, ROWS, note, copies).await?);
            transaction.commit().await.map_err(error)?;
        }
        if open.len() < found.len() {
            folded.add(self.clear_away(owner).await?);
        }
        if folded.doubled.is_empty() {
            Ok(folded.events)
        } else {
            Err(LogError::Doubled(folded.doubled))
        }
    }

    /// The open lanes of `owner` (true), and those that nobody writes by.
    async fn lanes(&self, owner: InstanceId) -> Result<Vec<(Uuid, bool)>, LogError> {
        sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "select l.id, l.owner = $1 and l.open from lanes l \
             where l.owner = $1 and l.open or {LEFT} order by l.id"
        )))
        .bind(owner.0)
        .fetch_all(&self.upkeep)
        .await
        .map_err(error)
    }

    /// Closed lanes, and those whose owner has no lease: should it live, it opens others.
    pub(super) async fn clear_away(&self, owner: InstanceId) -> Result<Folded, LogError> {
        let mut transaction = self.upkeep.begin_by_key().await.map_err(error)?;
        // For update: their appends under way are decided.
        let lanes: Vec<Uuid> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select l.id from lanes l where {LEFT} order by l.id limit $2 for update skip locked"
        )))
        .bind(owner.0)
        .bind(ROUND)
        .fetch_all(&mut *transaction)
        .await
        .map_err(error)?;
        let mut folded = Folded::default();
        for lane in &lanes {
            folded.add(fold(&mut transaction, *lane, ROWS, 1, Flushes::new()).await?);
        }
        sqlx::query("update lanes set open = false where id = any($1)")
            .bind(&lanes)
            .execute(&mut *transaction)
            .await
            .map_err(error)?;
        let empty = "delete from lanes where id = any($1) and next_to_fold(id, 1) is null";
        sqlx::query(empty).bind(&lanes).execute(&mut *transaction).await.map_err(error)?;
        transaction.commit().await.map_err(error)?;
        Ok(folded)
    }

    /// Closes what an earlier process of `owner` has left open.
    pub(super) async fn close_lanes(&self, owner: InstanceId) -> Result<(), LogError> {
        let mut transaction = self.upkeep.begin().await.map_err(error)?;
        close(&mut transaction, "owner = $1", owner.0).await?;
        transaction.commit().await.map_err(error)
    }
}

/// The result of a compaction.
#[derive(Default)]
pub(super) struct Folded {
    events: u64,
    /// The events that were put aside.
    doubled: Vec<Doubled>,
}

impl Folded {
    fn add(&mut self, more: Self) {
        self.events += more.events;
        self.doubled.extend(more.doubled);
    }
}

/// Folds all lanes that have something of `generations`, so that what is erased stays erased.
pub(super) async fn fold_all_of(
    connection: &mut PgConnection,
    generations: &[Uuid],
) -> Result<(), LogError> {
    let lanes: Vec<Uuid> =
        sqlx::query_scalar("select distinct lane from waiting where ids && $1 order by lane")
            .bind(generations)
            .fetch_all(&mut *connection)
            .await
            .map_err(error)?;
    // Lookups by key, also where a planner saw the tables when they were empty.
    let by_key = "set local enable_seqscan = off";
    sqlx::raw_sql(by_key).execute(&mut *connection).await.map_err(error)?;
    for lane in lanes {
        fold(connection, lane, i64::MAX, 1, Flushes::new()).await?;
    }
    Ok(())
}

/// Takes at most so many rows of a lane out of the journal. The lane comes first, as whoever clears
/// it away: else each could wait for the other. Long rows become segments here, one for each event.
const FOLD: &str = "with own as (select folded from lanes where id = $1 for no key update), \
     gone as (delete from journal where lane = $1 and n <= next_to_fold($1, $2) \
         and n > (select folded from own) \
       returning n, at, n <> all($3) and octet_length(lines) > $5 \
           and octet_length(lines) > $6 * cardinality(ids)::bigint as long, \
         case when n <> all($3) then ids end as ids, \
         case when n <> all($3) then lines end as lines), \
     noted as (update lanes set folded = greatest(folded, (select max(n) from gone)) \
       where id = $1 and (select max(n) from gone) >= folded + $4), \
     judged as materialized (select u.id, u.seq, u.epoch, gone.at, \
         concat_ws(' ', 0, u.type, u.data) as lines, \
         u.seq <= coalesce((select s.last from segments s where s.generation_id = u.id \
           and s.seq <= u.seq order by s.seq desc limit 1), 0) as taken \
       from gone cross join lateral (select generation_id as id, seq, epoch, type, data \
         from unpacked(gone.ids, gone.lines)) u where gone.long), \
     made as (insert into segments (generation_id, seq, last, epoch, at, lines) \
       select id, seq, seq, epoch, at, lines from judged where not taken returning seq), \
     aside as (insert into doubled (generation_id, seq, last, epoch, at, lines) \
       select id, seq, seq, epoch, at, lines from judged where taken \
       returning generation_id, seq) \
     select n, at, case when long then cardinality(ids) end as long, \
       case when not long then ids end as ids, case when not long then lines end as lines, \
       null::uuid as aside, null::bigint as seq from gone \
     union all select null, null, null, null, null, generation_id, seq from aside order by n";

/// Folds at most so many rows of a lane, in the transaction of `connection`, which looks up by key.
/// The lane's row notes how far if there are `note` more by now. Rows of which there are `copies`
/// are not read.
async fn fold(
    connection: &mut PgConnection,
    lane: Uuid,
    most: i64,
    note: i64,
    mut copies: Flushes,
) -> Result<Folded, LogError> {
    let copied: Vec<i64> = copies.keys().copied().collect();
    let gone = sqlx::query(FOLD)
        .bind(lane)
        .bind(most)
        .bind(copied)
        .bind(note)
        .bind(pieces::LONG_ROW)
        .bind(LONG_EVENTS)
        .fetch_all(&mut *connection)
        .await
        .map_err(error)?;
    let mut segments = Segments::default();
    let mut folded = Folded::default();
    for (n, row) in gone.iter().enumerate() {
        if n % BESIDE == BESIDE - 1 {
            yield_now().await;
        }
        if let Some(aside) = row.try_get::<Option<Uuid>, _>("aside").map_err(error)? {
            let seq = seq(row.try_get("seq").map_err(error)?);
            folded.doubled.push(Doubled { generation: GenerationId(aside), seq });
            continue;
        }
        if let Some(events) = row.try_get::<Option<i32>, _>("long").map_err(error)? {
            folded.events += u64::from(events.unsigned_abs());
            // The events behind it do not go on where the others are.
            segments.cut();
            continue;
        }
        let at = row.try_get("at").map_err(error)?;
        let flush = match row.try_get("ids").map_err(error)? {
            Some(ids) => Some(Flush { ids, lines: row.try_get("lines").map_err(error)? }),
            None => copies.remove(&row.try_get("n").map_err(error)?),
        };
        let flush =
            flush.ok_or_else(|| LogError::Broken("a row of the journal is empty".into()))?;
        segments.add(at, &flush)?;
    }
    let (events, doubled) = segments.insert(connection).await?;
    folded.add(Folded { events, doubled });
    for one in &folded.doubled {
        tracing::error!(generation = %one.generation, seq = one.seq.0, "put aside: the seq is taken");
    }
    Ok(folded)
}
