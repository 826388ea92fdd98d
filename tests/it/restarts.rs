//! A restart is when all clients come back. No request is refused because the server does not know
//! something yet.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::client::Client;
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::process::{Server, command, command_at};

/// Restarts in the suite; `RESTARTS=20` in the environment makes it more.
const RESTARTS: usize = 3;
/// Requests that are answered before a server is killed again.
const ANSWERED: u32 = 20;

#[expect(clippy::disallowed_methods, reason = "a test is its own program")]
fn restarts() -> usize {
    std::env::var("RESTARTS").ok().and_then(|n| n.parse().ok()).unwrap_or(RESTARTS)
}

/// Answers since the start, and those that were refusals.
#[derive(Default)]
struct Seen {
    answered: AtomicU32,
    refused: AtomicU32,
}

/// A request with a placeholder key each 2 ms, whether the server is there or not.
async fn ask(address: SocketAddr, seen: Arc<Seen>, stop: Arc<AtomicBool>) {
    let client = Client::single_use(address);
    let mut requests = JoinSet::new();
    let mut ticks = interval(Duration::from_millis(2));
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        while requests.try_join_next().is_some() {}
        let ask = client.http.get(format!("{}/v1/models", client.base)).bearer_auth("unused");
        let seen = seen.clone();
        requests.spawn(async move {
            let Ok(answer) = ask.send().await else { return };
            match answer.status() {
                StatusCode::UNAUTHORIZED => seen.refused.fetch_add(1, Ordering::Relaxed),
                _ => seen.answered.fetch_add(1, Ordering::Relaxed),
            };
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_placeholder_key_is_never_refused_by_a_server_that_just_started() {
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let mut asking = JoinSet::new();
    asking.spawn(ask(address, seen.clone(), stop.clone()));
    for n in 1..=restarts() {
        let mut serve = command_at(dir.path(), address);
        serve.args(["--database-url", &database.url]);
        let server = Server::start(serve).await;
        let wanted = seen.answered.load(Ordering::Relaxed) + ANSWERED;
        eventually("it answers", async || seen.answered.load(Ordering::Relaxed) >= wanted).await;
        if n % 2 == 0 {
            assert!(server.terminate().await.success());
        } else {
            server.kill().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    asking.join_all().await;
    let answered = seen.answered.load(Ordering::Relaxed);
    println!("{answered} answers");
    assert_eq!(seen.refused.load(Ordering::Relaxed), 0, "refused, beside {answered} answers");
}

/// Notes how many rows of closed lanes the journal has whenever a generation changes its owner.
const NOTED: &str = "create table noted (waiting bigint not null); \
    create function note_waiting() returns trigger language plpgsql as $$ begin \
      insert into noted select count(*) from waiting w join lanes l on l.id = w.lane where not l.open; \
      return new; end $$; \
    create trigger note_waiting before update of epoch on generations \
      for each row execute function note_waiting()";

/// Otherwise each take-over looks through all of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_journal_of_a_killed_server_is_folded_before_its_generations_are_taken_over() {
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url]);
    let server = Server::start(serve).await;
    let client = Client::new(server.address);
    for _ in 0..3 {
        client.start_prompt("/demo tokens=100000 tps=50 ttft_ms=0").await;
    }
    // Nothing is folded while somebody has the lanes.
    let mut held = database.connect().await;
    let lanes = "begin; select from lanes for no key update";
    sqlx::raw_sql(lanes).execute(&mut held).await.unwrap();
    let waits = "select count(*) from waiting";
    eventually("the journal has some", async || database.number(waits).await > 20).await;
    server.kill().await;
    sqlx::raw_sql("rollback").execute(&mut held).await.unwrap();
    assert!(database.number(waits).await > 20);
    sqlx::raw_sql(NOTED).execute(&mut held).await.unwrap();

    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url]);
    let server = Server::start(serve).await;
    assert_eq!(database.number("select count(*) from noted").await, 3);
    assert_eq!(database.number("select max(waiting) from noted").await, 0);
    server.kill().await;
}
