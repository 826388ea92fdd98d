//! Any upstream that speaks OpenAI's chat completions: OpenAI, vLLM, llama.cpp, Ollama, …
//!
//! async-openai makes the request. It logs bodies of errors at WARN: the log filter must silence
//! the target `async_openai`.
mod body;
mod calls;
mod choices;
pub(super) mod counts;
mod documents;
mod extras;
pub(super) mod map;
mod messages;
mod spelled;
mod streams;
pub(super) mod tools;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use parking_lot::Mutex;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::upstream::adjust::ThinkTags;
use super::upstream::client_calls;
use super::upstream::cut_back;
use super::upstream::cut_back::{Again, Asked, GoesOn, is_begun};
use super::upstream::delta_stream::DeltaStream;
use super::upstream::endpoint::{Endpoint, Settings, SettingsError};
use super::upstream::events::Events;
use super::upstream::guard::{Guard, MAX_EVENT, Timeouts, unsent};
use super::upstream::overlap;
use super::upstream::probe::Probe;
use crate::domain::event::ErrorCode;
use crate::domain::id::RequestId;
use crate::domain::source::WireProtocol;
use crate::ports::{Attempt, Continuation, Deltas, Provider, ProviderError};
use body::{Body, Dialect};
use map::ChatMap;

/// The path that async-openai adds to the base URL.
const PATH: &str = "/chat/completions";

/// The deltas in the bytes of an answer, which come in these pieces: the whole way of a token
/// behind the socket.
///
/// # Errors
/// The HTTP client cannot be made.
pub fn heard(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Result<Deltas, reqwest::Error> {
    let probe = Arc::new(Probe::new());
    let guard = Guard {
        http: reqwest::Client::builder().no_proxy().build()?,
        probe: Arc::clone(&probe),
        timeouts: Timeouts::default(),
        max_event: MAX_EVENT,
        trace: None,
        has_key: false,
        dress: Arc::default(),
    };
    let events = Events::new(pieces.map(Ok).boxed(), guard, Instant::now());
    let map = ChatMap::new(ThinkTags::default(), 1);
    let deltas = DeltaStream::new(events, map, probe, Vec::new()).boxed();
    Ok(overlap::clean(deltas, Continuation::None, ""))
}

/// A model behind an OpenAI-compatible endpoint.
#[derive(Clone)]
pub struct OpenAi {
    endpoint: Arc<Endpoint>,
    config: OpenAIConfig,
    is_openai: bool,
    /// Whether its server has refused to count tokens while they come.
    counts_refused: Arc<AtomicBool>,
    /// Whether it has refused a grammar.
    grammar_refused: Arc<AtomicBool>,
    /// The name under which the answer is kept.
    name: Option<HeaderValue>,
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
        let is_openai = endpoint.is_openai();
        Ok(Self {
            endpoint: Arc::new(endpoint),
            config,
            is_openai,
            counts_refused: Arc::default(),
            grammar_refused: Arc::default(),
            name: None,
        })
    }

    fn client(&self, sender: Sender) -> async_openai::Client<OpenAIConfig> {
        async_openai::Client::build(self.endpoint.http.clone(), self.config.clone())
            .with_http_service(sender)
    }
}

#[async_trait]
impl Provider for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn speaks(&self) -> Option<WireProtocol> {
        Some(WireProtocol::OpenaiChat)
    }

    fn continuation(&self) -> Continuation {
        self.endpoint.settings.continuation
    }

    fn continuation_without(&self) -> Continuation {
        match self.continuation() {
            Continuation::ProviderResume => Continuation::Prefix,
            other @ (Continuation::None | Continuation::Instruct | Continuation::Prefix) => other,
        }
    }

    fn new_name(&self) -> Option<String> {
        let keeps = self.continuation() == Continuation::ProviderResume;
        keeps.then(|| RequestId::random().to_string())
    }

    async fn start_as(&self, name: &str, attempt: Attempt) -> Result<Deltas, ProviderError> {
        let named = Self { name: HeaderValue::from_str(name).ok(), ..self.clone() };
        named.start(attempt).await
    }

    async fn abandon(&self, kept: &str) {
        streams::delete(&self.endpoint, kept).await;
    }

    async fn count(&self, text: &str) -> Option<u64> {
        let dialect = self.dialect();
        let counts = dialect.counts && dialect.continuation == Continuation::Prefix;
        if counts { counts::of_text(&self.endpoint, text).await.tokens() } else { None }
    }

    async fn start(&self, attempt: Attempt) -> Result<Deltas, ProviderError> {
        if let Some(resume) = &attempt.resume {
            let map = ChatMap::new(self.think_tags(), body::choices(&attempt))
                .with_timings(counts::are_the_clients(&attempt));
            return streams::hear(&self.endpoint, resume, attempt.trace, map).await;
        }
        if self.continuation_without() == Continuation::Prefix && cut_back::is_begun(&attempt) {
            return cut_back::go_on(self, attempt).await;
        }
        let mut body = Body::new(self.dialect(), &attempt);
        if body.spent {
            return Ok(overlap::spent());
        }
        let deltas = self.ask_named(&mut body, &attempt).await?;
        let deltas = overlap::clean(deltas, self.continuation(), &attempt.so_far);
        Ok(if attempt.so_far.is_empty() { overlap::told(deltas, &body.left_out) } else { deltas })
    }
}

#[async_trait]
impl GoesOn for OpenAi {
    async fn ask_on(
        &self,
        attempt: &Attempt,
        again: Again<'_>,
    ) -> Result<Option<Asked>, ProviderError> {
        let mut body = Body::new(self.dialect(), attempt);
        if body.spent {
            return Ok(None);
        }
        let left = body.left();
        body.allow(again.tokens());
        let deltas = self.ask_forced(&mut body, attempt, again).await?;
        Ok(Some(Asked { deltas, sent: body.begun, left }))
    }
}

impl OpenAi {
    fn dialect(&self) -> Dialect<'_> {
        let settings = &self.endpoint.settings;
        Dialect {
            model: &settings.upstream_model,
            is_openai: self.is_openai,
            continuation: self.continuation_without(),
            counts: !self.is_openai && !self.counts_refused.load(Ordering::Relaxed),
            adjust: &settings.adjust,
        }
    }

    fn takes_grammar(&self) -> bool {
        let refused = self.is_openai || self.grammar_refused.load(Ordering::Relaxed);
        !refused && !self.endpoint.settings.adjust.drop.iter().any(|name| name == spelled::GRAMMAR)
    }

    fn think_tags(&self) -> ThinkTags {
        let usual = if self.is_openai { ThinkTags::Off } else { ThinkTags::On };
        self.endpoint.settings.adjust.think_tags.unwrap_or(usual)
    }

    /// Asks, and once more without a grammar where that is refused: its server is not asked for one
    /// again.
    async fn ask_forced(
        &self,
        body: &mut Body,
        attempt: &Attempt,
        again: Again<'_>,
    ) -> Result<Deltas, ProviderError> {
        let takes = self.takes_grammar();
        let forced = again.forced && takes && spelled::force(&mut body.object, again.tail);
        let asked = self.ask_named(body, attempt).await;
        if !forced || !asked.as_ref().is_err_and(is_by_field) {
            return asked;
        }
        body.object = spelled::without(std::mem::take(&mut body.object));
        let asked = self.ask_named(body, attempt).await;
        if asked.is_ok() {
            self.grammar_refused.store(true, Ordering::Relaxed);
        }
        asked
    }

    /// Asks, and once more where only the name of the limit or the thinking is refused: that was
    /// not billed. `body` becomes the one that was taken.
    async fn ask_named(&self, body: &mut Body, attempt: &Attempt) -> Result<Deltas, ProviderError> {
        match self.ask_uncounted(body, attempt).await {
            Err(refused) if refused.code == ErrorCode::UpstreamRejected => {
                let said = &refused.message;
                let other = body.renamed(said).or_else(|| body.without_reasoning(said));
                *body = other.ok_or(refused)?;
                self.ask(body, attempt).await
            }
            asked => asked,
        }
    }

    /// Asks, and once more without the wish for counts where that is refused. A server that takes
    /// the plain request is not asked to count again.
    async fn ask_uncounted(
        &self,
        body: &mut Body,
        attempt: &Attempt,
    ) -> Result<Deltas, ProviderError> {
        let asked = self.ask(body, attempt).await;
        let refused = asked.as_ref().err().filter(|refused| is_by_field(refused));
        let Some(plain) = refused.and_then(|refused| body.without_counts(&refused.message)) else {
            return asked;
        };
        *body = plain;
        let asked = self.ask(body, attempt).await;
        if asked.is_ok() {
            self.counts_refused.store(true, Ordering::Relaxed);
        }
        asked
    }

    /// Asks once.
    async fn ask(&self, body: &Body, attempt: &Attempt) -> Result<Deltas, ProviderError> {
        let probe = Arc::new(Probe::new());
        let guard = self.endpoint.guard(probe.clone(), attempt.trace);
        let answer = Answer::default();
        let name = self.name.clone();
        let client = self.client(Sender { guard, answer: answer.clone(), name });
        // async-openai's error does not tell the kind: the guard knows it.
        let _ = client.chat().create_stream_byot::<_, IgnoredAny>(&body.object).await;
        let secrets = self.endpoint.secrets();
        let Some(events) = answer.take() else {
            let texts = attempt.prompt.messages.iter().map(|m| m.content.as_str());
            let secrets = secrets.iter().map(String::as_str).chain(texts);
            return Err(probe.describe(probe.loss().unwrap_or_else(unsent), secrets));
        };
        // Thoughts come before the text, so behind a text there are none.
        let tags = if is_begun(attempt) { ThinkTags::Off } else { self.think_tags() };
        let map = ChatMap::new(tags, body.choices);
        let map = map.with_timings(!body.counts || counts::are_the_clients(attempt));
        let deltas = DeltaStream::new(events, map, probe, secrets).boxed();
        let deltas = client_calls::named(deltas, &attempt.prompt.parameters);
        Ok(if body.first_only { choices::first_only(deltas) } else { deltas })
    }
}

/// Whether a refusal may be about a field of the request.
fn is_by_field(refused: &ProviderError) -> bool {
    refused.upstream.as_ref().is_some_and(|said| matches!(said.status, 400 | 422))
}

/// Where the events of an answer are left for whoever asked.
#[derive(Clone, Default)]
struct Answer(Arc<Mutex<Option<Events>>>);

impl Answer {
    fn take(&self) -> Option<Events> {
        self.0.lock().take()
    }
}

/// Sends what async-openai asks. async-openai gets an answer without events. It would read them by
/// a task of its own, ahead of us without a bound, and report a broken answer as a whole one.
#[derive(Clone)]
struct Sender {
    guard: Guard,
    answer: Answer,
    name: Option<HeaderValue>,
}

impl tower::Service<HttpRequestFactory> for Sender {
    type Response = reqwest::Response;
    type Error = OpenAIError;
    type Future = BoxFuture<'static, Result<reqwest::Response, OpenAIError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, factory: HttpRequestFactory) -> Self::Future {
        let Self { guard, answer, name } = self.clone();
        Box::pin(async move {
            let mut request = factory.build().await?;
            if let Some(name) = name {
                request.headers_mut().insert(streams::NAME, name);
            }
            let probe = guard.probe.clone();
            let events = guard.execute(request).await.map_err(|loss| {
                probe.fail(loss);
                OpenAIError::InvalidArgument("see the probe".into())
            })?;
            *answer.0.lock() = Some(events);
            let mut empty = http::Response::new(reqwest::Body::default());
            let event_stream = HeaderValue::from_static("text/event-stream");
            empty.headers_mut().insert(CONTENT_TYPE, event_stream);
            Ok(empty.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::providers::chat::*;
    use crate::providers::upstream::adjust::Adjust;
    use crate::providers::upstream::guard::Timeouts;

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
                adjust: Adjust::default(),
            };
            OpenAi::new(settings).is_ok_and(|m| m.is_openai)
        };
        assert!(is_openai("https://api.openai.com/v1"));
        assert!(is_openai("https://eu.api.openai.com/v1"));
        assert!(!is_openai("https://notopenai.com/v1"));
        assert!(is_openai("https://x.openai.azure.com/openai/v1"));
        assert!(!is_openai("http://127.0.0.1:11434/v1"));
    }
}
