//! The comparison of a request's body with that of an earlier request.
//!
//! Clients vary their bodies between two tries. Known variations are left out here.
//! docs/protocol.md has a row for each with the client that makes it.
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::protocols::openai::ids;
use crate::domain::id::GenerationId;

/// The protocol's name in a scope.
pub(super) const MESSAGES: &str = "AnthropicMessages";
/// Fields that say how the answer is delivered, not what it is.
const DELIVERY: [&str; 2] = ["stream", "stream_options"];

/// Output items that a client sends back with its next try. A tool's answer is something new.
const SAID: [&str; 2] = ["message", "reasoning"];

/// The words of Claude Code behind the part of an answer that it has, when its next try asks for
/// the rest.
const CUT_WORDS: &str = "<system-reminder>\nYour response above was cut off mid-stream.";

/// The identity of a request.
#[derive(Debug)]
pub(super) struct Compared {
    /// Of scope and body.
    pub(super) hash: Vec<u8>,
    /// The same without the unfinished answer's items at the end of the body, and the answer's
    /// generation, if that shows.
    pub(super) without_said: Option<(Vec<u8>, Option<GenerationId>)>,
    /// Whether the body names a turn, so that nobody but its own client sends it twice.
    pub(super) names_turn: bool,
}

/// Reads a body; `None` if it cannot be a repeat. `scope` keeps apart who must not meet.
pub(super) fn compared(scope: [&str; 4], body: &str) -> Option<Compared> {
    let Ok(Value::Object(mut body)) = serde_json::from_str(body) else { return None };
    if body.get("background") == Some(&Value::Bool(true)) {
        return None;
    }
    DELIVERY.iter().for_each(|name| drop(body.remove(*name)));
    let turn = body.get("client_metadata").and_then(|of| of.get("turn_id"));
    let names_turn = turn.and_then(Value::as_str).is_some_and(|turn| !turn.is_empty());
    let mut body = Value::Object(body);
    if scope[2] == MESSAGES {
        take_cache_control(&mut body);
    }
    let mut body = sorted(body);
    let whole = hash(scope, &body);
    let items = take_items(&mut body).map(Some);
    let said = items.or_else(|| take_words(&mut body).then_some(None));
    let without_said = said.map(|of| (hash(scope, &body), of));
    Some(Compared { hash: whole, without_said, names_turn })
}

fn hash(scope: [&str; 4], body: &Value) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in scope {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.update(serde_json::to_vec(body).unwrap_or_default());
    hash.finalize().to_vec()
}

/// Removes items of one of our answers from the end of `input`; whose they are.
fn take_items(body: &mut Value) -> Option<GenerationId> {
    let input = body.get_mut("input")?.as_array_mut()?;
    let of = input.last().and_then(said_by)?;
    while input.last().and_then(said_by) == Some(of) {
        input.pop();
    }
    Some(of)
}

/// Removes Claude Code's words about a cut from the end of `messages`, with the part of the answer
/// in front of them. Where it has no part they are a block of the user's own turn.
fn take_words(body: &mut Value) -> bool {
    let Some(messages) = body.get_mut("messages").and_then(Value::as_array_mut) else {
        return false;
    };
    let has_part = messages.iter().rev().nth(1).is_some_and(|turn| turn["role"] == "assistant");
    let Some(last) = messages.last_mut().filter(|turn| turn["role"] == "user") else {
        return false;
    };
    let Some(blocks) = last["content"].as_array_mut() else { return false };
    let text = blocks.last().and_then(|block| block["text"].as_str());
    if !text.is_some_and(|text| text.starts_with(CUT_WORDS)) {
        return false;
    }
    match blocks.len() {
        1 if has_part => messages.truncate(messages.len() - 2),
        1 => return false,
        _ => drop(blocks.pop()),
    }
    true
}

/// Removes the marks of what shall be cached: they wander to the last block. Only where the
/// protocol has them, since a tool may have an argument of that name.
fn take_cache_control(body: &mut Value) {
    unmark(body);
    for list in ["tools", "system", "messages"] {
        each(body.get_mut(list), |block| {
            unmark(block);
            each(block.get_mut("content"), |part| {
                unmark(part);
                each(part.get_mut("content"), unmark);
            });
        });
    }
}

fn unmark(block: &mut Value) {
    if let Some(fields) = block.as_object_mut() {
        fields.remove("cache_control");
    }
}

fn each(list: Option<&mut Value>, act: impl FnMut(&mut Value)) {
    list.and_then(Value::as_array_mut).into_iter().flatten().for_each(act);
}

/// The generation that said this item, if it is one of ours.
fn said_by(item: &Value) -> Option<GenerationId> {
    let kind = item.get("type")?.as_str()?;
    SAID.contains(&kind).then(|| ids::item_of(item.get("id")?.as_str()?)).flatten()
}

/// The same value with the keys of every object in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(fields.into_iter().map(|(k, v)| (k, sorted(v))).collect::<Map<_, _>>())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Compared {
        compared(["default", "", "chat", "/"], body).unwrap()
    }

    #[test]
    fn a_repeat_is_the_same_json_value_however_it_is_delivered() {
        let hash = |body| of(body).hash;
        let first =
            hash(r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}"#);
        assert_eq!(first, hash(r#"{ "messages":[{"content":"hi","role":"user"}], "model":"m" }"#));
        assert_ne!(first, hash(r#"{"model":"m","messages":[{"role":"user","content":"hj"}]}"#));
        let spelled_out = r#"{"model":"m","n":1,"messages":[{"role":"user","content":"hi"}]}"#;
        assert_ne!(first, hash(spelled_out), "a default that is spelled out is another body");
    }

    #[test]
    fn what_the_cut_answer_said_may_come_back() {
        let id = "01a22aaccbab7033831b7b2cbe1b6d55";
        let user = r#"{"type":"message","role":"user","content":"q","id":"msg_1"}"#;
        let said = format!(r#"{{"type":"message","role":"assistant","id":"msg_{id}_1"}}"#);
        let thought = format!(r#"{{"type":"reasoning","id":"rs_{id}_0"}}"#);
        let ran = r#"{"type":"function_call_output","call_id":"c","output":""}"#;
        let body = |items: &[&str]| of(&format!(r#"{{"input":[{}]}}"#, items.join(",")));
        let first = body(&[user]);
        assert!(first.without_said.is_none());
        let (again, by) = body(&[user, &thought, &said]).without_said.unwrap();
        assert_eq!(again, first.hash);
        assert_eq!(by, ids::parse("msg_", &format!("msg_{id}")));
        // An item of a model's server that speaks Responses has that server's id at its end.
        let theirs = said.replace("_1\"", "_1_68af_2\"");
        assert_eq!(body(&[user, &thought, &theirs]).without_said, Some((first.hash, by)));
        assert!(body(&[user, &said, ran]).without_said.is_none(), "a tool has run: a new question");
    }

    #[test]
    fn claude_code_asks_for_the_rest_in_words() {
        let body = |messages: &str| {
            compared(["default", "", MESSAGES, "/"], &format!(r#"{{"messages":[{messages}]}}"#))
                .unwrap()
        };
        let words = |text: &str| {
            format!(r#"{{"role":"user","content":[{{"type":"text","text":"{text}"}}]}}"#)
        };
        let asked = r#"{"role":"user","content":[{"type":"text","text":"q"CACHE}]}"#;
        let first = body(&asked.replace("CACHE", r#","cache_control":{"type":"ephemeral"}"#));
        let asked = asked.replace("CACHE", "");
        let part = r#"{"role":"assistant","content":[{"type":"text","text":"Now"}]}"#;
        let rest = words(
            "<system-reminder>\\nYour response above was cut off mid-stream. Resume directly",
        );
        let again = body(&format!("{asked},{part},{rest}"));
        assert_eq!(again.without_said, Some((first.hash.clone(), None)));
        assert_ne!(again.hash, first.hash);
        assert_eq!(body(&asked).hash, first.hash, "the marks of a cache wander");
        let block = r#"{"type":"text","text":"<system-reminder>\nYour response above was cut off mid-stream."}"#;
        let thought = body(&asked.replace("]}", &format!(",{block}]}}")));
        assert_eq!(
            thought.without_said,
            Some((first.hash.clone(), None)),
            "only thinking was there"
        );
        for other in [format!("{asked},{rest}"), format!("{asked},{part},{}", words("go on"))] {
            assert_eq!(body(&other).without_said, None, "{other}");
        }
    }

    #[test]
    fn a_tools_argument_is_no_mark_of_a_cache() {
        let hash = |mark: &str, argument: &str| {
            let body = r#"{"system":[{"type":"text","text":"s"MARK}],"tools":[{"name":"f",
                "input_schema":{"properties":{"cache_control":{"type":"string"}}}MARK}],
                "messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f",
                  "input":{"cache_control":"ARGUMENT"}MARK}]},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"t",
                  "content":[{"type":"text","text":"r"MARK}]MARK}]}]}"#;
            let body = body.replace("MARK", mark).replace("ARGUMENT", argument);
            compared(["default", "", MESSAGES, "/"], &body).unwrap().hash
        };
        let mark = r#","cache_control":{"type":"ephemeral"}"#;
        assert_eq!(hash("", "no-store"), hash(mark, "no-store"));
        assert_ne!(hash("", "no-store"), hash("", "no-cache"), "another question");
    }

    #[test]
    fn a_turn_is_named_in_the_body() {
        assert!(of(r#"{"client_metadata":{"turn_id":"t"}}"#).names_turn);
        assert!(!of(r#"{"client_metadata":{"session_id":"s"}}"#).names_turn);
        assert!(compared(["", "", "", ""], r#"{"background":true}"#).is_none());
    }

    #[test]
    fn another_route_is_another_request() {
        let hash = |path| compared(["", "", "chat", path], "{}").unwrap().hash;
        assert_ne!(hash("/v1/completions"), hash("/v1/chat/completions"));
    }
}
