//! Which instance this process is: the successor of a dead one where it can be.
//!
//! A slot is a file with an id, locked for the life of its process. The holder of the lock knows
//! that the slot's last process is dead. It takes the process's generations up at once, without
//! waiting for a lease.
use std::fs::{File, OpenOptions, TryLockError, create_dir_all};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::domain::id::InstanceId;

/// Processes on one data directory; more is a mistake.
const SLOTS: u32 = 256;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The directory cannot be used.
    #[error("cannot keep this instance's identity in {0}: {1}")]
    Io(PathBuf, #[source] std::io::Error),
    /// All slots are taken.
    #[error("{SLOTS} processes use {0} already")]
    Full(PathBuf),
}

/// An instance's id, and the lock that makes it ours.
pub(super) struct Identity {
    pub(super) id: InstanceId,
    _lock: File,
}

impl Identity {
    /// Takes the first free slot below `data_dir`.
    pub(super) fn take(data_dir: &Path) -> Result<Self, IdentityError> {
        let dir = data_dir.join("instances");
        let fault = |e| IdentityError::Io(dir.clone(), e);
        create_dir_all(&dir).map_err(fault)?;
        for slot in 0..SLOTS {
            let path = dir.join(slot.to_string());
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(fault)?;
            match file.try_lock() {
                Ok(()) => {
                    let id = read_or_write(&mut file).map_err(fault)?;
                    return Ok(Self { id, _lock: file });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(fault(e)),
            }
        }
        Err(IdentityError::Full(dir))
    }
}

fn read_or_write(file: &mut File) -> std::io::Result<InstanceId> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if let Ok(id) = text.trim().parse() {
        return Ok(InstanceId(id));
    }
    // New, or cut off by a crash before any generation could carry it.
    let id = InstanceId::random();
    file.seek(SeekFrom::Start(0))?;
    file.set_len(0)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    Ok(id)
}
