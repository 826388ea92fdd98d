//! Few connections: the necessary ones are there first, and unused ones go back.

use futures_util::future::join_all;
use reqwest::StatusCode;
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;

use crate::client::{Client, assert_whole};
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::process::{Server, command};

/// A role that owns the database and may have so many connections to it.
async fn limited(limit: u32) -> TestDatabase {
    let database = TestDatabase::empty().await;
    let name = database.options.get_database().unwrap().to_owned();
    let role = format!("few_{name}");
    let statements = format!(
        "drop role if exists {role}; create role {role} login connection limit {limit}; \
         alter database {name} owner to {role}; alter schema public owner to {role}"
    );
    let mut connection = database.connect().await;
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
    let options = database.options.clone().username(&role);
    let url = options.to_url_lossy().to_string();
    TestDatabase { url, ..database }
}

async fn serve(database: &TestDatabase, dir: &TempDir) -> Server {
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url, "--lease-s", "2"]);
    serve.stderr(std::process::Stdio::piped());
    Server::start(serve).await
}

/// 200 `GET`s one after the other beside a generation, then as many at once.
async fn stress(client: &Client) {
    let id = client.start_prompt("/demo tokens=100 tps=30 ttft_ms=0").await;
    let mut reader = client.events(&id, 0).await;
    for _ in 0..200 {
        let status = client.get(&format!("/v1/generations/{id}")).await.status();
        assert_eq!(status, StatusCode::OK);
    }
    let at_once =
        (0..200).map(|_| async { client.get(&format!("/v1/generations/{id}")).await.status() });
    assert!(join_all(at_once).await.iter().all(StatusCode::is_success));
    assert_whole(&reader.rest().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_connections_are_enough_for_an_instance() {
    let (database, dir) = (limited(10).await, TempDir::new().unwrap());
    let server = serve(&database, &dir).await;
    let client = &server.client;
    join_all((0..6).map(|_| stress(client))).await;
    assert_eq!(client.get("/readyz").await.status(), StatusCode::OK);
    assert_eq!(
        database.number("select count(*) from generations where status <> 'completed'").await,
        0
    );
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_share_few_connections_stay_ready() {
    // A fifth of five instances on a hundred: two instances, and 22 for both, with all work at
    // once.
    let database = limited(22).await;
    let dirs: Vec<TempDir> = (0..2).map(|_| TempDir::new().unwrap()).collect();
    let servers = join_all(dirs.iter().map(|dir| serve(&database, dir))).await;
    let begin = |n: usize| {
        let client = &servers[n % 2].client;
        async move {
            let id = client.start_prompt("/demo tokens=20 tps=50 ttft_ms=0").await;
            let reads = (0..5)
                .map(|_| async { client.get(&format!("/v1/generations/{id}")).await.status() });
            assert!(join_all(reads).await.iter().all(StatusCode::is_success));
            let ready = client.get("/readyz").await;
            assert_eq!(ready.status(), StatusCode::OK, "{}", ready.text().await.unwrap());
            assert_whole(&client.all(&id, 0).await);
        }
    };
    join_all((0..16).map(begin)).await;
    for server in &servers {
        assert_eq!(server.client.get("/readyz").await.status(), StatusCode::OK);
    }
    for server in servers {
        assert!(server.terminate().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_go_back() {
    let (database, dir) = (limited(60).await, TempDir::new().unwrap());
    let server = serve(&database, &dir).await;
    stress(&server.client).await;
    let count = "select count(*) from pg_stat_activity where datname = current_database() \
                 and application_name like 'lastword%'";
    eventually("they go back", async || database.number(count).await <= 8).await;
    assert!(server.terminate().await.success());
}
