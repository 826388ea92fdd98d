//! Readers of generations that run on other instances, with and without hints.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use lastword::config::Config;
use lastword::domain::id::InstanceId;
use lastword::engine::{Engine, Item, Leaves, Limits, Models};
use lastword::ports::Address;
use lastword::store::{Durability, Pace, PgSignals, connect};
use lastword::tasks::Tasks;
use serde_json::{Value, json};
use sqlx::postgres::PgListener;
use tokio_util::sync::CancellationToken;

use crate::client::{PATIENCE, assert_whole};
use crate::database::TestDatabase;
use crate::fence;
use crate::harness::{TestApp, config};
use crate::wrong::{Mistake, WrongLog, watched_log};

/// Much longer than a test: an event at this pace does not happen.
const NEVER: Duration = Duration::from_secs(3600);

/// As many servers on one database.
pub(crate) async fn instances<const N: usize>(change: impl Fn(&mut Config)) -> [TestApp; N] {
    let database = TestDatabase::create().await;
    let mut config = config(&database);
    change(&mut config);
    let starts = (0..N).map(|_| TestApp::on(database.clone(), config.clone()));
    join_all(starts).await.try_into().unwrap_or_else(|_| unreachable!("as many as asked for"))
}

async fn stop_all<const N: usize>(apps: [TestApp; N]) {
    join_all(apps.map(TestApp::stop)).await;
}

/// Each scenario once with hints and once without: they may change only the time it takes.
macro_rules! with_and_without_hints {
    ($($scenario:ident)*) => {$(
        mod $scenario {
            #[tokio::test(flavor = "multi_thread")]
            async fn with_hints() {
                super::$scenario(true).await;
            }
            #[tokio::test(flavor = "multi_thread")]
            async fn without_hints() {
                super::$scenario(false).await;
            }
        }
    )*};
}

with_and_without_hints! {
    readers_everywhere_get_the_same_bytes
    a_reader_elsewhere_keeps_a_generation_alive
    cancels_from_everywhere_agree_with_the_end
}

async fn readers_everywhere_get_the_same_bytes(hints: bool) {
    let apps = instances::<3>(|config| config.notify = hints).await;
    let mut ids = Vec::new();
    for (seed, owner) in apps.iter().enumerate() {
        let prompt = format!("/demo tokens=120 tps=100 unicode seed={seed}");
        ids.push(owner.client.start_prompt(&prompt).await);
    }
    for id in &ids {
        let readers = apps.iter().flat_map(|app| [app.client.all(id, 0), app.client.all(id, 0)]);
        let seen = join_all(readers).await;
        assert_whole(&seen[0]);
        assert!(seen.iter().all(|events| *events == seen[0]), "byte for byte");
    }
    stop_all(apps).await;
}

async fn a_reader_elsewhere_keeps_a_generation_alive(hints: bool) {
    let [owner, other] = instances::<2>(|config| config.notify = hints).await;
    let prompt = "/demo tokens=150 tps=60 ttft_ms=0";
    let body = json!({"prompt": prompt, "on_disconnect": {"cancel_after_s": 1}});
    let id = owner.client.start(&body).await;
    let events = other.client.all(&id, 0).await;
    assert_whole(&events);
    assert_eq!(events.last().unwrap().json()["status"], "completed");
    stop_all([owner, other]).await;
}

async fn cancels_from_everywhere_agree_with_the_end(hints: bool) {
    let apps = instances::<2>(|config| config.notify = hints).await;
    for round in 0..12_usize {
        // It ends by itself at about the time that it is cancelled.
        let prompt = format!("/demo tokens={} tps=400 ttft_ms=0", 4 + round);
        let id = apps[round % 2].client.start_prompt(&prompt).await;
        apps[0].client.events(&id, 0).await.take(4).await;
        let receipts = join_all(apps.iter().map(|app| app.client.cancel(&id))).await;
        assert_eq!(receipts[0], receipts[1]);
        let events = apps[1].client.all(&id, 0).await;
        assert_whole(&events);
        let ending = &events.last().unwrap().json()["status"];
        assert_eq!(receipts[0]["status"], *ending);
        assert_eq!(receipts[0]["cancelled"], Value::from(ending == "cancelled"));
        assert_eq!(receipts[0]["last_seq"], events.len());
    }
    stop_all(apps).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_alone_bring_every_event_and_the_answer_to_a_cancel() {
    let [owner, other] = instances::<2>(|config| {
        config.notify = true;
        config.limits.poll = NEVER;
        config.limits.poll_with_hints = NEVER;
        config.limits.lease = NEVER;
    })
    .await;
    let id = owner.client.start_prompt("/demo tokens=80 tps=80 seed=3").await;
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
async fn listeners_that_are_lost_all_the_time_cost_no_event() {
    let [owner, other] = instances::<2>(|config| config.notify = true).await;
    let id = owner.client.start_prompt("/demo tokens=200 tps=100 seed=9").await;
    let mut reader = other.client.events(&id, 0).await;
    let mut seen = Vec::new();
    let mut database = owner.database.connect().await;
    while seen.len() < 150 {
        seen.extend(reader.take(15).await);
        let end = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where application_name like 'lastword %' and datname = current_database()";
        sqlx::query(end).execute(&mut database).await.unwrap();
    }
    seen.extend(reader.rest().await);
    assert_whole(&seen);
    assert_eq!(seen, owner.client.all(&id, 0).await);
    stop_all([owner, other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_alone_tells_nobody_anything() {
    let app = TestApp::with(|config| config.notify = true).await;
    let mut listener = PgListener::connect(&app.database.url).await.unwrap();
    let instance: uuid::Uuid = sqlx::query_scalar("select id from instances")
        .fetch_one(&mut app.database.connect().await)
        .await
        .unwrap();
    let own = format!("lastword_{}", instance.simple());
    listener.listen_all(["lastword", own.as_str()]).await.unwrap();
    let id = app.client.start_prompt("/demo tokens=50 tps=0").await;
    let readers = (0..3).map(|_| app.client.all(&id, 0));
    join_all(readers).await.iter().for_each(|events| assert_whole(events));
    let endless = app.client.start_prompt("/demo tokens=100000 tps=50 ttft_ms=0").await;
    assert_eq!(app.client.cancel(&endless).await["status"], "cancelled");
    sqlx::query("select pg_notify('lastword', 'the end')")
        .execute(&mut app.database.connect().await)
        .await
        .unwrap();
    loop {
        let heard = listener.recv().await.unwrap();
        if heard.payload() == "the end" {
            break;
        }
        let heard: Value = serde_json::from_str(heard.payload()).unwrap();
        assert_eq!(heard["signals"], json!([]), "only its own heartbeat");
    }
    app.stop().await;
}

/// An engine whose reads are counted, with hints.
pub(crate) async fn counted(database: &TestDatabase) -> (Engine, WrongLog) {
    let log = watched_log(&database.url, Mistake::None).await;
    let instance = InstanceId::random();
    let real = connect(database.url.parse().unwrap(), Durability::Required).await.unwrap();
    let signals = PgSignals::new(&real, instance, Pace::default());
    let tasks = Tasks::new();
    tasks.spawn_service(signals.listen());
    tasks.spawn_service(signals.deliver());
    let models = Models::new(vec![fence::demo()], "demo".into());
    let limits = Limits { heartbeat: NEVER, ..Limits::default() };
    let leaves = Leaves { log: log.log.clone(), signals: Arc::new(signals), models };
    let engine = Engine::new(leaves, limits, instance, tasks);
    engine.take_up().await.unwrap();
    engine.keep_up();
    (engine, log)
}

pub(crate) async fn read_to_the_end(engine: &Engine, at: &Address) -> usize {
    let mut session = fence::session(engine, at).await;
    let mut count = 0;
    while let Some(item) = session.next().await {
        if let Item::Entries(entries) = item {
            count += entries.len();
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_elsewhere_cost_no_more_reads_than_one() {
    const READERS: usize = 40;
    const TOKENS: usize = 100;
    let database = TestDatabase::create().await;
    let (owner, _) = counted(&database).await;
    let (other, log) = counted(&database).await;
    let prompt = format!("/demo tokens={TOKENS} tps=100 ttft_ms=0");
    let ats = [fence::start(&owner, &prompt).await, fence::start(&owner, &prompt).await];
    let readers = (0..READERS).map(|n| read_to_the_end(&other, &ats[n % 2]));
    let counts = join_all(readers).await;
    let rows = owner.view(&ats[0]).await.unwrap().last_seq.0;
    assert_eq!(counts, vec![usize::try_from(rows).unwrap(); READERS]);
    let (alone, many) =
        (log.reads.one.load(Ordering::Relaxed), log.reads.many.load(Ordering::Relaxed));
    println!("{READERS} readers of {TOKENS} tokens twice: {alone} reads alone, {many} for all");
    assert!(alone <= 3 * READERS, "each reads up to the end of the log once: {alone}");
    assert!(many <= 2 * (TOKENS + 20), "no more than hints, both generations in one: {many}");
    assert!(many <= TOKENS, "most of what is little comes with its hint: {many}");
    for engine in [owner, other] {
        engine.drain(PATIENCE, &CancellationToken::new()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_away_and_readers_elsewhere_go_on_when_it_is_back() {
    let (mut server, _dir) = crate::database::own_server().await;
    let database = TestDatabase::create_on(&server).await;
    let start = || TestApp::on(database.clone(), config(&database));
    let (owner, other) = tokio::join!(start(), start());
    let id = owner.client.start_prompt("/demo tokens=150 tps=60 ttft_ms=0").await;
    let mut reader = other.client.events(&id, 0).await;
    let mut seen = reader.take(20).await;
    crate::outage::crash_and_start(&mut server).await;
    seen.extend(reader.rest().await);
    assert_whole(&seen);
    assert_eq!(seen, owner.client.all(&id, 0).await);
    stop_all([owner, other]).await;
    server.stop().await;
}
