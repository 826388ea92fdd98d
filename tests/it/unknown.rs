//! A newer version beside this one: its unknown events are kept, served and left to it. And an
//! owner that was only paused: this is no reason to log a broken log.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lastword::domain::entry::Entry;
use lastword::domain::event::{Event, LossReason};
use lastword::domain::id::{Epoch, InstanceId, Seq};
use lastword::ports::{Address, Orphans};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::client::PATIENCE;
use crate::eventually::eventually;
use crate::fence::engine;
use crate::harness::{TestApp, config};
use crate::log_contract::{Bench, append, bench, deltas, ending};
use crate::wrong::{Mistake, watched_log};

/// Three events, of which this version knows two.
async fn of_a_newer_version(bench: &Bench) -> Address {
    let at = bench.generation().await;
    let mut said = deltas(&at, 1, 2..=4);
    said.entries[1] = Entry::from_stored(Seq(3), "image", "\"url\":\"x\"}").unwrap();
    append(bench.log.events.writer(bench.owner).as_mut(), &said).await.unwrap();
    at
}

async fn until_taken_over(app: &TestApp, id: &str) {
    eventually("taken over", async || app.client.view(id).await["status"] == "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_newer_version_are_kept_served_and_left_to_it() {
    let bench = bench().await;
    let (newer, ours) = (of_a_newer_version(&bench).await, bench.generation().await);
    bench.log.leases.heartbeat(bench.owner, Duration::ZERO).await.unwrap();
    let app = TestApp::on(bench.database.clone(), config(&bench.database)).await;
    let id = newer.id.to_string();
    let mut reader = app.client.events(&id, 0).await;
    let seen = reader.take(4).await;
    assert_eq!(
        (seen[2].name.as_str(), seen[2].json()),
        ("image", json!({"seq": 3, "type": "image", "url": "x"}))
    );
    // When the other one is at its end, the upkeep has looked at both.
    until_taken_over(&app, &ours.id.to_string()).await;
    app.engine.take_up().await.unwrap();
    let view = app.client.view(&id).await;
    assert_eq!((&view["status"], &view["last_seq"]), (&json!("running"), &json!(4)), "it is left");
    assert!(
        view["text"].as_str().unwrap().contains('2')
            && view["text"].as_str().unwrap().contains('4')
    );
    bench.database.folded().await;
    let again = app.client.events(&id, 0).await.take(4).await;
    assert_eq!(again, seen, "and the same from the segments");
    let chat = app.client.get("/v1/generations?status=running").await;
    assert_eq!(chat.status(), 200);

    // An heir that knows the event goes on. For this version it is a generation like any other, but
    // for one event.
    let heir = InstanceId::random();
    let mut claim = crate::log_contract::claim(&newer, bench.owner, 2, 5);
    claim.owner = heir;
    let resumed = Event::Resumed { reason: LossReason::Takeover, attempt: 2 };
    claim.append.entries = vec![Entry::encode(Seq(5), &resumed).by(Epoch(2))];
    bench.log.ownership.take_over(&claim).await.unwrap();
    append(bench.log.events.writer(heir).as_mut(), &ending(&newer, 2, 6)).await.unwrap();
    let rest = reader.rest().await;
    assert_eq!(rest.last().map(|e| (e.id, e.name.as_str())), Some((6, "done")));
    assert_eq!(app.client.view(&id).await["status"], "completed");
    app.stop().await;
}

/// The log lines of this thread.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Said {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn an_owner_that_came_back_and_ended_is_no_broken_log() {
    let said = Said::default();
    let subscriber = tracing_subscriber::fmt().with_writer(said.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let bench = bench().await;
    let at = bench.generation().await;
    append(bench.log.events.writer(bench.owner).as_mut(), &deltas(&at, 1, 2..=5)).await.unwrap();
    bench.log.leases.heartbeat(bench.owner, Duration::ZERO).await.unwrap();
    let listed = bench.log.ownership.orphans(&Orphans::LeaseExpired, 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    let listed = vec![bench.log.ownership.orphan(listed[0]).await.unwrap().unwrap()];
    // It was only paused, and its last events come before an upkeep has looked at its log.
    append(bench.log.events.writer(bench.owner).as_mut(), &ending(&at, 1, 6)).await.unwrap();
    let watched = watched_log(&bench.database.url, Mistake::None).await;
    *watched.late.lock().unwrap() = Some(listed);
    let (late, _) = engine(watched.log);
    assert_eq!(late.take_up().await.unwrap(), 0);
    late.drain(PATIENCE, &tokio_util::sync::CancellationToken::new()).await;
    let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
    // The driver logs slow statements of a busy database.
    let mut ours = said.lines().filter(|line| !line.contains("sqlx::"));
    assert!(!ours.any(|line| line.contains("broken") || line.contains("WARN")), "{said}");
}
