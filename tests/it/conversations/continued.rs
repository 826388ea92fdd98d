//! `POST /v1/generations/{id}/continue`: an answer that ended early goes on in a new generation.
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Received, assert_whole, text};
use crate::conversation::{Talk, Turn, request, told};
use crate::database::TestDatabase;
use crate::harness::{TestApp, config, model_config};
use crate::process::{Server, command};
use crate::upstream::{Answer, Script, Upstream};

/// With a scripted upstream that goes on behind the last token.
async fn prefix(script: impl Into<Script>) -> (TestApp, Upstream) {
    let upstream = Upstream::start(script).await;
    let settings = format!(
        "name = 'scripted'\nprovider = 'openai'\nbase_url = '{}'\nmax_attempts = 1\n\
         continuation = 'prefix'",
        upstream.base_url()
    );
    let app = TestApp::with(|config| config.models.push(model_config(&settings))).await;
    (app, upstream)
}

async fn try_continue(talk: &Talk, id: &str) -> (u16, Value) {
    let path = format!("/v1/generations/{id}/continue");
    told(request(&talk.client, Method::POST, &path, None).await).await
}

async fn start_to_continue(talk: &Talk, earlier: &Turn) -> Turn {
    let (status, receipt) = try_continue(talk, &earlier.id).await;
    assert_eq!(status, 201, "{receipt}");
    assert_eq!(receipt["parent_id"], earlier.parent.as_str());
    Turn { id: receipt["id"].as_str().unwrap().into(), parent: earlier.parent.clone() }
}

fn names(events: &[Received]) -> Vec<&str> {
    events.iter().map(|e| e.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_answer_goes_on_in_a_sibling() {
    let script = vec![
        Answer::sse().text("It is c").usage(9, 3).finish("length").done(),
        Answer::sse().text(" cut sh").usage(12, 2).finish("length").done(),
        Answer::sse().text(" short.").complete(),
    ];
    let (app, upstream) = prefix(script).await;
    let talk = Talk::open(&app.client, &json!({"system": "be kind"})).await;
    let asked = json!({"prompt": "hi", "max_output_tokens": 3, "metadata": {"a": 1}});
    let first = talk.say(asked).await;
    let before = talk.end(&first).await;
    let second = start_to_continue(&talk, &first).await;
    let events = talk.end(&second).await;
    assert_eq!(names(&events), ["started", "notice", "delta", "delta", "done"]);
    assert_eq!(events[1].json()["code"], "continued");
    assert!(events[1].json()["message"].as_str().unwrap().contains(&first.id));
    assert_eq!(events[2].json()["text"], "It is c", "the earlier text is the first");
    assert_eq!(events[4].json()["usage"]["output_tokens"], 2, "of the new attempt alone");
    let third = start_to_continue(&talk, &second).await;
    assert_eq!(text(&talk.end(&third).await), "It is cut short.");

    let told = &upstream.requests()[1].body;
    assert_eq!(told["max_tokens"], 4, "a limit of its own, and the word that is said again");
    let messages = told["messages"].as_array().unwrap();
    assert_eq!(messages.last().unwrap()["content"], "It is", "{told}");
    assert_eq!(messages[0]["content"], "be kind");
    let again: Vec<Received> = talk.end(&first).await;
    assert_eq!(names(&again), names(&before), "nothing was added behind its ending");

    let messages = talk.get("/messages").await;
    assert_eq!(messages["data"].as_array().unwrap().len(), 2);
    let shown = &messages["data"][1];
    assert_eq!(
        (&shown["content"], &shown["status"]),
        (&json!("It is cut short."), &json!("completed"))
    );
    assert_eq!(shown["siblings"], json!([first.id, second.id, third.id]));
    let view = app.client.view(&third.id).await;
    assert_eq!((&view["continues"], &view["metadata"]), (&json!(second.id), &json!({"a": 1})));
    assert_eq!(view["time_to_first_token_ms"], Value::Null, "its first text is an earlier one");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stopped_goes_on_at_the_very_token() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let prompt = |tps| format!("/demo tokens=200 tps={tps} ttft_ms=0 seed=4 reasoning");
    let turn = talk.start(json!({"prompt": prompt(40)})).await;
    app.client.events(&turn.id, 0).await.take(60).await;
    app.client.cancel(&turn.id).await;
    let stopped = app.client.view(&turn.id).await;
    let whole = talk.say(json!({"prompt": prompt(0), "parent_id": null})).await;
    let whole = app.client.view(&whole.id).await;

    let next = start_to_continue(&talk, &turn).await;
    let (status, busy) = try_continue(&talk, &turn.id).await;
    assert_eq!((status, &busy["code"]), (409, &json!("conversation_busy")), "once at a time");
    let (status, busy) = try_continue(&talk, &next.id).await;
    assert_eq!((status, &busy["code"]), (409, &json!("conversation_busy")), "not ended");
    talk.end(&next).await;
    let view = app.client.view(&next.id).await;
    assert!(view["text"].as_str().unwrap().starts_with(stopped["text"].as_str().unwrap()));
    assert_eq!((&view["text"], &view["reasoning"]), (&whole["text"], &whole["reasoning"]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_was_cut_says_as_much_again() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let first = talk.say(json!({"prompt": "/demo tokens=20 tps=0 length"})).await;
    let next = start_to_continue(&talk, &first).await;
    let events = talk.end(&next).await;
    assert_eq!(events.last().unwrap().json()["usage"]["output_tokens"], 20);
    assert_eq!(events.last().unwrap().json()["finish_reason"], "length");
    let limited = json!({"prompt": "/demo tokens=30 tps=0", "max_output_tokens": 20});
    let first = talk.say(limited).await;
    let next = start_to_continue(&talk, &first).await;
    let done = talk.end(&next).await.last().unwrap().json();
    assert_eq!(
        (&done["usage"]["output_tokens"], &done["status"]),
        (&json!(10), &json!("completed"))
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_with_its_key_is_the_same_continuation() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let first = talk.say(json!({"prompt": "/demo tokens=3 tps=0 length"})).await;
    let path = format!("/v1/generations/{}/continue", first.id);
    let keyed = |accept: &'static str| {
        let request = app.client.http.post(format!("{}{path}", app.client.base));
        request.header("idempotency-key", "once").header("accept", accept).send()
    };
    let (status, receipt) = told(keyed("*/*").await.unwrap()).await;
    assert_eq!(status, 201);
    app.client.all(receipt["id"].as_str().unwrap(), 0).await;
    let (status, again) = told(keyed("*/*").await.unwrap()).await;
    assert_eq!((status, &again["id"]), (200, &receipt["id"]));
    let stream = keyed("text/event-stream").await.unwrap().text().await.unwrap();
    assert!(
        stream.contains("\"code\":\"continued\"") && stream.contains("event: done"),
        "{stream}"
    );
    let other = json!({"prompt": "/demo tokens=1 tps=0"});
    let start = app.client.http.post(format!("{}/v1/generations", app.client.base));
    let start = start.header("idempotency-key", "once").json(&other).send().await.unwrap();
    assert_eq!(told(start).await.1["code"], "idempotency_key_reused");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_on_says_why_and_starts_nothing() {
    let call = json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]});
    let script = vec![
        Answer::sse().text("fine").complete(),
        Answer::status(401),
        Answer::sse().text("half").delta(&call).finish("length").done(),
        Answer::sse().text("alone").finish("length").done(),
    ];
    let (app, upstream) = prefix(script).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    for expected in ["complete", "before its first word", "plain text"] {
        let turn = talk.prompt("hi").await;
        let (status, problem) = try_continue(&talk, &turn.id).await;
        assert_eq!((status, &problem["code"]), (409, &json!("cannot_continue")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{problem}");
    }
    let alone = app.client.start(&json!({"prompt": "hi"})).await;
    app.client.all(&alone, 0).await;
    let (status, problem) = try_continue(&talk, &alone).await;
    assert_eq!((status, &problem["code"]), (409, &json!("cannot_continue")));
    assert!(problem["detail"].as_str().unwrap().contains("in a conversation"), "{problem}");
    assert_eq!(upstream.requests().len(), 4);
    assert_eq!(talk.get("/messages?all=1").await["data"].as_array().unwrap().len(), 6);
    app.stop().await;

    let script = vec![Answer::sse().text("cut sh").finish("length").done()];
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let turn = talk.prompt("hi").await;
    let (status, problem) = try_continue(&talk, &turn.id).await;
    assert_eq!((status, &problem["code"]), (409, &json!("cannot_continue")));
    assert!(problem["detail"].as_str().unwrap().contains("the model cannot go on"), "{problem}");
    app.stop().await;
}

/// As after a crash: a server that turns out not to go on answers anew, and its readers get a
/// notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_to_go_on_begins_again() {
    let script = vec![
        Answer::sse().text("cut sh").finish("length").done(),
        Answer::status(400),
        Answer::sse().text("new").complete(),
    ];
    let (app, _upstream) = prefix(script).await;
    let talk = Talk::open(&app.client, &json!({})).await;
    let first = talk.prompt("hi").await;
    let next = start_to_continue(&talk, &first).await;
    let events = talk.end(&next).await;
    assert_eq!(
        names(&events),
        ["started", "notice", "delta", "notice", "superseded", "delta", "done"]
    );
    assert_eq!(events[3].json()["code"], "cannot_continue");
    assert_eq!(app.client.view(&next.id).await["text"], "new");
    let (_, problem) = try_continue(&talk, &first.id).await;
    assert_eq!(problem["code"], "cannot_continue", "known by now");
    app.stop().await;
}

/// The server of a continuation dies in its middle: the other one goes on behind both texts.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_continuation_goes_on() {
    let database = TestDatabase::create().await;
    let dir = TempDir::new().unwrap();
    let mut serve = command(dir.path());
    serve.args(["--database-url", &database.url, "--lease-s", "2"]);
    let doomed = Server::start(serve).await;
    let heir = TestApp::on(database.clone(), config(&database)).await;
    let talk = Talk::open(&doomed.client, &json!({})).await;
    let prompt = "/demo tokens=300 tps=100 ttft_ms=0 seed=8";
    let first = talk.start(json!({ "prompt": prompt })).await;
    doomed.client.events(&first.id, 0).await.take(30).await;
    doomed.client.cancel(&first.id).await;
    let next = start_to_continue(&talk, &first).await;
    let mut seen = doomed.client.events(&next.id, 0).await.take(30).await;
    doomed.kill().await;
    let talk = talk.at(&heir.client);
    seen.extend(heir.client.all(&next.id, 30).await);
    assert_whole(&seen);
    assert!(seen.iter().any(|e| e.name == "resumed"), "{seen:?}");
    let whole = talk.say(json!({"prompt": prompt.replace("tps=100", "tps=0"), "parent_id": null}));
    let whole = heir.client.view(&whole.await.id).await["text"].clone();
    assert_eq!(json!(text(&seen)), whole);
    let message = talk.get(&format!("/messages?leaf={}", next.id)).await;
    let message = &message["data"][1];
    assert_eq!((&message["content"], &message["status"]), (&whole, &json!("completed")));
    assert_eq!(message["siblings"], json!([first.id, next.id]));
    let estimated = whole.as_str().unwrap().len().div_ceil(4);
    let given = heir.client.view(&first.id).await["text"].as_str().unwrap().len().div_ceil(4);
    let used = message["usage"]["output_tokens"].as_u64().unwrap();
    let most = u64::try_from(estimated - given).unwrap() + 120;
    assert!(used <= most, "{used} tokens were used, at most {most} are its own");
    heir.stop().await;
}
