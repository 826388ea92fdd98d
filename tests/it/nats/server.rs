//! A NATS server of a test's own, which can be killed, suspended and started again.
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::eventually::eventually;

pub(crate) struct NatsServer {
    process: Option<Child>,
    dir: TempDir,
    /// More lines of its file.
    lines: String,
    address: SocketAddr,
    /// Where others of its cluster connect to.
    routes: Option<String>,
}

impl NatsServer {
    pub(crate) async fn start() -> Self {
        Self::configured("").await
    }

    /// With more lines in its file. At a port that it chose itself: nobody else can have it.
    pub(crate) async fn configured(lines: &str) -> Self {
        Self::in_dir(TempDir::new().unwrap(), lines).await
    }

    /// The same, with files of its own beside its configuration.
    pub(crate) async fn in_dir(dir: TempDir, lines: &str) -> Self {
        let lines = lines.to_owned();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let routes = None;
        let mut server = Self { process: None, dir, lines, address, routes };
        server.spawn("-1");
        let pid = server.process.as_ref().unwrap().id();
        let file = server.dir.path().join(format!("nats-server_{pid}.ports"));
        let mut ports = serde_json::Value::Null;
        eventually("it says its port", async || {
            // Read while it is being written, it is no JSON yet.
            let text = fs::read_to_string(&file).unwrap_or_default();
            ports = serde_json::from_str(&text).unwrap_or_default();
            ports["nats"][0].is_string()
        })
        .await;
        let url = ports["nats"][0].as_str().unwrap();
        // With TLS it says `tls://`.
        server.address = url.split_once("://").unwrap().1.parse().unwrap();
        server.routes = ports["cluster"][0].as_str().map(str::to_owned);
        server
    }

    /// Starts it again, at the same address.
    pub(crate) async fn again(&mut self) {
        self.spawn(&self.address.port().to_string());
        let address = self.address;
        // Borrows nothing: `make chaos` spawns it.
        eventually("it listens", async move || TcpStream::connect(address).await.is_ok()).await;
    }

    fn spawn(&mut self, port: &str) {
        let dir = self.dir.path();
        let file = format!(
            "host: 127.0.0.1\nport: {port}\nports_file_dir: \"{0}\"\nlog_file: \"{0}/log\"\n{1}\n",
            dir.display(),
            self.lines
        );
        fs::write(dir.join("file"), file).unwrap();
        let process = Command::new("nats-server")
            .arg("-c")
            .arg(dir.join("file"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("nats-server: {e}: run scripts/setup test"));
        self.process = Some(process);
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn routes(&self) -> &str {
        self.routes.as_deref().expect("it is one of a cluster")
    }

    /// Waits for a line of its log.
    pub(crate) async fn logs(&self, text: &str) {
        let file = self.dir.path().join("log");
        let logged = async {
            while !fs::read_to_string(&file).unwrap_or_default().contains(text) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, logged).await.unwrap_or_else(|_| panic!("it logs {text}"));
    }

    /// Killed: its connections end.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Suspended: connections stay, and nothing comes out of them.
    pub(crate) fn suspend(&self) {
        self.send(Signal::SIGSTOP);
    }

    pub(crate) fn resume(&self) {
        self.send(Signal::SIGCONT);
    }

    fn send(&self, signal: Signal) {
        let pid = self.process.as_ref().unwrap().id().try_into().unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Publishes as a stranger with access to the server; returns when the server has taken it.
    pub(crate) async fn publish(&self, subject: &str, message: &[u8]) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = message.len();
        let head = format!("CONNECT {{\"verbose\":false}}\r\nPUB {subject} {length}\r\n");
        let all = [head.as_bytes(), message, b"\r\nPING\r\n"].concat();
        stream.write_all(&all).await.unwrap();
        let mut heard = Vec::new();
        let taken = async {
            while !heard.windows(4).any(|piece| piece == b"PONG") {
                assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "it hangs up");
            }
        };
        timeout(PATIENCE, taken).await.expect("NATS answers");
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
