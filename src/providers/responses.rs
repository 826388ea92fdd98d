//! OpenAI's Responses API, and servers that speak it. It can keep an answer and go on with it
//! without a listener. The missed part is then requested again, by us or by the generation's next
//! owner.
mod body;
mod calls;
mod extras;
mod map;
pub(super) mod replay;
mod tools;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use http::HeaderValue;
use http::header::AUTHORIZATION;

use super::upstream::cut_back;
use super::upstream::cut_back::{Again, Asked, GoesOn};
use super::upstream::delta_stream::DeltaStream;
use super::upstream::endpoint::{Endpoint, Settings, SettingsError};
use super::upstream::guard::{truncated, unsent};
use super::upstream::probe::Probe;
use super::upstream::{client_calls, overlap, vendor_content};
use crate::domain::event::ErrorCode;
use crate::domain::source::WireProtocol;
use crate::ports::{Attempt, Continuation, Delta, Deltas, Provider, ProviderError, Resume};
use body::{Body, Wanted};
use map::ResponsesMap;

/// The path that is added to the base URL.
const PATH: &str = "/responses";
/// How long the end of an answer may take that nobody listens to: a cancel waits for it.
const ABANDON: Duration = Duration::from_secs(5);

/// A model behind the Responses API.
#[derive(Clone)]
pub struct Responses {
    endpoint: Arc<Endpoint>,
    url: String,
    /// Of what the server has encrypted.
    mark: Arc<str>,
}

impl Responses {
    /// Checks `settings` and makes the model's HTTP client. Connects to nothing.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let endpoint = Endpoint::new(settings, PATH)?;
        let url = format!("{}{PATH}", endpoint.settings.base_url);
        let mark = vendor_content::mark(&endpoint.settings.base_url).into();
        Ok(Self { endpoint: Arc::new(endpoint), url, mark })
    }

    fn keeps(&self) -> bool {
        self.endpoint.settings.continuation == Continuation::ProviderResume
    }

    /// The body, or the whole of a kept answer but for its first event, which names it. The part
    /// that was heard is left out here, because only here it is known exactly.
    fn request(&self, resume: Option<&Resume>, body: &Body) -> Option<reqwest::Request> {
        let request = match resume {
            Some(resume) => {
                let url = format!("{}/{}", self.url, resume.kept);
                self.endpoint.http.get(url).query(&[("stream", "true"), ("starting_after", "0")])
            }
            None => self.endpoint.http.post(&self.url).json(&body.object),
        };
        self.with_key(request)?.build().ok()
    }

    fn body(&self, attempt: &Attempt) -> Body {
        let settings = &self.endpoint.settings;
        let wanted = Wanted {
            model: &settings.upstream_model,
            is_openai: self.endpoint.is_openai(),
            mark: &self.mark,
            continuation: settings.continuation,
            adjust: &settings.adjust,
        };
        Body::new(wanted, attempt)
    }

    /// Asks once, or for what is kept.
    async fn ask(&self, body: &Body, attempt: &Attempt) -> Result<Deltas, ProviderError> {
        let probe = Arc::new(Probe::new());
        let request = self.request(attempt.resume.as_ref(), body);
        let Some(request) = request else { return Err(unsent()) };
        let guard = self.endpoint.guard(probe.clone(), attempt.trace);
        let events = match guard.execute(request).await {
            Ok(events) => events,
            Err(loss) => {
                let texts = attempt.prompt.messages.iter().map(|m| m.content.as_str());
                let secrets = self.endpoint.secrets();
                let secrets = secrets.iter().map(String::as_str).chain(texts);
                let loss = probe.describe(loss, secrets);
                return if attempt.resume.is_some() {
                    not_resumed(probe.status(), loss)
                } else {
                    Err(loss)
                };
            }
        };
        let speaks = attempt.source.as_ref().map(|source| source.protocol) == self.speaks();
        // A continuation behind a text is no item of its own.
        let native = speaks && (attempt.resume.is_some() || attempt.so_far.is_empty());
        let map = ResponsesMap::new(self.keeps(), attempt.resume.is_some()).native(native);
        let deltas = DeltaStream::new(events, map, probe, self.endpoint.secrets()).boxed();
        let deltas = vendor_content::marked(deltas, self.mark.to_string());
        Ok(client_calls::named(deltas, &attempt.prompt.parameters))
    }

    fn with_key(&self, request: reqwest::RequestBuilder) -> Option<reqwest::RequestBuilder> {
        let Some(key) = &self.endpoint.settings.api_key else { return Some(request) };
        let mut key = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
        key.set_sensitive(true);
        Some(request.header(AUTHORIZATION, key))
    }
}

#[async_trait]
impl Provider for Responses {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn speaks(&self) -> Option<WireProtocol> {
        Some(WireProtocol::OpenaiResponses)
    }

    fn continuation(&self) -> Continuation {
        self.endpoint.settings.continuation
    }

    async fn start(&self, attempt: Attempt) -> Result<Deltas, ProviderError> {
        if self.continuation() == Continuation::Prefix && !attempt.so_far.is_empty() {
            return cut_back::go_on(self, attempt).await;
        }
        let body = self.body(&attempt);
        if body.spent && attempt.resume.is_none() {
            return Ok(overlap::spent());
        }
        let deltas = self.ask(&body, &attempt).await?;
        Ok(match attempt.resume {
            Some(resume) => replay::behind(deltas, resume.heard),
            None if attempt.so_far.is_empty() => overlap::told(deltas, &body.left_out),
            None => overlap::clean(deltas, self.continuation(), &attempt.so_far),
        })
    }

    /// Dropping the stream does not end an answer that is made in the background.
    async fn abandon(&self, kept: &str) {
        let url = format!("{}/{kept}/cancel", self.url);
        let request = self.endpoint.http.post(url).timeout(ABANDON);
        let request = self.with_key(request).and_then(|request| request.build().ok());
        let Some(mut request) = request else { return };
        self.endpoint.put_on(&mut request);
        match self.endpoint.http.execute(request).await {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => tracing::warn!(kept, status = %response.status(), "not cancelled"),
            Err(error) => tracing::warn!(kept, error = %error.without_url(), "not cancelled"),
        }
    }
}

#[async_trait]
impl GoesOn for Responses {
    async fn ask_on(
        &self,
        attempt: &Attempt,
        again: Again<'_>,
    ) -> Result<Option<Asked>, ProviderError> {
        let mut body = self.body(attempt);
        if body.spent {
            return Ok(None);
        }
        let left = body.left();
        body.allow(again.tokens());
        let deltas = self.ask(&body, attempt).await?;
        Ok(Some(Asked { deltas, sent: body.begun, left }))
    }
}

/// A request for the rest costs nothing, so it may be repeated. A plain refusal means that the
/// answer is no longer there, or cannot be heard any more.
pub(crate) fn not_resumed(status: u16, loss: ProviderError) -> Result<Deltas, ProviderError> {
    if matches!(status, 400..=499) && !matches!(status, 401 | 403 | 408 | 429) {
        let message = format!("the model no longer keeps the answer: {}", loss.message);
        return Ok(stream::iter([Ok(Delta::Forgotten), Err(truncated(&message))]).boxed());
    }
    let passing = [ErrorCode::UpstreamUnavailable, ErrorCode::UpstreamTimeout];
    let retryable = loss.retryable || passing.contains(&loss.code);
    Err(ProviderError { retryable, ..loss })
}
