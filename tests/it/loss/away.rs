//! A model's server that is away for a while, or does not go on from a text.
use super::*;

/// The answer in words, cut after the second.
fn cut() -> Answer {
    Answer::sse().text("One ").text("two ").cut()
}

fn whole(text: &str) -> Answer {
    Answer::sse().text(text).complete()
}

fn prefix(upstream: &Upstream, more: &str) -> ModelConfig {
    let base_url = upstream.base_url();
    model_config(&format!(
        "name = 'scripted'\nprovider = 'openai'\nbase_url = '{base_url}'\n\
         continuation = 'prefix'\n{more}"
    ))
}

async fn app(script: impl Into<Script>, more: &str) -> (TestApp, Upstream) {
    let upstream = Upstream::start(script).await;
    let model = prefix(&upstream, more);
    (TestApp::with(|config| config.models.push(model)).await, upstream)
}

fn kinds(events: &[Received]) -> Vec<String> {
    let word = |event: &Received, name: &str| event.json()[name].as_str().map(str::to_owned);
    let kind = |event: &Received| word(event, "code").or_else(|| word(event, "type")).unwrap();
    events.iter().map(kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_again_is_waited_for_by_time() {
    // llama.cpp while it loads its model.
    let loading = || {
        let body = r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#;
        Answer::status(503).raw(body)
    };
    let script = vec![cut(), loading(), loading(), loading(), whole(" two three")];
    let (app, _upstream) = app(script, "max_attempts = 2").await;
    let client = Client::new(app.address);
    let id = client.start(&json!({ "model": "scripted", "prompt": "count" })).await;
    let events = client.all(&id, 0).await;
    assert_whole(&events);
    assert_eq!(text(&events), "One two three");
    let expected = ["started", "delta", "delta", "resumed", "waiting", "delta", "done"];
    assert_eq!(kinds(&events), expected);
    assert_eq!(events.last().unwrap().json()["status"], "completed");
    app.stop().await;
}

/// llama.cpp, killed while it reads the prompts, and while it loads its model again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_again_is_waited_for_before_the_first_text_too() {
    let loading = || {
        let body = r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#;
        Answer::status(503).raw(body)
    };
    let killed = Answer::sse().cut();
    // More often than there are attempts.
    let script =
        vec![killed, loading(), loading(), loading(), whole("One"), loading(), whole("Two")];
    let (app, upstream) = app(script, "max_attempts = 2").await;
    let client = Client::new(app.address);
    let ask = async || {
        let id = client.start(&json!({ "model": "scripted", "prompt": "count" })).await;
        client.all(&id, 0).await
    };
    let events = ask().await;
    assert_eq!(kinds(&events), ["started", "retrying", "waiting", "delta", "done"]);
    assert_eq!(text(&events), "One");
    // The next prompt meets the restart itself: the server was there a moment ago.
    let events = ask().await;
    assert_eq!(kinds(&events), ["started", "waiting", "delta", "done"]);
    assert_eq!(events.last().unwrap().json()["status"], "completed");
    assert_eq!(upstream.requests().len(), 7);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_never_there_is_told_soon() {
    let (app, upstream) = app(Answer::status(503), "max_attempts = 2").await;
    let id = app.client.start(&json!({ "model": "scripted", "prompt": "count" })).await;
    let events = app.client.all(&id, 0).await;
    assert_eq!(kinds(&events), ["started", "retrying", "done"]);
    assert_eq!(upstream.requests().len(), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_server_stays_away_is_interrupted_with_its_text() {
    let script = vec![cut(), Answer::status(503)];
    let (app, _upstream) = app(script, "reconnect_for_s = 0").await;
    let client = Client::new(app.address);
    let id = client.start(&json!({ "model": "scripted", "prompt": "count" })).await;
    let events = client.all(&id, 0).await;
    let done = events.last().unwrap().json();
    assert_eq!((&done["status"], text(&events).as_str()), (&json!("interrupted"), "One two "));
    assert_eq!(done["error"]["code"], "upstream_unavailable");
    app.stop().await;
}

/// transformers serve 5.24 answers so to vLLM's fields.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_to_go_on_begins_anew_and_is_remembered() {
    let refusal = Answer::status(422)
        .raw(r#"{"detail":"Unexpected fields in the request: {'continue_final_message'}"}"#);
    let script = vec![cut(), refusal, whole("One two three"), cut(), whole("Four")];
    let (app, upstream) = app(script, "max_attempts = 2").await;
    let client = Client::new(app.address);
    let all = async || {
        let id = client.start(&json!({ "model": "scripted", "prompt": "count" })).await;
        client.all(&id, 0).await
    };
    let events = all().await;
    let begun = ["started", "delta", "delta", "resumed", "cannot_continue", "superseded"];
    assert_eq!(kinds(&events)[..6], begun);
    assert_eq!(
        (text(&events).as_str(), &events.last().unwrap().json()["status"]),
        ("One two three", &json!("completed"))
    );
    let models: Value = client.get("/v1/models").await.json().await.unwrap();
    let model = models["data"].as_array().unwrap().iter().find(|m| m["id"] == "scripted").unwrap();
    assert_eq!(model["continuation"], "none");
    let events = all().await;
    assert_eq!(kinds(&events), ["started", "delta", "delta", "superseded", "delta", "done"]);
    assert_eq!(upstream.requests().len(), 5);
    app.stop().await;
}

/// llama.cpp, vLLM and transformers say `length` at the end of the window, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_window_is_told_from_the_limit_of_the_answer() {
    for (more, asked, reason) in [
        ("context_tokens = 20", json!({}), "context_window"),
        ("context_tokens = 20", json!({ "max_output_tokens": 13 }), "length"),
        ("context_tokens = 40", json!({}), "length"),
        ("", json!({}), "length"),
    ] {
        let answer = Answer::sse().text("One").finish("length").usage(7, 13).done();
        let (app, _upstream) = app(answer, more).await;
        let mut body = json!({ "model": "scripted", "prompt": "go" });
        body.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
        let id = app.client.start(&body).await;
        let events = app.client.all(&id, 0).await;
        let done = events.last().unwrap().json();
        assert_eq!(
            (&done["status"], &done["finish_reason"]),
            (&json!("incomplete"), &json!(reason))
        );
        app.stop().await;
    }
}

/// vLLM 0.32 begins its grammar anew in a continuation: two beginnings of one object. Its other
/// names for a grammar, and those of SGLang and llama.cpp, go up as the client wrote them.
#[tokio::test(flavor = "multi_thread")]
async fn structured_output_is_said_anew() {
    let every_other = |_: &Request, n: usize| if n.is_multiple_of(2) { cut() } else { whole("{}") };
    let (plain, set) = (
        Upstream::start(Script::with(every_other)).await,
        Upstream::start(Script::with(every_other)).await,
    );
    let models = [
        prefix(&plain, "max_attempts = 2"),
        ModelConfig {
            name: "set".into(),
            ..prefix(&set, "max_attempts = 2\nset = { guided_json = {} }")
        },
    ];
    let app = TestApp::with(|config| config.models.extend(models)).await;
    for (model, name, format) in [
        ("scripted", "response_format", json!({ "type": "json_object" })),
        ("scripted", "structured_outputs", json!({ "regex": "\\{\\}" })),
        ("scripted", "grammar", json!("root ::= \"{}\"")),
        ("set", "temperature", json!(0)),
    ] {
        let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] });
        body[name] = format;
        let answer: Value =
            app.client.post("/v1/chat/completions", &body).await.json().await.unwrap();
        assert_eq!(answer["choices"][0]["message"]["content"], "{}", "{name}");
    }
    let requests = [plain.requests(), set.requests()].concat();
    assert_eq!(requests.len(), 8);
    assert!(requests.iter().all(|request| request.so_far().is_empty()), "none is continued");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_continuation_gets_what_is_left_of_the_limit() {
    let (app, upstream) = app(vec![cut(), whole(" two three")], "max_attempts = 2").await;
    let client = Client::new(app.address);
    let body = json!({ "model": "scripted", "prompt": "count", "max_output_tokens": 12 });
    let id = client.start(&body).await;
    let events = client.all(&id, 0).await;
    assert_eq!(text(&events), "One two three");
    let limits =
        upstream.requests().iter().map(|r| r.body["max_tokens"].clone()).collect::<Vec<_>>();
    // Of 12 tokens 10 are left; the two of "two " are repeated.
    assert_eq!(limits, [json!(12), json!(12)]);
    app.stop().await;
}
