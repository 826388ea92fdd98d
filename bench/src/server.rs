//! The server under measurement: started here, ended here, with a data directory of its own.
use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::args::Args;
use crate::{Failure, http};

/// Includes making a PostgreSQL cluster and the migrations.
const READY: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(20);
/// So several may run at a time, each in a directory of its own.
static STARTED: AtomicU64 = AtomicU64::new(0);
/// How much of its log is shown when it fails; bytes.
const LAST_WORDS: usize = 4096;

/// Variables of our environment that would change the measurement.
const UNSET: [&str; 8] = [
    "DATABASE_URL",
    "LASTWORD_CONFIG",
    "LASTWORD_DATA_DIR",
    "LASTWORD_LISTEN",
    "LASTWORD_SIGNALS",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "ANTHROPIC_API_KEY",
];

/// A running `lastword serve`.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Median time of an `fdatasync` of 8 KiB in its data directory, in microseconds: the least
    /// cost of a commit.
    pub(crate) fsync_us: u64,
    /// From its start until it was ready.
    pub(crate) ready_in: Duration,
    child: Child,
    dir: PathBuf,
}

impl Server {
    /// Starts it and waits until it says that it is ready.
    pub(crate) async fn start(args: &Args, upstream: Option<SocketAddr>) -> Result<Self, Failure> {
        Self::start_with(args, upstream, "").await
    }

    /// The same with the text of a configuration file.
    pub(crate) async fn start_with(
        args: &Args,
        upstream: Option<SocketAddr>,
        config: &str,
    ) -> Result<Self, Failure> {
        let n = STARTED.fetch_add(1, Ordering::Relaxed);
        let dir = args.dir.join(format!("lastword-bench-{}-{n}", std::process::id()));
        let address = free_address().map_err(|e| e.to_string())?;
        let mut command = Command::new(&args.binary);
        command.args(["serve", "--listen", &address.to_string(), "--data-dir"]);
        command.arg(dir.join("data")).stdin(Stdio::null());
        quiet(&mut command);
        if let Some(url) = &args.database_url {
            command.args(["--database-url", url]);
        }
        if let Some(upstream) = upstream {
            command.env("OPENAI_BASE_URL", format!("http://{upstream}/v1"));
            command.env("OPENAI_API_KEY", "x");
        }
        let in_dir = |e: std::io::Error| format!("{}: {e}", dir.display());
        let fsync_us = fsync_us_p50(&dir).map_err(in_dir)?;
        let file = dir.join("lastword.toml");
        fs::write(&file, config).map_err(in_dir)?;
        command.arg("--config").arg(file);
        let begun = Instant::now();
        let child = spawn(&mut command, &dir).map_err(|e| {
            let _ = fs::remove_dir_all(&dir);
            format!("cannot start {}: {e}", args.binary.display())
        })?;
        let mut server = Self { address, fsync_us, ready_in: Duration::ZERO, child, dir };
        if let Err(failure) = server.wait_ready(begun).await {
            server.stop(true).await;
            return Err(failure);
        }
        server.ready_in = begun.elapsed();
        Ok(server)
    }

    /// One for as long as `work` takes.
    pub(crate) async fn during<T>(
        args: &Args,
        work: impl AsyncFnOnce(&Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let server = Self::start(args, None).await?;
        let done = work(&server).await;
        server.stop(done.is_err()).await;
        done
    }

    /// One, and one of `args.before` behind it if there is such a build, for as long as `work` takes.
    pub(crate) async fn beside_before<T>(
        args: &Args,
        work: impl AsyncFnOnce(&[Self]) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if args.database_url.is_some() {
            let name = args.scenario.name();
            return Err(format!(
                "{name} measures databases of its own: it goes without --database-url"
            ));
        }
        let before =
            args.before.iter().map(|binary| Args { binary: binary.clone(), ..args.clone() });
        let mut servers = Vec::new();
        for args in std::iter::once(args.clone()).chain(before) {
            servers.push(Self::start(&args, None).await?);
        }
        let done = work(&servers).await;
        for server in servers {
            server.stop(done.is_err()).await;
        }
        done
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its data and its private PostgreSQL are.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Ends it in good order, at most 40 s. Its log is shown if `failed`, then all files are
    /// removed.
    pub(crate) async fn stop(mut self, failed: bool) {
        if let (Ok(pid), Ok(None)) = (i32::try_from(self.child.id()), self.child.try_wait()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < STOP {
            sleep(POLL).await;
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            eprintln!("bench: the server did not stop in {STOP:?}");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if failed {
            eprintln!("bench: the server's last words:\n{}", last_words(&self.dir));
        }
    }

    async fn wait_ready(&mut self, begun: Instant) -> Result<(), Failure> {
        while begun.elapsed() < READY {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the server ended while it started ({status})"));
            }
            if matches!(http::get(self.address, "/readyz").await, Ok((200, _))) {
                return Ok(());
            }
            sleep(POLL).await;
        }
        Err(format!("the server was not ready after {READY:?}"))
    }
}

/// For a measurement that was given up: none of its files stays.
impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Keeps our environment out of a server's.
pub(crate) fn quiet(command: &mut Command) {
    for name in UNSET {
        command.env_remove(name);
    }
}

fn spawn(command: &mut Command, dir: &Path) -> std::io::Result<Child> {
    fs::create_dir_all(dir)?;
    let log = File::create(dir.join("server.log"))?;
    command.stdout(log.try_clone()?).stderr(log).spawn()
}

fn fsync_us_p50(dir: &Path) -> std::io::Result<u64> {
    const ROUNDS: usize = 100;
    fs::create_dir_all(dir)?;
    let mut file = File::create(dir.join("fsync"))?;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        file.write_all(&[0; 8192])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_micros());
    }
    times.sort_unstable();
    Ok(u64::try_from(times[ROUNDS / 2]).unwrap_or(u64::MAX))
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

fn last_words(dir: &Path) -> String {
    let log = fs::read(dir.join("server.log")).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(LAST_WORDS)..]).into_owned()
}
