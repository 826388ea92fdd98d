//! A model that follows its prompt, spoken to over a socket in the wires that providers know.
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::{Failure, now_us};

/// The name of its only model.
pub(crate) const MODEL: &str = "bench-model";
/// Its thread's name, by which its CPU time is told apart; the kernel keeps 15 bytes.
pub(crate) const THREAD: &str = "upstream";
/// A request beyond this is refused; bytes.
const REQUEST: usize = 1024 * 1024;

/// A running upstream, until this process ends.
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Upstream {
    /// Starts it on a thread of its own.
    pub(crate) fn start() -> Result<Self, Failure> {
        let (listening, address) = mpsc::sync_channel(1);
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(serve(listening))
        };
        let thread = std::thread::Builder::new().name(THREAD.into());
        thread.spawn(work).map_err(|e| e.to_string())?;
        let address = address.recv().map_err(|_| "the upstream did not start")?;
        Ok(Self { address })
    }
}

async fn serve(listening: mpsc::SyncSender<SocketAddr>) -> io::Result<Infallible> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let _ = listening.send(listener.local_addr()?);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(converse(stream));
        while connections.try_join_next().is_some() {}
    }
}

/// Answers one request after the other, until the other side leaves.
async fn converse(mut stream: TcpStream) -> io::Result<()> {
    let mut read = Vec::new();
    while let Some(request) = next_request(&mut stream, &mut read).await? {
        if request.starts_with("POST") {
            answer(&mut stream, Script::from(request.as_str()), Wire::of(&request)).await?;
        } else {
            let body = format!(
                "{{\"object\":\"list\",\"data\":[{{\"id\":\"{MODEL}\",\"object\":\"model\",\"created\":0,\"owned_by\":\"bench\"}}]}}"
            );
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
            let whole = format!("{head} {}\r\n\r\n{body}", body.len());
            stream.write_all(whole.as_bytes()).await?;
        }
    }
    Ok(())
}

/// Head and body of the next request; `None` when there is none.
async fn next_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(head) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            let fields = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
            let mut lengths = fields.lines().filter_map(|l| l.strip_prefix("content-length:"));
            let length: usize = lengths.next().map_or(Ok(0), |n| n.trim().parse()).unwrap_or(0);
            if read.len() >= head + 4 + length {
                let rest = read.split_off(head + 4 + length);
                let request = std::mem::replace(read, rest);
                return Ok(Some(String::from_utf8_lossy(&request).into_owned()));
            }
        }
        if read.len() > REQUEST || stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

/// The script in the prompt.
struct Script {
    tokens: u64,
    interval: Duration,
    ttft: Duration,
}

impl From<&str> for Script {
    fn from(request: &str) -> Self {
        let number = |name: &str| {
            let rest = request.split_once(name)?.1;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        Self {
            tokens: number(" tokens=").or(number("\"tokens=")).unwrap_or(1),
            interval: Duration::from_secs(1)
                / u32::try_from(number("tps=").unwrap_or(1000).max(1)).unwrap_or(u32::MAX),
            ttft: Duration::from_millis(number("ttft_ms=").unwrap_or(0)),
        }
    }
}

async fn answer(stream: &mut TcpStream, script: Script, wire: Wire) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&wire.begin()).await?;
    let begun = Instant::now() + script.ttft;
    for n in 0..script.tokens {
        let due = begun + script.interval * u32::try_from(n).unwrap_or(u32::MAX);
        if due > Instant::now() {
            sleep_until(due).await;
        }
        stream.write_all(&wire.token(&format!("@{:016} ", now_us()))).await?;
    }
    let mut last = wire.end(script.tokens);
    last.extend(b"0\r\n\r\n");
    stream.write_all(&last).await
}

/// The protocol of a request.
#[derive(Clone, Copy)]
enum Wire {
    Chat,
    Messages,
    Responses,
}

impl Wire {
    fn of(request: &str) -> Self {
        let is = |path: &str| request.starts_with(&format!("POST {path} "));
        if is("/v1/messages") {
            Self::Messages
        } else if is("/v1/responses") {
            Self::Responses
        } else {
            Self::Chat
        }
    }

    fn begin(self) -> Vec<u8> {
        match self {
            Self::Chat => Vec::new(),
            Self::Messages => {
                let usage = r#"{"input_tokens":1,"output_tokens":1}"#;
                let mut begin =
                    event("message_start", &format!(r#","message":{{"usage":{usage}}}"#));
                let block = r#","index":0,"content_block":{"type":"text","text":""}"#;
                begin.extend(event("content_block_start", block));
                begin
            }
            Self::Responses => event("response.created", r#","response":{"id":"resp_bench"}"#),
        }
    }

    fn token(self, text: &str) -> Vec<u8> {
        match self {
            Self::Chat => chunk(&format!("{{\"content\":\"{text}\"}}"), "null"),
            Self::Messages => {
                let delta = format!(r#"{{"type":"text_delta","text":"{text}"}}"#);
                event("content_block_delta", &format!(r#","index":0,"delta":{delta}"#))
            }
            Self::Responses => {
                let place = r#""item_id":"msg_bench","output_index":0,"content_index":0"#;
                let rest = r#""logprobs":[],"sequence_number":4,"obfuscation":"x""#;
                let fields = format!(r#",{place},"delta":"{text}",{rest}"#);
                event("response.output_text.delta", &fields)
            }
        }
    }

    fn end(self, tokens: u64) -> Vec<u8> {
        match self {
            Self::Chat => end_of_chat(tokens),
            Self::Messages => {
                let mut end = event("content_block_stop", r#","index":0"#);
                let usage = format!(r#","usage":{{"output_tokens":{tokens}}}"#);
                let delta = format!(r#","delta":{{"stop_reason":"end_turn"}}{usage}"#);
                end.extend(event("message_delta", &delta));
                end.extend(event("message_stop", ""));
                end
            }
            Self::Responses => {
                let usage = format!(r#"{{"input_tokens":1,"output_tokens":{tokens}}}"#);
                let response = format!(r#","response":{{"status":"completed","usage":{usage}}}"#);
                event("response.completed", &response)
            }
        }
    }
}

/// An event whose name is its type.
fn event(kind: &str, fields: &str) -> Vec<u8> {
    framed(&format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{fields}}}\n\n"))
}

fn end_of_chat(tokens: u64) -> Vec<u8> {
    let usage = format!(
        "data: {{{PREFIX},\"choices\":[],\"usage\":{{\"prompt_tokens\":1,\
         \"completion_tokens\":{0},\"total_tokens\":{1}}}}}\n\n",
        tokens,
        tokens + 1
    );
    let mut last = chunk("{}", "\"stop\"");
    last.extend(framed(&usage));
    last.extend(framed("data: [DONE]\n\n"));
    last
}

const PREFIX: &str = "\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\
                      \"created\":0,\"model\":\"bench-model\"";

fn chunk(delta: &str, finish: &str) -> Vec<u8> {
    framed(&format!(
        "data: {{{PREFIX},\"choices\":[{{\"index\":0,\"delta\":{delta},\
         \"finish_reason\":{finish}}}]}}\n\n"
    ))
}

fn framed(event: &str) -> Vec<u8> {
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}
