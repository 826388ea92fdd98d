//! The body of `POST /v1/chat/completions`.
use serde::Deserialize;
use serde_json::{Map, Number, Value, json};

use crate::domain::generation::{OnDisconnect, Request};
use crate::domain::prompt::{Message, OpenAiOnly, Parameters, Prompt, Role, arguments_of};
use crate::domain::reasoning_details;
use crate::domain::source::WireProtocol;
use crate::domain::thinking::Thought;
use crate::domain::transcript::ToolCall;
use crate::http::problem::Problem;
use crate::http::protocols::openai::client_tools::tooling;
use crate::http::protocols::openai::content::Content;
use crate::http::protocols::openai::elsewhere::Elsewhere;
use crate::http::protocols::openai::fields::{Body, Fields, missing, unsupported};
use crate::http::protocols::openai::start::metadata;
use crate::http::protocols::openai::texts::{Arguments, TextOr};
use crate::http::protocols::openai::usage::{CONTINUOUS, INCLUDE_USAGE};

/// A checked request, and how it wants its answer.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) stream: bool,
    /// The parts that a model of another protocol refuses.
    pub(crate) elsewhere: Elsewhere,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
    #[serde(default)]
    continuous_usage_stats: bool,
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
    reasoning_details: Option<Value>,
    thinking_blocks: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct WireCall {
    id: String,
    function: Option<WireFunction>,
    custom: Option<WireCustom>,
}

/// The call of a tool that takes a text.
#[derive(Debug, Deserialize)]
struct WireCustom {
    name: String,
    input: String,
}

#[derive(Debug, Deserialize)]
struct WireFunction {
    name: String,
    arguments: Arguments,
}

/// Checks a body; `default` is the model when none is named.
pub(crate) fn parse(
    body: Body,
    default: &str,
    prompt_bytes: usize,
    on_disconnect: OnDisconnect,
) -> Result<Asked, Problem> {
    let mut fields = Fields::new(body);
    let model = fields.take("model")?.unwrap_or_else(|| default.to_owned());
    let messages: Vec<WireMessage> = fields.take("messages")?.ok_or_else(|| missing("messages"))?;
    let mut elsewhere = Elsewhere::default();
    let messages = messages.into_iter().enumerate();
    let messages = messages.map(|(n, wire)| message(n, wire, &mut elsewhere));
    let mut messages: Vec<Message> = messages.collect::<Result<_, _>>()?;
    // Instructions that say nothing are no refusal at OpenAI.
    let is_blank = |m: &Message| matches!(m.role, Role::System | Role::Developer) && m.is_empty();
    messages.retain(|message| !is_blank(message));
    let stream = fields.take("stream")?.unwrap_or(false);
    let options: StreamOptions = fields.take("stream_options")?.unwrap_or_default();
    let parameters = parameters(&mut fields, &mut elsewhere)?;
    let metadata = metadata(&mut fields)?;
    // Their calls would come in a form that is not kept: `tools` have one that is.
    for (name, value) in [("functions", json!([])), ("function_call", json!("none"))] {
        fields.only(name, &[value])?;
    }
    let mut echo = Map::new();
    if options.include_usage {
        echo.insert(INCLUDE_USAGE.into(), true.into());
    }
    if options.continuous_usage_stats {
        echo.insert(CONTINUOUS.into(), true.into());
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
        continues: None,
        trace: None,
        source: None,
    };
    Ok(Asked { request, stream, elsewhere })
}

fn parameters(fields: &mut Fields, elsewhere: &mut Elsewhere) -> Result<Parameters, Problem> {
    let most = most_tokens(fields, "max_completion_tokens")?;
    let most_before = most_tokens(fields, "max_tokens")?;
    let stop = fields.take("stop")?.map(|stop| match stop {
        TextOr::Text(text) => vec![text],
        TextOr::List(texts) => texts,
    });
    let format = fields.take::<Value>("response_format")?;
    Ok(Parameters {
        max_output_tokens: most.or(most_before),
        temperature: fields.take("temperature")?,
        top_p: fields.take("top_p")?,
        stop: stop.unwrap_or_default().into_iter().filter(|stop| !stop.is_empty()).collect(),
        seed: seed(fields)?,
        openai: OpenAiOnly {
            response_format: format.filter(|format| *format != json!({ "type": "text" })),
            reasoning_effort: fields.take("reasoning_effort")?,
            presence_penalty: fields.take("presence_penalty")?.filter(|p| *p != 0.0),
            frequency_penalty: fields.take("frequency_penalty")?.filter(|p| *p != 0.0),
        },
        ..tooling(fields, &[], elsewhere)?
    })
}

/// A limit of tokens. LM Studio and llama.cpp have -1 for none; some clients write `100.0`.
fn most_tokens(fields: &mut Fields, name: &str) -> Result<Option<u32>, Problem> {
    let Some(number) = fields.take::<Number>(name)? else { return Ok(None) };
    let written = number.as_f64().unwrap_or_default().to_string();
    match written.as_str() {
        "-1" => Ok(None),
        whole => whole.parse().map(Some).map_err(|_| not_whole(name)),
    }
}

fn not_whole(name: &str) -> Problem {
    let detail = format!("`{name}`: expected a whole number");
    Problem::unprocessable("invalid_type", detail).with("field", name)
}

/// The seed, if it has at most 63 bits. A larger one goes up only in the client's own body.
fn seed(fields: &mut Fields) -> Result<Option<i64>, Problem> {
    match fields.take::<Number>("seed")? {
        Some(seed) if seed.is_f64() => Err(not_whole("seed")),
        seed => Ok(seed.and_then(|seed| seed.as_i64())),
    }
}

fn message(n: usize, wire: WireMessage, elsewhere: &mut Elsewhere) -> Result<Message, Problem> {
    let field = |name: &str| format!("messages[{n}].{name}");
    if wire.function_call.is_some() {
        return Err(unsupported(&field("function_call"), "this is not supported here"));
    }
    if wire.audio.is_some() {
        let why = "only the server that made this sound knows it";
        elsewhere.refuse(unsupported(&field("audio"), why));
    }
    if wire.role == Role::Tool && wire.tool_call_id.is_none() {
        return Err(missing(&field("tool_call_id")));
    }
    let said = match wire.content {
        Some(content) => {
            let parts = content.read(WireProtocol::OpenaiChat, &field("content"), elsewhere)?;
            parts.message(wire.role)
        }
        None => Message::text(wire.role, wire.refusal.unwrap_or_default()),
    };
    let call = |(k, call): (usize, WireCall)| {
        let (name, arguments) = match (call.function, call.custom) {
            (Some(function), _) => (function.name, function.arguments.0),
            (None, Some(custom)) => {
                let (name, arguments) = (custom.name, arguments_of(&custom.input));
                return Ok(ToolCall {
                    id: call.id,
                    name,
                    custom: true,
                    arguments,
                    ..ToolCall::default()
                });
            }
            (None, None) => return Err(missing(&field(&format!("tool_calls[{k}].function")))),
        };
        Ok(ToolCall { id: call.id, name, arguments, ..ToolCall::default() })
    };
    let calls = wire.tool_calls.unwrap_or_default().into_iter().enumerate();
    let (details, blocks) = (wire.reasoning_details.as_ref(), wire.thinking_blocks.as_ref());
    let found = reasoning_details::read(details, blocks).blocks.into_iter();
    let found = found.filter(|_| wire.role == Role::Assistant);
    Ok(Message {
        tool_calls: calls.map(call).collect::<Result<_, Problem>>()?,
        tool_call_id: wire.tool_call_id,
        thinking: found.map(|block| Thought { after: 0, block }).collect(),
        ..said
    })
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::openai_chat::request::*;

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
    fn what_is_not_known_is_no_mistake() {
        let body = format!(r#"{{{HI},"moderation":{{}},"n":2,"logprobs":true,"top_k":[1]}}"#);
        asked(&body).unwrap().elsewhere.check(false, None).unwrap();
        let refused = asked(&format!(r#"{{{HI},"functions":[{{}}]}}"#)).unwrap_err();
        assert_eq!(refused.field(), Some("functions"));
    }

    #[test]
    fn a_choice_and_a_part_that_only_its_own_protocol_has_are_refused_by_another() {
        let tools = r#""tools":[{"type":"web_search"}]"#;
        let file = r#""messages":[{"role":"user","content":[{"type":"file","file":{}}]}]"#;
        for (body, place) in [
            (format!(r#"{{{HI},{tools},"tool_choice":"required"}}"#), "tool_choice"),
            (format!(r#"{{{HI},{tools},"tool_choice":{{"type":"web_search"}}}}"#), "tool_choice"),
            (format!("{{{file}}}"), "messages[0].content[0].file.file_id"),
        ] {
            asked(&body).unwrap().elsewhere.check(true, None).unwrap();
            let refused = asked(&body).unwrap().elsewhere.check(false, None).unwrap_err();
            assert_eq!(refused.field(), Some(place), "{body}");
        }
        let none = asked(&format!(r#"{{{HI},{tools},"tool_choice":"auto"}}"#)).unwrap();
        none.elsewhere.check(false, None).unwrap();
        assert_eq!(none.request.prompt.parameters, Parameters::default());
        for wrong in ["7", r#""sometimes""#, r#"{"type":"function"}"#] {
            assert!(asked(&format!(r#"{{{HI},"tool_choice":{wrong}}}"#)).is_err(), "{wrong}");
        }
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
