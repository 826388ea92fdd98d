//! Streams over a WebSocket: one request in the first frame, one event in each frame that comes.
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::{self, Message};

use super::{CLOSES_WITHIN, Client, How, Recorder, Seen, millis};
use crate::history::{Closed, Connection};
use crate::sse::Frame;
use crate::wire::{Ask, Wire};

type Socket = WebSocketStream<TcpStream>;

/// Opens the socket and sends the request.
async fn open(client: &Client, target: &str, ask: &Ask) -> Result<Socket, (u16, String)> {
    let other = |error: &dyn std::fmt::Display| (0, error.to_string());
    let url = reqwest::Url::parse(target).map_err(|error| other(&error))?;
    if url.scheme() != "http" {
        return Err((0, "a WebSocket is opened over plain http only".into()));
    }
    let addresses = url.socket_addrs(|| None).map_err(|error| other(&error))?;
    let uri = format!("ws{}{}", target.trim_start_matches("http"), ask.path);
    let uri = uri.parse().map_err(|error| other(&error))?;
    let mut request = ClientRequestBuilder::new(uri);
    for (name, value) in client.headers.iter().chain(&ask.headers) {
        request = request.with_header(name, value);
    }
    let tcp = TcpStream::connect(&*addresses).await.map_err(|error| other(&error))?;
    let opened = tokio_tungstenite::client_async(request, tcp).await;
    let (mut socket, _) = opened.map_err(|error| {
        if let tungstenite::Error::Http(answer) = error {
            (answer.status().as_u16(), "the WebSocket was refused".into())
        } else {
            other(&error)
        }
    })?;
    let body = ask.body.as_ref().map(ToString::to_string).unwrap_or_default();
    socket.send(Message::text(body)).await.map_err(|error| other(&error))?;
    Ok(socket)
}

/// Reads a stream; `seen` reports its progress to others.
pub(super) async fn follow(
    client: &Client,
    wire: &dyn Wire,
    (target, ask): (&str, &Ask),
    how: How,
    seen: &watch::Sender<Seen>,
) -> Connection {
    let begun = Instant::now();
    let mut recorder = Recorder::new(wire, how, ask, seen);
    let opened = timeout(how.silence, open(client, target, ask)).await;
    match opened.unwrap_or_else(|_| Err((0, "no answer".into()))) {
        Ok(socket) => {
            recorder.connection.status = 200;
            read(socket, how, &mut recorder, begun).await;
        }
        Err((status, why)) => {
            recorder.connection.status = status;
            recorder.connection.closed = Closed::Refused;
            recorder.connection.said = Some(why);
        }
    }
    recorder.connection
}

async fn read(mut socket: Socket, how: How, recorder: &mut Recorder<'_>, begun: Instant) {
    loop {
        // The connection may serve other requests: after an ending, it is this side that closes.
        let ended = recorder.ended();
        let silence = if ended { how.silence.min(CLOSES_WITHIN / 10) } else { how.silence };
        let frame = match timeout(silence, socket.next()).await {
            Err(_) if ended => {
                recorder.connection.closed = Closed::Reader;
                let _ = timeout(CLOSES_WITHIN, socket.close(None)).await;
                return;
            }
            Err(_) => {
                recorder.connection.closed = Closed::Silent;
                return;
            }
            Ok(None | Some(Ok(Message::Close(_)))) => return,
            Ok(Some(Err(_))) => {
                recorder.connection.closed = Closed::Broken;
                return;
            }
            Ok(Some(Ok(Message::Text(text)))) => {
                Frame { data: text.to_string(), ..Frame::default() }
            }
            Ok(Some(Ok(
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
            ))) => continue,
        };
        recorder.connection.first_ms.get_or_insert_with(|| millis(begun.elapsed()));
        if recorder.take(std::iter::once(frame)) {
            return;
        }
    }
}
