//! Generations with a large request or a large event go on at another instance.
use std::sync::atomic::Ordering;

use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::{BYTES, MORE, forget_most, most, picture, url};
use crate::client::{PATIENCE, assert_whole, text};
use crate::contents::file;
use crate::database::TestDatabase;
use crate::fence::engine;
use crate::log_contract::bench;
use crate::process::{Server, command};
use crate::upstream::{Answer, Script, Upstream};
use crate::wrong::{Mistake, watched_log};

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
    println!("{took} MiB");
    assert!(took < 2 * MORE, "{took} MiB");
    assert_eq!(heir.client.view(&id).await["status"], "completed");
    heir.kill().await;
}

/// Large ones are taken over one by one, though eight small ones go at a time.
#[tokio::test(flavor = "multi_thread")]
async fn take_overs_are_bounded_by_bytes() {
    let bench = bench().await;
    for (bytes, alone) in [(1, false), (40 << 20, true)] {
        for _ in 0..6 {
            bench.generation().await;
        }
        let watched = watched_log(&bench.database.url, Mistake::None).await;
        watched.weights.told.store(bytes, Ordering::SeqCst);
        let (heir, instance) = engine(watched.log);
        // Each is to be cancelled, so that none runs.
        let left = "update generations set owner = $1, status = 'cancelling', \
                    cancel_requested_at = now() where done is null";
        let left = sqlx::query(left).bind(instance.0);
        left.execute(&mut bench.database.connect().await).await.unwrap();
        assert_eq!(heir.take_up().await.unwrap(), 6);
        let most = watched.weights.most.load(Ordering::SeqCst);
        assert_eq!(most == 1, alone, "{most} at a time, of {bytes} bytes each");
        heir.drain(PATIENCE, &CancellationToken::new()).await;
    }
}
