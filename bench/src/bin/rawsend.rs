//! The least cost of a stream: the bytes of each event in one `write` when it is due, and nothing
//! else.
//!
//! It answers the same starts as the demo model, with the same bytes for an event. One thread sends
//! all of them; another accepts.
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The pause between two checks for due events; timers of tokio have the same grain.
const TICK: Duration = Duration::from_millis(1);
/// Starts that wait to be accepted.
const WAITING: usize = 1024;
/// A start beyond this is cut, bytes; its directives come before that.
const START: usize = 4096;
const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-cache, no-transform\r\nx-accel-buffering: no\r\nx-content-type-options: nosniff\r\n\r\n";

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rawsend: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("port {}", listener.local_addr()?.port());
    let (taken, starts) = sync_channel(WAITING);
    thread::Builder::new().spawn(move || accept(&listener, &taken))?;
    send(&starts);
    Ok(())
}

fn accept(listener: &TcpListener, taken: &SyncSender<Stream>) {
    for stream in listener.incoming().flatten() {
        if let Ok(stream) = Stream::start(stream)
            && taken.send(stream).is_err()
        {
            return;
        }
    }
}

/// Sends the due events, for ever.
fn send(starts: &Receiver<Stream>) {
    // Ordered by the time of the next event, and a number that is unique.
    let (mut due, mut count) = (BTreeMap::new(), 0u64);
    let mut bytes = Bytes::default();
    loop {
        for stream in starts.try_iter() {
            count += 1;
            due.insert((stream.due_us(), count), stream);
        }
        let now = now_us();
        while let Some(first) = due.first_entry()
            && first.key().0 <= now
        {
            let ((_, n), mut stream) = first.remove_entry();
            // A client that has left, or takes nothing, is dropped.
            if matches!(stream.send_next(&mut bytes), Ok(true)) {
                due.insert((stream.due_us(), n), stream);
            }
        }
        thread::sleep(TICK);
    }
}

/// One answer.
struct Stream {
    socket: TcpStream,
    begun_us: u64,
    tokens: u64,
    tps: u64,
    sent: u64,
}

impl Stream {
    /// Reads the start, and sends everything that comes before the first token.
    fn start(mut socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut start = [0; START];
        let read = socket.read(&mut start)?;
        let read_us = now_us();
        let asked = String::from_utf8_lossy(&start[..read]).into_owned();
        let number = |name: &str| directive(&asked, name).unwrap_or(1);
        socket.set_nonblocking(true)?;
        let begun_us = read_us + number("ttft_ms=") * 1000;
        let (tokens, tps) = (number("tokens="), number("tps=").max(1));
        let mut bytes = Bytes::default();
        bytes.chunk.extend_from_slice(HEAD.as_bytes());
        bytes.chunk(b"retry: 1000\n\n")?;
        bytes.event(1, "started", format_args!("\"model\":\"raw\""))?;
        bytes.write_to(&socket)?;
        Ok(Self { socket, begun_us, tokens, tps, sent: 0 })
    }

    /// When the next event is due.
    fn due_us(&self) -> u64 {
        self.begun_us + self.sent * 1_000_000 / self.tps
    }

    /// Whether more events come.
    fn send_next(&mut self, bytes: &mut Bytes) -> io::Result<bool> {
        let seq = self.sent + 2;
        let more = self.sent < self.tokens;
        if more {
            let due = self.due_us();
            bytes.event(seq, "delta", format_args!("\"text\":\"@{due:016} \""))?;
        } else {
            bytes.event(seq, "done", format_args!("\"status\":\"completed\""))?;
            bytes.chunk.extend_from_slice(b"0\r\n\r\n");
        }
        self.sent += 1;
        bytes.write_to(&self.socket)?;
        Ok(more)
    }
}

/// The bytes that go out with one write.
#[derive(Default)]
struct Bytes {
    event: Vec<u8>,
    chunk: Vec<u8>,
}

impl Bytes {
    /// Adds an event as our SSE frames it, in a chunk of HTTP.
    fn event(&mut self, seq: u64, kind: &str, rest: std::fmt::Arguments<'_>) -> io::Result<()> {
        let mut event = std::mem::take(&mut self.event);
        event.clear();
        write!(event, "event: {kind}\ndata: ")?;
        write!(event, "{{\"seq\":{seq},\"type\":\"{kind}\",{rest}}}\nid: {seq}\n\n")?;
        self.chunk(&event)?;
        self.event = event;
        Ok(())
    }

    fn chunk(&mut self, data: &[u8]) -> io::Result<()> {
        write!(self.chunk, "{:X}\r\n", data.len())?;
        self.chunk.extend_from_slice(data);
        self.chunk.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// All of it at once, or it is an error: a reader that is so far behind has failed.
    fn write_to(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        let written = socket.write(&self.chunk);
        let whole = written.as_ref().is_ok_and(|n| *n == self.chunk.len());
        self.chunk.clear();
        if whole { Ok(()) } else { Err(written.err().unwrap_or(io::ErrorKind::WouldBlock.into())) }
    }
}

/// The number behind `name` in the prompt.
fn directive(asked: &str, name: &str) -> Option<u64> {
    let (_, rest) = asked.split_once(name)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// Microseconds since 1970.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use lastword::domain::entry::Entry;
    use lastword::domain::event::Event;
    use lastword::domain::id::Seq;
    use lastword::http::frame::sse;

    use super::*;

    #[test]
    fn an_event_has_the_bytes_of_the_real_server() {
        let text = "@0001760000000000 ";
        let entry = Entry::encode(Seq(17), &Event::Delta { text: text.into() });
        let real = sse(&[entry]);
        let mut bytes = Bytes::default();
        bytes.event(17, "delta", format_args!("\"text\":\"{text}\"")).unwrap();
        let chunk = format!("{:X}\r\n{}\r\n", real.len(), String::from_utf8_lossy(&real));
        assert_eq!(String::from_utf8_lossy(&bytes.chunk), chunk);
    }

    #[test]
    fn the_directives_of_a_start_are_found() {
        let asked = r#"{"prompt":"/demo tokens=300 tps=50 ttft_ms=7 stamp"}"#;
        let found = ["tokens=", "tps=", "ttft_ms=", "seed="].map(|name| directive(asked, name));
        assert_eq!(found, [Some(300), Some(50), Some(7), None]);
    }
}
