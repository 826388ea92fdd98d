//! Any upstream that speaks OpenAI's chat completions: OpenAI, vLLM, llama.cpp, Ollama, …
//!
//! async-openai logs the content of every chunk that it cannot parse at ERROR, and bodies of
//! errors at WARN: the log filter must silence the target `async_openai`.
use std::sync::Arc;

use async_openai::config::OpenAIConfig;
use async_trait::async_trait;
use futures_util::StreamExt;

use super::chat_map::ChatMap;
use super::chat_wire::{ChatRequest, Dialect};
use super::delta_stream::DeltaStream;
use super::endpoint::{Endpoint, Settings, SettingsError};
use super::guard::unsent;
use super::probe::Probe;
use super::seam;
use crate::domain::trace::TraceParent;
use crate::ports::{Attempt, Continuation, Deltas, Provider, ProviderError};

/// What is added to the base URL; async-openai does it.
const PATH: &str = "/chat/completions";

/// A model behind an OpenAI-compatible endpoint.
pub struct OpenAi {
    endpoint: Endpoint,
    config: OpenAIConfig,
    is_openai: bool,
}

impl OpenAi {
    /// Checks `settings` and makes the model's HTTP client. Connects to nothing.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let endpoint = Endpoint::new(settings, PATH)?;
        let settings = &endpoint.settings;
        // Every field is set: what is not would come from the environment, and could send a key
        // of OpenAI to somebody else.
        let config = OpenAIConfig::new()
            .with_api_base(&settings.base_url)
            .with_api_key(settings.api_key.as_deref().unwrap_or_default())
            .with_org_id("")
            .with_project_id("");
        let is_openai = endpoint.host == "openai.com" || endpoint.host.ends_with(".openai.com");
        Ok(Self { endpoint, config, is_openai })
    }

    fn client(
        &self,
        probe: Arc<Probe>,
        trace: Option<TraceParent>,
    ) -> async_openai::Client<OpenAIConfig> {
        let guard = self.endpoint.guard(probe, trace);
        async_openai::Client::build(self.endpoint.http.clone(), self.config.clone())
            .with_http_service(guard)
    }
}

#[async_trait]
impl Provider for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn continuation(&self) -> Continuation {
        self.endpoint.settings.continuation
    }

    async fn start(&self, attempt: Attempt) -> Result<Deltas, ProviderError> {
        let settings = &self.endpoint.settings;
        let probe = Arc::new(Probe::new());
        let client = self.client(probe.clone(), attempt.trace);
        let dialect = Dialect {
            model: &settings.upstream_model,
            is_openai: self.is_openai,
            continuation: settings.continuation,
        };
        let request = ChatRequest::new(dialect, &attempt.prompt, &attempt.so_far);
        match client.chat().create_stream_byot(&request).await {
            Ok(chunks) => {
                let map = ChatMap::default();
                let deltas = DeltaStream::new(chunks, map, probe, settings.api_key.clone());
                Ok(seam::clean(deltas.boxed(), settings.continuation, &attempt.so_far))
            }
            // What kind of error it is for async-openai says nothing: the guard knows.
            Err(_) => {
                let texts = attempt.prompt.messages.iter().map(|m| m.content.as_str());
                let secrets = settings.api_key.as_deref().into_iter().chain(texts);
                Err(probe.describe(probe.loss().unwrap_or_else(unsent), secrets))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::Timeouts;
    use super::*;

    #[test]
    fn only_openai_itself_gets_its_dialect() {
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let is_openai = |url: &str| {
            let settings = Settings {
                base_url: url.into(),
                api_key: None,
                upstream_model: "m".into(),
                continuation: Continuation::None,
                timeouts: Timeouts::default(),
            };
            OpenAi::new(settings).is_ok_and(|m| m.is_openai)
        };
        assert!(is_openai("https://api.openai.com/v1"));
        assert!(is_openai("https://eu.api.openai.com/v1"));
        assert!(!is_openai("https://notopenai.com/v1"));
        assert!(!is_openai("http://127.0.0.1:11434/v1"));
    }
}
