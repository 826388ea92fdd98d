//! The recording server: `[[name]]` in a request names the situation, whose answer stands in
//! tests/sdk/without/answers.json.
use serde_json::Value;

use super::{chat, responses};
use crate::upstream::{Answer, Request, Script, Upstream};

/// The situation that a request names.
pub(super) fn situation(text: &str) -> &str {
    let (_, rest) = text.split_once("[[").unwrap_or_else(|| panic!("no situation in {text}"));
    rest.split_once("]]").unwrap().0
}

fn answers() -> Value {
    let file = crate::program::root().join("tests/sdk/without/answers.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn json(status: u16, body: &Value) -> Answer {
    Answer::status(status).header("content-type", "application/json").raw(body.to_string())
}

fn answer(answers: &Value, request: &Request) -> Answer {
    let asked = situation(request.text());
    // A call was answered: the model has what it asked for.
    let is_answered = request.text().contains("call_a") && matches!(asked, "tool" | "parallel");
    let name = if is_answered { "results" } else { asked };
    if let Some(error) = answers["errors"].get(name) {
        let status = u16::try_from(error["status"].as_u64().unwrap()).unwrap();
        let head = error["headers"].as_object().into_iter().flatten();
        let refusal = Answer::status(status).header("content-type", "application/json");
        let refusal = head
            .fold(refusal, |answer, (name, value)| answer.header(name, value.as_str().unwrap()));
        return refusal.raw(error["body"].to_string());
    }
    let is_chat = request.line.starts_with("POST /v1/chat/completions ");
    assert!(is_chat || request.line.starts_with("POST /v1/responses "), "{}", request.line);
    let spec = &answers[if is_chat { "chat" } else { "responses" }][name];
    assert!(!spec.is_null(), "no answer to {name}: {}", request.line);
    match (is_chat, request.body["stream"] == true) {
        (true, false) => json(200, &chat::whole(spec, &request.body)),
        (false, false) => json(200, &responses::whole(spec, &request.body)),
        (true, true) => {
            let chunks = chat::chunks(spec, &request.body);
            chunks
                .iter()
                .fold(Answer::sse(), |answer, chunk| answer.data(&chunk.to_string()))
                .done()
        }
        (false, true) => {
            let frame = |answer: Answer, e: &Value| {
                answer.raw(format!("event: {}\ndata: {e}\n\n", e["type"].as_str().unwrap()))
            };
            responses::events(spec, &request.body).iter().fold(Answer::sse(), frame)
        }
    }
}

/// A server that answers each situation, and keeps what it is asked.
pub(super) async fn start() -> Upstream {
    let answers = answers();
    Upstream::start(Script::with(move |request, _| answer(&answers, request))).await
}
