//! Tokens for peers that have no model: each channel is posted to, in time, over a connection of
//! its own.
use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::{Failure, now_us};

/// The request that is posted, and its address.
#[derive(Clone)]
pub(crate) struct Publish {
    pub(crate) address: SocketAddr,
    /// One for each channel.
    pub(crate) paths: Vec<String>,
    /// Further fields of the requests' heads, each with its line's end.
    pub(crate) fields: &'static str,
    pub(crate) tokens: u64,
    pub(crate) tps: u64,
    /// Before the first token.
    pub(crate) lead: Duration,
}

impl Publish {
    /// Begins on a thread of its own, so that no reading delays it. Joined, it returns the number
    /// of posts that failed.
    pub(crate) fn start(self) -> Result<JoinHandle<Result<(), Failure>>, Failure> {
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|e| e.to_string())?.block_on(self.all())
        };
        let thread = std::thread::Builder::new().name(crate::upstream::THREAD.into());
        thread.spawn(work).map_err(|e| e.to_string())
    }

    async fn all(self) -> Result<(), Failure> {
        let begun = Instant::now() + self.lead;
        let begun_us = now_us() + u64::try_from(self.lead.as_micros()).unwrap_or_default();
        let mut channels = JoinSet::new();
        for channel in 0..self.paths.len() {
            // Born evenly spread, as ours are.
            let phase_ms = channel as u64 * 7 % (1000 / self.tps).max(1);
            let phase = Duration::from_millis(phase_ms);
            channels.spawn(self.clone().channel(
                channel,
                begun + phase,
                begun_us + phase_ms * 1000,
            ));
        }
        while let Some(joined) = channels.join_next().await {
            joined.map_err(|e| e.to_string())?.map_err(|e| format!("a post failed: {e}"))?;
        }
        Ok(())
    }

    async fn channel(self, channel: usize, begun: Instant, begun_us: u64) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut answer = Vec::new();
        for n in 0..self.tokens {
            let after_us = n * 1_000_000 / self.tps;
            sleep_until(begun + Duration::from_micros(after_us)).await;
            // The time at which it was due: a late post is seen to be late.
            let body = format!(
                r#"{{"seq":{},"type":"delta","text":"@{:016} "}}"#,
                n + 2,
                begun_us + after_us
            );
            let head = format!(
                "POST {} HTTP/1.1\r\nHost: bench\r\n{}Content-Length: {}\r\n\r\n{body}",
                self.paths[channel],
                self.fields,
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            answered(&mut stream, &mut answer).await?;
        }
        Ok(())
    }
}

/// Reads one answer, whose body is as long as its head says.
async fn answered(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<()> {
    loop {
        if let Some(head) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            let fields = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
            if !fields.starts_with("http/1.1 2") {
                return Err(io::Error::other(fields.lines().next().unwrap_or_default().to_owned()));
            }
            let mut lengths = fields.lines().filter_map(|l| l.strip_prefix("content-length:"));
            let length: usize = lengths.next().and_then(|n| n.trim().parse().ok()).unwrap_or(0);
            if read.len() >= head + 4 + length {
                read.drain(..head + 4 + length);
                return Ok(());
            }
        }
        if stream.read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
