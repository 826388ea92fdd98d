//! What a start says about a database that it cannot use: what it is, and nothing of the sources of others.
use lastword::store::{ConnectError, Durability, connect};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::database::TestDatabase;

/// As PGlite's socket server is by default.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cuts_off_the_second_connection_is_named() {
    const SOCKET: &str = ".s.PGSQL.5432";
    let database = TestDatabase::create().await;
    let behind = database.options.get_socket().unwrap().join(SOCKET);
    let dir = TempDir::new().unwrap();
    let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
    let mut served = JoinSet::new();
    served.spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = UnixStream::connect(behind).await.unwrap();
        tokio::join!(copy_bidirectional(&mut client, &mut server), async {
            while let Ok((second, _)) = listener.accept().await {
                drop(second);
            }
        })
    });
    let options = database.options.clone().socket(dir.path());
    let refused = connect(options, Durability::Required).await.expect_err("it is refused");
    assert!(matches!(refused, ConnectError::OneConnection(_)), "{refused:?}");
    assert!(refused.to_string().contains("PGlite"), "{refused}");
    served.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_is_told_so_without_a_line_of_postgresqls_sources() {
    let database = TestDatabase::empty().await;
    let role = format!("{}_stranger", database.options.get_database().unwrap());
    let make = format!("drop role if exists {role}; create role {role} login");
    sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut database.connect().await).await.unwrap();
    let refused = connect(database.options.clone().username(&role), Durability::Required).await;
    let words = refused.expect_err("it is refused").to_string();
    assert!(words.contains("permission denied") && words.contains("SQLSTATE 42501"), "{words}");
    assert!(!words.contains("line"), "{words}");
}
