//! Anthropic's Messages API, and servers that speak it.
mod body;
mod extras;
mod map;
mod source;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use http::HeaderValue;

use super::upstream::delta_stream::DeltaStream;
use super::upstream::endpoint::{Endpoint, Settings, SettingsError};
use super::upstream::guard::unsent;
use super::upstream::overlap;
use super::upstream::probe::Probe;
use crate::domain::event::ErrorCode;
use crate::domain::source::WireProtocol;
use crate::ports::{Attempt, Continuation, Deltas, Provider, ProviderError};
use body::{Body, Wanted};
use map::MessagesMap;

/// The path that is added to the base URL.
const PATH: &str = "/v1/messages";
/// The version of the API that this is written for.
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// A model behind the Messages API.
pub struct Anthropic {
    endpoint: Endpoint,
    url: String,
}

impl Anthropic {
    /// Checks `settings` and makes the model's HTTP client. Connects to nothing. The base URL
    /// is without `/v1`, as Anthropic's own clients have it; with it is understood, too.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let endpoint = Endpoint::new(settings, PATH)?;
        let base = &endpoint.settings.base_url;
        let url = format!("{}{PATH}", base.strip_suffix("/v1").unwrap_or(base));
        Ok(Self { endpoint, url })
    }

    fn request(&self, body: &Body, attempt: &Attempt) -> Option<reqwest::Request> {
        let mut request = self.endpoint.http.post(&self.url).json(&body.object);
        request = request.header("anthropic-version", VERSION);
        if let Some(betas) = source::betas(attempt) {
            request = request.header("anthropic-beta", betas);
        }
        if let Some(key) = &self.endpoint.settings.api_key {
            let mut key = HeaderValue::from_str(key).ok()?;
            key.set_sensitive(true);
            request = request.header("x-api-key", key);
        }
        request.build().ok()
    }

    /// Asks once.
    async fn ask(&self, body: &Body, attempt: &Attempt) -> Result<Deltas, ProviderError> {
        let probe = Arc::new(Probe::new());
        let Some(request) = self.request(body, attempt) else { return Err(unsent()) };
        let events = self.endpoint.guard(probe.clone(), attempt.trace).execute(request).await;
        let secrets = self.endpoint.secrets();
        let events = events.map_err(|loss| {
            let texts = attempt.prompt.messages.iter().map(|m| m.content.as_str());
            probe.describe(loss, secrets.iter().map(String::as_str).chain(texts))
        })?;
        let map = MessagesMap::default();
        Ok(DeltaStream::new(events, map, probe, secrets).boxed())
    }
}

#[async_trait]
impl Provider for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn speaks(&self) -> Option<WireProtocol> {
        Some(WireProtocol::AnthropicMessages)
    }

    fn continuation(&self) -> Continuation {
        self.endpoint.settings.continuation
    }

    async fn start(&self, attempt: Attempt) -> Result<Deltas, ProviderError> {
        let settings = &self.endpoint.settings;
        let wanted = Wanted {
            model: &settings.upstream_model,
            continuation: settings.continuation,
            adjust: &settings.adjust,
        };
        let mut body = Body::new(wanted, &attempt);
        if body.spent {
            return Ok(overlap::spent());
        }
        let deltas = match self.ask(&body, &attempt).await {
            Err(refused) if refused.code == ErrorCode::UpstreamRejected => {
                // Not every model takes an effort, and it is a hint: the same once more without.
                let Some(other) = body.without_effort(&refused.message) else {
                    return Err(refused);
                };
                body = other;
                self.ask(&body, &attempt).await?
            }
            asked => asked?,
        };
        let so_far = &attempt.so_far;
        Ok(match settings.continuation {
            _ if so_far.is_empty() => overlap::told(deltas, &body.left_out),
            // The request leaves it out.
            Continuation::Prefix => {
                overlap::without_blank(deltas, &so_far[so_far.trim_end().len()..])
            }
            Continuation::None | Continuation::Instruct | Continuation::ProviderResume => {
                overlap::clean(deltas, settings.continuation, so_far)
            }
        })
    }
}
