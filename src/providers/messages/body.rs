//! The body of a request to the Messages API. A client that speaks the same protocol has its own
//! body sent, with few changes; else it is written from the prompt.
<<<<<<< HEAD
#[cfg(test)]
mod tests;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

=======
use super::begun::{continued, fit_budget};
>>>>>>> u25
use super::source;
use super::source::CACHE;
use super::wire;
use super::wire::MessagesRequest;
use crate::domain::prompt::current_reasoning;
use crate::domain::source::WireProtocol;
use crate::ports::{Attempt, Continuation};
use crate::providers::upstream::adjust::Adjust;
use crate::providers::upstream::json_body::Object;

/// The API wants a limit; this one is used where neither client nor configuration set one, in
/// tokens.
const MAX_TOKENS: u32 = 4096;
const LIMIT: &str = "max_tokens";

/// The upstream that a request is written for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The model's name there.
    pub(crate) model: &'a str,
    /// How it goes on from a text.
    pub(crate) continuation: Continuation,
    /// The configuration's changes.
    pub(crate) adjust: &'a Adjust,
}

/// A body, and what of the client's is not in it.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) object: Object,
    /// Names of fields that were left out.
    pub(crate) left_out: Vec<String>,
    /// Whether the limit of the answer is used up.
    pub(crate) spent: bool,
    /// The beginning of the answer that goes up with it.
    pub(crate) begun: String,
    /// Whether it is the client's own.
    pub(super) is_own: bool,
}

impl Body {
    /// The body for `attempt`.
    pub(crate) fn new(wanted: Wanted<'_>, attempt: &Attempt) -> Self {
        let (mut object, left_out, own) = begun(wanted, attempt);
        object.set("model", &wanted.model);
        object.set("stream", &true);
        let mut messages: Vec<Object> = object.read("messages").unwrap_or_default();
        // An answer that the client itself has begun goes up as it came.
        let is_whole = own && attempt.so_far.trim_end().is_empty();
        let begun =
            (!is_whole).then(|| continued(&mut messages, wanted.continuation, attempt)).flatten();
        if begun.is_some() {
            object.set("messages", &messages);
        }
        if !object.has(LIMIT) {
            let usual = wanted.adjust.max_output_tokens.map_or(MAX_TOKENS, u32::from);
            object.set(LIMIT, &usual);
        }
        wanted.adjust.finish(&mut object);
        let limit = object.read::<u64>(LIMIT).filter(|_| attempt.spent > 0);
        if let Some(limit) = limit {
            let left = limit.saturating_sub(attempt.spent).max(1);
            object.set(LIMIT, &left);
            fit_budget(&mut object, left);
        }
        let spent = limit.is_some_and(|limit| limit <= attempt.spent);
        Self { object, left_out, spent, begun: begun.unwrap_or_default(), is_own: own }
    }

    /// Tokens that are left of the limit.
    pub(crate) fn left(&self) -> Option<u64> {
        self.object.read(LIMIT)
    }

    /// Allows `tokens` above the limit: they are no part of the answer.
    pub(crate) fn allow(&mut self, tokens: u64) {
        if let Some(limit) = self.left() {
            self.object.set(LIMIT, &(limit + tokens));
        }
    }
}

/// The client's own fields, or those of the prompt; what was left out; whether it is the client's.
fn begun(wanted: Wanted<'_>, attempt: &Attempt) -> (Object, Vec<String>, bool) {
    let source = attempt.source.as_ref();
    let client = source.and_then(|source| Some((source.protocol, Object::parse(&source.body)?)));
    if let Some((WireProtocol::AnthropicMessages, own)) = &client
        && own.has("messages")
    {
        let mut own = own.clone();
        let left_out = wanted.adjust.without_steering(&mut own);
        source::remove_ours(&mut own);
        // A key may allow less than was asked for.
        if let Some(most) = attempt.prompt.parameters.max_output_tokens {
            own.set(LIMIT, &most);
        }
        return (own, left_out, true);
    }
    let parameters = &attempt.prompt.parameters;
    let mut body = Object::of(&MessagesRequest::new(wanted.model, &attempt.prompt));
    let told = source.map(|source| wanted.adjust.pass_on(source, &mut body));
    let mut left_out = told.unwrap_or_default();
    let messages = &attempt.prompt.messages;
    let mut thoughts = messages.iter().zip(current_reasoning(messages));
    let thought = thoughts.any(|(said, thought)| thought.is_some() && said.thinking.is_empty());
    let caches = body.has(CACHE) || wanted.adjust.set.iter().any(|(name, _)| name == CACHE);
    let unknown = [
        // Thinking is taken with the API's own signature only.
        ("input.reasoning", thought),
        ("seed", parameters.seed.is_some()),
        ("presence_penalty", parameters.openai.presence_penalty.is_some()),
        ("frequency_penalty", parameters.openai.frequency_penalty.is_some()),
        ("top_p", parameters.top_p.is_some() && parameters.temperature.is_some()),
        ("response_format", wire::is_without_schema(&parameters.openai)),
        (CACHE, !caches && source.is_some_and(source::marks_cache)),
    ];
    let unknown = unknown.iter().filter(|(_, set)| *set).map(|(name, _)| (*name).to_owned());
    left_out.extend(unknown.filter(|name| !left_out.contains(name)).collect::<Vec<_>>());
    (body, left_out, false)
}

<<<<<<< HEAD
/// Adds the text so far; the beginning of the answer as it is sent, `None` if nothing is to be
/// changed. The API refuses a beginning that ends in white space, so that is cut off. Behind a turn
/// of the assistant an answer is only begun where the model goes on exactly.
fn continued(
    messages: &mut Vec<Object>,
    continuation: Continuation,
    so_far: &str,
) -> Option<String> {
    let is_assistant = |m: &Object| m.read::<String>("role").as_deref() == Some("assistant");
    let ends = messages.last().is_some_and(is_assistant);
    if !ends && so_far.trim_end().is_empty() {
        return None;
    }
    let last = if ends { messages.pop() } else { None };
    let mut text = so_far.to_owned();
    let mut said = json!({ "role": "assistant" });
    match last.as_ref().map(|last| last.read::<String>("content")) {
        Some(Some(own)) if overlap::is_echoed(&own, so_far) => {}
        Some(Some(own)) => text = own + so_far,
        Some(None) => {
            let mut blocks: Vec<Box<RawValue>> =
                last.and_then(|last| last.read("content")).unwrap_or_default();
            if !so_far.trim_end().is_empty() {
                let block = json!({ "type": "text", "text": so_far.trim_end() });
                blocks.extend(to_raw_value(&block));
            }
            let mut turn = Object::of(&said);
            turn.set("content", &blocks);
            messages.push(turn);
            ask_on(messages, continuation, so_far);
            return Some(so_far.trim_end().to_owned());
        }
        None => {}
    }
    if !text.trim_end().is_empty() {
        said["content"] = Value::from(text.trim_end());
        messages.push(Object::of(&said));
        ask_on(messages, continuation, &text);
    }
    Some(text.trim_end().to_owned())
}

fn ask_on(messages: &mut Vec<Object>, continuation: Continuation, text: &str) {
    if continuation != Continuation::Prefix {
        let turn = json!({ "role": "user", "content": overlap::instruction(text) });
        messages.push(Object::of(&turn));
=======
#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::domain::prompt::{Message, Parameters, Prompt, Role, Tool};
    use crate::domain::source::Source;
    use crate::domain::thinking::{ThinkingBlock, Thought};
    use crate::providers::messages::body::*;

    fn attempt(messages: Vec<Message>, parameters: Parameters, so_far: &str) -> Attempt {
        Attempt {
            prompt: Prompt { messages, parameters },
            so_far: so_far.into(),
            resume: None,
            trace: None,
            source: None,
            reasoning: String::new(),
            thinking: Vec::new(),
            spent: 0,
            given: 0,
        }
    }

    fn body(continuation: Continuation, attempt: &Attempt) -> Body {
        let adjust = Adjust::default();
        Body::new(Wanted { model: "m", continuation, adjust: &adjust }, attempt)
    }

    fn value(body: &Body) -> Value {
        serde_json::to_value(&body.object).unwrap()
    }

    fn turns(continuation: Continuation, messages: &[(Role, &str)], so_far: &str) -> Vec<Value> {
        let messages = messages.iter().map(|(role, text)| Message::text(*role, *text)).collect();
        let attempt = attempt(messages, Parameters::default(), so_far);
        value(&body(continuation, &attempt))["messages"].as_array().unwrap().clone()
    }

    #[test]
    fn a_text_is_continued_by_an_instruction_or_as_a_prefix() {
        let hi = [(Role::User, "hi")];
        let instructed = turns(Continuation::Instruct, &hi, "Once ");
        assert_eq!(instructed[1], json!({ "role": "assistant", "content": "Once" }));
        assert!(instructed[2]["content"].as_str().unwrap().contains("`Once `"));
        assert_eq!(turns(Continuation::Prefix, &hi, "Once \n").len(), 2);
        assert_eq!(turns(Continuation::Prefix, &hi, "Once \n")[1]["content"], "Once");
        assert_eq!(turns(Continuation::Prefix, &hi, " \n").len(), 1, "nothing to continue");
    }

    #[test]
    fn the_last_turn_is_the_persons_where_the_model_wants_it() {
        let begun = [(Role::User, "hi"), (Role::Assistant, "b ")];
        let asked = turns(Continuation::Instruct, &begun, "");
        assert_eq!(asked[1], json!({ "role": "assistant", "content": "b" }));
        assert_eq!(asked[2]["role"], "user");
        let joined = turns(Continuation::Prefix, &begun, "c");
        assert_eq!(joined[1], json!({ "role": "assistant", "content": "b c" }));
        let empty = [(Role::User, "hi"), (Role::Assistant, ""), (Role::User, "again")];
        assert_eq!(turns(Continuation::Instruct, &empty, "").len(), 2, "an empty turn is refused");
    }

    #[test]
    fn a_client_of_the_same_protocol_begins_an_answer_in_its_own_way() {
        let own =
            r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"b "}]}"#;
        let mut attempt = attempt(Vec::new(), Parameters::default(), "");
        let protocol = WireProtocol::AnthropicMessages;
        attempt.source = Some(Source { protocol, body: own.into(), betas: Vec::new() });
        let sent =
            |attempt: &Attempt| value(&body(Continuation::Instruct, attempt))["messages"].clone();
        assert_eq!(sent(&attempt), serde_json::from_str::<Value>(own).unwrap()["messages"]);
        attempt.so_far = "c".into();
        let continued = sent(&attempt);
        assert_eq!(continued[1]["content"], "b c");
        assert_eq!(continued[2]["role"], "user", "after a loss it is asked to go on");
    }

    #[test]
    fn an_answer_goes_on_behind_its_own_thinking() {
        let block = |text: &str| ThinkingBlock::Thinking {
            thinking: text.into(),
            signature: format!("sign {text}"),
        };
        let redacted = ThinkingBlock::RedactedThinking { data: "eHh4".into() };
        let at = |after, block| Thought { after, block };
        let mut attempt = attempt(vec![Message::text(Role::User, "hi")], Parameters::default(), "");
        attempt.so_far = "One two ".into();
        let all = [(0, block("a")), (0, redacted), (4, block("b")), (8, block("late"))];
        attempt.thinking = all.map(|(after, block)| at(after, block)).to_vec();
        let text = |text: &str| json!({ "type": "text", "text": text });
        let sent = |text: &str| {
            let signature = format!("sign {text}");
            json!({ "type": "thinking", "thinking": text, "signature": signature })
        };
        let hidden = json!({ "type": "redacted_thinking", "data": "eHh4" });
        let content = json!([sent("a"), hidden, text("One "), sent("b"), text("two")]);
        for continuation in [Continuation::Prefix, Continuation::Instruct] {
            let turns = value(&body(continuation, &attempt))["messages"].clone();
            assert_eq!(turns[1]["content"], content, "thinking is never the last block");
        }
        // Cut back to its first word.
        attempt.so_far = "One".into();
        let turns = value(&body(Continuation::Prefix, &attempt))["messages"].clone();
        let hidden = &content[1];
        assert_eq!(turns[1]["content"], json!([sent("a"), hidden, text("One")]));
        // Behind what the client itself has begun.
        let own = r#"{"max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1999},"messages":[
            {"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"x","y":1.0}]}]}"#;
        let protocol = WireProtocol::AnthropicMessages;
        attempt.source = Some(Source { protocol, body: own.into(), betas: Vec::new() });
        attempt.spent = 10;
        let mut asked = body(Continuation::Prefix, &attempt);
        let turns = value(&asked)["messages"].clone();
        let own = json!({ "type": "x", "y": 1.0 });
        assert_eq!(turns[1]["content"], json!([own, sent("a"), hidden, text("One")]));
        assert_eq!(value(&asked)["thinking"]["budget_tokens"], 1989, "less than what is left");
        // Another vendor's model cannot check it.
        let refused =
            asked.refused("messages.1.content.1: Invalid `signature` in `thinking` block");
        asked.leave_out(refused.unwrap());
        assert_eq!(value(&asked)["messages"][1]["content"], json!([own, text("One")]));
        attempt.spent = 1500;
        let asked = body(Continuation::Prefix, &attempt);
        assert_eq!(value(&asked)["thinking"], json!({ "type": "disabled" }), "no budget fits");
    }

    #[test]
    fn what_the_api_does_not_take_is_mapped_or_left_out() {
        let mut parameters =
            Parameters { temperature: Some(1.3), top_p: Some(0.9), ..Parameters::default() };
        parameters.openai.reasoning_effort = Some("minimal".into());
        let schema = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": {} } });
        parameters.openai.response_format = Some(schema);
        let attempt = attempt(vec![Message::text(Role::User, "hi")], parameters, "");
        let asked = body(Continuation::Instruct, &attempt);
        assert_eq!(asked.left_out, ["top_p"]);
        let sent = value(&asked);
        assert_eq!((&sent["temperature"], sent.get("top_p")), (&json!(1.0), None));
        let format = json!({ "type": "json_schema", "schema": {} });
        assert_eq!(sent["output_config"], json!({ "effort": "low", "format": format }));
        let refused = asked.refused("output_config.effort: not supported").unwrap();
        let mut other = asked.clone();
        other.leave_out(refused);
        assert_eq!(value(&other)["output_config"], json!({ "format": format }));
        assert_eq!(other.left_out, ["top_p", "reasoning_effort"]);
        assert!(asked.refused("no credit").is_none());
    }

    #[test]
    fn a_hint_is_mapped_and_what_cannot_be_kept_is_told() {
        let mut parameters = Parameters::default();
        let effort = |parameters: &mut Parameters, effort: &str| {
            parameters.openai.reasoning_effort = Some(effort.into());
            let messages = vec![Message::text(Role::User, "hi")];
            value(&body(Continuation::None, &attempt(messages, parameters.clone(), "")))
        };
        assert_eq!(effort(&mut parameters, "xhigh")["output_config"], json!({ "effort": "xhigh" }));
        let none = effort(&mut parameters, "none");
        assert_eq!(
            (&none["thinking"]["type"], none.get("output_config")),
            (&json!("disabled"), None)
        );
        let (name, strict) = ("f".into(), Some(true));
        parameters.tools = vec![Tool { name, description: None, parameters: None, strict }];
        let mut attempt = attempt(vec![Message::text(Role::User, "hi")], parameters, "");
        let marked = r#"{"messages":[{"content":"hi","cache_control":{"type":"ephemeral"}}]}"#;
        let protocol = WireProtocol::OpenaiChat;
        attempt.source = Some(Source { protocol, body: marked.into(), betas: Vec::new() });
        let mut asked = body(Continuation::None, &attempt);
        assert_eq!(
            (&value(&asked)["tools"][0]["strict"], &*asked.left_out),
            (&json!(true), &["cache_control".to_owned()][..])
        );
        let refused = asked.refused("tools.0.custom: `minimum` is not supported").unwrap();
        assert!(!refused.is_of_model(), "another schema may be taken");
        asked.leave_out(refused);
        assert_eq!(value(&asked)["tools"][0].get("strict"), None);
        assert_eq!(asked.left_out, ["cache_control", "tools.strict"]);
        let set = vec![("cache_control".into(), json!({ "type": "ephemeral" }))];
        let adjust = Adjust { set, ..Adjust::default() };
        let wanted = Wanted { model: "m", continuation: Continuation::None, adjust: &adjust };
        let set = Body::new(wanted, &attempt);
        assert!(set.left_out.is_empty(), "the configuration caches");
        assert_eq!(value(&set)["cache_control"]["type"], "ephemeral");
>>>>>>> u25
    }
}
