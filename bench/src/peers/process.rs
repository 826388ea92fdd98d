//! A peer's process: started here, ended with its owner.
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::Failure;

const POLL: Duration = Duration::from_millis(20);
/// The time that one gets to end by itself.
const STOP: Duration = Duration::from_secs(5);

/// A running peer. Dropping it ends it.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `dir`.
    pub(crate) fn start(name: &str, command: &mut Command, dir: &Path) -> Result<Self, Failure> {
        let cannot = |e: std::io::Error| format!("cannot start {name}: {e}");
        fs::create_dir_all(dir).map_err(cannot)?;
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).map_err(cannot)?;
        let err = file.try_clone().map_err(cannot)?;
        let child =
            command.stdin(Stdio::null()).stdout(file).stderr(err).spawn().map_err(cannot)?;
        Ok(Self { name: name.into(), child, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a process listens on `address`.
    pub(crate) async fn listening(
        &mut self,
        address: SocketAddr,
        wait: Duration,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            self.patience(begun, wait)?;
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits for the line `port N` in its output.
    pub(crate) async fn port(&mut self, wait: Duration) -> Result<SocketAddr, Failure> {
        let begun = Instant::now();
        loop {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            let whole = said.lines().filter(|_| said.ends_with('\n'));
            let port = whole.filter_map(|l| l.strip_prefix("port ")?.parse::<u16>().ok()).next();
            if let Some(port) = port {
                return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
            }
            self.patience(begun, wait)?;
            sleep(POLL).await;
        }
    }

    fn patience(&mut self, begun: Instant, wait: Duration) -> Result<(), Failure> {
        let ended = self.child.try_wait().ok().flatten();
        if ended.is_none() && begun.elapsed() < wait {
            return Ok(());
        }
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(3).collect();
        let how = ended.map_or(format!("was not ready in {wait:?}"), |s| format!("ended ({s})"));
        Err(format!("{} {how}: {}", self.name, last.join(" | ")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let begun = std::time::Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < STOP {
            std::thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory for the files of peers, which is removed with its owner.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Below `dir`, of this process and for `name` alone.
    pub(crate) fn new(dir: &Path, name: &str) -> Result<Self, Failure> {
        let path = dir.join(format!("lastword-bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An address that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| e.to_string())?;
    listener.local_addr().map_err(|e| e.to_string())
}
