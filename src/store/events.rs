//! Pages of the log, of one generation or of many.
use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::Row;
use uuid::Uuid;

use super::lane::PgWriter;
use super::pieces::LONG_ROW;
use super::postgres::PgLog;
use super::rows::{self, answered, error, stored};
use crate::domain::entry::Entry;
use crate::domain::id::{GenerationId, InstanceId, Seq};
use crate::ports::{Address, EventPage, Events, LogError, LogWriter, PAGE_BYTES};

#[async_trait]
impl Events for PgLog {
    fn writer(&self, owner: InstanceId) -> Box<dyn LogWriter> {
        Box::new(PgWriter::new(self.supply.clone(), owner, self.append_cache.clone()))
    }

    async fn read(&self, at: &Address, after: Seq, limit: u32) -> Result<Vec<Entry>, LogError> {
        Ok(self.some(at, (after, limit), i64::MAX).await?.entries)
    }

    async fn page(&self, at: &Address, after: Seq, limit: u32) -> Result<EventPage, LogError> {
        self.some(at, (after, limit), PAGE_BYTES.into()).await
    }

    // One lookup in the primary key for each generation, and one look at the journal for all. For
    // few generations the look covers only rows with an event of theirs.
    async fn read_many(
        &self,
        wanted: &[(Address, Seq)],
        limit: u32,
    ) -> Result<HashMap<GenerationId, EventPage>, LogError> {
        answered(async {
            let (ids, tenants) = columns(wanted.iter().map(|(at, _)| at));
            let after: Vec<i64> = wanted.iter().map(|(_, after)| stored(*after)).collect();
            let found = sqlx::query(PAGES)
                .bind(&ids)
                .bind(&tenants)
                .bind(&after)
                .bind(i64::from(limit))
                .bind(LONG_ROW)
                .bind(i64::from(PAGE_BYTES))
                .fetch_all(&self.readers)
                .await
                .map_err(error)?;
            let mut pages: HashMap<GenerationId, EventPage> = HashMap::new();
            for row in &found {
                let id = GenerationId(row.try_get("id").map_err(error)?);
                let page = pages.entry(id).or_default();
                page.cut = !row.try_get::<bool, _>("within").map_err(error)?;
                if !page.cut {
                    let after = rows::seq(row.try_get("after").map_err(error)?);
                    self.unpack(row, id, (after, limit), &mut page.entries).await?;
                }
            }
            pages.retain(|_, page| page.cut || !page.entries.is_empty());
            Ok(pages)
        })
        .await
    }
}

impl PgLog {
    // Seqs have no gaps, so the page is what lies between two of them; it begins in the segment
    // that holds the first. The journal is not looked at for a page that is in segments. These may
    // have a hole in front of a take-over: its entry is a segment at once.
    async fn some(
        &self,
        at: &Address,
        (after, limit): (Seq, u32),
        bytes: i64,
    ) -> Result<EventPage, LogError> {
        let found = answered(async {
            sqlx::query(PAGE)
                .bind(at.id.0)
                .bind(at.tenant.as_str())
                .bind(stored(after))
                .bind(i64::from(limit))
                .bind(LONG_ROW)
                .bind(bytes)
                .fetch_all(&self.readers)
                .await
                .map_err(error)
        })
        .await?;
        let all = found.first().map(|row| row.try_get::<i64, _>("found").map_err(error));
        let cut = all.transpose()?.is_some_and(|all| usize::try_from(all) != Ok(found.len()));
        let mut entries = Vec::new();
        for row in &found {
            self.unpack(row, at.id, (after, limit), &mut entries).await?;
        }
        Ok(EventPage { entries, cut })
    }
}

/// At most `$4` events behind `$3`, in rows of which the last has more than `$6` bytes before it.
const PAGE: &str = "with folded as materialized ( \
       select s.seq, s.last, s.epoch, octet_length(s.lines) as bytes, \
         case when octet_length(s.lines) <= $5 then s.lines end as lines from segments s \
       where s.generation_id = $1 and s.seq <= $3 + $4 and s.seq >= coalesce((select b.seq \
         from segments b where b.generation_id = $1 and b.seq <= $3 + 1 \
         order by b.seq desc limit 1), 0)), \
     page as ( \
       select seq, epoch, bytes, lines from folded \
       union all \
       select u.seq, u.epoch, octet_length(u.data), \
         case when octet_length(u.data) <= $5 then concat_ws(' ', 0, u.type, u.data) end \
       from waiting j, unpacked(j.ids, j.lines) u \
       where $1 = any(j.ids) and u.generation_id = $1 and u.seq > $3 and u.seq <= $3 + $4 \
         and (select coalesce(sum(greatest(least(last, $3 + $4) - greatest(seq, $3 + 1) + 1, 0)), 0) \
           from folded) < $4), \
     summed as (select page.*, sum(bytes) over (order by seq) - bytes as ahead, \
       count(*) over () as found from page) \
     select seq, epoch, lines, found, \
       (select min(d.seq) from doubled d where d.generation_id = $1) as doubled \
     from summed where ahead < $6 \
       and exists (select from generations where id = $1 and tenant = $2) order by seq";

/// The same of many, of which the last row has more than `$6` bytes before it. A row that is not
/// `within` is told without its events. Of each generation the next row comes first.
const PAGES: &str = "with w as materialized (select w.*, \
         (select min(d.seq) from doubled d where d.generation_id = w.id) as doubled \
       from unnest($1::uuid[], $2::text[], $3::bigint[]) with ordinality \
         as w (id, tenant, after, place) \
       join generations g on g.id = w.id and g.tenant = w.tenant), \
     page as ( \
       select w.*, s.seq, s.epoch, octet_length(s.lines) as bytes, \
         case when octet_length(s.lines) <= $5 then s.lines end as lines \
       from w cross join lateral (select * from segments s where s.generation_id = w.id \
         and s.last > w.after and s.seq <= w.after + $4 and s.seq >= coalesce((select b.seq \
           from segments b where b.generation_id = w.id and b.seq <= w.after + 1 \
           order by b.seq desc limit 1), 0) \
         order by s.seq limit $4) s \
       union all \
       select w.*, u.seq, u.epoch, octet_length(u.data), \
         case when octet_length(u.data) <= $5 then concat_ws(' ', 0, u.type, u.data) end \
       from waiting j, unpacked(j.ids, j.lines) u, w \
       where (cardinality($1) > 8 or j.ids && $1) and w.id = u.generation_id \
         and u.seq > w.after and u.seq <= w.after + $4), \
     summed as (select page.*, \
       sum(bytes) over (order by greatest(seq - after, 1), place) - bytes as ahead from page) \
     select id, after, doubled, seq, epoch, ahead < $6 as within, \
       case when ahead < $6 then lines end as lines from summed order by id, seq";

/// The ids and tenants of generations, a column each.
pub(super) fn columns<'a>(which: impl Iterator<Item = &'a Address>) -> (Vec<Uuid>, Vec<&'a str>) {
    which.map(|at| (at.id.0, at.tenant.as_str())).unzip()
}
