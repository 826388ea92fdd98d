//! The PostgreSQL under a fleet: a private one that counts statements by role.
use std::collections::HashMap;
use std::path::Path;

use lastword_postgres::{Embedded, Search};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

use crate::Failure;
use crate::cpu::{Sample, Spent};

/// The largest fleet.
pub(super) const LARGEST: usize = 8;

/// A running cluster.
pub(super) struct Backend {
    embedded: Embedded,
    options: PgConnectOptions,
}

/// Its account at one moment.
pub(super) struct Moment {
    cpu: Sample,
    /// Statements of each instance since the beginning.
    pub(super) statements: HashMap<String, i64>,
    /// Connections of all instances.
    pub(super) connections: i64,
}

impl Moment {
    /// CPU since `earlier`; nanoseconds.
    pub(super) fn cpu_since(&self, earlier: &Self) -> u64 {
        let spent: Spent = self.cpu.since(&earlier.cpu);
        spent.serving()
    }
}

impl Backend {
    pub(super) async fn start(dir: &Path) -> Result<Self, Failure> {
        let first = launch(dir).await?;
        let mut connection = first.options().connect().await.map_err(failed)?;
        let mut setup: Vec<String> = vec![
            "alter system set shared_preload_libraries = 'pg_stat_statements'".into(),
            // Room for all, so that no pool is kept small.
            "alter system set max_connections = 300".into(),
        ];
        setup.extend((0..LARGEST).map(|n| format!("create role {} superuser login", role(n))));
        run(&mut connection, setup).await?;
        drop(connection);
        first.stop().await;
        let embedded = launch(dir).await?;
        let options = embedded.options();
        let backend = Self { embedded, options };
        let extension = vec!["create extension if not exists pg_stat_statements".to_owned()];
        run(&mut backend.connect().await?, extension).await?;
        Ok(backend)
    }

    pub(super) async fn stop(self) {
        self.embedded.stop().await;
    }

    /// How the instance `n` connects.
    pub(super) fn url(&self, n: usize) -> String {
        self.options.clone().username(&role(n)).to_url_lossy().to_string()
    }

    pub(super) async fn connect(&self) -> Result<PgConnection, Failure> {
        self.options.connect().await.map_err(failed)
    }

    /// Its account now, over a connection that is there.
    pub(super) async fn moment(&self, connection: &mut PgConnection) -> Result<Moment, Failure> {
        let counted = "select rolname::text, sum(calls)::bigint from pg_stat_statements \
                       join pg_roles on pg_roles.oid = userid where rolname like 'instance%' group by 1";
        let counted: Vec<(String, i64)> =
            sqlx::query_as(counted).fetch_all(&mut *connection).await.map_err(failed)?;
        let open = "select count(*) from pg_stat_activity where usename like 'instance%'";
        let connections = sqlx::query_scalar(open).fetch_one(connection).await.map_err(failed)?;
        let cpu = Sample::take(&[self.embedded.pid()]);
        Ok(Moment { cpu, statements: counted.into_iter().collect(), connections })
    }
}

/// The role of the instance `n`.
pub(super) fn role(n: usize) -> String {
    format!("instance{n}")
}

async fn launch(dir: &Path) -> Result<Embedded, Failure> {
    let search = Search { bin_dir: None, path: std::env::var_os("PATH") };
    Embedded::start(&dir.join("postgres"), &search).await.map_err(|e| e.to_string())
}

async fn run(connection: &mut PgConnection, statements: Vec<String>) -> Result<(), Failure> {
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(())
}

fn failed(error: sqlx::Error) -> Failure {
    format!("the fleet's PostgreSQL: {error}")
}
