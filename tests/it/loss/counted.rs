//! The limit of an answer holds over a loss, also where a gateway joins tokens. The server's own
//! count is asked for, and an estimate stands in for a missing one. llama.cpp was seen to count so in
//! `make real`, the others in measurements of 2026-11-29 with the real servers.
use super::*;

/// The way in which a server counts while it speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Count {
    /// llama.cpp 11549: `timings` in each chunk, where `timings_per_token` asks for them.
    Timings,
    /// vLLM 0.32: `usage` in each chunk, where `continuous_usage_stats` asks for it.
    Usage,
    /// transformers serve 5.24: fields that it does not know are refused.
    Refuses,
}

/// Pieces of two or three tokens each, with the tokens up to their ends.
const FIRST: [(u64, &str); 2] = [(3, "One two three "), (5, "four five ")];
const REST: [(u64, &str); 6] = [
    (2, " five six"),
    (4, " seven eight"),
    (6, " nine ten"),
    (8, " eleven twelve"),
    (9, " thirteen"),
    (10, " fourteen"),
];

fn pieces(count: Count, asked: &Value, pieces: &[(u64, &str)]) -> Answer {
    let mut answer = Answer::sse();
    for (tokens, text) in pieces {
        let mut chunk = json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
        if count == Count::Timings && asked["timings_per_token"] == true {
            chunk["timings"] = json!({ "prompt_n": 7, "predicted_n": tokens });
        }
        if count == Count::Usage && asked["stream_options"]["continuous_usage_stats"] == true {
            chunk["usage"] = json!({ "prompt_tokens": 7, "completion_tokens": tokens });
        }
        answer = answer.data(&chunk.to_string());
    }
    answer
}

fn script(count: Count) -> Script {
    Script::with(move |request, _| {
        let asked = &request.body;
        if count == Count::Refuses && asked.get("timings_per_token").is_some() {
            let refusal = r#"{"detail":"Unexpected fields in the request: {'timings_per_token'}"}"#;
            return Answer::status(422).raw(refusal);
        }
        if request.so_far().is_empty() {
            return pieces(count, asked, &FIRST).cut();
        }
        pieces(count, asked, &REST).finish("length").done()
    })
}

async fn app(counts: &[Count]) -> (TestApp, Vec<Upstream>) {
    let mut upstreams = Vec::new();
    for count in counts {
        upstreams.push(Upstream::start(script(*count)).await);
    }
    let models = counts.iter().zip(&upstreams).map(|(count, upstream)| {
        model_config(&format!(
            "name = '{count:?}'\nprovider = 'openai'\nbase_url = '{}'\ncontinuation = 'prefix'\n\
             max_attempts = 2",
            upstream.base_url()
        ))
    });
    let models: Vec<_> = models.collect();
    (TestApp::with(|config| config.models = models).await, upstreams)
}

/// The text of an answer of at most 12 tokens.
async fn twelve(client: &Client, count: Count) -> String {
    let asked =
        json!({ "model": format!("{count:?}"), "prompt": "count", "max_output_tokens": 12 });
    let id = client.start(&asked).await;
    let events = client.all(&id, 0).await;
    let done = events.last().unwrap().json();
    assert_eq!(done["finish_reason"], "length", "{count:?}: {done}");
    let told = events.iter().filter(|event| event.name == "extra").count();
    assert_eq!(told, 0, "{count:?}: counts that the client did not ask for");
    text(&events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_own_count_keeps_the_limit() {
    let counts = [Count::Timings, Count::Usage];
    let (app, upstreams) = app(&counts).await;
    for (count, upstream) in counts.into_iter().zip(upstreams) {
        let said = twelve(&app.client, count).await;
        let whole = "One two three four five six seven eight nine ten eleven twelve";
        assert_eq!(said, whole, "{count:?}: 5 tokens before the loss, 7 behind it");
        let requests = upstream.requests();
        // Of 12 tokens 7 are left, and "five " may be said again above that.
        assert_eq!(requests[1].body["max_tokens"], 7 + 3, "{count:?}");
    }
    app.stop().await;
}

/// Of the 24 bytes before the loss, six tokens are taken off: pieces alone would be two.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_to_count_is_asked_plainly() {
    let (app, upstreams) = app(&[Count::Refuses]).await;
    twelve(&app.client, Count::Refuses).await;
    twelve(&app.client, Count::Refuses).await;
    let requests = upstreams[0].requests();
    let asked: Vec<_> =
        requests.iter().map(|r| r.body.get("timings_per_token").is_some()).collect();
    assert_eq!(asked, [true, false, false, false, false], "refused once, and remembered");
    assert_eq!(requests[2].body["max_tokens"], 12 - 6 + 3);
    let options = json!({ "include_usage": true });
    assert_eq!(requests[1].body["stream_options"], options, "as before");
    app.stop().await;
}

/// The next process knows the text and no counts: llama.cpp 11549 and vLLM 0.32 count a text at
/// `/tokenize`.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_owner_has_said_is_counted_again() {
    let script = Script::with(|request, _| {
        if request.line.starts_with("POST /tokenize ") {
            assert_eq!(request.body["content"], "One two three four five ");
            assert_eq!(request.body["prompt"], request.body["content"], "vLLM's name for it");
            return Answer::status(200).raw(r#"{"tokens":[1,2,3,4,5,6,7]}"#);
        }
        if request.so_far().is_empty() {
            return FIRST.iter().fold(Answer::sse(), |answer, (_, text)| answer.text(text)).stall();
        }
        pieces(Count::Timings, &request.body, &REST).finish("length").done()
    });
    let upstream = Upstream::start(script).await;
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("lastword.toml");
    let base = upstream.base_url();
    let model = format!(
        "[[models]]\nname = 'm'\nprovider = 'openai'\nbase_url = '{base}'\ncontinuation = 'prefix'"
    );
    std::fs::write(&file, model).unwrap();
    let start = || {
        let mut command = command(dir.path());
        command.arg("--config").arg(&file);
        Server::start(command)
    };
    let server = start().await;
    let asked = json!({ "prompt": "count", "max_output_tokens": 12 });
    let id = server.client.start(&asked).await;
    let mut reader = server.client.events(&id, 0).await;
    let mut seen = Vec::new();
    while text(&seen) != "One two three four five " {
        seen.push(reader.next().await.expect("it goes on"));
    }
    server.kill().await;
    let server = start().await;
    seen.extend(server.client.all(&id, seen.len() as u64).await);
    assert_whole(&seen);
    assert_eq!(text(&seen), "One two three four five six seven eight nine ten", "7 and 5 tokens");
    let requests = upstream.requests();
    assert_eq!((requests.len(), &requests[2].body["max_tokens"]), (3, &json!(12 - 7 + 3)));
    assert!(server.terminate().await.success());
}
