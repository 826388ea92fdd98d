//! The client's own request body, kept as it came beside what is parsed from it.
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use strum::{IntoStaticStr, VariantNames};

/// The protocols that a client can start a generation with, and a model server can be asked with.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum WireProtocol {
    /// `POST /v1/chat/completions`.
    OpenaiChat,
    /// `POST /v1/responses`.
    OpenaiResponses,
    /// `POST /v1/messages` of Anthropic.
    AnthropicMessages,
}

impl WireProtocol {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A request body in the protocol of its client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Which protocol it is written in.
    pub protocol: WireProtocol,
    /// The JSON object, byte for byte: key order, number forms and unknown fields stay.
    #[serde(serialize_with = "as_json", deserialize_with = "as_text")]
    pub body: Arc<str>,
    /// Names of Anthropic's trial features (`anthropic-beta`) that the body's fields need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub betas: Vec<String>,
}

fn as_json<S: Serializer>(body: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    let raw: &RawValue = serde_json::from_str(body).map_err(serde::ser::Error::custom)?;
    raw.serialize(serializer)
}

fn as_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(raw.get().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_keeps_its_bytes() {
        let body = r#"{"b":1.0,"a":[1e5,null],"model":"m"}"#;
        let source =
            Source { protocol: WireProtocol::OpenaiChat, body: body.into(), betas: Vec::new() };
        let stored = serde_json::to_string(&source).unwrap();
        assert_eq!(stored, format!(r#"{{"protocol":"openai_chat","body":{body}}}"#));
        assert_eq!(serde_json::from_str::<Source>(&stored).unwrap(), source);
    }
}
