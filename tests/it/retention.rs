//! Old days go as whole tables: the answer's text in its row stays, and an erasure removes it.
use lastword::config::{Cli, Command, Config};
use lastword::ports::Upkeep;
use lastword::store::{Durability, connect};
use reqwest::StatusCode;
use tokio::time::timeout;

use crate::client::{PATIENCE, assert_whole};
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::harness::TestApp;

/// Makes today's events ones of a day long gone, and drops that day. Whoever reads the default
/// table keeps today from having a new one for a while.
pub(crate) async fn forget_today(database: &TestDatabase) {
    let rename = "do $$ declare day text := to_char((now() at time zone 'utc')::date, 'YYYYMMDD'); \
                  begin execute 'alter table segments_' || day || ' rename to segments_20200101'; end $$";
    sqlx::query(rename).execute(&mut database.connect().await).await.unwrap();
    let log = connect(database.url.parse().unwrap(), Durability::Required).await.unwrap();
    let done = async { while log.retain(7).await.is_err() {} };
    timeout(PATIENCE, done).await.expect("the old day goes");
    let left = "select count(*) from pg_class where relname = 'segments_20200101'";
    assert_eq!(database.number(left).await, 0);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_dropped_leaves_answers_and_nothing_that_could_not_be_erased() {
    let app = TestApp::start().await;
    let id = app.client.start_prompt("/demo tokens=30 tps=0 reasoning unicode").await;
    let events = app.client.all(&id, 0).await;
    let view = app.client.view(&id).await;
    // The day of this generation becomes a day long gone.
    app.database.folded().await;
    forget_today(&app.database).await;
    assert_eq!(app.client.view(&id).await, view, "text, usage and end stay");
    let done = events.last().unwrap();
    for cursor in [0, 10] {
        let got = app.client.all(&id, cursor).await;
        assert_eq!(got[0].json()["reason"], "cursor_expired");
        assert_eq!(got[0].json()["text"], view["text"]);
        assert_eq!((&got[1], got.len()), (done, 2));
    }
    let told = app.client.try_events(&id, done.id).await.unwrap();
    assert_eq!(told.status(), StatusCode::NO_CONTENT);

    // Today has lost its table: its events still find a place, and can be erased.
    let again = app.client.start_prompt("/demo tokens=5 tps=0").await;
    assert_whole(&app.client.all(&again, 0).await);
    for id in [&id, &again] {
        let erase = app.client.http.delete(format!("{}/v1/generations/{id}", app.client.base));
        assert_eq!(erase.send().await.unwrap().status(), StatusCode::NO_CONTENT);
        let gone = app.client.try_events(id, 0).await.unwrap();
        assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    }
    assert_eq!(app.database.number("select count(*) from events").await, 0);
    assert_eq!(app.database.number("select count(*) from generations").await, 0);
    app.stop().await;
}

/// Generations and conversations of long ago, each with a word of what it is as its model.
const LONG_AGO: &str = "insert into conversations (id, tenant, updated_at) values \
      ('01800000-0000-7000-8000-00000000000a', 'default', '2022-04-06'), \
      ('01800000-0000-7000-8000-00000000000b', 'default', now()), \
      ('01800000-0000-7000-8000-00000000000c', 'default', '2022-04-06'); \
    insert into messages (id, tenant, conversation_id, role, text) \
      select gen_random_uuid(), tenant, id, 'user', 'hi' from conversations; \
    insert into generations (id, tenant, status, model, provider, request, owner, done, conversation_id, packed) \
      select ('01800000-0000-7000-8000-00000000000' || n)::uuid, 'default', status, word, 'demo', '{}', \
        gen_random_uuid(), done::json, conversation::uuid, null \
      from (values (1, 'completed', 'alone', '{}', null), \
        (2, 'failed', 'alone', '{}', null), \
        (3, 'running', 'runs', null, null), \
        (4, 'completed', 'left', '{}', '01800000-0000-7000-8000-00000000000a'), \
        (5, 'completed', 'spoken', '{}', '01800000-0000-7000-8000-00000000000b'), \
        (6, 'completed', 'busy', '{}', '01800000-0000-7000-8000-00000000000c'), \
        (7, 'running', 'busy', null, '01800000-0000-7000-8000-00000000000c')) \
        as rows (n, status, word, done, conversation); \
    insert into instances (id, lease_until) select distinct owner, now() + interval '1 hour' \
      from generations where status = 'running'";

#[tokio::test(flavor = "multi_thread")]
async fn prompts_and_answers_go_after_their_own_time() {
    let database = TestDatabase::create().await;
    let log = connect(database.url.parse().unwrap(), Durability::Required).await.unwrap();
    sqlx::raw_sql(LONG_AGO).execute(&mut database.connect().await).await.unwrap();
    log.close().await;
    let words = async || -> Vec<String> {
        let words = "select model from generations where id < '01900000-0000-7000-8000-000000000000' order by id";
        sqlx::query_scalar(words).fetch_all(&mut database.connect().await).await.unwrap()
    };
    // Nothing goes unless it is asked for.
    let log = connect(database.url.parse().unwrap(), Durability::Required).await.unwrap();
    while log.retain(7).await.is_err() {}
    log.close().await;
    assert_eq!(words().await.len(), 7);
    // One of days that are not over.
    let recent = "insert into generations (id, tenant, status, model, provider, request, owner, done) \
        select first_uuid_of_day((now() at time zone 'utc')::date - 20), tenant, status, 'recent', provider, \
          request, owner, done from generations where model = 'alone' limit 1";
    sqlx::raw_sql(recent).execute(&mut database.connect().await).await.unwrap();
    let recent = "select count(*) from generations where model = 'recent'";
    let mut config = crate::harness::config(&database);
    config.limits.prompt_retention_days = Some(30);
    let app = TestApp::on(database.clone(), config).await;
    let id = app.client.start_prompt("/demo tokens=5 tps=0").await;
    app.client.all(&id, 0).await;
    eventually("what is old goes", async || words().await.len() == 4).await;
    assert_eq!(words().await, ["runs", "spoken", "busy", "busy"]);
    assert_eq!(database.number(recent).await, 1, "its days are not over");
    assert_eq!(database.number("select count(*) from conversations").await, 2);
    assert_eq!(database.number("select count(*) from messages").await, 2);
    assert_eq!(app.client.view(&id).await["status"], "completed");
    let over = "delete from generations where model <> 'demo'";
    sqlx::raw_sql(over).execute(&mut database.connect().await).await.unwrap();
    app.stop().await;
}

/// What a retention erases takes its contents along, and leaves none to the next look.
#[tokio::test(flavor = "multi_thread")]
async fn contents_go_with_the_prompts_that_are_too_old() {
    let database = TestDatabase::create().await;
    let log = connect(database.url.parse().unwrap(), Durability::Required).await.unwrap();
    let contents = "insert into contents values (sha256('a'), 'default', 'a'), (sha256('b'), 'default', 'b'); \
        insert into content_uses select '01800000-0000-7000-8000-000000000001'::uuid, hash from contents \
        union all select '01800000-0000-7000-8000-000000000003', sha256('b')";
    for sql in [LONG_AGO, contents] {
        sqlx::raw_sql(sql).execute(&mut database.connect().await).await.unwrap();
    }
    assert!(log.erase_old(30).await.unwrap() > 0);
    let left = "select count(*) from contents";
    assert_eq!(database.number(left).await, 1, "the one that is used elsewhere");
    log.close().await;
}

#[test]
fn days_are_read_and_checked() {
    let of = |words: &[&str]| {
        let words = ["lastword", "serve", "--data-dir", "x"].iter().chain(words).copied();
        let Command::Serve(flags) = Cli::of_words(words).unwrap().command else {
            panic!("not `serve`")
        };
        Config::load(*flags).map(|config| config.limits.prompt_retention_days)
    };
    assert_eq!(of(&[]).unwrap(), None);
    assert_eq!(of(&["--prompt-retention-days", "30"]).unwrap(), Some(30));
    let refused = of(&["--prompt-retention-days", "0"]).unwrap_err().to_string();
    assert!(refused.contains("prompt_retention_days is 0"), "{refused}");
}
