//! The client's own body for a Messages API: as it came, but for what this server has to say.
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::seam;
use crate::domain::source::{Source, WireProtocol};
use crate::ports::{Attempt, Continuation};

/// What signatures of ours begin with, which no vendor can check.
const OURS: &str = "lastword_";

/// The upstream that a body is written for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct For<'a> {
    /// The model's name there.
    pub(crate) model: &'a str,
    /// How it goes on from a text.
    pub(crate) continuation: Continuation,
}

/// The body of `attempt` in the client's own words; `None` if it came in another protocol.
pub(crate) fn body(attempt: &Attempt, upstream: For<'_>) -> Option<String> {
    let source = of(attempt)?;
    let mut fields: Fields<'_> = serde_json::from_str(&source.body).ok()?;
    fields.set("model", to_raw_value(upstream.model).ok()?);
    fields.set("stream", to_raw_value(&true).ok()?);
    // A key may allow less than was asked for.
    if let Some(most) = attempt.prompt.parameters.max_output_tokens {
        fields.set("max_tokens", to_raw_value(&most).ok()?);
    }
    let mut turns: Vec<Box<RawValue>> = serde_json::from_str(fields.get("messages")?).ok()?;
    if source.body.contains(OURS) {
        turns = turns.into_iter().filter_map(without_ours).collect();
    }
    for turn in continued(&attempt.so_far, upstream.continuation) {
        turns.push(to_raw_value(&turn).ok()?);
    }
    fields.set("messages", to_raw_value(&turns).ok()?);
    serde_json::to_string(&fields).ok()
}

/// The names of trial features that the body's fields need.
pub(crate) fn betas(attempt: &Attempt) -> Option<String> {
    let betas = &of(attempt)?.betas;
    (!betas.is_empty()).then(|| betas.join(","))
}

fn of(attempt: &Attempt) -> Option<&Source> {
    let source = attempt.source.as_ref()?;
    match source.protocol {
        WireProtocol::AnthropicMessages => Some(source),
        WireProtocol::OpenaiChat | WireProtocol::OpenaiResponses => None,
    }
}

/// What follows the client's turns when an answer has begun.
fn continued(so_far: &str, continuation: Continuation) -> Vec<Value> {
    // An empty turn is refused, and so is white space at the end of the last one.
    let begun = so_far.trim_end();
    if begun.is_empty() {
        return Vec::new();
    }
    let mut turns = vec![json!({ "role": "assistant", "content": begun })];
    if continuation == Continuation::Instruct {
        turns.push(json!({ "role": "user", "content": seam::instruction(so_far) }));
    }
    turns
}

/// The turn without thinking that was signed here; `None` if nothing is left of it.
pub(crate) fn without_ours(turn: Box<RawValue>) -> Option<Box<RawValue>> {
    let Ok(Turn { content: Some(content) }) = serde_json::from_str(turn.get()) else {
        return Some(turn);
    };
    let Ok(blocks) = serde_json::from_str::<Vec<Box<RawValue>>>(content.get()) else {
        return Some(turn);
    };
    let (before, kept): (usize, Vec<_>) =
        (blocks.len(), blocks.into_iter().filter(|block| !is_ours(block)).collect());
    if kept.len() == before {
        return Some(turn);
    }
    if kept.is_empty() {
        return None;
    }
    let mut fields: Fields<'_> = serde_json::from_str(turn.get()).ok()?;
    fields.set("content", to_raw_value(&kept).ok()?);
    to_raw_value(&fields).ok()
}

#[derive(Deserialize)]
struct Turn {
    content: Option<Box<RawValue>>,
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

/// The fields of an object in their order, each as it came or as it was set.
struct Fields<'a>(Vec<(String, Field<'a>)>);

enum Field<'a> {
    AsItCame(&'a RawValue),
    Set(Box<RawValue>),
}

impl Field<'_> {
    fn raw(&self) -> &RawValue {
        match self {
            Self::AsItCame(raw) => raw,
            Self::Set(raw) => raw,
        }
    }
}

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rfind(|(field, _)| field == name);
        found.map(|(_, field)| field.raw().get())
    }

    fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(field, _)| field == name) {
            Some((_, field)) => *field = Field::Set(value),
            None => self.0.push((name.to_owned(), Field::Set(value))),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered;
        impl<'de> Visitor<'de> for Ordered {
            type Value = Vec<(String, Field<'de>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    fields.push((name, Field::AsItCame(map.next_value()?)));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Ordered).map(Self)
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, field) in &self.0 {
            map.serialize_entry(name, field.raw())?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::prompt::{Parameters, Prompt};

    fn attempt(body: &str, so_far: &str) -> Attempt {
        let parameters = Parameters { max_output_tokens: Some(9), ..Parameters::default() };
        Attempt {
            prompt: Prompt { messages: Vec::new(), parameters },
            so_far: so_far.into(),
            resume: None,
            trace: None,
            source: Some(Source {
                protocol: WireProtocol::AnthropicMessages,
                body: body.into(),
                betas: vec!["a-1".into(), "b-2".into()],
            }),
        }
    }

    fn sent(body: &str, so_far: &str, continuation: Continuation) -> String {
        super::body(&attempt(body, so_far), For { model: "up", continuation }).unwrap()
    }

    #[test]
    fn a_body_goes_up_as_it_came() {
        let body = r#"{"z":{"b":1.0,"a":[1e5,null]},"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"thinking":{"type":"adaptive"}}"#;
        let expected = body
            .replace("\"model\":\"m\"", "\"model\":\"up\"")
            .replace("\"adaptive\"}}", "\"adaptive\"},\"stream\":true}");
        assert_eq!(sent(body, "", Continuation::Instruct), expected);
        assert_eq!(betas(&attempt(body, "")).as_deref(), Some("a-1,b-2"));
    }

    #[test]
    fn a_continuation_follows_the_clients_turns() {
        let body = r#"{"model":"m","max_tokens":20,"stream":false,"messages":[{"role":"user","content":"hi"}]}"#;
        let value = |so_far, continuation| -> Value {
            serde_json::from_str(&sent(body, so_far, continuation)).unwrap()
        };
        let prefix = value("Once \n", Continuation::Prefix);
        assert_eq!(prefix["messages"][1], json!({ "role": "assistant", "content": "Once" }));
        assert_eq!((&prefix["stream"], &prefix["max_tokens"]), (&json!(true), &json!(9)));
        let instructed = value("Once", Continuation::Instruct);
        assert!(instructed["messages"][2]["content"].as_str().unwrap().contains("`Once`"));
        assert_eq!(value(" ", Continuation::Prefix)["messages"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn thinking_that_was_signed_here_does_not_go_up() {
        let ours = r#"{"type":"thinking","thinking":"Hm","signature":"lastword_00"}"#;
        let theirs = r#"{"type":"thinking","thinking":"Hm","signature":"EqQB"}"#;
        let text = r#"{"type":"text","text":"lastword_"}"#;
        let turn = |blocks: &str| format!(r#"{{"role":"assistant","content":[{blocks}],"x":1.0}}"#);
        let body = |turns: &str| {
            format!(r#"{{"model":"up","stream":true,"max_tokens":9,"messages":[{turns}]}}"#)
        };
        let all = [turn(&format!("{ours},{theirs},{text}")), turn(ours), turn(text)].join(",");
        let left = [turn(&format!("{theirs},{text}")), turn(text)].join(",");
        assert_eq!(sent(&body(&all), "", Continuation::Prefix), body(&left));
    }

    #[test]
    fn a_body_of_another_protocol_is_not_taken() {
        let mut attempt = attempt(r#"{"messages":[]}"#, "");
        if let Some(source) = &mut attempt.source {
            source.protocol = WireProtocol::OpenaiChat;
        }
        let upstream = For { model: "up", continuation: Continuation::Prefix };
        assert_eq!((super::body(&attempt, upstream), betas(&attempt)), (None, None));
    }
}
