//! The tools of a request, as functions that any model can be given.
use serde::Deserialize;
use serde_json::{Value, json};

use super::elsewhere::Elsewhere;
use super::fields::{Fields, missing, unsupported};
use crate::domain::nearest::shown;
use crate::domain::prompt::{ClientTool, Message, Parameters, Tool, ToolChoice, function_name};
use crate::http::problem::Problem;

/// A tool as both APIs describe it; chat completions have it one level down.
#[derive(Debug, Deserialize)]
pub(crate) struct WireTool {
    /// Google's own tools have none.
    #[serde(rename = "type")]
    kind: Option<String>,
    function: Option<Tool>,
    custom: Option<WireCustom>,
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Value>,
    strict: Option<bool>,
    format: Option<Value>,
    /// Of a namespace.
    tools: Option<Vec<WireTool>>,
}

/// An item that adds tools.
#[derive(Debug, Default, Deserialize)]
struct AddedTools {
    tools: Vec<WireTool>,
}

/// A tool that takes a text.
#[derive(Debug, Deserialize)]
struct WireCustom {
    name: String,
    description: Option<String>,
    format: Option<Value>,
}

/// The namespace that a tool is in.
struct Namespace {
    name: String,
    description: Option<String>,
}

/// The functions of a request, and what of them the client has in another form.
#[derive(Debug, Default)]
struct Tools {
    functions: Vec<Tool>,
    forms: Vec<ClientTool>,
}

/// Checks a list of tools that stands at `place`.
pub(crate) fn check(place: &str, list: Vec<WireTool>) -> Result<(), Problem> {
    Tools::default().add_all(place, list)
}

/// How a request wants tools to be called. Without any, no upstream takes the rest. `messages` may
/// add tools.
pub(crate) fn tooling(
    fields: &mut Fields,
    messages: &[Message],
    elsewhere: &mut Elsewhere,
) -> Result<Parameters, Problem> {
    let mut tools = Tools::default();
    tools.add_all("tools", fields.take("tools")?.unwrap_or_default())?;
    for item in messages.iter().filter_map(Message::tools_item) {
        let item: AddedTools = serde_json::from_str(item.text()).unwrap_or_default();
        let mut added = Tools::default();
        added.add_all("input.tools", item.tools)?;
        tools.merge(added);
    }
    let choice = match fields.take::<Value>("tool_choice")? {
        Some(wanted) => tools.choice(&wanted, elsewhere)?,
        None => None,
    };
    let Tools { functions, forms } = tools;
    let none = functions.is_empty();
    Ok(Parameters {
        tools: functions,
        client_tools: forms,
        tool_choice: choice.filter(|_| !none),
        parallel_tool_calls: fields.take("parallel_tool_calls")?.filter(|_: &bool| !none),
        ..Parameters::default()
    })
}

impl Tools {
    fn add_all(&mut self, place: &str, list: Vec<WireTool>) -> Result<(), Problem> {
        for (n, tool) in list.into_iter().enumerate() {
            self.add(&format!("{place}[{n}]"), tool, None)?;
        }
        Ok(())
    }

    /// Adds what of `tool` any model can be given; the rest goes up in the client's own body only.
    fn add(
        &mut self,
        place: &str,
        tool: WireTool,
        namespace: Option<&Namespace>,
    ) -> Result<(), Problem> {
        let WireTool { kind, function, custom, name, description, parameters, strict, .. } = tool;
        let named = || missing(&format!("{place}.name"));
        let kind = kind.as_deref().or_else(|| function.is_some().then_some("function"));
        match (kind.unwrap_or_default(), namespace) {
            ("function", _) => {
                let flat = name.map(|name| Tool { name, description, parameters, strict });
                self.push(function.or(flat).ok_or_else(named)?, namespace, false);
            }
            ("custom", _) => {
                let format = tool.format;
                let flat = name.map(|name| WireCustom { name, description, format });
                self.push(as_function(custom.or(flat).ok_or_else(named)?), namespace, true);
            }
            ("namespace", None) => {
                let namespace = Namespace { name: name.ok_or_else(named)?, description };
                for (n, inner) in tool.tools.into_iter().flatten().enumerate() {
                    self.add(&format!("{place}.tools[{n}]"), inner, Some(&namespace))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds those of a later list: of two with one name it has the newer one.
    fn merge(&mut self, later: Self) {
        let again = |name: &str| later.functions.iter().any(|tool| tool.name == name);
        self.functions.retain(|tool| !again(&tool.name));
        self.forms.retain(|form| !again(&form.function));
        self.functions.extend(later.functions);
        self.forms.extend(later.forms);
    }

    fn push(&mut self, mut tool: Tool, namespace: Option<&Namespace>, custom: bool) {
        let name = tool.name.clone();
        if let Some(Namespace { name: of, description }) = namespace {
            tool.name = function_name(Some(of), &name).into_owned();
            tool.description = tool.description.or_else(|| description.clone());
        }
        if custom || namespace.is_some() {
            let namespace = namespace.map(|namespace| namespace.name.clone());
            self.forms.push(ClientTool { function: tool.name.clone(), name, namespace, custom });
        }
        self.functions.push(tool);
    }

    /// The function that the client calls so.
    fn function(&self, name: &str, namespace: Option<&str>) -> Option<&str> {
        let is = |form: &&ClientTool| {
            form.name == name && (namespace.is_none() || namespace == form.namespace.as_deref())
        };
        let named = |tool: &&Tool| tool.name == name && namespace.is_none();
        let function = self.functions.iter().find(named).map(|tool| tool.name.as_str());
        function.or_else(|| self.forms.iter().find(is).map(|form| form.function.as_str()))
    }

    /// The choice among them. One that the model cannot make is refused by name, unless the
    /// client's own body goes up.
    fn choice(
        &mut self,
        value: &Value,
        elsewhere: &mut Elsewhere,
    ) -> Result<Option<ToolChoice>, Problem> {
        let kind = value.get("type").and_then(Value::as_str);
        let (choice, wanted) = match (value.as_str(), kind, named(value)) {
            (Some("auto"), ..) => return Ok(Some(ToolChoice::Auto)),
            (Some("none"), ..) => return Ok(Some(ToolChoice::None)),
            // Mistral's word for it is `any`.
            (Some("required" | "any"), ..) => {
                (Some(ToolChoice::Required).filter(|_| !self.functions.is_empty()), "required")
            }
            (None, Some("allowed_tools"), _) => (self.allowed(value), "allowed_tools"),
            (None, Some("function" | "custom"), Some((name, namespace))) => {
                let function = self.function(name, namespace);
                (function.map(|function| ToolChoice::Function(function.into())), name)
            }
            (None, Some("function") | None, _) | (Some(_), ..) => {
                return Err(unsupported("tool_choice", "auto, none, required or a tool"));
            }
            (None, Some(kind), named) => (None, named.map_or(kind, |(name, _)| name)),
        };
        if choice.is_none() {
            let why = format!("this model gets no such tool: `{}`", shown(wanted));
            elsewhere.refuse(unsupported("tool_choice", &why));
        }
        Ok(choice)
    }

    /// Only those of the tools that the client allows this time; `None` if it wants one of those
    /// that the model does not get.
    fn allowed(&mut self, value: &Value) -> Option<ToolChoice> {
        let value = value.get("allowed_tools").unwrap_or(value);
        let listed = value.get("tools").and_then(Value::as_array);
        let listed = listed.into_iter().flatten().filter_map(named);
        let allowed: Vec<String> = listed
            .filter_map(|(name, namespace)| self.function(name, namespace))
            .map(str::to_owned)
            .collect();
        self.functions.retain(|tool| allowed.contains(&tool.name));
        self.forms.retain(|form| allowed.contains(&form.function));
        let required = value.get("mode").and_then(Value::as_str) == Some("required");
        let choice = if required { ToolChoice::Required } else { ToolChoice::Auto };
        Some(choice).filter(|_| !required || !allowed.is_empty())
    }
}

/// The name of a tool that a choice names, and its namespace.
fn named(value: &Value) -> Option<(&str, Option<&str>)> {
    let at = |path: &str| value.pointer(path).and_then(Value::as_str);
    let name = ["/function/name", "/custom/name", "/name"].into_iter().find_map(at)?;
    Some((name, at("/namespace")))
}

/// A tool that takes a text as a function: what the text has to look like is told in words.
fn as_function(tool: WireCustom) -> Tool {
    let grammar = tool.format.as_ref().and_then(|format| {
        let grammar = format.get("grammar").unwrap_or(format);
        let word = |name: &str| grammar.get(name).and_then(Value::as_str);
        let (syntax, definition) = (word("syntax")?, word("definition")?);
        Some(format!("The input follows this grammar ({syntax}):\n{definition}"))
    });
    let description: Vec<String> = tool.description.into_iter().chain(grammar).collect();
    let description = description.join("\n\n");
    Tool {
        name: tool.name,
        description: (!description.is_empty()).then_some(description),
        parameters: Some(json!({
            "type": "object", "properties": { "input": { "type": "string" } },
            "required": ["input"], "additionalProperties": false,
        })),
        strict: None,
    }
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::openai::client_tools::*;
    use crate::http::protocols::openai::fields::Body;

    fn tooled(body: &str) -> (Parameters, Result<(), Problem>) {
        let body: Body = serde_json::from_str(body).unwrap();
        let mut elsewhere = Elsewhere::default();
        let parameters = tooling(&mut Fields::new(body), &[], &mut elsewhere).unwrap();
        (parameters, elsewhere.check(false, None))
    }

    const TOOLS: &str = r#""tools":[{"type":"function","name":"f"},{"type":"web_search"},
        {"type":"custom","name":"sh","description":"Runs.","format":{"type":"grammar","syntax":"lark","definition":"start: x"}},
        {"type":"namespace","name":"fs","description":"Files.","tools":[
            {"type":"function","name":"f","parameters":{"type":"object"}},{"type":"custom","name":"patch"}]}]"#;

    #[test]
    fn every_tool_that_can_be_a_function_becomes_one() {
        let (parameters, _) = tooled(&format!("{{{TOOLS}}}"));
        let names: Vec<&str> = parameters.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["f", "sh", "fs__f", "fs__patch"]);
        let sh = &parameters.tools[1];
        let description = "Runs.\n\nThe input follows this grammar (lark):\nstart: x";
        assert_eq!(sh.description.as_deref(), Some(description));
        assert_eq!(sh.parameters.as_ref().unwrap()["required"], json!(["input"]));
        assert_eq!(parameters.tools[2].description.as_deref(), Some("Files."));
        let forms: Vec<(&str, bool)> =
            parameters.client_tools.iter().map(|t| (t.function.as_str(), t.custom)).collect();
        assert_eq!(forms, [("sh", true), ("fs__f", false), ("fs__patch", true)]);
        let chat = r#"{"tools":[{"type":"custom","custom":{"name":"sh","format":
            {"type":"grammar","grammar":{"syntax":"regex","definition":"a+"}}}}]}"#;
        assert!(tooled(chat).0.tools[0].description.as_deref().unwrap().ends_with("(regex):\na+"));
    }

    #[test]
    fn a_choice_names_the_function() {
        for (choice, function) in [
            (r#"{"type":"function","name":"f"}"#, "f"),
            (r#"{"type":"function","name":"f","namespace":"fs"}"#, "fs__f"),
            (r#"{"type":"custom","name":"patch"}"#, "fs__patch"),
            (r#"{"type":"custom","name":"sh"}"#, "sh"),
            (r#"{"type":"custom","name":"patch","namespace":"fs"}"#, "fs__patch"),
        ] {
            let (parameters, refused) = tooled(&format!(r#"{{{TOOLS},"tool_choice":{choice}}}"#));
            assert_eq!(parameters.tool_choice, Some(ToolChoice::Function(function.into())));
            refused.unwrap();
        }
        let none = r#"{"tools":[{"type":"web_search"}],"tool_choice":"required"}"#;
        assert_eq!(tooled(none).1.unwrap_err().field(), Some("tool_choice"));
        let other = format!(r#"{{{TOOLS},"tool_choice":{{"type":"web_search"}}}}"#);
        assert_eq!(tooled(&other).1.unwrap_err().field(), Some("tool_choice"));
    }

    #[test]
    fn only_the_allowed_tools_are_given() {
        let allowed = |mode: &str, tools: &str| {
            let choice = format!(r#"{{"type":"allowed_tools","mode":"{mode}","tools":{tools}}}"#);
            tooled(&format!(r#"{{{TOOLS},"tool_choice":{choice}}}"#))
        };
        let (parameters, refused) = allowed("required", r#"[{"type":"custom","name":"sh"}]"#);
        refused.unwrap();
        assert_eq!((parameters.tools.len(), parameters.client_tools.len()), (1, 1));
        assert_eq!(parameters.tool_choice, Some(ToolChoice::Required));
        assert!(allowed("required", r#"[{"type":"web_search"}]"#).1.is_err());
        let (none, refused) = allowed("auto", r#"[{"type":"web_search"}]"#);
        refused.unwrap();
        assert!(none.tools.is_empty() && none.tool_choice.is_none());
    }
}
