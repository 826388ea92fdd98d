//! `tool_choice: allowed_tools`: a part of the request's tools, for this answer.
use serde_json::Value;

use super::fields::unsupported;
use crate::domain::prompt::{Tool, ToolChoice};
use crate::http::problem::Problem;

/// The type of such a choice.
pub(crate) const KIND: &str = "allowed_tools";

/// Keeps the functions that `choice` allows, so that a model cannot call another; the mode, or
/// `None` if the choice is of another type. Chat completions have it one level down.
///
/// # Errors
/// 422 for a mode or a list that is none.
pub(super) fn restrict(
    choice: &Value,
    tools: &mut Vec<Tool>,
) -> Result<Option<ToolChoice>, Problem> {
    if choice["type"] != KIND {
        return Ok(None);
    }
    let inner = choice.get(KIND).unwrap_or(choice);
    let wrong = |field: &str, why| unsupported(&format!("tool_choice.{field}"), why);
    let list = inner["tools"].as_array().ok_or_else(|| wrong("tools", "a list of tools"))?;
    let allowed: Vec<&str> = list.iter().filter_map(name).collect();
    tools.retain(|tool| allowed.contains(&tool.name.as_str()));
    match inner["mode"].as_str() {
        Some("auto") => Ok(Some(ToolChoice::Auto)),
        Some("required") => Ok(Some(ToolChoice::Required)),
        Some(_) | None => Err(wrong("mode", "auto or required")),
    }
}

/// The name of a function in the list.
fn name(tool: &Value) -> Option<&str> {
    let named = tool.pointer("/function/name").or_else(|| tool.get("name"));
    named.filter(|_| tool["type"] == "function").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::http::protocols::openai::allowed::*;

    fn tools() -> Vec<Tool> {
        let tool = |name: &str| serde_json::from_value(json!({ "name": name })).unwrap();
        vec![tool("a"), tool("b")]
    }

    fn names(choice: &Value) -> (Option<ToolChoice>, Vec<String>) {
        let mut tools = tools();
        let mode = restrict(choice, &mut tools).unwrap();
        (mode, tools.into_iter().map(|tool| tool.name).collect())
    }

    #[test]
    fn only_what_is_allowed_is_left() {
        let flat = json!({ "type": KIND, "mode": "required", "tools": [
            { "type": "function", "name": "b" }, { "type": "mcp", "server_label": "a" },
        ] });
        assert_eq!(names(&flat), (Some(ToolChoice::Required), vec!["b".to_owned()]));
        let nested = json!({ "type": KIND, KIND: { "mode": "auto", "tools": [
            { "type": "function", "function": { "name": "a" } },
        ] } });
        assert_eq!(names(&nested), (Some(ToolChoice::Auto), vec!["a".to_owned()]));
        let other = json!({ "type": "function", "name": "a" });
        assert_eq!(names(&other).1.len(), 2);
        for wrong in [
            json!({ "type": KIND }),
            json!({ "type": KIND, "tools": [] }),
            json!({ "type": KIND, "mode": "some", "tools": [] }),
        ] {
            assert!(restrict(&wrong, &mut tools()).is_err(), "{wrong}");
        }
    }
}
