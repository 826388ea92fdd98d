//! Frames about output items.
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::item::{Call, Item, ItemKind, Part, Text, Thoughts};
use crate::http::dialect::Frames;

/// The frames of a text are many: they are written without a detour.
#[derive(Serialize)]
struct DeltaFrame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence_number: u64,
    item_id: &'a str,
    output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_index: Option<usize>,
    delta: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'a [Box<RawValue>]>,
}

/// An item may have megabytes, which `json!` would copy.
#[derive(Serialize)]
struct ItemFrame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    sequence_number: u64,
    output_index: usize,
    item: &'a Value,
}

/// The same for a response as a whole.
#[derive(Serialize)]
pub(super) struct ResponseFrame<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    pub(super) sequence_number: u64,
    pub(super) response: Value,
}

/// Where in its item a piece of text stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct At {
    pub(super) content: Option<usize>,
    pub(super) summary: Option<usize>,
}

/// A piece of a text; `logprobs` where the event has them.
pub(super) fn delta(
    kind: &'static str,
    item: &Item,
    at: At,
    (delta, logprobs): (&str, Option<&[Box<RawValue>]>),
    frames: &mut Frames,
) {
    let json = DeltaFrame {
        kind,
        sequence_number: frames.number(),
        item_id: &item.id,
        output_index: item.index,
        content_index: at.content,
        summary_index: at.summary,
        delta,
        logprobs,
    };
    frames.frame(Some(kind), &json);
}

/// A frame about an item, with its id.
pub(super) fn about<const N: usize>(
    kind: &str,
    item: Option<&Item>,
    fields: [(&str, Value); N],
    frames: &mut Frames,
) {
    let Some(item) = item else { return };
    let mut json = json!({
        "type": kind, "sequence_number": frames.number(), "output_index": item.index,
        "item_id": item.id,
    });
    for (name, value) in fields {
        json[name] = value;
    }
    frames.frame(Some(kind), &json);
}

/// An item's beginning or end, with the item.
pub(super) fn item(kind: &str, about: &Item, item: &Value, frames: &mut Frames) {
    let (sequence_number, output_index) = (frames.number(), about.index);
    frames.frame(Some(kind), &ItemFrame { kind, sequence_number, output_index, item });
}

/// Ends the content of an item.
pub(super) fn content_done(item: &Item, frames: &mut Frames) {
    match &item.kind {
        ItemKind::Reasoning(thoughts) => thoughts_done(item, thoughts, frames),
        ItemKind::Message(_) => part_done(item, frames),
        ItemKind::Call(Call { input: Some((input, _)), .. }) => {
            let fields = [("input", input.as_str().into())];
            about("response.custom_tool_call_input.done", Some(item), fields, frames);
        }
        ItemKind::Call(Call { name, arguments, .. }) => {
            let (name, arguments) = (name.as_str().into(), arguments.as_str().into());
            let fields = [("name", name), ("arguments", arguments)];
            about("response.function_call_arguments.done", Some(item), fields, frames);
        }
        ItemKind::Foreign => {}
    }
}

/// Begins a part of the thinking.
pub(super) fn thoughts_added(item: &Item, thoughts: &Thoughts, frames: &mut Frames) {
    let at = Value::from(thoughts.parts.len().saturating_sub(1));
    if thoughts.raw {
        let part = json!({ "type": "reasoning_text", "text": "" });
        let fields = [("content_index", at), ("part", part)];
        about("response.content_part.added", Some(item), fields, frames);
    } else {
        let part = json!({ "type": "summary_text", "text": "" });
        let fields = [("summary_index", at), ("part", part)];
        about("response.reasoning_summary_part.added", Some(item), fields, frames);
    }
}

/// Ends the last part of the thinking, if there is one.
pub(super) fn thoughts_done(item: &Item, thoughts: &Thoughts, frames: &mut Frames) {
    let Some(text) = thoughts.parts.last() else { return };
    let (place, kind, ends) = if thoughts.raw {
        let ends = ["response.reasoning_text.done", "response.content_part.done"];
        ("content_index", "reasoning_text", ends)
    } else {
        let text = "response.reasoning_summary_text.done";
        ("summary_index", "summary_text", [text, "response.reasoning_summary_part.done"])
    };
    let at = || (place, Value::from(thoughts.parts.len() - 1));
    about(ends[0], Some(item), [at(), ("text", text.as_str().into())], frames);
    let part = json!({ "type": kind, "text": text });
    about(ends[1], Some(item), [at(), ("part", part)], frames);
}

/// Ends the last part of a message, if there is one.
pub(super) fn part_done(item: &Item, frames: &mut Frames) {
    let ItemKind::Message(parts) = &item.kind else { return };
    let Some(part) = parts.last() else { return };
    let at = || ("content_index", Value::from(parts.len() - 1));
    let text = Value::from(part.text());
    match part {
        Part::Text(Text { logprobs, .. }) => {
            let fields = [at(), ("text", text), ("logprobs", json!(logprobs))];
            about("response.output_text.done", Some(item), fields, frames);
        }
        Part::Refusal(_) => {
            about("response.refusal.done", Some(item), [at(), ("refusal", text)], frames);
        }
    }
    about("response.content_part.done", Some(item), [at(), ("part", part.json())], frames);
}
