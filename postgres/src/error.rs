//! Why there is no private PostgreSQL, in words that say what to do.
use std::io;
use std::io::ErrorKind::{AlreadyExists, NotADirectory};
use std::path::{Path, PathBuf};

/// Why the private PostgreSQL could not be started.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No `postgres` and `initdb` anywhere.
    #[error(
        "no PostgreSQL server (14 or later) is installed. Install it with\n  \
         Debian, Ubuntu:  sudo apt-get install postgresql\n  \
         Fedora, RHEL:    sudo dnf install postgresql-server\n  \
         macOS:           brew install postgresql@17\n\
         or set DATABASE_URL to use a PostgreSQL that runs elsewhere"
    )]
    NoBinaries,
    /// The directory that was asked for does not have them.
    #[error(
        "{} does not hold the programs `postgres` and `initdb`. They come with the package \
         `postgresql` (Debian, Ubuntu, Homebrew) or `postgresql-server` (Fedora, RHEL), on Debian \
         in /usr/lib/postgresql/VERSION/bin", .0.display()
    )]
    NotBinaries(PathBuf),
    /// A file stands where a directory is wanted.
    #[error("{} is a file. Choose another --data-dir: the data needs a directory", .0.display())]
    NotADirectory(PathBuf),
    /// The installed server is older than 14, or does not tell its version.
    #[error("the PostgreSQL in {} is version {found}; lastword needs 14 or later", dir.display())]
    Unsuitable {
        /// Where it was found.
        dir: PathBuf,
        /// Its own version line.
        found: String,
    },
    /// The cluster was made by another major version than any that is installed.
    #[error(
        "the data in {} was made by PostgreSQL {data}, but the PostgreSQL installed here is \
         {installed}. Install PostgreSQL {data} beside it, or move the data to {installed} with \
         pg_upgrade", dir.display()
    )]
    OtherMajor {
        /// The cluster's directory.
        dir: PathBuf,
        /// The major version that made it.
        data: u32,
        /// The versions of the binaries, comma-separated.
        installed: String,
    },
    /// Another process serves this data directory.
    #[error(
        "another lastword (process {pid}) is using {}. Stop it, or choose another --data-dir",
        dir.display()
    )]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// Its process id as far as it is known.
        pid: String,
    },
    /// A server that a predecessor left behind does not end.
    #[error("a PostgreSQL of an earlier run still uses {} and does not end: {pids}", dir.display())]
    Leftover {
        /// The cluster's directory.
        dir: PathBuf,
        /// Process ids, comma-separated.
        pids: String,
    },
    /// Root without anybody to step down to.
    #[error(
        "PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody` \
         to run it as. Run lastword as a normal user"
    )]
    NoAccount,
    /// The cluster belongs to somebody else.
    #[error(
        "{} belongs to user {owner}. Run lastword as that user, or choose another --data-dir",
        dir.display()
    )]
    ForeignOwner {
        /// The cluster's directory.
        dir: PathBuf,
        /// The name or number of its owner.
        owner: String,
    },
    /// The server's user cannot get to the data directory.
    #[error(
        "PostgreSQL does not run as root but as user `{account}`, who may not pass through {p}. \
         Allow it with `chmod o+x {p}`, choose another --data-dir, or run lastword as a normal \
         user", p = parent.display()
    )]
    Blocked {
        /// The account that was refused.
        account: String,
        /// Where.
        parent: PathBuf,
    },
    /// The directory for the socket is not safe to use.
    #[error(
        "the path of {} is too long for a Unix socket, and {} cannot be used in its place because \
         it belongs or is open to others. Choose a shorter --data-dir", wanted.display(), used.display()
    )]
    SocketDirectory {
        /// The directory in the data directory.
        wanted: PathBuf,
        /// The short one.
        used: PathBuf,
    },
    /// `initdb` failed.
    #[error("initdb failed:\n{0}")]
    Initdb(String),
    /// The server ended before it was ready.
    #[error("PostgreSQL ended while it started ({status}). Its last words:\n{log}")]
    Exited {
        /// How.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// The server did not get ready.
    #[error("PostgreSQL was not ready after {seconds} s. Its last words:\n{log}")]
    NotReady {
        /// How long we waited.
        seconds: u64,
        /// The last lines of its log.
        log: String,
    },
    /// It runs, but does not let us in.
    #[error("the private PostgreSQL refused a connection")]
    Database(#[from] sqlx::Error),
    /// The operating system refused something.
    #[error("could not {what}")]
    Io {
        /// The attempted step, with its path.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

impl EmbeddedError {
    pub(super) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}

/// Puts what was tried on which path before an I/O error.
pub(super) trait OnPath<T> {
    fn on(self, what: &str, path: &Path) -> Result<T, EmbeddedError>;
}

impl<T> OnPath<T> for io::Result<T> {
    fn on(self, what: &str, path: &Path) -> Result<T, EmbeddedError> {
        self.map_err(|e| match path.ancestors().find(|above| above.is_file()) {
            Some(file) if matches!(e.kind(), AlreadyExists | NotADirectory) => {
                EmbeddedError::NotADirectory(file.to_owned())
            }
            _ => EmbeddedError::io(format!("{what} {}", path.display()), e),
        })
    }
}
