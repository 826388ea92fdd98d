//! A proxy between the server and its Postgres that loses bytes on purpose.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::ConnectOptions;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::database::TestDatabase;

/// The server's message when an insert is done; it is sent when the commit is.
const INSERTED: &[u8] = b"INSERT 0 ";

/// Listens on a socket of its own and passes everything on, except the replies that it has to lose.
pub(crate) struct Proxy {
    dir: TempDir,
    /// Replies to inserts that are still to be lost.
    to_lose: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    /// Connections that existed when this was last raised are black holes.
    holes: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) fn start(database: &TestDatabase) -> Self {
        let behind = database.options.get_socket().unwrap().join(".s.PGSQL.5432");
        let dir = TempDir::new().unwrap();
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let (to_lose, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        let holes = Arc::new(AtomicUsize::new(0));
        let counters =
            Counters { to_lose: to_lose.clone(), lost: lost.clone(), holes: holes.clone() };
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, behind.clone(), counters.clone()));
            }
        });
        Self { dir, to_lose, lost, holes, _tasks: tasks }
    }

    /// The database as it looks through the proxy.
    pub(crate) fn url(&self, database: &TestDatabase) -> String {
        database.options.clone().socket(self.dir.path()).to_url_lossy().to_string()
    }

    /// The next replies to inserts are lost, and their connections with them.
    pub(crate) fn lose(&self, replies: usize) {
        self.to_lose.fetch_add(replies, Ordering::SeqCst);
    }

    pub(crate) fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }

    /// The present connections swallow everything from now on, and never close.
    pub(crate) fn black_hole(&self) {
        self.holes.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct Counters {
    to_lose: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    holes: Arc<AtomicUsize>,
}

/// The fate of bytes on their way.
enum Fate {
    Pass,
    Swallow,
    Cut,
}

async fn carry(client: UnixStream, behind: impl AsRef<Path>, counters: Counters) {
    let Counters { to_lose, lost, holes } = counters;
    let born = holes.load(Ordering::SeqCst);
    let hole = || holes.load(Ordering::SeqCst) != born;
    let Ok(server) = UnixStream::connect(behind).await else { return };
    let (mut client_out, mut client_in) = client.into_split();
    let (mut server_out, mut server_in) = server.into_split();
    let up =
        copy(&mut client_out, &mut server_in, |_| if hole() { Fate::Swallow } else { Fate::Pass });
    let down = copy(&mut server_out, &mut client_in, |bytes| {
        if hole() {
            return Fate::Swallow;
        }
        let insert = bytes.windows(INSERTED.len()).any(|w| w == INSERTED);
        let take = |n: usize| n.checked_sub(1);
        let lose = insert && to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
        if lose {
            lost.fetch_add(1, Ordering::SeqCst);
            return Fate::Cut;
        }
        Fate::Pass
    });
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Copies until an end, an error, or bytes that shall not pass.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    fate: impl Fn(&[u8]) -> Fate,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        let bytes = &buffer[..count];
        if bytes.is_empty() {
            return;
        }
        match fate(bytes) {
            Fate::Pass if to.write_all(bytes).await.is_err() => return,
            Fate::Pass | Fate::Swallow => {}
            Fate::Cut => return,
        }
    }
}
