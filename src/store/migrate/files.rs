//! The migrations, in the program. `sqlx::migrate!` would embed the same, but it has sqlx and its
//! TLS compiled a second time, for the compiler.
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

// `FILES: &[(i64, &str, &str)]`: version, description and SQL of each file, made by `build.rs`.
include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

pub(super) fn migrator() -> Migrator {
    let migration = |&(version, description, sql): &(i64, &'static str, &'static str)| {
        let alone = sql.starts_with("-- no-transaction");
        let kind = MigrationType::Simple;
        Migration::new(version, description.into(), kind, sql.into_sql_str(), alone)
    };
    Migrator::with_migrations(FILES.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn they_are_those_that_sqlx_reads_from_the_directory() {
        let read = Migrator::new(std::path::Path::new("migrations")).await.unwrap();
        let embedded = migrator();
        assert_eq!(embedded.iter().count(), read.iter().count());
        for (ours, theirs) in embedded.iter().zip(read.iter()) {
            assert_eq!((ours.version, &ours.description), (theirs.version, &theirs.description));
            assert_eq!((ours.no_tx, &ours.checksum), (theirs.no_tx, &theirs.checksum));
        }
    }
}
