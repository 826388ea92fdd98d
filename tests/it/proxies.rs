//! Each proxy of deploy/, really run with our file. The first event comes at
//! once, and events do not wait for each other. A WebSocket opens; cursors and 204 pass. Each side
//! notices the end of a body and a client that disconnects.
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use crate::client::{Client, PATIENCE, Reader, assert_whole};
use crate::harness::TestApp;
use crate::neighbours::{free_address, listens, nginx_file};
use crate::upstream::{Answer, Gate};

/// Tokens that come one at a time, each only after the one before it has arrived.
const TOKENS: usize = 40;
/// The time that they may take in all. HAProxy without `http-no-delay` holds each for up to 250 ms.
const IN_STEP: Duration = Duration::from_secs(5);

/// A running proxy.
struct Proxy {
    process: Child,
    _dir: TempDir,
    address: SocketAddr,
}

impl Proxy {
    /// Runs `command` in a directory of its own, with a file that `file` makes of it.
    async fn start(
        command: &[&str],
        server: SocketAddr,
        file: impl FnOnce(&std::path::Path, SocketAddr, SocketAddr) -> String,
    ) -> Self {
        let (dir, address) = (TempDir::new().unwrap(), free_address());
        // Envoy goes by the ending; the others do not look at it.
        let path = dir.path().join("file.yaml");
        fs::write(&path, file(dir.path(), server, address)).unwrap();
        let (program, args) = command.split_first().unwrap();
        let process = Command::new(program)
            .args(args)
            .arg(&path)
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}: run scripts/setup test"));
        listens(address).await;
        Self { process, _dir: dir, address }
    }
}

impl Drop for Proxy {
    /// Not killed: a killed parent leaves its children behind.
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.process.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.process.wait().unwrap();
    }
}

/// Our file before one server: its first address is that server, the others are left out.
fn before_one(file: &str, server: SocketAddr) -> String {
    let one = file.replace("127.0.0.1:7878", &server.to_string());
    let other = |line: &&str| {
        ["127.0.0.1:7879", "127.0.0.1:7880", "port_value: 7879", "port_value: 7880"]
            .iter()
            .any(|address| line.contains(address))
    };
    let lines: Vec<&str> = one.lines().filter(|line| !other(line)).collect();
    lines.join("\n") + "\n"
}

/// The promises that must hold behind any proxy.
async fn holds_behind(
    command: &[&str],
    file: fn(&std::path::Path, SocketAddr, SocketAddr) -> String,
) {
    let gates: Vec<Gate> = (0..TOKENS).map(|_| Gate::default()).collect();
    let in_step = gates
        .iter()
        .enumerate()
        .fold(Answer::sse(), |answer, (n, gate)| answer.text(&format!("t{n} ")).wait(gate));
    let last = Gate::default();
    let answers = vec![
        in_step.complete(),
        Answer::sse().text("Hel").stall(),
        Answer::sse().text("Hel").wait(&last).text("lo").complete(),
    ];
    let (app, _upstream) = TestApp::scripted(answers, |_| {}).await;
    let proxy = Proxy::start(command, app.address, file).await;
    let client = Client::new(proxy.address);

    let (id, mut reader) = started(&client, &json!({ "prompt": "hi" })).await;
    let mut events = reader.take(2).await;
    let begun = Instant::now();
    for (n, gate) in gates.iter().enumerate() {
        gate.open();
        if n + 1 < TOKENS {
            events.extend(reader.take(1).await);
        }
    }
    let took = begun.elapsed();
    println!("{}: {TOKENS} tokens in step took {took:?}", command[0]);
    events.extend(reader.rest().await);
    assert_whole(&events);
    assert!(took < IN_STEP, "events wait for each other: {took:?}");

    // Over SSE and over a WebSocket, byte for byte the same.
    assert_eq!(client.all(&id, 7).await, events[7..]);
    let end = client.try_events(&id, events.len() as u64).await.unwrap();
    assert_eq!(end.status(), 204);

    let leaving = json!({ "prompt": "hi", "on_disconnect": { "cancel_after_s": 1 } });
    let (id, mut reader) = started(&client, &leaving).await;
    reader.take(2).await;
    drop(reader);
    let cancelled = async { while app.client.view(&id).await["status"] != "cancelled" {} };
    timeout(PATIENCE, cancelled).await.expect("a client that leaves is noticed");

    let (id, mut reader) = started(&client, &json!({ "prompt": "hi" })).await;
    reader.take(2).await;
    app.begin_stop();
    assert_eq!(reader.rest().await, [], "the end of the body passes");
    assert!(!id.is_empty());
    last.open();
    app.stop().await;
}

/// Starts a generation and reads it by one request.
async fn started(client: &Client, body: &serde_json::Value) -> (String, Reader) {
    let request = client.http.post(format!("{}/v1/generations", client.base));
    let response = request.header("accept", "text/event-stream").json(body).send().await.unwrap();
    let id = response.headers()["lastword-generation"].to_str().unwrap().to_owned();
    (id, Reader::new(response))
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_nginx() {
    holds_behind(&["nginx", "-c"], nginx_file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_haproxy() {
    holds_behind(&["haproxy", "-db", "-f"], |_, server, address| {
        let ours = before_one(include_str!("../../deploy/haproxy.cfg"), server);
        ours.replace("bind :80", &format!("bind {address}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_apache() {
    holds_behind(&["apache2", "-DFOREGROUND", "-f"], |dir, server, address| {
        let ours = before_one(include_str!("../../deploy/apache.conf"), server);
        let ours = ours.replace("<VirtualHost *:80>", &format!("<VirtualHost {address}>"));
        let modules = [
            "mpm_event",
            "authz_core",
            "proxy",
            "proxy_http",
            "slotmem_shm",
            "proxy_balancer",
            "lbmethod_bybusyness",
            "headers",
            "env",
        ];
        let modules = modules.map(|name| {
            format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
        });
        let path = dir.display();
        // The rest of what Debian's own main file says.
        format!(
            "ServerRoot {path}\nServerName localhost\nListen {address}\nPidFile {path}/pid\n\
             DefaultRuntimeDir {path}\nErrorLog {path}/error.log\n{}\
             User www-data\nGroup www-data\n{ours}",
            modules.concat()
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_caddy() {
    let command = ["caddy", "run", "--adapter", "caddyfile", "--config"];
    holds_behind(&command, |dir, server, address| {
        let ours = include_str!("../../deploy/Caddyfile")
            .replace("127.0.0.1:7878 127.0.0.1:7879 127.0.0.1:7880", &server.to_string())
            .replace("example.com {", &format!("http://{address} {{"));
        let path = dir.display();
        format!("{{\n\tadmin off\n\tstorage file_system {path}\n}}\n{ours}")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_envoy() {
    let program = envoy();
    let command = [&program, "--disable-hot-restart", "--concurrency", "1", "-l", "off", "-c"];
    holds_behind(&command, |_, server, address| {
        let of = |at: SocketAddr| format!("address: {}, port_value: {} }}", at.ip(), at.port());
        before_one(include_str!("../../deploy/envoy.yaml"), server)
            .replace("address: 127.0.0.1, port_value: 7878 }", &of(server))
            .replace("address: 0.0.0.0, port_value: 80 }", &of(address))
    })
    .await;
}

/// The program inside of the wheel.
fn envoy() -> String {
    let lib = crate::program::root().join(".proxies/python/lib");
    let pythons = fs::read_dir(&lib).into_iter().flatten().flatten();
    let program = |python: fs::DirEntry| python.path().join("site-packages/envoy/_bin/envoy");
    let found = pythons.map(program).find(|path| path.exists());
    let found = found.expect("run `scripts/setup test`, which installs Envoy");
    found.to_str().unwrap().to_owned()
}
