//! One writer at a time, and no append twice. These tests also show that they see a breach of this
//! rule.
use std::sync::Arc;
use std::time::Duration;

use lastword::domain::event::Event;
use lastword::domain::generation::{OnDisconnect, Request};
use lastword::domain::id::{GenerationId, InstanceId, Seq, Tenant};
use lastword::domain::json::JsonObject;
use lastword::domain::prompt::{Message, Parameters, Prompt, Role};
use lastword::domain::transcript::Transcript;
use lastword::engine::{
    Caller, Engine, Item, Leaves, Limits, Model, Models, OnLoss, Opened, Recovery, Session, Start,
};
use lastword::ports::{Address, Log, Silence};
use lastword::providers::demo::Demo;
use lastword::tasks::Tasks;
use sqlx::Row;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client::PATIENCE;
use crate::database::TestDatabase;
use crate::proxy::Proxy;
use crate::wrong::{Mistake, wrong_log};

const TOKENS: usize = 200;
/// Much longer than any silence here.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// The demo model, which goes on where it was.
pub(crate) fn demo() -> Model {
    Model {
        name: "demo".into(),
        provider: Arc::new(Demo),
        on_loss: OnLoss::Continue,
        max_attempts: 3,
        fallback: None,
        context_tokens: None,
        recovery: Recovery::default(),
        pictures: None,
        disconnect: lastword::engine::DisconnectPolicy::default(),
    }
}

/// An engine without HTTP: an instance that can be left without upkeep.
pub(crate) fn engine(log: Log) -> (Engine, InstanceId) {
    let limits = Limits {
        lease: Duration::from_secs(1),
        poll: Duration::from_millis(10),
        heartbeat: Duration::from_secs(3600),
        ..Limits::default()
    };
    let instance = InstanceId::random();
    let models = Models::new(vec![demo()], "demo".into());
    let leaves = Leaves { log, signals: Arc::new(Silence), models };
    (Engine::new(leaves, limits, instance, Tasks::new()), instance)
}

pub(crate) async fn start(engine: &Engine, prompt: &str) -> Address {
    let message = Message::text(Role::User, prompt);
    let prompt = Prompt::parse(vec![message], Parameters::default(), 10_000).unwrap();
    let request = Request {
        model: "demo".into(),
        prompt,
        metadata: JsonObject::default(),
        on_disconnect: OnDisconnect::Continue,
        echo: serde_json::Map::new(),
        chat: None,
        wall_s: None,
        continues: None,
        trace: None,
        source: None,
    };
    let tenant = Tenant::anonymous();
    let start =
        Start { caller: Caller::anonymous(), request, idempotency: None, turn: None, repeat: None };
    let started = engine.start(start).await.unwrap();
    Address { tenant, id: started.generation.id }
}

pub(crate) async fn session(engine: &Engine, at: &Address) -> Session {
    match engine.open(at, Seq::ZERO).await.unwrap() {
        Opened::Events(session) => *session,
        Opened::Complete => panic!("a fresh cursor is not at the end"),
    }
}

/// Reads until an event of that type. It is false if the session ends before, or if nothing more
/// comes, as happens with a torn log.
pub(crate) async fn until(session: &mut Session, kind: &str) -> bool {
    while let Ok(Some(item)) = timeout(SILENCE, session.next()).await {
        if let Item::Entries(entries) = item
            && entries.iter().any(|e| e.kind.as_str() == kind)
        {
            return true;
        }
    }
    false
}

/// The rows obey the rules; an error names the first rule that is broken.
async fn check(database: &TestDatabase, id: GenerationId, text: &str) -> Result<(), String> {
    let rows = sqlx::query(
        "select seq, epoch, json_build_object('type', type)::jsonb || data::jsonb as event \
         from events where generation_id = $1 order by seq",
    )
    .bind(id.0)
    .fetch_all(&mut database.connect().await)
    .await
    .unwrap();
    let aside = "select count(*) from doubled where generation_id = $1";
    let mut connection = database.connect().await;
    let aside: i64 = sqlx::query_scalar(aside).bind(id.0).fetch_one(&mut connection).await.unwrap();
    if aside > 0 {
        return Err(format!("{aside} stretches of events have a seq that others have"));
    }
    let mut transcript = Transcript::default();
    let mut epoch = 0;
    for row in rows {
        let seq = Seq(row.get::<i64, _>("seq").try_into().unwrap());
        if row.get::<i32, _>("epoch") < epoch {
            return Err(format!("event {seq} is by an owner that was taken over"));
        }
        epoch = row.get("epoch");
        let event: Event = serde_json::from_value(row.get("event")).unwrap();
        transcript.apply(seq, &event).map_err(|e| e.to_string())?;
    }
    if transcript.done.is_none() {
        return Err("there is no ending".into());
    }
    if transcript.answer.text != text {
        return Err(format!("the text differs: {:?}", transcript.answer.text));
    }
    Ok(())
}

/// The demo's text without a disturbance.
async fn expected(log: Log) -> String {
    let (engine, _) = engine(log);
    let at = start(&engine, &format!("/demo tokens={TOKENS} tps=0 seed=1")).await;
    assert!(until(&mut session(&engine, &at).await, "done").await);
    let text = engine.view(&at).await.unwrap().answer.text;
    engine.drain(PATIENCE, &CancellationToken::new()).await;
    text
}

/// An owner that seems dead loses its generation to a take-over, and goes on writing.
async fn stalled_owner(mistake: Mistake) -> Result<(), String> {
    let database = TestDatabase::create().await;
    let old_log = wrong_log(&database.url, mistake).await;
    let new_log = wrong_log(&database.url, Mistake::None).await;
    let text = expected(new_log.clone()).await;
    let (old, instance) = engine(old_log.clone());
    // It has no upkeep, so the test sets its lease.
    old_log.leases.heartbeat(instance, Duration::from_secs(60)).await.unwrap();
    // The pace lets a claim win on a busy machine, although a faster append beats it.
    let at = start(&old, &format!("/demo tokens={TOKENS} tps=40 seed=1")).await;
    assert!(until(&mut session(&old, &at).await, "delta").await);
    old_log.leases.release(instance).await.unwrap();
    let (new, _) = engine(new_log);
    new.take_up().await.unwrap();
    new.keep_up();
    let ended = until(&mut session(&new, &at).await, "done").await;
    // The old owner has let go, or has written an entry that it must not write.
    old.drain(SILENCE, &CancellationToken::new()).await;
    new.drain(SILENCE, &CancellationToken::new()).await;
    check(&database, at.id, &text).await?;
    if ended { Ok(()) } else { Err("a reader waits for ever".into()) }
}

/// Replies to commits are lost, ten times in one generation.
async fn lost_replies(mistake: Mistake) -> Result<(), String> {
    let database = TestDatabase::create().await;
    let text = expected(wrong_log(&database.url, Mistake::None).await).await;
    let proxy = Proxy::start(&database);
    let log = wrong_log(&proxy.url(&database), mistake).await;
    let (engine, instance) = engine(log.clone());
    log.leases.heartbeat(instance, Duration::from_secs(600)).await.unwrap();
    let at = start(&engine, &format!("/demo tokens={TOKENS} tps=100 seed=1")).await;
    let mut reader = session(&engine, &at).await;
    assert!(until(&mut reader, "delta").await);
    let mut asked = 0;
    while proxy.lost() < 10 {
        // One at a time: each lost reply that is left over for the ending costs a second.
        if proxy.lost() == asked {
            proxy.lose(1);
            asked += 1;
        }
        if !until(&mut reader, "delta").await {
            break;
        }
    }
    let ended = until(&mut reader, "done").await;
    engine.drain(SILENCE, &CancellationToken::new()).await;
    check(&database, at.id, &text).await?;
    if !ended {
        return Err("a reader waits for ever".into());
    }
    // A log that is torn may end before.
    assert!(proxy.lost() >= 3, "{} replies were lost", proxy.lost());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_owner_can_no_longer_write() {
    assert_eq!(stalled_owner(Mistake::None).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_fence_the_log_is_torn() {
    stalled_owner(Mistake::NoFence).await.expect_err("the check sees it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_reply_was_lost_is_there_once() {
    assert_eq!(lost_replies(Mistake::None).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blind_retry_repeats_what_was_committed() {
    // Chance decides which replies are lost; the appends show it.
    for _ in 0..3 {
        if lost_replies(Mistake::BlindRetry).await.is_err() {
            return;
        }
    }
    panic!("the check does not see it");
}
