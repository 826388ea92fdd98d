//! The response object.
//! Fields: <https://platform.openai.com/docs/api-reference/responses/object>.
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::domain::event::{Done, ErrorCode, FinishReason, Status, Usage};
use crate::domain::extra::Fields;
use crate::domain::generation::{Generation, Request};
use crate::domain::id::GenerationId;
use crate::domain::prompt::{Parameters, Tool, ToolChoice};
use crate::domain::source::WireProtocol;
use crate::http::protocols::openai::ids::{response_id, short};

/// The part of a response that does not change.
#[derive(Clone, Debug)]
pub(in crate::http) struct Head {
    pub(super) generation: GenerationId,
    /// The object, but for its status and what it came to.
    fixed: Map<String, Value>,
}

impl Head {
    pub(in crate::http) fn of(row: &Generation) -> Self {
        Self::new(row.id, &row.request, row.created_at)
    }

    pub(super) fn new(id: GenerationId, request: &Request, created_at: OffsetDateTime) -> Self {
        let p = &request.prompt.parameters;
        let mut fixed = object(json!({
            "id": response_id(id),
            "object": "response",
            "created_at": created_at.unix_timestamp(),
            "background": false,
            "completed_at": null,
            "error": null,
            "frequency_penalty": p.openai.frequency_penalty.unwrap_or(0.0),
            "incomplete_details": null,
            "instructions": null,
            "max_output_tokens": p.max_output_tokens,
            "max_tool_calls": null,
            "metadata": request.metadata,
            "model": request.model,
            "output": [],
            "parallel_tool_calls": p.parallel_tool_calls.unwrap_or(true),
            "presence_penalty": p.openai.presence_penalty.unwrap_or(0.0),
            "previous_response_id": null,
            "prompt_cache_key": null,
            "reasoning": { "effort": p.openai.reasoning_effort, "summary": null },
            "safety_identifier": null,
            "service_tier": "default",
            "store": true,
            "temperature": p.temperature.unwrap_or(1.0),
            "text": { "format": { "type": "text" } },
            "tool_choice": choice(p),
            "tools": p.tools.iter().map(tool).collect::<Vec<_>>(),
            "top_logprobs": 0,
            "top_p": p.top_p.unwrap_or(1.0),
            "truncation": "disabled",
            "usage": null,
            "user": null,
        }));
        fixed.extend(request.echo.clone());
        fixed.extend(own_tools(request));
        Self { generation: id, fixed }
    }

    pub(super) fn short(&self) -> String {
        short(self.generation)
    }

    /// Whether the client asked for a run that nobody waits for.
    pub(super) fn is_background(&self) -> bool {
        self.fixed.get("background") == Some(&Value::Bool(true))
    }

    pub(super) fn object(&self, status: Status, output: Vec<Value>, done: Option<&Done>) -> Value {
        let mut object = self.fixed.clone();
        object.insert("status".into(), word(status).into());
        object.insert("output".into(), output.into());
        if let Some(done) = done {
            object.insert("usage".into(), usage(&done.usage));
            if let Some(error) = &done.error {
                let said = error.upstream.as_ref().and_then(|said| said.code.as_deref());
                let code = said.unwrap_or(code(error.code));
                let error = json!({ "code": code, "message": error.message });
                object.insert("error".into(), error);
            }
            if done.status == Status::Incomplete {
                let reason = json!({ "reason": reason(done.finish_reason) });
                object.insert("incomplete_details".into(), reason);
            }
        }
        Value::Object(object)
    }
}

/// OpenAI's word for a status.
fn word(status: Status) -> &'static str {
    match status {
        Status::Queued => "queued",
        Status::Running | Status::Cancelling => "in_progress",
        Status::Completed => "completed",
        Status::Incomplete => "incomplete",
        Status::Failed | Status::Interrupted => "failed",
        Status::Cancelled => "cancelled",
    }
}

/// Of OpenAI's few codes the one that fits.
fn code(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UpstreamRateLimited => "rate_limit_exceeded",
        ErrorCode::UpstreamUnavailable
        | ErrorCode::UpstreamRejected
        | ErrorCode::UpstreamTimeout
        | ErrorCode::UpstreamStalled
        | ErrorCode::UpstreamProtocol
        | ErrorCode::UpstreamTruncated
        | ErrorCode::ServerLost
        | ErrorCode::StorageUnavailable
        | ErrorCode::Internal => "server_error",
    }
}

/// OpenAI knows two reasons that fit us: a filter, and one limit.
fn reason(reason: Option<FinishReason>) -> &'static str {
    match reason {
        Some(FinishReason::ContentFilter) => "content_filter",
        Some(
            FinishReason::Stop
            | FinishReason::ToolCalls
            | FinishReason::Length
            | FinishReason::Refusal
            | FinishReason::ContextWindow
            | FinishReason::TimeLimit
            | FinishReason::Pause
            | FinishReason::Other,
        )
        | None => "max_output_tokens",
    }
}

fn usage(usage: &Usage) -> Value {
    let mut json = json!({
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens.unwrap_or(0), "cache_write_tokens": 0,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning_tokens.unwrap_or(0) },
        "total_tokens": usage.input_tokens + usage.output_tokens,
    });
    if !usage.exact {
        json["estimated"] = true.into();
    }
    json
}

fn tool(tool: &Tool) -> Value {
    json!({
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    })
}

fn choice(p: &Parameters) -> Value {
    match &p.tool_choice {
        None | Some(ToolChoice::Auto) => "auto".into(),
        Some(ToolChoice::None) => "none".into(),
        Some(ToolChoice::Required) => "required".into(),
        Some(ToolChoice::Function(name)) => json!({ "type": "function", "name": name }),
    }
}

/// Tools and the choice among them as the client wrote them, where they are not all functions.
fn own_tools(request: &Request) -> Vec<(String, Value)> {
    let source = request.source.as_ref();
    let source = source.filter(|source| source.protocol == WireProtocol::OpenaiResponses);
    let Some(body) = source.map(|source| &source.body).filter(|body| body.contains("\"tools\""))
    else {
        return Vec::new();
    };
    let fields: Fields = serde_json::from_str(body).unwrap_or_default();
    let tools: Vec<Value> = fields.read("tools").unwrap_or_default();
    let mut messages = request.prompt.messages.iter();
    let adds = messages.any(|message| message.tools_item().is_some());
    if !adds && tools.iter().all(|tool| tool["type"] == "function") {
        return Vec::new();
    }
    let choice: Option<Value> =
        fields.read("tool_choice").filter(|choice: &Value| !choice.is_null());
    let tools = ("tools".to_owned(), tools.into());
    choice.map(|choice| ("tool_choice".to_owned(), choice)).into_iter().chain([tools]).collect()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}
