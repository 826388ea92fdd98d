//! The server of a predecessor that was killed: it is on its way out, but may still be there.
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use super::error::{EmbeddedError, OnPath};
use super::server::SHUTDOWN;

const POLL: Duration = Duration::from_millis(5);

/// Waits until no server uses the cluster `data`, pressing harder with time.
///
/// The caller holds the data directory's lock, so such a server has lost its parent.
pub(super) fn clear(data: &Path) -> Result<(), EmbeddedError> {
    let file = data.join("postmaster.pid");
    let Some(postmaster) = named_in(&file) else { return Ok(()) };
    for (signal, patience) in SHUTDOWN {
        let running = servers_on(data, postmaster);
        // A worker takes the polite signal for something else; only the first process gets it.
        for pid in running.iter().filter(|pid| signal != Signal::SIGINT || **pid == postmaster) {
            let _ = kill(*pid, signal);
        }
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if servers_on(data, postmaster).is_empty() {
                return remove_misleading(&file);
            }
            std::thread::sleep(POLL);
        }
    }
    let running = servers_on(data, postmaster);
    let pids = running.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(EmbeddedError::Leftover { dir: data.to_owned(), pids })
}

/// The first line of a `postmaster.pid`.
pub(super) fn named_in(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    // Negative in a single-user server's file.
    text.lines().next()?.trim().parse::<i32>().ok().map(|pid| Pid::from_raw(pid.abs()))
}

/// After a reboot or in a new container the old number may be somebody else's, and PostgreSQL
/// would not start. It has this check for a live predecessor, which we have just ruled out.
fn remove_misleading(file: &Path) -> Result<(), EmbeddedError> {
    match named_in(file).map(|pid| kill(pid, None)) {
        None | Some(Err(Errno::ESRCH)) => Ok(()),
        Some(Ok(()) | Err(_)) => fs::remove_file(file).on("remove", file),
    }
}

/// The processes that work on the cluster: all of them have it as their working directory, those
/// that outlived their first process, too.
#[cfg(target_os = "linux")]
fn servers_on(data: &Path, _postmaster: Pid) -> Vec<Pid> {
    let Ok(data) = data.canonicalize() else { return Vec::new() };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let cwd = fs::read_link(entry.path().join("cwd")).ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            (cwd == data && name.trim() == "postgres").then_some(Pid::from_raw(pid))
        })
        .collect()
}

/// Without `/proc` only the first process is known, and only by its name.
#[cfg(not(target_os = "linux"))]
fn servers_on(_data: &Path, postmaster: Pid) -> Vec<Pid> {
    let mut ps = std::process::Command::new("/bin/ps");
    let out = ps.args(["-o", "comm=", "-p", &postmaster.to_string()]).output();
    let is_server = out.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("postgres"));
    if is_server { vec![postmaster] } else { Vec::new() }
}
