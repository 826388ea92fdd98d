//! Events of megabytes, such as pictures and sounds. Their memory does not grow with their readers,
//! and all readers get the same bytes.
mod elsewhere;
mod readers;
mod taken_over;
mod ways;

use std::collections::BTreeSet;
use std::fs;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::client::{Client, PATIENCE};
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::process::{Server, command};
use crate::upstream::{Answer, Gate, Upstream};

/// An event may have 16 MiB. This one shows the same, and takes less of a busy machine.
const BYTES: usize = 2_000_000;
const READERS: usize = 20;
/// The memory that the process may take beyond its memory at rest, MiB.
const MORE: u64 = 50;

/// The picture's address.
fn url() -> String {
    let mut url = String::from("data:image/png;base64,");
    url.extend(
        (0..BYTES / 8).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761) & 0xffff_ffff)),
    );
    url
}

fn picture(url: &str) -> Value {
    json!({ "images": [{ "type": "image_url", "image_url": { "url": url }, "index": 0 }] })
}

/// A server at the database, whose model is the upstream.
fn serve(dir: &TempDir, database: &TestDatabase, upstream: &Upstream) -> Command {
    let mut serve = command(dir.path());
    serve
        .args(["--database-url", &database.url, "--lease-s", "2"])
        .env("OPENAI_BASE_URL", upstream.base_url())
        .env("OPENAI_API_KEY", "key")
        .env("OPENAI_MODEL", "scripted")
        .env("RUST_LOG", "error");
    serve
}

/// The most memory that a process has had since it was last asked so, in MiB.
pub(crate) fn most(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Forgets the most so far.
pub(crate) fn forget_most(server: &Server) -> u64 {
    fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").unwrap();
    most(server)
}

/// Fails if the process took too much since it had `before`.
fn assert_within(server: &Server, before: u64, what: &str) {
    let took = most(server) - before;
    println!("{took} MiB {what}");
    assert!(took < MORE, "{took} MiB {what}");
}

/// The answer of `path`, without its first pause and signs of life, which are not the same for all.
async fn read(client: &Client, path: &str) -> String {
    let asked = client.http.get(format!("{}{path}", client.base)).timeout(4 * PATIENCE);
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap().replace(": keep-alive\n\n", "");
    match text.strip_prefix("retry: ").and_then(|rest| rest.split_once("\n\n")) {
        Some((_, events)) => events.into(),
        None => text,
    }
}

async fn read_by_all(client: &Client, path: &str) -> BTreeSet<String> {
    join_all((0..READERS).map(|_| read(client, path))).await.into_iter().collect()
}

/// A server that has been asked for nothing yet, on the same database.
async fn again(server: Server, serve: impl Fn() -> Command) -> Server {
    server.kill().await;
    Server::start(serve()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_large_event_does_not_grow_with_its_readers() {
    let (gate, url) = (Gate::default(), url());
    let answer = Answer::sse().text("Here.").wait(&gate).delta(&picture(&url)).complete();
    let upstream = Upstream::start(answer).await;
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let serve = || serve(&dir, &database, &upstream);
    let mut server = Server::start(serve()).await;
    let id = server.client.start_prompt("draw").await;
    let events = format!("/v1/generations/{id}/events");
    upstream.arrived(1).await;
    let before = forget_most(&server);
    let (live, ()) = tokio::join!(read_by_all(&server.client, &events), async { gate.open() });
    assert_within(&server, before, "while it came");
    assert_eq!(live.len(), 1, "each has the same");
    assert!(live.first().unwrap().contains(&url));

    let chat = format!("/v1/chat/completions/chatcmpl-{id}");
    let streamed = format!("{chat}?stream=true");
    let view = format!("/v1/generations/{id}");
    for path in [&events, &streamed, &view] {
        server = again(server, serve).await;
        let before = forget_most(&server);
        let read = read_by_all(&server.client, path).await;
        assert_within(&server, before, path);
        assert_eq!(read.len(), 1, "each has the same of {path}");
        if *path == events {
            assert!(read == live, "as it was live");
        }
    }
    for path in [&chat, &streamed] {
        let whole = server.client.get(path).await.text().await.unwrap();
        assert!(whole.contains(&url), "{path}: the picture is whole");
        assert_eq!(whole.matches("data:image/png").count(), 1);
    }
    // A list would have some hundred of them.
    let listed: Value = server.client.get("/v1/generations").await.json().await.unwrap();
    assert_eq!(
        (&listed["data"][0]["text"], listed["data"][0].get("extras")),
        (&json!("Here."), None)
    );
    assert!(server.client.view(&id).await["extras"].to_string().contains(&url));
    server.kill().await;
}

/// The process dies when the pieces of an event are sent, and the event is not in the log.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_cut_by_a_kill_leaves_no_piece() {
    let url = url();
    let answer = Answer::sse().text("Here.").delta(&picture(&url)).complete();
    let upstream = Upstream::start(answer).await;
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let serve = || serve(&dir, &database, &upstream);
    let server = Server::start(serve()).await;
    let mut holder = database.connect().await;
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() \
                   and wait_event_type = 'Lock' and query like '%take_pieces%'";
    let hold = "create function hold() returns trigger language plpgsql as $$ begin \
            if octet_length(new.lines) > 1000000 then perform pg_advisory_xact_lock(21); end if; \
            return new; end $$; \
        create trigger hold before insert on journal for each row execute function hold(); \
        select pg_advisory_lock(21)";
    sqlx::raw_sql(hold).execute(&mut holder).await.unwrap();
    let id = server.client.start_prompt("draw").await;
    eventually("its pieces are there", async || database.number(waiting).await == 1).await;
    let server = again(server, serve).await;
    sqlx::raw_sql("select pg_advisory_unlock(21)").execute(&mut holder).await.unwrap();
    let events = read(&server.client, &format!("/v1/generations/{id}/events")).await;
    assert_eq!(events.matches(&url).count(), 1, "once, and whole");
    let view = server.client.view(&id).await;
    assert_eq!(view["text"], "Here.", "{}", view["status"]);
    assert_eq!(database.number("select count(*) from pieces").await, 0);
    // Live, replayed and folded, it is the event that the model sent.
    database.folded().await;
    let extra = "select count(*) from events where type = 'extra' \
                 and data #>> '{data,images,0,image_url,url}' like 'data:image/png;base64,000000009e3779b1%' \
                 and octet_length(data #>> '{data,images,0,image_url,url}') = 2000022";
    assert_eq!(database.number(extra).await, 1);
    server.kill().await;
}
