//! Postgres restarts, closes its listeners' connections, or is busy for long.
use futures_util::future::join_all;
use lastword_postgres::Embedded;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sqlx::Connection;
use tokio::process::Command;

use crate::database::{TestDatabase, own_server};
use crate::eventually::eventually;
use crate::fleet::Fleet;
use crate::history::History;
use crate::watch::{Follower, assert_kept, begin, body, demo, reconnects, undisturbed, watch};

fn stop(server: &Embedded, how: Signal) {
    kill(Pid::from_raw(server.pid().try_into().unwrap()), how).unwrap();
}

pub(super) async fn revive(server: &mut Embedded) {
    eventually("it runs again", async || server.revive().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_restarts_fast_and_immediately_under_three_instances() {
    let (mut server, _dir) = own_server().await;
    let database = TestDatabase::create_on(&server).await;
    let fleet = Fleet::on(database, 3, None).await;
    let any = fleet.any();
    let starts = (0..12).map(|n| async move {
        let prompt = demo(150, 60, n);
        (begin(any, &format!("restart-{n}"), &body(&prompt)).await, undisturbed(&prompt).await)
    });
    let starts = join_all(starts).await;
    let mut readers: Vec<_> = starts.iter().map(|(s, _)| Follower::new(any, &s.id)).collect();
    for how in [Signal::SIGINT, Signal::SIGQUIT] {
        join_all(readers.iter_mut().map(|reader| reader.take(30))).await;
        stop(&server, how);
        revive(&mut server).await;
    }
    let readers = join_all(readers.into_iter().map(Follower::finish)).await;
    let histories = starts.into_iter().zip(readers).map(|((start, text), reader)| History {
        id: start.id.clone(),
        starts: vec![start],
        readers: vec![reader],
        text: Some(text),
        ..History::default()
    });
    let histories = assert_kept(any, histories.collect()).await;
    assert!(histories.iter().all(|h| h.view["status"] == "completed"));
    println!("{} reconnects", reconnects(&histories));
    fleet.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_elsewhere_go_on_when_the_listeners_are_thrown_out() {
    let listening = |_, serve: &mut Command| {
        // They are those of NOTIFY.
        serve.env("LASTWORD_NOTIFY", "on").env_remove("LASTWORD_SIGNALS");
    };
    let fleet = Fleet::with(TestDatabase::create().await, 2, None, listening).await;
    let prompt = demo(200, 100, 3);
    let start = begin(&fleet.client(0), "listeners", &body(&prompt)).await;
    let mut far = Follower::new(&fleet.client(1), &start.id);
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
               where application_name = 'lastword listener' and datname = current_database()";
    let mut ended = 0;
    for _ in 0..4 {
        far.take(30).await;
        ended += fleet.database.number(end).await;
    }
    assert!(ended >= 2, "{ended} listeners were thrown out");
    let readers = vec![far.finish().await];
    let text = Some(undisturbed(&prompt).await);
    let id = start.id.clone();
    let history = History { id, starts: vec![start], readers, text, ..History::default() };
    assert_kept(fleet.any(), vec![history]).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_locked_for_long_uses_the_pool_up_and_nothing_else() {
    let fleet = Fleet::start(1).await;
    let client = fleet.client(0);
    let prompt = demo(400, 50, 8);
    let start = begin(&client, "before", &body(&prompt)).await;
    let mut reader = Follower::new(&client, &start.id);
    reader.take(10).await;
    let mut holder = fleet.database.connect().await;
    let mut lock = holder.begin().await.unwrap();
    sqlx::query("lock table generations in exclusive mode").execute(&mut *lock).await.unwrap();
    // Each start holds one connection of ten; the others find none.
    let url = format!("{}/v1/generations", client.base);
    let posts = (0..15).map(|_| client.http.post(&url).json(&body(&prompt)).send());
    let (answers, ()) = tokio::join!(join_all(posts), reader.take(100));
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "storage_unavailable");
    }
    lock.rollback().await.unwrap();
    let readers = vec![reader.finish().await];
    let text = Some(undisturbed(&prompt).await);
    let id = start.id.clone();
    let mut histories =
        vec![History { id, starts: vec![start], readers, text, ..History::default() }];
    histories.push(watch(&client, "after", &body(&demo(5, 100, 1)), 1).await);
    assert_kept(&client, histories).await;
    fleet.stop().await;
}
