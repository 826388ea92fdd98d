//! The account that runs the server: PostgreSQL refuses to run as root.
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User};

use super::binaries::Binaries;
use super::error::{EmbeddedError, OnPath};

/// Whom root steps down to, in this order.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The user that the server runs as.
#[derive(Clone, Debug)]
pub(super) enum Account {
    /// The one that we run as ourselves.
    Own,
    /// We are root, and the server runs as this one.
    Other {
        /// For messages: a name, or a number without one.
        name: String,
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
}

impl Account {
    /// The owner of the cluster in `data`, else the best account for a new cluster.
    pub(super) fn choose(data: &Path) -> Result<Self, EmbeddedError> {
        let owned = data.metadata().ok();
        if !Uid::effective().is_root() {
            return match owned {
                Some(meta) if meta.uid() != Uid::effective().as_raw() => {
                    let owner = name_of(meta.uid());
                    Err(EmbeddedError::ForeignOwner { dir: data.to_owned(), owner })
                }
                Some(_) | None => Ok(Self::Own),
            };
        }
        if let Some(meta) = owned.filter(|meta| meta.uid() != 0) {
            return Ok(Self::Other { name: name_of(meta.uid()), uid: meta.uid(), gid: meta.gid() });
        }
        let user = UNPRIVILEGED.iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = user.ok_or(EmbeddedError::NoAccount)?;
        Ok(Self::Other { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    }

    /// Makes `command` run as this user, and without root's groups.
    pub(super) fn apply(&self, command: &mut Command) {
        match self {
            Self::Own => {}
            Self::Other { uid, gid, .. } => {
                command.uid(*uid).gid(*gid);
            }
        }
    }

    /// The user id.
    pub(super) fn uid(&self) -> u32 {
        match self {
            Self::Own => Uid::effective().as_raw(),
            Self::Other { uid, .. } => *uid,
        }
    }

    /// Gives `path` with all that is in it to this user, if it is not theirs.
    pub(super) fn give(&self, path: &Path) -> Result<(), EmbeddedError> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid, .. } => {
                if path.symlink_metadata().is_ok_and(|meta| meta.uid() == *uid) {
                    return Ok(());
                }
                chown_all(path, *uid, *gid).on("change the owner of", path)
            }
        }
    }

    /// Fails with the directory above `dir` that does not let this user through, if one does not.
    pub(super) fn check_reaches(&self, dir: &Path, bin: &Binaries) -> Result<(), EmbeddedError> {
        match self {
            Self::Own => Ok(()),
            Self::Other { name, uid, gid } => {
                let Some(parent) = blocked_at(dir, *uid, *gid) else { return Ok(()) };
                // Mode bits are not all (there are access lists): only a real try decides.
                let mut probe = bin.command("postgres");
                probe.arg("--version").current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
                self.apply(&mut probe);
                match probe.status() {
                    Ok(_) => Ok(()),
                    Err(_) => Err(EmbeddedError::Blocked { account: name.clone(), parent }),
                }
            }
        }
    }
}

fn name_of(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

fn chown_all(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            chown_all(&entry?.path(), uid, gid)?;
        }
    }
    // Last, so that a crash in between leaves the top as it was and the next start begins anew.
    lchown(path, Some(uid), Some(gid))
}

/// The topmost directory of `dir`'s path whose mode bits keep the user out.
fn blocked_at(dir: &Path, uid: u32, gid: u32) -> Option<PathBuf> {
    let mut way: Vec<_> = dir.ancestors().collect();
    way.reverse();
    let closed = |meta: &Metadata| !may_enter(meta, uid, gid);
    way.into_iter().find(|at| at.metadata().is_ok_and(|m| closed(&m))).map(Path::to_owned)
}

fn may_enter(meta: &Metadata, uid: u32, gid: u32) -> bool {
    let bit = match (meta.uid() == uid, meta.gid() == gid) {
        (true, _) => 0o100,
        (false, true) => 0o010,
        (false, false) => 0o001,
    };
    meta.mode() & bit != 0
}
