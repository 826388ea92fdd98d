//! The server as its own process: the one that can be killed.
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

use crate::client::{Client, PATIENCE};

/// `lastword serve`, killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    /// The lines of its start.
    pub(crate) said: Vec<String>,
    _stdout: Lines<BufReader<ChildStdout>>,
    log: Option<Lines<BufReader<ChildStderr>>>,
}

/// The command, on a free port, in `dir`.
pub(crate) fn command(dir: &Path) -> Command {
    command_at(dir, SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// The same at an address: that of an earlier one, whose readers come back to it.
pub(crate) fn command_at(dir: &Path, listen: SocketAddr) -> Command {
    command_of(Path::new(crate::program::path()), dir, listen)
}

/// The same of any build of the program.
pub(crate) fn command_of(program: &Path, dir: &Path, listen: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command.arg("serve").arg("--data-dir").arg(dir).args(["--listen", &listen.to_string()]);
    for name in
        ["DATABASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "ANTHROPIC_API_KEY"]
    {
        command.env_remove(name);
    }
    command
        .env("LASTWORD_NO_DETECT", "true")
        .env("LASTWORD_DATABASE_WAIT_S", "0")
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .stdin(Stdio::null());
    command.kill_on_drop(true);
    command
}

impl Server {
    /// Starts it and waits for its start-up lines.
    pub(crate) async fn start(command: Command) -> Self {
        Self::try_start(command).await.expect("it starts")
    }

    /// The same; `None` if it ends before it serves.
    pub(crate) async fn try_start(mut command: Command) -> Option<Self> {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        let mut address = None;
        while address.is_none() || !said.iter().any(|l: &String| l.contains("model ")) {
            let line = timeout(PATIENCE, stdout.next_line()).await.expect("it starts in time");
            let line = line.unwrap()?;
            if let Some((_, found)) = line.split_once("://").filter(|_| address.is_none()) {
                address = Some(found.parse().unwrap());
            }
            said.push(line);
        }
        let address = address.unwrap();
        let client = Client::new(address);
        Some(Self { child, client, address, said, _stdout: stdout, log: None })
    }

    /// Waits for a line of its log; standard error has to be piped.
    pub(crate) async fn logs(&mut self, text: &str) {
        let log = self.child.stderr.take().map(|log| BufReader::new(log).lines());
        let log = self.log.get_or_insert_with(|| log.expect("piped"));
        loop {
            let line = timeout(PATIENCE, log.next_line()).await.expect("it logs in time");
            if line.unwrap().expect("it goes on").contains(text) {
                return;
            }
        }
    }

    /// Its log from here on; standard error has to be piped.
    pub(crate) fn take_log(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("piped")
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// SIGTERM, and waits until it has ended by itself.
    pub(crate) async fn terminate(mut self) -> std::process::ExitStatus {
        let pid = nix::unistd::Pid::from_raw(self.pid().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        timeout(PATIENCE, self.child.wait()).await.expect("it stops in time").unwrap()
    }
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
