//! A stranger on a NATS server: hears what goes to a subject, and can say it again.
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::server::NatsServer;
use crate::client::PATIENCE;

/// A subscription.
pub(super) struct Tap {
    stream: TcpStream,
    heard: Vec<u8>,
    prefix: String,
}

impl Tap {
    /// Hears everything below `prefix` from now on.
    pub(super) async fn on(server: &NatsServer, prefix: &str) -> Self {
        let stream = TcpStream::connect(server.address()).await.unwrap();
        let mut tap = Self { stream, heard: Vec::new(), prefix: prefix.to_owned() };
        let words = format!("CONNECT {{\"verbose\":false}}\r\nSUB {prefix}.> 1\r\nPING\r\n");
        tap.stream.write_all(words.as_bytes()).await.unwrap();
        while tap.line().await != "PONG" {}
        tap
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The next message, with its subject.
    pub(super) async fn message(&mut self) -> (String, Vec<u8>) {
        loop {
            let line = self.line().await;
            let mut words = line.split(' ');
            match words.next() {
                Some("MSG") => {
                    let subject = words.next().unwrap().to_owned();
                    let length = words.next_back().unwrap().parse().unwrap();
                    return (subject, self.bytes(length).await);
                }
                Some("PING") => self.stream.write_all(b"PONG\r\n").await.unwrap(),
                _ => {}
            }
        }
    }

    async fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.heard.len() < length + 2 {
            self.more().await;
        }
        let rest = self.heard.split_off(length + 2);
        let mut message = std::mem::replace(&mut self.heard, rest);
        message.truncate(length);
        message
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.heard.windows(2).position(|pair| pair == b"\r\n") {
                let rest = self.heard.split_off(at + 2);
                let line = std::mem::replace(&mut self.heard, rest);
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            self.more().await;
        }
    }

    async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.heard);
        assert!(timeout(PATIENCE, read).await.expect("NATS says more").unwrap() > 0, "it hangs up");
    }
}
