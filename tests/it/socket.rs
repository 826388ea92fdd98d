//! A WebSocket client as its users write one.
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::client::{PATIENCE, Received};

/// One connection. Dropping it cuts it.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// The subprotocol that the server chose.
    pub(crate) protocol: Option<String>,
    /// The code that the server closed with.
    pub(crate) closed: Option<u16>,
    /// The end of the followed generation was seen.
    over: bool,
}

impl Socket {
    /// Opens one, and hears the welcome.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let mut socket = Self::with(address, &[("Sec-WebSocket-Protocol", "lastword.v1")]).await;
        let welcome = socket.frame().await.expect("a welcome");
        assert_eq!(welcome["type"], "welcome");
        socket
    }

    /// Opens one with these headers.
    pub(crate) async fn with(address: SocketAddr, headers: &[(&str, &str)]) -> Self {
        Self::try_with(address, headers).await.expect("a handshake")
    }

    /// Opens another one of the server's.
    pub(crate) async fn at(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::try_at(address, path, headers).await.expect("a handshake")
    }

    async fn try_with(address: SocketAddr, headers: &[(&str, &str)]) -> Option<Self> {
        Self::try_at(address, "/v1/ws", headers).await
    }

    /// `None` where there is no server, or one that goes away.
    async fn try_at(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Option<Self> {
        let uri = format!("ws://{address}{path}").parse().unwrap();
        let mut request = ClientRequestBuilder::new(uri);
        for (name, value) in headers {
            request = request.with_header(*name, *value);
        }
        let tcp = TcpStream::connect(address).await.ok()?;
        let (stream, response) = client_async(request, tcp).await.ok()?;
        let protocol = response.headers().get("sec-websocket-protocol");
        let protocol = protocol.map(|name| name.to_str().unwrap().to_owned());
        Some(Self { protocol, ..Self::of(stream) })
    }

    /// One that is open.
    pub(crate) fn of(stream: WebSocketStream<TcpStream>) -> Self {
        Self { stream, protocol: None, closed: None, over: false }
    }

    /// Follows one generation behind a cursor.
    pub(crate) async fn following(address: SocketAddr, id: &str, after: u64) -> Self {
        let (socket, answer) = Self::try_following(address, id, after).await.expect("an answer");
        assert_eq!((&answer["type"], &answer["ref"]), (&json!("ack"), &json!(1)), "{answer}");
        socket
    }

    /// The same, and the answer to the subscription, of any kind; `None` where no server gives one.
    pub(crate) async fn try_following(
        address: SocketAddr,
        id: &str,
        after: u64,
    ) -> Option<(Self, Value)> {
        let protocol = [("Sec-WebSocket-Protocol", "lastword.v1")];
        let mut socket = Self::try_with(address, &protocol).await?;
        assert_eq!(socket.frame().await?["type"], "welcome");
        let ask = json!({"type": "subscribe", "ref": 1, "generation": id, "after": after});
        socket.send(&ask).await;
        let answer = socket.frame().await?;
        socket.over = answer["complete"] == true;
        Some((socket, answer))
    }

    pub(crate) async fn send(&mut self, frame: &Value) {
        self.send_raw(Message::text(frame.to_string())).await;
    }

    /// The connection may be gone, as it is when a server closes first.
    pub(crate) async fn send_raw(&mut self, message: Message) {
        let _ = self.stream.send(message).await;
    }

    /// The next text; `None` when the connection has ended, in whatever way.
    pub(crate) async fn text(&mut self) -> Option<String> {
        // Pings are no text: they do not make it wait for longer.
        let end = Instant::now() + PATIENCE;
        loop {
            let next = timeout_at(end, self.stream.next()).await.expect("a frame in time");
            match next?.ok()? {
                Message::Text(text) => return Some(text.to_string()),
                Message::Close(frame) => {
                    self.closed = frame.map(|CloseFrame { code, .. }| code.into());
                    return None;
                }
                // Answered by the library.
                Message::Ping(_) | Message::Pong(_) => {}
                other @ (Message::Binary(_) | Message::Frame(_)) => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn frame(&mut self) -> Option<Value> {
        Some(serde_json::from_str(&self.text().await?).unwrap())
    }

    /// The answer to a frame; events that come before it are left out.
    pub(crate) async fn ask(&mut self, frame: &Value) -> Value {
        self.send(frame).await;
        loop {
            let answer = self.frame().await.expect("an answer");
            if answer.get("ref") == frame.get("ref") && answer["type"] != "event" {
                return answer;
            }
        }
    }

    /// The next event of the one generation that is followed; `None` behind its end, or when it
    /// is lost.
    pub(crate) async fn event(&mut self) -> Option<Received> {
        if self.over {
            return None;
        }
        let event = event(&self.text().await?)?;
        self.over = event.name == "done";
        Some(event)
    }
}

/// The event in a frame, byte for byte.
pub(crate) fn event(text: &str) -> Option<Received> {
    #[derive(Deserialize)]
    struct Frame<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(borrow)]
        event: Option<&'a RawValue>,
    }
    let frame: Frame = serde_json::from_str(text).unwrap();
    if frame.kind == "error" {
        return None;
    }
    assert_eq!(frame.kind, "event", "{text}");
    let data = frame.event.unwrap().get().to_owned();
    let json: Value = serde_json::from_str(&data).unwrap();
    let name = json["type"].as_str().unwrap().to_owned();
    Some(Received { id: json["seq"].as_u64().unwrap(), name, data })
}
