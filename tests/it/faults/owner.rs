//! The owner of a generation dies, stands still, or loses its way to the database.
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::time::Instant;

use super::{continuing_model, taken_over};
use crate::database::TestDatabase;
use crate::fleet::Fleet;
use crate::history::History;
use crate::upstream::{Model, Upstream};
use crate::watch::{Follower, assert_kept, begin, body, demo, undisturbed, watch};

#[tokio::test(flavor = "multi_thread")]
async fn owners_are_killed_at_random_tokens() {
    let mut fleet = Fleet::start(3).await;
    let mut histories = Vec::new();
    let mut pauses = Vec::new();
    // Any tokens will do; these differ, and a failure can be repeated.
    for (victim, token) in [(0, 7), (1, 31), (2, 58)] {
        let prompt = demo(100, 100, victim);
        let key = format!("killed-{victim}");
        let start = begin(&fleet.client(victim), &key, &body(&prompt)).await;
        let mut readers: Vec<_> = (0..3).map(|_| Follower::new(fleet.any(), &start.id)).collect();
        join_all(readers.iter_mut().map(|reader| reader.take(token))).await;
        fleet.members[victim].kill().await;
        let killed = Instant::now();
        join_all(readers.iter_mut().map(|reader| reader.until("resumed"))).await;
        pauses.push(killed.elapsed());
        let readers = join_all(readers.into_iter().map(Follower::finish)).await;
        // The key is still the same start, on instances that never saw it.
        let again = begin(fleet.any(), &key, &body(&prompt)).await;
        assert!(again.replayed);
        let text = Some(undisturbed(&prompt).await);
        let id = start.id.clone();
        histories.push(History {
            id,
            starts: vec![start, again],
            readers,
            text,
            ..History::default()
        });
        fleet.members[victim].boot().await;
    }
    let histories = assert_kept(fleet.any(), histories).await;
    assert_eq!(taken_over(&histories), 3, "each death is told once");
    println!("lease 2 s; after a kill the next event came in {pauses:?}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_paused_past_its_lease_lets_go_of_its_upstream_when_it_wakes() {
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let model = Model { tokens: 600, per_second: 100.0, continues: true, cut_first_at: None };
    let upstream = Upstream::start(model).await;
    let file = continuing_model(dir.path(), &upstream.base_url());
    let fleet = Fleet::on(database, 2, Some(&file)).await;
    let start = begin(&fleet.client(0), "paused", &body("count")).await;
    let mut there = Follower::new(&fleet.client(1), &start.id);
    let mut here = Follower::new(&fleet.client(0), &start.id);
    here.take(20).await;
    fleet.members[0].pause();
    there.until("resumed").await;
    fleet.members[0].wake();
    // The model speaks for another three seconds: an owner that closes before is the old one.
    upstream.closed().await;
    assert_eq!(upstream.requests().len(), 2, "one for each owner");
    let readers = vec![here.finish().await, there.finish().await];
    let text = Some(Model::text(600));
    let id = start.id.clone();
    let history = History { id, starts: vec![start], readers, text, ..History::default() };
    let histories = assert_kept(fleet.any(), vec![history]).await;
    assert_eq!(taken_over(&histories), 1);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_whose_replies_are_lost_are_there_once() {
    let fleet = Fleet::start(2).await;
    let prompt = demo(250, 100, 4);
    let start = begin(&fleet.client(0), "unknown-outcome", &body(&prompt)).await;
    let mut near = Follower::new(&fleet.client(0), &start.id);
    let mut far = Follower::new(&fleet.client(1), &start.id);
    for lost in 1..=5 {
        near.take(10).await;
        fleet.members[0].proxy.lose(1);
        // The next step waits for the lane, which must find out the outcome of its commit.
        while fleet.members[0].proxy.lost() < lost {
            near.take(1).await;
        }
    }
    far.take(1).await;
    let readers = vec![near.finish().await, far.finish().await];
    let text = Some(undisturbed(&prompt).await);
    let id = start.id.clone();
    let history = History { id, starts: vec![start], readers, text, ..History::default() };
    assert_kept(fleet.any(), vec![history]).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_no_longer_reaches_the_database_is_taken_over() {
    let fleet = Fleet::start(2).await;
    let prompt = demo(150, 100, 5);
    let start = begin(&fleet.client(0), "black-hole", &body(&prompt)).await;
    let mut reader = Follower::new(fleet.any(), &start.id);
    reader.take(20).await;
    fleet.members[0].proxy.black_hole();
    let readers = vec![reader.finish().await];
    let text = Some(undisturbed(&prompt).await);
    let id = start.id.clone();
    let mut histories =
        vec![History { id, starts: vec![start], readers, text, ..History::default() }];
    // The instance behind the hole comes back to the database by itself, and serves again.
    histories.push(watch(&fleet.client(0), "after", &body(&demo(5, 100, 6)), 1).await);
    assert_kept(fleet.any(), histories).await;
    fleet.stop().await;
}
