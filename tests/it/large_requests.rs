//! Requests of megabytes that an instance has left.
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::contents::file;
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::large_events::{forget_most, most};
use crate::process::{Server, command};

fn serve(dir: &TempDir, database: &TestDatabase) -> Command {
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url, "--lease-s", "2"]);
    serve.env("RUST_LOG", "error");
    serve
}

/// 200 generations whose requests are that of the only one. Their owners are gone, and each is to
/// be cancelled, so that none runs.
const LEFT: &str = "create temp table copies as \
      select ('01c0c0de-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid as id, g.id as of \
      from generations g, generate_series(1, 200) n; \
    insert into generations (id, tenant, status, model, provider, request, packed, owner, cancel_requested_at) \
      select c.id, g.tenant, 'cancelling', g.model, g.provider, g.request, g.packed, gen_random_uuid(), now() \
      from copies c join generations g on g.id = c.of; \
    insert into content_uses select c.id, u.hash from copies c join content_uses u on u.generation_id = c.of; \
    insert into segments select c.id, s.seq, s.last, s.epoch, s.at, s.lines \
      from copies c join segments s on s.generation_id = c.of and s.seq = 1";

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_an_instance_left_are_read_one_by_one() {
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let server = Server::start(serve(&dir, &database)).await;
    let long = json!({ "messages": [{ "role": "system", "content": file(1, 1_000_000) },
        { "role": "user", "content": "/demo tokens=1 tps=0 ttft_ms=0" }] });
    let id = server.client.start(&long).await;
    server.client.all(&id, 0).await;
    let mut connection = database.connect().await;
    eventually("it is over", async || {
        database.number("select count(*) from generations where done is not null").await == 1
    })
    .await;
    server.kill().await;
    sqlx::raw_sql(LEFT).execute(&mut connection).await.unwrap();
    let server = Server::start(serve(&dir, &database)).await;
    let before = forget_most(&server);
    let cancelled = "select count(*) from generations where status = 'cancelled'";
    eventually("all are taken over", async || database.number(cancelled).await == 200).await;
    let took = most(&server) - before;
    assert!(took < 100, "{took} MiB");
    server.kill().await;
}

/// A database that takes its time for what is long, and does not answer for what is less long.
const SLOW: &str = "create function slow() returns trigger language plpgsql as $$ begin \
        if octet_length(new.body) > 3000000 then perform pg_sleep(5.5); \
        elsif octet_length(new.body) > 1000000 then perform pg_advisory_xact_lock(21); end if; \
        return new; end $$; \
    create trigger slow before insert on contents for each row execute function slow(); \
    select pg_advisory_lock(21)";

#[tokio::test(flavor = "multi_thread")]
async fn a_long_start_has_time_for_its_bytes_and_one_without_an_answer_is_found() {
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let server = Server::start(serve(&dir, &database)).await;
    let mut holder = database.connect().await;
    sqlx::raw_sql(SLOW).execute(&mut holder).await.unwrap();
    let start = async |bytes: usize, key: &str| {
        let body = json!({ "messages": [{ "role": "system", "content": file(1, bytes) },
            { "role": "user", "content": "/demo tokens=1 tps=0 ttft_ms=0" }] });
        let url = format!("{}/v1/generations", server.client.base);
        let asked = server.client.http.post(url).header("idempotency-key", key).json(&body);
        let answer = asked.send().await.unwrap();
        let retry = answer.headers().get("retry-after").is_some();
        (answer.status().as_u16(), retry, answer.json::<Value>().await.unwrap())
    };
    let (status, _, generation) = start(6_000_000, "long").await;
    assert_eq!(status, 201, "{generation}");

    let (status, retry, refused) = start(1_200_000, "unanswered").await;
    assert_eq!((status, retry, &refused["code"]), (503, true, &json!("storage_unavailable")));
    sqlx::raw_sql("select pg_advisory_unlock(21)").execute(&mut holder).await.unwrap();
    let (status, _, found) = start(1_200_000, "unanswered").await;
    assert!(status == 200 || status == 201, "{status} {found}");
    let stored = "select count(*) from generations where idempotency_key = 'unanswered'";
    assert_eq!(database.number(stored).await, 1, "once, whichever try stored it");
    let id = found["id"].as_str().unwrap();
    assert_eq!(server.client.all(id, 0).await.last().unwrap().name, "done");
    server.kill().await;
}
