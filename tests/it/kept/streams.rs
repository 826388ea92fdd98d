//! llama.cpp's own streams, as `llama-server` 11434 has them. A request with `X-Conversation-Id`
//! goes on when its client is gone. `GET /v1/stream?conv_id=NAME&from=0` gives its very bytes, live
//! and for 300 s after its end. An unknown name is 404, and a place ahead of the stream is 200 and
//! empty. Only `DELETE` stops it (204).
use std::sync::{Arc, Mutex};

use super::*;
use crate::upstream::Request;

fn chunk(delta: Value) -> String {
    format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": delta }] }))
}

/// Thoughts, a text and a call in tokens, as its frames.
fn frames() -> Vec<String> {
    let call = |id: Value, name: Value, arguments: &str| {
        let function = json!({ "name": name, "arguments": arguments });
        chunk(json!({ "tool_calls": [{ "index": 0, "id": id, "function": function }] }))
    };
    let mut frames = vec![chunk(json!({ "role": "assistant", "content": null }))];
    frames.extend(["I", " thi", "nk"].map(|t| chunk(json!({ "reasoning_content": t }))));
    frames.extend(["It", " is", " 🦀", "."].map(|t| chunk(json!({ "content": t }))));
    frames.push(call(json!("c1"), json!("f"), "{\"x\""));
    frames.push(call(Value::Null, Value::Null, ":1}"));
    let finish = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] });
    frames.push(format!("data: {finish}\n\n"));
    let usage = json!({ "prompt_tokens": 7, "completion_tokens": 10 });
    frames.push(format!("data: {}\n\ndata: [DONE]\n\n", json!({ "choices": [], "usage": usage })));
    frames
}

/// A server with one stream at a time.
#[derive(Clone)]
struct Streams {
    frames: Vec<String>,
    /// `new`, `again`, `behind TEXT` and `stop`, with whether the name was the first request's.
    log: Arc<Mutex<Vec<String>>>,
    name: Arc<Mutex<Option<String>>>,
    /// How the nth stream ends, behind so many frames.
    breaks: Vec<(usize, Break)>,
    /// The answer in place of a stream that goes on.
    lost: Option<Answer>,
}

impl Streams {
    fn new(frames: Vec<String>, breaks: &[(usize, Break)]) -> Self {
        let breaks = breaks.to_vec();
        Self { frames, log: Arc::default(), name: Arc::default(), breaks, lost: None }
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    async fn start(&self) -> Upstream {
        let streams = self.clone();
        Upstream::start(Script::with(move |request, _| streams.answer(request))).await
    }

    fn answer(&self, request: &Request) -> Answer {
        let known = self.name.lock().unwrap().clone();
        let asks = |line: &str| {
            known.as_ref().is_some_and(|name| request.line.contains(&format!("{line}{name}")))
        };
        let mut log = self.log.lock().unwrap();
        let nth = log.len();
        if asks("DELETE /v1/stream?conv_id=") {
            log.push("stop".into());
            return Answer::status(204);
        }
        if request.line.starts_with("GET ") {
            assert!(
                asks("GET /v1/stream?conv_id=") && request.line.contains("from=0"),
                "{}",
                request.line
            );
            log.push("again".into());
            if let Some(lost) = &self.lost {
                return lost.clone();
            }
        } else if let Some(name) = request.header("x-conversation-id") {
            assert!(name.len() > 30, "nobody guesses {name}");
            *self.name.lock().unwrap() = Some(name.to_owned());
            log.push("new".into());
        } else {
            log.push(format!("behind {}", request.so_far()));
            return Answer::sse().text(" is").text(" 🦀").text(".").complete();
        }
        match self.breaks.get(nth) {
            Some((at, breaks)) => breaks(Answer::sse().raw(self.frames[..*at].concat())),
            None => Answer::sse().raw(self.frames.concat()),
        }
    }
}

fn model(name: &str, upstream: &Upstream, more: &str) -> String {
    format!(
        "name = '{name}'\nprovider = 'openai'\nbase_url = '{}'\n\
         continuation = 'provider_resume'\n{more}",
        upstream.base_url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_anywhere_is_heard_to_its_end() {
    let mut all = Vec::new();
    for at in 0..frames().len() {
        for loss in [CUT, CLEAN] {
            let streams = Streams::new(frames(), &[(at, loss), (at / 2, CUT)]);
            let upstream = streams.start().await;
            all.push((format!("{at}, {}", all.len()), streams, upstream));
        }
    }
    let app = TestApp::with(|config| {
        config.models = all
            .iter()
            .map(|(name, _, upstream)| model_config(&model(name, upstream, "")))
            .collect();
    })
    .await;
    join_all(all.iter().map(async |(name, streams, _)| {
        let id = app.client.start(&json!({ "model": name, "prompt": "go" })).await;
        let events = app.client.all(&id, 0).await;
        assert_whole(&events);
        let view = app.client.view(&id).await;
        assert_eq!(
            (&view["reasoning"], &view["text"]),
            (&json!("I think"), &json!("It is 🦀.")),
            "{name}"
        );
        let calls = json!([{ "id": "c1", "name": "f", "arguments": "{\"x\":1}" }]);
        assert_eq!(view["tool_calls"], calls, "{name}: {events:#?}");
        let usage = json!({ "input_tokens": 7, "output_tokens": 10, "exact": true });
        // Behind the finish reason an answer is whole, with or without its usage.
        let (at, _) = streams.breaks[0];
        if at + 1 != streams.frames.len() {
            assert_eq!(view["usage"], usage, "{name}");
            assert_eq!(streams.log(), ["new", "again", "again"], "{name}");
        }
        assert!(!names(&events).contains(&"superseded".into()), "{name}: {events:#?}");
    }))
    .await;
    app.stop().await;
}

/// The server keeps nothing any more: the text goes on as with `prefix`.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_continued_behind_the_text() {
    let text_only = || {
        let mut frames: Vec<String> = ["It", " is"].map(|t| chunk(json!({ "content": t }))).into();
        frames.push("data: [DONE]\n\n".into());
        frames
    };
    for (name, lost) in [
        ("404", Answer::status(404).raw(r#"{"error":{"message":"File Not Found","code":404}}"#)),
        (
            "offset lost",
            Answer::status(400)
                .raw(r#"{"error":{"message":"Stream offset lost, please restart"}}"#),
        ),
        ("empty", Answer::sse()),
        (
            "error",
            Answer::sse()
                .raw(text_only()[0].clone())
                .data(r#"{"error":{"code":500,"message":"x"}}"#),
        ),
    ] {
        let mut streams = Streams::new(text_only(), &[(2, CUT)]);
        streams.lost = Some(lost);
        let upstream = streams.start().await;
        let app = TestApp::with(|c| {
            c.models = vec![model_config(&model("m", &upstream, "max_attempts = 2"))]
        })
        .await;
        let id = app.client.start_prompt("go").await;
        let events = app.client.all(&id, 0).await;
        assert_whole(&events);
        assert_eq!(text(&events), "It is 🦀.", "{name}: {events:#?}");
        assert_eq!(names(&events), ["started", "resumed", "resumed", "done"], "{name}");
        assert_eq!(streams.log(), ["new", "again", "behind It"], "{name}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_the_stream_before_its_receipt() {
    let streams = Streams::new(frames(), &[(6, STALL)]);
    let upstream = streams.start().await;
    let app = TestApp::with(|c| c.models = vec![model_config(&model("m", &upstream, ""))]).await;
    let id = app.client.start_prompt("go").await;
    let mut reader = app.client.events(&id, 0).await;
    while reader.next().await.unwrap().name != "delta" {}
    let receipt = app.client.cancel(&id).await;
    assert_eq!(streams.log(), ["new", "stop"], "closing the connection does not stop it");
    assert_eq!(receipt["status"], "cancelled");
    app.stop().await;
}

/// The name is in the row before the request: an owner that dies right behind that leaves no answer
/// alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_behind_its_request_leaves_the_name() {
    let streams = Streams::new(frames(), &[(0, STALL)]);
    let upstream = streams.start().await;
    let dir = TempDir::new().unwrap();
    let file = format!("[[models]]\n{}", model("m", &upstream, ""));
    std::fs::write(dir.path().join("lastword.toml"), file).unwrap();
    let serve = || {
        let mut command = command(dir.path());
        command.arg("--config").arg(dir.path().join("lastword.toml"));
        command
    };
    let server = Server::start(serve()).await;
    let id = server.client.start_prompt("go").await;
    upstream.arrived(1).await;
    server.kill().await;
    assert_eq!(streams.log(), ["new"]);
    let server = Server::start(serve()).await;
    let seen = server.client.all(&id, 0).await;
    assert_whole(&seen);
    assert_eq!(streams.log(), ["new", "again"], "the same answer");
    assert_eq!(text(&seen), "It is 🦀.");
    assert!(server.terminate().await.success());
}
