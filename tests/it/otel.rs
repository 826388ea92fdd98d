//! Spans of generations, as a collector gets them. `cargo test --features otel --test it --
//! otel::`.
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::client::assert_whole;
use crate::process::{Server, command};
use crate::upstream::{Answer, Upstream};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Takes requests of an exporter on one connection.
async fn collect(mut socket: TcpStream, bodies: mpsc::Sender<(String, Value)>) {
    let mut seen = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        let whole = text.split_once("\r\n\r\n").and_then(|(head, body)| {
            let length = head.to_lowercase().lines().find_map(|line| {
                line.strip_prefix("content-length: ").and_then(|n| n.parse::<usize>().ok())
            })?;
            (body.len() >= length).then(|| (head.to_owned(), body.to_owned()))
        });
        let Some((head, body)) = whole else {
            if socket.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                return;
            }
            continue;
        };
        seen.clear();
        let line = head.lines().next().unwrap().to_owned();
        bodies.send((line, serde_json::from_str(&body).expect(&body))).await.unwrap();
        let answer =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        socket.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// A span's attribute, whatever its type.
fn attribute<'a>(span: &'a Value, name: &str) -> &'a Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == name);
    let value = &found.unwrap_or_else(|| panic!("{name}: {span}"))["value"];
    value.as_object().unwrap().values().next().unwrap()
}

async fn generate(server: &Server, traceparent: Option<&str>) -> String {
    let body = json!({"prompt": "PLANTED", "max_output_tokens": 7, "temperature": 0.5});
    let mut request = server.client.http.post(format!("{}/v1/generations", server.client.base));
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let receipt: Value = request.json(&body).send().await.unwrap().json().await.unwrap();
    let id = receipt["id"].as_str().unwrap().to_owned();
    assert_whole(&server.client.all(&id, 0).await);
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_is_a_span_above_its_models() {
    let whole = Answer::sse().text("PLANTED").complete();
    let refused = Answer::status(400).header("content-type", "application/json").raw("{}");
    let answers = vec![whole.clone(), whole.clone(), whole, refused];
    let upstream = Upstream::start(answers).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (bodies, mut told) = mpsc::channel(100);
    #[expect(clippy::disallowed_methods, reason = "a test waits for what it collects")]
    let _collector = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(collect(socket, bodies.clone()));
        }
    });
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("lastword.toml");
    let url = upstream.base_url();
    let model = format!("[[models]]\nname = 'm'\nprovider = 'openai'\nbase_url = '{url}'\n");
    std::fs::write(&file, model).unwrap();
    let mut serve = command(&dir.path().join("data"));
    serve.arg("--config").arg(&file);
    serve.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    serve.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    let server = Server::start(serve).await;
    let first = generate(&server, Some(&format!("00-{TRACE}-b7ad6b7169203331-01"))).await;
    let second = generate(&server, None).await;
    let unseen = generate(&server, Some(&format!("00-{TRACE}-b7ad6b7169203331-00"))).await;
    let failed = generate(&server, None).await;
    assert!(server.terminate().await.success());

    // The stop has handed out everything.
    let (mut spans, mut all) = (Vec::new(), String::new());
    while let Ok((line, body)) = told.try_recv() {
        assert_eq!(line, "POST /v1/traces HTTP/1.1");
        all += &body.to_string();
        for resource in body["resourceSpans"].as_array().unwrap() {
            assert_eq!(attribute(&resource["resource"], "service.name"), "lastword");
            for scope in resource["scopeSpans"].as_array().unwrap() {
                spans.extend(scope["spans"].as_array().unwrap().iter().cloned());
            }
        }
    }
    assert!(!all.contains("PLANTED") && !all.contains(&unseen), "{all}");
    let of = |id: &str| spans.iter().find(|span| attribute(span, "gen_ai.response.id") == id);
    let (first, failed) = (of(&first).unwrap(), of(&failed).unwrap());
    assert_eq!((&first["traceId"], &first["name"]), (&json!(TRACE), &json!("chat m")));
    assert_eq!(first["parentSpanId"], "b7ad6b7169203331");
    for (name, value) in [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.provider.name", json!("openai")),
        ("gen_ai.request.model", json!("m")),
        ("gen_ai.request.max_tokens", json!("7")),
        ("gen_ai.request.temperature", json!(0.5)),
        ("gen_ai.response.finish_reasons", json!({"values": [{"stringValue": "stop"}]})),
        ("gen_ai.usage.output_tokens", json!("2")),
        ("lastword.status", json!("completed")),
    ] {
        assert_eq!(*attribute(first, name), value, "{name}");
    }
    let time = |name: &str| first[name].as_str().unwrap().parse::<u64>().unwrap();
    assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"), "{first}");
    assert_eq!(of(&second).unwrap()["traceId"], second.replace('-', ""), "a trace of its own");
    assert_eq!(attribute(failed, "error.type"), "upstream_rejected");
    assert_eq!(spans.len(), 3);

    // The model's `traceparent` is below the span.
    let header = upstream.requests()[0].header("traceparent").unwrap().to_owned();
    assert_eq!(header, format!("00-{TRACE}-{}-01", first["spanId"].as_str().unwrap()));
    let header = upstream.requests()[1].header("traceparent").unwrap().to_owned();
    assert!(header.starts_with(&format!("00-{}-", second.replace('-', ""))), "{header}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_costs_nothing() {
    let upstream = Upstream::start(Answer::sse().text("Hi").complete()).await;
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("lastword.toml");
    let url = upstream.base_url();
    let model = format!("[[models]]\nname = 'm'\nprovider = 'openai'\nbase_url = '{url}'\n");
    std::fs::write(&file, model).unwrap();
    for endpoint in ["http://127.0.0.1:1", "nonsense"] {
        let mut serve = command(&dir.path().join("data"));
        serve.arg("--config").arg(&file).env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        let server = Server::start(serve).await;
        generate(&server, None).await;
        assert!(server.terminate().await.success(), "{endpoint}");
    }
}
