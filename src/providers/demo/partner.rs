//! The demo for a client that brings tools or a schema: enough to try one without a model.
use serde_json::{Value, json};

use super::schema::value_of;
use crate::domain::event::ToolCallDelta;
use crate::domain::prompt::{Prompt, Role, Tool, ToolChoice};

/// So many bytes of arguments come in one piece.
const PIECE: usize = 12;
/// More of what a tool answered is not repeated.
const QUOTED: usize = 200;

/// The wish of a prompt in place of the usual text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A call of a tool.
    Call(Call),
    /// JSON, and nothing else.
    Json(String),
    /// These words first.
    Lead(String),
}

/// A call, in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    id: String,
    name: String,
    pieces: Vec<String>,
}

impl Call {
    /// The piece of that number; `None` behind the last.
    pub(crate) fn piece(&self, number: usize) -> Option<ToolCallDelta> {
        let first = number == 0;
        Some(ToolCallDelta {
            index: 0,
            id: first.then(|| self.id.clone()),
            name: first.then(|| self.name.clone()),
            arguments: self.pieces.get(number)?.clone(),
            ..ToolCallDelta::default()
        })
    }
}

/// The wish of `prompt`. Where each turn shall call, a tool's answer is no end: some clients (the
/// AI SDK) take an answer in words for an error then.
pub(crate) fn wanted(prompt: &Prompt) -> Option<Wanted> {
    let results = prompt.messages.iter().rev().take_while(|m| m.role == Role::Tool);
    let results: Vec<&str> = results.map(|message| message.content.as_str()).collect();
    let parameters = &prompt.parameters;
    let tool = match &parameters.tool_choice {
        Some(ToolChoice::Required) => parameters.tools.first(),
        Some(ToolChoice::Function(name)) => parameters.tools.iter().find(|t| t.name == *name),
        Some(ToolChoice::Auto | ToolChoice::None) | None => None,
    };
    if let Some(tool) = tool {
        return Some(Wanted::Call(call(tool, prompt)));
    }
    if let Some(format) = &parameters.openai.response_format {
        let schema = format.pointer("/json_schema/schema");
        let value = schema.map_or_else(|| json!({ "demo": "not an AI" }), value_of);
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        return Some(Wanted::Json(text));
    }
    if results.is_empty() {
        return None;
    }
    let said: Vec<String> = results.iter().rev().map(|text| quoted(text)).collect();
    let said = said.join(", and ");
    let words = format!("This is lastword's built-in demo, not an AI. The tool answered {said}.");
    Some(Wanted::Lead(words))
}

fn quoted(text: &str) -> String {
    let text = text.trim();
    let short: String = text.chars().take(QUOTED).collect();
    let rest = if short.len() < text.len() { "…" } else { "" };
    format!("“{short}{rest}”")
}

fn call(tool: &Tool, prompt: &Prompt) -> Call {
    let schema = tool.parameters.clone().unwrap_or(Value::Null);
    let arguments = if schema.is_object() { value_of(&schema) } else { json!({}) };
    let arguments = if arguments.is_object() { arguments } else { json!({}) };
    let text = arguments.to_string();
    // The first has the name, and nothing yet of the arguments.
    let mut pieces = vec![String::new(), String::new()];
    for letter in text.chars() {
        match pieces.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(letter),
            Some(_) | None => pieces.push(letter.to_string()),
        }
    }
    // Another one for each turn of a conversation.
    let id = format!("call_demo_{}", prompt.messages.len());
    Call { id, name: tool.name.clone(), pieces }
}

#[cfg(test)]
mod tests {
    use crate::domain::prompt::{Message, OpenAiOnly, Parameters};
    use crate::providers::demo::partner::*;

    fn prompt(choice: ToolChoice, messages: Vec<Message>) -> Prompt {
        let schema = json!({ "type": "object", "required": ["city"],
            "properties": { "city": { "type": "string" } } });
        let tool = |name: &str| Tool {
            name: name.into(),
            description: None,
            parameters: Some(schema.clone()),
            strict: None,
        };
        let parameters = Parameters {
            tools: vec![tool("first"), tool("second")],
            tool_choice: Some(choice),
            ..Parameters::default()
        };
        Prompt { messages, parameters }
    }

    fn asked() -> Vec<Message> {
        vec![Message::text(Role::User, "hi")]
    }

    #[test]
    fn a_wanted_tool_is_called_with_arguments_of_its_schema() {
        for (choice, name) in
            [(ToolChoice::Required, "first"), (ToolChoice::Function("second".into()), "second")]
        {
            let Some(Wanted::Call(call)) = wanted(&prompt(choice, asked())) else { panic!() };
            let pieces: Vec<ToolCallDelta> = (0..).map_while(|n| call.piece(n)).collect();
            assert_eq!(pieces[0].name.as_deref(), Some(name));
            let arguments: String = pieces.iter().map(|piece| piece.arguments.as_str()).collect();
            assert_eq!(arguments, r#"{"city":"a demo of city"}"#);
            assert!(pieces.len() > 2 && pieces[1..].iter().all(|piece| piece.id.is_none()));
        }
        for choice in [ToolChoice::Auto, ToolChoice::None, ToolChoice::Function("none".into())] {
            assert_eq!(wanted(&prompt(choice, asked())), None);
        }
    }

    #[test]
    fn what_a_tool_answered_is_answered() {
        let mut messages = asked();
        messages.push(Message::text(Role::Tool, "9 degrees"));
        let Some(Wanted::Lead(words)) = wanted(&prompt(ToolChoice::Auto, messages)) else {
            panic!()
        };
        assert!(words.contains("“9 degrees”"), "{words}");
    }

    #[test]
    fn a_form_is_kept() {
        let mut prompt = prompt(ToolChoice::Auto, asked());
        let schema =
            json!({ "type": "object", "required": ["n"], "properties": { "n": { "const": 3 } } });
        let format =
            json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema } });
        prompt.parameters.openai =
            OpenAiOnly { response_format: Some(format), ..OpenAiOnly::default() };
        let Some(Wanted::Json(text)) = wanted(&prompt) else { panic!() };
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({ "n": 3 }));
    }
}
