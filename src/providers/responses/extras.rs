//! The fields of a response beside text, thinking and calls. They are annotations, log
//! probabilities, items of tools that the provider runs, and the beginnings of items and parts.
use std::collections::VecDeque;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::domain::extra::{Extra, Fields, Spot};
use crate::domain::source::WireProtocol;
use crate::ports::Delta;
use crate::providers::upstream::rest::{Rest, extra, object, says_something};

const RESPONSES: WireProtocol = WireProtocol::OpenaiResponses;
/// Fields of a call that are in the call itself.
const OF_CALL: [&str; 7] = ["type", "call_id", "name", "namespace", "arguments", "input", "status"];
/// Fields of a response that are ours: what it was asked, and what it came to.
const OURS: [&str; 14] = [
    "object",
    "created_at",
    "completed_at",
    "model",
    "background",
    "conversation",
    "input",
    "instructions",
    "metadata",
    "previous_response_id",
    "prompt",
    "store",
    "tools",
    "output_text",
];

/// The extras that wait for their text, and whether a client wants them.
#[derive(Debug, Default)]
pub(crate) struct ResponsesExtras {
    /// The client has a place for items and parts.
    native: bool,
    /// The extras that begin with the next text.
    waiting: Vec<Extra>,
    /// Annotations of the message that is said came by themselves.
    annotated: bool,
}

impl ResponsesExtras {
    pub(crate) fn new(native: bool) -> Self {
        Self { native, ..Self::default() }
    }

    /// Tells where an item or a part begins, with its first text.
    pub(crate) fn begin_text(&mut self, raw_thoughts: bool, out: &mut VecDeque<Delta>) {
        let marker = Some("response.reasoning_text.delta").filter(|_| raw_thoughts);
        if !self.waiting.is_empty() {
            self.waiting.extend(marker.and_then(|kind| event(kind, Vec::new())));
        }
        out.extend(self.waiting.drain(..).map(Delta::Extra));
    }

    /// The log probabilities of the next text.
    pub(crate) fn logprobs(&self, logprobs: Option<Box<RawValue>>, out: &mut VecDeque<Delta>) {
        let logprobs = logprobs.filter(|value| says_something(value));
        let extra = logprobs.and_then(|value| {
            event("response.output_text.delta", vec![("logprobs".into(), value)])
        });
        out.extend(extra.map(Delta::Extra));
    }

    /// A part of an item begins that is not its first.
    pub(crate) fn next_part(&mut self, kind: &str) {
        if self.native {
            self.waiting.extend(event(kind, Vec::new()));
        }
    }

    /// An annotation, or an event of a tool that the provider runs, as it came.
    pub(crate) fn event(&mut self, kind: &str, fields: Rest, out: &mut VecDeque<Delta>) {
        if kind == "response.output_text.annotation.added" {
            self.annotated = true;
            self.begin_text(false, out);
        }
        out.extend(event(kind, fields).map(Delta::Extra));
    }

    /// An item begins or ends that is no call.
    pub(crate) fn item(&mut self, item: Fields, ends: bool, out: &mut VecDeque<Delta>) {
        let kind: Option<String> = item.read("type");
        match (kind.as_deref(), ends) {
            (Some("message" | "reasoning"), false) => {
                self.annotated = false;
                self.waiting.clear();
                if self.native {
                    self.waiting.extend(of_item(item, ends, &["content", "summary"]));
                }
            }
            (Some("message"), true) => self.annotations(&item, out),
            (Some("reasoning"), true) => {
                if self.native {
                    self.begin_text(false, out);
                    let ended = of_item(item, ends, &["content", "summary"]);
                    out.extend(ended.map(Delta::Extra));
                }
            }
            (Some(_), _) => out.extend(of_item(item, ends, &[]).map(Delta::Extra)),
            (None, _) => {}
        }
    }

    /// Annotations that a server sends only with the whole message.
    fn annotations(&mut self, item: &Fields, out: &mut VecDeque<Delta>) {
        let parts: Vec<Fields> = item.read("content").unwrap_or_default();
        let annotations = parts.iter().filter_map(|part| part.read::<Vec<_>>("annotations"));
        for annotation in annotations.flatten().filter(|_| !self.annotated) {
            let fields = vec![("annotation".to_owned(), annotation)];
            out.extend(event("response.output_text.annotation.added", fields).map(Delta::Extra));
        }
        self.annotated = false;
    }

    /// The fields of a call that begins.
    pub(crate) fn call(&self, index: u32, item: Fields, out: &mut VecDeque<Delta>) {
        let fields: Rest = item
            .into_boxes()
            .into_iter()
            .filter(|(name, value)| !OF_CALL.contains(&name.as_str()) && says_something(value))
            .collect();
        if self.native
            && let Some(extra) = extra(RESPONSES, Spot::Call, &fields)
        {
            out.push_back(Delta::Extra(Extra { index: Some(index), ..extra }));
        }
    }

    /// The response's fields that held, and its report of tokens beside counts.
    pub(crate) fn response(
        &self,
        mut fields: Rest,
        usage: Option<&Value>,
        out: &mut VecDeque<Delta>,
    ) {
        if !self.native {
            return;
        }
        fields.retain(|(name, _)| !OURS.contains(&name.as_str()));
        let held = extra(RESPONSES, Spot::Chunk, &fields);
        let usage = usage.filter(|usage| says_more(usage));
        let usage = usage.and_then(|usage| object(RESPONSES, Spot::Usage, &usage.to_string()));
        out.extend(held.into_iter().chain(usage).map(Delta::Extra));
    }
}

fn event(kind: &str, fields: Rest) -> Option<Extra> {
    let kind = ("type".to_owned(), to_raw_value(kind).ok()?);
    extra(RESPONSES, Spot::Event, &std::iter::once(kind).chain(fields).collect())
}

/// The beginning or end of an item, without these fields.
fn of_item(mut item: Fields, ends: bool, without: &[&str]) -> Option<Extra> {
    item.0.retain(|(name, _)| !without.contains(&name.as_str()));
    let end = if ends { "done" } else { "added" };
    let item = to_raw_value(&item).ok()?;
    event(&format!("response.output_item.{end}"), vec![("item".into(), item)])
}

fn says_more(usage: &Value) -> bool {
    let known = |name: &str| {
        let counts = ["input_tokens", "output_tokens", "total_tokens"];
        counts.contains(&name) || matches!(name, "cached_tokens" | "reasoning_tokens")
    };
    usage.as_object().is_some_and(|fields| {
        fields.iter().any(|(name, value)| match (name.as_str(), value) {
            (_, Value::Null) => false,
            ("input_tokens_details" | "output_tokens_details", details) => says_more(details),
            (name, _) => !known(name),
        })
    })
}
