//! Clients that do not read.
use std::time::Duration;

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::net::TcpSocket;
use tokio_tungstenite::client_async;

use crate::client::{assert_whole, text};
use crate::eventually::eventually;
use crate::harness::TestApp;
use crate::socket::Socket;

/// A client with a small receive buffer.
async fn small(app: &TestApp) -> Socket {
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(4096).unwrap();
    let tcp = tcp.connect(app.address).await.unwrap();
    assert!(SockRef::from(&tcp).recv_buffer_size().unwrap() < 20_000);
    let (stream, _) = client_async(format!("ws://{}/v1/ws", app.address), tcp).await.unwrap();
    Socket::of(stream)
}

const LONG: &str = "/demo tokens=30000 tps=0 ttft_ms=0 seed=1";

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_is_really_closed() {
    let app = TestApp::with(|config| config.limits.stuck = Duration::from_millis(500)).await;
    let mut stuck = small(&app).await;
    stuck.send(&json!({"type": "generate", "ref": 1, "prompt": LONG})).await;
    let mut late = small(&app).await;
    late.send(&json!({"type": "generate", "ref": 1, "prompt": LONG})).await;
    app.until_sockets(2).await;
    let ended = "select count(*) from generations where done is not null";
    eventually("both end", async || app.database.number(ended).await == 2).await;
    // All is there to be sent. Six times the limit, by the clock of another generation.
    let clock = app.client.start_prompt("/demo tokens=60 tps=20 ttft_ms=0").await;
    assert_whole(&app.client.all(&clock, 0).await);
    while late.text().await.is_some() {}
    assert_eq!(late.closed, Some(4001), "who reads on after all hears why");
    assert_eq!(app.engine.metrics().slow_cut.get(), 1);
    // The other one never reads: it is cut without a close frame, and delays nothing here.
    app.until_sockets(0).await;
    while stuck.text().await.is_some() {}
    assert_eq!(stuck.closed, None);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_gets_all_of_it_and_delays_nobody() {
    let app = TestApp::start().await;
    let mut slow = small(&app).await;
    slow.frame().await;
    slow.send(&json!({"type": "generate", "ref": 1, "prompt": LONG})).await;
    let ack: Value = slow.frame().await.unwrap();
    let id = ack["generation"].as_str().unwrap().to_owned();
    let others = app.client.all(&id, 0).await;
    assert_whole(&others);
    let mut seen = Vec::new();
    while let Some(event) = slow.event().await {
        seen.push(event);
    }
    assert!(seen == others, "it falls back to the log");
    assert_eq!(app.client.view(&id).await["text"], text(&seen));
    drop(slow);
    app.stop().await;
}
