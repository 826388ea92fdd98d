//! The database is restored to an older state, under instances and readers that live on.
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use lastword_postgres::Embedded;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::{interval, timeout};

use super::database::revive;
use crate::client::{Client, PATIENCE};
use crate::database::{TestDatabase, own_server};
use crate::fleet::Fleet;
use crate::history::{Connection, History};
use crate::watch::{Follower, assert_kept, begin, body, demo, view, watch};

/// Between two checks whether Postgres has stopped.
const LOOK: Duration = Duration::from_millis(10);

async fn stop(server: &Embedded, cluster: &Path) {
    kill(Pid::from_raw(server.pid().try_into().unwrap()), Signal::SIGINT).unwrap();
    let mut looks = interval(LOOK);
    while cluster.join("postmaster.pid").exists() {
        looks.tick().await;
    }
}

/// A copy with all owners and modes, in place of the present directory.
async fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    let copied = Command::new("cp").arg("-a").args([from, to]).status().await.unwrap();
    assert!(copied.success());
}

async fn last_seq(client: &Client, id: &str) -> u64 {
    view(client, id).await["last_seq"].as_u64().unwrap()
}

fn was_told(connections: &[Connection]) -> bool {
    let mut events = connections.iter().flat_map(|c| &c.events);
    events.any(|e| e.name == "snapshot" && e.json()["reason"] == "cursor_ahead")
}

/// The new history is soon longer than the old one: a reader's cursor alone proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn readers_are_told_to_forget_what_a_restored_database_never_had() {
    let (mut server, dir) = own_server().await;
    let (cluster, backup) = (dir.path().join("postgres/data"), dir.path().join("backup"));
    let fleet = Fleet::on(TestDatabase::create_on(&server).await, 2, None).await;
    let (mut histories, mut readers) = (Vec::new(), Vec::new());
    for n in 0..4 {
        let prompt = body(&demo(4000, 300, n));
        let start = begin(&fleet.client(0), &format!("restored-{n}"), &prompt).await;
        readers.extend([0, 1].map(|at| Follower::new(&fleet.client(at), &start.id)));
        let id = start.id.clone();
        histories.push(History { id, starts: vec![start], restored: true, ..History::default() });
    }
    join_all(readers.iter_mut().map(|reader| reader.take(100))).await;
    stop(&server, &cluster).await;
    copy(&cluster, &backup).await;
    revive(&mut server).await;
    // All have seen events that the backup does not have.
    let client = fleet.client(0);
    let beyond = readers.iter_mut().map(|reader| async {
        let last = last_seq(&client, &reader.id).await;
        while reader.next().await.expect("the stream goes on").id < last + 20 {}
    });
    join_all(beyond).await;
    fleet.members[1].pause();
    let ids: Vec<String> = histories.iter().map(|h: &History| h.id.clone()).collect();
    let mut heads = Vec::new();
    for id in &ids {
        heads.push(last_seq(&client, id).await);
    }
    stop(&server, &cluster).await;
    copy(&backup, &cluster).await;
    revive(&mut server).await;
    // The last row that the paused instance has read is there again, and is not the same.
    for (id, head) in ids.iter().zip(heads) {
        let goes_on = async {
            let mut looks = interval(LOOK);
            while last_seq(&client, id).await < head + 20 {
                looks.tick().await;
            }
        };
        timeout(PATIENCE, goes_on).await.expect("the restored generation goes on");
    }
    fleet.members[1].wake();
    let seen = join_all(readers.into_iter().map(Follower::finish)).await;
    for (n, connections) in seen.into_iter().enumerate() {
        assert!(was_told(&connections), "reader {n} was not told");
        histories[n / 2].readers.push(connections);
    }
    histories.push(watch(fleet.any(), "after", &body(&demo(5, 100, 1)), 1).await);
    assert_kept(fleet.any(), histories).await;
    fleet.stop().await;
    server.stop().await;
}
