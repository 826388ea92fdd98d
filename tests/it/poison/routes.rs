//! Every route that stores JSON of a client, and the places where it is read again.
use reqwest::Response;
use serde_json::{Value, json};

use super::json::Json;
use crate::client::Client;
use crate::socket::Socket;

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Native,
    Socket,
    Chat,
    Responses,
    AiSdk,
    ChatSocket,
    Conversation,
    Change,
}

/// An accepted body: its tenant, its texts, and the places to read them.
pub(super) struct Stored {
    route: Route,
    id: String,
    runs: bool,
    read: Value,
}

impl Route {
    pub(super) const ALL: [Self; 8] = [
        Self::Native,
        Self::Socket,
        Self::Chat,
        Self::Responses,
        Self::AiSdk,
        Self::ChatSocket,
        Self::Conversation,
        Self::Change,
    ];

    /// Sends the `n`th body; `None` if it was refused, which must name a field.
    pub(super) async fn send(self, client: &Client, n: usize, body: &Json) -> Option<Stored> {
        // Some still run when their server is killed.
        let runs = n % 40 < 4 && self != Self::Conversation;
        let prompt = if runs {
            "/demo tokens=100000 tps=5 ttft_ms=0"
        } else {
            "/demo tokens=1 tps=0 ttft_ms=0"
        };
        let sent = &body.sent;
        let tool = format!(r#"[{{"type":"function","name":"f","parameters":{sent}}}]"#);
        let parts = format!(
            r#"[{{"id":"m","role":"user","parts":[{{"type":"text","text":"{prompt}"}}]}}]"#
        );
        let id = match self {
            Self::Native => {
                let body = format!(r#"{{"prompt":"{prompt}","metadata":{sent}}}"#);
                told(post(client, "/v1/generations", body).await, "id").await?
            }
            Self::Socket => {
                let frame = format!(
                    r#"{{"type":"generate","ref":1,"prompt":"{prompt}","metadata":{sent}}}"#
                );
                self.over_socket(client, "/v1/ws", frame).await?
            }
            Self::Chat => {
                let tool = format!(
                    r#"[{{"type":"function","function":{{"name":"f","parameters":{sent}}}}}]"#
                );
                let body = format!(
                    r#"{{"stream":true,"messages":[{{"role":"user","content":"{prompt}"}}],"metadata":{sent},"tools":{tool}}}"#
                );
                streamed(client, "/v1/chat/completions", body, runs).await?
            }
            Self::Responses => {
                let body = format!(
                    r#"{{"background":true,"input":"{prompt}","metadata":{sent},"tools":{tool}}}"#
                );
                streamed(client, "/v1/responses", body, false).await?
            }
            Self::AiSdk => {
                let body = format!(r#"{{"id":"c{n}","messages":{parts},"tools":{tool}}}"#);
                streamed(client, "/api/chat", body, runs).await?
            }
            Self::ChatSocket => {
                let frame = format!(
                    r#"{{"type":"send","requestId":"r","id":"c{n}","messages":{parts},"body":{{"tools":{tool}}}}}"#
                );
                self.over_socket(client, "/api/chat/ws", frame).await?
            }
            Self::Conversation => {
                let body = format!(r#"{{"metadata":{sent}}}"#);
                told(post(client, "/v1/conversations", body).await, "id").await?
            }
            Self::Change => {
                let id = told(post(client, "/v1/conversations", "{}".into()).await, "id").await?;
                let change = client.http.patch(format!("{}/v1/conversations/{id}", client.base));
                let change = change.header("content-type", "application/json");
                let change = change.body(format!(r#"{{"metadata":{sent}}}"#)).send().await.unwrap();
                told(change, "id").await?
            }
        };
        let read = serde_json::from_str(&body.read).unwrap();
        let runs = runs && self != Self::Change;
        Some(Stored { route: self, id, runs, read })
    }

    async fn over_socket(self, client: &Client, path: &str, frame: String) -> Option<String> {
        let protocol = [("Sec-WebSocket-Protocol", "lastword.v1")];
        let headers = if self == Self::Socket { &protocol[..] } else { &[] };
        let mut socket = Socket::at(client.address(), path, headers).await;
        let frame = tokio_tungstenite::tungstenite::Message::text(frame);
        socket.send_raw(frame).await;
        loop {
            let heard = socket.frame().await.expect("an answer");
            match heard["type"].as_str().unwrap() {
                "welcome" => {}
                "error" => {
                    let named = heard["field"].is_string() || heard["errorText"].is_string();
                    assert!(named, "{heard}");
                    return None;
                }
                "ack" => return Some(heard["generation"].as_str().unwrap().to_owned()),
                "chunk" => {
                    let id = &heard["chunk"]["messageMetadata"]["generation"];
                    return Some(id.as_str().unwrap().to_owned());
                }
                other => panic!("{other}: {heard}"),
            }
        }
    }
}

async fn post(client: &Client, path: &str, body: String) -> Response {
    let post = client.http.post(format!("{}{path}", client.base));
    post.header("content-type", "application/json").body(body).send().await.unwrap()
}

/// The text in `name`, or a refusal that names a field.
async fn told(response: Response, name: &str) -> Option<String> {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    if status < 300 {
        return Some(json[name].as_str().unwrap().to_owned());
    }
    refused(status, &json);
    None
}

fn refused(status: u16, json: &Value) {
    let field = json.get("field").or_else(|| json.pointer("/error/param"));
    let named = matches!(field.and_then(Value::as_str), Some("metadata" | "tools"));
    assert!(
        matches!(status, 400 | 422) && named || json["code"] == "metadata_too_large",
        "{status} {json}"
    );
}

/// The generation that a dialect's answer is about. A reader that stays keeps the running answer
/// alive.
async fn streamed(client: &Client, path: &str, body: String, goes_on: bool) -> Option<String> {
    let post = client.http.post(format!("{}{path}", client.base));
    let post = post.header("content-type", "application/json");
    let post = post.header("lastword-on-disconnect", "continue").body(body);
    let response = post.send().await.unwrap();
    let status = response.status().as_u16();
    if status < 300 {
        let id = response.headers()["lastword-generation"].to_str().unwrap().to_owned();
        if !goes_on {
            response.bytes().await.unwrap();
        }
        return Some(id);
    }
    refused(status, &response.json().await.unwrap());
    None
}

impl Stored {
    pub(super) fn runs(&self) -> bool {
        self.runs
    }

    pub(super) fn generation(&self) -> &str {
        &self.id
    }

    /// Waits until another instance has taken it over.
    pub(super) async fn until_resumed(&self, client: &Client) {
        let mut reader = client.over(crate::client::Transport::Sse).events(&self.id, 0).await;
        while reader.next().await.expect("it goes on").name != "resumed" {}
    }

    /// Reads it wherever it is shown, and compares.
    pub(super) async fn read(&self, client: &Client, when: &str) {
        let id = &self.id;
        let check = |shown: &Value, what: &str| {
            let (shown, read) = (shown.to_string(), self.read.to_string());
            assert_eq!(shown, read, "{when}: {what} of {:?} {id}", self.route);
        };
        let path = match self.route {
            Route::Conversation | Route::Change => format!("/v1/conversations/{id}"),
            Route::Native
            | Route::Socket
            | Route::Chat
            | Route::Responses
            | Route::AiSdk
            | Route::ChatSocket => format!("/v1/generations/{id}"),
        };
        let view = get(client, &path).await;
        assert_eq!(view.get("unreadable"), None, "{when}: {id}");
        if matches!(self.route, Route::AiSdk | Route::ChatSocket) {
            assert_eq!(view["metadata"], json!({}));
        } else {
            check(&view["metadata"], "metadata");
        }
        if matches!(self.route, Route::Chat | Route::Responses | Route::AiSdk | Route::ChatSocket) {
            let response = format!("/v1/responses/resp_{}", id.replace('-', ""));
            check(&get(client, &response).await["tools"][0]["parameters"], "tools");
        }
    }
}

async fn get(client: &Client, path: &str) -> Value {
    let response = client.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    response.json().await.unwrap()
}
