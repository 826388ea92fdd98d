//! Kills the server under test and starts it again, by commands of its owner.
use std::future::Future;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// A kill or a start in progress.
pub(crate) type Doing<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// How the server is killed and started.
pub(crate) trait Hooks: Send + Sync {
    fn kill(&self) -> Doing<'_>;
    /// Done when the server can be reached again.
    fn start(&self) -> Doing<'_>;
}

/// Hooks that are shell commands, or a process id at first.
pub(crate) struct Commands {
    kill: Option<String>,
    start: String,
    /// `host:port` of the server.
    reached_at: String,
    pid: Mutex<Option<u32>>,
    /// What `start` left running.
    child: Mutex<Option<Child>>,
}

/// A server has this much time to start.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell
}

impl Commands {
    pub(crate) fn new(kill: Option<String>, pid: Option<u32>, start: String, target: &str) -> Self {
        let authority = target.split("://").nth(1).unwrap_or(target);
        let reached_at = authority.split('/').next().unwrap_or(authority).to_owned();
        Self { kill, start, reached_at, pid: Mutex::new(pid), child: Mutex::new(None) }
    }

    fn victim(&self) -> Option<u32> {
        let child = self.child.lock().ok()?.as_ref().and_then(Child::id);
        child.or(*self.pid.lock().ok()?)
    }

    async fn reached(&self) -> bool {
        TcpStream::connect(&self.reached_at).await.is_ok()
    }
}

impl Hooks for Commands {
    fn kill(&self) -> Doing<'_> {
        Box::pin(async move {
            let command = match (&self.kill, self.victim()) {
                (Some(command), _) => command.clone(),
                (None, Some(pid)) => format!("kill -9 {pid}"),
                (None, None) => return Err("nothing to kill: --kill or --pid".into()),
            };
            let status = shell(&command).status().await.map_err(|error| error.to_string())?;
            if !status.success() {
                return Err(format!("`{command}` ended with {status}"));
            }
            let by = Instant::now() + STARTS_WITHIN;
            while self.reached().await {
                if Instant::now() > by {
                    return Err("the server still answers after it was killed".into());
                }
                sleep(Duration::from_millis(10)).await;
            }
            let child = self.child.lock().ok().and_then(|mut child| child.take());
            if let Some(mut child) = child {
                let _ = tokio::time::timeout(Duration::from_secs(2), child.wait()).await;
            }
            Ok(())
        })
    }

    fn start(&self) -> Doing<'_> {
        Box::pin(async move {
            let child = shell(&self.start).spawn().map_err(|error| error.to_string())?;
            if let Ok(mut slot) = self.child.lock() {
                *slot = Some(child);
            }
            let by = Instant::now() + STARTS_WITHIN;
            while !self.reached().await {
                if Instant::now() > by {
                    return Err("the server was not back within 60 s".into());
                }
                sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        })
    }
}
