//! Citations of web pages, which each protocol has in a form of its own.
use serde_json::{Value, json};

use crate::domain::extra::{Extra, Spot};
use crate::domain::source::WireProtocol;

/// The citations in what an upstream of another protocol says, as Responses have them. One that
/// names no part of the text stands `at` so many characters.
pub(crate) fn url_citations(extra: &Extra, at: usize) -> Vec<Value> {
    let data: Value = serde_json::from_str(extra.data.text()).unwrap_or_default();
    let all = match (extra.protocol, extra.at) {
        (WireProtocol::OpenaiChat, Spot::Message) => of_chat(&data),
        (WireProtocol::OpenaiResponses, Spot::Event) => vec![data["annotation"].clone()],
        (WireProtocol::AnthropicMessages, Spot::Citation) => vec![of_messages(&data, at)],
        (
            WireProtocol::OpenaiChat
            | WireProtocol::OpenaiResponses
            | WireProtocol::AnthropicMessages,
            _,
        ) => Vec::new(),
    };
    all.into_iter().filter(|one| one["type"] == "url_citation" && one["url"].is_string()).collect()
}

/// A citation as chat completions have it.
pub(crate) fn in_chat(mut citation: Value) -> Value {
    citation.as_object_mut().and_then(|fields| fields.shift_remove("type"));
    json!({ "type": "url_citation", "url_citation": citation })
}

fn of_chat(message: &Value) -> Vec<Value> {
    let flat = |annotation: &Value| {
        let mut flat = annotation["url_citation"].clone();
        if flat.is_object() {
            flat["type"] = annotation["type"].clone();
        }
        flat
    };
    message["annotations"].as_array().into_iter().flatten().map(flat).collect()
}

fn of_messages(citation: &Value, at: usize) -> Value {
    let url = match citation["type"].as_str() {
        Some("web_search_result_location") => &citation["url"],
        Some("search_result_location") => &citation["source"],
        // A place in a document of the prompt has no address.
        Some(_) | None => &Value::Null,
    };
    json!({
        "type": "url_citation", "start_index": at, "end_index": at, "url": url,
        "title": citation["title"],
    })
}
