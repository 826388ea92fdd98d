//! `/metrics` counts events, and its names are those of the operations guide.
use std::collections::BTreeSet;
use std::time::Duration;

use crate::client::{Client, PATIENCE, assert_whole};
use crate::harness::TestApp;
use crate::upstream::Answer;

/// The value of the only line that begins so.
fn value(text: &str, line: &str) -> f64 {
    let found: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix(line)).collect();
    let [value] = found.as_slice() else { panic!("{line}: {found:?}\n{text}") };
    value.trim().parse().unwrap()
}

async fn scrape(client: &Client) -> String {
    let response = client.get("/metrics").await;
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().contains("openmetrics-text"));
    response.text().await.unwrap()
}

/// A scrape once the ended generation is put away: a client sees the end a moment before that.
async fn settled(client: &Client) -> String {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let text = scrape(client).await;
        let running = value(&text, "lastword_generations_running ");
        let streams = value(&text, "lastword_streams{transport=\"sse\",dialect=\"native\"} ");
        let idle = value(&text, "lastword_pool_connections{pool=\"workers\",state=\"idle\"} ");
        if running == 0.0 && streams == 0.0 && idle >= 1.0 {
            return text;
        }
        assert!(tokio::time::Instant::now() < give_up, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_counted() {
    let script = Answer::sse().text("Hel").text("lo").complete();
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let id = app.client.start_prompt("hi").await;
    let events = app.client.all(&id, 0).await;
    assert_whole(&events);
    let count = f64::from(u32::try_from(events.len()).unwrap());
    let text = settled(&app.client).await;
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(value(&text, "lastword_generations_started_total "), 1.0);
    assert_eq!(value(&text, "lastword_generations_ended_total{status=\"completed\"} "), 1.0);
    // `started` goes in with the generation's row, not by a group commit.
    assert_eq!(value(&text, "lastword_events_appended_total "), count - 1.0);
    assert_eq!(value(&text, "lastword_events_delivered_total{transport=\"sse\"} "), count);
    assert_eq!(value(&text, "lastword_time_to_first_token_seconds_count "), 1.0);
    assert!(value(&text, "lastword_commit_seconds_count ") >= 1.0);
    assert!(value(&text, "lastword_log_bytes ") > 0.0);
    assert!(text.contains("lastword_build_info{version=\""), "{text}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_and_snapshots_are_counted() {
    let (app, _upstream) = TestApp::scripted(Answer::status(400), |_| {}).await;
    let id = app.client.start_prompt("hi").await;
    app.client.all(&id, 0).await;
    // Over SSE alone: most readers of the tests have a socket beside it.
    app.client.try_events(&id, 900).await.unwrap().text().await.unwrap();
    let text = scrape(&app.client).await;
    assert_eq!(value(&text, "lastword_upstream_errors_total{code=\"upstream_rejected\"} "), 1.0);
    assert_eq!(value(&text, "lastword_generations_ended_total{status=\"failed\"} "), 1.0);
    assert_eq!(value(&text, "lastword_snapshots_served_total{reason=\"cursor_ahead\"} "), 1.0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_folded_is_counted_and_loses_nothing() {
    let script = Answer::sse().text("Hel").text("lo").complete();
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let mut database = app.database.connect().await;
    let mut rename = async |statement: &'static str| {
        sqlx::query(statement).execute(&mut database).await.unwrap();
    };
    rename("alter function next_to_fold(uuid, bigint) rename to not_to_be_found").await;
    let id = app.client.start_prompt("hi").await;
    assert_whole(&app.client.all(&id, 0).await);
    // Each scrape is a round trip: no other wait paces it.
    let counted = async {
        while value(&scrape(&app.client).await, "lastword_fold_failures_total ") == 0.0 {}
    };
    tokio::time::timeout(Duration::from_secs(20), counted).await.unwrap();
    assert_whole(&app.client.all(&id, 0).await);
    rename("alter function not_to_be_found(uuid, bigint) rename to next_to_fold").await;
    app.stop().await;
}

/// The operations guide's table, the dashboard and the alerts name what there is; the table, all.
#[tokio::test(flavor = "multi_thread")]
async fn the_guide_names_each_metric() {
    let app = TestApp::start().await;
    let text = scrape(&app.client).await;
    let exposed: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let guide = include_str!("../../docs/operations.md");
    let told: BTreeSet<&str> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter(|line| line.starts_with("lastword_"))
        .filter_map(|line| line.split(['`', '{']).next())
        .map(|name| name.strip_suffix("_total").unwrap_or(name))
        .collect();
    assert_eq!(told, exposed);
    app.stop().await;
}

/// The names in `text` that begin as our metrics do, without the endings of their series.
fn named(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
        .filter(|word| word.starts_with("lastword_"))
        .map(|word| word.strip_suffix("_total").unwrap_or(word))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_name_what_there_is() {
    let app = TestApp::start().await;
    let text = scrape(&app.client).await;
    let exposed = named(&text);
    for deployed in
        [include_str!("../../deploy/grafana.json"), include_str!("../../deploy/alerts.yaml")]
    {
        let unknown: Vec<_> = named(deployed).difference(&exposed).copied().collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../deploy/grafana.json")).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() >= 12);
    let guide = include_str!("../../docs/operations.md");
    let headings: BTreeSet<String> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let remedies = include_str!("../../deploy/alerts.yaml").lines();
    for remedy in remedies.filter_map(|line| line.split_once("docs/operations.md#")) {
        assert!(headings.contains(remedy.1), "{}", remedy.1);
    }
    app.stop().await;
}
