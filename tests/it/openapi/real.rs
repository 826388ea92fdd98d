//! The answers of a running server, compared with the schemas.
use std::process::Stdio;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{document, installed};
use crate::conversation::{Talk, request};
use crate::harness::TestApp;
use crate::socket::Socket;

/// Lines for tests/openapi/validate.py.
struct Samples {
    app: TestApp,
    openapi: Value,
    lines: Vec<Value>,
}

impl Samples {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let mut lines = Vec::new();
        for path in ["/openapi.json", "/asyncapi.json"] {
            lines.push(
                json!({ "load": format!("urn:{path}"), "document": document(&app, path).await }),
            );
        }
        let openapi = lines[0]["document"].clone();
        Self { app, openapi, lines }
    }

    /// Asks, and notes the answer under the schema of that very operation, status and type.
    #[expect(clippy::too_many_arguments, reason = "a row of a table")]
    async fn ask(
        &mut self,
        method: &str,
        template: &str,
        path: &str,
        body: Option<Value>,
        status: u16,
    ) -> Value {
        let name = format!("{method} {path} {status}");
        let method: Method = method.parse().unwrap();
        let verb = method.as_str().to_lowercase();
        let response = request(&self.app.client, method, path, body.as_ref()).await;
        assert_eq!(response.status(), StatusCode::from_u16(status).unwrap(), "{name}");
        let described = &self.openapi["paths"][template][&verb]["responses"][status.to_string()];
        assert!(described.is_object(), "{name} is not described");
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap());
        let Some(kind) = kind else {
            assert!(described.get("content").is_none(), "{name} came without a body");
            return Value::Null;
        };
        let kind = kind.split(';').next().unwrap().to_owned();
        assert!(described["content"][&kind].is_object(), "{name}: {kind} is not described");
        let value: Value = response.json().await.unwrap();
        let escape = |text: &str| {
            text.replace('~', "~0").replace('/', "~1").replace('{', "%7B").replace('}', "%7D")
        };
        let pointer = format!(
            "/paths/{}/{verb}/responses/{status}/content/{}/schema",
            escape(template),
            escape(&kind)
        );
        self.note("urn:/openapi.json", &pointer, &name, value.clone());
        value
    }

    fn note(&mut self, document: &str, pointer: &str, name: &str, value: Value) {
        self.lines.push(
            json!({ "document": document, "pointer": pointer, "name": name, "value": value }),
        );
    }

    fn frame(&mut self, frame: &Value) {
        let kind = frame["type"].as_str().unwrap().to_owned();
        let pointer = format!("/components/messages/server-{kind}/payload");
        self.note("urn:/asyncapi.json", &pointer, &kind, frame.clone());
    }

    async fn validate(self) {
        let mut command = Command::new(installed("python"));
        command.arg(crate::program::root().join("tests/openapi/validate.py"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let lines: Vec<String> = self.lines.iter().map(Value::to_string).collect();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(lines.join("\n").as_bytes()).await.unwrap();
        drop(stdin);
        let out = child.wait_with_output().await.unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let values = format!("{} values\n", self.lines.len() - 2);
        assert_eq!(String::from_utf8_lossy(&out.stdout), values);
        self.app.stop().await;
    }
}

const G: &str = "/v1/generations";
const C: &str = "/v1/conversations";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_answers_is_what_the_document_says() {
    let mut s = Samples::new().await;
    generations(&mut s).await;
    conversations(&mut s).await;
    for path in
        ["/healthz", "/readyz", "/v1/models", "/v1/session", "/openapi.json", "/asyncapi.json"]
    {
        s.ask("GET", path, path, None, 200).await;
    }
    operators(&mut s).await;
    s.ask("POST", "/v1/session", "/v1/session", Some(json!({ "key": "lw_x" })), 401).await;
    s.ask("DELETE", "/v1/session", "/v1/session", None, 204).await;
    s.ask("POST", "/v1/tickets", "/v1/tickets", None, 201).await;
    let unknown = format!("{G}/00000000-0000-7000-8000-000000000000/tickets");
    s.ask("POST", "/v1/generations/{id}/tickets", &unknown, None, 404).await;
    s.ask("GET", "/v1/models/{model}", "/v1/models/demo", None, 200).await;
    s.ask("GET", "/v1/models/{model}", "/v1/models/dem", None, 404).await;
    let prompt = "/demo tokens=2 tps=0";
    let asked = json!({ "model": "demo", "input": prompt });
    let response = s.ask("POST", "/v1/responses", "/v1/responses", Some(asked), 200).await;
    let path = format!("/v1/responses/{}", response["id"].as_str().unwrap());
    s.ask("GET", "/v1/responses/{id}", &path, None, 200).await;
    s.ask("GET", "/v1/responses/{id}/input_items", &format!("{path}/input_items"), None, 200).await;
    s.ask("POST", "/v1/responses/{id}/cancel", &format!("{path}/cancel"), None, 200).await;
    s.ask("DELETE", "/v1/responses/{id}", &path, None, 200).await;
    s.ask("GET", "/v1/responses/{id}", &path, None, 404).await;
    let path = "/v1/chat/completions";
    let asked = json!({ "model": "demo", "messages": [{ "role": "user", "content": prompt }] });
    s.ask("POST", path, path, Some(asked), 200).await;
    s.ask("POST", path, path, Some(json!({ "nonsense": 1 })), 400).await;
    s.validate().await;
}

async fn operators(s: &mut Samples) {
    let prompt = Some(json!({ "prompt": "/demo tokens=1000 tps=1" }));
    let started = s.ask("POST", G, G, prompt, 201).await;
    s.ask("GET", "/v1/admin/overview", "/v1/admin/overview", None, 200).await;
    let path = format!("/v1/admin/generations/{}", started["id"].as_str().unwrap());
    let of =
        |what: &str| (format!("/v1/admin/generations/{{id}}/{what}"), format!("{path}/{what}"));
    let (template, path) = of("timeline");
    s.ask("GET", &template, &path, None, 200).await;
    let (template, path) = of("cancel");
    s.ask("POST", &template, &path, None, 200).await;
    let nowhere = "/v1/admin/generations/x/timeline";
    s.ask("GET", "/v1/admin/generations/{id}/timeline", nowhere, None, 404).await;
}

async fn generations(s: &mut Samples) {
    let demo =
        |text: &str| Some(json!({ "prompt": format!("/demo {text}"), "metadata": { "a": 1 } }));
    for prompt in
        ["tokens=20 tps=0 reasoning tool_call", "tokens=3 tps=0 fail_at=2", "tokens=2 tps=0"]
    {
        let started = s.ask("POST", G, G, demo(prompt), 201).await;
        let path = format!("{G}/{}", started["id"].as_str().unwrap());
        for event in s.app.client.all(started["id"].as_str().unwrap(), 0).await {
            s.note("urn:/openapi.json", "/components/schemas/Event", &event.name, event.json());
        }
        s.ask("GET", "/v1/generations/{id}", &path, None, 200).await;
        s.ask("POST", "/v1/generations/{id}/cancel", &format!("{path}/cancel"), None, 200).await;
    }
    let talk = s.ask("POST", "/v1/conversations", "/v1/conversations", Some(json!({})), 201).await;
    for (prompt, status) in [("/demo tokens=2 tps=0 length", 201), ("/demo tokens=2 tps=0", 409)] {
        let body = json!({ "prompt": prompt, "conversation_id": talk["id"] });
        let cut = s.ask("POST", G, G, Some(body), 201).await["id"].as_str().unwrap().to_owned();
        s.app.client.all(&cut, 0).await;
        let path = format!("{G}/{cut}/continue");
        let answer = s.ask("POST", "/v1/generations/{id}/continue", &path, None, status).await;
        if status == 201 {
            let id = answer["id"].as_str().unwrap();
            s.app.client.all(id, 0).await;
            s.ask("GET", "/v1/generations/{id}", &format!("{G}/{id}"), None, 200).await;
        }
    }
    let running = s.ask("POST", G, G, demo("tokens=1000 tps=1"), 201).await;
    let path = format!("{G}/{}", running["id"].as_str().unwrap());
    s.ask("GET", "/v1/generations/{id}", &path, None, 200).await;
    s.ask("DELETE", "/v1/generations/{id}", &path, None, 409).await;
    s.ask("POST", "/v1/generations/{id}/cancel", &format!("{path}/cancel"), None, 200).await;
    s.ask("GET", G, &format!("{G}?limit=2"), None, 200).await;
    s.ask("GET", G, &format!("{G}?limit=0"), None, 422).await;
    s.ask("GET", G, &format!("{G}?status=none"), None, 400).await;
    s.ask("DELETE", "/v1/generations/{id}", &path, None, 204).await;
    s.ask("GET", "/v1/generations/{id}", &path, None, 404).await;
    s.ask("GET", "/v1/generations/{id}/events", &format!("{path}/events"), None, 404).await;
    s.ask("POST", G, G, Some(json!({ "promt": "x" })), 422).await;
}

async fn conversations(s: &mut Samples) {
    let opened = s.ask("POST", C, C, Some(json!({ "system": "Be brief." })), 201).await;
    let path = format!("{C}/{}", opened["id"].as_str().unwrap());
    let talk = Talk { client: s.app.client.clone(), id: opened["id"].as_str().unwrap().into() };
    talk.prompt("/demo tokens=2 tps=0 reasoning").await;
    let parts = json!([{ "type": "text", "text": "/demo tokens=3 tps=0 fail_at=2" }]);
    talk.say(json!({ "messages": [{ "role": "user", "content": parts }] })).await;
    let running = talk.start(json!({ "prompt": "/demo tokens=1000 tps=1" })).await;
    let messages = format!("{path}/messages");
    s.ask("GET", "/v1/conversations/{id}/messages", &messages, None, 200).await;
    s.ask("GET", "/v1/conversations/{id}/messages", &format!("{messages}?all=true"), None, 200)
        .await;
    s.ask("GET", "/v1/conversations/{id}", &path, None, 200).await;
    s.ask("DELETE", "/v1/conversations/{id}", &path, None, 409).await;
    s.app.client.cancel(&running.id).await;
    s.ask("PATCH", "/v1/conversations/{id}", &path, Some(json!({ "title": "Titled" })), 200).await;
    s.ask("GET", C, C, None, 200).await;
    let share =
        s.ask("POST", "/v1/conversations/{id}/shares", &format!("{path}/shares"), None, 201).await;
    let link = share["url"].as_str().unwrap().to_owned();
    s.ask("GET", "/v1/shared/{token}", &link, None, 200).await;
    let later = Some(json!({ "later_turns": true }));
    let shares = format!("{path}/shares");
    let later = s.ask("POST", "/v1/conversations/{id}/shares", &shares, later, 201).await;
    let later = later["url"].as_str().unwrap().to_owned();
    s.ask("GET", "/v1/shared/{token}", &later, None, 200).await;
    let followed = format!("{link}/events");
    s.ask("GET", "/v1/shared/{token}/events", &followed, None, 204).await;
    s.ask("DELETE", "/v1/conversations/{id}/shares", &format!("{path}/shares"), None, 204).await;
    s.ask("GET", "/v1/shared/{token}", &link, None, 404).await;
    let items = format!("{path}/items");
    let item = json!({ "items": [{ "role": "user", "content": "more" }] });
    let added = s.ask("POST", "/v1/conversations/{id}/items", &items, Some(item), 200).await;
    s.ask("GET", "/v1/conversations/{id}/items", &items, None, 200).await;
    let one = format!("{items}/{}", added["first_id"].as_str().unwrap());
    s.ask("GET", "/v1/conversations/{id}/items/{item}", &one, None, 200).await;
    s.ask("DELETE", "/v1/conversations/{id}/items/{item}", &one, None, 200).await;
    s.ask("POST", "/v1/conversations/{id}", &path, Some(json!({ "metadata": {} })), 200).await;
    s.ask("DELETE", "/v1/conversations/{id}", &path, None, 200).await;
    s.ask("GET", "/v1/conversations/{id}", &path, None, 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frames_of_a_socket_are_what_the_document_says() {
    let mut s = Samples::new().await;
    let mut socket =
        Socket::with(s.app.address, &[("Sec-WebSocket-Protocol", "lastword.v1")]).await;
    let none = "00000000-0000-7000-8000-000000000000";
    for frame in [
        json!({ "type": "ping", "ref": 1 }),
        json!({ "type": "hello", "ref": 2 }),
        json!({ "type": "nonsense", "ref": "three" }),
        json!({ "type": "cancel", "ref": 4, "generation": none }),
        json!({ "type": "generate", "ref": 5, "prompt": "/demo tokens=3 tps=0" }),
    ] {
        socket.send(&frame).await;
    }
    let mut id = Value::Null;
    loop {
        let frame = socket.frame().await.expect("it goes on");
        s.frame(&frame);
        if frame["ref"] == 5 {
            id = frame["generation"].clone();
        }
        if frame["event"]["type"] == "done" {
            break;
        }
    }
    for (kind, answer) in [("subscribe", "ack"), ("unsubscribe", "ack"), ("cancel", "cancelled")] {
        socket.send(&json!({ "type": kind, "ref": kind, "generation": id, })).await;
        loop {
            let frame = socket.frame().await.expect("it goes on");
            s.frame(&frame);
            if frame["ref"] == kind {
                assert_eq!(frame["type"], answer);
                break;
            }
        }
    }
    s.validate().await;
}
