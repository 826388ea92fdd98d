//! Kills the server under test and starts it again, by commands of its owner.
use std::future::Future;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::args::Run;

/// A kill or a start in progress.
pub(crate) type Doing<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// How the server is killed and started.
pub(crate) trait Hooks: Send + Sync {
    fn kill(&self) -> Doing<'_>;
    /// Done when the server can be reached again.
    fn start(&self) -> Doing<'_>;
    /// The server's process, if it is known.
    fn pid(&self) -> Option<u32> {
        None
    }
}

/// The resident memory of a process and its children, in KiB; none where `/proc` does not say it.
pub(crate) fn memory(pid: u32) -> Option<u64> {
    let status = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/status")).ok();
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let mut sum = field(&status(pid)?, "VmRSS:")?;
    let pids = std::fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let all: Vec<(u32, u64, u64)> = pids
        .filter_map(|pid| {
            let text = status(pid)?;
            Some((pid, field(&text, "PPid:")?, field(&text, "VmRSS:").unwrap_or_default()))
        })
        .collect();
    let mut family = vec![u64::from(pid)];
    while let Some(parent) = family.pop() {
        for (child, _, kib) in all.iter().filter(|(_, of, _)| *of == parent) {
            sum += kib;
            family.push(u64::from(*child));
        }
    }
    Some(sum)
}

/// Hooks that are shell commands, or a process id at first.
pub(crate) struct Commands {
    kill: Option<String>,
    start: String,
    /// `host:port` of the server.
    reached_at: String,
    /// A server has this much time to start, and to be gone.
    within: Duration,
    pid: Mutex<Option<u32>>,
    /// The process that `start` left running.
    child: Mutex<Option<Child>>,
}

fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell
}

impl Commands {
    pub(crate) fn new(run: &Run, start: String) -> Self {
        let target = &run.target[0];
        let url = reqwest::Url::parse(target).ok();
        let host = |url: &reqwest::Url| {
            Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
        };
        let reached_at = url.as_ref().and_then(host).unwrap_or_default();
        Self {
            kill: run.kill.clone(),
            start,
            reached_at,
            within: Duration::from_secs(run.load.start_within_s),
            pid: Mutex::new(run.pid),
            child: Mutex::new(None),
        }
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
    fn pid(&self) -> Option<u32> {
        self.victim()
    }

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
            let by = Instant::now() + self.within;
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
            let by = Instant::now() + self.within;
            while !self.reached().await {
                if Instant::now() > by {
                    return Err(format!("the server was not back within {:?}", self.within));
                }
                sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        })
    }
}
