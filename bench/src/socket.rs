//! A WebSocket as a measurement needs one.
use std::borrow::Cow;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::Failure;

/// Connections from one address: Linux has some 28,000 ports for them.
const PER_ADDRESS: u64 = 5000;
/// The bytes of one read: the library fills all of it with zeros before each read.
const READ: usize = 4096;

/// The `n`th connection to a server on loopback, from one of several addresses.
pub(crate) async fn connect(address: SocketAddr, n: u64) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let host = u8::try_from(2 + n / PER_ADDRESS).unwrap_or(u8::MAX);
    socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into())?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A frame with an event; all others are answers.
#[derive(Deserialize)]
pub(crate) struct Frame<'a> {
    pub(crate) generation: &'a str,
    #[serde(borrow)]
    pub(crate) event: Event<'a>,
}

/// The counted part of an event.
#[derive(Deserialize)]
pub(crate) struct Event<'a> {
    pub(crate) seq: u64,
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    #[serde(borrow, default)]
    pub(crate) text: Cow<'a, str>,
}

/// One that was welcomed. Pings are answered while it is read.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// The `n`th one.
    pub(crate) async fn open(address: SocketAddr, n: u64) -> Result<Self, Failure> {
        let stream = connect(address, n).await.map_err(|e| e.to_string())?;
        let uri = format!("ws://{address}/v1/ws").parse().map_err(|_| "a bad address")?;
        let request = ClientRequestBuilder::new(uri).with_sub_protocol("lastword.v1");
        let config = Some(WebSocketConfig::default().read_buffer_size(READ));
        let opened = client_async_with_config(request, stream, config).await;
        let mut socket = Self(opened.map_err(|e| e.to_string())?.0);
        socket.expect("welcome").await?;
        Ok(socket)
    }

    /// Follows a generation behind `after`.
    pub(crate) async fn subscribe(&mut self, id: &str, after: u64) -> Result<(), Failure> {
        let frame = json!({ "type": "subscribe", "ref": id, "generation": id, "after": after });
        self.send(frame.to_string()).await
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, frame: String) -> Result<(), Failure> {
        self.0.send(Message::text(frame)).await.map_err(|e| e.to_string())
    }

    /// The next text; `None` at the end of the connection.
    pub(crate) async fn text(&mut self) -> Option<Utf8Bytes> {
        loop {
            if let Message::Text(text) = self.0.next().await?.ok()? {
                return Some(text);
            }
        }
    }

    /// Reads on until a frame of that type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Result<(), Failure> {
        while let Some(text) = self.text().await {
            let frame: Value = serde_json::from_str(&text).unwrap_or_default();
            match frame["type"].as_str() {
                Some(found) if found == kind => return Ok(()),
                Some("error") => return Err(text.to_string()),
                Some(_) | None => {}
            }
        }
        Err(format!("the socket was closed before its {kind}"))
    }
}
