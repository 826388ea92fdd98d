//! OpenAI's Responses on the wire, read leniently: every field of an event is optional. Minor
//! fields are kept raw, so that one of an odd type does not cost the text beside it.
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::tools;
use super::tools::Tools;
use crate::domain::event::Usage;
use crate::domain::extra::Fields;
use crate::domain::prompt::{Message, Prompt, Role};
use crate::providers::upstream::rest::{Rest, always, with_rest};
use crate::providers::upstream::text::ChunkText;

/// The request's body.
#[derive(Debug, Serialize)]
pub(crate) struct ResponsesRequest<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    input: Vec<tools::Item<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(flatten)]
    tools: Tools<'a>,
}

impl<'a> ResponsesRequest<'a> {
    /// The request for `prompt`, without what [`super::body`] adds to every body.
    pub(crate) fn new(model: &'a str, prompt: &'a Prompt) -> Self {
        let (instructions, input) = split(&prompt.messages);
        let p = &prompt.parameters;
        Self {
            model,
            instructions,
            input,
            max_output_tokens: p.max_output_tokens,
            temperature: p.temperature,
            top_p: p.top_p,
            tools: Tools::of(p),
        }
    }
}

/// Instructions at the beginning have a field of their own; alone they are what there is to answer.
fn split(messages: &[Message]) -> (Option<String>, Vec<tools::Item<'_>>) {
    let instructs = |m: &&Message| matches!(m.role, Role::System | Role::Developer);
    let count = messages.iter().take_while(instructs).count();
    let (leading, rest) = messages.split_at_checked(count).unwrap_or_default();
    let leading = leading.iter().filter(|message| message.tools_item().is_none());
    let leading: Vec<&str> = leading.map(|m| m.content.as_str()).collect();
    let leading = leading.join("\n\n");
    if rest.is_empty() {
        return (None, vec![tools::text(Role::User, leading)]);
    }
    ((!leading.is_empty()).then_some(leading), tools::items(rest, tools::Calls::OfFunctions))
}

with_rest! {
    /// One event of the stream. Its name is repeated in `type`; the guard passes the data only.
    ResponsesEvent {
        pub(crate) kind: String = "type",
        response: Box<RawValue>,
        item: Box<RawValue>,
        item_id: Box<RawValue>,
        output_index: Box<RawValue>,
        content_index: Box<RawValue>,
        summary_index: Box<RawValue>,
        delta: Box<RawValue>,
        pub(crate) logprobs: Box<RawValue>,
        text: Box<RawValue>,
        refusal: Box<RawValue>,
        arguments: Box<RawValue>,
        input: Box<RawValue>,
        error: Box<RawValue>,
        code: Box<RawValue>,
        message: Box<RawValue>,
    }
    // Numbers are ours; padding against listeners is for one connection.
    passed over: ["sequence_number", "obfuscation"]
    kept: always
}

with_rest! {
    /// The response as far as it is looked at.
    Response {
        pub(crate) id: String,
        pub(crate) status: String,
        error: Value,
        incomplete_details: Value,
        pub(crate) usage: Value,
        output: Box<RawValue>,
    }
    passed over: []
    kept: always
}

/// An item of the output as far as it is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Item {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) call_id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) arguments: Option<ChunkText>,
    pub(crate) input: Option<ChunkText>,
    content: Option<Box<RawValue>>,
}

/// A part of the output: which item, and where in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    pub(crate) item: String,
    pub(crate) place: u32,
}

impl Part {
    /// The arguments of a call.
    pub(crate) fn of_call(index: u32) -> Self {
        Self { item: "call".into(), place: index }
    }
}

impl ResponsesEvent {
    /// The piece that the event adds.
    pub(crate) fn take_delta(&mut self) -> ChunkText {
        parse(self.delta.take()).unwrap_or_default()
    }

    /// The whole of the part that the event ends.
    pub(crate) fn take_whole(&mut self) -> ChunkText {
        let fields = [&mut self.text, &mut self.refusal, &mut self.arguments, &mut self.input];
        fields.into_iter().find_map(|field| parse(field.take())).unwrap_or_default()
    }

    /// Which part it is about.
    pub(crate) fn part(&self) -> Part {
        let place = number(&self.content_index).or_else(|| number(&self.summary_index));
        let item = self.item_id().unwrap_or_else(|| self.output_place().to_string());
        Part { item, place: place.unwrap_or(0) }
    }

    /// The id of the item that it is about.
    pub(crate) fn item_id(&self) -> Option<String> {
        parse(self.item_id.clone()).filter(|id: &String| !id.is_empty())
    }

    /// The place of that item in the output.
    pub(crate) fn output_place(&self) -> u32 {
        number(&self.output_index).unwrap_or(0)
    }

    /// The place of a message's part.
    pub(crate) fn content_place(&self) -> u32 {
        number(&self.content_index).unwrap_or(0)
    }

    /// The place of a summary's part.
    pub(crate) fn summary_place(&self) -> u32 {
        number(&self.summary_index).unwrap_or(0)
    }

    /// The item that begins or ends, as it came.
    pub(crate) fn item_fields(&self) -> Fields {
        parse(self.item.clone()).unwrap_or_default()
    }

    /// All of its fields but the type, as they came, if it is about an item.
    pub(crate) fn into_item_fields(self) -> Option<Rest> {
        let known = [
            ("item_id", self.item_id),
            ("output_index", self.output_index),
            ("content_index", self.content_index),
            ("summary_index", self.summary_index),
            ("delta", self.delta),
            ("text", self.text),
            ("refusal", self.refusal),
            ("arguments", self.arguments),
            ("input", self.input),
            ("code", self.code),
            ("message", self.message),
        ];
        let known = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let fields: Rest = known.chain(self.rest).collect();
        let names = ["item_id", "output_index"];
        let is_about = fields.iter().any(|(name, _)| names.contains(&name.as_str()));
        is_about.then_some(fields)
    }

    /// The item that begins or ends.
    pub(crate) fn take_item(&mut self) -> Option<Item> {
        parse(self.item.take())
    }

    /// The response as it stands.
    pub(crate) fn take_response(&mut self) -> Option<Response> {
        parse(self.response.take())
    }

    /// The error that the event is, flat or nested, in the shape `{"error": …}`.
    pub(crate) fn take_error(&mut self) -> Option<Value> {
        if let Some(error) = parse::<Value>(self.error.take()).filter(|e| !e.is_null()) {
            return Some(serde_json::json!({ "error": error }));
        }
        let flat = self.kind.as_deref() == Some("error");
        let part = |raw: &mut Option<Box<RawValue>>| parse::<Value>(raw.take());
        flat.then(|| {
            let (code, message) = (part(&mut self.code), part(&mut self.message));
            serde_json::json!({ "error": { "code": code, "message": message } })
        })
    }
}

impl Response {
    /// Why it failed, in the shape `{"error": …}`.
    pub(crate) fn error(&self) -> Value {
        serde_json::json!({ "error": self.error.clone().unwrap_or_default() })
    }

    /// Why it is incomplete.
    pub(crate) fn incomplete_reason(&self) -> Option<&str> {
        self.incomplete_details.as_ref()?.get("reason")?.as_str()
    }

    /// Tokens used, if it says so.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let usage = self.usage.as_ref().filter(|usage| usage.is_object())?;
        let count = |path: &str| usage.pointer(path).and_then(Value::as_u64);
        Some(Usage {
            input_tokens: count("/input_tokens").unwrap_or(0),
            output_tokens: count("/output_tokens").unwrap_or(0),
            reasoning_tokens: count("/output_tokens_details/reasoning_tokens"),
            cached_input_tokens: count("/input_tokens_details/cached_tokens"),
            cache_write_input_tokens: None,
            exact: true,
        })
    }

    /// The text of its messages, for a server that sends it only at the end.
    pub(crate) fn text(self) -> Vec<u8> {
        let items: Vec<Item> = parse(self.output).unwrap_or_default();
        let messages = items.into_iter().filter(|item| item.kind.as_deref() == Some("message"));
        messages.flat_map(|item| parse::<ChunkText>(item.content).unwrap_or_default().0).collect()
    }
}

fn parse<T: DeserializeOwned>(raw: Option<Box<RawValue>>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// A small number, also if it comes as `1.0`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a saturating cast")]
fn number(raw: &Option<Box<RawValue>>) -> Option<u32> {
    serde_json::from_str::<f64>(raw.as_deref()?.get()).ok().map(|number| number as u32)
}

#[cfg(test)]
mod tests {
    use crate::domain::prompt::Parameters;
    use crate::providers::responses::wire::*;
    use serde_json::json;

    fn message(role: Role, content: &str) -> Message {
        Message::text(role, content)
    }

    fn body(messages: Vec<Message>) -> Value {
        let parameters = Parameters {
            max_output_tokens: Some(9),
            stop: vec!["END".into()],
            seed: Some(7),
            ..Parameters::default()
        };
        let prompt = Prompt { messages, parameters };
        serde_json::to_value(ResponsesRequest::new("m", &prompt)).unwrap()
    }

    #[test]
    fn a_prompt_becomes_instructions_and_turns() {
        let messages = vec![
            message(Role::System, "be brief"),
            message(Role::Developer, "be kind"),
            message(Role::User, "hi"),
            message(Role::System, "now"),
        ];
        let expected = json!({
            "model": "m", "instructions": "be brief\n\nbe kind",
            "input": [{ "role": "user", "content": "hi" }, { "role": "system", "content": "now" }],
            "max_output_tokens": 9,
        });
        assert_eq!(body(messages), expected);
        let alone = body(vec![message(Role::System, "go")]);
        assert_eq!(alone["input"], json!([{ "role": "user", "content": "go" }]));
        assert_eq!(alone.get("instructions"), None);
    }
}
