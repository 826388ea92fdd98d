//! HTTPS and HTTP/2: many streams on one connection, in a real browser too, and a certificate that
//! changes under a running server.
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use futures_util::future::join_all;
use lastword::config::TlsFiles;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Certificate, Client, Version};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::{PATIENCE, Reader, assert_whole};
use crate::harness::TestApp;
use crate::process::{Server, command};
use crate::raw::RawStream;

/// More than the six connections that a browser opens to one origin.
const STREAMS: usize = 9;

/// A certificate of this machine's own, in `dir`; as clients trust it.
fn certify(dir: &Path) -> (TlsFiles, Certificate) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let files = TlsFiles { cert: dir.join("cert.pem"), key: dir.join("key.pem") };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    (files, Certificate::from_pem(made.cert.pem().as_bytes()).unwrap())
}

fn trusting(root: &Certificate) -> Client {
    Client::builder().no_proxy().tls_certs_only([root.clone()]).build().unwrap()
}

async fn secure() -> (TestApp, Client, TempDir) {
    let dir = TempDir::new().unwrap();
    let (files, root) = certify(dir.path());
    let mut app = TestApp::with(|config| {
        config.tls = Some(files);
        config.cors_origins = vec!["http://127.0.0.1".into()];
    })
    .await;
    let client = trusting(&root);
    app.client.base = format!("https://{}", app.address);
    app.client.http = client.clone();
    (app, client, dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_share_one_http2_connection() {
    let (app, client, _dir) = secure().await;
    let id = app.client.start_prompt("/demo tokens=60 tps=60 unicode seed=8").await;
    let url = format!("{}/v1/generations/{id}/events", app.client.base);
    let readers = (0..STREAMS).map(|_| async {
        let response = client.get(&url).send().await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        Reader::new(response).rest().await
    });
    let seen = join_all(readers).await;
    assert_whole(&seen[0]);
    assert!(seen.iter().all(|events| *events == seen[0]));
    let old = Client::builder().http1_only().tls_danger_accept_invalid_certs(true).build().unwrap();
    let old = old.get(format!("{}/healthz", app.client.base)).send().await.unwrap();
    assert_eq!(old.version(), Version::HTTP_11);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_says_what_it_speaks_is_closed() {
    let app = TestApp::with(|config| config.h2c = true).await;
    let mut silent = RawStream::of(app.address, b"").await;
    silent.end().await;
    assert_eq!(silent.seen(), "");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_without_tls_is_for_who_asks_for_it() {
    let app = TestApp::with(|config| config.h2c = true).await;
    let id = app.client.start_prompt("/demo tokens=20 tps=100 seed=8").await;
    let url = format!("{}/v1/generations/{id}/events", app.client.base);
    let prior = Client::builder().http2_prior_knowledge().build().unwrap();
    let response = prior.get(&url).send().await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let plain = app.client.all(&id, 0).await;
    assert_eq!(Reader::new(response).rest().await, plain);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_served_after_sighup() {
    let dir = TempDir::new().unwrap();
    let (files, first) = certify(dir.path());
    let mut serve = command(dir.path());
    serve.arg("--tls-cert").arg(&files.cert).arg("--tls-key").arg(&files.key);
    serve.env("RUST_LOG", "info").stderr(Stdio::piped());
    let mut server = Server::start(serve).await;
    let url = format!("https://{}/healthz", server.address);
    assert!(trusting(&first).get(&url).send().await.unwrap().status().is_success());

    let pid = Pid::from_raw(server.pid().try_into().unwrap());
    std::fs::write(&files.cert, "nonsense").unwrap();
    kill(pid, Signal::SIGHUP).unwrap();
    server.logs("the old one stays").await;
    assert!(trusting(&first).get(&url).send().await.unwrap().status().is_success());

    let (_, second) = certify(dir.path());
    kill(pid, Signal::SIGHUP).unwrap();
    server.logs("the certificate was read again").await;
    assert!(trusting(&second).get(&url).send().await.unwrap().status().is_success());
    assert!(trusting(&first).get(&url).send().await.is_err(), "the old one is gone");
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_certificate_are_named() {
    let dir = TempDir::new().unwrap();
    let (files, _) = certify(dir.path());
    let other = TempDir::new().unwrap();
    let (strange, _) = certify(other.path());
    let missing = dir.path().join("missing.pem");
    for (cert, key, words) in [
        (&files.cert, &strange.key, "is not the key of the certificate"),
        (&missing, &files.key, "missing.pem"),
        (&files.key, &files.key, "no certificate"),
        (&files.cert, &files.cert, "no private key"),
    ] {
        let mut serve = command(dir.path());
        serve.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key).stderr(Stdio::piped());
        let refused = timeout(PATIENCE, serve.output()).await.expect("it ends").unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(2) && said.contains(words), "{words}: {said}");
    }
}

/// A page that opens all streams at once, sends a request beside them, and reports the results.
fn page(events: &str, api: &str) -> String {
    let mut page = String::from("<!doctype html><script>\nlet open = 0, ends = [];\n");
    writeln!(page, "const want = {STREAMS}, events = '{events}', api = '{api}';").unwrap();
    page + "
const tell = what => fetch('/told', { method: 'POST', body: JSON.stringify(what) });
setTimeout(() => tell({ open, stuck: true }), 30000);
for (let n = 0; n < want; n++) {
  const stream = new EventSource(events);
  stream.onopen = async () => {
    if (++open < want) return;
    const answer = await fetch(api);
    tell({ open, status: answer.status });
  };
}
</script>"
}

/// A page that opens as many streams without reading them to their end. It reports the open ones
/// when the first has said much more after six were open. It reports the one that opens when that
/// is closed.
fn starving_page(events: &str) -> String {
    let mut page = String::from("<!doctype html><script>\nlet open = 0, before = 0, heard = 0;\n");
    writeln!(page, "const want = {STREAMS}, events = '{events}';").unwrap();
    page + "
const tell = what => fetch('/told', { method: 'POST', body: JSON.stringify(what) });
for (let n = 0; n < want; n++) {
  const stream = new EventSource(events);
  stream.onopen = () => { if (++open > before && before) tell({ before, after: open }); };
  if (n === 0) stream.addEventListener('delta', () => {
    if (open < 6 || ++heard !== 60) return;
    before = open;
    stream.close();
  });
}
</script>"
}

/// Serves the page until it reports its results.
async fn told(listener: TcpListener, page: String) -> Value {
    'connections: loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        let body = loop {
            // A browser opens connections ahead, and closes what it does not need.
            if socket.read_buf(&mut seen).await.unwrap() == 0 {
                continue 'connections;
            }
            let text = String::from_utf8_lossy(&seen).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            if !head.starts_with("POST /told") || body.ends_with('}') {
                break (head.starts_with("POST /told")).then(|| body.to_owned());
            }
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        );
        socket.write_all(answer.as_bytes()).await.unwrap();
        if let Some(body) = body {
            return serde_json::from_str(&body).unwrap();
        }
    }
}

fn chromium(url: &str, profile: &Path) -> Command {
    let mut chromium = Command::new("chromium");
    chromium
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--ignore-certificate-errors", "--no-proxy-server"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    chromium
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_tab_reads_more_than_six_streams() {
    let dir = TempDir::new().unwrap();
    let (files, root) = certify(dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here: SocketAddr = listener.local_addr().unwrap();
    let origin = format!("http://{here}");
    let mut app = TestApp::with(|config| {
        config.tls = Some(files);
        config.cors_origins = vec![origin.clone()];
    })
    .await;
    app.client.base = format!("https://{}", app.address);
    app.client.http = trusting(&root);
    let id = app.client.start_prompt("/demo tokens=1000000 tps=20 ttft_ms=0").await;
    let events = format!("https://{}/v1/generations/{id}/events", app.address);
    let api = format!("https://{}/v1/models", app.address);
    let profile = TempDir::new().unwrap();
    let mut browser = chromium(&origin, profile.path()).spawn().expect("chromium is installed");
    let told = timeout(PATIENCE, told(listener, page(&events, &api))).await.expect("it tells");
    assert_eq!(told["open"], STREAMS, "{told}");
    assert_eq!(told["status"], 200, "and another request beside them: {told}");
    browser.kill().await.unwrap();
    let cancelled = app.client.post(&format!("/v1/generations/{id}/cancel"), &json!({})).await;
    assert_eq!(cancelled.status(), 200);
    app.stop().await;
}

/// Without HTTP/2 the seventh stream waits for one of six connections: so the test above really
/// tests HTTP/2.
#[tokio::test(flavor = "multi_thread")]
async fn without_http2_the_seventh_stream_starves() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let app = TestApp::with(|config| config.cors_origins = vec![origin.clone()]).await;
    let id = app.client.start_prompt("/demo tokens=1000000 tps=20 ttft_ms=0").await;
    let events = format!("http://{}/v1/generations/{id}/events", app.address);
    let profile = TempDir::new().unwrap();
    let mut browser = chromium(&origin, profile.path()).spawn().expect("chromium is installed");
    let told = timeout(PATIENCE, told(listener, starving_page(&events))).await.expect("it tells");
    assert_eq!(told, json!({"before": 6, "after": 7}));
    browser.kill().await.unwrap();
    app.client.cancel(&id).await;
    app.stop().await;
}

/// One connection carried as many streams as its client opened, beyond every limit of connections.
#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_connection_count_as_connections() {
    let change = |config: &mut lastword::config::Config| {
        config.h2c = true;
        config.limits.connections = 5;
    };
    let app = TestApp::with(change).await;
    let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = |path: &str| format!("{}{path}", app.client.base);
    let body = serde_json::json!({ "prompt": "/demo tokens=1000000 tps=5" });
    let started = http.post(url("/v1/generations")).json(&body).send().await.unwrap();
    let started: serde_json::Value = started.json().await.unwrap();
    let id = started["id"].as_str().unwrap();
    let events = url(&format!("/v1/generations/{id}/events"));
    let mut streams = Vec::new();
    let refused = loop {
        let stream = http.get(&events).send().await.unwrap();
        if stream.status() != 200 {
            break stream;
        }
        streams.push(stream);
        assert!(streams.len() < 5, "the connection itself is one");
    };
    assert_eq!((streams.len(), refused.status().as_u16()), (4, 503));
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(problem["limit"], "connections");
    drop(streams);
    let cancel = url(&format!("/v1/generations/{id}/cancel"));
    while http.post(&cancel).send().await.unwrap().status() != 200 {}
    app.stop().await;
}
