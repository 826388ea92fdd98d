//! A conversation as its users have it: the shared part of the tests of conversations.
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::client::{Client, Received, assert_whole};

/// One conversation of one client.
#[derive(Clone)]
pub(crate) struct Talk {
    pub(crate) client: Client,
    pub(crate) id: String,
}

/// A generation that was started in a conversation.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// The generation, whose id is the id of its message.
    pub(crate) id: String,
    /// The user's message that it answers.
    pub(crate) parent: String,
}

pub(crate) async fn request(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Response {
    let mut request = client.http.request(method, format!("{}{path}", client.base));
    if let Some(body) = body {
        request = request.json(body);
    }
    request.send().await.unwrap()
}

/// The status and the body.
pub(crate) async fn told(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

impl Talk {
    /// A new one.
    pub(crate) async fn open(client: &Client, body: &Value) -> Self {
        let (status, conversation) = told(client.post("/v1/conversations", body).await).await;
        assert_eq!(status, 201, "{conversation}");
        let id = conversation["id"].as_str().unwrap().to_owned();
        Self { client: client.clone(), id }
    }

    /// The same conversation, asked of another server.
    pub(crate) fn at(&self, client: &Client) -> Self {
        Self { client: client.clone(), id: self.id.clone() }
    }

    pub(crate) fn path(&self, end: &str) -> String {
        format!("/v1/conversations/{}{end}", self.id)
    }

    pub(crate) async fn get(&self, end: &str) -> Value {
        let response = self.client.get(&self.path(end)).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    pub(crate) async fn patch(&self, body: &Value) -> (u16, Value) {
        told(request(&self.client, Method::PATCH, &self.path(""), Some(body)).await).await
    }

    pub(crate) async fn delete(&self) -> (u16, Value) {
        told(request(&self.client, Method::DELETE, &self.path(""), None).await).await
    }

    /// Starts a generation in it; `body` without the conversation's id.
    pub(crate) async fn try_start(&self, mut body: Value) -> (u16, Value) {
        body["conversation_id"] = json!(self.id);
        told(self.client.post("/v1/generations", &body).await).await
    }

    pub(crate) async fn start(&self, body: Value) -> Turn {
        let (status, receipt) = self.try_start(body).await;
        assert_eq!(status, 201, "{receipt}");
        assert_eq!(receipt["conversation_id"], self.id.as_str());
        let text = |name: &str| receipt[name].as_str().unwrap().to_owned();
        Turn { id: text("id"), parent: text("parent_id") }
    }

    /// Starts one and reads it to its end.
    pub(crate) async fn say(&self, body: Value) -> Turn {
        let turn = self.start(body).await;
        self.end(&turn).await;
        turn
    }

    pub(crate) async fn prompt(&self, prompt: &str) -> Turn {
        self.say(json!({ "prompt": prompt })).await
    }

    /// All events of a generation.
    pub(crate) async fn end(&self, turn: &Turn) -> Vec<Received> {
        let events = self.client.all(&turn.id, 0).await;
        assert_whole(&events);
        events
    }

    /// The messages of a branch, as `role: content`.
    pub(crate) async fn lines(&self, end: &str) -> Vec<String> {
        let messages = self.get(&format!("/messages{end}")).await;
        let line = |m: &Value| {
            let content = m["content"].as_str().map(str::to_owned);
            let content = content.unwrap_or_else(|| m["content"].to_string());
            format!("{}: {content}", m["role"].as_str().unwrap())
        };
        messages["data"].as_array().unwrap().iter().map(line).collect()
    }

    pub(crate) async fn leaf(&self) -> Value {
        self.get("").await["active_leaf"].clone()
    }
}
