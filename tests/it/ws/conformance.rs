//! RFC 6455 over raw sockets: Autobahn's cases as far as they are not an echo server's.
//! (<https://github.com/crossbario/autobahn-testsuite>; its own client needs Python 2.)
use std::net::SocketAddr;

use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::harness::TestApp;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

/// A client's frame with any first byte; `claimed` is the length that its head tells.
fn frame_of(first: u8, payload: &[u8], claimed: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match claimed {
        0..=125 => bytes.push(0x80 | u8::try_from(claimed).unwrap()),
        126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(claimed).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(claimed.to_be_bytes());
        }
    }
    let mask = [0x12, 0xfe, 0x00, 0x77];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_of(first, payload, payload.len() as u64)
}

fn text(payload: &str) -> Vec<u8> {
    frame(FIN | TEXT, payload.as_bytes())
}

fn close(code: u16, why: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), why].concat())
}

/// The server's frames.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    /// The type of a text frame's object.
    Frame(String),
    Pong(Vec<u8>),
    Close(Option<u16>),
    /// The connection has ended.
    End,
}

/// All that a server sends back for these bytes, to the end of the connection. A case that sends no
/// ending of its own closes the connection.
async fn answers(address: SocketAddr, bytes: &[u8], chunk: usize) -> Vec<Said> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let head = "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.windows(4).any(|w| w == b"\r\n\r\n") {
        assert!(socket.read_buf(&mut seen).await.unwrap() > 0);
    }
    for some in bytes.chunks(chunk) {
        // A server that has seen enough may have closed.
        if socket.write_all(some).await.is_err() {
            break;
        }
    }
    while timeout(PATIENCE, socket.read_buf(&mut seen)).await.unwrap().is_ok_and(|n| n > 0) {}
    let head = seen.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert!(seen.starts_with(b"HTTP/1.1 101 "));
    assert!(String::from_utf8_lossy(&seen[..head]).contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    parse(&seen[head..])
}

fn parse(mut bytes: &[u8]) -> Vec<Said> {
    let mut said = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        assert_eq!((first & FIN, length & 0x80), (FIN, 0), "whole and not masked");
        let (length, rest) = match length {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => panic!("nothing here is so long"),
            short => (usize::from(*short), rest),
        };
        let (payload, rest) = rest.split_at(length);
        bytes = rest;
        said.push(match first & 0x0f {
            TEXT => {
                let json: Value = serde_json::from_slice(payload).unwrap();
                Said::Frame(json["type"].as_str().unwrap().into())
            }
            PONG => Said::Pong(payload.into()),
            CLOSE => Said::Close(payload.get(..2).map(|c| u16::from_be_bytes([c[0], c[1]]))),
            other => panic!("opcode {other}"),
        });
    }
    said.push(Said::End);
    said
}

/// Connections at a time. Most of a case is the second behind the server's close, in which it waits
/// for the client to close the connection.
const SIDE_BY_SIDE: usize = 64;

/// Sends each case at once and byte by byte, and compares all answers.
async fn check(app: &TestApp, cases: &[(&str, Vec<u8>, Vec<Said>)]) {
    let runs = cases.iter().flat_map(|case| {
        let pieces = if case.1.len() < 300 { 1 } else { 997 };
        [usize::MAX, pieces]
            .map(|chunk| async move { (case, chunk, answers(app.address, &case.1, chunk).await) })
    });
    let mut runs = stream::iter(runs).buffer_unordered(SIDE_BY_SIDE);
    while let Some(((name, _, expected), chunk, said)) = runs.next().await {
        let welcome = Said::Frame("welcome".into());
        let whole: Vec<Said> = [vec![welcome], expected.clone(), vec![Said::End]].concat();
        assert_eq!(said, whole, "{name}, by {chunk}");
    }
}

fn pong() -> Said {
    Said::Frame("pong".into())
}

fn error() -> Said {
    Said::Frame("error".into())
}

fn closed(code: u16) -> Vec<Said> {
    vec![Said::Close(Some(code))]
}

const ASK: &str = r#"{"type":"ping"}"#;

/// Followed by a close, so that the connection ends.
fn then_close(bytes: Vec<u8>) -> Vec<u8> {
    [bytes, close(1000, b"")].concat()
}

fn and_closed(mut said: Vec<Said>) -> Vec<Said> {
    said.extend(closed(1000));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn framing_and_pings() {
    let app = TestApp::start().await;
    let padded = |n: usize| format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(n));
    let mut cases = vec![
        ("1.1.1 empty text", then_close(text("")), and_closed(vec![error()])),
        ("1.2 binary", frame(FIN | BINARY, b"x"), closed(1003)),
        (
            "2.1 empty ping",
            then_close(frame(FIN | PING, b"")),
            and_closed(vec![Said::Pong(vec![])]),
        ),
        (
            "2.4 ping of 125",
            then_close(frame(FIN | PING, &[0xfe; 125])),
            and_closed(vec![Said::Pong(vec![0xfe; 125])]),
        ),
        ("2.5 ping of 126", frame(FIN | PING, &[0xfe; 126]), closed(1002)),
        ("2.7 unasked pong", then_close(frame(FIN | PONG, b"hi")), closed(1000)),
        (
            "2.9 unasked pong, then ping",
            then_close([frame(FIN | PONG, b"hi"), frame(FIN | PING, b"p")].concat()),
            and_closed(vec![Said::Pong(b"p".to_vec())]),
        ),
        (
            "2.10 ten pings",
            then_close((0..10u8).flat_map(|n| frame(FIN | PING, &[n])).collect()),
            and_closed((0..10u8).map(|n| Said::Pong(vec![n])).collect()),
        ),
    ];
    for length in [1, 80, 100, 101, 102, 400, 65_400, 65_512, 65_535, 65_536, 131_072] {
        cases.push(("1.1 lengths", then_close(text(&padded(length))), and_closed(vec![pong()])));
    }
    check(&app, &cases).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_bits_and_opcodes() {
    let app = TestApp::start().await;
    let mut cases = Vec::new();
    for bits in 1..8u8 {
        let reserved = bits << 4;
        cases.push(("3 text", frame(FIN | reserved | TEXT, b"{}"), closed(1002)));
        cases.push(("3 ping", frame(FIN | reserved | PING, b""), closed(1002)));
        cases.push(("3 close", frame(FIN | reserved | CLOSE, b""), closed(1002)));
        let before = [text(ASK), frame(FIN | reserved | TEXT, b"{}"), text(ASK)].concat();
        cases.push((
            "3.2 what came before is answered",
            before,
            [vec![pong()], closed(1002)].concat(),
        ));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        cases.push(("4 opcode", frame(FIN | opcode, b""), closed(1002)));
        let before = [text(ASK), frame(FIN | opcode, b"x"), frame(FIN | PING, b"")].concat();
        cases.push(("4.1.3", before, [vec![pong()], closed(1002)].concat()));
    }
    cases.push(("unmasked", vec![FIN | TEXT, 2, b'{', b'}'], closed(1002)));
    cases.push(("length beyond 63 bits", frame_of(FIN | TEXT, b"", u64::MAX), closed(1002)));
    check(&app, &cases).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments() {
    let app = TestApp::start().await;
    let (one, other) = ASK.as_bytes().split_at(5);
    let whole = [frame(TEXT, one), frame(FIN, other)].concat();
    let apart = [frame(TEXT, one), frame(FIN | PING, b"p"), frame(FIN, other)].concat();
    let answered = and_closed(vec![pong()]);
    let cases = [
        ("5.1 fragmented ping", [frame(PING, b"a"), frame(FIN, b"b")].concat(), closed(1002)),
        ("5.2 fragmented pong", [frame(PONG, b"a"), frame(FIN, b"b")].concat(), closed(1002)),
        ("5.3 two fragments", then_close(whole.clone()), answered.clone()),
        (
            "5.6 a ping between",
            then_close(apart),
            and_closed(vec![Said::Pong(b"p".to_vec()), pong()]),
        ),
        (
            "empty fragments",
            then_close(
                [frame(TEXT, b""), frame(0, one), frame(0, b""), frame(FIN, other)].concat(),
            ),
            answered.clone(),
        ),
        ("5.9 nothing to go on", frame(FIN, b"x"), closed(1002)),
        ("5.10 nothing to go on, not final", frame(0, b"x"), closed(1002)),
        (
            "5.15 a lone continuation behind a message",
            [whole, frame(0, b"x"), text(ASK)].concat(),
            [vec![pong()], closed(1002)].concat(),
        ),
        ("5.18 two texts", [frame(TEXT, one), text(ASK)].concat(), closed(1002)),
        ("binary inside", [frame(TEXT, one), frame(FIN | BINARY, b"x")].concat(), closed(1002)),
        (
            "each byte a fragment",
            then_close(
                ASK.bytes()
                    .enumerate()
                    .flat_map(|(i, byte)| {
                        let fin = if i + 1 == ASK.len() { FIN } else { 0 };
                        frame(fin | if i == 0 { TEXT } else { 0 }, &[byte])
                    })
                    .collect(),
            ),
            answered,
        ),
    ];
    check(&app, &cases).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn utf8_fails_fast() {
    let app = TestApp::start().await;
    let object = |text: &str| format!(r#"{{"type":"ping","x":"{text}"}}"#);
    let mut cases = Vec::new();
    for good in
        ["κόσμε", "\u{80}", "\u{7ff}", "\u{ffff}", "\u{10000}", "\u{10ffff}", "\u{d7ff}\u{e000}"]
    {
        cases.push(("6 valid", then_close(text(&object(good))), and_closed(vec![pong()])));
    }
    let bad: [&[u8]; 14] = [
        b"\x80",
        b"\xbf",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xfe",
        b"\xff",
        b"\xc1\xbf",
        b"\xf5\x80\x80\x80",
    ];
    for bytes in bad {
        let whole = [b"ab", bytes, b"c"].concat();
        cases.push(("6 invalid", frame(FIN | TEXT, &whole), closed(1007)));
        // The rest of the message never comes.
        cases.push(("6.4 fail fast in a fragment", frame(TEXT, &whole), closed(1007)));
        cases.push(("6.4.4 inside a frame", frame_of(FIN | TEXT, &whole, 50_000), closed(1007)));
    }
    cases.push(("6 cut at the end", frame(FIN | TEXT, b"ab\xce"), closed(1007)));
    let halves = [frame(TEXT, b"{\"type\":\"ping\",\"x\":\"\xce"), frame(FIN, b"\xba\"}")].concat();
    cases.push((
        "6.2.3 a character in two fragments",
        then_close(halves),
        and_closed(vec![pong()]),
    ));
    check(&app, &cases).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing() {
    let app = TestApp::start().await;
    let mut cases = vec![
        ("7.1.1 a message, then a close", then_close(text(ASK)), and_closed(vec![pong()])),
        ("7.1.2 two closes", then_close(close(1000, b"")), closed(1000)),
        ("7.1.3 a ping behind", [close(1000, b""), frame(FIN | PING, b"")].concat(), closed(1000)),
        (
            "7.1.5 a close inside a message",
            [frame(TEXT, b"{"), close(1000, b"")].concat(),
            closed(1000),
        ),
        ("7.3.1 no code", frame(FIN | CLOSE, b""), vec![Said::Close(None)]),
        ("7.3.2 half a code", frame(FIN | CLOSE, b"\x03"), closed(1002)),
        ("7.3.5 longest reason", close(1000, &[b'x'; 123]), closed(1000)),
        ("7.3.6 too long", close(1000, &[b'x'; 124]), closed(1002)),
        ("7.5.1 reason is not UTF-8", close(1000, b"\xce\xba\xed\xa0\x80"), closed(1007)),
        ("not final", frame(CLOSE, b""), closed(1002)),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        cases.push(("7.7 valid code", close(code, b""), closed(code)));
    }
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(("7.9 invalid code", close(code, b""), closed(1002)));
    }
    check(&app, &cases).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits() {
    let app = TestApp::with(|config| config.limits.socket.frame_bytes = 4096).await;
    let part = vec![b' '; 4000];
    let cases = [
        ("9 most", then_close(text(&format!("{ASK:4096}"))), and_closed(vec![pong()])),
        ("9 more", text(&format!("{ASK:4097}")), closed(1009)),
        ("9 only claimed", frame_of(FIN | TEXT, b"{", 4097), closed(1009)),
        ("9 gigabytes claimed", frame_of(FIN | TEXT, b"{", 1 << 40), closed(1009)),
        ("9 in parts", [frame(TEXT, &part), frame(0, &part)].concat(), closed(1009)),
    ];
    check(&app, &cases).await;
    app.stop().await;
}
