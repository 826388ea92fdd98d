//! A client as its users write one: HTTP, and an SSE reader that knows only what it received.
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::socket::Socket;
use crate::twin::Twin;

/// Longer than anything here takes: a test that waits for so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The way in which a reader gets its events: the same ones in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Sse,
    WebSocket,
    /// Over both at once, which must agree byte for byte: the default of every scenario.
    Both,
}

/// Talks to one server.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) over: Transport,
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
}

/// One event as it came over the wire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Received {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// The `data` line, byte for byte.
    pub(crate) data: String,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        // The first of many tests wins; all want the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { over: Transport::Both, base: format!("http://{address}"), http }
    }

    /// The same, with another way to read.
    pub(crate) fn over(&self, over: Transport) -> Self {
        Self { over, ..self.clone() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.base.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// A connection for each request, as behind a balancer.
    pub(crate) fn single_use(address: SocketAddr) -> Self {
        let client = Self::new(address);
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        Self { http: http.pool_max_idle_per_host(0).build().unwrap(), ..client }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.http.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.http.post(format!("{}{path}", self.base)).json(body).send().await.unwrap()
    }

    /// Starts a generation; its id.
    pub(crate) async fn start(&self, body: &Value) -> String {
        let response = self.post("/v1/generations", body).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        let body: Value = response.json().await.unwrap();
        body["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn start_prompt(&self, prompt: &str) -> String {
        self.start(&json!({ "prompt": prompt })).await
    }

    pub(crate) async fn view(&self, id: &str) -> Value {
        self.get(&format!("/v1/generations/{id}")).await.json().await.unwrap()
    }

    /// The receipt.
    pub(crate) async fn cancel(&self, id: &str) -> Value {
        let response = self.post(&format!("/v1/generations/{id}/cancel"), &json!({})).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    /// Opens the events behind `after`; the connection may fail, as it does when a server dies.
    pub(crate) async fn try_events(&self, id: &str, after: u64) -> reqwest::Result<Response> {
        self.http
            .get(format!("{}/v1/generations/{id}/events", self.base))
            .header("accept", "text/event-stream")
            .header("last-event-id", after.to_string())
            .send()
            .await
    }

    pub(crate) async fn events(&self, id: &str, after: u64) -> Reader {
        match self.over {
            Transport::Sse => {
                let response = self.try_events(id, after).await.unwrap();
                assert_eq!(response.status(), StatusCode::OK);
                Reader::new(response)
            }
            Transport::WebSocket => {
                let socket = Socket::following(self.address(), id, after).await;
                Reader::of(Source::Socket(Box::new(socket)))
            }
            Transport::Both => {
                Reader::of(Source::Both(Box::new(Twin::open(self, id, after).await)))
            }
        }
    }

    /// Asks for the events over one transport; `None` where no server answers. The status is
    /// HTTP's, or what the socket's answer would be there.
    pub(crate) async fn ask_events(
        &self,
        id: &str,
        after: u64,
    ) -> Option<(StatusCode, Option<Reader>)> {
        if self.over == Transport::Sse {
            let response = self.try_events(id, after).await.ok()?;
            let status = response.status();
            return Some((status, (status == StatusCode::OK).then(|| Reader::new(response))));
        }
        let (socket, answer) = Socket::try_following(self.address(), id, after).await?;
        Some(match (answer["type"].as_str()?, answer["code"].as_str()) {
            ("ack", _) if answer["complete"] == true => (StatusCode::NO_CONTENT, None),
            ("ack", _) => (StatusCode::OK, Some(Reader::of(Source::Socket(Box::new(socket))))),
            (_, Some("not_found")) => (StatusCode::NOT_FOUND, None),
            (_, Some("storage_unavailable" | "draining")) => {
                (StatusCode::SERVICE_UNAVAILABLE, None)
            }
            (_, _) => panic!("{answer}"),
        })
    }

    /// All events behind `after`, up to the end of the body.
    pub(crate) async fn all(&self, id: &str, after: u64) -> Vec<Received> {
        self.events(id, after).await.rest().await
    }
}

/// Reads one event stream. Dropping it cuts the connection.
pub(crate) struct Reader {
    source: Source,
    buffer: Vec<u8>,
    /// Comment lines that came.
    pub(crate) comments: Vec<String>,
}

enum Source {
    Body(BoxStream<'static, reqwest::Result<Bytes>>),
    Socket(Box<Socket>),
    Both(Box<Twin>),
}

impl Reader {
    pub(crate) fn new(response: Response) -> Self {
        // An older build beside this one says no charset.
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert_eq!(kind.trim_end_matches("; charset=utf-8"), "text/event-stream");
        Self::of(Source::Body(response.bytes_stream().boxed()))
    }

    fn of(source: Source) -> Self {
        Self { source, buffer: Vec::new(), comments: Vec::new() }
    }

    /// The next event; `None` when the body has ended, in whatever way.
    pub(crate) async fn next(&mut self) -> Option<Received> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|w| w == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = self.parse(std::str::from_utf8(&block).unwrap()) {
                    return Some(event);
                }
            }
            let body = match &mut self.source {
                Source::Socket(socket) => return socket.event().await,
                Source::Both(twin) => return twin.next().await,
                Source::Body(body) => body,
            };
            let more = timeout(PATIENCE, body.next()).await.expect("an event in time");
            self.buffer.extend_from_slice(&more?.ok()?);
        }
    }

    fn parse(&mut self, block: &str) -> Option<Received> {
        let (mut id, mut name, mut data) = (None, None, None);
        for line in block.lines() {
            match line.split_once(':') {
                Some(("", comment)) => self.comments.push(comment.trim().into()),
                Some(("id", value)) => id = Some(value.trim().parse().unwrap()),
                Some(("event", value)) => name = Some(value.trim().to_owned()),
                Some(("data", value)) => {
                    assert!(data.is_none(), "one data line an event: {block}");
                    data = Some(value.strip_prefix(' ').unwrap().to_owned());
                }
                Some(("retry", value)) => {
                    assert!((500..=1500).contains(&value.trim().parse().unwrap()), "{block}");
                }
                _ => assert_eq!(line, "", "unknown line in {block}"),
            }
        }
        Some(Received { id: id?, name: name?, data: data? })
    }

    pub(crate) async fn take(&mut self, count: usize) -> Vec<Received> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("the stream goes on"));
        }
        events
    }

    pub(crate) async fn rest(&mut self) -> Vec<Received> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// The answer that events add up to, by the rules of the protocol.
pub(crate) fn text(events: &[Received]) -> String {
    let mut text = String::new();
    let mut at_start = String::new();
    for event in events {
        let json = event.json();
        match event.name.as_str() {
            "delta" => text.push_str(json["text"].as_str().unwrap()),
            "superseded" => text = std::mem::take(&mut at_start),
            "snapshot" => text = json["text"].as_str().unwrap().to_owned(),
            _ => {}
        }
    }
    text
}

/// Every reader of a whole log relies on this: 1, 2, 3 … n, one ending, nothing after it.
pub(crate) fn assert_whole(events: &[Received]) {
    let ids: Vec<u64> = events.iter().map(|e| e.id).collect();
    let expected: Vec<u64> = (1..=events.len() as u64).collect();
    assert_eq!(ids, expected, "no gap and no repeat");
    for event in events {
        let json = event.json();
        assert_eq!(json["seq"], event.id);
        assert_eq!(json["type"], event.name.as_str());
    }
    let endings = events.iter().filter(|e| e.name == "done").count();
    assert_eq!(endings, 1, "one ending");
    assert_eq!(events[0].name, "started");
    assert_eq!(events.last().unwrap().name, "done", "nothing after it");
}
