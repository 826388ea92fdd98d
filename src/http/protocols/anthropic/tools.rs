//! The tools of a request, and the choice among them.
use serde::Deserialize;
use serde_json::Value;

use super::content::Told;
use crate::domain::prompt::{Tool, ToolChoice};
use crate::http::problem::Problem;
use crate::http::protocols::openai::fields::{missing, unsupported};

/// A tool: one with a schema, or one whose `type` says that its vendor knows it.
#[derive(Debug, Deserialize)]
pub(super) struct WireTool {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    description: Option<String>,
    input_schema: Option<Value>,
    strict: Option<bool>,
}

/// `auto`, `any`, `tool` or `none`.
#[derive(Debug, Deserialize)]
pub(super) struct WireChoice {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

/// The tools that any model can have. Tools that only their vendor knows are left out and told.
pub(super) fn tools(wire: Vec<WireTool>, told: &mut Told) -> Result<Vec<Tool>, Problem> {
    let mut tools = Vec::with_capacity(wire.len());
    for (n, tool) in wire.into_iter().enumerate() {
        let WireTool { kind, name, description, input_schema, strict } = tool;
        if let Some(kind) = kind.filter(|kind| kind != "custom") {
            told.left_out(&format!("tools.{kind}"));
            continue;
        }
        let name = name.ok_or_else(|| missing(&format!("tools[{n}].name")))?;
        tools.push(Tool { name, description, parameters: input_schema, strict });
    }
    Ok(tools)
}

/// The choice, and whether several calls at once are fine. One that is of no use among `tools`
/// is refused, unless the vendor of the tools is asked itself.
pub(super) fn choice(
    wire: Option<WireChoice>,
    tools: &[Tool],
    native: bool,
) -> Result<(Option<ToolChoice>, Option<bool>), Problem> {
    let Some(WireChoice { kind, name, disable_parallel_tool_use }) = wire else {
        return Ok((None, None));
    };
    let choice = match (kind.as_str(), name) {
        ("auto", _) => ToolChoice::Auto,
        ("none", _) => ToolChoice::None,
        ("any", _) => ToolChoice::Required,
        ("tool", Some(name)) => ToolChoice::Function(name),
        ("tool", None) => return Err(missing("tool_choice.name")),
        _ => return Err(unsupported("tool_choice.type", "auto, any, tool or none")),
    };
    let there = match &choice {
        ToolChoice::Auto | ToolChoice::None => true,
        ToolChoice::Required => !tools.is_empty(),
        ToolChoice::Function(name) => tools.iter().any(|tool| tool.name == *name),
    };
    if !there && !native {
        return Err(unsupported("tool_choice", "the model gets no such tool"));
    }
    let parallel = disable_parallel_tool_use.map(|disabled| !disabled);
    Ok((Some(choice).filter(|_| !tools.is_empty()), parallel))
}
