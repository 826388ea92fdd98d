//! Instances that wake each other by NATS: the same bytes for every reader, whatever becomes of it.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use lastword::config::{Config, NatsConfig};
use lastword::domain::entry::Entry;
use lastword::domain::event::Event;
use lastword::domain::id::{Epoch, GenerationId, InstanceId, Seq};
use lastword::domain::key::SigningKey;
use lastword::engine::{Engine, Leaves, Limits, Models};
use lastword::nats::{NatsOptions, NatsPace, NatsSignals};
use lastword::ports::{Carried, Signal, Signals, To, envelope};
use lastword::tasks::Tasks;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::server::NatsServer;
use crate::client::{PATIENCE, assert_whole, text};
use crate::database::TestDatabase;
use crate::fence;
use crate::harness::TestApp;
use crate::process::{Server, command};
use crate::remote::{instances, read_to_the_end};
use crate::upstream::{Answer, Gate};
use crate::wrong::{Mistake, WrongLog, watched_log};

/// Much longer than a test: what happens at this pace does not happen.
const NEVER: Duration = Duration::from_secs(3600);

/// Over this server.
fn over(server: &NatsServer) -> impl Fn(&mut Config) {
    let url = server.url();
    move |config| config.nats = Some(NatsConfig::of(&url))
}

async fn stop_all<const N: usize>(apps: [TestApp; N]) {
    join_all(apps.map(TestApp::stop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_alone_bring_every_event_and_the_answer_to_a_cancel() {
    let server = NatsServer::start().await;
    let [owner, other] = instances::<2>(|config| {
        over(&server)(config);
        config.limits.poll = NEVER;
        config.limits.poll_with_hints = NEVER;
        config.limits.lease = NEVER;
    })
    .await;
    let id = owner.client.start_prompt("/demo tokens=80 tps=80 unicode seed=3").await;
    let mut first = other.client.events(&id, 0).await;
    let begun = first.take(20).await;
    let (late, rest) = tokio::join!(other.client.all(&id, 5), first.rest());
    let all = owner.client.all(&id, 0).await;
    assert_whole(&all);
    assert_eq!([begun, rest].concat(), all);
    assert_eq!(late, all[5..]);
    let endless = owner.client.start_prompt("/demo tokens=100000 tps=50 ttft_ms=0").await;
    owner.client.events(&endless, 0).await.take(3).await;
    assert_eq!(other.client.cancel(&endless).await["status"], "cancelled");
    stop_all([owner, other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_get_the_same_bytes_while_nats_is_killed_and_suspended() {
    let mut server = NatsServer::start().await;
    let apps = instances::<3>(over(&server)).await;
    let prompt = "/demo tokens=200 tps=50 ttft_ms=0 unicode seed=5";
    let id = apps[0].client.start_prompt(prompt).await;
    let mut far = apps[1].client.events(&id, 0).await;
    let mut seen = far.take(20).await;
    server.kill();
    seen.extend(far.take(30).await);
    let late = apps[2].client.events(&id, 0).await;
    server.again().await;
    seen.extend(far.take(30).await);
    server.suspend();
    seen.extend(far.take(30).await);
    let mut late = late;
    let mut others = late.take(80).await;
    server.resume();
    seen.extend(far.rest().await);
    others.extend(late.rest().await);
    let all = apps[0].client.all(&id, 0).await;
    assert_whole(&all);
    assert_eq!(seen, all);
    assert_eq!(others, all);
    stop_all(apps).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_dies_and_its_readers_follow_the_next_one() {
    let server = NatsServer::start().await;
    let database = TestDatabase::create().await;
    let dir = TempDir::new().unwrap();
    let mut serve = command(dir.path());
    let place = ["--database-url", &database.url, "--signals", &server.url(), "--lease-s", "2"];
    serve.args(place);
    let doomed = Server::start(serve).await;
    assert!(
        doomed.said.iter().any(|line| line.contains("NATS at 127.0.0.1:")),
        "{:?}",
        doomed.said
    );
    let mut config = crate::harness::config(&database);
    over(&server)(&mut config);
    let heirs = [
        TestApp::on(database.clone(), config.clone()).await,
        TestApp::on(database.clone(), config).await,
    ];
    let id = doomed.client.start_prompt("/demo tokens=300 tps=100 ttft_ms=0 seed=8").await;
    let mut readers = [heirs[0].client.events(&id, 0).await, heirs[1].client.events(&id, 0).await];
    let mut seen = [readers[0].take(30).await, readers[1].take(30).await];
    doomed.kill().await;
    for (reader, seen) in readers.iter_mut().zip(&mut seen) {
        seen.extend(reader.rest().await);
        assert_whole(seen);
        assert_eq!(seen.iter().filter(|event| event.name == "resumed").count(), 1);
    }
    assert_eq!(seen[0], seen[1]);
    stop_all(heirs).await;
}

/// An engine whose reads are counted, over NATS.
async fn counted(database: &TestDatabase, server: &NatsServer) -> (Engine, WrongLog) {
    let log = watched_log(&database.url, Mistake::None).await;
    let instance = InstanceId::random();
    let options =
        NatsOptions { servers: server.url(), subject: "lastword".into(), ..NatsOptions::default() };
    let key = SigningKey([1; 32]);
    let signals = NatsSignals::new(options, &key, instance, NatsPace::default()).unwrap();
    let signals = Arc::new(signals);
    let tasks = Tasks::new();
    tasks.spawn_service(Arc::clone(&signals).run());
    let models = Models::new(vec![fence::demo()], "demo".into());
    let limits = Limits { heartbeat: NEVER, poll_with_hints: NEVER, ..Limits::default() };
    let leaves = Leaves { log: log.log.clone(), signals, models };
    let engine = Engine::new(leaves, limits, instance, tasks);
    engine.take_up().await.unwrap();
    engine.keep_up();
    (engine, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn following_costs_the_database_no_read_for_an_event() {
    const READERS: usize = 3;
    const TOKENS: usize = 200;
    let (server, database) = (NatsServer::start().await, TestDatabase::create().await);
    let (owner, _) = counted(&database, &server).await;
    let (other, log) = counted(&database, &server).await;
    let prompt = format!("/demo tokens={TOKENS} tps=100 ttft_ms=0");
    let ats = [fence::start(&owner, &prompt).await, fence::start(&owner, &prompt).await];
    let readers = (0..2 * READERS).map(|n| read_to_the_end(&other, &ats[n % 2]));
    let counts = join_all(readers).await;
    let rows = owner.view(&ats[0]).await.unwrap().last_seq.0;
    assert_eq!(counts, vec![usize::try_from(rows).unwrap(); 2 * READERS]);
    let many = log.reads.many.load(Ordering::Relaxed);
    println!("{READERS} readers of {TOKENS} tokens twice: {many} reads for all");
    // What joins reads, and what was said before the owner knew of a reader.
    assert!(many <= TOKENS / 5, "entries come with their hints: {many}");
    for engine in [owner, other] {
        engine.drain(PATIENCE, &CancellationToken::new()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_on_nats_shows_readers_nothing() {
    let server = NatsServer::start().await;
    let gate = Gate::default();
    let answer = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
    let (owner, _upstream) = TestApp::scripted(vec![answer], over(&server)).await;
    let other = TestApp::on(owner.database.clone(), owner.config.clone()).await;
    let id = owner.client.start_prompt("hi").await;
    let mut reader = other.client.events(&id, 0).await;
    let mut seen = Vec::new();
    while text(&seen) != "Hel" {
        seen.extend(reader.take(1).await);
    }
    let key: Vec<u8> = sqlx::query_scalar("select key from signing_key")
        .fetch_one(&mut owner.database.connect().await)
        .await
        .unwrap();
    let epoch: i32 = sqlx::query_scalar("select epoch from generations")
        .fetch_one(&mut owner.database.connect().await)
        .await
        .unwrap();
    let options =
        NatsOptions { servers: server.url(), subject: "lastword".into(), ..NatsOptions::default() };
    let key = SigningKey(key.try_into().unwrap());
    let node = NatsSignals::new(options, &key, InstanceId::random(), NatsPace::default()).unwrap();
    let subject = node.subject(To::All);
    let next = Seq(seen.last().unwrap().id + 1);
    for (at, epoch) in [(next, epoch), (Seq(next.0 + 1), epoch), (next, epoch + 1)] {
        let entry = Entry::encode(at, &Event::Delta { text: "forged".into() }).by(Epoch(epoch));
        let entries = Carried::all(&[entry], usize::MAX);
        let generation = GenerationId(id.parse().unwrap());
        let grown = [Signal::Grown { generation, entries }];
        let payload = envelope::pack(InstanceId::random(), &grown, 10_000).concat();
        for tag in [&[0; 32][..], &[], &key.0] {
            server.publish(&subject, &[tag, payload.as_bytes()].concat()).await;
        }
    }
    gate.open();
    seen.extend(reader.rest().await);
    assert_whole(&seen);
    assert_eq!(text(&seen), "Hello");
    assert_eq!(seen, owner.client.all(&id, 0).await);
    stop_all([owner, other]).await;
}
