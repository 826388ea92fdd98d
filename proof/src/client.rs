//! Sends requests to a target and records the answer, until its end or until it is time to leave.
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::watch;

use crate::history::{Closed, Connection, Event};
use crate::sse::{Frame, Framer};
use crate::wire::{Ask, Reading, SOCKET, Wire};

mod socket;

/// How a connection is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Leave after so many events.
    pub(crate) leave_after: Option<usize>,
    /// Silence that ends a connection.
    pub(crate) silence: Duration,
}

/// A body has this much time to close after its ending.
const CLOSES_WITHIN: Duration = Duration::from_secs(5);

/// A connection's events are recorded up to this number.
const MOST_EVENTS: usize = 100_000;

/// A body is read up to this number of bytes, and an answer in one piece up to a quarter of it.
const MOST_BYTES: usize = 64 << 20;

/// Of an answer that is not a stream, so much is kept for people.
const MOST_SAID: usize = 300;

/// The progress of a reader so far, for those that wait for it.
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
    /// The beginning of it, for people.
    pub(crate) said: String,
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
            .connect_timeout(silence)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Each reader has its own connection, and closing it is seen by the server.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { http, headers, silence })
    }

    async fn send(&self, target: &str, ask: &Ask) -> Result<reqwest::Response, String> {
        let method = reqwest::Method::from_bytes(ask.method.as_bytes());
        let method = method.map_err(|_| format!("{} is no method", ask.method))?;
        let mut request = self.http.request(method, format!("{target}{}", ask.path));
        for (name, value) in self.headers.iter().chain(&ask.headers) {
            request = request.header(name, value);
        }
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        let sent = tokio::time::timeout(self.silence, request.send()).await;
        sent.map_err(|_| "no answer".to_owned())?.map_err(|error| cause(&error))
    }

    /// Asks for an answer in one piece.
    ///
    /// # Errors
    /// No answer came, or one that is too large.
    pub(crate) async fn ask(&self, target: &str, ask: &Ask) -> Result<Answer, String> {
        let response = self.send(target, ask).await?;
        let status = response.status().as_u16();
        let headers = headers(&response);
        let bytes = tokio::time::timeout(self.silence, whole(response, MOST_BYTES / 4)).await;
        let bytes = bytes.map_err(|_| "no end of the answer".to_owned())??;
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Answer { status, headers, body, said: said(&bytes) })
    }

    /// Reads a stream; `seen` reports its progress to others.
    pub(crate) async fn follow(
        &self,
        wire: &dyn Wire,
        (target, ask): (&str, &Ask),
        how: How,
        seen: &watch::Sender<Seen>,
    ) -> Connection {
        let begun = Instant::now();
        let mut connection = if ask.method == SOCKET {
            socket::follow(self, wire, (target, ask), how, seen).await
        } else {
            self.follow_body(wire, (target, ask), how, seen).await
        };
        connection.took_ms = millis(begun.elapsed());
        seen.send_modify(|seen| seen.over = true);
        connection
    }

    async fn follow_body(
        &self,
        wire: &dyn Wire,
        (target, ask): (&str, &Ask),
        how: How,
        seen: &watch::Sender<Seen>,
    ) -> Connection {
        let begun = Instant::now();
        let mut recorder = Recorder::new(wire, how, ask, seen);
        let response = match self.send(target, ask).await {
            Ok(response) => response,
            Err(why) => {
                recorder.connection.closed = Closed::Refused;
                recorder.connection.said = Some(why);
                return recorder.connection;
            }
        };
        recorder.connection.status = response.status().as_u16();
        recorder.connection.replayed = says_replayed(&headers(&response));
        if !recorder.connection.let_in() {
            let body = tokio::time::timeout(how.silence, whole(response, MOST_SAID * 8)).await;
            recorder.connection.said = body.ok().and_then(Result::ok).map(|body| said(&body));
            return recorder.connection;
        }
        let kind = response.headers().get("content-type").cloned();
        read(response, how, &mut recorder, begun).await;
        let kind = kind.map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
        if recorder.connection.events.is_empty() && recorder.connection.status != 204 {
            recorder.connection.said = Some(kind.unwrap_or_else(|| "no content type".into()));
        }
        recorder.connection
    }
}

/// The error and what caused it, in one line.
fn cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// A body, up to a number of bytes.
async fn whole(response: reqwest::Response, most: usize) -> Result<Vec<u8>, String> {
    let mut bytes = response.bytes_stream();
    let mut body = Vec::new();
    while let Some(piece) = bytes.next().await {
        body.extend_from_slice(&piece.map_err(|error| cause(&error))?);
        if body.len() > most {
            body.truncate(most);
            break;
        }
    }
    Ok(body)
}

/// The beginning of an answer, in one line.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(MOST_SAID).collect()
}

/// Makes events of frames, and reports the progress to others.
struct Recorder<'a> {
    wire: &'a dyn Wire,
    seen: &'a watch::Sender<Seen>,
    reading: Reading,
    named: bool,
    how: How,
    count: usize,
    connection: Connection,
}

impl<'a> Recorder<'a> {
    fn new(wire: &'a dyn Wire, how: How, ask: &Ask, seen: &'a watch::Sender<Seen>) -> Self {
        let id = seen.borrow().id.clone();
        let named = id.is_some();
        let reading = Reading { id, from: ask.from.clone(), ..Reading::default() };
        Self { wire, seen, reading, named, how, count: 0, connection: Connection::default() }
    }

    fn ended(&self) -> bool {
        self.connection.events.iter().any(|event| event.ending.is_some())
    }

    fn leaves(&self) -> bool {
        self.how.leave_after.is_some_and(|most| self.count >= most)
    }

    /// True: it is time to leave.
    fn take(&mut self, frames: impl Iterator<Item = Frame>) -> bool {
        let at_us = now_us();
        for frame in frames {
            let mut events = self.wire.read(&frame, &mut self.reading);
            events.iter_mut().for_each(|event| event.at_us = at_us);
            self.count += events.iter().filter(|event| !event.transient).count();
            self.connection.events.extend(events);
            // One that leaves has nothing of what came in the same piece behind it.
            if self.leaves() {
                break;
            }
        }
        if !self.named {
            self.connection.id.clone_from(&self.reading.id);
        }
        self.seen.send_modify(|seen| {
            seen.events = self.count;
            seen.id.clone_from(&self.reading.id);
        });
        if self.leaves() {
            self.connection.closed = Closed::Reader;
            return true;
        }
        if self.connection.events.len() > MOST_EVENTS {
            self.connection.closed = Closed::TooMuch;
            return true;
        }
        false
    }
}

async fn read(response: reqwest::Response, how: How, recorder: &mut Recorder<'_>, begun: Instant) {
    let mut bytes = response.bytes_stream();
    let mut framer = Framer::default();
    let (mut length, mut last_event) = (0, Instant::now());
    loop {
        let silence = if recorder.ended() { how.silence.min(CLOSES_WITHIN) } else { how.silence };
        // Comments alone keep a connection open for three times as long.
        let most = (3 * silence).saturating_sub(last_event.elapsed());
        let piece = match tokio::time::timeout(silence.min(most), bytes.next()).await {
            Err(_) => {
                recorder.connection.closed = Closed::Silent;
                return;
            }
            Ok(None) => {
                if let Some(last) = recorder.wire.closed(&mut recorder.reading) {
                    recorder.connection.events.push(Event { at_us: now_us(), ..last });
                }
                return;
            }
            Ok(Some(Err(_))) => {
                recorder.connection.closed = Closed::Broken;
                return;
            }
            Ok(Some(Ok(piece))) => piece,
        };
        recorder.connection.first_ms.get_or_insert_with(|| millis(begun.elapsed()));
        length += piece.len();
        let frames = framer.feed(&piece);
        if !frames.is_empty() {
            last_event = Instant::now();
        }
        if recorder.take(frames.into_iter()) {
            return;
        }
        if length > MOST_BYTES {
            recorder.connection.closed = Closed::TooMuch;
            return;
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

/// Microseconds since the program's start.
pub(crate) fn now_us() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
