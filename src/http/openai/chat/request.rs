//! The body of `POST /v1/chat/completions`.
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::fields::{Body, Fields, missing, unsupported};
use super::super::start::{Content, metadata, tooling};
use super::super::texts::{Arguments, TextOr};
use crate::domain::generation::{OnDisconnect, Request};
use crate::domain::prompt::{Message, OpenAiOnly, Parameters, Prompt, Role};
use crate::domain::transcript::ToolCall;
use crate::http::problem::Problem;

/// What a resume has to know of the first request, to make the same frames.
pub(super) const INCLUDE_USAGE: &str = "include_usage";

/// The names that mean something here, for a hint at what was meant.
const KNOWN: [&str; 18] = [
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
];

/// Whatever they say, the answer is the same.
const HARMLESS: [&str; 7] = [
    "user",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "stream_options",
];

/// A checked request, and how it wants its answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) stream: bool,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Debug, Deserialize)]
struct WireMessage {
    role: Role,
    content: Option<Content>,
    refusal: Option<String>,
    tool_calls: Option<Vec<WireCall>>,
    tool_call_id: Option<String>,
    function_call: Option<Value>,
    audio: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct WireCall {
    id: String,
    function: WireFunction,
}

#[derive(Debug, Deserialize)]
struct WireFunction {
    name: String,
    arguments: Arguments,
}

/// Checks a body; `default` is the model when none is named.
pub(super) fn parse(
    body: Body,
    default: &str,
    prompt_bytes: usize,
    on_disconnect: OnDisconnect,
) -> Result<Asked, Problem> {
    let mut fields = Fields::new(body);
    let model = fields.take("model")?.unwrap_or_else(|| default.to_owned());
    let messages: Vec<WireMessage> = fields.take("messages")?.ok_or_else(|| missing("messages"))?;
    let messages = messages.into_iter().enumerate().map(|(n, wire)| message(n, wire));
    let messages: Vec<Message> = messages.collect::<Result<_, _>>()?;
    let stream = fields.take("stream")?.unwrap_or(false);
    let options: StreamOptions = fields.take("stream_options")?.unwrap_or_default();
    let parameters = parameters(&mut fields)?;
    let metadata = metadata(&mut fields)?;
    for (name, value) in [
        ("n", json!(1)),
        ("logprobs", json!(false)),
        ("top_logprobs", json!(0)),
        ("logit_bias", json!({})),
        ("modalities", json!(["text"])),
        ("verbosity", json!("medium")),
        ("functions", json!([])),
        ("function_call", json!("none")),
        ("audio", Value::Null),
        ("prediction", Value::Null),
        ("web_search_options", Value::Null),
    ] {
        fields.only(name, &[value])?;
    }
    fields.ignore(&HARMLESS);
    fields.nothing_else(&KNOWN)?;
    let mut echo = Map::new();
    if options.include_usage {
        echo.insert(INCLUDE_USAGE.into(), true.into());
    }
    let prompt = Prompt::parse(messages, parameters, prompt_bytes)?;
    let request = Request {
        model,
        prompt,
        metadata,
        on_disconnect,
        echo,
        chat: None,
        wall_s: None,
        trace: None,
        source: None,
    };
    Ok(Asked { request, stream })
}

fn parameters(fields: &mut Fields) -> Result<Parameters, Problem> {
    let most = fields.take("max_completion_tokens")?;
    let most_before = fields.take("max_tokens")?;
    let stop = fields.take("stop")?.map(|stop| match stop {
        TextOr::Text(text) => vec![text],
        TextOr::List(texts) => texts,
    });
    let format = fields.take::<Value>("response_format")?;
    Ok(Parameters {
        max_output_tokens: most.or(most_before),
        temperature: fields.take("temperature")?,
        top_p: fields.take("top_p")?,
        stop: stop.unwrap_or_default(),
        seed: fields.take("seed")?,
        openai: OpenAiOnly {
            response_format: format.filter(|format| *format != json!({ "type": "text" })),
            reasoning_effort: fields.take("reasoning_effort")?,
            presence_penalty: fields.take("presence_penalty")?.filter(|p| *p != 0.0),
            frequency_penalty: fields.take("frequency_penalty")?.filter(|p| *p != 0.0),
        },
        ..tooling(fields)?
    })
}

fn message(n: usize, wire: WireMessage) -> Result<Message, Problem> {
    let field = |name: &str| format!("messages[{n}].{name}");
    for (name, there) in
        [("function_call", wire.function_call.is_some()), ("audio", wire.audio.is_some())]
    {
        if there {
            return Err(unsupported(&field(name), "this is not supported here"));
        }
    }
    if wire.role == Role::Tool && wire.tool_call_id.is_none() {
        return Err(missing(&field("tool_call_id")));
    }
    let (content, images) = match wire.content {
        Some(content) => content.read(&field("content"))?,
        None => (wire.refusal.unwrap_or_default(), Vec::new()),
    };
    let call = |call: WireCall| ToolCall {
        id: call.id,
        name: call.function.name,
        arguments: call.function.arguments.0,
    };
    Ok(Message {
        images,
        tool_calls: wire.tool_calls.unwrap_or_default().into_iter().map(call).collect(),
        tool_call_id: wire.tool_call_id,
        ..Message::text(wire.role, content)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(body: &str) -> Result<Asked, Problem> {
        let body: Body = serde_json::from_str(body).unwrap();
        parse(body, "demo", 10_000, OnDisconnect::Continue)
    }

    const HI: &str = r#""messages":[{"role":"user","content":"hi"}]"#;

    #[test]
    fn without_tools_nothing_is_said_of_their_calls() {
        let rest = r#""tool_choice":"auto","parallel_tool_calls":true"#;
        let Asked { request, .. } = asked(&format!(r#"{{{HI},"tools":[],{rest}}}"#)).unwrap();
        assert_eq!(request.prompt.parameters, Parameters::default());
        let tools = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;
        let Asked { request, .. } = asked(&format!(r#"{{{HI},{tools},{rest}}}"#)).unwrap();
        assert_eq!(request.prompt.parameters.parallel_tool_calls, Some(true));
    }

    #[test]
    fn what_is_not_set_is_nothing_also_where_it_is_not_known() {
        asked(&format!(r#"{{{HI},"moderation":null,"seed":null}}"#)).unwrap();
        let refused = asked(&format!(r#"{{{HI},"moderation":{{}}}}"#)).unwrap_err();
        assert_eq!(refused.field(), Some("moderation"));
    }

    #[test]
    fn a_mistake_is_named_where_it_stands_and_without_a_type_of_ours() {
        let call = r#"{"id":"c","function":{"name":"f","arguments":{"b":1,"a":2}}}"#;
        let call = format!(r#"{{"messages":[{{"role":"assistant","tool_calls":[{call}]}}]}}"#);
        let Asked { request, .. } = asked(&call).unwrap();
        assert_eq!(request.prompt.messages[0].tool_calls[0].arguments, r#"{"b":1,"a":2}"#);
        for (body, place) in [
            (r#"{"messages":["hi"]}"#, "messages[0]"),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"text","text":5}]}]}"#,
                "messages[0].content[0].text",
            ),
            (r#"{"messages":[{"role":"user","content":7}]}"#, "messages[0].content"),
            (r#"{"messages":[],"max_tokens":"x"}"#, "max_tokens"),
        ] {
            let refused = asked(body).unwrap_err();
            assert_eq!(refused.field(), Some(place), "{body}");
            let (_, said, _) = refused.into_parts();
            for ours in ["Wire", "struct", "untagged", "u32"] {
                assert!(!said.contains(ours), "{said}");
            }
        }
    }
}
