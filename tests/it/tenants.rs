//! What is another tenant's does not exist, on any route: the table below is all of them.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::keys::{locked, make_key};

const UNKNOWN: &str = "00000000-0000-7000-8000-000000000000";

/// What a path's `{…}` stands for.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    /// Nothing of a tenant's.
    Nothing,
    Generation,
    Conversation,
    Response,
    Completion,
    /// A link that is its own credential.
    Link,
}

/// A path, what it names, and its methods with a body for each.
type Row = (&'static str, Holds, &'static [(&'static str, &'static str)]);

/// Every route: its path, what it names, and its methods with a body for each.
const ROUTES: &[Row] = &[
    ("/", Holds::Nothing, &[]),
    ("/c/{id}", Holds::Nothing, &[]),
    ("/shared/{token}", Holds::Nothing, &[]),
    ("/static/{path:.*}", Holds::Nothing, &[]),
    ("/docs", Holds::Nothing, &[]),
    ("/openapi.json", Holds::Nothing, &[]),
    ("/asyncapi.json", Holds::Nothing, &[]),
    ("/healthz", Holds::Nothing, &[]),
    ("/readyz", Holds::Nothing, &[]),
    ("/metrics", Holds::Nothing, &[]),
    ("/v1/session", Holds::Nothing, &[]),
    ("/v1/tickets", Holds::Nothing, &[]),
    ("/v1/models", Holds::Nothing, &[]),
    ("/v1/models/{model:.+}", Holds::Nothing, &[]),
    ("/v1/ws", Holds::Nothing, &[]),
    ("/v1/generations", Holds::Nothing, &[]),
    ("/v1/generations/{id}", Holds::Generation, &[("GET", ""), ("DELETE", "")]),
    ("/v1/generations/{id}/events", Holds::Generation, &[("GET", "")]),
    ("/v1/generations/{id}/cancel", Holds::Generation, &[("POST", "{}")]),
    ("/v1/conversations", Holds::Nothing, &[]),
    (
        "/v1/conversations/{id}",
        Holds::Conversation,
        &[("GET", ""), ("PATCH", r#"{"title":"x"}"#), ("DELETE", "")],
    ),
    ("/v1/conversations/{id}/messages", Holds::Conversation, &[("GET", "")]),
    ("/v1/conversations/{id}/shares", Holds::Conversation, &[("POST", "{}"), ("DELETE", "")]),
    ("/v1/shared/{token}", Holds::Link, &[]),
    ("/v1/responses", Holds::Nothing, &[]),
    ("/v1/responses/{id}", Holds::Response, &[("GET", ""), ("DELETE", "")]),
    ("/v1/responses/{id}/cancel", Holds::Response, &[("POST", "{}")]),
    ("/v1/responses/{id}/input_items", Holds::Response, &[("GET", "")]),
    ("/v1/chat/completions", Holds::Nothing, &[]),
    ("/v1/chat/completions/{id}", Holds::Completion, &[("GET", ""), ("DELETE", "")]),
];

/// The paths that the sources register.
fn registered() -> BTreeSet<String> {
    fn read(dir: &std::path::Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for piece in text.split("resource(").skip(1) {
                if let Some(rest) = piece.trim_start().strip_prefix('"') {
                    found.insert(rest.split('"').next().unwrap().to_owned());
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    read(&src.join("http"), &mut found);
    read(&src, &mut found);
    found
}

#[test]
fn every_route_is_in_the_table() {
    let listed: BTreeSet<String> = ROUTES.iter().map(|(path, ..)| (*path).to_owned()).collect();
    assert_eq!(registered(), listed);
}

async fn ask(app: &TestApp, key: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let url = format!("{}{path}", app.client.base);
    let mut request = app.client.http.request(method.parse().unwrap(), url).bearer_auth(key);
    if !body.is_empty() {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_and_unknown_look_the_same_on_every_route() {
    let (app, owner) = locked(&["--tenant", "owner"]).await;
    let stranger = make_key(&app.database, &["--tenant", "stranger"]).await;
    let id = |(status, body): (u16, String)| {
        assert!(matches!(status, 200 | 201), "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        body["id"].as_str().unwrap().to_owned()
    };
    let talk = id(ask(&app, &owner, "POST", "/v1/conversations", "{}").await);
    let prompt = json!({ "prompt": "/demo tokens=3 tps=0 secret", "conversation_id": talk });
    let run = id(ask(&app, &owner, "POST", "/v1/generations", &prompt.to_string()).await);
    let (_, events) = ask(&app, &owner, "GET", &format!("/v1/generations/{run}/events"), "").await;
    assert!(events.contains("event: done"));
    let own = |holds: Holds, unknown: bool| {
        let (run, talk) = if unknown { (UNKNOWN, UNKNOWN) } else { (run.as_str(), talk.as_str()) };
        match holds {
            Holds::Nothing | Holds::Link => String::new(),
            Holds::Generation => run.to_owned(),
            Holds::Conversation => talk.to_owned(),
            Holds::Response => format!("resp_{run}"),
            Holds::Completion => format!("chatcmpl-{run}"),
        }
    };
    let mut walked = 0;
    for (path, holds, methods) in ROUTES {
        for (method, body) in *methods {
            let to = |unknown| path.replace("{id}", &own(*holds, unknown));
            let foreign = ask(&app, &stranger, method, &to(false), body).await;
            let unknown = ask(&app, &stranger, method, &to(true), body).await;
            let named = |text: &str| {
                text.replace(&own(*holds, false), "ID").replace(&own(*holds, true), "ID")
            };
            assert_eq!(foreign.0, 404, "{method} {path}: {}", foreign.1);
            assert_eq!(foreign.0, unknown.0, "{method} {path}");
            assert_eq!(named(&foreign.1), named(&unknown.1), "{method} {path}");
            walked += 1;
        }
    }
    assert!(walked > 10);
    for list in ["/v1/generations", "/v1/conversations", "/v1/conversations?q=secret"] {
        let (status, body) = ask(&app, &stranger, "GET", list, "").await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["data"]), (200, &json!([])), "{list}");
    }
    let into = json!({ "prompt": "hi", "conversation_id": talk });
    let foreign = ask(&app, &stranger, "POST", "/v1/generations", &into.to_string()).await;
    let into = json!({ "prompt": "hi", "conversation_id": UNKNOWN });
    assert_eq!(foreign, ask(&app, &stranger, "POST", "/v1/generations", &into.to_string()).await);
    // What was asked by the stranger changed nothing.
    let (status, _) = ask(&app, &owner, "GET", &format!("/v1/generations/{run}"), "").await;
    assert_eq!(status, 200);
    let (_, talk) = ask(&app, &owner, "GET", &format!("/v1/conversations/{talk}"), "").await;
    assert!(!talk.contains("\"title\":\"x\""), "{talk}");
    app.stop().await;
}
