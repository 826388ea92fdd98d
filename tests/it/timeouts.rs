//! Every clock of a model, set in the file, ends in its own typed error.
use std::net::TcpStream;
use std::time::Duration;

use lastword::config::ModelConfig;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tokio::time::Instant;

use crate::client::assert_whole;
use crate::harness::{TestApp, model_config};
use crate::upstream::{Answer, Upstream};

fn model(base_url: &str, timeout: &str) -> ModelConfig {
    model_config(&format!(
        "name = 'm'\nprovider = 'openai'\nbase_url = '{base_url}'\nmax_attempts = 1\n{timeout} = 0.3"
    ))
}

/// How it ends, and how long that took.
async fn ending(model: ModelConfig) -> (Value, Duration) {
    let app = TestApp::with(|c| c.models = vec![model]).await;
    let begun = Instant::now();
    let id = app.client.start(&json!({ "prompt": "go" })).await;
    let events = app.client.all(&id, 0).await;
    let took = begun.elapsed();
    assert_whole(&events);
    app.stop().await;
    (events.last().unwrap().json(), took)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_clock_has_its_error() {
    let begun = || Answer::sse().text("Hel");
    let pings = vec![b": ping\n\n".to_vec(); 1000];
    let cases = [
        ("first_byte_timeout_s", Answer::none().stall(), "failed", "upstream_timeout"),
        ("first_event_timeout_s", Answer::sse().stall(), "failed", "upstream_timeout"),
        ("idle_bytes_timeout_s", begun().stall(), "interrupted", "upstream_stalled"),
        (
            "idle_events_timeout_s",
            begun().paced_raw(pings, 50.0),
            "interrupted",
            "upstream_stalled",
        ),
    ];
    for (timeout, answer, status, code) in cases {
        let upstream = Upstream::start(answer).await;
        let (done, took) = ending(model(&upstream.base_url(), timeout)).await;
        assert_eq!(
            (&done["status"], &done["error"]["code"]),
            (&json!(status), &json!(code)),
            "{timeout}"
        );
        assert!((0.3..10.0).contains(&took.as_secs_f64()), "{timeout}: {took:?}");
        upstream.closed().await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_never_comes_has_an_end() {
    // A listener whose queue is full answers no SYN.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _fills_the_queue = TcpStream::connect(address).unwrap();
    let (done, took) = ending(model(&format!("http://{address}/v1"), "connect_timeout_s")).await;
    assert_eq!(done["error"]["code"], "upstream_unavailable", "{done}");
    assert_eq!(done["status"], "failed");
    assert!((0.3..5.0).contains(&took.as_secs_f64()), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wall_clock_cuts_an_answer_that_never_ends() {
    let texts = ["x "; 10_000];
    let upstream = Upstream::start(Answer::sse().paced(texts.into_iter(), 200.0).complete()).await;
    let app = TestApp::with(|c| {
        c.models = vec![model(&upstream.base_url(), "connect_timeout_s")];
        c.limits.generation_wall = Duration::from_millis(500);
    })
    .await;
    let id = app.client.start(&json!({ "prompt": "go" })).await;
    let events = app.client.all(&id, 0).await;
    assert_whole(&events);
    let done = events.last().unwrap().json();
    assert_eq!(
        (&done["status"], &done["finish_reason"]),
        (&json!("incomplete"), &json!("time_limit"))
    );
    assert_eq!(done["usage"]["exact"], false);
    upstream.closed().await;
    app.stop().await;
}
