//! A client of our own wire, for the terminal: starts a generation, reads it to its last word over
//! every cut, and cancels it. It knows of the server what [`crate::domain`] and docs/protocol.md
//! say, and nothing else.
mod ask;
mod follow;
mod models;
mod place;
mod terminal;
mod wrap;

pub use ask::{Output, ask, tail};
pub use models::models;
pub use place::AskIn;
pub use terminal::{Escapes, warn};

use std::time::Duration;

use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use follow::{Body, Opened};

/// For the connection to the server, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// Silence after which a connection is taken for dead: three of the server's usual signs of life.
const SILENCE: Duration = Duration::from_secs(45);
/// For an answer that is no stream; a cancel waits for the model's server.
const ANSWER: Duration = Duration::from_secs(20);
/// Of a refusal, no more is shown, in characters.
const QUOTE: usize = 300;

/// Where the server is, and who asks.
pub struct Client {
    http: reqwest::Client,
    server: String,
    headers: HeaderMap,
}

/// The request.
#[derive(Clone, Debug, Serialize)]
pub struct Question {
    /// The prompt.
    pub prompt: String,
    /// Which model; the server's default otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The system text before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The conversation that it goes on in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's address or the key makes no sense.
    #[error("{0}")]
    Flag(String),
    /// The server said no.
    #[error("{detail}{}", code.as_deref().map(|c| format!(" ({c})")).unwrap_or_default())]
    Refused {
        /// HTTP.
        status: StatusCode,
        /// The server's stable word.
        code: Option<String>,
        /// For people.
        detail: String,
    },
    /// Nobody answers there, or not any more.
    #[error("cannot reach a lastword server at {server}: {why}")]
    Unreachable {
        /// Where.
        server: String,
        /// Why.
        why: String,
        /// Whether not even a connection was made.
        unconnected: bool,
    },
    /// Somebody else answers there.
    #[error("what answers at {0} is no lastword server; see --server")]
    Foreign(String),
    /// Standard output or a signal.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl ClientError {
    /// The program's exit code for it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Flag(_) | Self::Refused { .. } => 2,
            Self::Unreachable { .. } | Self::Foreign(_) => 3,
            Self::Io(_) => 1,
        }
    }

    /// How to mend it, where that is not said yet.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { unconnected: true, .. } => {
                Some("start one with `lastword serve`, or name it with --server or LASTWORD_SERVER")
            }
            Self::Refused { status: StatusCode::UNAUTHORIZED, .. } => {
                Some("give the key in LASTWORD_API_KEY; `lastword keys create --name me` makes one")
            }
            Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Flag(_)
            | Self::Foreign(_)
            | Self::Io(_) => None,
        }
    }

    /// Whether it may be otherwise a moment later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Flag(_) | Self::Foreign(_) | Self::Io(_) => false,
        }
    }
}

impl Client {
    /// A client of the server at `server`, such as `localhost:7878` or `https://example.org`.
    /// Connects to nothing.
    ///
    /// # Errors
    /// An address that is no URL of HTTP, or a key that cannot be sent.
    pub fn new(server: &str, key: Option<&str>) -> Result<Self, ClientError> {
        let flag = |why: &str| ClientError::Flag(format!("{why}: {server}"));
        let whole = if server.contains("://") { server.into() } else { format!("http://{server}") };
        let server = whole.as_str();
        let url =
            reqwest::Url::parse(server).ok().filter(|u| matches!(u.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| flag("--server must look like http://127.0.0.1:7878"))?;
        let here = url.host_str().is_some_and(|host| {
            let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
        });
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let mut key = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
                .map_err(|_| ClientError::Flag("the key holds what no key holds".into()))?;
            key.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, key);
        }
        let builder = || {
            let builder = reqwest::Client::builder()
                .connect_timeout(CONNECT)
                .read_timeout(SILENCE)
                .user_agent(concat!("lastword-cli/", env!("CARGO_PKG_VERSION")));
            // A proxy of the environment is not for this machine.
            if here { builder.no_proxy() } else { builder }
        };
        // Without a CA bundle no client can be made; a server on this machine needs none.
        let http = builder().build().or_else(|_| builder().tls_certs_only([]).build());
        let http = http.map_err(|error| flag(&format!("cannot make an HTTP client ({error})")))?;
        Ok(Self { http, server: server.trim_end_matches('/').to_owned(), headers })
    }

    /// Starts a generation and opens its events; a repeat with the same `key` is the same start.
    async fn start(&self, question: &Question, key: &str) -> Result<Opened, ClientError> {
        let url = format!("{}/v1/generations", self.server);
        let request = self.http.post(url).json(question).header("idempotency-key", key);
        let response = self.send(request.header(header::ACCEPT, "text/event-stream")).await?;
        let id = response.headers().get("lastword-generation").and_then(|id| id.to_str().ok());
        let id = id.map(str::to_owned).ok_or_else(|| ClientError::Foreign(self.server.clone()))?;
        Ok(Opened { id, body: Some(self.body(response)?) })
    }

    /// The events behind `after`; `None` if there are no more.
    async fn events(&self, id: &str, after: u64) -> Result<Option<Body>, ClientError> {
        let request = self.http.get(self.of(id, "/events"));
        let request = request.header(header::ACCEPT, "text/event-stream");
        let response = self.send(request.header("last-event-id", after)).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        self.body(response).map(Some)
    }

    /// The receipt.
    async fn cancel(&self, id: &str) -> Result<Value, ClientError> {
        let request = self.http.post(self.of(id, "/cancel")).timeout(ANSWER);
        let response = self.send(request).await?;
        response.json().await.map_err(|error| self.unreachable(error))
    }

    fn of(&self, id: &str, what: &str) -> String {
        format!("{}/v1/generations/{id}{what}", self.server)
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, ClientError> {
        let sent = request.headers(self.headers.clone()).send().await;
        let response = sent.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.text().await.unwrap_or_default();
        let problem: Value = serde_json::from_str(&body).unwrap_or_default();
        let word = |name: &str| problem.get(name).and_then(Value::as_str).map(str::to_owned);
        let mut detail = word("detail").unwrap_or_else(|| {
            let said: String = body.trim().chars().take(QUOTE).collect();
            format!("{} answered {status} {said}", self.server)
        });
        let known = problem.get("known").and_then(Value::as_array);
        let known: Vec<&str> = known.into_iter().flatten().filter_map(Value::as_str).collect();
        if !known.is_empty() {
            detail += &format!(" There is {}.", known.join(", "));
        }
        Err(ClientError::Refused { status, code: word("code"), detail })
    }

    fn body(&self, response: reqwest::Response) -> Result<Body, ClientError> {
        let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        if !kind.is_some_and(|kind| kind.starts_with(b"text/event-stream")) {
            return Err(ClientError::Foreign(self.server.clone()));
        }
        Ok(response.bytes_stream().eventsource().boxed())
    }

    fn unreachable(&self, error: reqwest::Error) -> ClientError {
        let unconnected = error.is_connect();
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let (server, why) = (self.server.clone(), cause.to_string());
        ClientError::Unreachable { server, why, unconnected }
    }
}
