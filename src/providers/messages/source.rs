//! The fields that a client of the Messages API adds to the body, and our own that do not go up.
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::source::{Source, WireProtocol};
use crate::ports::Attempt;
use crate::providers::upstream::json_body::Object;

/// The field that marks what is to be cached.
pub(crate) const CACHE: &str = "cache_control";
/// The prefix of our signatures, which no vendor can check.
const OURS: &str = "lastword_";

/// The names of trial features that the body's fields need.
pub(crate) fn betas(attempt: &Attempt) -> Option<String> {
    let source = attempt.source.as_ref()?;
    let is_own = source.protocol == WireProtocol::AnthropicMessages && !source.betas.is_empty();
    is_own.then(|| source.betas.join(","))
}

/// Whether a client of another protocol marks what is to be cached, in a part, a message or a tool.
/// In a text the quotes would be escaped.
pub(crate) fn marks_cache(source: &Source) -> bool {
    let mark = format!("\"{CACHE}\"");
    let is_name = |(at, _): (usize, &str)| {
        let behind = source.body.get(at + mark.len()..).unwrap_or_default();
        behind.trim_start().starts_with(':')
    };
    source.body.match_indices(mark.as_str()).any(is_name)
}

/// Takes thinking that was signed here out of the turns of `body`; a turn that is nothing else
/// goes.
pub(crate) fn remove_ours(body: &mut Object) {
    if !body.get("messages").is_some_and(|messages| messages.contains(OURS)) {
        return;
    }
    let turns: Vec<Object> = body.read("messages").unwrap_or_default();
    let turns: Vec<Object> = turns.into_iter().filter_map(without_ours).collect();
    body.set("messages", &turns);
}

fn without_ours(mut turn: Object) -> Option<Object> {
    let Some(blocks) = turn.read::<Vec<Box<RawValue>>>("content") else { return Some(turn) };
    let (before, kept): (usize, Vec<_>) =
        (blocks.len(), blocks.into_iter().filter(|block| !is_ours(block)).collect());
    if kept.len() == before {
        return Some(turn);
    }
    if kept.is_empty() {
        return None;
    }
    turn.set("content", &kept);
    Some(turn)
}

fn is_ours(block: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Thinking {
        #[serde(rename = "type")]
        kind: Option<String>,
        signature: Option<String>,
    }
    serde_json::from_str::<Thinking>(block.get()).is_ok_and(|block| {
        block.kind.as_deref() == Some("thinking")
            && block.signature.is_some_and(|signature| signature.starts_with(OURS))
    })
}

#[cfg(test)]
mod tests {
    use crate::domain::prompt::{Parameters, Prompt};
    use crate::providers::messages::source::*;

    #[test]
    fn trial_features_go_up_with_a_body_of_this_protocol_only() {
        let attempt = |protocol| Attempt {
            prompt: Prompt { messages: Vec::new(), parameters: Parameters::default() },
            so_far: String::new(),
            reasoning: String::new(),
            thinking: Vec::new(),
            spent: 0,
            given: 0,
            resume: None,
            trace: None,
            source: Some(Source {
                protocol,
                body: "{}".into(),
                betas: vec!["a-1".into(), "b-2".into()],
            }),
        };
        let own = attempt(WireProtocol::AnthropicMessages);
        assert_eq!(betas(&own).as_deref(), Some("a-1,b-2"));
        assert_eq!(betas(&attempt(WireProtocol::OpenaiChat)), None);
    }

    #[test]
    fn thinking_that_was_signed_here_does_not_go_up() {
        let ours = r#"{"type":"thinking","thinking":"Hm","signature":"lastword_00"}"#;
        let theirs = r#"{"type":"thinking","thinking":"Hm","signature":"EqQB"}"#;
        let text = r#"{"type":"text","text":"lastword_","signature":"lastword_"}"#;
        let turn = |blocks: &str| format!(r#"{{"role":"assistant","content":[{blocks}],"x":1.0}}"#);
        let body = |turns: &str| format!(r#"{{"model":"up","max_tokens":9,"messages":[{turns}]}}"#);
        let all = [turn(&format!("{ours},{theirs},{text}")), turn(ours), turn(text)].join(",");
        let left = [turn(&format!("{theirs},{text}")), turn(text)].join(",");
        let mut object = Object::parse(&body(&all)).unwrap();
        remove_ours(&mut object);
        assert_eq!(serde_json::to_string(&object).unwrap(), body(&left));
    }

    #[test]
    fn a_mark_of_what_is_cached_is_told_from_a_text_about_it() {
        let marks = |body: &str| {
            let protocol = WireProtocol::OpenaiChat;
            marks_cache(&Source { protocol, body: body.into(), betas: Vec::new() })
        };
        assert!(marks(r#"{"messages":[{"content":[{"cache_control" :{"type":"ephemeral"}}]}]}"#));
        assert!(!marks(r#"{"messages":["cache_control","say \"cache_control\": x"]}"#));
    }
}
