//! Every deploy does this: it cuts connections, and one instance after the other stops and comes
//! back.
use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::time::Instant;

use super::continuing_model;
use crate::database::TestDatabase;
use crate::fleet::Fleet;
use crate::history::History;
use crate::upstream::{Model, Upstream};
use crate::watch::{Follower, assert_kept, begin, body, demo, reconnects, undisturbed};

const GENERATIONS: usize = 24;

/// One reader to the end, and its longest wait between two events.
async fn with_its_longest_wait(mut reader: Follower) -> (Follower, Duration) {
    let mut last = Instant::now();
    let mut longest = Duration::ZERO;
    while reader.next().await.is_some() {
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    (reader, longest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_deploy_shows_readers_nothing_but_a_reconnect() {
    let (database, dir) = (TestDatabase::create().await, TempDir::new().unwrap());
    let model = Model { tokens: 250, per_second: 50.0, continues: true, cut_first_at: None };
    let upstream = Upstream::start(model).await;
    let file = continuing_model(dir.path(), &upstream.base_url());
    let mut fleet = Fleet::on(database, 3, Some(&file)).await;
    let any = fleet.any().clone();
    let keys: Vec<String> = (0..GENERATIONS).map(|n| format!("deploy-{n}")).collect();
    let prompt = body("count");
    let starts = join_all(keys.iter().map(|key| begin(&any, key, &prompt))).await;
    let mut readers: Vec<_> = starts.iter().map(|s| Follower::new(&any, &s.id)).collect();
    join_all(readers.iter_mut().map(|reader| reader.take(10))).await;
    let read = join_all(readers.into_iter().map(with_its_longest_wait));
    let deploy = async {
        for n in 0..3 {
            fleet.members[n].terminate().await;
            fleet.members[n].boot().await;
        }
    };
    let (read, ()) = tokio::join!(read, deploy);
    let longest = read.iter().map(|(_, wait)| *wait).max().unwrap_or_default();
    let histories = starts.into_iter().zip(read).map(|(start, (reader, _))| History {
        id: start.id.clone(),
        starts: vec![start],
        readers: vec![reader.connections],
        text: Some(Model::text(250)),
        ..History::default()
    });
    let histories = assert_kept(&any, histories.collect()).await;
    let void = histories.iter().flat_map(|h| &h.log).filter(|e| e.name == "superseded").count();
    assert_eq!(void, 0, "this model can go on");
    let completed = histories.iter().all(|h| h.view["status"] == "completed");
    assert!(completed, "a deploy ends nothing");
    println!("{} reconnects, the longest wait {longest:?}", reconnects(&histories));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_are_cut_come_back_to_any_instance() {
    let fleet = Fleet::start(2).await;
    let prompt = demo(150, 150, 7);
    let start = begin(fleet.any(), "cut", &body(&prompt)).await;
    let mut readers: Vec<_> = (0..4).map(|_| Follower::new(fleet.any(), &start.id)).collect();
    for _ in 0..5 {
        join_all(readers.iter_mut().map(|reader| reader.take(20))).await;
        fleet.balancer.cut();
        readers[0].cut();
    }
    let readers = join_all(readers.into_iter().map(Follower::finish)).await;
    let (id, text) = (start.id.clone(), Some(undisturbed(&prompt).await));
    let history = History { id, starts: vec![start], readers, text, ..History::default() };
    let histories = assert_kept(fleet.any(), vec![history]).await;
    // A reader may have had the rest in its buffer already.
    assert!(reconnects(&histories) >= 4, "they came back");
    fleet.stop().await;
}
