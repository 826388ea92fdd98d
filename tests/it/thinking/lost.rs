//! The server is killed while Claude thinks. Its readers come back as their protocols have it: they
//! have each thought once and whole, with its own signature, and send the turn back soundly.
use serde_json::{Value, json};
use tempfile::TempDir;

use super::readers::{Gone, PROTOCOLS, Protocol};
use super::strict::{ANEW, BEFORE, FIRST, Point, SECOND, TEXT, hidden, script, signature, signed};
use super::{asks, claude_config};
use crate::database::TestDatabase;
use crate::harness::TestApp;
use crate::process::{Server, command};
use crate::raw::{exchange, request};
use crate::upstream::{Answer, Script, Upstream};

/// The turn as the API takes it: in the end there is all of it, each thought in its place.
fn turn(point: Point, protocol: Protocol) -> Value {
    let text = |text: &str| json!({ "type": "text", "text": text });
    let called = json!({ "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "a": 1 } });
    let first = if point.goes_on() { FIRST.concat() } else { ANEW.to_owned() };
    let (first, second) = (signed(&first), signed(&SECOND.concat()));
    match (protocol, point) {
        // In chat completions thinking stands before the text.
        (Protocol::Chat, _) => json!([first, hidden(), second, text(TEXT), called]),
        // The thought that broke off stands between the texts, and does not go up.
        (Protocol::Messages | Protocol::Responses, Point::Again) => {
            let rest = TEXT.strip_prefix(BEFORE).unwrap();
            json!([first, hidden(), text(BEFORE), text(rest), second, called])
        }
        (Protocol::Messages | Protocol::Responses, _) => {
            json!([first, hidden(), text(TEXT), second, called])
        }
    }
}

/// The words of all thinking that a reader has: none twice, and none that broke off but those
/// which it has seen and that cannot be taken back.
fn thought(point: Point, protocol: Protocol) -> String {
    let torn = if point == Point::Again && protocol.keeps_torn() { SECOND[0] } else { "" };
    let first = if point.goes_on() { FIRST.concat() } else { ANEW.to_owned() };
    format!("{first}{torn}{}", SECOND.concat())
}

/// The last words before the kill, as each protocol's frames have them.
fn seen(point: Point) -> &'static str {
    match point {
        Point::Thinking => "Let me see,",
        Point::Unsigned | Point::Signed => "w\u{e9}ll",
        Point::Text => "sea.",
        Point::Again => "Now the",
    }
}

/// The last thing before the kill, as the log has it.
fn logged(point: Point) -> &'static str {
    if point == Point::Signed { "redacted_thinking" } else { seen(point) }
}

struct Run {
    point: Point,
    dir: TempDir,
    database: TestDatabase,
    upstream: Upstream,
}

impl Run {
    async fn begin(point: Point, continuation: &str) -> Self {
        let upstream = Upstream::start(script(point)).await;
        let (dir, database) = (TempDir::new().unwrap(), TestDatabase::create().await);
        let model = format!(
            "[[models]]\nname = 'claude'\nprovider = 'anthropic'\nbase_url = '{}'\n\
             continuation = '{continuation}'\nmax_output_tokens = 2500\n\
             set = {{ thinking = {{ type = 'enabled', budget_tokens = 2499 }} }}\n",
            upstream.base_url().trim_end_matches("/v1")
        );
        std::fs::write(dir.path().join("lastword.toml"), model).unwrap();
        Self { point, dir, database, upstream }
    }

    async fn server(&self) -> Server {
        let mut serve = command(self.dir.path());
        serve.args(["--database-url", &self.database.url, "--lease-s", "2", "--config"]);
        serve.arg(self.dir.path().join("lastword.toml"));
        Server::start(serve).await
    }

    /// A reader of each protocol, cut by a kill at the point.
    async fn killed(&self) -> Vec<Gone> {
        let server = self.server().await;
        let mut readers = Vec::new();
        for protocol in PROTOCOLS {
            readers.push(protocol.ask(server.address).await);
        }
        for reader in &mut readers {
            reader.until(seen(self.point)).await;
            let mut log = server.client.events(&reader.generation(), 0).await;
            while !log.next().await.expect("it goes on").data.contains(logged(self.point)) {}
        }
        server.kill().await;
        let mut gone = Vec::new();
        for reader in readers {
            gone.push(reader.gone().await);
        }
        gone
    }

    /// The next turn reaches the model as the model made it.
    async fn goes_on(&self, server: &Server, reader: &Gone) {
        let name = format!("{:?}, {:?}", self.point, reader.protocol);
        let (path, body) = reader.next_turn();
        let head = "Content-Type: application/json\r\n";
        let asked = request(&format!("POST {path}"), head, body.to_string().as_bytes());
        let answer = exchange(server.address, &asked).await;
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == 200 && said.contains("done"), "{name}: {said}");
        let all = self.upstream.requests();
        let sent = all.last().unwrap();
        let turns = sent.body["messages"].as_array().unwrap();
        let person = turns[0]["content"].to_string();
        assert!(person.contains(reader.protocol.name()), "{name}: {person}");
        assert_eq!(turns[1]["content"], turn(self.point, reader.protocol), "{name}");
        assert!(!said.contains("left_out"), "{name}: {said}");
    }
}

async fn killed_at(point: Point, continuation: &str) {
    let run = Run::begin(point, continuation).await;
    let readers = run.killed().await;
    let server = run.server().await;
    for mut reader in readers {
        reader.come_back(server.address).await;
        let name = format!("{point:?}, {continuation}, {:?}", reader.protocol);
        assert_eq!(reader.text(), TEXT, "{name}");
        assert_eq!(reader.thought(), thought(point, reader.protocol), "{name}");
        for (text, seal) in reader.seals() {
            assert_eq!(seal, signature(&text), "{name}: a signature of another text");
        }
        assert_eq!(reader.superseded(), !point.goes_on(), "{name}");
        run.goes_on(&server, &reader).await;
        reader.look_again(server.address).await;
    }
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_within_claudes_thinking_leaves_no_torn_thought() {
    for point in [Point::Thinking, Point::Unsigned, Point::Signed] {
        killed_at(point, "prefix").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_behind_claudes_thinking_goes_on_with_it() {
    for continuation in ["prefix", "instruct"] {
        for point in [Point::Text, Point::Again] {
            killed_at(point, continuation).await;
        }
    }
}

/// A model that has thought in silence: only its signature is there.
fn silent_thought(seal: &str) -> Answer {
    let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
    let signed = json!({ "type": "signature_delta", "signature": seal });
    Answer::sse().message_start().block(0, block).piece(0, signed).block_stop(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thought_without_words_is_not_there_twice() {
    let script = Script::with(|_, number| match number {
        0 => silent_thought("b25l").block(1, json!({ "type": "text", "text": "" })).cut(),
        _ => {
            let text = json!({ "type": "text", "text": "" });
            let hello = json!({ "type": "text_delta", "text": "Hello" });
            let answer = silent_thought("dHdv").block(1, text).piece(1, hello).block_stop(1);
            answer.stop_reason("end_turn").message_stop()
        }
    });
    let upstream = Upstream::start(script).await;
    let app = TestApp::with(|config| {
        config.models.push(claude_config(&upstream, "continuation = 'prefix'"));
    })
    .await;
    let body = json!({ "model": "claude", "max_tokens": 9, "messages": [asks()] });
    let whole = app.client.post("/v1/messages", &body).await;
    let whole: Value = whole.json().await.unwrap();
    let thinking = json!({ "type": "thinking", "thinking": "", "signature": "dHdv" });
    assert_eq!(whole["content"], json!([thinking, { "type": "text", "text": "Hello" }]));
    // Nothing was said to a client of chat completions, which need not begin again.
    let id = whole["id"].as_str().unwrap().trim_start_matches("msg_").to_owned();
    let id = uuid::Uuid::parse_str(&id).unwrap();
    let path = format!("GET /v1/chat/completions/chatcmpl-{id}?stream=true&starting_after=0");
    let chat = exchange(app.address, &request(&path, "", b"")).await;
    let chat = String::from_utf8(chat.body).unwrap();
    assert!(chat.contains("Hello") && !chat.contains("superseded"), "{chat}");
    app.stop().await;
}

/// The documentation says that no answer is begun for a model that thinks.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_takes_no_beginning_while_it_thinks_goes_on_without() {
    let script = Script::with(|request, number| {
        let thinks = request.body["thinking"]["type"] == "enabled";
        match number {
            0 => {
                let text = json!({ "type": "text", "text": "" });
                let said = json!({ "type": "text_delta", "text": BEFORE });
                silent_thought("b25l").block(1, text).piece(1, said).cut()
            }
            _ if thinks => super::refused("Prefilling is not supported with `thinking` enabled."),
            _ => Answer::whole_message(&[" sea.", " It is blue."]),
        }
    });
    let upstream = Upstream::start(script).await;
    let app = TestApp::with(|config| {
        config.models.push(claude_config(&upstream, "continuation = 'prefix'"));
    })
    .await;
    let thinking = json!({ "type": "enabled", "budget_tokens": 1024 });
    let messages = json!({ "model": "claude", "max_tokens": 2000, "messages": [asks()],
        "thinking": thinking });
    let answer = app.client.post("/v1/messages", &messages).await;
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["content"][1]["text"], TEXT, "{answer}");
    let asked = upstream.requests();
    let asked = asked.iter().filter(|asked| asked.line.starts_with("POST /v1/messages HTTP"));
    let [_, refused, taken] = &asked.collect::<Vec<_>>()[..] else { panic!("three requests") };
    assert_eq!(refused.body["messages"][1]["content"][0]["signature"], "b25l");
    assert_eq!(taken.body["thinking"], json!({ "type": "disabled" }));
    assert_eq!(taken.body["messages"], refused.body["messages"]);
    app.stop().await;
}
