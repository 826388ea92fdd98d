//! Generations with a large request or a large event go on at another instance.
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use super::{BYTES, MORE, forget_most, most, picture, url};
use crate::client::{assert_whole, text};
use crate::contents::file;
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::large_requests;
use crate::process::{Server, command};
use crate::upstream::{Answer, Script, Upstream};

fn serve(dir: &TempDir, database: &TestDatabase, upstream: &Upstream) -> Command {
    let file = dir.path().join("lastword.toml");
    let base = upstream.base_url();
    let model = format!(
        "[[models]]\nname = 'scripted'\nprovider = 'openai'\nbase_url = '{base}'\n\
         continuation = 'prefix'\n[limits]\nprompt_bytes = 33554432\n"
    );
    std::fs::write(&file, model).unwrap();
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url, "--lease-s", "2", "--config"]).arg(file);
    serve.env("RUST_LOG", "error");
    serve
}

const SAID: &str = "Here it is, as asked.";

/// The first attempt stands still behind its picture, each other one goes on behind the text.
fn script(url: &str) -> Script {
    let first = Answer::sse().text("Here it").delta(&picture(url)).text(" is").stall();
    Script::with(move |request, number| {
        let rest = SAID.strip_prefix(request.so_far()).unwrap();
        if number == 0 { first.clone() } else { Answer::sse().text(rest).complete() }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_owner_leaves_a_large_request_and_a_large_event() {
    let url = url();
    let upstream = Upstream::start(script(&url)).await;
    let database = TestDatabase::create().await;
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let doomed = Server::start(serve(&dirs[0], &database, &upstream)).await;
    let heir = Server::start(serve(&dirs[1], &database, &upstream)).await;
    let long = file(1, BYTES);
    let body = json!({ "messages": [{ "role": "system", "content": long },
        { "role": "user", "content": "draw" }] });
    let id = doomed.client.start(&body).await;
    let mut seen = doomed.client.events(&id, 0).await.take(4).await;
    assert!(seen[2].data.contains(&url), "{}", seen[2].name);
    let before = forget_most(&heir);
    doomed.kill().await;
    seen.extend(heir.client.all(&id, 4).await);
    let took = most(&heir) - before;
    assert_whole(&seen);
    assert_eq!(text(&seen), SAID);
    assert_eq!(seen.iter().filter(|event| event.data.contains(&url)).count(), 1);
    let asked = upstream.requests();
    assert_eq!(asked.len(), 2, "the model is asked once more");
    assert_eq!(asked[1].body["messages"][0]["content"], long, "all of what was asked");
    assert!(asked[1].so_far().starts_with("Here it"), "behind what was said");
    // In memory are the request, as it came and as it goes up, and the event, each some times.
    assert!(took < 2 * MORE, "{took} MiB");
    assert_eq!(heir.client.view(&id).await["status"], "completed");
    heir.kill().await;
}

/// Several large ones are taken over one by one, though eight small ones go at a time.
#[tokio::test(flavor = "multi_thread")]
async fn take_overs_are_bounded_by_bytes() {
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let upstream = Upstream::start(Answer::sse().text("x").complete()).await;
    let server = Server::start(serve(&dir, &database, &upstream)).await;
    let body = json!({ "messages": [{ "role": "system", "content": file(1, 3 * BYTES) },
        { "role": "user", "content": "say" }] });
    let id = server.client.start(&body).await;
    server.client.all(&id, 0).await;
    let ended = "select count(*) from generations where done is not null";
    eventually("it is over", async || database.number(ended).await == 1).await;
    server.kill().await;
    large_requests::leave(&database, 6).await;
    let server = Server::start(serve(&dir, &database, &upstream)).await;
    let cancelled = "select count(*) from generations where status = 'cancelled'";
    eventually("all are taken over", async || database.number(cancelled).await == 6).await;
    let took = most(&server);
    assert!(took < 3 * MORE, "{took} MiB");
    server.kill().await;
}
