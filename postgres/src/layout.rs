//! Where things are in the data directory.
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::account::Account;
use super::error::{EmbeddedError, OnPath};

/// The cluster, as seen from the data directory.
pub(super) const DATA: &str = "postgres/data";
/// Only part of the socket's name: nothing listens on TCP.
pub(super) const PORT: u16 = 5432;
const SOCKET: &str = ".s.PGSQL.5432";
/// Bytes of a socket's path that the kernel takes, without the closing zero.
const SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// Not `TMPDIR`, which may differ between `serve` and a tool that looks for its socket.
const TEMPORARY: &str = "/tmp";

/// The paths of one private cluster.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The data directory, absolute and without symbolic links.
    pub(super) root: PathBuf,
    /// All of the private PostgreSQL's.
    pub(super) base: PathBuf,
    /// The cluster.
    pub(super) data: PathBuf,
    /// The socket's directory.
    pub(super) run: PathBuf,
    /// The server's log.
    pub(super) log: PathBuf,
}

impl Layout {
    /// The paths in the existing directory `data_dir`.
    pub(super) fn of(data_dir: &Path) -> io::Result<Self> {
        let root = data_dir.canonicalize()?;
        let base = root.join("postgres");
        let run = short_enough(base.join("run"), &root);
        Ok(Self { data: root.join(DATA), log: base.join("postgres.log"), root, base, run })
    }

    /// Makes what is missing of `data_dir` and of its parents.
    pub(super) fn make(data_dir: &Path, account: &Account) -> Result<Self, EmbeddedError> {
        // The server's user must get through, whatever root's umask is, but need not look around.
        let mode = match account {
            Account::Own => 0o700,
            Account::Other { .. } => 0o711,
        };
        let absolute = std::path::absolute(data_dir).on("find", data_dir)?;
        make_all(&absolute, mode)?;
        let layout = Self::of(&absolute).on("find", &absolute)?;
        layout.open_root(account)?;
        make_all(&layout.base, mode)?;
        Ok(layout)
    }

    /// Makes the socket's directory, closed to others, and gives what the server writes to its
    /// user.
    pub(super) fn own(&self, account: &Account) -> Result<(), EmbeddedError> {
        if let Err(e) = DirBuilder::new().mode(0o700).create(&self.run)
            && e.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(e).on("make", &self.run);
        }
        if self.run.starts_with(&self.base) {
            let mode = Permissions::from_mode(0o700);
            fs::set_permissions(&self.run, mode).on("protect", &self.run)?;
        } else {
            self.check_shared(account)?;
        }
        account.give(&self.run)?;
        if self.data.exists() { account.give(&self.data) } else { Ok(()) }
    }

    /// In a shared temporary directory somebody else may have been there before us.
    fn check_shared(&self, account: &Account) -> Result<(), EmbeddedError> {
        let meta = self.run.symlink_metadata().on("look at", &self.run)?;
        let ours = [account.uid(), nix::unistd::Uid::effective().as_raw()].contains(&meta.uid());
        if meta.is_dir() && ours && meta.mode() & 0o777 == 0o700 {
            return Ok(());
        }
        let wanted = self.base.join("run");
        Err(EmbeddedError::SocketDirectory { wanted, used: self.run.clone() })
    }

    /// The socket itself.
    fn socket(&self) -> PathBuf {
        self.run.join(SOCKET)
    }

    /// Whether a server accepts connections here.
    pub(super) fn answers(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok()
    }

    /// A data directory that is ours alone lets the server's user through.
    fn open_root(&self, account: &Account) -> Result<(), EmbeddedError> {
        let meta = self.root.metadata().on("look at", &self.root)?;
        let mut entries = fs::read_dir(&self.root).on("read", &self.root)?;
        let ours = meta.uid() == 0 && (self.base.is_dir() || entries.next().is_none());
        match account {
            Account::Other { .. } if ours && meta.mode() & 0o001 == 0 => {
                let mode = Permissions::from_mode(meta.mode() & 0o7777 | 0o001);
                fs::set_permissions(&self.root, mode).on("open", &self.root)
            }
            Account::Other { .. } | Account::Own => Ok(()),
        }
    }
}

fn short_enough(run: PathBuf, root: &Path) -> PathBuf {
    if run.join(SOCKET).as_os_str().len() <= SOCKET_PATH {
        return run;
    }
    let hash = Sha256::digest(root.as_os_str().as_bytes());
    let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Path::new(TEMPORARY).join(format!("lastword-{name}"))
}

/// Like `mkdir -p`, with `mode` on each that it makes.
fn make_all(dir: &Path, mode: u32) -> Result<(), EmbeddedError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        make_all(parent, mode)?;
    }
    fs::create_dir(dir).on("make", dir)?;
    fs::set_permissions(dir, Permissions::from_mode(mode)).on("protect", dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_gets_a_short_socket_and_always_the_same() {
        let root = Path::new("/srv").join("x".repeat(120));
        let run = short_enough(root.join("postgres/run"), &root);
        assert!(run.starts_with(TEMPORARY) && run.join(SOCKET).as_os_str().len() <= SOCKET_PATH);
        assert_eq!(run, short_enough(root.join("postgres/run"), &root));
        let short = PathBuf::from("/srv/postgres/run");
        assert_eq!(short_enough(short.clone(), Path::new("/srv")), short);
    }
}
