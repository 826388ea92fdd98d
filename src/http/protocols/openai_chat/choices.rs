//! The choices beside the first, where a client asked for several (`n`).
use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::encoder::extend;
use crate::domain::choices::choices;
pub(crate) use crate::domain::choices::said;
use crate::domain::extra::{Extra, Fields, Spot};
use crate::domain::transcript::Answer;

/// The reason of a choice that did not come to its end: it goes no further.
const CUT: &str = "length";

/// The choices of one stream, and whether each came to its end.
#[derive(Debug, Default)]
pub(crate) struct OtherChoices(BTreeMap<u32, bool>);

impl OtherChoices {
    /// A piece of another choice, as the choice of a chunk; `None` if the extra is something else.
    pub(crate) fn piece(&mut self, extra: &Extra) -> Option<Fields> {
        let index = extra.index.filter(|_| extra.at == Spot::OtherChoice)?;
        let mut piece = Fields::of(&extra.data);
        let delta = piece.object("delta").unwrap_or_default();
        let known = self.0.insert(index, piece.read::<String>("finish_reason").is_some());
        let delta = if known.is_some() { delta } else { with_role(delta) };
        piece.set("delta".into(), raw(&delta)?);
        let mut choice = blank(index)?;
        piece.0.into_iter().for_each(|(name, value)| choice.set(name, value));
        Some(choice)
    }

    /// The last pieces of the choices that did not come to their ends.
    pub(crate) fn ends(&mut self) -> Vec<Fields> {
        let open = std::mem::take(&mut self.0).into_iter().filter(|(_, ended)| !ended);
        let end = |(index, _)| {
            let mut choice = blank(index)?;
            choice.set("finish_reason".into(), raw(&CUT)?);
            Some(choice)
        };
        open.filter_map(end).collect()
    }
}

/// The choices beside the first in one piece. Of an answer that has `ended` each has a reason.
pub(crate) fn whole(answer: &Answer, ended: bool) -> Vec<Value> {
    choices(&answer.extras).into_iter().map(|(index, choice)| one(index, choice, ended)).collect()
}

fn one(index: u32, mut fields: Map<String, Value>, ended: bool) -> Value {
    let delta = match fields.remove("delta") {
        Some(Value::Object(delta)) => delta,
        Some(_) | None => Map::new(),
    };
    let silent = !delta.contains_key("tool_calls") && !delta.contains_key("refusal");
    let mut message = json!({
        "role": "assistant", "content": silent.then_some(""), "refusal": null, "annotations": [],
    });
    extend(&mut message, delta);
    if let Some(Value::Array(calls)) = message.get_mut("tool_calls") {
        let calls = calls.iter_mut().filter_map(Value::as_object_mut);
        calls.for_each(|call| drop(call.remove("index")));
    }
    let finish = ended.then_some(CUT);
    let mut choice =
        json!({ "index": index, "message": message, "logprobs": null, "finish_reason": finish });
    extend(&mut choice, fields);
    choice
}

fn blank(index: u32) -> Option<Fields> {
    let fields = [
        ("index", raw(&index)?),
        ("delta", raw(&json!({}))?),
        ("logprobs", raw(&Value::Null)?),
        ("finish_reason", raw(&Value::Null)?),
    ];
    Some(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn with_role(delta: Fields) -> Fields {
    let role = raw(&"assistant").map(|role| ("role".to_owned(), role.into()));
    Fields(role.into_iter().chain(delta.0).collect())
}

fn raw(value: &impl serde::Serialize) -> Option<Box<RawValue>> {
    to_raw_value(value).ok()
}
