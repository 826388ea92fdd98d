//! Instances of an earlier version beside this one read what they may have to take over.
use serde_json::json;
use tempfile::TempDir;

use super::{body, file, post};
use crate::client::assert_whole;
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::harness::{TestApp, config};
use crate::process::{Server, command};

const PACKED: &str = "select count(*) from generations where packed is not null";
/// As an earlier version reads it.
const WHOLE: &str = "select count(*) from generations where packed is null \
    and request -> 'prompt' -> 'messages' ->> 0 is not null";

async fn run(database: &TestDatabase, sql: &'static str) {
    sqlx::raw_sql(sql).execute(&mut database.connect().await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_an_earlier_version_requests_are_whole() {
    let app = TestApp::start().await;
    let body = body(1);
    let send = async || {
        let answer = post(&app, None, "/v1/chat/completions", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    };
    send().await;
    assert_eq!(app.database.number(PACKED).await, 1);
    let long = json!({ "messages": [{ "role": "system", "content": file(7, 30_000) },
        { "role": "user", "content": "/demo tokens=100000 tps=20 ttft_ms=0" }] });
    let running = app.client.start(&long).await;
    assert_eq!(app.database.number(PACKED).await, 2);
    // It comes: what runs can be taken over by it, and so can what begins.
    let comes = "insert into instances (id, lease_until) values \
        ('00000000-0000-4000-8000-000000000001', clock_timestamp() + interval '1 hour')";
    run(&app.database, comes).await;
    assert_eq!(app.database.number(WHOLE).await, 1);
    send().await;
    assert_eq!(app.database.number(WHOLE).await, 2);
    assert_eq!(app.client.cancel(&running).await["status"], "cancelled");
    // A process of this version takes its place, and one of an earlier version that place again.
    let new = "update instances set process = gen_random_uuid() where id = '00000000-0000-4000-8000-000000000001'; \
        update instances set reads_packed = process where id = '00000000-0000-4000-8000-000000000001'";
    run(&app.database, new).await;
    let running = app.client.start(&long).await;
    assert_eq!((app.database.number(PACKED).await, app.database.number(WHOLE).await), (2, 2));
    let back = "update instances set leaving = false, process = gen_random_uuid() \
        where id = '00000000-0000-4000-8000-000000000001'";
    run(&app.database, back).await;
    assert_eq!((app.database.number(PACKED).await, app.database.number(WHOLE).await), (1, 3));
    send().await;
    assert_eq!(app.database.number(WHOLE).await, 4);
    // It leaves, and what it left is made whole only where somebody asks for it.
    run(
        &app.database,
        "update instances set lease_until = clock_timestamp() \
        where id = '00000000-0000-4000-8000-000000000001'",
    )
    .await;
    send().await;
    assert_eq!(app.database.number(PACKED).await, 2);
    assert_eq!(app.client.cancel(&running).await["status"], "cancelled");
    assert_eq!(app.database.number("select unpack_requests(100)").await, 2);
    assert_eq!(app.database.number(WHOLE).await, 6);
    let uses = "select count(*) from content_uses";
    assert_eq!(app.database.number(uses).await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_request_is_taken_over_whole() {
    let database = TestDatabase::create().await;
    let dir = TempDir::new().unwrap();
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url, "--lease-s", "2"]);
    let doomed = Server::start(serve).await;
    let heir = TestApp::on(database.clone(), config(&database)).await;
    let long = json!({ "messages": [{ "role": "system", "content": file(7, 300_000) },
        { "role": "user", "content": "/demo tokens=300 tps=100 ttft_ms=0 seed=8" }] });
    let id = doomed.client.start(&long).await;
    let mut seen = doomed.client.events(&id, 0).await.take(30).await;
    assert_eq!(database.number(PACKED).await, 1);
    // Starts that nobody hears the end of.
    let begun = async {
        let starts = (0..20).map(|n| {
            let client = doomed.client.clone();
            let body = json!({ "messages": [{ "role": "system", "content": file(n, 200_000) },
                { "role": "user", "content": "/demo tokens=5 tps=0" }] });
            async move {
                let path = format!("{}/v1/generations", client.base);
                let _ = client.http.post(path).json(&body).send().await;
            }
        });
        futures_util::future::join_all(starts).await;
    };
    let some = "select count(*) from generations";
    let killed = eventually("some have begun", async || database.number(some).await > 3);
    tokio::select! { () = begun => {}, _ = killed => {} }
    doomed.kill().await;
    seen.extend(heir.client.all(&id, 30).await);
    assert_whole(&seen);
    assert_eq!(seen.last().unwrap().json()["status"], "completed");
    assert_eq!(database.number(super::LEFT).await, 0, "no start leaves a content alone");
    let broken = "select count(*) from generations where packed is not null \
                  and whole(tenant, packed) is null";
    assert_eq!(database.number(broken).await, 0);
    heir.stop().await;
}
