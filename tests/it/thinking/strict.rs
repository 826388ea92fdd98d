//! A scripted Claude that is as strict about thinking as the API: the words of its refusals are
//! the API's own, as public reports of 2025 and 2026 have them. Its signature of a text is made of
//! that text, so that every instance of it knows its own.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::{MISSING, refused};
use crate::upstream::{Answer, Request, Script};

/// The words of the first attempt, of a later one, and what is thought between text and call.
pub(super) const FIRST: [&str; 2] = ["Let me see,", " w\u{e9}ll\n\"so\""];
pub(super) const ANEW: &str = "Once more";
pub(super) const SECOND: [&str; 2] = ["Now the", " tool"];
/// The text, and how much of it comes before the second thinking.
pub(super) const TEXT: &str = "I look at the sea. It is blue.";
pub(super) const BEFORE: &str = "I look at the sea.";
const HIDDEN: &str = "eHh4";

/// Where the first attempt goes silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// Within the first thinking.
    Thinking,
    /// Behind its last word: the signature has not come.
    Unsigned,
    /// Behind its signature, and redacted thinking.
    Signed,
    /// Within the text.
    Text,
    /// Within the second thinking, behind text.
    Again,
}

impl Point {
    /// Whether there is a text to go on from.
    pub(super) fn goes_on(self) -> bool {
        matches!(self, Self::Text | Self::Again)
    }
}

/// The signature of a text.
pub(super) fn signature(text: &str) -> String {
    text.bytes().fold("Eq".to_owned(), |all, byte| all + &format!("{byte:02x}"))
}

pub(super) fn signed(text: &str) -> Value {
    json!({ "type": "thinking", "thinking": text, "signature": signature(text) })
}

pub(super) fn hidden() -> Value {
    json!({ "type": "redacted_thinking", "data": HIDDEN })
}

/// Its answers up to now, by the first text of the person.
type Asked = Arc<Mutex<HashMap<String, usize>>>;

/// Goes silent at `point` in the first answer to each person, and says all of it later.
pub(super) fn script(point: Point) -> Script {
    let asked = Asked::default();
    Script::with(move |request, _| {
        if request.line.contains("count_tokens") {
            let head = Answer::status(200).header("content-type", "application/json");
            return head.raw(json!({ "input_tokens": 12 }).to_string());
        }
        if request.line.contains("tokenize") {
            return Answer::status(404).raw("no such path");
        }
        if let Some(why) = wrong(request) {
            return refused(&why);
        }
        let turns = turns(request);
        if turns.iter().any(|turn| turn["content"][0]["type"] == "tool_result") {
            return Answer::whole_message(&["done"]);
        }
        if let Some(so_far) = begun(&turns) {
            let rest = TEXT.strip_prefix(so_far.as_str()).expect("its own words");
            return calls(
                thinks(says(Answer::sse().message_start(), 0, rest), 1, &SECOND, true),
                2,
            );
        }
        let person = turns[0]["content"].to_string();
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let before = asked.entry(person).or_default();
        *before += 1;
        if *before == 1 { silent(point) } else { anew() }
    })
}

fn turns(request: &Request) -> Vec<Value> {
    request.body["messages"].as_array().unwrap().clone()
}

/// The text that it is to go on from.
fn begun(turns: &[Value]) -> Option<String> {
    let last = turns.iter().rfind(|turn| turn["role"] == "assistant")?;
    let blocks = last["content"].as_array()?;
    Some(blocks.iter().filter_map(|block| block["text"].as_str()).collect())
}

/// Why the API refuses it.
fn wrong(request: &Request) -> Option<String> {
    let thinks = request.body["thinking"]["type"] == "enabled";
    let budget = request.body["thinking"]["budget_tokens"].as_u64();
    if budget >= request.body["max_tokens"].as_u64() {
        return Some("`max_tokens` must be greater than `thinking.budget_tokens`.".into());
    }
    let turns = turns(request);
    let is_thought =
        |block: &Value| matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking"));
    for (n, turn) in turns.iter().enumerate().filter(|(_, turn)| turn["role"] == "assistant") {
        let all = turn["content"].as_array().cloned().unwrap_or_default();
        if all.last().is_some_and(is_thought) {
            return Some(format!(
                "messages.{n}: The final block in an assistant message cannot be `thinking`."
            ));
        }
        for (m, block) in all.iter().enumerate() {
            let text = block["thinking"].as_str().unwrap_or_default();
            let known = match block["type"].as_str() {
                Some("thinking") => block["signature"] == json!(signature(text)),
                Some("redacted_thinking") => block["data"] == HIDDEN,
                _ => true,
            };
            if !known {
                let what = "Invalid `signature` in `thinking` block";
                return Some(format!("messages.{n}.content.{m}: {what}"));
            }
        }
        if thinks && !all.first().is_some_and(is_thought) {
            return Some(MISSING.into());
        }
    }
    None
}

fn thinks(answer: Answer, at: u32, words: &[&str], whole: bool) -> Answer {
    let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
    let piece = |answer: Answer, text: &&str| {
        answer.piece(at, json!({ "type": "thinking_delta", "thinking": text }))
    };
    let said = words.iter().fold(answer.block(at, block), piece);
    if !whole {
        return said;
    }
    // The signature comes in one piece, or in several.
    let all = signature(&words.concat());
    let (one, two) = all.split_at(all.len() / 2);
    let sign = |text: &str| json!({ "type": "signature_delta", "signature": text });
    said.piece(at, sign(one)).piece(at, sign(two)).block_stop(at)
}

fn hides(answer: Answer, at: u32) -> Answer {
    answer.block(at, hidden()).block_stop(at)
}

fn says(answer: Answer, at: u32, text: &str) -> Answer {
    let begun = answer.block(at, json!({ "type": "text", "text": "" }));
    let piece = |answer: Answer, text: &str| {
        answer.piece(at, json!({ "type": "text_delta", "text": text }))
    };
    text.split_inclusive(' ').fold(begun, piece).block_stop(at)
}

fn calls(answer: Answer, at: u32) -> Answer {
    let call = json!({ "type": "tool_use", "id": "toolu_1", "name": "f", "input": {} });
    let input = json!({ "type": "input_json_delta", "partial_json": "{\"a\":1}" });
    answer.block(at, call).piece(at, input).block_stop(at).stop_reason("tool_use").message_stop()
}

fn anew() -> Answer {
    let answer = hides(thinks(Answer::sse().message_start(), 0, &[ANEW], true), 1);
    calls(thinks(says(answer, 2, TEXT), 3, &SECOND, true), 4)
}

fn silent(point: Point) -> Answer {
    let answer = Answer::sse().message_start();
    let words = match point {
        Point::Thinking => &FIRST[..1],
        Point::Unsigned | Point::Signed | Point::Text | Point::Again => &FIRST[..],
    };
    let is_whole = !matches!(point, Point::Thinking | Point::Unsigned);
    let answer = thinks(answer, 0, words, is_whole);
    if !is_whole {
        return answer.stall();
    }
    let answer = hides(answer, 1);
    match point {
        Point::Thinking | Point::Unsigned | Point::Signed => answer.stall(),
        Point::Text => says(answer, 2, BEFORE).stall(),
        Point::Again => thinks(says(answer, 2, BEFORE), 3, &SECOND[..1], false).stall(),
    }
}
