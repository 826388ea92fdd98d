//! A fault in a request is described clearly, stored nowhere, and costs only that request.
mod rows;
mod socket;

use serde_json::{Value, json};

use crate::client::assert_whole;
use crate::harness::TestApp;
use crate::raw::{Answer, RawStream, exchange, request};

const JSON: &str = "Content-Type: application/json\r\n";
const START: &str = "POST /v1/generations";
/// The prompts' limit here, in bytes.
const PROMPT: usize = 1000;
const UNKNOWN: &str = "00000000-0000-7000-8000-000000000000";

fn post(body: impl AsRef<[u8]>) -> Vec<u8> {
    request(START, JSON, body.as_ref())
}

async fn server() -> TestApp {
    TestApp::with(|config| config.limits.prompt_bytes = PROMPT).await
}

/// A refusal in its one form.
pub(crate) fn assert_problem(answer: &Answer, status: u16, code: &str) -> Value {
    let shown = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, status, "{shown}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{shown}");
    let problem = answer.json();
    assert_eq!(problem["code"], code, "{shown}");
    assert_eq!(problem["type"], format!("urn:lastword:problem:{code}"));
    assert_eq!(problem["status"], status);
    assert!(problem["title"].as_str().is_some_and(|t| !t.is_empty()), "{shown}");
    assert!(problem["detail"].as_str().is_some_and(|t| !t.is_empty()), "{shown}");
    problem
}

/// The same request, for a stream.
fn wanting_events(request: &[u8]) -> Vec<u8> {
    let line = request.windows(2).position(|w| w == b"\r\n").unwrap() + 2;
    [&request[..line], b"Accept: text/event-stream\r\n", &request[line..]].concat()
}

/// Sends each, expects its refusal, and checks that the server still serves and has stored nothing.
async fn refuse(rows: Vec<(&str, Vec<u8>, u16, &str)>) {
    let app = server().await;
    for (name, request, status, code) in rows {
        println!("{name}");
        let answer = exchange(app.address, &request).await;
        assert_problem(&answer, status, code);
        // A client that wants a stream is refused in the same words, not in a stream.
        let streamed = exchange(app.address, &wanting_events(&request)).await;
        assert_eq!((streamed.status, &streamed.body), (answer.status, &answer.body), "{name}");
        assert_eq!(streamed.header("content-type"), answer.header("content-type"), "{name}");
        let good = exchange(app.address, &self::request("GET /v1/models", "", b"")).await;
        assert_eq!(good.status, 200, "after {name}");
    }
    assert_eq!(app.database.number("select count(*) from generations").await, 0);
    let id = app.client.start_prompt("/demo tokens=1 tps=0").await;
    assert_whole(&app.client.all(&id, 0).await);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_json() {
    let rows = rows::not_json().into_iter();
    refuse(rows.map(|(name, body)| (name, post(body), 400, "invalid_json")).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_json_breaks_is_said() {
    let app = server().await;
    let answer = exchange(app.address, &post("{\"prompt\": \"x\",\n  oops}")).await;
    let problem = assert_problem(&answer, 400, "invalid_json");
    assert_eq!((&problem["line"], &problem["column"]), (&json!(2), &json!(3)));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_body_of_ours() {
    let body = b"{\"prompt\":\"hi\"}";
    let kind = |name, head: &str| (name, request(START, head, body), 415, "unsupported_media_type");
    let coded = |name, head: &str| {
        let head = format!("{JSON}Content-Encoding: {head}\r\n");
        (name, request(START, &head, body), 415, "unsupported_content_encoding")
    };
    refuse(vec![
        kind("no type", ""),
        kind("an empty type", "Content-Type: \r\n"),
        kind("a form", "Content-Type: application/x-www-form-urlencoded\r\n"),
        kind("text", "Content-Type: text/plain\r\n"),
        kind("nearly JSON", "Content-Type: application/jsonp\r\n"),
        coded("an unknown coding", "br"),
        coded("several", "gzip, gzip"),
    ])
    .await;
    let not_gzip = format!("{JSON}Content-Encoding: gzip\r\n");
    refuse(vec![("no gzip", request(START, &not_gzip, body), 400, "invalid_body")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large() {
    let app = TestApp::with(|config| {
        config.limits.prompt_bytes = PROMPT;
        config.limits.media_bytes = 0;
    })
    .await;
    let large = format!("{{\"prompt\":\"{}\"}}", "x".repeat(2 * PROMPT + 65 * 1024));
    let answer = exchange(app.address, &post(&large)).await;
    assert_problem(&answer, 413, "payload_too_large");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_make_no_sense() {
    let rows = rows::FIELDS.iter().chain(rows::UNKNOWN_FIELDS);
    refuse(rows.map(|(body, code)| (*body, post(body), 422, *code)).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_are_too_much() {
    let rows = rows::too_much().into_iter();
    refuse(rows.map(|(name, body, code)| (name, post(body.to_string()), 422, code)).collect())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_what_is_wrong_and_what_is_near() {
    let app = server().await;
    let rows = [
        (r#"{"promt":"hi"}"#, "field", json!("promt"), "`prompt`"),
        (
            r#"{"messages":[{"role":"usr","content":"a"}]}"#,
            "field",
            json!("messages[0].role"),
            "`user`",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}"#,
            "field",
            json!("messages[0].content[0].type"),
            "`image_url`",
        ),
        (r#"{"prompt":5}"#, "field", json!("prompt"), "expected a string"),
        (r#"{"prompt":"hi","temperature":3}"#, "max", json!(2.0), "between 0 and 2"),
        (r#"{"prompt":"hi","model":"dem"}"#, "known", json!(["demo"]), "`demo`"),
        (r#"{"prompt":" "}"#, "field", json!("prompt"), "`prompt`"),
        (r#"{"prompt":"hi","system":" "}"#, "field", json!("system"), "`system`"),
        (r#"{"prompt":"a","stop":["b",""]}"#, "field", json!("stop[1]"), "`stop[1]`"),
    ];
    for (body, name, value, words) in rows {
        let answer = exchange(app.address, &post(body)).await;
        let problem = answer.json();
        assert_eq!((answer.status, &problem[name]), (422, &value), "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{body}: {problem}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_cursors_that_are_none() {
    let body = b"{\"prompt\":\"/demo tokens=1\"}";
    let head = |name, line: &str, code| {
        (name, request(START, &format!("{JSON}{line}\r\n"), body), 400, code)
    };
    let long = format!("Idempotency-Key: {}", "k".repeat(256));
    let get = |line: &'static str, status, code| (line, request(line, "", b""), status, code);
    refuse(vec![
        head("an empty key", "Idempotency-Key: ", "invalid_idempotency_key"),
        head("a long key", &long, "invalid_idempotency_key"),
        head("a key with a space", "Idempotency-Key: a b", "invalid_idempotency_key"),
        head("a key beyond ASCII", "Idempotency-Key: é", "invalid_idempotency_key"),
        head("two keys", "Idempotency-Key: a\r\nIdempotency-Key: b", "invalid_idempotency_key"),
        head("a cursor without a key", "Last-Event-ID: 1", "idempotency_key_required"),
        head("a bad cursor", "Idempotency-Key: a\r\nLast-Event-ID: x", "invalid_cursor"),
        get("GET /v1/generations?status=bogus", 400, "invalid_query"),
        get("GET /v1/generations?cursor=5", 400, "invalid_cursor"),
        get("GET /v1/generations?limit=0", 422, "out_of_range"),
        get("GET /v1/generations?limit=101", 422, "out_of_range"),
        get("GET /v1/generations?limit=x", 422, "out_of_range"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_looks_the_same() {
    let app = server().await;
    let ids = [UNKNOWN, "x", "1", "..", "%00", "%ff", "0199", "a%2Fb", "' or 1=1"];
    let routes = [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/events"),
        ("POST", "/cancel"),
        ("POST", "/continue"),
    ];
    let mut bodies = Vec::new();
    for (method, end) in routes {
        for id in ids.map(|id| id.replace(' ', "%20")).iter().filter(|id| *id != "..") {
            let line = format!("{method} /v1/generations/{id}{end}");
            let answer = exchange(app.address, &request(&line, "", b"")).await;
            assert_problem(&answer, 404, "not_found");
            bodies.push(answer.body);
        }
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    for path in ["/nothing", "/v1", "/v1/", "/v2/generations", "/static/../x"] {
        let answer = exchange(app.address, &request(&format!("GET {path}"), "", b"")).await;
        assert_problem(&answer, 404, "not_found");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_is_told_the_right_ones() {
    let app = server().await;
    let one = format!("/v1/generations/{UNKNOWN}");
    let (events, cancel) = (format!("{one}/events"), format!("{one}/cancel"));
    let (go_on, tickets) = (format!("{one}/continue"), format!("{one}/tickets"));
    let routes = [
        ("/", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/v1/models", "GET, HEAD"),
        ("/v1/session", "GET, HEAD, POST, DELETE"),
        ("/v1/tickets", "POST"),
        (tickets.as_str(), "POST"),
        ("/v1/generations", "GET, HEAD, POST"),
        (one.as_str(), "GET, HEAD, DELETE"),
        (events.as_str(), "GET"),
        (cancel.as_str(), "POST"),
        (go_on.as_str(), "POST"),
    ];
    for (path, allow) in routes {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            if allow.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let line = format!("{method} {path}");
            let answer = exchange(app.address, &request(&line, "", b"")).await;
            assert_problem(&answer, 405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some(allow), "{line}");
        }
        let head = exchange(app.address, &request(&format!("HEAD {path}"), "", b"")).await;
        let get = exchange(app.address, &request(&format!("GET {path}"), "", b"")).await;
        let expected = if allow.contains("HEAD") { get.status } else { 405 };
        assert_eq!((head.status, head.body.len()), (expected, 0), "HEAD {path}");
    }
    app.stop().await;
}

/// Requests that never reach a route: the server's HTTP itself refuses them, without a body.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_refused_before_any_route() {
    let app = server().await;
    let many: String = (0..120).map(|n| format!("X-{n}: y\r\n")).collect();
    let huge = format!("X-Huge: {}\r\n", "y".repeat(200 * 1024));
    let uri = format!("GET /v1/models?{}", "y".repeat(70 * 1024));
    let get = "GET /v1/models HTTP/1.1\r\n";
    let rows: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("too many headers", request("GET /v1/models", &many, b""), &[431]),
        ("too large headers", request("GET /v1/models", &huge, b""), &[431]),
        ("a long address", request(&uri, "", b""), &[400, 414, 431]),
        ("no host", format!("{get}\r\n").into(), &[400]),
        ("two hosts", format!("{get}Host: a\r\nHost: b\r\n\r\n").into(), &[400]),
        ("two lengths", request(START, "Content-Length: 1\r\n", b"{}"), &[400]),
        ("a length and chunks", request(START, "Transfer-Encoding: chunked\r\n", b"{}"), &[400]),
        ("a NUL", request("GET /v1/models", "X: a\0b\r\n", b""), &[400]),
        ("a line break in a header", request("GET /v1/models", "X: a\n b\r\n", b""), &[200, 400]),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), &[400]),
        ("half a head", b"GET /v1/models HTTP/1.1\r\nHost: a\r\n".to_vec(), &[408]),
    ];
    for (name, bytes, statuses) in rows {
        let answer = exchange(app.address, &bytes).await;
        assert!(statuses.contains(&answer.status), "{name}: {}", answer.status);
        let good = exchange(app.address, &request("GET /v1/models", "", b"")).await;
        assert_eq!(good.status, 200, "after {name}");
    }
    assert_eq!(app.database.number("select count(*) from generations").await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so() {
    let app = TestApp::with(|config| config.limits.connections = 3).await;
    let id = {
        let body = b"{\"prompt\":\"/demo tokens=1000000 tps=5\"}";
        let started = exchange(app.address, &request(START, JSON, body)).await;
        started.json()["id"].as_str().unwrap().to_owned()
    };
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut reader = RawStream::events(app.address, &id, "").await;
        reader.until("event: started", 1).await;
        readers.push(reader);
    }
    let refused = exchange(app.address, &request("GET /v1/models", "", b"")).await;
    assert_eq!(assert_problem(&refused, 503, "overloaded")["limit"], "connections");
    assert_eq!(refused.header("connection"), Some("close"));
    drop(readers);
    while exchange(app.address, &request("GET /v1/models", "", b"")).await.status != 200 {}
    let cancel = format!("POST /v1/generations/{id}/cancel");
    assert_eq!(exchange(app.address, &request(&cancel, "", b"")).await.status, 200);
    app.stop().await;
}
