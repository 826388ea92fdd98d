//! Cursors of every dialect over HTTP: in the middle, ahead, and of events that are gone.
use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::raw::{Answer as Bytes, RawStream, exchange, request};
use crate::upstream::{Answer, Gate};

async fn get(app: &TestApp, path: &str) -> Bytes {
    exchange(app.address, &request(&format!("GET {path}"), "", b"")).await
}

async fn post(app: &TestApp, path: &str, head: &str, body: &Value) -> Bytes {
    let head = format!("Content-Type: application/json\r\n{head}");
    let body = body.to_string();
    exchange(app.address, &request(&format!("POST {path}"), &head, body.as_bytes())).await
}

fn chat(text: &str) -> Value {
    let message = json!({"id": "m", "role": "user", "parts": [{"type": "text", "text": text}]});
    json!({"id": "c", "messages": [message]})
}

/// The objects of a stream's `data` lines.
fn frames(answer: &Bytes) -> Vec<Value> {
    let text = std::str::from_utf8(&answer.body).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn joined(frames: &[Value], field: &str) -> String {
    let texts = frames.iter().filter_map(|frame| frame.pointer(field)?.as_str());
    texts.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_of_the_ai_sdk_goes_on_behind_a_cursor() {
    let gate = Gate::default();
    let script = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let body = chat("hi").to_string();
    let head = "Content-Type: application/json\r\n";
    let mut first =
        RawStream::of(app.address, &request("POST /api/chat", head, body.as_bytes())).await;
    // Events 1 and 2: the start and "Hel".
    first.until("\"seq\":2", 1).await;
    for (query, code) in [
        ("?after=x", "invalid_cursor"),
        ("?after=-1", "invalid_cursor"),
        ("?after=3", "cursor_ahead"),
    ] {
        let refused = get(&app, &format!("/api/chat/c/stream{query}")).await;
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!(code)), "{query}");
    }
    let open = async |query: &str| {
        let line = format!("GET /api/chat/c/stream{query}");
        RawStream::of(app.address, &request(&line, "", b"")).await
    };
    let (mut whole, mut behind) = (open("").await, open("?after=2").await);
    whole.until("Hel", 1).await;
    // It is in before the answer ends: a later request would get 204.
    behind.until("200 OK", 1).await;
    gate.open();
    for stream in [&mut first, &mut whole, &mut behind] {
        stream.end().await;
    }
    let (whole, behind) = (frames(&whole.answer()), frames(&behind.answer()));
    assert_eq!(joined(&whole, "/delta"), "Hello");
    assert_eq!(joined(&frames(&first.answer()), "/delta"), "Hello");
    assert_eq!(joined(&behind, "/delta"), "lo", "{behind:?}");
    let kinds: Vec<&str> = behind.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert!(!kinds.contains(&"start") && kinds.last() == Some(&"finish"), "{kinds:?}");
    assert_eq!(get(&app, "/api/chat/c/stream?after=2").await.status, 204, "it has ended");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_retained_is_told_by_every_dialect() {
    let app = TestApp::start().await;
    let sent = post(&app, "/api/chat", "", &chat("/demo tokens=20 tps=0 unicode")).await;
    let text = joined(&frames(&sent), "/delta");
    let list = get(&app, "/v1/generations").await.json();
    let view = &list["data"][0];
    assert_eq!((&view["text"], &view["status"]), (&json!(text), &json!("completed")));
    let (id, last) = (view["id"].as_str().unwrap(), view["last_seq"].as_u64().unwrap());
    app.database.forget_events().await;

    let short = id.replace('-', "");
    for (path, field) in [
        (format!("/v1/responses/resp_{short}"), "/delta"),
        (format!("/v1/chat/completions/chatcmpl-{id}"), "/choices/0/delta/content"),
        (format!("/v1/completions/cmpl-{id}"), "/choices/0/text"),
    ] {
        let streamed = get(&app, &format!("{path}?stream=true")).await;
        assert_eq!(joined(&frames(&streamed), field), text, "{path}: all of it");
        assert!(get(&app, &path).await.json().to_string().contains(&json!(text).to_string()));
        let behind = get(&app, &format!("{path}?stream=true&starting_after=2")).await;
        let error = &behind.json()["error"];
        assert_eq!((behind.status, &error["code"]), (400, &json!("cursor_expired")), "{path}");
        assert_eq!(error["param"], "starting_after");
    }
    let stream = format!("/v1/generations/{id}/stream");
    for query in ["", "?offset=-1", "?offset=000000000000000003", "?offset=-1&live=sse"] {
        let gone = get(&app, &format!("{stream}{query}")).await;
        assert_eq!((gone.status, &gone.json()["code"]), (410, &json!("cursor_expired")), "{query}");
    }
    for query in ["?offset=now".to_owned(), format!("?offset={last:018}")] {
        let end = get(&app, &format!("{stream}{query}")).await;
        assert_eq!((end.status, end.header("stream-closed")), (200, Some("true")), "{query}");
        assert_eq!(end.body, b"[]");
    }
    assert_eq!(get(&app, "/api/chat/c/stream").await.status, 204);
    let native = get(&app, &format!("/v1/generations/{id}/events?after=2")).await;
    let snapshot = &frames(&native)[0];
    assert_eq!((&snapshot["reason"], &snapshot["text"]), (&json!("cursor_expired"), &json!(text)));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_client_of_chat_completions_has_ten_seconds_of_grace() {
    let app = TestApp::start().await;
    let body =
        json!({"model": "demo", "messages": [{"role": "user", "content": "/demo tokens=1 tps=0"}]});
    for (head, expected) in [
        ("", "{\"cancel_after_s\":10}"),
        ("Lastword-On-Disconnect: cancel\r\n", "{\"cancel_after_s\":10}"),
        ("Lastword-On-Disconnect: continue\r\n", "\"continue\""),
    ] {
        assert_eq!(post(&app, "/v1/chat/completions", head, &body).await.status, 200);
        let sql =
            "select (request->'on_disconnect')::text from generations order by id desc limit 1";
        let mut database = app.database.connect().await;
        let stored: String = sqlx::query_scalar(sql).fetch_one(&mut database).await.unwrap();
        assert_eq!(
            stored, expected,
            "{head}: src/engine/run/stop_conditions.rs tests how long that is"
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_of_another_protocol_is_not_told_is_named() {
    let app = TestApp::start().await;
    let input = "/demo tokens=1 tps=0";
    let more = json!({
        "model": "demo", "some_new_field": 1, "tools": [{ "type": "web_search" }], "n": 2,
        "messages": [{ "role": "user", "content": input }],
    });
    let done = post(&app, "/v1/chat/completions", "", &more).await;
    assert_eq!(done.status, 200, "{}", done.json());
    let id = done.header("lastword-generation").unwrap().to_owned();
    let events = get(&app, &format!("/v1/generations/{id}/events")).await;
    let said = frames(&events);
    let notice = said.iter().find(|event| event["code"] == "left_out").expect("it is told");
    assert_eq!(notice["message"], "not sent to the model: n, some_new_field, tools.web_search");
    for (field, value, param) in [
        ("tool_choice", json!({ "type": "web_search" }), "tool_choice"),
        ("functions", json!([{ "name": "f" }]), "functions"),
    ] {
        let mut body = more.clone();
        body[field] = value;
        let refused = post(&app, "/v1/chat/completions", "", &body).await;
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!(param)));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_items_are_named_counted_and_compacted() {
    let app = TestApp::start().await;
    let first = json!({ "model": "demo", "input": "/demo tokens=5 tps=0" });
    let first = post(&app, "/v1/responses", "", &first).await.json();
    let item = &first["output"][0];
    let user = json!({ "role": "user", "content": "/demo tokens=1 tps=0" });
    let named = |id: &str| json!({ "type": "item_reference", "id": id });
    let asked = json!({ "model": "demo", "input": [named(item["id"].as_str().unwrap()), user] });
    let second = post(&app, "/v1/responses", "", &asked).await.json();
    let id = second["id"].as_str().unwrap();
    let items = get(&app, &format!("/v1/responses/{id}/input_items?order=asc")).await.json();
    assert_eq!(items["data"][0]["content"][0]["text"], item["content"][0]["text"]);
    let unknown = format!("msg_{}_0", "0".repeat(32));
    for bad in [unknown.as_str(), "x"] {
        let body = json!({ "model": "demo", "input": [named(bad), user] });
        let refused = post(&app, "/v1/responses", "", &body).await;
        let error = &refused.json()["error"];
        assert_eq!((refused.status, &error["param"]), (404, &json!("input[0].id")), "{bad}");
        assert!(error["message"].as_str().unwrap().contains(bad));
    }

    let counted = post(&app, "/v1/responses/input_tokens", "", &asked).await.json();
    assert_eq!(counted["object"], "response.input_tokens");
    assert!(counted["input_tokens"].as_u64().unwrap() > 5, "{counted}");
    let compact = post(&app, "/v1/responses/compact", "", &asked).await.json();
    let output = compact["output"].as_array().unwrap();
    let kinds: Vec<&Value> = output.iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["message", "compaction"]);
    let mut again = output.clone();
    again.push(json!({ "type": "compaction", "encrypted_content": "of another server" }));
    again.push(user);
    let context = json!([{ "type": "compaction", "compact_threshold": 1000 }]);
    let body = json!({ "model": "demo", "input": again, "context_management": context });
    let third = post(&app, "/v1/responses", "", &body).await;
    assert_eq!(third.status, 200, "{}", third.json());
    let third = third.json();
    let id = third["id"].as_str().unwrap();
    let items = get(&app, &format!("/v1/responses/{id}/input_items?order=asc")).await.json();
    assert_eq!(items["data"][1]["content"][0]["text"], item["content"][0]["text"]);
    app.stop().await;
}
