//! Making the cluster, once.
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;

use super::USER;
use super::account::Account;
use super::binaries::Binaries;
use super::error::{EmbeddedError, OnPath};
use super::layout::Layout;
use super::server::die_with_us;

/// How the names of half-made clusters begin.
const UNFINISHED: &str = "data.new-";

/// Defaults that an operator may change in the file; what durability needs is not among them.
const SETTINGS: &str = "
# Set by lastword when it made this cluster; yours to change.
max_connections = 100
shared_buffers = 128MB
max_wal_size = 2GB
wal_compression = on
jit = off
track_io_timing = off
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
log_line_prefix = '%m [%p] '
";

/// The major version that made the cluster; `None` if there is no cluster.
pub(super) fn version(layout: &Layout) -> Result<Option<u32>, EmbeddedError> {
    let path = layout.data.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let major = text.trim().parse();
            major.map(Some).map_err(std::io::Error::other).on("understand", &path)
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).on("read", &path),
    }
}

/// Makes the cluster beside its place and moves it there when it is complete, so that a crash
/// leaves nothing half-made.
pub(super) fn initialise(
    layout: &Layout,
    account: &Account,
    bin: &Binaries,
) -> Result<(), EmbeddedError> {
    remove_unfinished(layout);
    let fresh = layout.base.join(format!("{UNFINISHED}{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&fresh).on("make", &fresh)?;
    account.give(&fresh)?;

    let mut initdb = bin.command("initdb");
    initdb.args(["--encoding=UTF8", "--no-locale", "--no-instructions"]);
    // Only the socket's directory, which is closed to others, leads to the server.
    initdb.args(["--auth-local=trust", "--auth-host=reject", "--username", USER]);
    initdb.arg("--pgdata").arg(&fresh).current_dir(&fresh);
    account.apply(&mut initdb);
    die_with_us(&mut initdb);
    let out = initdb.output().on("run initdb for", &fresh)?;
    if !out.status.success() {
        remove_unfinished(layout);
        let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        return Err(EmbeddedError::Initdb(said));
    }

    let conf = fresh.join("postgresql.conf");
    let mut file = File::options().append(true).open(&conf).on("open", &conf)?;
    file.write_all(SETTINGS.as_bytes()).and_then(|()| file.sync_all()).on("write", &conf)?;
    fs::rename(&fresh, &layout.data).on("finish", &layout.data)?;
    File::open(&layout.base).and_then(|dir| dir.sync_all()).on("sync", &layout.base)
}

/// Removes the rest of an installation that a crash broke off. Best effort: such a directory only
/// takes up room.
fn remove_unfinished(layout: &Layout) {
    for entry in fs::read_dir(&layout.base).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
