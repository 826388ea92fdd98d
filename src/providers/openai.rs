//! Any upstream that speaks OpenAI's chat completions: OpenAI, vLLM, llama.cpp, Ollama, …
//!
//! async-openai logs the content of every chunk that it cannot parse at ERROR, and bodies of
//! errors at WARN: the log filter must silence the target `async_openai`.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_openai::config::OpenAIConfig;
use async_trait::async_trait;
use futures_util::StreamExt;

use super::chat_stream::ChatStream;
use super::chat_wire::{ChatRequest, Dialect};
use super::guard::{Guard, Timeouts, lost};
use super::probe::Probe;
use crate::domain::event::ErrorCode;
use crate::ports::{Attempt, Deltas, Provider, ProviderError};

/// A TCP connection without traffic is asked after this time whether it is still alive.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// An unused connection is closed after this time: before the server does (many after 5 s), for a
/// request that meets its closing is lost, and is not sent twice.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// Where a model is served, and how.
#[derive(Clone)]
pub struct OpenAiSettings {
    /// Up to and without `/chat/completions`, such as `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// Sent as a bearer token; without one no `Authorization` is sent.
    pub api_key: Option<String>,
    /// The model's name there.
    pub upstream_model: String,
    /// Whether it can go on from a text (configured as `continuation = "prefix"`).
    pub continues: bool,
    /// How long to wait for it.
    pub timeouts: Timeouts,
}

impl fmt::Debug for OpenAiSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAiSettings")
            .field("base_url", &self.base_url)
            .field("api_key", &self.api_key.as_ref().map(|_| "hidden"))
            .field("upstream_model", &self.upstream_model)
            .field("continues", &self.continues)
            .field("timeouts", &self.timeouts)
            .finish()
    }
}

/// Why settings are refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// The base URL is none, or not one that can be used.
    #[error("base_url: {0}")]
    BaseUrl(String),
    /// The key cannot be sent in a header. The message does not show it.
    #[error(
        "the API key must be visible ASCII characters without spaces; look for a pasted line break or quotes"
    )]
    ApiKey,
    /// No model is named.
    #[error("upstream_model is empty")]
    Model,
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(String),
}

/// A model behind an OpenAI-compatible endpoint.
pub struct OpenAi {
    settings: OpenAiSettings,
    config: OpenAIConfig,
    http: reqwest::Client,
    is_openai: bool,
}

impl OpenAi {
    /// Checks `settings` and makes the model's HTTP client. Connects to nothing.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn new(mut settings: OpenAiSettings) -> Result<Self, SettingsError> {
        let url = parse_base_url(&settings.base_url)?;
        settings.base_url = url.as_str().trim_end_matches('/').to_owned();
        settings.upstream_model = settings.upstream_model.trim().to_owned();
        if settings.upstream_model.is_empty() {
            return Err(SettingsError::Model);
        }
        settings.api_key =
            settings.api_key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
        let key = settings.api_key.as_deref().unwrap_or_default();
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SettingsError::ApiKey);
        }
        // Every field is set: what is not would come from the environment, and could send a key
        // of OpenAI to somebody else.
        let config = OpenAIConfig::new()
            .with_api_base(&settings.base_url)
            .with_api_key(key)
            .with_org_id("")
            .with_project_id("");
        let host = url.host_str().unwrap_or_default();
        let is_openai = host == "openai.com" || host.ends_with(".openai.com");
        let http = http_client(settings.timeouts.connect)?;
        Ok(Self { settings, config, http, is_openai })
    }

    fn client(&self, probe: Arc<Probe>) -> async_openai::Client<OpenAIConfig> {
        let guard = Guard {
            http: self.http.clone(),
            probe,
            timeouts: self.settings.timeouts,
            has_key: self.settings.api_key.is_some(),
        };
        async_openai::Client::build(self.http.clone(), self.config.clone()).with_http_service(guard)
    }
}

#[async_trait]
impl Provider for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn can_continue(&self) -> bool {
        self.settings.continues
    }

    async fn start(&self, attempt: Attempt) -> Result<Deltas, ProviderError> {
        let probe = Arc::new(Probe::new());
        let client = self.client(probe.clone());
        let dialect = Dialect { model: &self.settings.upstream_model, is_openai: self.is_openai };
        let request = ChatRequest::new(dialect, &attempt.prompt, &attempt.so_far);
        match client.chat().create_stream_byot(&request).await {
            Ok(chunks) => Ok(ChatStream::new(chunks, probe, self.settings.api_key.clone()).boxed()),
            // What kind of error it is for async-openai says nothing: the guard knows.
            Err(_) => {
                let unsent = || {
                    let message = "the request could not be made; see the settings of the model";
                    lost(ErrorCode::Internal, message.into(), false)
                };
                let texts = attempt.prompt.messages.iter().map(|m| m.content.as_str());
                let secrets = self.settings.api_key.as_deref().into_iter().chain(texts);
                Err(probe.describe(probe.loss().unwrap_or_else(unsent), secrets))
            }
        }
    }
}

fn parse_base_url(text: &str) -> Result<reqwest::Url, SettingsError> {
    let refuse = |why: &str| Err(SettingsError::BaseUrl(why.into()));
    let Ok(url) = reqwest::Url::parse(text.trim()) else {
        return refuse("not a URL; it looks like http://127.0.0.1:11434/v1");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("it must begin with http:// or https://");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return refuse("it names no host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("it must not hold a user or password; give the key in api_key_env");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("it must end with its path, without `?` and `#`");
    }
    if url.path().trim_end_matches('/').ends_with("/chat/completions") {
        return refuse("leave `/chat/completions` out; it is added");
    }
    Ok(url)
}

/// No redirects, which would carry the prompt to a place that nobody configured, and no proxy
/// out of the environment.
fn http_client(connect: Duration) -> Result<reqwest::Client, SettingsError> {
    let builder = || {
        reqwest::Client::builder()
            .connect_timeout(connect)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_keepalive(KEEPALIVE)
            .pool_idle_timeout(POOL_IDLE)
            .user_agent(concat!("lastword/", env!("CARGO_PKG_VERSION")))
    };
    let made = builder().build().or_else(|error| {
        // Without a CA bundle no client can be made; models on this machine need none.
        tracing::warn!(%error, "no CA certificates: models behind https will not be reached");
        builder().tls_certs_only([]).build()
    });
    made.map_err(|error| SettingsError::Client(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(base_url: &str, api_key: Option<&str>) -> Result<OpenAi, SettingsError> {
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        OpenAi::new(OpenAiSettings {
            base_url: base_url.into(),
            api_key: api_key.map(Into::into),
            upstream_model: " m ".into(),
            continues: false,
            timeouts: Timeouts::default(),
        })
    }

    #[test]
    fn settings_are_trimmed_and_checked() {
        let model =
            new(" http://localhost:1/v1// ", Some(" key\n")).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(model.settings.base_url, "http://localhost:1/v1");
        assert_eq!(model.settings.api_key.as_deref(), Some("key"));
        assert_eq!(model.settings.upstream_model, "m");
        assert!(!format!("{:?}", model.settings).contains("key\""), "the key is hidden");
        for url in ["", "localhost:1", "ftp://a/", "http://", "http://u:p@a/", "http://a/?q=1"] {
            assert!(matches!(new(url, None), Err(SettingsError::BaseUrl(_))), "{url}");
        }
        for key in ["a\nb", "a b", "é"] {
            assert!(matches!(new("http://a", Some(key)), Err(SettingsError::ApiKey)), "{key}");
        }
        assert!(new("http://a", Some(" ")).is_ok_and(|m| m.settings.api_key.is_none()));
    }

    #[test]
    fn only_openai_itself_gets_its_dialect() {
        let is_openai = |url| new(url, None).is_ok_and(|m| m.is_openai);
        assert!(is_openai("https://api.openai.com/v1"));
        assert!(is_openai("https://eu.api.openai.com/v1"));
        assert!(!is_openai("https://notopenai.com/v1"));
        assert!(!is_openai("http://127.0.0.1:11434/v1"));
    }
}
