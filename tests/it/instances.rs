//! Two instances on one Postgres: any of them serves any generation.
use serde_json::json;
use tempfile::TempDir;

use crate::client::{assert_whole, text};
use crate::database::TestDatabase;
use crate::harness::{TestApp, config};
use crate::process::{Server, command};

/// Two servers on one database.
async fn two() -> (TestApp, TestApp) {
    let database = TestDatabase::create().await;
    let one = TestApp::on(database.clone(), config(&database)).await;
    let two = TestApp::on(database.clone(), config(&database)).await;
    (one, two)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_elsewhere_gets_the_same_bytes() {
    let (one, two) = two().await;
    let id = one.client.start_prompt("/demo tokens=150 tps=100 unicode seed=6").await;
    let (near, far) = tokio::join!(one.client.all(&id, 0), two.client.all(&id, 0));
    assert_whole(&near);
    assert_eq!(near, far);
    assert_eq!(two.client.view(&id).await, one.client.view(&id).await);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_elsewhere_is_the_same_receipt() {
    let (one, two) = two().await;
    let id = one.client.start_prompt("/demo tokens=100000 tps=50 ttft_ms=0").await;
    let mut reader = one.client.events(&id, 0).await;
    let mut seen = reader.take(5).await;
    let receipt = two.client.cancel(&id).await;
    seen.extend(reader.rest().await);
    assert_whole(&seen);
    assert_eq!((&receipt["status"], &receipt["cancelled"]), (&json!("cancelled"), &json!(true)));
    assert_eq!(receipt["last_seq"], seen.last().unwrap().id);
    assert_eq!(receipt["text"], text(&seen));
    assert_eq!(one.client.cancel(&id).await, receipt);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_elsewhere_is_heard_at_once() {
    let database = TestDatabase::create().await;
    let mut config = config(&database);
    // The upkeep would see the request long after the canceller has given up waiting.
    config.limits.lease = std::time::Duration::from_secs(600);
    config.notify = true;
    let one = TestApp::on(database.clone(), config.clone()).await;
    let two = TestApp::on(database, config).await;
    let id = one.client.start_prompt("/demo tokens=100000 tps=50 ttft_ms=0").await;
    one.client.events(&id, 0).await.take(3).await;
    assert_eq!(two.client.cancel(&id).await["status"], "cancelled");
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_dies_and_another_goes_on() {
    let database = TestDatabase::create().await;
    let dir = TempDir::new().unwrap();
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url, "--lease-s", "2"]);
    let doomed = Server::start(serve).await;
    let heir = TestApp::on(database.clone(), config(&database)).await;
    let id = doomed.client.start_prompt("/demo tokens=400 tps=100 ttft_ms=0 seed=8").await;
    let mut seen = doomed.client.events(&id, 0).await.take(30).await;
    let mut far = heir.client.events(&id, 0).await;
    far.take(20).await;
    let killed = tokio::time::Instant::now();
    doomed.kill().await;
    seen.extend(heir.client.all(&id, 30).await);
    println!("killed, taken over and said to the end in {:?}", killed.elapsed());
    assert_whole(&seen);
    assert_eq!(seen.iter().filter(|e| e.name == "resumed").count(), 1);
    assert_eq!(far.rest().await, seen[20..], "a reader elsewhere notices nothing but a pause");
    assert_eq!(seen.last().unwrap().json()["status"], "completed");
    heir.stop().await;
}
