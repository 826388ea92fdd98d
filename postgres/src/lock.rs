//! One lastword per data directory.
use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use super::error::{EmbeddedError, OnPath};

/// How often a lock that is taken is tried again, and how long after. A process that another thread
/// starts has our files open until it runs its own program, also those that we have just closed.
const TRIES: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(25);

/// The hold on a data directory. The kernel gives it up with the process, however that ends.
#[derive(Debug)]
pub(super) struct DirLock(#[expect(dead_code, reason = "held, never read")] File);

impl DirLock {
    /// Takes hold of `root`, or says who has it.
    pub(super) fn acquire(root: &Path) -> Result<Self, EmbeddedError> {
        let path = root.join("lock");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .on("open", &path)?;
        match hold(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = std::fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                let pid = if pid.is_empty() { "of unknown id".into() } else { pid };
                return Err(EmbeddedError::InUse { dir: root.to_owned(), pid });
            }
            Err(TryLockError::Error(e)) => return Err(e).on("lock", &path),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .on("write", &path)?;
        Ok(Self(file))
    }
}

fn hold(file: &File) -> Result<(), TryLockError> {
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(BETWEEN),
            held => return held,
        }
    }
    file.try_lock()
}
