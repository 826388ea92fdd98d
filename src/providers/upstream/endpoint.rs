//! Where a model is served, checked once, and the HTTP client that asks it.
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::adjust::{Adjust, Dress};
use super::guard::{Guard, MAX_EVENT, Timeouts};
use super::probe::Probe;
use crate::domain::trace::TraceParent;
use crate::ports::Continuation;

/// A TCP connection without traffic is asked after this time whether it is still alive.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// An unused connection is closed after this time, before the server does (many do after 5 s). A
/// request that meets the server's closing is lost, and is not sent twice.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// Where a model is served, and how.
#[derive(Clone)]
pub struct Settings {
    /// The URL that the endpoint's own path is added to, such as `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// Sent as the provider wants it; without one nothing of the kind is sent.
    pub api_key: Option<String>,
    /// The model's name there.
    pub upstream_model: String,
    /// How it goes on from a text.
    pub continuation: Continuation,
    /// How long to wait for it.
    pub timeouts: Timeouts,
    /// The configuration's changes to its requests.
    pub adjust: Adjust,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("base_url", &self.base_url)
            .field("api_key", &self.api_key.as_ref().map(|_| "hidden"))
            .field("upstream_model", &self.upstream_model)
            .field("continuation", &self.continuation)
            .field("timeouts", &self.timeouts)
            .field("adjust", &self.adjust)
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
    /// A header that cannot be sent, and why.
    #[error("headers: `{0}`: {1}")]
    Header(String, &'static str),
    /// A field that lastword writes itself.
    #[error("set: `{0}` is written by lastword itself")]
    Set(String),
    /// No role of instructions.
    #[error("system_role is system, developer or keep")]
    SystemRole,
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(String),
}

/// Settings that hold, with the model's HTTP client.
pub(crate) struct Endpoint {
    /// Trimmed; the base URL without a slash at its end.
    pub(crate) settings: Settings,
    pub(crate) http: reqwest::Client,
    pub(crate) host: String,
    dress: Arc<Dress>,
}

impl Endpoint {
    /// Checks `settings`, for a provider that adds `path` to the base URL. Connects to nothing.
    pub(crate) fn new(mut settings: Settings, path: &str) -> Result<Self, SettingsError> {
        let url = parse_base_url(&settings.base_url, path)?;
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
        let dress = Arc::new(settings.adjust.check()?);
        let host = url.host_str().unwrap_or_default().to_owned();
        let proxied = settings.adjust.proxy && !is_loopback(&url);
        let http = http_client(settings.timeouts.connect, proxied)?;
        Ok(Self { settings, http, host, dress })
    }

    /// Whether the upstream is OpenAI itself, by its own address or Azure's.
    pub(crate) fn is_openai(&self) -> bool {
        self.is_under("openai.com") || self.is_under("openai.azure.com")
    }

    /// Whether it is Anthropic itself.
    pub(crate) fn is_anthropic(&self) -> bool {
        self.is_under("anthropic.com")
    }

    fn is_under(&self, domain: &str) -> bool {
        let rest = self.host.strip_suffix(domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The secrets that no message may quote.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let key = self.settings.api_key.as_deref().into_iter();
        key.chain(self.settings.adjust.secrets()).map(str::to_owned).collect()
    }

    /// Adds the configured headers and parameters, for a request that no guard executes.
    pub(crate) fn put_on(&self, request: &mut reqwest::Request) {
        self.dress.put_on(request);
    }

    /// The guard of one attempt, in this trace.
    pub(crate) fn guard(&self, probe: Arc<Probe>, trace: Option<TraceParent>) -> Guard {
        let adjust = &self.settings.adjust;
        Guard {
            trace,
            http: self.http.clone(),
            probe,
            timeouts: self.settings.timeouts,
            max_event: adjust.max_event_bytes.map_or(MAX_EVENT, NonZeroUsize::get),
            has_key: self.settings.api_key.is_some(),
            dress: Arc::clone(&self.dress),
        }
    }
}

fn parse_base_url(text: &str, path: &str) -> Result<reqwest::Url, SettingsError> {
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
    if url.path().trim_end_matches('/').ends_with(path) {
        return refuse(&format!("leave `{path}` out; it is added"));
    }
    Ok(url)
}

/// A server on this machine is never asked through a proxy.
fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let name = host == "localhost" || host.ends_with(".localhost");
    name || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// No redirects, which would carry the prompt to a place that nobody configured. A proxy of the
/// environment (`HTTPS_PROXY`, `NO_PROXY`) is used only where the configuration says so.
fn http_client(connect: Duration, proxied: bool) -> Result<reqwest::Client, SettingsError> {
    let builder = || {
        let builder = reqwest::Client::builder()
            .connect_timeout(connect)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_keepalive(KEEPALIVE)
            .pool_idle_timeout(POOL_IDLE)
            .user_agent(concat!("lastword/", env!("CARGO_PKG_VERSION")));
        if proxied { builder } else { builder.no_proxy() }
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
    use crate::providers::upstream::endpoint::*;

    fn new(base_url: &str, api_key: Option<&str>) -> Result<Endpoint, SettingsError> {
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let settings = Settings {
            base_url: base_url.into(),
            api_key: api_key.map(Into::into),
            upstream_model: " m ".into(),
            continuation: Continuation::None,
            timeouts: Timeouts::default(),
            adjust: Adjust::default(),
        };
        Endpoint::new(settings, "/chat/completions")
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
        assert!(new("http://a/v1/chat/completions/", None).is_err());
        for key in ["a\nb", "a b", "é"] {
            assert!(matches!(new("http://a", Some(key)), Err(SettingsError::ApiKey)), "{key}");
        }
        assert!(new("http://a", Some(" ")).is_ok_and(|m| m.settings.api_key.is_none()));
        let is_anthropic = |url| new(url, None).is_ok_and(|m| m.is_anthropic());
        assert!(is_anthropic("https://api.anthropic.com"));
        assert!(!is_anthropic("https://notanthropic.com"));
    }
}
