//! An answer that breaks off, in every way, for every policy, seen through the real server.
use futures_util::future::join_all;
use lastword::config::ModelConfig;
use serde_json::{Value, json};

use crate::client::{Client, Received, assert_whole, text};
use crate::harness::{TestApp, model_config};
use crate::process::{Server, command};
use crate::upstream::{Answer, Events, Model, Request, Script, Upstream};

mod away;
mod counted;
mod counted_text;
mod joined;
mod refused;

/// The model's tokens in all, and the number of them after which it breaks off.
const TOKENS: usize = 60;
const BREAK: usize = 20;
/// The bytes that an instructed model repeats.
const REPEATED: usize = 24;

/// How it breaks off.
const LOSSES: [&str; 5] = ["clean end", "cut", "reset", "stall", "error"];
const ON_LOSS: [&str; 3] = ["continue", "restart", "interrupt"];
/// The wire, and how its upstream goes on from a text.
const UPSTREAMS: [(&str, &str); 8] = [
    ("openai", "none"),
    ("openai", "instruct"),
    ("openai", "prefix"),
    ("anthropic", "instruct"),
    ("anthropic", "prefix"),
    ("responses", "none"),
    ("responses", "instruct"),
    ("responses", "prefix"),
];

fn says(wire: &str, text: &str) -> Answer {
    let tokens: Vec<&str> = text.split_inclusive(' ').collect();
    if wire == "responses" {
        return Events::begin("resp_1").says(0, tokens.into_iter()).all();
    }
    if wire == "anthropic" {
        Answer::sse().message_start().says(&tokens)
    } else {
        tokens.into_iter().fold(Answer::sse(), Answer::text)
    }
}

fn ends(wire: &str, answer: Answer) -> Answer {
    if wire == "responses" {
        let ending = Events::default().end("resp_1", "completed", json!({}));
        answer.raw(ending.frames(0, 1))
    } else if wire == "anthropic" {
        answer.stop_reason("end_turn").message_stop()
    } else {
        answer.finish("stop").usage(7, 40).done()
    }
}

fn breaks(answer: Answer, loss: &str) -> Answer {
    match loss {
        "clean end" => answer,
        "cut" => answer.cut(),
        "reset" => answer.reset(),
        "stall" => answer.stall(),
        _ => answer.data(r#"{"type":"error","error":{"type":"api_error","message":"cuda"}}"#),
    }
}

/// The provider that speaks it, for the file.
fn spoken(wire: &str) -> String {
    match wire {
        "responses" => "provider = 'openai'\nwire = 'responses'".into(),
        _ => format!("provider = '{wire}'"),
    }
}

/// The text that the request asks to be continued, and whether it may be repeated.
fn asked_behind(request: &Request) -> (String, bool) {
    let messages = request.body["messages"].as_array().or(request.body["input"].as_array());
    let messages = messages.unwrap();
    let of = |m: &Value, role: &str| {
        let text = || m["content"].as_str().or(m["content"][0]["text"].as_str());
        (m["role"] == role).then(|| text().unwrap().to_owned())
    };
    let last = messages.last().unwrap();
    if let Some(text) = of(last, "assistant") {
        return (text, false);
    }
    let instructed = of(last, "user").is_some_and(|t| t.contains("was interrupted"));
    let before = messages.iter().rev().nth(1).and_then(|m| of(m, "assistant"));
    (before.filter(|_| instructed).unwrap_or_default(), true)
}

/// The whole text of the model, and the rest of it that is requested.
fn rest(request: &Request) -> String {
    let whole = Model::text(TOKENS);
    let (so_far, repeats) = asked_behind(request);
    assert!(whole.starts_with(&so_far), "not the model's words: {so_far}");
    let from = if repeats { so_far.len().saturating_sub(REPEATED) } else { so_far.len() };
    whole[from..].to_owned()
}

fn script(wire: &'static str, loss: &'static str) -> Script {
    Script::with(move |request, number| {
        if number == 0 {
            breaks(says(wire, &Model::text(BREAK)), loss)
        } else {
            ends(wire, says(wire, &rest(request)))
        }
    })
}

struct Cell {
    name: String,
    upstream: Upstream,
    wire: &'static str,
    continuation: &'static str,
    on_loss: &'static str,
    loss: &'static str,
}

impl Cell {
    fn config(&self) -> ModelConfig {
        let base = self.upstream.base_url();
        let base = base.strip_suffix("/v1").filter(|_| self.wire == "anthropic").unwrap_or(&base);
        model_config(&format!(
            "name = '{}'\n{}\nbase_url = '{base}'\ncontinuation = '{}'\n\
             on_loss = '{}'\nidle_bytes_timeout_s = 2",
            self.name,
            spoken(self.wire),
            self.continuation,
            self.on_loss
        ))
    }

    async fn run(&self, client: &Client) {
        let name = &self.name;
        let id = client.start(&json!({ "model": name, "prompt": "go" })).await;
        let events = client.all(&id, 0).await;
        assert_whole(&events);
        let view = client.view(&id).await;
        assert_eq!(view["text"], json!(text(&events)), "{name}");
        let done = events.last().unwrap().json();
        assert_eq!(done["usage"]["exact"], false, "{name}: the lost attempt was not counted");
        assert!(done["usage"]["input_tokens"].as_u64() > Some(0), "{name}: {done}");
        let output = done["usage"]["output_tokens"].as_u64().unwrap();
        if self.on_loss == "interrupt" {
            self.interrupted(&events, &done);
            // A reset may overtake earlier bytes.
            let said = output * 4 >= text(&events).len() as u64;
            assert!(said, "{name}: an estimate of what was said: {done}");
            return;
        }
        assert_eq!(text(&events), Model::text(TOKENS), "{name}: {events:#?}");
        assert_eq!(
            (&done["status"], &view["attempts"]),
            (&json!("completed"), &json!(2)),
            "{name}"
        );
        assert!(output >= if self.wire == "anthropic" { 7 } else { 40 }, "{name}: {done}");
        assert_eq!(self.upstream.requests().len(), 2, "{name}");
        let continues = self.on_loss == "continue" && self.continuation != "none";
        // A reset may overtake all earlier bytes: then there is no text to go on from.
        let unheard = events.iter().any(|e| e.json()["code"] == "retrying");
        if self.loss == "reset" && unheard {
            return;
        }
        let (one, other) =
            if continues { ("resumed", "superseded") } else { ("superseded", "resumed") };
        let told = |kind: &str| events.iter().filter(|e| e.name == kind).count();
        assert_eq!((told(one), told(other)), (1, 0), "{name}: {events:#?}");
        let boundary = events.iter().find(|e| e.name == one).unwrap().json();
        assert_eq!(boundary["reason"], "upstream", "{name}");
        if continues {
            assert_eq!(boundary["attempt"], 2, "{name}");
        } else {
            assert_eq!(boundary["after"], 1, "{name}");
        }
    }

    fn interrupted(&self, events: &[Received], done: &Value) {
        let name = &self.name;
        let (status, code) = match self.loss {
            "stall" => ("interrupted", "upstream_stalled"),
            "error" => ("failed", "upstream_unavailable"),
            _ => ("interrupted", "upstream_truncated"),
        };
        if !(self.loss == "reset" && text(events).is_empty()) {
            assert_eq!(
                (&done["status"], &done["error"]["code"]),
                (&json!(status), &json!(code)),
                "{name}"
            );
            assert_eq!(self.upstream.requests().len(), 1, "{name}");
        }
        let said = text(events);
        assert!(Model::text(BREAK).starts_with(&said), "{name}: {said}");
        assert!(self.loss == "reset" || said == Model::text(BREAK), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_policy_for_every_loss() {
    let mut cells = Vec::new();
    for (wire, continuation) in UPSTREAMS {
        for on_loss in ON_LOSS {
            for loss in LOSSES {
                let upstream = Upstream::start(script(wire, loss)).await;
                let name = format!("{wire}, {continuation}, {on_loss}, {loss}");
                cells.push(Cell { name, upstream, wire, continuation, on_loss, loss });
            }
        }
    }
    let app = TestApp::with(|c| c.models = cells.iter().map(Cell::config).collect()).await;
    // More at once would be too many generations.
    for some in cells.chunks(60) {
        join_all(some.iter().map(|cell| cell.run(&app.client))).await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_exact_where_it_was_reported_and_only_there() {
    let silent = Upstream::start(Answer::sse().text("12345678").finish("stop").done()).await;
    let zeros =
        Upstream::start(Answer::sse().text("12345678").finish("stop").usage(0, 0).done()).await;
    let openai = Upstream::start(ends("openai", says("openai", "a b "))).await;
    let messages = Upstream::start(ends("anthropic", says("anthropic", "a b "))).await;
    let stalls = Upstream::start(Answer::sse().message_start().says(&["12345678"]).stall()).await;
    let of = |name: &str, provider: &str, upstream: &Upstream| {
        let base = upstream.base_url();
        model_config(&format!("name = '{name}'\nprovider = '{provider}'\nbase_url = '{base}'"))
    };
    let app = TestApp::with(|c| {
        c.models = vec![
            of("silent", "openai", &silent),
            of("zeros", "openai", &zeros),
            of("openai", "openai", &openai),
            of("messages", "anthropic", &messages),
            of("stalls", "anthropic", &stalls),
        ];
    })
    .await;
    let usage = async |name: &str| {
        let id = app.client.start(&json!({ "model": name, "prompt": "1234" })).await;
        let mut reader = app.client.events(&id, 0).await;
        if name == "stalls" {
            while reader.next().await.unwrap().name != "delta" {}
            app.client.cancel(&id).await;
        }
        reader.rest().await.last().unwrap().json()["usage"].clone()
    };
    let counts = |usage: &Value| (usage["output_tokens"].clone(), usage["exact"].clone());
    for name in ["silent", "zeros"] {
        let usage = usage(name).await;
        assert_eq!(counts(&usage), (json!(2), json!(false)), "{name}: estimated, and marked so");
        assert!(usage["input_tokens"].as_u64() > Some(0));
    }
    let exact = json!({ "input_tokens": 7, "output_tokens": 40, "exact": true });
    assert_eq!(usage("openai").await, exact);
    let exact = json!({
        "input_tokens": 115, "output_tokens": 7, "cached_input_tokens": 100,
        "cache_write_input_tokens": 5, "exact": true,
    });
    assert_eq!(usage("messages").await, exact);
    let cancelled = usage("stalls").await;
    assert_eq!(counts(&cancelled), (json!(2), json!(false)), "the first count is not the last");
    assert_eq!(cancelled["input_tokens"], 115, "what was reported of a cancelled run counts");
    app.stop().await;
}

/// A model, its fallback, and the events of a request.
async fn with_fallback(first: Script, settings: &str, continuation: &str) -> Vec<Received> {
    let first = Upstream::start(first).await;
    let second =
        Upstream::start(Script::with(|request, _| ends("openai", says("openai", &rest(request)))))
            .await;
    let app = TestApp::with(|c| {
        let (one, two) = (first.base_url(), second.base_url());
        c.models = vec![
            model_config(&format!(
                "name = 'one'\nprovider = 'openai'\nbase_url = '{one}'\nfallback = 'two'\n{settings}"
            )),
            model_config(&format!(
                "name = 'two'\nprovider = 'openai'\nbase_url = '{two}'\n\
                 continuation = '{continuation}'"
            )),
        ];
    })
    .await;
    let id = app.client.start(&json!({ "model": "one", "prompt": "go" })).await;
    let events = app.client.all(&id, 0).await;
    assert_whole(&events);
    app.stop().await;
    events
}

fn names(events: &[Received]) -> Vec<String> {
    let told = events.iter().filter(|e| e.name != "delta");
    told.map(|e| match e.json()["code"].as_str() {
        Some(code) => format!("notice {code}"),
        None => e.name.clone(),
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_answers_when_the_attempts_are_spent() {
    let busy = || Script::from(Answer::status(503).raw("busy"));
    let events = with_fallback(busy(), "max_attempts = 2", "prefix").await;
    let expected = ["started", "notice retrying", "notice fallback", "done"];
    assert_eq!(names(&events), expected);
    assert_eq!(text(&events), Model::text(TOKENS));
    let message =
        events.iter().filter(|e| e.name == "notice").nth(1).unwrap().json()["message"].clone();
    assert!(
        message.as_str().unwrap().starts_with("`one` is given up, `two` goes on: "),
        "{message}"
    );

    let rejects = Script::from(Answer::status(404).raw("no such model"));
    let events = with_fallback(rejects, "", "prefix").await;
    assert_eq!(names(&events), ["started", "notice fallback", "done"], "at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_goes_on_where_the_first_broke_off() {
    let cut = || Script::from(breaks(says("openai", &Model::text(BREAK)), "cut"));
    for (continuation, boundary) in
        [("prefix", "resumed"), ("instruct", "resumed"), ("none", "superseded")]
    {
        let events = with_fallback(cut(), "max_attempts = 1", continuation).await;
        assert_eq!(names(&events), ["started", "notice fallback", boundary, "done"]);
        assert_eq!(text(&events), Model::text(TOKENS), "{continuation}");
        assert_eq!(events.last().unwrap().json()["status"], "completed");
    }
    let events = with_fallback(cut(), "max_attempts = 1\non_loss = 'interrupt'", "prefix").await;
    assert_eq!(names(&events), ["started", "done"], "it is to stay as it is");
    assert_eq!(events.last().unwrap().json()["status"], "interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_ours_is_continued_by_the_same_means() {
    for (wire, continuation) in UPSTREAMS {
        let upstream = Upstream::start(script(wire, "stall")).await;
        let dir = tempfile::TempDir::new().unwrap();
        let base = upstream.base_url();
        let base = base.strip_suffix("/v1").filter(|_| wire == "anthropic").unwrap_or(&base);
        let file = dir.path().join("lastword.toml");
        let model = format!(
            "[[models]]\nname = 'm'\n{}\nbase_url = '{base}'\ncontinuation = '{continuation}'",
            spoken(wire)
        );
        std::fs::write(&file, model).unwrap();
        let start = || {
            let mut command = command(dir.path());
            command.arg("--config").arg(&file);
            Server::start(command)
        };
        let server = start().await;
        let id = server.client.start_prompt("go").await;
        let mut reader = server.client.events(&id, 0).await;
        let mut seen = Vec::new();
        while text(&seen) != Model::text(BREAK) {
            seen.push(reader.next().await.expect("it goes on"));
        }
        server.kill().await;
        let server = start().await;
        seen.extend(server.client.all(&id, seen.len() as u64).await);
        assert_whole(&seen);
        let boundary = if continuation == "none" { "superseded" } else { "resumed" };
        assert_eq!(names(&seen), ["started", boundary, "done"], "{wire} {continuation}");
        assert_eq!(text(&seen), Model::text(TOKENS), "{wire} {continuation}");
        let told = seen.iter().find(|e| e.name == boundary).unwrap().json();
        assert_eq!(told["reason"], "takeover");
        assert!(server.terminate().await.success());
    }
}
