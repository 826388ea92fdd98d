//! Old days go as whole tables: the answer's text in its row stays, and an erasure removes it.
use lastword::ports::Upkeep;
use lastword::store::{Durability, connect};
use reqwest::StatusCode;

use crate::client::assert_whole;
use crate::harness::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_dropped_leaves_answers_and_nothing_that_could_not_be_erased() {
    let app = TestApp::start().await;
    let id = app.client.start_prompt("/demo tokens=30 tps=0 reasoning unicode").await;
    let events = app.client.all(&id, 0).await;
    let view = app.client.view(&id).await;
    // The day of this generation becomes a day long gone.
    app.database.folded().await;
    let rename = "do $$ declare day text := to_char((now() at time zone 'utc')::date, 'YYYYMMDD'); \
                  begin execute 'alter table segments_' || day || ' rename to segments_20200101'; end $$";
    sqlx::query(rename).execute(&mut app.database.connect().await).await.unwrap();
    let log = connect(app.database.url.parse().unwrap(), Durability::Required).await.unwrap();
    assert_eq!(log.retain(7).await.unwrap(), 1, "one day's table");
    log.close().await;
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
