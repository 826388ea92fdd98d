//! Requests and answers at the edge: sizes, codings, paths, ids, kinds of refusal.
mod documents;

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::{PATIENCE, assert_whole, text};
use crate::harness::{TestApp, model, model_config};
use crate::keys::locked;
use crate::raw::{Answer, RawStream, exchange, request};
use crate::upstream;

const JSON: &str = "Content-Type: application/json\r\n";
const CHAT: &str = "POST /v1/chat/completions";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A frame of one raw block (RFC 8878 §3.1), for bodies below 256 bytes.
fn zstd(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    let block = ((u32::from(length) << 3) | 1).to_le_bytes();
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, length], &block[..3], text].concat()
}

fn chat(prompt: &str) -> Value {
    json!({ "model": "demo", "messages": [{ "role": "user", "content": prompt }] })
}

async fn coded(app: &TestApp, coding: &str, body: &[u8]) -> Answer {
    let head = format!("{JSON}Content-Encoding: {coding}\r\n");
    exchange(app.address, &request(CHAT, &head, body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_and_long_prompts_pass_with_the_usual_limits() {
    let script = upstream::Answer::sse().text("ok").complete();
    let (app, upstream) = TestApp::scripted(script, |_| {}).await;
    let picture = format!("data:image/png;base64,{}", "iVBO".repeat(1 << 20));
    let asked = json!({ "model": "scripted", "messages": [{ "role": "user", "content": [
        { "type": "text", "text": "what" },
        { "type": "image_url", "image_url": { "url": picture } },
    ] }] });
    let body = asked.to_string();
    assert!(body.len() > 4 << 20);
    for (head, body) in [
        (JSON.to_owned(), body.clone().into_bytes()),
        (format!("{JSON}Content-Encoding: gzip\r\n"), gzip(body.as_bytes())),
    ] {
        let answer = exchange(app.address, &request(CHAT, &head, &body)).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }
    // A window of a million tokens, four bytes each.
    let prompt = "word ".repeat(800_000);
    let answer = exchange(
        app.address,
        &request(CHAT, JSON, chat(&prompt).to_string().replace("demo", "scripted").as_bytes()),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let asked = upstream.requests();
    let url = &asked[0].body["messages"][0]["content"][1]["image_url"]["url"];
    assert_eq!(url.as_str().unwrap().len(), picture.len());
    assert_eq!(asked.last().unwrap().body["messages"][0]["content"], prompt.as_str());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_has_its_own_limit() {
    let script = upstream::Answer::sse().text("ok").complete();
    let (app, _upstream) = TestApp::scripted(script, |config| {
        config.limits.prompt_bytes = 1000;
        config.limits.media_bytes = 5000;
    })
    .await;
    let ask = async |letters: usize, picture: usize| {
        let url = format!("data:image/png;base64,{}", "A".repeat(picture));
        let body = json!({ "model": "scripted", "messages": [{ "role": "user", "content": [
            { "type": "text", "text": "x".repeat(letters) },
            { "type": "image_url", "image_url": { "url": url } },
        ] }] });
        app.client.post("/v1/chat/completions", &body).await
    };
    assert_eq!(ask(1000, 4000).await.status(), 200);
    let refusal: Value = ask(1001, 10).await.json().await.unwrap();
    assert_eq!(refusal["error"]["code"], "prompt_too_long");
    let refusal: Value = ask(10, 5000).await.json().await.unwrap();
    assert_eq!(refusal["error"]["code"], "prompt_too_long");
    assert!(refusal["error"]["message"].as_str().unwrap().contains("`media_bytes`"), "{refusal}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_bodies_are_understood_and_others_are_told_what_is() {
    let app = TestApp::with(|config| {
        config.limits.prompt_bytes = 100_000;
        config.limits.media_bytes = 0;
    })
    .await;
    let body = chat("/demo tokens=2 tps=0").to_string();
    let body = body.as_bytes();
    for (coding, bytes) in [
        ("gzip", gzip(body)),
        ("x-gzip", gzip(body)),
        ("GZIP", gzip(body)),
        ("deflate", deflate(body)),
        ("zstd", zstd(body)),
        ("identity", body.to_vec()),
        ("identity", [b"\xEF\xBB\xBF", body].concat()),
    ] {
        let answer = coded(&app, coding, &bytes).await;
        assert_eq!(answer.status, 200, "{coding}: {}", String::from_utf8_lossy(&answer.body));
    }
    let unknown = coded(&app, "br", body).await;
    assert_eq!(
        (unknown.status, unknown.header("accept-encoding")),
        (415, Some("gzip, zstd, deflate"))
    );
    // Small when it arrives, and large when decoded.
    let bomb = gzip(chat(&"a".repeat(400_000)).to_string().as_bytes());
    assert!(bomb.len() < 4000);
    let answer = coded(&app, "gzip", &bomb).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (413, &json!("payload_too_large"))
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_is_known_before_a_body_is_read() {
    let (app, _key) = locked(&[]).await;
    // A body is announced and never sent.
    let head = format!("{CHAT} HTTP/1.1\r\nHost: test\r\n{JSON}Content-Length: 3000000\r\n\r\n");
    let mut stream = RawStream::of(app.address, head.as_bytes()).await;
    stream.until("\r\n\r\n", 1).await;
    assert!(stream.seen().starts_with("HTTP/1.1 401 "), "{}", stream.seen());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_share_a_budget_and_give_it_back() {
    let script = upstream::Answer::sse().text("ok").complete();
    let (app, _upstream) = TestApp::scripted(script, |config| {
        config.limits.prompt_bytes = 100_000;
        config.limits.media_bytes = 0;
        config.limits.bodies_bytes = 0;
    })
    .await;
    // The budget is twice the largest body then; each of these holds nearly one, and waits.
    let whole = chat(&"x".repeat(100_000)).to_string().replace("demo", "scripted");
    let head = format!(
        "{CHAT} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{JSON}Content-Length: 260000\r\n\r\n{}",
        " ".repeat(259_999)
    );
    let found = async {
        loop {
            let first = RawStream::of(app.address, head.as_bytes()).await;
            let waiting = [first, RawStream::of(app.address, head.as_bytes()).await];
            // Until both are there, a third one may find room, and keep one of them out.
            for _ in 0..100 {
                let asked = request(CHAT, JSON, whole.as_bytes());
                let answer = exchange(app.address, &asked).await;
                if answer.status != 200 {
                    return (waiting, answer);
                }
            }
        }
    };
    let (waiting, refused) = timeout(PATIENCE, found).await.expect("they take all room");
    assert_eq!(refused.status, 503, "{}", String::from_utf8_lossy(&refused.body));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("x-should-retry"), Some("true"));
    assert_eq!(refused.json()["error"]["param"], "bodies_bytes");
    for mut stream in waiting {
        stream.say(b" ").await;
        stream.end().await;
        assert_eq!(stream.answer().status, 400, "blanks are no JSON");
    }
    let answer = exchange(app.address, &request(CHAT, JSON, whole.as_bytes())).await;
    assert_eq!(answer.status, 200, "there is room again");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_a_request_id() {
    let app = TestApp::start().await;
    let with = async |line: &str, head: &str| {
        let answer = exchange(app.address, &request(line, head, b"")).await;
        answer.header("x-request-id").expect(line).to_owned()
    };
    let lines = ["GET /healthz", "GET /health", "GET /v1/nothing", "GET /", "POST /v1/models"];
    let mut seen = std::collections::BTreeSet::new();
    for line in lines {
        assert!(seen.insert(with(line, "").await), "{line}");
        assert_eq!(with(line, "X-Request-Id: req_7/a\r\n").await, "req_7/a", "{line}");
        let odd = with(line, "X-Request-Id: a<b\r\n").await;
        assert_eq!(odd.len(), 36, "{line}: {odd}");
    }
    let preflight = "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n";
    with("OPTIONS /v1/models", preflight).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_are_written_oddly_are_understood_or_explained() {
    let app = TestApp::start().await;
    let post = async |path: &str| {
        let body = chat("/demo tokens=1 tps=0").to_string();
        exchange(app.address, &request(&format!("POST {path}"), JSON, body.as_bytes())).await
    };
    for path in ["//v1/chat/completions", "/v1//chat/completions", "/v1/chat/completions/"] {
        assert_eq!(post(path).await.status, 200, "{path}");
    }
    for (path, said) in [
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/completions", "/v1/completions"),
        ("/v1/embeddings", "not served"),
        ("/v1/files", "data:"),
        ("/v1/files/file-1/content", "data:"),
        ("/v1/moderations", "not served"),
        ("/v1/batches", "not served"),
        ("/v1/responses/x/y/z", "/v1/responses/x/y/z"),
        ("/v1/unheard-of", "POST /v1/unheard-of"),
    ] {
        let answer = post(path).await;
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, &error["code"]), (404, &json!("not_found")), "{path}");
        assert!(error["message"].as_str().unwrap().contains(said), "{path}: {error}");
    }
    for path in ["/v1/generations/x/y", "/v1/conversations/x/items", "/nothing"] {
        assert_eq!(post(path).await.json()["type"], "urn:lastword:problem:not_found", "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_of_an_older_http_is_told_what_to_speak() {
    let app = TestApp::start().await;
    let hands = |path: &str, version: &str| {
        format!(
            "GET {path} HTTP/{version}\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
    };
    for path in ["/v1/ws", "/api/chat/ws", "/v1/responses"] {
        let mut old = RawStream::of(app.address, hands(path, "1.0").as_bytes()).await;
        old.until("\r\n\r\n", 1).await;
        assert!(old.seen().contains(" 426 "), "{}", old.seen());
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_tells_its_window_where_it_is_known() {
    let script = upstream::Answer::sse().text("ok").complete();
    let upstream = upstream::Upstream::start(script).await;
    let app = TestApp::with(|config| {
        config.models.push(model(&upstream));
        config.models.push(model_config(&format!(
            "name = 'wide'\nprovider = 'openai'\nbase_url = '{}'\ncontext_tokens = 4242",
            upstream.base_url()
        )));
    })
    .await;
    let list: Value = app.client.get("/v1/models").await.json().await.unwrap();
    let of =
        |name: &str| list["data"].as_array().unwrap().iter().find(|m| m["id"] == name).unwrap();
    assert_eq!(
        (&of("wide")["context_length"], &of("wide")["max_model_len"]),
        (&json!(4242), &json!(4242))
    );
    assert!(of("scripted").get("context_length").is_none());
    app.stop().await;
}

/// Some readers of lines cut at these, and an event would be in pieces.
#[tokio::test(flavor = "multi_thread")]
async fn no_event_has_a_character_that_cuts_lines() {
    let odd = "a\u{2028}b\u{2029}c\u{85}d";
    let script = upstream::Answer::sse().text(odd).complete();
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let id = app.client.start_prompt("hi").await;
    let events = app.client.all(&id, 0).await;
    assert_whole(&events);
    assert_eq!(text(&events), odd);
    let asked = |path: &str| exchange_text(&app, format!("GET {path}"), String::new());
    let native = asked(&format!("/v1/generations/{id}/events")).await;
    let durable = asked(&format!("/v1/generations/{id}/stream?offset=-1&live=sse")).await;
    let body = json!({ "model": "scripted", "stream": true, "messages": chat("hi")["messages"] });
    let chat = exchange_text(&app, CHAT.into(), body.to_string()).await;
    let body = json!({ "model": "scripted", "stream": true, "input": "hi" });
    let responses = exchange_text(&app, "POST /v1/responses".into(), body.to_string()).await;
    for stream in [native, durable, chat, responses] {
        assert!(stream.contains("b\\u2029c\\u0085d"), "{stream}");
        assert!(!stream.contains(['\u{2028}', '\u{2029}', '\u{85}']), "{stream}");
    }
    app.stop().await;
}

async fn exchange_text(app: &TestApp, line: String, body: String) -> String {
    let mut stream = RawStream::of(app.address, &request(&line, JSON, body.as_bytes())).await;
    stream.end().await;
    String::from_utf8(stream.answer().body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_kept_for_as_long_as_configured() {
    let app = TestApp::with(|config| config.limits.idle = std::time::Duration::from_secs(1)).await;
    let id = app.client.start_prompt("/demo tokens=2 tps=0").await;
    for path in ["/healthz".to_owned(), format!("/v1/generations/{id}/events")] {
        let line = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        let mut stream = RawStream::of(app.address, line.as_bytes()).await;
        // Ends within the patience of the tests, which is less than the usual 75 s.
        stream.end().await;
        assert!(stream.seen().starts_with("HTTP/1.1 200 OK\r\n"), "{path}");
    }
    app.stop().await;
}
