//! A log with a past: one generation that was really streamed, copied many times over the last
//! days.
//!
//! So its rows are those that the server leaves, in every version of its storage.
use lastword_postgres::Embedded;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use tokio::time::{Duration, Instant, sleep};

use crate::Failure;
use crate::http::begin;
use crate::running::said;
use crate::server::Server;

/// Events of each generation: its start, 500 tokens at the pace of a model, its end.
pub(crate) const EACH: u64 = 502;
const PROMPT: &str = "/demo tokens=500 tps=50 ttft_ms=0";
/// Over so many days they are spread; fewer than are kept.
const DAYS: u64 = 4;
/// Old generations by name, to be fetched.
const NAMED: i64 = 100;
const PATIENCE: Duration = Duration::from_secs(30);

/// The present size of a log.
pub(crate) struct Filled {
    /// The generation that was really streamed; it has ended.
    pub(crate) streamed: String,
    /// Some of the copies, from the middle of the log.
    pub(crate) old: Vec<String>,
    /// Bytes of the segments with their indexes, for each event.
    pub(crate) bytes_per_event: f64,
    /// How long the copying took.
    pub(crate) took: Duration,
}

/// Fills the log of `server` with so many generations.
pub(crate) async fn fill(server: &Server, generations: u64) -> Result<Filled, Failure> {
    let options = options(server)?;
    let mut connection = options.connect().await.map_err(failed)?;
    let streamed = stream(server, &mut connection).await?;
    let begun = Instant::now();
    for statement in statements(&streamed, generations) {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.map_err(failed)?;
    }
    let took = begun.elapsed();
    // From the middle, but not side by side.
    let old = sqlx::query_scalar(
        "select id::text from (select id from old order by id \
           offset (select count(*) / 4 from old) limit (select 1 + count(*) / 2 from old)) middle \
         order by md5(id::text) limit $1",
    );
    let old = old.bind(NAMED).fetch_all(&mut connection).await.map_err(failed)?;
    let bytes: i64 = sqlx::query_scalar(
        "select coalesce(sum(pg_total_relation_size(relid)), 0)::bigint \
         from pg_partition_tree('segments') where isleaf",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(failed)?;
    let bytes_per_event = bytes as f64 / ((generations + 1) * EACH) as f64;
    Ok(Filled { streamed, old, bytes_per_event, took })
}

fn options(server: &Server) -> Result<PgConnectOptions, Failure> {
    Embedded::attach(&server.data()).ok_or("its private PostgreSQL cannot be reached".into())
}

/// A generation in the time that a model takes; it is all in segments when it is returned.
async fn stream(server: &Server, connection: &mut PgConnection) -> Result<String, Failure> {
    let id = begin(server.address, PROMPT).await?;
    said(server, &id, EACH).await?;
    let begun = Instant::now();
    let folded = "select coalesce(max(last), 0) from segments where generation_id = $1::uuid";
    while begun.elapsed() < PATIENCE {
        let last: i64 = sqlx::query_scalar(folded)
            .bind(&id)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        if last.unsigned_abs() == EACH {
            return Ok(id);
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(format!("the journal was not folded in {PATIENCE:?}"))
}

/// Statements that copy the generation `streamed`, put all in order, and leave nothing to be done
/// later.
fn statements(streamed: &str, generations: u64) -> Vec<String> {
    let ids = format!(
        "create temp table old as select at, (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') \
           || '7' || substr(random, 1, 3) || '8' || substr(random, 4, 15))::uuid as id \
         from (select now() - interval '{DAYS} days' * n / {generations} as at, md5(n::text) as random \
           from generate_series(1, {generations}) n) times"
    );
    // As `store/partitions` makes them when their day is near.
    let days = format!(
        "do $$ declare day date; begin \
           for n in 0..{DAYS} loop \
             day := (now() at time zone 'utc')::date - n; \
             execute format('create table if not exists segments_%s partition of segments \
               for values from (%L) to (%L)', to_char(day, 'YYYYMMDD'), \
               first_uuid_of_day(day), first_uuid_of_day(day + 1)); \
           end loop; end $$"
    );
    let rows = format!(
        "insert into generations select copy.* from old cross join lateral jsonb_populate_record( \
           (select g from generations g where g.id = '{streamed}'), \
           jsonb_build_object('id', old.id, 'created_at', old.at, 'started_at', old.at, \
             'finished_at', old.at + interval '10 seconds')) copy"
    );
    // A generation after the other, as they were written. Its `started` names it.
    let segments = format!(
        "create temp table pieces as select * from segments where generation_id = '{streamed}'; \
         insert into segments (generation_id, seq, last, epoch, at, lines) \
         select copy.* from (select id from old order by id) ids cross join lateral ( \
           select ids.id, seq, last, epoch, at, \
             case seq when 1 then replace(lines, '{streamed}', ids.id::text) else lines end \
           from pieces order by seq offset 0) copy"
    );
    let mut all = vec![days, ids, rows, segments];
    // Otherwise PostgreSQL does it by itself during a measurement.
    all.extend(
        ["vacuum (analyze) segments", "vacuum (analyze) generations", "checkpoint"].map(Into::into),
    );
    all
}

fn failed(error: sqlx::Error) -> Failure {
    format!("the log could not be filled: {error}")
}
