//! Every accepted body can be read. A row that cannot be read harms only its own generation.
mod json;
mod order;
mod routes;

use std::time::Duration;

use lastword::ports::Upkeep;
use lastword::store::{Durability, connect};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Client, assert_whole};
use crate::database::TestDatabase;
use crate::harness::{TestApp, config};
use crate::process::{Server, command};
use json::{Json, document};
use routes::{Route, Stored};

/// Bodies of an ordinary run.
const BODIES: usize = 1000;
/// Clients that send them.
const CLIENTS: usize = 8;

#[expect(clippy::disallowed_methods, reason = "a test is its own program")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn serve(dir: &TempDir, database: &TestDatabase) -> tokio::process::Command {
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url, "--lease-s", "2"]);
    // These bodies are ours: the server would refuse names that it does not know.
    serve.env_remove("LASTWORD_FUZZ_SECONDS").env_remove("LASTWORD_FUZZ_SEED");
    serve
}

/// The results of the bodies: those that were taken, and how many were refused.
struct Sent {
    stored: Vec<Stored>,
    refused: usize,
}

/// Sends bodies from a seed on all routes.
async fn send(client: &Client, seed: u64, count: usize) -> Sent {
    let seeds: Vec<u8> = seed.to_le_bytes().into_iter().cycle().take(32).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seeds);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let bodies: Vec<(usize, Json)> =
        (0..count).map(|n| (n, document().new_tree(&mut runner).unwrap().current())).collect();
    let mut clients = JoinSet::new();
    for share in bodies.chunks(count.div_ceil(CLIENTS)) {
        let (client, share) = (client.clone(), share.to_vec());
        clients.spawn(async move {
            let mut sent = Sent { stored: Vec::new(), refused: 0 };
            for (n, body) in share {
                let route = Route::ALL[n % Route::ALL.len()];
                match route.send(&client, n, &body).await {
                    Some(stored) => sent.stored.push(stored),
                    None => sent.refused += 1,
                }
            }
            sent
        });
    }
    let mut all = Sent { stored: Vec::new(), refused: 0 };
    while let Some(sent) = clients.join_next().await {
        let sent = sent.unwrap();
        all.stored.extend(sent.stored);
        all.refused += sent.refused;
    }
    all
}

async fn read_all(client: &Client, stored: &[Stored], when: &str) {
    for one in stored {
        one.read(client, when).await;
    }
    for path in ["/v1/generations?limit=100", "/v1/conversations?limit=100"] {
        assert_eq!(client.get(path).await.status(), 200, "{path} {when}");
    }
}

/// Accepted means readable, before and after a crash and on the instance that takes over.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_is_given_back_as_it_came() {
    let begun = Instant::now();
    let seconds = number("LASTWORD_FUZZ_SECONDS");
    let mut seed = number("LASTWORD_FUZZ_SEED").unwrap_or(1);
    let (mut bodies, mut accepted, mut refused) = (0, 0, 0);
    loop {
        println!("seed {seed}");
        let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
        let heir = TestApp::on(database.clone(), config(&database)).await;
        let doomed = Server::start(serve(&dir, &database)).await;
        let sent = send(&doomed.client, seed, BODIES).await;
        assert!(sent.stored.len() > sent.refused, "{} refused: too many", sent.refused);
        assert!(sent.refused > 0, "nothing was odd enough");
        (bodies, accepted, refused) =
            (bodies + BODIES, accepted + sent.stored.len(), refused + sent.refused);
        read_all(&doomed.client, &sent.stored, "before").await;
        let running: Vec<&Stored> = sent.stored.iter().filter(|one| one.runs()).collect();
        assert!(running.len() > 5, "{} run", running.len());
        doomed.kill().await;
        for one in &running {
            one.until_resumed(&heir.client).await;
        }
        read_all(&heir.client, &sent.stored, "after the take-over").await;
        let again = Server::start(serve(&dir, &database)).await;
        for one in &running {
            one.read(&again.client, "after the start").await;
            assert_eq!(heir.client.cancel(one.generation()).await["status"], "cancelled");
        }
        again.kill().await;
        heir.stop().await;
        seed += 1;
        if seconds.is_none_or(|s| begun.elapsed() >= Duration::from_secs(s)) {
            break;
        }
    }
    let took = begun.elapsed();
    println!("{bodies} bodies, {accepted} accepted, {refused} refused, in {took:?}");
}

/// SQL that makes the stored data of the generation `$id` unreadable.
const POISON: [(&str, &str); 4] = [
    ("its request", "update generations set request = '{\"model\":7}' where id = '$id'"),
    (
        "a number in it",
        "update generations set request = jsonb_set(request::jsonb, '{prompt,parameters}', \
         '{\"temperature\":\"warm\"}')::json where id = '$id'",
    ),
    ("what its upstream keeps", "update generations set kept = '[]' where id = '$id'"),
    (
        "its events",
        "update segments set lines = replace(lines, 'started ', 'started [') where generation_id = '$id' and seq = 1",
    ),
];

async fn plant(database: &TestDatabase, id: &str, sql: &str) {
    let sql = sql.replace("$id", id);
    let done =
        sqlx::query(AssertSqlSafe(sql)).execute(&mut database.connect().await).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}

async fn listed(client: &Client) -> Vec<Value> {
    let response = client.get("/v1/generations?limit=100").await;
    assert_eq!(response.status(), 200);
    let page: Value = response.json().await.unwrap();
    page["data"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_row_beside_fifty_good_ones_is_nobody_elses_trouble() {
    for (what, sql) in POISON {
        let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
        let doomed = Server::start(serve(&dir, &database)).await;
        let mut good = Vec::new();
        for n in 0..50 {
            let long = if n % 10 == 0 { "tokens=100 tps=100" } else { "tokens=2 tps=0" };
            good.push(doomed.client.start_prompt(&format!("/demo {long} ttft_ms=0")).await);
        }
        let bad = doomed.client.start_prompt("/demo tokens=100000 tps=5 ttft_ms=0").await;
        doomed.client.events(&bad, 0).await.take(3).await;
        doomed.kill().await;
        plant(&database, &bad, sql).await;

        // The start of the process that is the same instance; then its readers, lists, retention.
        let dir_of_heir = TempDir::new().unwrap();
        let heir = Server::start(serve(&dir_of_heir, &database)).await;
        let again = Server::start(serve(&dir, &database)).await;
        for id in &good {
            assert_whole(&again.client.all(id, 0).await);
        }
        let kept = what == "what its upstream keeps";
        let mut view = again.client.view(&bad).await;
        while !kept && view["status"] == "running" {
            view = again.client.view(&bad).await;
        }
        if kept {
            assert_eq!(again.client.cancel(&bad).await["status"], "cancelled", "{what}");
        } else {
            assert_eq!(
                (&view["status"], &view["error"]["code"]),
                (&json!("failed"), &json!("internal")),
                "{what}"
            );
        }
        for client in [&again.client, &heir.client] {
            let all = listed(client).await;
            assert_eq!(all.len(), 51, "{what}");
            let shown: Vec<&Value> = all.iter().filter(|v| v["unreadable"] == true).collect();
            assert_eq!(
                shown.len(),
                usize::from(what.starts_with("its request") || what.starts_with("a number")),
                "{what}"
            );
        }
        // The instance that met the row first counts it.
        let mut counted = 0.0;
        for client in [&again.client, &heir.client] {
            let metrics = client.get("/metrics").await.text().await.unwrap();
            let line =
                metrics.lines().find_map(|l| l.strip_prefix("lastword_unreadable_rows_total "));
            counted += line.unwrap().parse::<f64>().unwrap();
        }
        assert!(counted >= if kept { 0.0 } else { 1.0 }, "{what}: {counted}");
        let log = connect(database.url.parse().unwrap(), Durability::Required).await.unwrap();
        // The server's own upkeep may be at it.
        while log.retain(7).await.is_err() {}
        log.close().await;
        let erase = again.client.http.delete(format!("{}/v1/generations/{bad}", again.client.base));
        assert_eq!(erase.send().await.unwrap().status(), 204, "{what}");
        again.kill().await;
        heir.kill().await;
    }
}
