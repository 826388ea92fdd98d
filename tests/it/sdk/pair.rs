//! Two servers on one database behind a proxy that hands connections to one after the other.
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::types::Uuid;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::process::{Server, command};

/// Counts the sessions by which an instance appends.
const SESSIONS: &str = "select count(*) from lanes l join pg_stat_activity a \
     on a.pid = l.backend and a.backend_start = l.backend_start where l.owner = $1";

/// One of the two.
struct Instance {
    dir: TempDir,
    server: Option<Server>,
}

/// The servers and the proxy.
pub(crate) struct Pair {
    database: TestDatabase,
    instances: Vec<Instance>,
    proxy: Proxy,
}

impl Pair {
    /// Starts all three; `config` is the servers' file.
    pub(crate) async fn start(config: &str) -> Self {
        let database = TestDatabase::create().await;
        let mut instances = Vec::new();
        for _ in 0..2 {
            let dir = TempDir::new().unwrap();
            std::fs::write(dir.path().join("lastword.toml"), config).unwrap();
            instances.push(Instance { dir, server: None });
        }
        let mut pair = Self { database, instances, proxy: Proxy::start().await };
        pair.heal().await;
        pair
    }

    /// Where clients of OpenAI's API point to.
    pub(crate) fn base(&self) -> String {
        format!("http://{}/v1", self.proxy.address)
    }

    /// Starts what is not running.
    pub(crate) async fn heal(&mut self) {
        for Instance { dir, server } in &mut self.instances {
            if server.is_none() {
                let mut serve = command(dir.path());
                serve.args(["--database-url", &self.database.url, "--lease-s", "2"]);
                serve.arg("--config").arg(dir.path().join("lastword.toml"));
                *server = Some(Server::start(serve).await);
            }
        }
        self.proxy.to(self.addresses());
    }

    /// SIGKILL for the instance that runs a generation, by the id that a client knows.
    pub(crate) async fn kill_owner(&mut self, id: &str) {
        let id = id.trim_start_matches("resp_").trim_start_matches("chatcmpl-");
        let id = Uuid::parse_str(id).unwrap();
        let mut connection = self.database.connect().await;
        let owner: Uuid = sqlx::query_scalar("select owner from generations where id = $1")
            .bind(id)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        for Instance { dir, server } in &mut self.instances {
            let slot = std::fs::read_to_string(dir.path().join("instances/0")).unwrap();
            if slot.trim() == owner.to_string() {
                server.take().expect("it runs").kill().await;
            }
        }
        let left = self.addresses();
        assert_eq!(left.len(), 1, "one of them ran it");
        self.proxy.to(left);
    }

    /// Sends all clients to the first of them from now on.
    pub(crate) fn lead_to_first(&self) {
        let first = self.instances[0].server.as_ref().expect("it runs");
        self.proxy.to(vec![first.address]);
    }

    /// SIGKILL for the first. Clients are refused until the database has ended its sessions, and
    /// then come to the other.
    pub(crate) async fn kill_first(&mut self) {
        let Instance { dir, server } = &mut self.instances[0];
        let slot = std::fs::read_to_string(dir.path().join("instances/0")).unwrap();
        let owner = Uuid::parse_str(slot.trim()).unwrap();
        self.proxy.to(Vec::new());
        server.take().expect("it runs").kill().await;
        let mut connection = self.database.connect().await;
        eventually("its sessions end", async || {
            let sessions = sqlx::query_scalar::<_, i64>(SESSIONS).bind(owner);
            sessions.fetch_one(&mut connection).await.unwrap() == 0
        })
        .await;
        self.proxy.to(self.addresses());
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let running = self.instances.iter().filter_map(|i| i.server.as_ref());
        running.map(|server| server.address).collect()
    }
}

/// Takes the servers by turns, a connection at a time.
struct Proxy {
    address: SocketAddr,
    servers: Arc<Mutex<Vec<SocketAddr>>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let servers = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, servers.clone()));
        Self { address, servers, _tasks: tasks }
    }

    fn to(&self, servers: Vec<SocketAddr>) {
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) = servers;
    }
}

async fn accept(listener: TcpListener, servers: Arc<Mutex<Vec<SocketAddr>>>) {
    let mut connections = JoinSet::new();
    for turn in 0.. {
        let Ok((mut client, _)) = listener.accept().await else { return };
        let servers = servers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if servers.is_empty() {
            continue;
        }
        let server: SocketAddr = servers[turn % servers.len()];
        connections.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(server).await {
                // A cut is what it is there to pass on.
                let _cut = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
