//! The right to use a socket, by real keys, and its end with the key.
use serde_json::json;

use crate::harness::TestApp;
use crate::keys::{locked, make_key, told_by};
use crate::socket::Socket;

/// One that is let in by a first frame, as a page's is.
async fn greeted(app: &TestApp, token: &str) -> Socket {
    let mut socket = Socket::with(app.address, &[]).await;
    socket.send(&json!({"type": "hello", "ref": 0, "token": token})).await;
    socket
}

/// One that brings its key along.
async fn with_header(app: &TestApp, token: &str) -> Socket {
    Socket::with(app.address, &[("Authorization", &format!("Bearer {token}"))]).await
}

async fn is_let_in(mut socket: Socket) -> Socket {
    assert_eq!(socket.frame().await.expect("a welcome")["type"], "welcome");
    socket
}

async fn is_refused(mut socket: Socket, why: &str) {
    assert_eq!(socket.frame().await, None, "{why}");
    assert_eq!(socket.closed, Some(4501), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_needs_a_key_and_ends_with_it() {
    let (app, _) = locked(&[]).await;
    let never = format!("lw_{}", "0".repeat(43));
    let gone = make_key(&app.database, &["--name", "gone"]).await;
    told_by(&app.config, &["revoke", "gone"]).await;
    for (token, why) in [(&never[..], "invalid"), (&gone, "revoked"), ("words", "no key at all")] {
        is_refused(greeted(&app, token).await, why).await;
        is_refused(with_header(&app, token).await, why).await;
    }
    let mut silent = Socket::with(app.address, &[]).await;
    silent.send(&json!({"type": "ping"})).await;
    assert_eq!(silent.frame().await.unwrap()["type"], "pong", "a sign of life needs no key");
    silent.send(&json!({"type": "subscribe", "generation": "x"})).await;
    is_refused(silent, "missing").await;

    let short = make_key(&app.database, &["--name", "short", "--expires", "3s"]).await;
    let leaked = make_key(&app.database, &["--name", "leaked"]).await;
    let stays = make_key(&app.database, &["--name", "stays"]).await;
    let generate =
        json!({"type": "generate", "ref": 1, "prompt": "/demo tokens=1000000 tps=20 ttft_ms=0"});
    let mut open = Vec::new();
    for key in [&short, &leaked] {
        for socket in [with_header(&app, key).await, greeted(&app, key).await] {
            let mut socket = is_let_in(socket).await;
            assert_eq!(socket.ask(&generate).await["type"], "ack");
            open.push(socket);
        }
    }
    let mut other = is_let_in(with_header(&app, &stays).await).await;
    told_by(&app.config, &["revoke", "leaked"]).await;
    for mut socket in open {
        while socket.frame().await.is_some() {}
        assert_eq!(socket.closed, Some(4501), "it ends while events come");
    }
    for (token, why) in [(&short, "expired"), (&leaked, "revoked")] {
        is_refused(greeted(&app, token).await, why).await;
        is_refused(with_header(&app, token).await, why).await;
    }
    assert_eq!(other.ask(&json!({"type": "ping", "ref": 9})).await["type"], "pong");
    let cancel = "update generations set status = 'cancelling'";
    sqlx::query(cancel).execute(&mut app.database.connect().await).await.unwrap();
    drop(other);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_says_what_its_socket_may_do_and_whose_it_sees() {
    let (app, writes) = locked(&["--tenant", "one"]).await;
    let reads =
        make_key(&app.database, &["--tenant", "one", "--name", "r", "--scope", "read"]).await;
    let foreign = make_key(&app.database, &["--tenant", "two", "--name", "f"]).await;
    let mut owner = is_let_in(greeted(&app, &writes).await).await;
    let generate = json!({"type": "generate", "ref": 1, "prompt": "/demo tokens=3 tps=0"});
    let id = owner.ask(&generate).await["generation"].clone();
    let mut reader = is_let_in(with_header(&app, &reads).await).await;
    for frame in [&generate, &json!({"type": "cancel", "ref": 2, "generation": id})] {
        let answer = reader.ask(frame).await;
        assert_eq!(
            (&answer["code"], &answer["scope"]),
            (&json!("insufficient_scope"), &json!("write"))
        );
    }
    let subscribe = json!({"type": "subscribe", "ref": 3, "generation": id});
    assert_eq!(reader.ask(&subscribe).await["type"], "ack");
    let mut stranger = is_let_in(greeted(&app, &foreign).await).await;
    assert_eq!(stranger.ask(&subscribe).await["code"], "not_found");
    drop((owner, reader, stranger));
    app.stop().await;
}
