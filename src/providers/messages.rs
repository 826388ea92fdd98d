//! Anthropic's Messages API, and servers that speak it.
mod begun;
mod body;
mod call_ids;
mod count;
mod extras;
mod hints;
mod map;
mod schema;
mod source;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use http::HeaderValue;
use parking_lot::Mutex;
use serde::Serialize;

use super::upstream::client_calls;
use super::upstream::cut_back;
use super::upstream::cut_back::{Again, Asked, GoesOn};
use super::upstream::delta_stream::DeltaStream;
use super::upstream::endpoint::{Endpoint, Settings, SettingsError};
use super::upstream::guard::unsent;
use super::upstream::overlap;
use super::upstream::probe::Probe;
use crate::domain::event::ErrorCode;
use crate::domain::source::WireProtocol;
use crate::domain::thinking::SEALER;
use crate::ports::{Attempt, Continuation, Deltas, Provider, ProviderError};
use body::{Body, Wanted};
use count::Counter;
use hints::Hint;
use map::MessagesMap;

/// The path that is added to the base URL.
const PATH: &str = "/v1/messages";
/// The version of the API that this is written for.
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// A model behind the Messages API.
#[derive(Clone)]
pub struct Anthropic {
    endpoint: Arc<Endpoint>,
    url: String,
    /// The hints that its model has refused: it is not given them again.
    refused: Arc<Mutex<Vec<Hint>>>,
    counter: Arc<Counter>,
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
        let (refused, counter) = (Arc::default(), Arc::default());
        Ok(Self { endpoint: Arc::new(endpoint), url, refused, counter })
    }

    fn request(&self, body: &Body, attempt: &Attempt) -> Option<reqwest::Request> {
        let mut request = self.post(&self.url, &body.object)?;
        if let Some(betas) = source::betas(attempt) {
            request = request.header("anthropic-beta", betas);
        }
        request.build().ok()
    }

    /// A request in the API's version, with the key.
    fn post(&self, url: &str, body: &impl Serialize) -> Option<reqwest::RequestBuilder> {
        let request = self.endpoint.http.post(url).json(body);
        let request = request.header("anthropic-version", VERSION);
        let Some(key) = &self.endpoint.settings.api_key else { return Some(request) };
        let mut key = HeaderValue::from_str(key).ok()?;
        key.set_sensitive(true);
        Some(request.header("x-api-key", key))
    }

    fn body(&self, attempt: &Attempt) -> Body {
        let settings = &self.endpoint.settings;
        let wanted = Wanted {
            model: &settings.upstream_model,
            continuation: settings.continuation,
            adjust: &settings.adjust,
        };
        let mut body = Body::new(wanted, attempt);
        for hint in self.refused.lock().iter() {
            body.leave_out(*hint);
        }
        body
    }

    /// Asks, and again without a hint that is refused: not every model takes each. Newer models
    /// refuse a temperature ("`temperature` is deprecated for this model", since Claude Opus 4.7).
    async fn ask_plainly(
        &self,
        body: &mut Body,
        attempt: &Attempt,
    ) -> Result<Deltas, ProviderError> {
        let mut left = Vec::new();
        loop {
            let asked = self.ask(body, attempt).await;
            let refusal = asked.as_ref().err().filter(|e| e.code == ErrorCode::UpstreamRejected);
            let hint = refusal.and_then(|refused| body.refused(&refused.message));
            let Some(hint) = hint else {
                if asked.is_ok() {
                    left.retain(|hint: &Hint| hint.is_of_model());
                    self.refused.lock().append(&mut left);
                }
                return asked;
            };
            body.leave_out(hint);
            left.push(hint);
        }
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
        let deltas = DeltaStream::new(events, map, probe, secrets).boxed();
        Ok(client_calls::named(deltas, &attempt.prompt.parameters))
    }
}

#[async_trait]
impl Provider for Anthropic {
    fn name(&self) -> &'static str {
        SEALER
    }

    fn speaks(&self) -> Option<WireProtocol> {
        Some(WireProtocol::AnthropicMessages)
    }

    fn continuation(&self) -> Continuation {
        self.endpoint.settings.continuation
    }

    async fn start(&self, attempt: Attempt) -> Result<Deltas, ProviderError> {
        if self.continuation() == Continuation::Prefix && !attempt.so_far.is_empty() {
            return cut_back::go_on(self, attempt).await;
        }
        let goes_on = !attempt.so_far.is_empty();
        let counted = if goes_on { self.counted(&attempt).await } else { None };
        let mut body = self.body(counted.as_ref().unwrap_or(&attempt));
        if body.spent {
            return Ok(overlap::spent());
        }
        let deltas = self.ask_plainly(&mut body, &attempt).await?;
        Ok(if attempt.so_far.is_empty() {
            overlap::told(deltas, &body.left_out)
        } else {
            overlap::clean(deltas, self.continuation(), &attempt.so_far)
        })
    }
}

#[async_trait]
impl GoesOn for Anthropic {
    async fn ask_on(
        &self,
        attempt: &Attempt,
        again: Again<'_>,
    ) -> Result<Option<Asked>, ProviderError> {
        let counted = self.counted(attempt).await;
        let mut body = self.body(counted.as_ref().unwrap_or(attempt));
        if body.spent {
            return Ok(None);
        }
        // The counted text is the one that goes up: what is said again is within the limit.
        let left = if counted.is_some() { None } else { body.left() };
        if counted.is_none() {
            body.allow(again.tokens());
        }
        let deltas = self.ask_plainly(&mut body, attempt).await?;
        Ok(Some(Asked { deltas, sent: body.begun, left }))
    }
}
