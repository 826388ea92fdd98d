//! Messages as the items of an input, in their own forms.
use serde_json::{Value, json};

use crate::domain::id::GenerationId;
use crate::domain::prompt::{
    Attachment, AttachmentKind, Image, Message, MessagePart, Role, input_of,
};
use crate::domain::source::WireProtocol;
use crate::domain::thinking::{ThinkingBlock, carried};
use crate::domain::transcript::ToolCall;
use crate::http::protocols::openai::ids::short;

/// Messages as input items.
pub(super) fn items(generation: GenerationId, messages: &[Message]) -> Vec<Value> {
    let mut items = Vec::new();
    let mut add = |mut item: Value| {
        item["id"] = format!("in_{}_{}", short(generation), items.len()).into();
        item["status"] = "completed".into();
        items.push(item);
    };
    for (n, message) in messages.iter().enumerate() {
        if let Some(call_id) = &message.tool_call_id {
            let before = messages.get(..n).unwrap_or_default().iter();
            let call = before.flat_map(|message| &message.tool_calls).rfind(|c| c.id == *call_id);
            add(result(message, call_id, call.is_some_and(|call| call.custom)));
            continue;
        }
        if let Some(item) = message.tools_item() {
            add(serde_json::from_str(item.text()).unwrap_or_default());
        } else if !message.content.is_empty() || !message.is_text() {
            let content = parts(message);
            add(json!({ "type": "message", "role": message.role, "content": content }));
        }
        message.tool_calls.iter().for_each(|call| add(self::call(call)));
    }
    items
}

/// A call, without its id and status.
pub(crate) fn call(call: &ToolCall) -> Value {
    let mut item = if call.custom {
        json!({ "type": "custom_tool_call", "call_id": call.id, "name": call.name,
            "input": input_of(&call.arguments) })
    } else {
        json!({ "type": "function_call", "call_id": call.id, "name": call.name,
            "arguments": call.arguments })
    };
    if let Some(namespace) = &call.namespace {
        item["namespace"] = namespace.as_str().into();
    }
    item
}

/// A tool's answer, without its id and status: a text, or parts where there is more.
pub(crate) fn result(said: &Message, call_id: &str, custom: bool) -> Value {
    let kind = if custom { "custom_tool_call_output" } else { "function_call_output" };
    let output: Value =
        if said.is_one_text() { said.content.as_str().into() } else { parts(said).into() };
    json!({ "type": kind, "call_id": call_id, "output": output })
}

/// Thinking that a client has stored, without its id and status: as its vendor has sealed it, or in
/// plain words.
pub(crate) fn thought(said: &Message) -> Value {
    let words = |kind: &str| match said.reasoning.as_str() {
        "" => json!([]),
        text => json!([{ "type": kind, "text": text }]),
    };
    if said.thinking.is_empty() {
        return json!({ "type": "reasoning", "summary": [], "content": words("reasoning_text") });
    }
    let blocks: Vec<ThinkingBlock> = said.thinking.iter().map(|t| t.block.clone()).collect();
    json!({ "type": "reasoning", "summary": words("summary_text"),
        "encrypted_content": carried(&blocks) })
}

/// The content of a message.
pub(crate) fn parts(message: &Message) -> Vec<Value> {
    let assistant = message.role == Role::Assistant;
    let text = |text: &str| {
        if assistant {
            json!({ "type": "output_text", "text": text, "annotations": [] })
        } else {
            json!({ "type": "input_text", "text": text })
        }
    };
    let part = |part: MessagePart<'_>| match part {
        MessagePart::Text("") => None,
        MessagePart::Text(said) => Some(text(said)),
        MessagePart::Image(image) => Some(picture(image)),
        MessagePart::Attachment(attachment, _) => Some(attached(attachment)),
        MessagePart::Own(own, name) if own.protocol == WireProtocol::OpenaiResponses => {
            Some(serde_json::from_str(own.data.text()).unwrap_or_else(|_| text(name)))
        }
        MessagePart::Own(_, name) => Some(text(name)),
    };
    message.parts().into_iter().filter_map(part).collect()
}

fn picture(image: &Image) -> Value {
    let detail = image.detail.as_deref().unwrap_or("auto");
    json!({ "type": "input_image", "image_url": image.url, "detail": detail })
}

fn attached(attachment: &Attachment) -> Value {
    match (attachment.kind, attachment.inline()) {
        (AttachmentKind::Audio, inline) => {
            let data = inline.map_or("", |(_, data)| data);
            let sound = json!({ "data": data, "format": attachment.name });
            json!({ "type": "input_audio", "input_audio": sound })
        }
        (AttachmentKind::File, Some(_)) => {
            let mut file = json!({ "type": "input_file", "file_data": attachment.url });
            if let Some(name) = &attachment.name {
                file["filename"] = name.as_str().into();
            }
            file
        }
        (AttachmentKind::File, None) => {
            json!({ "type": "input_file", "file_url": attachment.url })
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::json::JsonObject;
    use crate::domain::prompt::{MessageParts, OwnPart};
    use crate::http::protocols::openai_responses::input_items::*;

    #[test]
    fn items_have_their_own_forms() {
        let call = |id: &str, custom: bool, arguments: &str| ToolCall {
            id: id.into(),
            name: "f".into(),
            namespace: (!custom).then(|| "fs".into()),
            custom,
            arguments: arguments.into(),
        };
        let mut asked = Message::text(Role::Assistant, "");
        asked.tool_calls = vec![call("a", true, r#"{"input":"ls"}"#), call("b", false, "{}")];
        let answer =
            |id: &str| Message { tool_call_id: Some(id.into()), ..Message::text(Role::Tool, "ok") };
        let all = items(GenerationId::random(), &[asked, answer("a"), answer("b")]);
        let kinds: Vec<&Value> = all.iter().map(|item| &item["type"]).collect();
        let expected = [
            "custom_tool_call",
            "function_call",
            "custom_tool_call_output",
            "function_call_output",
        ];
        assert_eq!(kinds, expected);
        assert_eq!((&all[0]["input"], all[0].get("arguments")), (&json!("ls"), None));
        assert_eq!(all[1]["namespace"], "fs");
    }

    #[test]
    fn parts_stand_in_their_order() {
        let own = r#"{"type":"input_file","file_id":"f","x":1.0}"#;
        let data: JsonObject = serde_json::from_str(own).unwrap();
        let mut said = MessageParts::default();
        said.image(Image { url: "data:,".into(), detail: None });
        said.text("see".into());
        said.own(OwnPart { protocol: WireProtocol::OpenaiResponses, data }, "input_file");
        let parts = parts(&said.message(Role::User));
        let kinds: Vec<&Value> = parts.iter().map(|part| &part["type"]).collect();
        assert_eq!(kinds, ["input_image", "input_text", "input_file"]);
        assert_eq!(parts[2]["file_id"], "f");
    }
}
