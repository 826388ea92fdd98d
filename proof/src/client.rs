//! Asks a target and records what comes, until its end or until it is time to leave.
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::watch;

use crate::history::{Closed, Connection};
use crate::sse::Framer;
use crate::wire::{Ask, Reading, Wire};

/// How a connection is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Leave after so many events.
    pub(crate) leave_after: Option<usize>,
    /// Stop reading for so long after ten events.
    pub(crate) pause: Duration,
    /// Silence that ends a connection.
    pub(crate) silence: Duration,
}

/// A body has this much time to close after its ending.
const CLOSES_WITHIN: Duration = Duration::from_secs(2);

/// A connection's events are recorded up to this number.
const MOST_EVENTS: usize = 100_000;

/// What a reader has seen so far, for those who wait for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) events: usize,
    pub(crate) id: Option<String>,
    pub(crate) over: bool,
}

/// An answer in one piece.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

/// Sends requests to targets.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    headers: Vec<(String, String)>,
    silence: Duration,
}

/// The server says that this answer belongs to an earlier start.
fn says_replayed(headers: &[(String, String)]) -> bool {
    let names = ["idempotency-replayed", "idempotent-replayed", "lastword-attached"];
    headers.iter().any(|(name, value)| {
        names.contains(&name.as_str()) && !matches!(value.as_str(), "false" | "0")
    })
}

impl Client {
    /// Headers go with every request.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub(crate) fn new(headers: Vec<(String, String)>, silence: Duration) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Each reader has its own connection, and closing it is seen by the server.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { http, headers, silence })
    }

    async fn send(&self, target: &str, ask: &Ask) -> Result<reqwest::Response, String> {
        let method =
            reqwest::Method::from_bytes(ask.method.as_bytes()).map_err(|e| e.to_string())?;
        let mut request = self.http.request(method, format!("{target}{}", ask.path));
        for (name, value) in self.headers.iter().chain(&ask.headers) {
            request = request.header(name, value);
        }
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        let sent = tokio::time::timeout(self.silence, request.send()).await;
        sent.map_err(|_| "no answer".to_owned())?.map_err(|error| error.to_string())
    }

    /// Asks for an answer in one piece.
    ///
    /// # Errors
    /// No answer came.
    pub(crate) async fn ask(&self, target: &str, ask: &Ask) -> Result<Answer, String> {
        let response = self.send(target, ask).await?;
        let status = response.status().as_u16();
        let headers = headers(&response);
        let bytes = tokio::time::timeout(self.silence, response.bytes()).await;
        let bytes = bytes.map_err(|_| "no body".to_owned())?.map_err(|error| error.to_string())?;
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Answer { status, headers, body })
    }

    /// Reads a stream; `seen` tells others how far it is.
    pub(crate) async fn follow(
        &self,
        wire: &dyn Wire,
        (target, ask): (&str, &Ask),
        how: How,
        seen: &watch::Sender<Seen>,
    ) -> Connection {
        let begun = Instant::now();
        let mut connection = Connection::default();
        match self.send(target, ask).await {
            Ok(response) => {
                connection.status = response.status().as_u16();
                connection.replayed = says_replayed(&headers(&response));
                if connection.let_in() {
                    body(wire, response, how, (&mut connection, seen), begun).await;
                }
            }
            Err(_) => connection.closed = Closed::Refused,
        }
        connection.took_ms = millis(begun.elapsed());
        seen.send_modify(|seen| seen.over = true);
        connection
    }
}

async fn body(
    wire: &dyn Wire,
    response: reqwest::Response,
    how: How,
    (connection, seen): (&mut Connection, &watch::Sender<Seen>),
    begun: Instant,
) {
    let mut bytes = response.bytes_stream();
    let mut framer = Framer::default();
    let mut reading = Reading { id: seen.borrow().id.clone(), ..Reading::default() };
    let named = reading.id.is_some();
    let mut count = 0;
    let mut paused = how.pause.is_zero();
    loop {
        let ended = connection.events.iter().any(|event| event.ending.is_some());
        let silence = if ended { how.silence.min(CLOSES_WITHIN) } else { how.silence };
        let piece = match tokio::time::timeout(silence, bytes.next()).await {
            Err(_) => {
                connection.closed = Closed::Silent;
                break;
            }
            Ok(None) => break,
            Ok(Some(Err(_))) => {
                connection.closed = Closed::Broken;
                break;
            }
            Ok(Some(Ok(piece))) => piece,
        };
        connection.first_ms.get_or_insert_with(|| millis(begun.elapsed()));
        for frame in framer.feed(&piece) {
            let events = wire.read(&frame, &mut reading);
            count += events.iter().filter(|event| !event.transient).count();
            connection.events.extend(events);
        }
        if !named {
            connection.id.clone_from(&reading.id);
        }
        seen.send_modify(|seen| {
            seen.events = count;
            seen.id.clone_from(&reading.id);
        });
        if how.leave_after.is_some_and(|most| count >= most) || count > MOST_EVENTS {
            connection.closed = Closed::Reader;
            break;
        }
        if !paused && count >= 10 {
            paused = true;
            tokio::time::sleep(how.pause).await;
        }
    }
}

fn headers(response: &reqwest::Response) -> Vec<(String, String)> {
    let text = |value: &reqwest::header::HeaderValue| {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    };
    response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// Whole milliseconds.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
