//! Old days go as whole tables: the answer's text in its row stays, and an erasure removes it.
use lastword::ports::Upkeep;
use lastword::store::{Durability, connect};
use reqwest::StatusCode;
use tokio::time::timeout;

use crate::client::{PATIENCE, assert_whole};
use crate::database::TestDatabase;
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
