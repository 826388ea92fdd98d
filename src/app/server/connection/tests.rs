//! A connection in actix's hands, out of them and back, with the client at its other end.
use actix_http::HttpService;
use actix_server::Server;
use actix_service::boxed::service;
use actix_service::{ServiceExt, ServiceFactory};
use actix_web::{App, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::*;
use crate::app::server::handoff::{Handoff, handed_off};
use crate::http::Connections;

/// An answer that streams `n` events, which are not ready at once.
async fn events(n: web::Path<usize>, _body: Bytes) -> HttpResponse {
    let events = stream::unfold(*n, |left| async move {
        tokio::task::yield_now().await;
        let event = Bytes::from(format!("data: {left}\n\n"));
        (left > 0).then(|| (Ok::<_, io::Error>(event), left - 1))
    });
    HttpResponse::Ok().content_type("text/event-stream").streaming(events)
}

async fn echo(body: Bytes) -> HttpResponse {
    HttpResponse::Ok().body(body)
}

/// A connection to actix as the server has it, and the client's end of it.
/// How long a connection waits for another request here.
const IDLE: Duration = Duration::from_secs(75);

async fn open() -> (Connection<DuplexStream>, DuplexStream) {
    let app = App::new().route("/events/{n}", web::to(events)).route("/echo", web::to(echo));
    let actix = HttpService::build()
        .keep_alive(IDLE)
        .client_request_timeout(Duration::from_secs(5))
        .on_connect_ext(|socket: &Socket<DuplexStream>, data| {
            data.insert(Handoff(socket.0.clone()));
        })
        .finish(handed_off(app));
    let actix = actix.new_service(()).await.unwrap();
    let stopping = Server::build().graceful_shutdown_signal();
    let endpoint = Endpoint { actix: service(actix.map_err(|_| ())), stopping, idle: IDLE };
    let (stream, client) = duplex(1 << 20);
    let arrived = Arrived { stream, protocol: Protocol::Http1, peer: None };
    let place = Connections::new(1).enter();
    (Connection::new(Rc::new(endpoint), arrived, place), client)
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Events(usize),
    Post(usize, usize),
    Echo(usize),
    Chunked(usize),
}

impl Ask {
    fn bytes(self, last: bool) -> String {
        let close = if last { "Connection: close\r\n" } else { "" };
        let head = |line: &str| format!("{line} HTTP/1.1\r\nHost: x\r\n{close}");
        match self {
            Self::Events(n) => head(&format!("GET /events/{n}")) + "\r\n",
            Self::Post(n, size) => {
                let head = head(&format!("POST /events/{n}"));
                format!(
                    "{head}Content-Length: {size}\r\n\r\n{}",
                    "\r\n".repeat(size / 2 + 1).get(..size).unwrap()
                )
            }
            Self::Echo(size) => {
                let head = head("POST /echo");
                format!("{head}Content-Length: {size}\r\n\r\n{}", "e".repeat(size))
            }
            Self::Chunked(n) => {
                let head = head(&format!("POST /events/{n}"));
                format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
            }
        }
    }

    /// The end of its answer.
    fn answer(self) -> String {
        match self {
            Self::Events(n) | Self::Post(n, _) | Self::Chunked(n) => {
                let events = (1..=n).rev().map(|left| format!("data: {left}\n\n"));
                let chunks = events.map(|event| format!("{:x}\r\n{event}\r\n", event.len()));
                chunks.collect::<String>().to_ascii_lowercase() + "0\r\n\r\n"
            }
            Self::Echo(size) => "e".repeat(size),
        }
    }
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let one = prop_oneof![
        (0usize..20).prop_map(Ask::Events),
        (0usize..20, 0usize..200).prop_map(|(n, size)| Ask::Post(n, size)),
        (0usize..200).prop_map(Ask::Echo),
        (0usize..20).prop_map(Ask::Chunked),
    ];
    prop::collection::vec(one, 1..6)
}

/// All output for bytes that are sent in such pieces. Each piece is sent when the server is idle
/// or, if it is in a hurry, at once.
async fn exchange(bytes: &[u8], pieces: &[(usize, bool)]) -> String {
    let (connection, mut client) = open().await;
    let serving = async move { drop(connection.await) };
    let asking = async move {
        let (mut rest, mut pieces, mut seen) = (bytes, pieces.iter().cycle(), Vec::new());
        while !rest.is_empty() {
            let (size, hurry) = *pieces.next().unwrap();
            let (piece, behind) = rest.split_at(size.min(rest.len()));
            if client.write_all(piece).await.is_err() {
                break;
            }
            rest = behind;
            if !hurry {
                // On a paused clock: when nothing else can go on.
                sleep(Duration::from_millis(1)).await;
            }
        }
        client.read_to_end(&mut seen).await.unwrap();
        String::from_utf8(seen).unwrap()
    };
    tokio::join!(serving, asking).1
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_answered_in_their_turn_however_they_come(
        asks in asks(),
        pieces in prop::collection::vec((1usize..400, any::<bool>()), 1..8),
    ) {
        let last = asks.len() - 1;
        let bytes: String =
            asks.iter().enumerate().map(|(n, ask)| ask.bytes(n == last)).collect();
        let seen = run(async {
            timeout(Duration::from_secs(60), exchange(bytes.as_bytes(), &pieces)).await
        });
        let seen = seen.expect("an end");
        let answers: Vec<_> = seen.split("HTTP/1.1 200 OK\r\n").skip(1).collect();
        // actix may close after any answer, and says so; what follows is nothing (RFC 9112 §9.6).
        let closes = |answer: &&str| answer.contains("connection: close");
        let whole = answers.iter().position(closes).map_or(asks.len(), |last| last + 1);
        prop_assert!(answers.len() >= whole, "{}", seen);
        let answers = answers.iter().take(whole);
        for (answer, ask) in answers.zip(&asks) {
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            prop_assert_eq!(body.to_ascii_lowercase(), ask.answer());
        }
    }
}

#[test]
fn a_connection_whose_answer_is_out_waits_as_long_as_any_other() {
    run(async {
        let (connection, mut client) = open().await;
        let asking = async move {
            client.write_all(Ask::Events(3).bytes(false).as_bytes()).await.unwrap();
            let (begun, mut seen) = (Instant::now(), Vec::new());
            client.read_to_end(&mut seen).await.unwrap();
            (begun.elapsed(), String::from_utf8(seen).unwrap())
        };
        let (ended, (waited, seen)) = tokio::join!(connection, asking);
        ended.unwrap();
        assert_eq!(waited.as_secs(), IDLE.as_secs());
        assert!(seen.ends_with("0\r\n\r\n"), "and nobody is told anything: {seen}");
    });
}
