//! A failover with a real standby: connections that lead to the server that takes no writes are
//! thrown away, and nothing has to be restarted.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lastword_postgres::Embedded;
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client::{PATIENCE, assert_whole};
use crate::database::{TestDatabase, own_server, search};
use crate::harness::{TestApp, config};

const SOCKET: &str = ".s.PGSQL.5432";

/// An address that leads to one of several servers, as a virtual address or a TCP proxy does.
struct Router {
    dir: TempDir,
    to: Arc<Mutex<(PathBuf, CancellationToken)>>,
    _task: JoinSet<()>,
}

impl Router {
    fn start(server: &Embedded) -> Self {
        let dir = TempDir::new().unwrap();
        let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        let to = Arc::new(Mutex::new((place(server), CancellationToken::new())));
        let leads = to.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let (behind, cut) = leads.lock().unwrap().clone();
                connections.spawn(async move {
                    let Ok(mut server) = UnixStream::connect(behind).await else { return };
                    tokio::select! {
                        () = cut.cancelled() => {}
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                    }
                });
            }
        });
        Self { dir, to, _task: task }
    }

    fn database(&self, behind: &TestDatabase) -> TestDatabase {
        TestDatabase::over(behind.options.clone().socket(self.dir.path()))
    }

    /// New connections lead there from now on; those that are open stay where they are.
    fn lead_to(&self, server: &Embedded) {
        self.to.lock().unwrap().0 = place(server);
    }

    /// Ends the connections that are open.
    fn cut(&self) {
        std::mem::take(&mut self.to.lock().unwrap().1).cancel();
    }
}

fn place(server: &Embedded) -> PathBuf {
    server.options().get_socket().unwrap().join(SOCKET)
}

fn cluster(dir: &Path) -> PathBuf {
    dir.join("postgres/data")
}

/// A server that streams from `primary`, and takes no writes until it is promoted.
pub(crate) async fn standby_of(primary: &Embedded, database: &TestDatabase) -> (Embedded, TempDir) {
    let programs: String =
        sqlx::query_scalar("select setting from pg_config where name = 'BINDIR'")
            .fetch_one(&mut database.connect().await)
            .await
            .unwrap();
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("postgres")).unwrap();
    let mut copy = Command::new(Path::new(&programs).join("pg_basebackup"));
    copy.args(["--checkpoint=fast", "--write-recovery-conf", "--username=lastword", "--host"]);
    copy.arg(primary.options().get_socket().unwrap()).arg("--pgdata").arg(cluster(dir.path()));
    let copied = copy.output().await.expect("pg_basebackup is beside the server");
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    (Embedded::start(dir.path(), &search()).await.unwrap(), dir)
}

/// The primary of before comes back behind the one of now.
async fn rejoin(dir: &TempDir, primary: &Embedded) -> Embedded {
    let cluster = cluster(dir.path());
    fs::write(cluster.join("standby.signal"), "").unwrap();
    let host = primary.options().get_socket().unwrap().display().to_string();
    let more = format!("primary_conninfo = 'user=lastword host={host}'\n");
    let file = cluster.join("postgresql.auto.conf");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, before + &more).unwrap();
    Embedded::start(dir.path(), &search()).await.unwrap()
}

/// Waits until `/readyz` has this status; its body.
async fn until(app: &TestApp, status: StatusCode) -> Value {
    let seen = async {
        loop {
            let answer = app.client.get("/readyz").await;
            if answer.status() == status {
                return answer.json().await.unwrap();
            }
        }
    };
    timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("/readyz is never {status}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_needs_no_restart_though_connections_lead_to_the_standby() {
    let (first, first_dir) = own_server().await;
    let database = TestDatabase::create_on(&first).await;
    let (second, _second_dir) = standby_of(&first, &database).await;
    let on_second = TestDatabase::over(second.options().database(name(&database)));
    let router = Router::start(&first);
    let seen = router.database(&database);
    let config = config(&seen);
    let app = TestApp::on(seen, config).await;
    let id = app.client.start_prompt("/demo tokens=300 tps=30 ttft_ms=0").await;
    let mut reader = app.client.events(&id, 0).await;
    let mut events = reader.take(10).await;

    // The address leads to the other server before that one is promoted.
    router.lead_to(&second);
    router.cut();
    let problem = until(&app, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(problem["code"].as_str().unwrap().starts_with("storage_"), "{problem}");
    first.stop().await;
    while until(&app, StatusCode::SERVICE_UNAVAILABLE).await["code"] != "storage_read_only" {}
    let promote = "select pg_promote()::int::bigint";
    assert_eq!(on_second.number(promote).await, 1);
    until(&app, StatusCode::OK).await;
    let after = app.client.start_prompt("/demo tokens=5 tps=0").await;
    assert_whole(&app.client.all(&after, 0).await);

    // The old primary is a standby now, and the address leads to it by mistake for a while.
    // Connections from that time stay open when the address is right again.
    let first = rejoin(&first_dir, &second).await;
    router.lead_to(&first);
    router.cut();
    while until(&app, StatusCode::SERVICE_UNAVAILABLE).await["code"] != "storage_read_only" {}
    router.lead_to(&second);
    until(&app, StatusCode::OK).await;
    let again = app.client.start_prompt("/demo tokens=5 tps=0").await;
    assert_whole(&app.client.all(&again, 0).await);
    let left = "select count(*) from pg_stat_activity where datname = current_database() \
                and pid <> pg_backend_pid()";
    let gone = async { while database.number(left).await > 0 {} };
    timeout(PATIENCE, gone).await.expect("no connection stays at the standby");

    events.extend(reader.rest().await);
    assert_whole(&events);
    assert_eq!(events.last().unwrap().json()["status"], "completed");
    app.stop().await;
    first.stop().await;
    second.stop().await;
}

fn name(database: &TestDatabase) -> &str {
    database.options.get_database().unwrap()
}
