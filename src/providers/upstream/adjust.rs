//! The configuration's changes to every request of a model.
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::endpoint::SettingsError;
use super::json_body::Object;
use crate::domain::left_out::left_out;
use crate::domain::source::Source;

/// Fields that steer a server and not its model: a client could reach other places, keys or
/// prompts with them. Left out unless the model's `pass` names them.
const STEERING: [&str; 34] = [
    "api_base",
    "base_url",
    "api_key",
    "api_version",
    "api_type",
    "organization",
    "headers",
    "extra_headers",
    "extra_query",
    "extra_body",
    "custom_llm_provider",
    "litellm_params",
    "litellm_metadata",
    "model_list",
    "fallbacks",
    "context_window_fallback_dict",
    "mock_response",
    "user_config",
    "azure_ad_token",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "vertex_credentials",
    "kv_transfer_params",
    "chat_template",
    "lora_request",
    "lora_path",
    "request_id",
    "rid",
    "bootstrap_host",
    "bootstrap_port",
    "bootstrap_room",
    "data_parallel_rank",
    "id_slot",
];

/// Fields that lastword itself writes; a configuration cannot set them.
const OWN: [&str; 4] = ["model", "messages", "input", "stream"];

/// Headers of the connection, which are not the configuration's to set.
const HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
];

/// Whether the beginning of an answer is looked at for thoughts between tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ThinkTags {
    /// The text stays as it is.
    #[default]
    Off,
    /// `<think>` at the beginning opens them.
    On,
    /// The prompt's template has opened them: they end at `</think>`.
    Opened,
}

/// The configuration's changes to a model's requests.
#[derive(Clone, Default)]
pub struct Adjust {
    /// Fields of every request; they beat the client's.
    pub set: Vec<(String, Value)>,
    /// Fields of the client that are sent although they would be left out.
    pub pass: Vec<String>,
    /// Fields that are never sent.
    pub drop: Vec<String>,
    /// Headers of every request, name and value.
    pub headers: Vec<(String, String)>,
    /// Parameters of every request's URL.
    pub query: Vec<(String, String)>,
    /// The limit of an answer where the client sets none, in tokens.
    pub max_output_tokens: Option<NonZeroU32>,
    /// Whether the proxy of the environment is used.
    pub proxy: bool,
    /// The role of instructions: `system` or `developer`; `None` is the upstream's usual one.
    pub system_role: Option<String>,
    /// Whether several messages of instructions become one; `None` is the upstream's usual way.
    pub join_system: Option<bool>,
    /// Whether thoughts between tags are told from the answer; `None` is the usual way.
    pub think_tags: Option<ThinkTags>,
    /// The largest event of an answer, in bytes; `None` is the usual limit.
    pub max_event_bytes: Option<NonZeroUsize>,
}

impl fmt::Debug for Adjust {
    /// Values of headers and of the query may be keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |all: &[(String, String)]| -> Vec<String> {
            all.iter().map(|(name, _)| name.clone()).collect()
        };
        f.debug_struct("Adjust")
            .field("headers", &names(&self.headers))
            .field("query", &names(&self.query))
            .finish_non_exhaustive()
    }
}

/// The additions to each request beside its body.
#[derive(Clone, Default)]
pub(crate) struct Dress {
    headers: HeaderMap,
    query: Vec<(String, String)>,
}

impl Dress {
    /// Adds the headers and the parameters of the URL; a configured header beats ours.
    pub(crate) fn put_on(&self, request: &mut reqwest::Request) {
        if !self.query.is_empty() {
            request.url_mut().query_pairs_mut().extend_pairs(&self.query);
        }
        for name in self.headers.keys() {
            request.headers_mut().remove(name);
        }
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
    }
}

impl Adjust {
    /// The additions to each request, checked.
    ///
    /// # Errors
    /// A name or value that no header can have, or a header of the connection; a field of `set`
    /// that is lastword's own.
    pub(crate) fn check(&self) -> Result<Dress, SettingsError> {
        if let Some((name, _)) = self.set.iter().find(|(name, _)| OWN.contains(&name.as_str())) {
            return Err(SettingsError::Set(name.clone()));
        }
        if let Some(role) = self.system_role.as_deref()
            && !["system", "developer", "keep"].contains(&role)
        {
            return Err(SettingsError::SystemRole);
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let refuse = |why| SettingsError::Header(name.clone(), why);
            let lower = name.to_ascii_lowercase();
            if HOP.contains(&lower.as_str()) {
                return Err(refuse("it belongs to the connection"));
            }
            let name = HeaderName::try_from(&lower).map_err(|_| refuse("no header is so named"))?;
            let mut value = HeaderValue::try_from(value)
                .map_err(|_| refuse("its value has a line break or another control character"))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(Dress { headers, query: self.query.clone() })
    }

    /// Values that no message may quote.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().chain(&self.query).map(|(_, value)| value.as_str())
    }

    /// Takes out of a client's body what is not for the model, and says what that was.
    pub(crate) fn without_steering(&self, body: &mut Object) -> Vec<String> {
        let is_left_out =
            |name: &&str| STEERING.contains(name) && !self.pass.iter().any(|pass| pass == name);
        let names: Vec<String> = body.names().filter(is_left_out).map(str::to_owned).collect();
        for name in &names {
            body.remove(name);
        }
        names
    }

    /// Adds the fields that `pass` names, out of a body in another protocol; the names of what is
    /// not sent.
    pub(crate) fn pass_on(&self, source: &Source, body: &mut Object) -> Vec<String> {
        let from = Object::parse(&source.body).unwrap_or_default();
        for name in self.pass.iter().filter(|name| !OWN.contains(&name.as_str())) {
            if let Some(value) = from.read::<Box<serde_json::value::RawValue>>(name) {
                body.set(name, &value);
            }
        }
        left_out(source, &self.pass)
    }

    /// Takes out what `drop` names, then writes what `set` says.
    pub(crate) fn finish(&self, body: &mut Object) {
        for name in self.drop.iter().filter(|name| !OWN.contains(&name.as_str())) {
            body.remove(name);
        }
        for (name, value) in &self.set {
            body.set(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::providers::upstream::adjust::*;

    fn with_header(name: &str, value: &str) -> Result<HeaderMap, SettingsError> {
        let headers = vec![(name.into(), value.into())];
        Ok(Adjust { headers, ..Adjust::default() }.check()?.headers)
    }

    #[test]
    fn headers_are_checked_and_hidden() {
        assert_eq!(with_header("X-Tenant", "t1").unwrap()["x-tenant"], "t1");
        for name in ["Host", "content-length", "Transfer-Encoding", "connection", "a b", ""] {
            assert!(with_header(name, "x").is_err(), "{name}");
        }
        for value in ["a\nb", "a\rb", "a\0b"] {
            assert!(with_header("x-a", value).is_err(), "{value:?}");
        }
        let adjust = Adjust { headers: vec![("x".into(), "secret".into())], ..Adjust::default() };
        assert!(!format!("{adjust:?}").contains("secret"));
    }

    #[test]
    fn the_configuration_beats_the_client() {
        let adjust = Adjust {
            set: vec![("top_k".into(), 5.into()), ("seed".into(), 1.into())],
            pass: vec!["chat_template".into()],
            drop: vec!["user".into(), "model".into()],
            ..Adjust::default()
        };
        let body =
            r#"{"model":"m","user":"u","top_k":9,"api_base":"http://x","chat_template":"t"}"#;
        let mut body = Object::parse(body).unwrap();
        assert_eq!(adjust.without_steering(&mut body), ["api_base"]);
        adjust.finish(&mut body);
        let expected = r#"{"model":"m","top_k":5,"chat_template":"t","seed":1}"#;
        assert_eq!(serde_json::to_string(&body).unwrap(), expected);
        let own = Adjust { set: vec![("stream".into(), false.into())], ..Adjust::default() };
        assert!(matches!(own.check(), Err(SettingsError::Set(_))));
    }
}
