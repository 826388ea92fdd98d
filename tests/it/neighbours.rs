//! The programs before and behind lastword in a deployment, really run: nginx with our
//! configuration, PgBouncer before Postgres.
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use futures_util::future::join_all;
use lastword::store::{ConnectError, Durability, connect};
use serde_json::json;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};

use crate::client::{Client, Reader, assert_whole};
use crate::database::TestDatabase;
use crate::eventually::eventually;
use crate::harness::{TestApp, config};
use crate::upstream::{Answer, Gate};

/// A port that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Waits until a server listens at the address.
pub(crate) async fn listens(address: SocketAddr) {
    eventually("it listens", async || TcpStream::connect(address).await.is_ok()).await;
}

/// Our file before one server, with its surroundings.
pub(crate) fn nginx_file(dir: &Path, server: SocketAddr, address: SocketAddr) -> String {
    let ours = include_str!("../../deploy/nginx.conf")
        .replace("server 127.0.0.1:7878 ", &format!("server {server} "))
        .replace("    server 127.0.0.1:7879 max_fails=1 fail_timeout=2s;\n", "")
        .replace("    server 127.0.0.1:7880 max_fails=1 fail_timeout=2s;\n", "")
        .replace("listen 80;", &format!("listen {address};"));
    // A free port may have these numerals behind its first.
    assert!(!ours.contains(":787"), "{ours}");
    let path = dir.display();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {path}/{name};\n"))
        .concat();
    format!(
        "daemon off; pid {path}/pid; error_log {path}/error.log; worker_processes 1;\n\
         worker_shutdown_timeout 1s; events {{ worker_connections 256; }}\n\
         http {{ access_log off; {temp} {ours} }}\n"
    )
}

struct Nginx {
    process: std::process::Child,
    _dir: TempDir,
    address: SocketAddr,
}

impl Nginx {
    /// With our file, before one server. Old workers may keep their streams for a second.
    async fn start(server: SocketAddr) -> Self {
        let dir = TempDir::new().unwrap();
        let address = free_address();
        let path = dir.path().display();
        fs::write(dir.path().join("nginx.conf"), nginx_file(dir.path(), server, address)).unwrap();
        let process = std::process::Command::new("nginx")
            .args(["-p", &path.to_string(), "-c", &format!("{path}/nginx.conf")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed: scripts/setup test");
        listens(address).await;
        Self { process, _dir: dir, address }
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.process.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }
}

impl Drop for Nginx {
    /// Not killed: a killed master leaves its workers behind.
    fn drop(&mut self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.process.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_nginx_events_come_at_once_and_survive_its_reload() {
    let gate = Gate::default();
    let script = Answer::sse().text("Hel").wait(&gate).text("lo").complete();
    let (app, _upstream) = TestApp::scripted(script, |_| {}).await;
    let nginx = Nginx::start(app.address).await;
    let client = Client::new(nginx.address);
    let request = client.http.post(format!("{}/v1/generations", client.base));
    let request = request.header("accept", "text/event-stream").json(&json!({"prompt": "hi"}));
    let response = request.send().await.unwrap();
    let id = response.headers()["lastword-generation"].to_str().unwrap().to_owned();
    let mut reader = Reader::new(response);
    // The model waits until the gate opens: a buffer anywhere would hold these back.
    let mut events = reader.take(2).await;
    nginx.signal(nix::sys::signal::Signal::SIGHUP);
    // The old worker cuts the stream in the middle; the next one takes the reconnect.
    assert!(reader.next().await.is_none());
    gate.open();
    events.extend(client.all(&id, 2).await);
    assert_whole(&events);
    assert_eq!(events, app.client.all(&id, 0).await);
    app.stop().await;
}

struct PgBouncer {
    _process: Child,
    dir: TempDir,
}

impl PgBouncer {
    const PORT: u16 = 6432;

    /// In `mode` before `database`; it takes the start-up parameters `ignored` without passing them
    /// on.
    async fn start(database: &TestDatabase, mode: &str, ignored: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().display();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let to = &database.options;
        let host = to.get_socket().map_or(to.get_host().into(), |s| s.display().to_string());
        let (port, user, name) = (to.get_port(), to.get_username(), to.get_database().unwrap());
        let ini = format!(
            "[databases]\n{name} = host={host} port={port} user={user} dbname={name}\n\
             [pgbouncer]\nunix_socket_dir = {path}\nlisten_port = {}\nauth_type = any\n\
             pool_mode = {mode}\nignore_startup_parameters = {ignored}\n\
             logfile = {path}/log\n",
            Self::PORT
        );
        let file = dir.path().join("pgbouncer.ini");
        fs::write(&file, ini).unwrap();
        let mut command = Command::new("pgbouncer");
        // It refuses to run as root, and the socket is its owner's alone.
        if nix::unistd::Uid::effective().is_root() {
            let owner = nix::unistd::Uid::from_raw(fs::metadata(&host).unwrap().uid());
            let owner = nix::unistd::User::from_uid(owner).unwrap().unwrap();
            command.args(["-u", &owner.name]);
        }
        let process = command
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("pgbouncer is installed: scripts/setup test");
        let socket = dir.path().join(format!(".s.PGSQL.{}", Self::PORT));
        // A socket's file is there a moment before a server listens on it.
        eventually("pgbouncer listens", async || UnixStream::connect(&socket).await.is_ok()).await;
        Self { _process: process, dir }
    }

    fn options(&self, database: &TestDatabase) -> PgConnectOptions {
        let socket: &Path = self.dir.path();
        database.options.clone().socket(socket).port(Self::PORT)
    }
}

/// A pool in transaction mode loses the state of a connection: listening, prepared statements,
/// locks. It is refused before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_in_transaction_mode_is_refused_in_clear_words() {
    let database = TestDatabase::empty().await;
    for ignored in ["", "extra_float_digits,options"] {
        let pool = PgBouncer::start(&database, "transaction", ignored).await;
        let refused = connect(pool.options(&database), Durability::Required).await;
        let refused = refused.expect_err("it is refused");
        // Without the parameters it refuses the connection itself.
        let is_told = matches!(refused, ConnectError::Pooled | ConnectError::Options);
        assert!(is_told, "{ignored}: {refused:?}");
        let words = refused.to_string();
        assert!(words.contains("PgBouncer") && words.contains("session"), "{words}");
    }
    let mut direct = database.options.connect().await.unwrap();
    let tables: i64 =
        sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
            .fetch_one(&mut direct)
            .await
            .unwrap();
    assert_eq!(tables, 0, "nothing was written");
    let pool = PgBouncer::start(&database, "session", "extra_float_digits,options").await;
    connect(pool.options(&database), Durability::Required)
        .await
        .expect("sessions are kept")
        .close()
        .await;
}

/// PgBouncer gives 20 connections to a database unless configured otherwise; the rest waits in it.
#[tokio::test(flavor = "multi_thread")]
async fn one_instance_is_at_ease_behind_a_session_pool_of_twenty() {
    let database = TestDatabase::create().await;
    let pool = PgBouncer::start(&database, "session", "extra_float_digits,options").await;
    let behind = TestDatabase::over(pool.options(&database));
    let settings = config(&behind);
    let app = TestApp::on(behind, settings).await;
    let starts = (0..20).map(|_| app.client.start_prompt("/demo tokens=60 tps=100 ttft_ms=0"));
    let ids = join_all(starts).await;
    // As many reads at a time as once starved the appends.
    join_all((0..200).map(|n| app.client.view(&ids[n % 20]))).await;
    for whole in join_all(ids.iter().map(|id| app.client.all(id, 0))).await {
        assert_whole(&whole);
    }
    assert_eq!(app.client.get("/readyz").await.status(), 200);
    app.stop().await;
}
