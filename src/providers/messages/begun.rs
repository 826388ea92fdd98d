//! The beginning of an answer in a request that goes on with it. It is the text so far, with its
//! thinking as the vendor has sealed it.
//!
//! The API's rules: with thinking turned on, the turn that an answer continues begins with its
//! thinking. A block is sent whole or not at all, and thinking is never the last block of a turn.
//! "Tool use and extended thinking blocks cannot be partially recovered. You can resume streaming
//! from the most recent text block."
//! <https://platform.claude.com/docs/en/build-with-claude/streaming#error-recovery-best-practices>
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::domain::prompt::{Message, Role};
use crate::domain::thinking::Thought;
use crate::ports::{Attempt, Continuation};
use crate::providers::chat::tools::blocks;
use crate::providers::upstream::json_body::Object;
use crate::providers::upstream::overlap;

const ROLE: &str = "assistant";
const CONTENT: &str = "content";
/// The least budget of thinking that the API takes, in tokens.
const LEAST_BUDGET: u64 = 1024;
const THINKING: &str = "thinking";

/// Adds the text so far; the beginning of the answer as it is sent, `None` if nothing is to be
/// changed. The API refuses a beginning that ends in white space, so that is cut off. Behind a turn
/// of the assistant an answer is only begun where the model goes on exactly.
pub(super) fn continued(
    messages: &mut Vec<Object>,
    continuation: Continuation,
    attempt: &Attempt,
) -> Option<String> {
    let so_far = attempt.so_far.as_str();
    let ends = messages.last().is_some_and(is_of_model);
    if !ends && so_far.trim_end().is_empty() {
        return None;
    }
    let last = if ends { messages.pop() } else { None };
    let mut text = so_far.to_owned();
    match last.as_ref().map(|last| last.read::<String>(CONTENT)) {
        Some(Some(own)) if overlap::is_echoed(&own, so_far) => {}
        Some(Some(own)) => text = own + so_far,
        Some(None) => {
            let own: Option<Vec<Box<RawValue>>> = last.and_then(|last| last.read(CONTENT));
            messages.push(turn(own.unwrap_or_default(), so_far.trim_end(), attempt));
            ask_on(messages, continuation, so_far);
            return Some(so_far.trim_end().to_owned());
        }
        None => {}
    }
    if !text.trim_end().is_empty() {
        messages.push(turn(Vec::new(), text.trim_end(), attempt));
        ask_on(messages, continuation, &text);
    }
    Some(text.trim_end().to_owned())
}

pub(super) fn is_of_model(turn: &Object) -> bool {
    turn.read::<String>("role").as_deref() == Some(ROLE)
}

/// The model's turn: blocks of the client, then the text with its thinking.
fn turn(mut own: Vec<Box<RawValue>>, text: &str, attempt: &Attempt) -> Object {
    let mut turn = Object::of(&json!({ "role": ROLE }));
    // A client may have begun the text.
    let begun = text.len().saturating_sub(attempt.so_far.trim_end().len());
    let at = |thought: &Thought| Thought { after: thought.after + begun, ..thought.clone() };
    let thinking = attempt.thinking.iter().map(at).filter(|thought| thought.after < text.len());
    let said = Message { thinking: thinking.collect(), ..Message::text(Role::Assistant, text) };
    if own.is_empty() && said.thinking.is_empty() {
        turn.set(CONTENT, &text);
        return turn;
    }
    own.extend(blocks(&said).iter().filter_map(|block| to_raw_value(block).ok()));
    turn.set(CONTENT, &own);
    turn
}

fn ask_on(messages: &mut Vec<Object>, continuation: Continuation, text: &str) {
    if continuation != Continuation::Prefix {
        let turn = json!({ "role": "user", "content": overlap::instruction(text) });
        messages.push(Object::of(&turn));
    }
}

/// Fits the budget of thinking into `limit`, which is what is left of the answer's: the API wants
/// it to be less. Where no budget fits, the answer goes on without more thinking.
pub(super) fn fit_budget(body: &mut Object, limit: u64) {
    let mut thinking: Object = body.read(THINKING).unwrap_or_default();
    let Some(budget) = thinking.read::<u64>("budget_tokens") else { return };
    if budget < limit {
        return;
    }
    if limit <= LEAST_BUDGET {
        turn_off(body);
        return;
    }
    thinking.set("budget_tokens", &(limit - 1));
    body.set(THINKING, &thinking);
}

/// Whether the request turns thinking on.
pub(super) fn thinks(body: &Object) -> bool {
    let thinking: Value = body.read(THINKING).unwrap_or_default();
    matches!(thinking["type"].as_str(), Some(kind) if kind != "disabled")
}

/// Turns thinking off.
pub(super) fn turn_off(body: &mut Object) {
    body.set(THINKING, &json!({ "type": "disabled" }));
}
