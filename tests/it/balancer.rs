//! A dumb round-robin proxy before several servers. It knows nothing of sessions or health: each
//! connection goes to the next server that accepts it.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Client;

/// Listens, and carries. Dropping it cuts everything.
pub(crate) struct Balancer {
    pub(crate) client: Client,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    backends: Mutex<Backends>,
    changed: watch::Sender<()>,
    /// Connections that existed when this was last raised are cut.
    cuts: watch::Sender<u64>,
}

#[derive(Default)]
struct Backends {
    addresses: Vec<Option<SocketAddr>>,
    next: usize,
}

impl Balancer {
    pub(crate) async fn start(backends: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let addresses = vec![None; backends];
        let shared = Arc::new(Shared {
            backends: Mutex::new(Backends { addresses, next: 0 }),
            changed: watch::Sender::new(()),
            cuts: watch::Sender::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, shared.clone()));
        Self { client: Client::single_use(address), shared, _tasks: tasks }
    }

    /// Where a server is; `None` while it is gone.
    pub(crate) fn set(&self, backend: usize, address: Option<SocketAddr>) {
        self.shared.lock().addresses[backend] = address;
        self.shared.changed.send_replace(());
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Backends> {
        self.backends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present servers, beginning with the one whose turn it is.
    fn turns(&self) -> Vec<SocketAddr> {
        let mut backends = self.lock();
        backends.next += 1;
        let count = backends.addresses.len();
        (0..count).filter_map(|n| backends.addresses[(backends.next + n) % count]).collect()
    }

    /// A connection to the next server that accepts one; it waits until there is one.
    async fn connect(&self) -> TcpStream {
        let mut changed = self.changed.subscribe();
        loop {
            for address in self.turns() {
                if let Ok(server) = TcpStream::connect(address).await {
                    return server;
                }
            }
            let _the_sender_is_ours = changed.changed().await;
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                connections.spawn(carry(client, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let pass = async {
        let mut server = shared.connect().await;
        // However it ends, both sides are closed.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    };
    tokio::select! {
        () = pass => {}
        _ = cuts.changed() => {}
    }
}
