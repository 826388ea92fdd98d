//! The rows of `request_reads`: who reads the answer to a request.
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::postgres::PgLog;
use super::rows::{answered, error};
use crate::domain::id::GenerationId;
use crate::ports::{Attachment, LogError, ReadEnd, RequestReads, Sought};

/// A reader is gone when it was noted as cut, when the lease of its process expired, or when its
/// process has no append session. Append sessions end with their process. This process lives,
/// whatever became of its lease on a busy machine.
///
/// Whether somebody reads is asked of the same moment. A cut between two statements would be seen
/// by neither. Only who tries again can do something with it.
const ATTACH: &str = "\
with free as ( \
  select r.generation_id from request_reads r \
  join generations g on g.id = r.generation_id \
  left join instances i on i.process = r.reader \
  where r.hash = $1 and ($5::uuid is null or r.generation_id = $5) and g.status in ('queued', 'running', 'completed', 'incomplete') \
    and case when r.cut_at is not null \
      then r.cut_at > clock_timestamp() - make_interval(secs => $2) and ($3 or not r.client_left) \
      else r.reader <> $4 \
        and (i.lease_until between clock_timestamp() - make_interval(secs => $2) and clock_timestamp() \
          or (exists (select from lanes l where l.owner = i.id and l.open and l.backend is not null) \
            and not exists (select from lanes l join pg_stat_activity a \
              on a.pid = l.backend and a.backend_start = l.backend_start \
              where l.owner = i.id and l.open))) end \
  order by r.generation_id limit 1 for update of r skip locked), \
taken as ( \
  update request_reads r set reader = $4, cut_at = null, client_left = false \
  from free where r.generation_id = free.generation_id returning r.generation_id) \
select (select generation_id from taken) as taken, \
  $3 and exists (select from request_reads r join generations g on g.id = r.generation_id \
    where r.hash = $1 and ($5::uuid is null or r.generation_id = $5) and r.cut_at is null \
      and g.status in ('queued', 'running')) as read";

/// Not worth a flush of its own: the next commit takes it along.
const DELIVERED: &str = "\
delete from request_reads r \
using (select set_config('synchronous_commit', 'off', true) as lazy offset 0) c \
where r.generation_id = any($1) and r.reader = $2 and c.lazy is not null";

/// Not flushed either. A repeat waits for it, and after a crash of this process its readers count
/// as cut anyway.
const CUT: &str = "\
update request_reads r set cut_at = clock_timestamp(), client_left = e.client_left \
from unnest($1::uuid[], $2::boolean[]) as e(id, client_left), \
  (select set_config('synchronous_commit', 'off', true) as lazy offset 0) c \
where r.generation_id = e.id and r.reader = $3 and c.lazy is not null";

#[async_trait]
impl RequestReads for PgLog {
    async fn attach(&self, sought: Sought<'_>, window: Duration) -> Result<Attachment, LogError> {
        let Sought { hash, is_retry, of } = sought;
        let of = of.map(|id| id.0);
        answered(async {
            let (taken, read): (Option<Uuid>, bool) = sqlx::query_as(ATTACH)
                .bind(hash)
                .bind(window.as_secs_f64())
                .bind(is_retry)
                .bind(self.process)
                .bind(of)
                .fetch_one(&self.workers)
                .await
                .map_err(error)?;
            Ok(match taken {
                Some(id) => Attachment::Taken(GenerationId(id)),
                None if read => Attachment::Read,
                None => Attachment::None,
            })
        })
        .await
    }

    async fn note(&self, ended: &[(GenerationId, ReadEnd)]) -> Result<(), LogError> {
        let (mut delivered, mut cut, mut client_left) = (Vec::new(), Vec::new(), Vec::new());
        for (id, end) in ended {
            match end {
                ReadEnd::Delivered => delivered.push(id.0),
                ReadEnd::Cut | ReadEnd::ClientLeft => {
                    cut.push(id.0);
                    client_left.push(*end == ReadEnd::ClientLeft);
                }
            }
        }
        answered(async {
            // First what may be written twice: after an error all of it is noted again.
            if !delivered.is_empty() {
                let statement = sqlx::query(DELIVERED).bind(delivered).bind(self.process);
                statement.execute(&self.workers).await.map_err(error)?;
            }
            if !cut.is_empty() {
                let statement = sqlx::query(CUT).bind(cut).bind(client_left).bind(self.process);
                statement.execute(&self.workers).await.map_err(error)?;
            }
            Ok(())
        })
        .await
    }
}

impl PgLog {
    /// Notes that this process is now the instance, since now: readers of the process before were
    /// cut.
    pub(super) async fn replace_process(&self, instance: Uuid) -> Result<(), LogError> {
        sqlx::query(
            "with cut as (update request_reads r set cut_at = clock_timestamp() \
               from instances i where i.id = $1 and r.reader = i.process and r.cut_at is null) \
             update instances set leaving = false, process = $2, reads_packed = $2, \
               started_at = clock_timestamp() where id = $1",
        )
        .bind(instance)
        .bind(self.process)
        .execute(&self.upkeep)
        .await
        .map(drop)
        .map_err(error)
    }

    /// Removes rows that no repeat can meet any more.
    pub(super) async fn forget_request_reads(&self) -> Result<(), LogError> {
        sqlx::query(
            "delete from request_reads r where r.cut_at < clock_timestamp() - interval '1 hour' \
             or r.cut_at is null and not exists (select from instances i \
               where i.process = r.reader and i.lease_until > clock_timestamp() - interval '1 hour')",
        )
        .execute(&self.upkeep)
        .await
        .map(drop)
        .map_err(error)
    }
}
