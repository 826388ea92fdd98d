//! Anthropic's Messages over HTTP: the requests to each kind of model, the answers, and the
//! refusals. Its clients, as they are published, are in sdk.rs.
mod refusals;
mod up;

use serde_json::{Value, json};

use crate::harness::{TestApp, model, model_config};
use crate::raw::{Answer as Bytes, RawStream, exchange, request};
use crate::upstream::{Answer, Gate, Upstream};

const VERSION: &str = "anthropic-version: 2023-06-01\r\n";

async fn get(app: &TestApp, path: &str) -> Bytes {
    exchange(app.address, &request(&format!("GET {path}"), VERSION, b"")).await
}

async fn post(app: &TestApp, path: &str, body: &Value) -> Bytes {
    exchange(app.address, &posting(path, "", body)).await
}

fn posting(path: &str, head: &str, body: &Value) -> Vec<u8> {
    let head = format!("Content-Type: application/json\r\n{VERSION}{head}");
    request(&format!("POST {path}"), &head, body.to_string().as_bytes())
}

/// A request of one user's text.
fn asking(model: &str, text: &str) -> Value {
    json!({ "model": model, "max_tokens": 100, "messages": [{ "role": "user", "content": text }] })
}

/// The objects of a stream's `data` lines.
fn frames(answer: &Bytes) -> Vec<Value> {
    let text = std::str::from_utf8(&answer.body).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// A model that speaks Anthropic's API, beside the one that speaks OpenAI's.
fn claude(upstream: &Upstream) -> lastword::config::ModelConfig {
    let base = upstream.base_url();
    let base = base.trim_end_matches("/v1");
    model_config(&format!(
        "name = 'claude'\nprovider = 'anthropic'\nbase_url = '{base}'\n\
         upstream_model = 'claude-up'\nmax_attempts = 1"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_streamed_read_again_and_gone_on_with() {
    let app = TestApp::start().await;
    let mut body = asking("demo", "/demo tokens=12 tps=0 reasoning tool_call unicode seed=5");
    body["stream"] = true.into();
    let streamed = post(&app, "/v1/messages?beta=true", &body).await;
    assert_eq!(streamed.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert!(streamed.header("request-id").unwrap().starts_with("req_"));
    let all = std::str::from_utf8(&streamed.body).unwrap().to_owned();
    let kinds: Vec<String> =
        frames(&streamed).iter().map(|f| f["type"].as_str().unwrap().to_owned()).collect();
    let names: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, kinds, "each event has its name");
    assert_eq!(
        (kinds[0].as_str(), kinds.last().unwrap().as_str()),
        ("message_start", "message_stop")
    );
    let id = frames(&streamed)[0]["message"]["id"].as_str().unwrap().to_owned();
    let pieces: Vec<&str> = all.split_inclusive("\n\n").collect();
    for after in [0, 3, pieces.len() - 1] {
        let rest =
            get(&app, &format!("/v1/messages/{id}?stream=true&starting_after={after}")).await;
        assert_eq!(std::str::from_utf8(&rest.body).unwrap(), pieces[after + 1..].concat());
    }
    let mut whole = get(&app, &format!("/v1/messages/{id}")).await.json();
    assert_eq!(whole["status"], "completed");
    whole.as_object_mut().unwrap().remove("status");
    let kinds: Vec<&str> =
        whole["content"].as_array().unwrap().iter().map(|b| b["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["thinking", "text", "tool_use"]);
    assert_eq!(whole["stop_reason"], "tool_use");
    body.as_object_mut().unwrap().remove("stream");
    let waited = post(&app, "/v1/messages", &body).await;
    let mut again = waited.json();
    assert_eq!(waited.status, 200, "{again}");
    assert!(waited.header("lastword-generation").is_some());
    again["id"] = whole["id"].clone();
    // The call's own id is made of the message's.
    again["content"][2]["id"] = whole["content"][2]["id"].clone();
    assert_eq!(again, whole);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_an_error_and_the_rest_is_behind_it() {
    let gate = Gate::default();
    let lost = Answer::sse().text("Once").wait(&gate).cut();
    let whole = Answer::sse().text("Hello").complete();
    let upstream = Upstream::start(vec![lost, whole]).await;
    let restarts = model_config(&format!(
        "name = 'scripted'\nprovider = 'openai'\nbase_url = '{}'\nmax_attempts = 2\non_loss = 'restart'",
        upstream.base_url()
    ));
    let app = TestApp::with(|config| config.models = vec![restarts]).await;
    let mut body = asking("scripted", "hi");
    body["stream"] = true.into();
    let mut stream = RawStream::of(app.address, &posting("/v1/messages", "", &body)).await;
    stream.until("Once", 1).await;
    gate.open();
    stream.end().await;
    let seen = frames(&stream.answer());
    let error = &seen.last().unwrap()["error"];
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("overloaded_error"), &json!("superseded"))
    );
    let path = error["message"].as_str().unwrap().split("GET ").nth(1).unwrap().to_owned();
    let rest = frames(&get(&app, &path).await);
    assert_eq!(rest[0]["type"], "message_start");
    assert!(rest.iter().any(|frame| frame["delta"]["text"] == "Hello"));
    assert_eq!(rest.last().unwrap()["type"], "message_stop");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_tokens_and_the_first_question() {
    let app = TestApp::start().await;
    let list = get(&app, "/v1/models?limit=1").await;
    assert!(list.header("request-id").is_some());
    let list = list.json();
    assert_eq!((&list["has_more"], &list["first_id"]), (&json!(false), &json!("demo")));
    assert_eq!(
        (&list["data"][0]["type"], &list["data"][0]["id"]),
        (&json!("model"), &json!("demo"))
    );
    assert_eq!(get(&app, "/v1/models/demo").await.json(), list["data"][0]);
    let unknown = get(&app, "/v1/models/dem").await;
    assert_eq!(
        (unknown.status, &unknown.json()["error"]["type"]),
        (404, &json!("not_found_error"))
    );
    let openais = exchange(app.address, &request("GET /v1/models", "", b"")).await.json();
    assert_eq!(openais["object"], "list", "others get theirs");

    let head = exchange(app.address, &request("HEAD /", "", b"")).await;
    assert_eq!(head.status, 200);

    let count = async |body: &Value| {
        let answer = post(&app, "/v1/messages/count_tokens", body).await.json();
        answer["input_tokens"].as_u64().unwrap_or_else(|| panic!("{answer}"))
    };
    let mut body = asking("demo", &"word ".repeat(400));
    body.as_object_mut().unwrap().remove("max_tokens");
    let plain = count(&body).await;
    assert_eq!(plain, 500);
    body["system"] = "x".repeat(40).into();
    assert_eq!(count(&body).await, plain + 10);
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    body["tools"] = json!([{ "name": "f", "input_schema": schema }]);
    assert!(count(&body).await > plain + 20);
    assert_eq!(app.database.number("select count(*) from generations").await, 0);
    app.stop().await;
}

/// The answer of a generation in one protocol: text, thinking, calls, ending.
type Told = (String, String, Vec<(String, String)>, bool);

fn of_messages(frames: &[Value]) -> Told {
    let mut told = Told::default();
    for frame in frames {
        let (block, delta) = (&frame["content_block"], &frame["delta"]);
        if block["type"] == "tool_use" {
            told.2.push((block["name"].as_str().unwrap().into(), String::new()));
        }
        told.0.push_str(delta["text"].as_str().unwrap_or_default());
        told.1.push_str(delta["thinking"].as_str().unwrap_or_default());
        if let Some(json) = delta["partial_json"].as_str() {
            told.2.last_mut().unwrap().1.push_str(json);
        }
        told.3 |= frame["type"] == "message_stop";
    }
    told
}

fn of_chat(frames: &[Value]) -> Told {
    let mut told = Told::default();
    for choice in frames.iter().map(|frame| &frame["choices"][0]) {
        let delta = &choice["delta"];
        told.0.push_str(delta["content"].as_str().unwrap_or_default());
        told.1.push_str(delta["reasoning_content"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            if let Some(name) = call["function"]["name"].as_str() {
                told.2.push((name.into(), String::new()));
            }
            let json = call["function"]["arguments"].as_str().unwrap();
            told.2.last_mut().unwrap().1.push_str(json);
        }
        told.3 |= choice["finish_reason"] == "tool_calls";
    }
    told
}

fn of_responses(frames: &[Value]) -> Told {
    let mut told = Told::default();
    for frame in frames {
        let delta = frame["delta"].as_str().unwrap_or_default();
        match frame["type"].as_str().unwrap() {
            "response.output_text.delta" => told.0.push_str(delta),
            "response.reasoning_summary_text.delta" => told.1.push_str(delta),
            "response.output_item.added" if frame["item"]["type"] == "function_call" => {
                told.2.push((frame["item"]["name"].as_str().unwrap().into(), String::new()));
            }
            "response.function_call_arguments.delta" => {
                told.2.last_mut().unwrap().1.push_str(delta);
            }
            "response.completed" => told.3 = true,
            _ => {}
        }
    }
    told
}

fn of_native(frames: &[Value]) -> Told {
    let mut told = Told::default();
    for frame in frames {
        let text = frame["text"].as_str().unwrap_or_default();
        match frame["type"].as_str().unwrap() {
            "delta" => told.0.push_str(text),
            "reasoning" => told.1.push_str(text),
            "tool_call" => {
                if let Some(name) = frame["name"].as_str() {
                    told.2.push((name.into(), String::new()));
                }
                let json = frame["arguments"].as_str().unwrap();
                told.2.last_mut().unwrap().1.push_str(json);
            }
            "done" => told.3 = frame["status"] == "completed",
            _ => {}
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn one_log_whoever_started_it_and_whoever_reads_it() {
    let app = TestApp::start().await;
    let text = "/demo tokens=9 tps=0 reasoning tool_call seed=6";
    let messages = json!([{ "role": "user", "content": text }]);
    let part = json!([{ "type": "text", "text": text }]);
    let starts = [
        ("/v1/messages", asking("demo", text)),
        ("/v1/chat/completions", json!({ "model": "demo", "messages": messages })),
        ("/v1/responses", json!({ "model": "demo", "input": text })),
        ("/v1/generations", json!({ "model": "demo", "prompt": text })),
        (
            "/api/chat",
            json!({ "id": "c", "messages": [{ "id": "m", "role": "user", "parts": part }] }),
        ),
    ];
    let mut all: Vec<Told> = Vec::new();
    for (path, body) in starts {
        let started = post(&app, path, &body).await;
        assert!(matches!(started.status, 200 | 201), "{path}: {}", started.status);
        let id = started.header("lastword-generation").unwrap().to_owned();
        // Read to its end by a client that did not wait for it.
        let native = get(&app, &format!("/v1/generations/{id}/events")).await;
        let short = id.replace('-', "");
        let read = async |path: String| frames(&get(&app, &path).await);
        let told = [
            of_native(&frames(&native)),
            of_messages(&read(format!("/v1/messages/msg_{short}?stream=true")).await),
            of_responses(&without_done(
                &get(&app, &format!("/v1/responses/resp_{short}?stream=true")).await,
            )),
            of_chat(&without_done(
                &get(&app, &format!("/v1/chat/completions/chatcmpl-{id}?stream=true")).await,
            )),
        ];
        for one in &told {
            assert_eq!(one, &told[0], "started by {path}");
        }
        all.extend(told);
    }
    let first = &all[0];
    assert!(
        !first.0.is_empty() && !first.1.is_empty() && first.2.len() == 1 && first.3,
        "{first:?}"
    );
    assert!(all.iter().all(|told| told == first));
    app.stop().await;
}

fn without_done(answer: &Bytes) -> Vec<Value> {
    let text = std::str::from_utf8(&answer.body).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}
