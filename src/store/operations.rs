//! The operator's queries: instances, running generations, and the times at which events were
//! stored.
use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::postgres::PgLog;
use super::rows::{answered, error, seq};
use crate::domain::event::Status;
use crate::domain::fleet::{Fleet, Instance, Moment, Unfinished};
use crate::domain::id::{Epoch, GenerationId, InstanceId, Seq, Tenant};
use crate::ports::{Address, LogError, Operations};

/// The most instances that are told of: more than anybody runs.
const INSTANCES: i64 = 100;

/// The operator's view of the database of the log.
#[derive(Clone, Debug)]
pub(super) struct PgOperations {
    pub(super) log: PgLog,
}

#[async_trait]
impl Operations for PgOperations {
    async fn fleet(&self, limit: u32) -> Result<Fleet, LogError> {
        answered(async {
            let instances = self.instances().await?;
            let counted = sqlx::query(
                "select status, count(*) as n from generations \
                 where status in ('queued', 'running', 'cancelling') group by status",
            )
            .fetch_all(&self.log.readers)
            .await
            .map_err(error)?;
            let unfinished = counted
                .iter()
                .map(|row| Ok((status(row)?.as_str(), row.try_get("n").map_err(error)?)))
                .collect::<Result<_, LogError>>()?;
            let rows = sqlx::query(
                "select id, tenant, status, model, provider, owner, epoch, created_at \
                 from generations where status in ('queued', 'running', 'cancelling') \
                 order by id desc limit $1",
            )
            .bind(i64::from(limit))
            .fetch_all(&self.log.readers)
            .await
            .map_err(error)?;
            let generations = rows.iter().map(generation).collect::<Result<_, _>>()?;
            Ok(Fleet { instances, unfinished, generations })
        })
        .await
    }

    async fn tenant_of(&self, id: GenerationId) -> Result<Option<Tenant>, LogError> {
        answered(async {
            let sql = "select tenant from generations where id = $1";
            let tenant: Option<String> = sqlx::query_scalar(sql)
                .bind(id.0)
                .fetch_optional(&self.log.readers)
                .await
                .map_err(error)?;
            Ok(tenant.map(Tenant::named))
        })
        .await
    }

    async fn moments(
        &self,
        at: &Address,
        after: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<Moment>, LogError> {
        answered(async {
            let rows = sqlx::query(
                "with first as (select e.at from events e \
                   where e.generation_id = $1 order by e.seq limit 1), \
                 picked as (select * from (select * from events e where e.generation_id = $1 and e.tenant = $2 \
                   and $3::bigint is null order by e.seq desc limit $4) newest \
                   union all select * from (select * from events e where e.generation_id = $1 \
                   and e.tenant = $2 and e.seq > $3 order by e.seq limit $4) next) \
                 select s.seq, s.type, s.epoch, (extract(epoch from s.at - f.at) * 1000)::float8 as ms, \
                   octet_length(s.data::text)::bigint as bytes \
                 from picked s, first f order by s.seq",
            )
            .bind(at.id.0)
            .bind(at.tenant.as_str())
            .bind(after.map(|seq| i64::try_from(seq.0).unwrap_or(i64::MAX)))
            .bind(i64::from(limit))
            .fetch_all(&self.log.readers)
            .await
            .map_err(error)?;
            rows.iter().map(moment).collect()
        })
        .await
    }
}

impl PgOperations {
    async fn instances(&self) -> Result<Vec<Instance>, LogError> {
        let rows = sqlx::query(
            "select i.id, i.started_at, i.leaving, \
               (extract(epoch from i.lease_until - clock_timestamp()) * 1000)::bigint as left_ms, \
               (select count(*) from generations g where g.owner = i.id \
                 and g.status in ('queued', 'running', 'cancelling')) as n \
             from instances i where i.lease_until > clock_timestamp() - interval '1 day' \
             order by i.lease_until > clock_timestamp() desc, i.started_at desc limit $1",
        )
        .bind(INSTANCES)
        .fetch_all(&self.log.readers)
        .await
        .map_err(error)?;
        rows.iter().map(instance).collect()
    }
}

fn instance(row: &PgRow) -> Result<Instance, LogError> {
    Ok(Instance {
        id: InstanceId(row.try_get("id").map_err(error)?),
        started_at: row.try_get("started_at").map_err(error)?,
        lease_left_ms: row.try_get("left_ms").map_err(error)?,
        leaving: row.try_get("leaving").map_err(error)?,
        generations: row.try_get("n").map_err(error)?,
    })
}

fn status(row: &PgRow) -> Result<Status, LogError> {
    let word: String = row.try_get("status").map_err(error)?;
    Status::parse(&word).ok_or_else(|| LogError::Broken(format!("status {word}")))
}

fn generation(row: &PgRow) -> Result<Unfinished, LogError> {
    Ok(Unfinished {
        id: GenerationId(row.try_get("id").map_err(error)?),
        tenant: Tenant::named(row.try_get("tenant").map_err(error)?),
        status: status(row)?,
        model: row.try_get("model").map_err(error)?,
        provider: row.try_get("provider").map_err(error)?,
        owner: InstanceId(row.try_get("owner").map_err(error)?),
        epoch: row.try_get("epoch").map_err(error)?,
        created_at: row.try_get("created_at").map_err(error)?,
    })
}

fn moment(row: &PgRow) -> Result<Moment, LogError> {
    Ok(Moment {
        seq: seq(row.try_get("seq").map_err(error)?),
        kind: row.try_get("type").map_err(error)?,
        at_ms: row.try_get("ms").map_err(error)?,
        bytes: row.try_get("bytes").map_err(error)?,
        epoch: Epoch(row.try_get("epoch").map_err(error)?),
    })
}
