//! `GET /v1/ws`: many generations over one socket.
//!
//! The response's body *is* the connection. Whenever it can send, it takes the client's frames,
//! asks the pure [`session`] for the consequences, and hands out all that is ready at once. A body
//! that the client does not drain is not asked for more, so a slow socket holds nothing but its
//! cursors.
mod asyncapi;
mod chat;
mod connection;
mod drive;
mod frames;
mod inbound;
mod lenient;
mod outbox;
mod presence;
mod rate_limit;
mod reading;
mod responses;
mod session;
mod wire;
mod work;

use std::convert::Infallible;

use actix_web::body::BodyStream;
use actix_web::http::{StatusCode, Version, header};
use actix_web::{FromRequest, HttpRequest, HttpResponse, dev, web};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use crate::domain::id::ConnectionId;
use crate::engine::Access;
use crate::http::EngineData;
use crate::http::auth;
use crate::http::auth::Entrance;
use crate::http::problem::Problem;
use crate::http::routes::endpoint;
use asyncapi::asyncapi;
pub(super) use chat::open as open_chat;
use connection::Connection;
use drive::Drive;
use frames::{CloseCode, PROTOCOL};
use outbox::Outbox;
pub(super) use responses::open as open_responses;
use work::Worker;

/// Enough for one write; what is ready beyond it waits where it is.
const CHUNK: usize = 32 * 1024;
/// Tasks of one socket at a time. A client that asks for more waits: nothing more is read from it.
const TASKS: usize = 16;

/// The native socket; the other two stand beside the routes of their protocols.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(endpoint("/v1/ws").stream(open))
        .service(endpoint("/asyncapi.json").get(asyncapi));
}

/// Opens a socket. A refused client learns it from a close code: scripts in browsers cannot see the
/// status of a handshake that failed.
async fn open(
    engine: EngineData,
    access: web::Data<Access>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    if let Some(problem) = not_ours(&request) {
        return Err(problem);
    }
    let offered = offered(&request);
    let known = offered.is_empty() || offered.iter().any(|offer| offer == PROTOCOL);
    // Without an answer to its offer a browser would not open the socket, nor hear why.
    let answer = if known { PROTOCOL } else { offered.first().map_or(PROTOCOL, String::as_str) };
    let response = shake_hands(&request, answer)?;
    let entrance = auth::entrance(&request);
    let caller = match (known, entrance) {
        (false, _) => return Ok(closed(response, CloseCode::Subprotocol)),
        (true, Entrance::Refused(code)) => return Ok(closed(response, refused(code))),
        (true, Entrance::Unknown) => None,
        (true, Entrance::Known(caller)) => Some(caller),
    };
    let (engine, access) = (engine.get_ref().clone(), access.get_ref().clone());
    let connection = ConnectionId::random().to_string();
    let drive = Drive::new(Worker { engine, access, caller, connection }, payload);
    Ok(response.set_body(drive).map_into_boxed_body())
}

/// The close code for a bad credential or a foreign origin.
fn refused(code: &str) -> CloseCode {
    match code {
        "invalid_api_key" | "key_expired" | "key_revoked" => CloseCode::Credential,
        _ => CloseCode::Origin,
    }
}

/// A socket that is closed as soon as it is open.
fn closed(response: HttpResponse, code: CloseCode) -> HttpResponse {
    let mut out = Outbox::default();
    out.close(code);
    let last = stream::once(async move { Ok::<_, Infallible>(out.take()) }).boxed_local();
    response.set_body(BodyStream::new(last)).map_into_boxed_body()
}

/// The answer to a request that is for no socket, or for one of another time: what to ask for
/// (RFC 6455 §4.4).
fn not_ours(request: &HttpRequest) -> Option<Problem> {
    let of = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    // RFC 6455 §4.1: a handshake is of HTTP/1.1 at least.
    let old = request.version() < Version::HTTP_11;
    let upgrade = of(header::UPGRADE).unwrap_or_default().to_ascii_lowercase();
    let version = of(header::SEC_WEBSOCKET_VERSION).unwrap_or("13");
    if upgrade.contains("websocket") && version == "13" && !old {
        return None;
    }
    let detail =
        "this path speaks WebSocket, version 13: upgrade the connection, which is of HTTP/1.1";
    let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", detail);
    let problem = problem.header(header::UPGRADE, "websocket");
    Some(problem.header(header::SEC_WEBSOCKET_VERSION, "13"))
}

/// A socket that speaks another protocol than ours.
trait Socket: 'static {
    /// Waits for a frame of the client, a task that is done, or a part of an answer, and takes it.
    async fn step(&mut self);

    /// Writes the next part of an answer, if one is there already.
    fn write_ready(&mut self) -> bool;

    fn connection(&mut self) -> &mut Connection;

    /// Everything that is ready to go out, when there is something; `None` after the last of it.
    async fn next(&mut self) -> Option<Bytes> {
        self.connection().taken();
        while self.connection().out.len() == 0 {
            if self.connection().closed {
                return None;
            }
            self.step().await;
        }
        let is_room = |connection: &Connection| connection.out.len() < CHUNK && !connection.closed;
        while is_room(self.connection()) && self.write_ready() {}
        Some(self.connection().hand_over())
    }
}

/// Opens such a socket. A refused client gets a status, as on any route: its libraries show that
/// and no close code.
fn opened(request: &HttpRequest, socket: impl Socket) -> Result<HttpResponse, Problem> {
    if let Some(problem) = not_ours(request) {
        return Err(problem);
    }
    // The subprotocol is the application's own, and says nothing here.
    let response = shake_hands(request, offered(request).first().map_or("", String::as_str))?;
    let bytes = stream::unfold(socket, |mut socket| async move {
        let next = socket.next().await?;
        Some((Ok::<_, Infallible>(next), socket))
    });
    Ok(response.set_body(BodyStream::new(bytes.boxed_local())).map_into_boxed_body())
}

/// The 101 of actix-ws. Its session and its stream are not used: see [`wire`] and
/// [`drive`] for what they lack.
fn shake_hands(request: &HttpRequest, protocol: &str) -> Result<HttpResponse, Problem> {
    let refused = |error: actix_web::Error| {
        let status = error.as_response_error().error_response().status();
        Problem::new(status, "bad_handshake", error.to_string())
    };
    let nothing = web::Payload::from_request(request, &mut dev::Payload::None);
    let nothing = nothing.into_inner().map_err(refused)?;
    let (response, ..) =
        actix_ws::handle_with_protocols(request, nothing, &[protocol]).map_err(refused)?;
    Ok(response)
}

/// The subprotocols that the client offers.
fn offered(request: &HttpRequest) -> Vec<String> {
    let lists = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let lists = lists.filter_map(|list| list.to_str().ok());
    let names = lists.flat_map(|list| list.split(',')).map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
