//! The data of another tenant does not exist. Every operation of the served documents gets ids of
//! another tenant and ids that do not exist. The answers are alike to the last byte.
mod frames;
mod rows;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::TestApp;
use crate::keys::{locked, make_key};
use rows::{Asks, ROWS};

/// The objects of a tenant, by name.
#[derive(Clone)]
struct Names {
    generation: String,
    conversation: String,
    message: String,
    chat: String,
    /// Not of a valid share, which is meant for strangers: of a share that was revoked.
    token: String,
}

impl Names {
    /// Objects that do not exist.
    fn unknown() -> Self {
        Self {
            generation: "00000000-0000-7000-8000-000000000001".into(),
            conversation: "00000000-0000-7000-8000-000000000002".into(),
            message: "00000000-0000-7000-8000-000000000003".into(),
            chat: "nobodys-chat".into(),
            token: "sh_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into(),
        }
    }

    fn all(&self) -> [(&'static str, &str); 5] {
        [
            ("{generation}", &self.generation),
            ("{conversation}", &self.conversation),
            ("{message}", &self.message),
            ("{chat}", &self.chat),
            ("{token}", &self.token),
        ]
    }

    /// A template with these names in it.
    fn fill(&self, template: &str) -> String {
        self.all().iter().fold(template.to_owned(), |text, (hole, name)| text.replace(hole, name))
    }

    /// An answer without these names: it may repeat them from the request.
    fn blank(&self, answer: &str) -> String {
        let text =
            self.all().iter().fold(answer.to_owned(), |t, (hole, name)| t.replace(name, hole));
        // Each request has its own number, which Anthropic's errors repeat.
        match text.split_once("\"req_") {
            Some((before, rest)) => format!("{before}\"{}", rest.trim_start_matches(|c| c != '"')),
            None => text,
        }
    }
}

/// A server with an owner that has one of everything, and a stranger.
struct Houses {
    app: TestApp,
    owner: String,
    stranger: String,
    /// The owner's, with a generation that has ended and with one that runs.
    foreign: [Names; 2],
}

impl Houses {
    async fn new() -> Self {
        let (app, owner) = locked(&["--tenant", "owner"]).await;
        let stranger = make_key(&app.database, &["--tenant", "stranger"]).await;
        let post = async |path: &str, body: Value| {
            let answer = ask(&app, &owner, &format!("POST {path}"), "", &body.to_string()).await;
            assert!(matches!(answer.status, 200 | 201), "{}", answer.body);
            answer.body
        };
        let id = |body: &str| {
            let body: Value = serde_json::from_str(body).unwrap();
            body["id"].as_str().unwrap().to_owned()
        };
        let conversation = id(&post("/v1/conversations", json!({})).await);
        let prompt =
            json!({ "prompt": "/demo tokens=3 tps=0 secret", "conversation_id": conversation });
        let ended = id(&post("/v1/generations", prompt).await);
        let events = format!("GET /v1/generations/{ended}/events");
        assert!(ask(&app, &owner, &events, "", "").await.body.contains("event: done"));
        let prompt = json!({ "prompt": "/demo tokens=1000000 tps=1 secret" });
        let running = id(&post("/v1/generations", prompt).await);
        let chat = json!({ "id": "owners-chat",
            "messages": [{ "role": "user", "parts": [{ "type": "text", "text": "/demo tokens=1000000 tps=1" }] }] });
        // Only its head is waited for: it runs until it is stopped.
        let request = app.client.http.post(format!("{}/api/chat", app.client.base));
        let said = request.bearer_auth(&owner).json(&chat).send().await.unwrap();
        assert_eq!(said.status(), 200);
        let share = post(&format!("/v1/conversations/{conversation}/shares"), json!({})).await;
        let share: Value = serde_json::from_str(&share).unwrap();
        let token = share["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let revoke = format!("DELETE /v1/conversations/{conversation}/shares");
        assert_eq!(ask(&app, &owner, &revoke, "", "").await.status, 204);
        let message = ended.clone();
        let first =
            Names { generation: ended, conversation, message, chat: "owners-chat".into(), token };
        let second = Names { generation: running, ..first.clone() };
        Self { app, owner, stranger, foreign: [first, second] }
    }

    /// All answers that the owner gets about it.
    async fn seen(&self) -> Vec<String> {
        let [ended, running] = &self.foreign;
        let mut seen = Vec::new();
        for path in [
            "/v1/generations/{generation}",
            "/v1/generations/{generation}/events",
            "/v1/conversations/{conversation}",
            "/v1/conversations/{conversation}/messages",
        ] {
            let line = format!("GET {}", ended.fill(path));
            let body = ask(&self.app, &self.owner, &line, "", "").await.body;
            // Each connection gets another pause.
            let same = body.split_inclusive('\n').filter(|line| !line.starts_with("retry: "));
            seen.push(same.collect());
        }
        for path in [running.fill("GET /v1/generations/{generation}"), "GET /v1/generations".into()]
        {
            let body = ask(&self.app, &self.owner, &path, "", "").await.body;
            let body: Value = serde_json::from_str(&body).unwrap();
            let of = |row: &Value| format!("{} {}", row["id"], row["status"]);
            seen.push(of(&body));
            seen.extend(body["data"].as_array().into_iter().flatten().map(of));
        }
        seen
    }

    async fn stop(self) {
        for path in ["DELETE /api/chat/{chat}/stream", "POST /v1/generations/{generation}/cancel"] {
            let answer = ask(&self.app, &self.owner, &self.foreign[1].fill(path), "", "").await;
            assert!(answer.status < 300, "{}", answer.body);
        }
        self.app.stop().await;
    }
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    /// All but the hour.
    headers: Vec<(String, String)>,
    body: String,
}

async fn ask(app: &TestApp, key: &str, line: &str, head: &str, body: &str) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let url = format!("{}{path}", app.client.base);
    let mut request = app.client.http.request(method.parse().unwrap(), url).bearer_auth(key);
    if let Some((name, value)) = head.split_once(": ") {
        request = request.header(name, value);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    // The speed of the body decides whether the connection stays, not the object that was asked
    // for. Each request has an id of its own.
    let passing = ["date", "connection", "x-request-id", "request-id"];
    let headers = response.headers().iter().filter(|(name, _)| !passing.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| {
        let mut values: Vec<&str> = value.to_str().unwrap().split(", ").collect();
        // A set, which actix-cors writes in another order on each worker.
        values.sort_unstable();
        (name.to_string(), values.join(", "))
    });
    let mut headers: Vec<_> = headers.collect();
    headers.sort();
    Answer { status, headers, body: response.text().await.unwrap() }
}

/// `GET /v1/…` of every operation in the document that is served.
async fn operations(app: &TestApp) -> BTreeSet<String> {
    let document: Value = app.client.get("/openapi.json").await.json().await.unwrap();
    let mut found = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            found.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_has_its_row() {
    let app = TestApp::start().await;
    let operations = operations(&app).await;
    let listed: BTreeSet<String> = ROWS.iter().map(|row| row.operation.to_owned()).collect();
    assert_eq!(operations, listed, "the document, then the rows");
    for row in ROWS {
        // Every operation with a tenant's id in its path is asked with one.
        let names = row.operation.contains("{id}") || row.operation.contains("{token}");
        let asked = match row.asks {
            Asks::Alike(asks) => !asks.is_empty(),
            Asks::Nothing(why) => why.is_empty(),
        };
        assert!(asked || !names, "{} is never asked", row.operation);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_and_unknown_look_the_same_to_every_operation() {
    let houses = Houses::new().await;
    let before = houses.seen().await;
    let unknown = Names::unknown();
    let mut walked = 0;
    for row in ROWS {
        let Asks::Alike(asks) = row.asks else { continue };
        for (end, body, status) in asks {
            let (query, head) = if end.starts_with('?') { (*end, "") } else { ("", *end) };
            let line = format!("{}{query}", rows::own(row.operation));
            let alike = async |names: &Names| {
                let line = names.fill(&line);
                let body = names.fill(body);
                let mut answer = ask(&houses.app, &houses.stranger, &line, head, &body).await;
                answer.body = names.blank(&answer.body);
                answer
            };
            let expected = alike(&unknown).await;
            assert_eq!(expected.status, *status, "{line} {body}: {expected:?}");
            for foreign in &houses.foreign {
                assert_eq!(alike(foreign).await, expected, "{line} {head} {body}");
                walked += 1;
            }
        }
    }
    assert!(walked >= 60, "{walked}");
    for list in ["/v1/generations", "/v1/conversations", "/v1/conversations?q=secret"] {
        let answer = ask(&houses.app, &houses.stranger, &format!("GET {list}"), "", "").await;
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &body["data"]), (200, &json!([])), "{list}");
    }
    assert_eq!(houses.seen().await, before, "what the stranger asked changed nothing");
    houses.stop().await;
}
