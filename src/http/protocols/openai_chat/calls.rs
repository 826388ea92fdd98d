//! Tool calls as chat completions have them: of functions, and of tools that take a text.
use serde_json::{Map, Value, json};

use super::encoder::{extend, set};
use super::extras::{Extras, Whole};
use crate::domain::event::ToolCallDelta;
use crate::domain::prompt::{InputText, input_of};
use crate::domain::transcript::ToolCall;

/// The calls of one stream, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Known>);

#[derive(Debug)]
struct Known {
    /// The upstream's index.
    upstream: u32,
    /// The text that its tool takes, as far as it has come.
    input: Option<InputText>,
}

impl Calls {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A fragment as it goes to the client; `None` if there is nothing in it yet.
    pub(super) fn fragment(
        &mut self,
        completion: &str,
        fragment: &ToolCallDelta,
        extras: &mut Extras,
    ) -> Option<Value> {
        let known = self.0.iter().position(|call| call.upstream == fragment.index);
        let index = known.unwrap_or_else(|| {
            let input = fragment.custom.then(InputText::default);
            self.0.push(Known { upstream: fragment.index, input });
            self.0.len() - 1
        });
        let input = self.0.get_mut(index).and_then(|call| call.input.as_mut());
        let (kind, text) = match input {
            Some(input) => ("custom", input.push(&fragment.arguments)),
            None => ("function", fragment.arguments.clone()),
        };
        let fields = extras.take_call(fragment.index);
        let named = fragment.name.is_some() || known.is_none();
        if kind == "custom" && !named && text.is_empty() && fields.0.is_empty() {
            return None;
        }
        let name = named.then(|| fragment.name.as_deref().unwrap_or_default());
        let mut call = piece(index, kind, name, &text);
        if known.is_none() {
            call["id"] = id(completion, fragment.id.as_deref().unwrap_or_default(), index).into();
            call["type"] = kind.into();
        }
        set(&mut call, fields);
        Some(call)
    }

    /// The fields of calls that came behind their last fragments.
    pub(super) fn late(&mut self, extras: &mut Extras) -> Value {
        let mut calls = Vec::new();
        for (index, known) in self.0.iter_mut().enumerate() {
            let fields = extras.take_call(known.upstream);
            let kind = if known.input.is_some() { "custom" } else { "function" };
            let text = known.input.as_mut().map(InputText::finish).unwrap_or_default();
            if !fields.0.is_empty() || !text.is_empty() {
                let mut call = piece(index, kind, None, &text);
                set(&mut call, fields);
                calls.push(call);
            }
        }
        if calls.is_empty() { json!({}) } else { json!({ "tool_calls": calls }) }
    }
}

fn piece(index: usize, kind: &str, name: Option<&str>, text: &str) -> Value {
    let mut inner = Map::new();
    inner.extend(name.map(|name| ("name".to_owned(), name.into())));
    inner.insert(text_of(kind).into(), text.into());
    json!({ "index": index, kind: inner })
}

fn text_of(kind: &str) -> &'static str {
    if kind == "custom" { "input" } else { "arguments" }
}

/// The calls of an answer in one piece.
pub(super) fn whole(completion: &str, all: &[ToolCall], extras: &mut Whole) -> Vec<Value> {
    let mut calls: Vec<Value> = Vec::new();
    for (upstream, call) in all.iter().enumerate().filter(|(_, c)| **c != ToolCall::default()) {
        let id = id(completion, &call.id, calls.len());
        let mut json = if call.custom {
            let inner = json!({ "name": call.name, "input": input_of(&call.arguments) });
            json!({ "id": id, "type": "custom", "custom": inner })
        } else {
            let inner = json!({ "name": call.name, "arguments": call.arguments });
            json!({ "id": id, "type": "function", "function": inner })
        };
        extend(&mut json, extras.take_call(upstream));
        calls.push(json);
    }
    calls
}

/// The upstream's id, or one of ours.
fn id(completion: &str, given: &str, index: usize) -> String {
    if given.is_empty() { format!("call_{completion}_{index}") } else { given.to_owned() }
}
