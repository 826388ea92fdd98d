//! Thinking that a client keeps and sends back: ours opens for its tenant and model, a vendor's goes
//! back to that vendor.
mod marks;

use serde_json::{Value, json};

use crate::harness::{TestApp, model_config};
use crate::keys::make_key;
use crate::raw::{Answer as Response, exchange, request};
use crate::upstream::{Answer, Events, Script, Upstream};

const INCLUDE: &str = "reasoning.encrypted_content";

async fn ask(app: &TestApp, key: Option<&str>, body: &Value) -> Response {
    let bearer = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let head = format!("Content-Type: application/json\r\n{bearer}");
    exchange(app.address, &request("POST /v1/responses", &head, body.to_string().as_bytes())).await
}

async fn answered(app: &TestApp, body: &Value) -> Value {
    let answer = ask(app, None, body).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

/// Whether a response's log tells that thinking was not sent.
async fn is_told(app: &TestApp, response: &Value) -> bool {
    let id = response["id"].as_str().unwrap().strip_prefix("resp_").unwrap();
    let id = sqlx::types::Uuid::parse_str(id).unwrap();
    let asked = request(&format!("GET /v1/generations/{id}/events"), "", b"");
    let events = exchange(app.address, &asked).await;
    assert_eq!(events.status, 200);
    String::from_utf8(events.body).unwrap().contains("input.reasoning")
}

/// Thinks and calls; behind the tool's answer it speaks.
fn agent() -> Script {
    Script::with(|request, _| {
        let messages = request.body["messages"].as_array().unwrap();
        if messages.last().unwrap()["role"] == "tool" {
            return Answer::sse().text("done").complete();
        }
        let function = json!({ "name": "f", "arguments": "{}" });
        let call = json!({ "index": 0, "id": "c1", "type": "function", "function": function });
        let thought = Answer::sse().delta(&json!({ "reasoning_content": "Hm, " }));
        let thought = thought.delta(&json!({ "reasoning_content": "wéll" }));
        thought.delta(&json!({ "tool_calls": [call] })).finish("tool_calls").done()
    })
}

fn first(model: &str) -> Value {
    json!({ "model": model, "input": "q", "store": false, "include": [INCLUDE],
        "tools": [{ "type": "function", "name": "f", "parameters": { "type": "object" } }] })
}

/// The next request of a client that keeps the items itself.
fn next(model: &str, sealed: &str) -> Value {
    let mut body = first(model);
    body["input"] = json!([
        { "role": "user", "content": "q" },
        { "type": "reasoning", "summary": [], "encrypted_content": sealed },
        { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c1", "output": "r" },
    ]);
    body
}

fn sealed(response: &Value) -> &str {
    response["output"][0]["encrypted_content"].as_str().expect("sealed thinking")
}

async fn two_models(upstream: &Upstream) -> TestApp {
    let model = |name: &str| {
        let url = upstream.base_url();
        model_config(&format!("name = '{name}'\nprovider = 'openai'\nbase_url = '{url}'"))
    };
    TestApp::with(|config| config.models.extend([model("one"), model("two")])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn thinking_that_was_sealed_here_goes_up_again() {
    let upstream = Upstream::start(agent()).await;
    let app = two_models(&upstream).await;
    let mut plain = first("one");
    plain["include"] = json!([]);
    let plain = answered(&app, &plain).await;
    assert!(plain["output"][0].get("encrypted_content").is_none(), "nobody asked for it");

    let whole = answered(&app, &first("one")).await;
    let thought = sealed(&whole);
    assert!(thought.starts_with("lastword-s1.") && !thought.contains("Hm"), "{thought}");
    let path = format!("GET /v1/responses/{}", whole["id"].as_str().unwrap());
    let again = exchange(app.address, &request(&path, "", b"")).await.json();
    assert_eq!(again["output"], whole["output"], "the same bytes each time");
    let stream = exchange(app.address, &request(&format!("{path}?stream=true"), "", b"")).await;
    let stream = String::from_utf8(stream.body).unwrap();
    assert_eq!(stream.matches(thought).count(), 2, "with its end, and in the response");

    let second = answered(&app, &next("one", thought)).await;
    assert_eq!(second["output"][0]["content"][0]["text"], "done");
    let sent = upstream.requests().pop().unwrap().body;
    let message = &sent["messages"][1];
    assert_eq!(message["reasoning_content"], "Hm, wéll", "{message}");
    assert_eq!(
        (&message["reasoning"], &message["tool_calls"][0]["id"]),
        (&json!("Hm, wéll"), &json!("c1"))
    );
    assert_eq!(sent["messages"].as_array().unwrap().len(), 3);

    // A chain needs no client for that.
    let mut chained = first("one");
    chained["previous_response_id"] = whole["id"].clone();
    chained["input"] = json!([{ "type": "function_call_output", "call_id": "c1", "output": "r" }]);
    answered(&app, &chained).await;
    let sent = upstream.requests().pop().unwrap().body;
    assert_eq!(sent["messages"][1]["reasoning_content"], "Hm, wéll");
    // The person has said something since: models do not want earlier thinking.
    let mut later = next("one", thought);
    later["input"].as_array_mut().unwrap().push(json!({ "role": "user", "content": "more" }));
    answered(&app, &later).await;
    let sent = upstream.requests().pop().unwrap().body;
    assert!(!sent.to_string().contains("wéll"), "{sent}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_sealed_thinking_the_refusal_is_the_same() {
    let upstream = Upstream::start(agent()).await;
    let app = two_models(&upstream).await;
    let stranger = make_key(&app.database, &["--tenant", "stranger"]).await;
    let whole = answered(&app, &first("one")).await;
    let thought = sealed(&whole).to_owned();
    let changed = format!("{}A", &thought[..thought.len() - 1]);
    let changed =
        if changed == thought { format!("{}B", &thought[..thought.len() - 1]) } else { changed };
    let mut refusals = Vec::new();
    for (key, model, content) in [
        (Some(stranger.as_str()), "one", thought.as_str()),
        (None, "two", &thought),
        (None, "one", &changed),
        (None, "one", &thought[..40]),
        (None, "one", "lastword-s1."),
    ] {
        let refused = ask(&app, key, &next(model, content)).await;
        assert_eq!(refused.status, 400, "{}", refused.json());
        refusals.push(refused.json()["error"].clone());
    }
    refusals.dedup();
    let [refusal] = refusals.as_slice() else { panic!("{refusals:#?}") };
    assert_eq!(refusal["code"], "invalid_encrypted_content");
    assert_eq!(refusal["param"], "input[1].encrypted_content");

    // The key is a month old: there is a next one, and the old one still opens.
    let mut connection = app.database.connect().await;
    let age = "update sealing_keys set seals_from = seals_from - interval '31 days'";
    sqlx::query(age).execute(&mut connection).await.unwrap();
    let (database, config, _dir) = app.stop().await;
    let app = TestApp::on(database, config).await;
    assert_eq!(app.database.number("select count(*) from sealing_keys").await, 2);
    answered(&app, &next("one", &thought)).await;
    let newer = answered(&app, &first("one")).await;
    // Ninety days after the next one began to seal, it is gone.
    let age = "update sealing_keys set seals_from = clock_timestamp() - interval '91 days' \
               where number = 2";
    sqlx::query(age).execute(&mut connection).await.unwrap();
    let (database, config, _dir) = app.stop().await;
    let app = TestApp::on(database, config).await;
    for over in [thought.as_str(), sealed(&newer)] {
        let refused = ask(&app, None, &next("one", over)).await;
        assert_eq!((refused.status, &refused.json()["error"]), (400, refusal));
    }
    let newest = answered(&app, &first("one")).await;
    answered(&app, &next("one", sealed(&newest))).await;
    app.stop().await;
}

/// Groq and Mistral refuse fields of a message that they do not know.
#[tokio::test(flavor = "multi_thread")]
async fn thinking_that_is_refused_is_left_out_and_told() {
    let script = Script::with(|request, _| {
        if request.text().contains("reasoning_content") {
            let error =
                "'messages.1' : for 'role:assistant' property 'reasoning_content' is unsupported";
            let error = json!({ "error": { "message": error, "type": "invalid_request_error" } });
            let refused = Answer::status(400).header("content-type", "application/json");
            return refused.raw(error.to_string());
        }
        let thought = Answer::sse().delta(&json!({ "reasoning": "Hm" }));
        thought.text("said").complete()
    });
    let upstream = Upstream::start(script).await;
    let app = two_models(&upstream).await;
    let whole = answered(&app, &first("one")).await;
    let second = answered(&app, &next("one", sealed(&whole))).await;
    assert_eq!(second["output"][1]["content"][0]["text"], "said", "{second:#}");
    assert_eq!(upstream.requests().len(), 3);
    assert!(is_told(&app, &second).await);
    app.stop().await;
}

/// An answer whose thinking its server has encrypted.
fn encrypted() -> Answer {
    let thought = json!({ "type": "reasoning", "summary": [], "encrypted_content": "Z0FB" });
    let begun = json!({ "type": "reasoning", "summary": [] });
    let events = Events::begin("resp_up").item(0, "added", begun).item(0, "done", thought);
    events.says(1, ["Hello"].into_iter()).end("resp_up", "completed", json!({})).all()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_vendor_has_encrypted_goes_back_to_that_vendor_only() {
    let one = Upstream::start(encrypted()).await;
    let other = Upstream::start(encrypted()).await;
    let chat = Upstream::start(Answer::sse().text("Hello").complete()).await;
    let model = |name: &str, upstream: &Upstream, wire: &str| {
        let url = upstream.base_url();
        model_config(&format!(
            "name = '{name}'\nprovider = 'openai'\nbase_url = '{url}'\nwire = '{wire}'"
        ))
    };
    let app = TestApp::with(|config| {
        config.models.push(model("one", &one, "responses"));
        config.models.push(model("other", &other, "responses"));
        config.models.push(model("chat", &chat, "chat"));
    })
    .await;
    let whole = answered(&app, &first("one")).await;
    let thought = &whole["output"][0];
    let content = thought["encrypted_content"].as_str().unwrap();
    assert!(content.starts_with("lastword-v1.") && content.ends_with(".Z0FB"), "{content}");
    let mut again = first("one");
    // Some clients send no ids.
    again["input"] = json!([{ "type": "reasoning", "summary": [], "encrypted_content": content },
        { "role": "user", "content": "more" }]);
    let back = answered(&app, &again).await;
    let sent = one.requests().pop().unwrap().body;
    assert_eq!(sent["input"][0]["encrypted_content"], "Z0FB");
    assert!(!is_told(&app, &back).await);
    for (name, upstream) in [("other", &other), ("chat", &chat)] {
        again["model"] = json!(name);
        let elsewhere = answered(&app, &again).await;
        let sent = upstream.requests().pop().unwrap();
        assert!(!sent.text().contains("Z0FB") && sent.text().contains("more"), "{}", sent.text());
        assert!(is_told(&app, &elsewhere).await, "{name}");
    }
    app.stop().await;
}
