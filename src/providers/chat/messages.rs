//! Edits of the messages of a chat completion's request. A message that needs none stays as it is.
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::ports::{Attempt, Continuation};
use crate::providers::upstream::json_body::Object;
use crate::providers::upstream::overlap;

/// The upstream's wishes for messages with instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instructions<'a> {
    /// Their role; `None` leaves it as it is.
    pub(crate) role: Option<&'a str>,
    /// Whether several become one: many templates take only one, at the beginning.
    pub(crate) join: bool,
}

fn role(message: &Object) -> String {
    message.read("role").unwrap_or_default()
}

/// The messages with their instructions as the upstream wants them.
pub(crate) fn instructions(messages: Vec<Object>, wanted: Instructions<'_>) -> Vec<Object> {
    let mut out: Vec<Object> = Vec::with_capacity(messages.len());
    let mut first: Option<usize> = None;
    for mut message in messages {
        if !matches!(role(&message).as_str(), "system" | "developer") {
            out.push(message);
            continue;
        }
        if let Some(wanted) = wanted.role.filter(|wanted| role(&message) != **wanted) {
            message.set("role", &wanted);
        }
        match first {
            Some(at) if wanted.join => {
                let joined = join(&out[at], &message, "\n\n");
                out[at].set("content", &joined);
            }
            Some(_) | None => {
                first = first.or(Some(out.len()));
                out.push(message);
            }
        }
    }
    out
}

/// The messages with neighbours of the assistant made one: strict upstreams want the answers of
/// tools right behind the calls.
pub(crate) fn merged(messages: Vec<Object>) -> Vec<Object> {
    let mut out: Vec<Object> = Vec::with_capacity(messages.len());
    for message in messages {
        match out.last_mut() {
            Some(last) if role(last) == "assistant" && role(&message) == "assistant" => {
                let content = join(last, &message, "\n\n");
                last.set("content", &content);
                let mut calls: Vec<Box<RawValue>> = last.read("tool_calls").unwrap_or_default();
                calls.extend(message.read::<Vec<_>>("tool_calls").unwrap_or_default());
                if !calls.is_empty() {
                    last.set("tool_calls", &calls);
                }
                for name in ["reasoning_content", "reasoning"] {
                    if let Some(text) = message.read::<String>(name).filter(|_| !last.has(name)) {
                        last.set(name, &text);
                    }
                }
            }
            Some(_) | None => out.push(message),
        }
    }
    out
}

/// Adds the text so far as the beginning of the answer. It joins a trailing message of the
/// assistant, which is one with it, or becomes a new message. Returns that beginning as it is sent.
pub(crate) fn continued(
    messages: &mut Vec<Object>,
    continuation: Continuation,
    attempt: &Attempt,
) -> String {
    let text = attempt.so_far.as_str();
    let mut said = Object::of(&json!({ "role": "assistant", "content": text }));
    if let Some(last) = messages.last_mut().filter(|last| role(last) == "assistant") {
        let content = match last.read::<String>("content") {
            Some(own) if overlap::is_echoed(&own, text) => copy(&said),
            Some(_) | None => join(last, &said, ""),
        };
        last.set("content", &content);
        said = messages.pop().unwrap_or_default();
    }
    let sent = said.read("content").unwrap_or_else(|| text.to_owned());
    if continuation == Continuation::Prefix {
        said.set("prefix", &true);
        if !attempt.reasoning.is_empty() {
            // llama.cpp and DeepSeek read the one name, vLLM and OpenRouter the other.
            said.set("reasoning_content", &attempt.reasoning);
            said.set("reasoning", &attempt.reasoning);
        }
    }
    messages.push(said);
    if continuation == Continuation::Instruct {
        let instruction = overlap::instruction(text);
        messages.push(Object::of(&json!({ "role": "user", "content": instruction })));
    }
    sent
}

/// The content of a message.
enum Content {
    Nothing,
    Text(String),
    Parts(Vec<Box<RawValue>>),
}

impl Content {
    fn of(message: &Object) -> Self {
        match message.read("content").map(Self::Text) {
            Some(text) => text,
            None => message.read("content").map_or(Self::Nothing, Self::Parts),
        }
    }

    fn parts(self) -> Vec<Box<RawValue>> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Text(text) if text.is_empty() => Vec::new(),
            Self::Text(text) => {
                to_raw_value(&json!({ "type": "text", "text": text })).into_iter().collect()
            }
            Self::Parts(parts) => parts,
        }
    }
}

/// The contents of two messages as one: a text, or parts where one of them has parts.
fn join(one: &Object, other: &Object, between: &str) -> Box<RawValue> {
    let joined = match (Content::of(one), Content::of(other)) {
        (Content::Nothing, _) => return copy(other),
        (_, Content::Nothing) => return copy(one),
        (Content::Text(one), Content::Text(other)) => {
            let between = if one.is_empty() || other.is_empty() { "" } else { between };
            to_raw_value(&format!("{one}{between}{other}"))
        }
        (one, other) => {
            to_raw_value(&one.parts().into_iter().chain(other.parts()).collect::<Vec<_>>())
        }
    };
    joined.unwrap_or_default()
}

fn copy(message: &Object) -> Box<RawValue> {
    message.read("content").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::domain::prompt::{Parameters, Prompt};
    use crate::providers::chat::messages::*;

    fn list(json: &str) -> Vec<Object> {
        serde_json::from_str(json).unwrap()
    }

    fn text(messages: &[Object]) -> String {
        serde_json::to_string(messages).unwrap()
    }

    #[test]
    fn instructions_become_one_with_the_role_that_is_known() {
        let messages = r#"[{"role":"developer","content":"a","name":"x"},
            {"role":"user","content":"q"},{"role":"system","content":[{"type":"text","text":"b"}]}]"#;
        let as_system = Instructions { role: Some("system"), join: true };
        let joined = r#"[{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"name":"x"},{"role":"user","content":"q"}]"#;
        assert_eq!(text(&instructions(list(messages), as_system)), joined);
        let kept = Instructions { role: None, join: false };
        assert_eq!(instructions(list(messages), kept).len(), 3);
    }

    #[test]
    fn a_text_between_a_call_and_its_result_joins_the_call() {
        let messages = r#"[{"role":"user","content":"q"},
            {"role":"assistant","content":null,"tool_calls":[{"id":"c1"}]},
            {"role":"assistant","content":"t"},{"role":"tool","content":"r","tool_call_id":"c1"}]"#;
        let expected = r#"[{"role":"user","content":"q"},{"role":"assistant","content":"t","tool_calls":[{"id":"c1"}]},{"role":"tool","content":"r","tool_call_id":"c1"}]"#;
        assert_eq!(text(&merged(list(messages))), expected);
    }

    #[test]
    fn neighbours_keep_their_calls_and_the_first_thoughts() {
        let messages = r#"[{"role":"assistant","content":"a","reasoning":"x","tool_calls":[{"id":"1"}]},
            {"role":"assistant","content":"","reasoning":"y","reasoning_content":"z","tool_calls":[{"id":"2"}]},
            {"role":"user","content":"q"},{"role":"assistant","content":"b"},
            {"role":"assistant","content":"c"},{"role":"assistant"}]"#;
        let expected = r#"[{"role":"assistant","content":"a","reasoning":"x","tool_calls":[{"id":"1"},{"id":"2"}],"reasoning_content":"z"},{"role":"user","content":"q"},{"role":"assistant","content":"b\n\nc"}]"#;
        assert_eq!(text(&merged(list(messages))), expected);
    }

    fn begun(continuation: Continuation, messages: &str, so_far: &str) -> (String, String) {
        let prompt = Prompt { messages: Vec::new(), parameters: Parameters::default() };
        let mut attempt = Attempt { so_far: so_far.into(), ..Attempt::fresh(prompt) };
        attempt.reasoning = "Hm".into();
        let mut list = list(messages);
        let sent = continued(&mut list, continuation, &attempt);
        (sent, text(&list))
    }

    #[test]
    fn the_text_so_far_is_the_beginning_of_the_answer() {
        let (sent, list) = begun(Continuation::Prefix, "[]", "Once ");
        let marks = r#""prefix":true,"reasoning_content":"Hm","reasoning":"Hm""#;
        let expected = format!(r#"[{{"role":"assistant","content":"Once ",{marks}}}]"#);
        assert_eq!((sent.as_str(), list), ("Once ", expected));
        let (_, list) = begun(Continuation::Instruct, "[]", "Once ");
        let instruction = serde_json::to_string(&overlap::instruction("Once ")).unwrap();
        let asked = format!(r#"{{"role":"user","content":{instruction}}}"#);
        assert_eq!(list, format!(r#"[{{"role":"assistant","content":"Once "}},{asked}]"#));
    }

    #[test]
    fn the_text_so_far_is_one_with_what_the_client_has_begun() {
        let with = |content: &str, so_far: &str| {
            let message = format!(r#"[{{"role":"assistant","content":{content}}}]"#);
            let (sent, list) = begun(Continuation::None, &message, so_far);
            let end = list.strip_prefix(r#"[{"role":"assistant","content":"#).unwrap();
            (sent, end.strip_suffix("}]").unwrap().to_owned())
        };
        assert_eq!(with(r#""b ""#, "c"), ("b c".into(), r#""b c""#.into()));
        let echoed = with(r#""Once upon""#, "Once upon a");
        assert_eq!(echoed, ("Once upon a".into(), r#""Once upon a""#.into()), "it was repeated");
        let part = |text: &str| format!(r#"{{"type":"text","text":"{text}"}}"#);
        let parts = format!("[{},{}]", part("b"), part("c"));
        assert_eq!(with(&format!("[{}]", part("b")), "c"), ("c".into(), parts));
        assert_eq!(with(&format!("[{}]", part("b")), "").1, format!("[{}]", part("b")));
    }
}
