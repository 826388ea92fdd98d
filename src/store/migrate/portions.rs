//! Migrations that rewrite all events: done before their own transaction, a portion a transaction,
//! in a schema beside the tables. A portion that is committed is not done again.
//!
//! The SQL is that of the migration's file, which nobody may change: its checksum is in the
//! databases that have it. The portions replace its one statement for all rows.
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr};
use tokio::time::Instant;

use super::{name, number, set};
use crate::store::connect::ConnectError;

/// Where the new tables are until they are complete.
const BESIDE: &str = "lastword_moving";

/// The migrations that are done in portions.
pub(super) const STEPS: [Step; 2] = [
    Step {
        version: 7,
        source: "events",
        inside: "events",
        clause: "from events",
        events: "1",
        most: 50_000,
        fold: "",
        rest: "drop table events;",
    },
    Step {
        version: 10,
        source: "segments",
        inside: "earlier.segments",
        clause: "from earlier.segments s",
        events: "last - seq + 1",
        most: 500,
        fold: "select fold(id, (select max(n) from journal where lane = id)) from lanes",
        rest: "drop schema earlier cascade;",
    },
];

/// One of them.
pub(super) struct Step {
    version: i64,
    /// The table that is rewritten.
    source: &'static str,
    /// The same within the migration's transaction.
    inside: &'static str,
    /// How the file's statement for all rows reads it.
    clause: &'static str,
    /// How many events a row of it has.
    events: &'static str,
    /// Rows of a portion: a second's work.
    most: i64,
    /// The step before the first portion.
    fold: &'static str,
    /// Where the file goes on behind that statement.
    rest: &'static str,
}

/// The pieces of a migration's file.
struct Pieces<'a> {
    before: &'a str,
    tables: &'a str,
    insert: &'a str,
    rest: &'a str,
}

impl Step {
    pub(super) fn version(&self) -> i64 {
        self.version
    }

    /// Rewrites what there is, and has the migration in `ours` use it.
    pub(super) async fn prepare(
        &self,
        first: &mut PgConnection,
        ours: &mut Migrator,
    ) -> Result<(), ConnectError> {
        let Some(migration) =
            ours.migrations.to_mut().iter_mut().find(|m| m.version == self.version)
        else {
            return Ok(());
        };
        let sql = migration.sql.as_str().to_owned();
        let pieces = self.pieces(&sql).ok_or(MigrateError::VersionMissing(self.version))?;
        if !self.fold.is_empty() {
            set(first, self.fold).await?;
        }
        let total: i64 = number(first, &self.count(self.source)).await?;
        if total == 0 {
            return set(first, &format!("drop schema if exists {BESIDE} cascade")).await;
        }
        self.make_tables(first, &pieces).await?;
        self.rewrite(first, &pieces, total).await?;
        name(first, &format!("lastword migration {}: puts the new tables in place", self.version))
            .await?;
        migration.sql = AssertSqlSafe(self.finish(&pieces)).into_sql_str();
        Ok(())
    }

    fn pieces<'a>(&self, sql: &'a str) -> Option<Pieces<'a>> {
        let (before, _) = sql.split_once("create table segments (")?;
        let (tables, _) = sql.get(before.len()..)?.split_once("do $$")?;
        let (_, insert) = sql.split_once("insert into segments (")?;
        let insert = insert.split_once(';')?.0;
        let rest = sql.get(sql.find(self.rest)?..)?;
        Some(Pieces { before, tables, insert, rest })
    }

    fn count(&self, table: &str) -> String {
        format!("select coalesce(sum({}), 0)::bigint from {table}", self.events)
    }

    /// The file's statement, for `which` rows of `table`.
    fn insert(&self, pieces: &Pieces<'_>, table: &str, which: &str) -> String {
        let read = self.clause.replacen(self.inside, table, 1);
        let insert = pieces.insert.replacen(self.clause, &format!("{read} where {which}"), 1);
        format!("insert into {BESIDE}.segments ({insert}")
    }

    /// The file's tables, and a partition for each day that has one.
    async fn make_tables(
        &self,
        first: &mut PgConnection,
        pieces: &Pieces<'_>,
    ) -> Result<(), ConnectError> {
        let there = format!("select to_regclass('{BESIDE}.segments') is not null");
        if number(first, &there).await? {
            tracing::info!(version = self.version, "a migration that was broken off goes on");
            return Ok(());
        }
        let tables = pieces
            .tables
            .replace("create table segments", &format!("create table {BESIDE}.segments"))
            .replace("partition of segments", &format!("partition of {BESIDE}.segments"));
        let source = self.source;
        set(
            first,
            &format!(
                "begin; create schema {BESIDE}; {tables} \
                 do $$ declare day text; begin \
                   for day in select right(relid::regclass::text, 8) from pg_partition_tree('{source}') \
                     where relid::regclass::text ~ '{source}_[0-9]{{8}}$' \
                   loop execute format('create table {BESIDE}.segments_%s partition of {BESIDE}.segments \
                     for values from (%L) to (%L)', day, first_uuid_of_day(day::date), \
                     first_uuid_of_day(day::date + 1)); \
                   end loop; end $$; commit"
            ),
        )
        .await
    }

    async fn rewrite(
        &self,
        first: &mut PgConnection,
        pieces: &Pieces<'_>,
        total: i64,
    ) -> Result<(), ConnectError> {
        let (version, source, most) = (self.version, self.source, self.most);
        let begun = Instant::now();
        let done =
            format!("select coalesce(sum(last - seq + 1), 0)::bigint from {BESIDE}.segments");
        let mut done: i64 = number(first, &done).await?;
        let last = format!(
            "select (select generation_id from {BESIDE}.segments order by generation_id desc limit 1)"
        );
        let mut last: Option<uuid::Uuid> = number(first, &last).await?;
        let mut told = 0;
        loop {
            self.refuse_beside_others(first).await?;
            let after = last.unwrap_or_default();
            let next = format!(
                "select (select generation_id from (select generation_id from {source} \
                 where generation_id > '{after}' order by generation_id limit {most}) next \
                 order by generation_id desc limit 1)"
            );
            let Some(upto) = number::<Option<uuid::Uuid>>(first, &next).await? else { break };
            let which = format!("generation_id > '{after}' and generation_id <= '{upto}'");
            let insert = self.insert(pieces, source, &which);
            let made = format!(
                "with made as ({insert} returning last - seq + 1 as events) \
                 select coalesce(sum(events), 0)::bigint from made"
            );
            done += number::<i64>(first, &made).await?;
            last = Some(upto);
            let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100).min(100);
            if percent > told {
                told = percent;
                name(
                    first,
                    &format!("lastword migration {version}: {percent} % of {total} events"),
                )
                .await?;
                let seconds = begun.elapsed().as_secs();
                tracing::info!(version, events = done, of = total, percent, seconds, "migrates");
            }
        }
        Ok(())
    }

    /// An earlier version writes what this one has passed by.
    async fn refuse_beside_others(&self, first: &mut PgConnection) -> Result<(), ConnectError> {
        let alive = "select exists (select from instances where lease_until >= clock_timestamp())";
        if number(first, alive).await? { Err(ConnectError::OthersRun) } else { Ok(()) }
    }

    /// The file with the new tables in place of its statement for all rows. Generations that an
    /// earlier version has changed since their portion are done again.
    fn finish(&self, pieces: &Pieces<'_>) -> String {
        let Pieces { before, rest, .. } = pieces;
        let (inside, events) = (self.inside, self.events);
        let missing = format!(
            "generation_id in (select generation_id from {inside} \
             except select generation_id from {BESIDE}.segments)"
        );
        let insert = self.insert(pieces, inside, &missing);
        format!(
            "{before} \
             delete from {BESIDE}.segments where generation_id in (select new.generation_id from \
               (select generation_id, sum(last - seq + 1) as n from {BESIDE}.segments group by 1) new \
               left join (select generation_id, sum({events}) as n from {inside} group by 1) old \
                 using (generation_id) where old.n is distinct from new.n); \
             {insert}; \
             do $$ declare piece regclass; begin \
               for piece in select relid from pg_partition_tree('{BESIDE}.segments') \
               loop execute format('alter table %s set schema %I', piece, current_schema()); \
               end loop; end $$; \
             drop schema {BESIDE}; {rest}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_cut_where_they_are_to_be() {
        let ours = crate::store::migrate::files::migrator();
        for step in &STEPS {
            let file = ours.iter().find(|m| m.version == step.version).unwrap();
            let pieces = step.pieces(file.sql.as_str()).unwrap();
            assert!(pieces.tables.contains("segments_other partition of segments default"));
            let insert = step.insert(&pieces, "one.two", "true");
            assert!(insert.contains("from one.two") && insert.contains("where true"), "{insert}");
            let all = step.finish(&pieces);
            assert!(all.starts_with("-- ") && !all.contains("create table segments ("), "{all}");
            assert_eq!(all.matches(step.rest).count(), 1);
        }
    }
}
