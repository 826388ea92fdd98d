//! The names of a client's fields that an upstream of another protocol does not get.
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::reasoning_details;
use super::reasoning_details::{BLOCKS, DETAILS};
use super::source::{Source, WireProtocol};
use super::thinking::CARRIED;

/// Fields of chat completions that every protocol is told, or that are honoured here.
const CHAT: [&str; 19] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "presence_penalty",
    "frequency_penalty",
    "metadata",
    "store",
];

/// The same of Responses.
const RESPONSES: [&str; 20] = [
    "model",
    "input",
    "instructions",
    "previous_response_id",
    "conversation",
    "stream",
    "stream_options",
    "background",
    "store",
    "metadata",
    "max_output_tokens",
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "presence_penalty",
    "frequency_penalty",
];

/// Values that ask for nothing but what is done anyway.
const USUAL: [(&str, &str); 9] = [
    ("n", "1"),
    ("logprobs", "false"),
    ("top_logprobs", "0"),
    ("modalities", r#"["text"]"#),
    ("verbosity", r#""medium""#),
    ("function_call", r#""none""#),
    ("service_tier", r#""auto""#),
    ("service_tier", r#""default""#),
    ("truncation", r#""disabled""#),
];

/// Tools that any model can have as functions.
const FUNCTIONS: [&str; 3] = ["function", "custom", "namespace"];

/// Items that only record what another server did or thought: passed over.
pub const RECORDS: [&str; 7] = [
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_list_tools",
    "mcp_call",
    "compaction",
];

/// How the content begins that lastword writes into a `compaction` item.
pub const COMPACTED: &str = "lastword-1.";

/// More names than anybody reads are a mistake.
const MOST: usize = 32;
/// The longest name that is told, in bytes.
const LONGEST: usize = 64;

#[derive(Debug, Default, Deserialize)]
struct Typed {
    r#type: Option<String>,
    encrypted_content: Option<Box<RawValue>>,
    tools: Option<Box<RawValue>>,
}

/// Names of what is in `source` and in no other protocol, without those that `pass` names. A body
/// of the Messages API has none: its route tells them by a header.
#[must_use]
pub fn left_out(source: &Source, pass: &[String]) -> Vec<String> {
    let known: &[&str] = match source.protocol {
        WireProtocol::OpenaiChat => &CHAT,
        WireProtocol::OpenaiResponses => &RESPONSES,
        WireProtocol::AnthropicMessages => return Vec::new(),
    };
    let body: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(&source.body).unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for (name, value) in &body {
        let is_told = known.contains(&name.as_str()) || pass.contains(name);
        if !is_told && !says_nothing(name, value.get()) {
            add(&mut names, name.clone());
        }
    }
    let listed = |name: &str| body.get(name).map_or(Vec::new(), |list| typed(list));
    tools(listed("tools"), &mut names);
    for item in listed("input") {
        tools(item.tools.as_deref().map_or(Vec::new(), typed), &mut names);
        let ours = item
            .encrypted_content
            .as_deref()
            .is_some_and(|content| content.get().trim_start_matches('"').starts_with(COMPACTED));
        // Claude's thinking is told by the upstream that cannot take it.
        let encrypted = item.encrypted_content.is_some_and(|content| {
            content.get() != "null" && !content.get().trim_start_matches('"').starts_with(CARRIED)
        });
        let is_lost = |kind: &String| match kind.as_str() {
            "reasoning" => encrypted,
            kind => !ours && RECORDS.contains(&kind),
        };
        if let Some(kind) = item.r#type.filter(is_lost) {
            add(&mut names, format!("input.{kind}"));
        }
    }
    nested(&body, &mut names);
    if let Some(list) = body.get("messages") {
        thoughts(list, &mut names);
    }
    names
}

/// Adds the fields of messages in which some vendor's thinking is that only chat completions have.
fn thoughts(messages: &RawValue, names: &mut Vec<String>) {
    #[derive(Deserialize)]
    struct Thinking {
        reasoning_details: Option<Value>,
        thinking_blocks: Option<Value>,
    }
    if ![DETAILS, BLOCKS].iter().any(|name| messages.get().contains(name)) {
        return;
    }
    let messages: Vec<Thinking> = serde_json::from_str(messages.get()).unwrap_or_default();
    for Thinking { reasoning_details: details, thinking_blocks: blocks } in messages {
        for name in reasoning_details::read(details.as_ref(), blocks.as_ref()).rest {
            add(names, format!("messages.{name}"));
        }
    }
}

fn typed(list: &RawValue) -> Vec<Typed> {
    serde_json::from_str(list.get()).unwrap_or_default()
}

/// Adds the kinds of tools that a model of another protocol cannot be given.
fn tools(tools: Vec<Typed>, names: &mut Vec<String>) {
    for kind in tools.into_iter().filter_map(|tool| tool.r#type) {
        if !FUNCTIONS.contains(&kind.as_str()) {
            add(names, format!("tools.{kind}"));
        }
    }
}

/// Parts of fields that are told otherwise.
fn nested(body: &BTreeMap<String, Box<RawValue>>, names: &mut Vec<String>) {
    for (field, part) in [("text", "verbosity"), ("reasoning", "summary")] {
        let object = body.get(field).and_then(|value| serde_json::from_str(value.get()).ok());
        let object: BTreeMap<String, Box<RawValue>> = object.unwrap_or_default();
        if object.get(part).is_some_and(|value| !says_nothing(part, value.get())) {
            add(names, format!("{field}.{part}"));
        }
    }
}

fn says_nothing(name: &str, value: &str) -> bool {
    let tight: String = value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    matches!(tight.as_str(), "null" | "[]" | "{}") || USUAL.contains(&(name, tight.as_str()))
}

fn add(names: &mut Vec<String>, name: String) {
    let is_name = name.len() <= LONGEST
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if is_name && names.len() < MOST && !names.contains(&name) {
        names.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(protocol: WireProtocol, body: &str) -> Vec<String> {
        left_out(&Source { protocol, body: body.into(), betas: Vec::new() }, &["top_k".into()])
    }

    #[test]
    fn what_no_other_protocol_has_is_named_and_what_says_nothing_is_not() {
        let chat = r#"{"model":"m","messages":[],"top_k":1,"logprobs":true,"n": 1,"min_p":null,
            "logit_bias":{},"verbosity":"low","odd name":1,
            "tools":[{"type":"function"},{"type":"custom"},{"type":"mcp"},{"type":"mcp"}]}"#;
        assert_eq!(names(WireProtocol::OpenaiChat, chat), ["logprobs", "verbosity", "tools.mcp"]);
        let responses = r#"{"input":[{"type":"additional_tools","tools":[{"type":"namespace"},{"type":"mcp"}]},
            {"type":"compaction","encrypted_content":"x"},
            {"type":"compaction","encrypted_content":"lastword-1.x"},
            {"type":"reasoning","encrypted_content":null},
            {"type":"reasoning","encrypted_content":"lastword-t1.[]"},
            {"type":"reasoning","encrypted_content":"x"}],"include":[],
            "text":{"verbosity":"low"},"reasoning":{"effort":"low","summary":"auto"}}"#;
        let told = [
            "tools.mcp",
            "input.compaction",
            "input.reasoning",
            "text.verbosity",
            "reasoning.summary",
        ];
        assert_eq!(names(WireProtocol::OpenaiResponses, responses), told);
        assert!(names(WireProtocol::AnthropicMessages, r#"{"x":1}"#).is_empty());
        let thoughts = r#"{"messages":[{"role":"user","content":"reasoning_details"},
            {"reasoning_details":[{"type":"reasoning.text","text":"a","signature":"b"}]}]}"#;
        assert!(names(WireProtocol::OpenaiChat, thoughts).is_empty(), "it may be Claude's");
        let thoughts = thoughts.replace("reasoning.text", "reasoning.encrypted");
        assert_eq!(names(WireProtocol::OpenaiChat, &thoughts), ["messages.reasoning_details"]);
    }
}
