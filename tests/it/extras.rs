//! Content of an upstream beside text, thinking and calls comes out again in its own protocol. This
//! holds live, in a replay, behind a cursor, in one piece, on another instance, and when its events
//! are gone.
mod added_tools;
mod chat;
mod choices;
mod citations;
mod media;
mod messages;
mod responses;
mod tools;

use serde_json::{Value, json};

use crate::harness::{TestApp, model};
use crate::raw::{exchange, request};
use crate::upstream::{Script, Upstream};

/// Two instances whose model is a scripted upstream of some protocol.
struct Pair {
    one: TestApp,
    two: TestApp,
    upstream: Upstream,
    /// Where answers are started.
    path: &'static str,
}

impl Pair {
    async fn start(path: &'static str, provider: &str, script: impl Into<Script>) -> Self {
        Self::speaking(path, provider, None, script).await
    }

    async fn over_responses(script: impl Into<Script>) -> Self {
        Self::speaking("/v1/responses", "openai", Some("responses"), script).await
    }

    async fn speaking(
        path: &'static str,
        provider: &str,
        wire: Option<&str>,
        script: impl Into<Script>,
    ) -> Self {
        let upstream = Upstream::start(script).await;
        let mut scripted = model(&upstream);
        scripted.provider = serde_json::from_value(json!(provider)).unwrap();
        if wire.is_some() {
            scripted.wire = serde_json::from_value(json!(wire)).unwrap();
            scripted.continuation = serde_json::from_value(json!("none")).unwrap();
        }
        let one = TestApp::with(|config| config.models.push(scripted)).await;
        let two = TestApp::on(one.database.clone(), one.config.clone()).await;
        Self { one, two, upstream, path }
    }

    /// The data of the frames of a started answer.
    async fn ask(&self, body: &Value) -> Vec<Value> {
        let head = "Content-Type: application/json\r\nLastword-On-Disconnect: continue\r\n";
        let asked = request(&format!("POST {}", self.path), head, body.to_string().as_bytes());
        let answer = exchange(self.one.address, &asked).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        if body["stream"] == json!(true) { frames(&answer.body) } else { vec![answer.json()] }
    }

    /// The answer of a path on the other instance.
    async fn get(&self, id: &str, query: &str) -> Vec<u8> {
        let asked = request(&format!("GET {}/{id}{query}", self.path), "", b"");
        let answer = exchange(self.two.address, &asked).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.body
    }

    /// Streams an answer, compares all ways to read it, and gives its frames, and the object in one
    /// piece.
    async fn all_ways(&self, id: fn(&[Value]) -> String, body: &Value) -> (Vec<Value>, Value) {
        let mut body = body.clone();
        body["model"] = json!("scripted");
        body["stream"] = json!(true);
        let live = self.ask(&body).await;
        let id = id(&live);
        assert_eq!(frames(&self.get(&id, "?stream=true").await), live, "replayed elsewhere");
        let data = |frame: &Value| frame.as_str().is_none_or(|word| word != "[DONE]");
        let numbered = live.iter().filter(|frame| data(frame)).count();
        for after in 0..numbered - 1 {
            let query = format!("?stream=true&starting_after={after}");
            let rest = frames(&self.get(&id, &query).await);
            assert_eq!(rest, live[after + 1..], "behind {after}");
        }
        let whole: Value = serde_json::from_slice(&self.get(&id, "").await).unwrap();
        (live, whole)
    }

    /// Drops the events of all answers.
    async fn forget(&self) {
        self.one.database.forget_events().await;
    }

    async fn stop(self) {
        self.one.stop().await;
        self.two.stop().await;
    }
}

/// The data of each event of a stream; for data that is no JSON, its text.
fn frames(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}
