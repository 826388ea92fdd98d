//! The lines for an operator: one line a request, one line a generation, and no prompt in either.
use std::fs::File;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::assert_whole;
use crate::process::{Server, command};

#[tokio::test(flavor = "multi_thread")]
async fn a_line_a_request_and_a_line_a_generation() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("log");
    let mut command = command(&dir.path().join("data"));
    command.env("RUST_LOG", "info").env("LASTWORD_LOG_FORMAT", "json");
    command.stderr(File::create(&log).unwrap());
    let server = Server::start(command).await;
    let body =
        json!({"prompt": "PLANTED /demo tokens=3 tps=0", "metadata": {"PLANTED": "PLANTED"}});
    let id = server.client.start(&body).await;
    assert_whole(&server.client.all(&id, 0).await);
    server.client.get("/v1/nowhere?words=PLANTED").await;
    server.client.get("/healthz").await;
    let page = server.client.http.get(&server.client.base).header("accept", "text/html");
    let page = page.send().await.unwrap().text().await.unwrap();
    for file in page.split('"').filter(|part| part.starts_with("/static/")) {
        assert_eq!(server.client.get(file).await.status(), 200, "{file}");
    }
    assert!(server.terminate().await.success());
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("PLANTED"), "{text}");
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect(l)).collect();
    let of = |message: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["message"] == message).collect()
    };
    let [generation] = of("generation")[..] else { panic!("{text}") };
    assert_eq!(
        (&generation["generation"], &generation["status"]),
        (&json!(id), &json!("completed"))
    );
    assert!(generation["ms"].is_u64() && generation["tokens"].as_u64() > Some(0), "{generation}");
    // The client of the tests reads each log over a socket, too.
    let requests: Vec<(&str, &str, u64)> = of("request")
        .iter()
        .filter(|line| line["route"] != "/v1/ws")
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap();
            (text("method"), text("route"), line["status"].as_u64().unwrap())
        })
        .collect();
    let expected = [
        ("POST", "/v1/generations", 201),
        ("GET", "/v1/generations/{id}/events", 200),
        ("GET", "unknown", 404),
        ("GET", "/", 200),
    ];
    assert_eq!(requests, expected, "what is asked every second and the page's files are left out");
    let events = |line: &&&Value| line["route"] == "/v1/generations/{id}/events";
    let requests = of("request");
    let stream = requests.iter().find(events).unwrap();
    assert_eq!(stream["generation"], json!(id));
    assert!(stream["bytes"].as_u64() > Some(100) && stream["ms"].is_u64(), "{stream}");
}
