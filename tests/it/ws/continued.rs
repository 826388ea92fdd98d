//! Responses that are continued on a socket, and those that it no longer knows.
use serde_json::json;

use super::responses::{PATH, create, refused, rest};
use crate::harness::TestApp;
use crate::socket::Socket;

/// A client that is refused sends everything again: OpenAI forgets what it has continued.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_continuation_is_forgotten_by_its_connection() {
    let app = TestApp::start().await;
    let mut socket = Socket::at(app.address, PATH, &[]).await;
    socket.send(&create("/demo tokens=2 tps=0")).await;
    let first = rest(&mut socket).await;
    let mut next = create("/demo tokens=2 tps=0");
    next["previous_response_id"] = first[0]["response"]["id"].clone();
    socket.send(&next).await;
    rest(&mut socket).await;
    let mut lost = next.clone();
    lost["input"] =
        json!([{ "type": "function_call_output", "call_id": "call_x", "output": "42" }]);
    let (status, code, about) = refused(&mut socket, &lost).await;
    assert_eq!((status, code.as_str()), (400, "tool_call_not_found"));
    assert_eq!(about, "input");
    let (status, code, _) = refused(&mut socket, &next).await;
    assert_eq!((status, code.as_str()), (400, "previous_response_not_found"));
    // A stored one is found again all the same.
    let mut stored = create("/demo tokens=2 tps=0");
    stored["store"] = json!(true);
    socket.send(&stored).await;
    let stored = rest(&mut socket).await;
    lost["previous_response_id"] = stored[0]["response"]["id"].clone();
    refused(&mut socket, &lost).await;
    next["previous_response_id"] = stored[0]["response"]["id"].clone();
    socket.send(&next).await;
    rest(&mut socket).await;
    drop(socket);
    app.stop().await;
}
