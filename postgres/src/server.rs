//! The server process: starting it, knowing when it is ready, ending it.
use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use super::account::Account;
use super::binaries::Binaries;
use super::error::{EmbeddedError, OnPath};
use super::layout::Layout;

/// Fast, then immediate, then not to be refused; each with the time that it gets.
pub(super) const SHUTDOWN: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(20)),
    (Signal::SIGQUIT, Duration::from_secs(6)),
    (Signal::SIGKILL, Duration::from_secs(4)),
];
/// A recovery from a crash with `max_wal_size` of log takes seconds, on a slow disk more.
const READY_SECONDS: u64 = 60;
const POLL: Duration = Duration::from_millis(2);
/// A log beyond this size is begun anew at the next start; bytes.
const LOG_LIMIT: u64 = 10 * 1024 * 1024;
/// How much of the log an error shows; lines.
const LAST_WORDS: usize = 12;

/// The settings that the promises rest on: no file and no `ALTER SYSTEM` can change them.
const FIXED: [&str; 7] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "fsync=on",
    "full_page_writes=on",
    "synchronous_commit=on",
    "logging_collector=off",
    "log_destination=stderr",
];

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// Dropped last: it lets the thread go whose end would end the server.
    _guard: mpsc::SyncSender<Infallible>,
}

impl Server {
    /// Starts the server and waits until it accepts connections.
    pub(super) fn start(
        layout: &Layout,
        account: &Account,
        bin: &Binaries,
    ) -> Result<Self, EmbeddedError> {
        let log = open_log(&layout.log).on("open", &layout.log)?;
        let from = log.metadata().on("look at", &layout.log)?.len();
        let mut command = bin.command("postgres");
        command.arg("-D").arg(&layout.data).arg("-k").arg(&layout.run);
        command.args(FIXED.iter().flat_map(|setting| ["-c", setting]));
        command.current_dir(&layout.data);
        command.stdout(log.try_clone().on("open", &layout.log)?).stderr(log);
        // Ctrl-C is for us; the server goes when we tell it to.
        command.process_group(0);
        account.apply(&mut command);
        die_with_us(&mut command);
        let mut server = Self::spawn(command).on("start the server on", &layout.data)?;
        server.wait_ready(layout, from)?;
        Ok(server)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn has_exited(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The death signal comes when the *thread* that forked ends, so one is kept for it.
    fn spawn(mut command: Command) -> io::Result<Self> {
        let (born, child) = mpsc::sync_channel(1);
        let (guard, released) = mpsc::sync_channel::<Infallible>(1);
        thread::Builder::new().name("postgres-guard".into()).spawn(move || {
            let _ = born.send(command.spawn());
            let _ = released.recv();
        })?;
        let child = child.recv().map_err(io::Error::other)??;
        Ok(Self { child, _guard: guard })
    }

    fn wait_ready(&mut self, layout: &Layout, log_from: u64) -> Result<(), EmbeddedError> {
        let begun = Instant::now();
        let log = || last_words(&layout.log, log_from);
        loop {
            if let Some(status) = self.child.try_wait().on("watch", &layout.data)? {
                return Err(EmbeddedError::Exited { status: status.to_string(), log: log() });
            }
            if is_ready(&layout.data.join("postmaster.pid"), self.pid()) && layout.answers() {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(READY_SECONDS) {
                return Err(EmbeddedError::NotReady { seconds: READY_SECONDS, log: log() });
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Ok(pid) = i32::try_from(self.child.id()) else { return };
        for (signal, patience) in SHUTDOWN {
            // Until it is waited for, nobody else can get this number.
            if self.has_exited() {
                return;
            }
            let _ = kill(Pid::from_raw(pid), signal);
            let begun = Instant::now();
            while begun.elapsed() < patience {
                if self.has_exited() {
                    return;
                }
                thread::sleep(POLL);
            }
        }
    }
}

/// Whether the file names our server and says `ready` in its eighth line.
fn is_ready(postmaster_pid: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(postmaster_pid) else { return false };
    let mut lines = text.lines().map(str::trim);
    lines.next() == Some(&pid.to_string()) && lines.nth(6) == Some("ready")
}

fn open_log(path: &Path) -> io::Result<File> {
    let log = File::options().create(true).append(true).mode(0o600).open(path)?;
    if log.metadata()?.len() > LOG_LIMIT {
        log.set_len(0)?;
    }
    Ok(log)
}

/// The last lines of what the log got since it was `from` bytes long.
fn last_words(path: &Path, from: u64) -> String {
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(LOG_LIMIT).read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    let text = read().map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
}

/// Has the kernel tell the child to end when we do, even by `kill -9`.
#[cfg(target_os = "linux")]
pub(super) fn die_with_us(command: &mut Command) {
    let parent = nix::unistd::getpid();
    // Runs after the change of user, which would clear the signal.
    let hook = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGINT)?;
        // A parent that died before the line above sends no signal.
        if nix::unistd::getppid() != parent {
            return Err(nix::errno::Errno::ESRCH.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec the hook makes two system calls and neither allocates nor
    // locks.
    #[expect(unsafe_code, reason = "there is no safe way to set a child's death signal")]
    unsafe {
        command.pre_exec(hook);
    }
}

/// Elsewhere a server may outlive us; the next start ends it.
#[cfg(not(target_os = "linux"))]
pub(super) fn die_with_us(_command: &mut Command) {}
