//! An erasure of contents beside starts that use them.
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use lastword::domain::id::{GenerationId, Tenant};
use lastword::domain::prompt::{Message, Role};
use lastword::ports::{Address, Created, LogError};

use super::{LEFT, file, forgotten};
use crate::eventually::eventually;
use crate::log_contract::{Bench, bench};

/// Starts of one content.
const STARTS: usize = 500;

/// The upkeep erases contents first; tables of days that are in use are nothing to this test.
async fn look(bench: &Bench) {
    let _ = bench.log.upkeep.retain(7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_beside_erasures_of_their_contents_lose_nothing() {
    let bench = bench().await;
    let prompt: Vec<Message> = (0..20).map(|n| Message::text(Role::User, file(n, 2000))).collect();
    let ended = AtomicBool::new(false);
    let starts = futures_util::stream::iter(0..STARTS).map(|_| {
        let mut new = bench.fresh(None);
        new.request.prompt.messages.clone_from(&prompt);
        let log = &bench.log;
        async move {
            loop {
                match log.generations.create(&new).await {
                    Ok(Created::New(..)) => return new.id,
                    // As the engine does it.
                    Err(LogError::Unavailable(_)) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    });
    let starts = async {
        let ids: BTreeSet<GenerationId> = starts.buffer_unordered(8).collect().await;
        ended.store(true, Ordering::Relaxed);
        ids
    };
    // All that is there goes, so that the contents are loose again and again.
    let erasures = async {
        let mut connection = bench.database.connect().await;
        let mut gone = BTreeSet::new();
        while !ended.load(Ordering::Relaxed) {
            let erase = "with chosen as (select id from generations for update skip locked) \
                delete from generations g using chosen where g.id = chosen.id returning g.id";
            let ids: Vec<uuid::Uuid> =
                sqlx::query_scalar(erase).fetch_all(&mut connection).await.unwrap();
            gone.extend(ids.into_iter().map(GenerationId));
            look(&bench).await;
        }
        gone
    };
    let (ids, gone) = tokio::join!(starts, erasures);
    assert_eq!(ids.len(), STARTS);
    let mut read = 0;
    for id in ids.difference(&gone) {
        let at = Address { tenant: Tenant::anonymous(), id: *id };
        let row = bench.log.generations.generation(&at).await.unwrap().unwrap();
        assert_eq!(row.unreadable, None);
        assert_eq!(row.request.prompt.messages, prompt);
        read += 1;
    }
    assert_eq!(read + gone.len(), STARTS, "{} are gone", gone.len());
    look(&bench).await;
    assert_eq!(bench.database.number(LEFT).await, 0);
    let all = "delete from generations";
    sqlx::query(all).execute(&mut bench.database.connect().await).await.unwrap();
    look(&bench).await;
    forgotten(&bench.database).await;
}

/// The same where nothing but the contents may stand in its way: it waits for no start, and does not
/// run into one.
async fn look_alone(bench: &Bench) {
    match bench.log.upkeep.retain(7).await {
        Ok(_) => {}
        Err(LogError::Unavailable(why)) if why.contains("stay for now") => {}
        Err(error) => panic!("{error}"),
    }
}

/// A start has seen that a content is there, and an erasure takes it before the start is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_content_was_just_erased_is_tried_again() {
    let bench = bench().await;
    let mut new = bench.fresh(None);
    new.request.prompt.messages = vec![Message::text(Role::User, file(1, 9000))];
    bench.log.generations.create(&new).await.unwrap();
    let mut other = bench.database.connect().await;
    let hold = "create function hold() returns trigger language plpgsql as $$ begin \
            perform pg_advisory_xact_lock(29); return new; end $$; \
        create trigger hold before insert on generations for each row execute function hold(); \
        select pg_advisory_lock(29); delete from generations";
    sqlx::raw_sql(hold).execute(&mut other).await.unwrap();
    let mut again = bench.fresh(None);
    again.request.prompt.messages.clone_from(&new.request.prompt.messages);
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() \
                   and wait_event_type = 'Lock' and query like '%insert into generations%'";
    let erased = async {
        eventually("it is stored", async || bench.database.number(waiting).await == 1).await;
        look_alone(&bench).await;
        assert_eq!(bench.database.number("select count(*) from contents").await, 0);
        let go = "select pg_advisory_unlock(29); drop trigger hold on generations";
        sqlx::raw_sql(go).execute(&mut other).await.unwrap();
    };
    let (started, ()) = tokio::join!(bench.log.generations.create(&again), erased);
    match started {
        Err(LogError::Unavailable(_)) => {}
        other => panic!("{other:?}"),
    }
    // As the engine does it.
    assert!(matches!(bench.log.generations.create(&again).await, Ok(Created::New(..))));
    assert_eq!(bench.database.number("select count(*) from contents").await, 1);
}

/// Each step by itself: a start has named a content, and an erasure looks at it.
#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_a_start_has_just_named_stays() {
    let bench = bench().await;
    let mut new = bench.fresh(None);
    new.request.prompt.messages = vec![Message::text(Role::User, file(1, 9000))];
    bench.log.generations.create(&new).await.unwrap();
    let mut start = bench.database.connect().await;
    let mut other = bench.database.connect().await;
    let second = "begin; insert into generations (id, tenant, status, model, provider, request, owner) \
        values ('01c0c0de-0000-7000-8000-000000000001', 'default', 'running', 'demo', 'demo', '{}', gen_random_uuid()); \
        insert into content_uses select '01c0c0de-0000-7000-8000-000000000001', hash from contents";
    sqlx::raw_sql(second).execute(&mut start).await.unwrap();
    // The only use that is committed goes, and the erasure meets the one that is not.
    sqlx::raw_sql("delete from generations where status = 'running'")
        .execute(&mut other)
        .await
        .unwrap();
    look_alone(&bench).await;
    assert_eq!(bench.database.number("select count(*) from contents").await, 1);
    sqlx::raw_sql("commit").execute(&mut start).await.unwrap();
    look_alone(&bench).await;
    assert_eq!(bench.database.number("select count(*) from contents").await, 1);
    // The same with a start that is not stored in the end.
    sqlx::raw_sql("delete from generations").execute(&mut other).await.unwrap();
    let third = second.replace("000001'", "000002'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(third)).execute(&mut start).await.unwrap();
    look(&bench).await;
    sqlx::raw_sql("rollback").execute(&mut start).await.unwrap();
    look(&bench).await;
    forgotten(&bench.database).await;
}
