//! `lastword ask` and its like, as people and scripts use them: the real program against real
//! servers.
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::client::{PATIENCE, text};
use crate::harness::{TestApp, model_config};
use crate::process::{Server, command, command_at};
use crate::upstream::{Answer, Script, Upstream};

fn program(args: &[&str]) -> Command {
    let mut program = Command::new(crate::program::path());
    program.args(args).env_remove("LASTWORD_SERVER").env_remove("LASTWORD_API_KEY");
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    program
}

/// Its exit code, its standard output and its standard error.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

pub(crate) async fn run(args: &[&str]) -> Said {
    timeout(PATIENCE, program(args).output()).await.expect("it ends").unwrap().into()
}

async fn rest_of(child: Child) -> Said {
    timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap().into()
}

/// Reads until so many bytes are there.
async fn first(child: &mut Child, bytes: usize) -> String {
    let mut read = vec![0; bytes];
    let out = child.stdout.as_mut().unwrap();
    timeout(PATIENCE, out.read_exact(&mut read)).await.expect("it speaks").unwrap();
    String::from_utf8(read).unwrap()
}

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap());
    kill(pid, Signal::SIGINT).unwrap();
}

/// The generation that the last line names.
fn id(said: &Said) -> &str {
    let named = said.err.rsplit_once('(').unwrap_or_else(|| panic!("{}", said.err)).1;
    named.trim_end().trim_end_matches(')')
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_restarted_costs_nothing() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(command(dir.path())).await;
    let (address, base) = (server.address, server.client.base.clone());
    let prompt = "/demo tokens=120 tps=60 ttft_ms=0 seed=3";
    let mut asking = program(&["ask", "--server", &base, prompt]).spawn().unwrap();
    let mut following = program(&["ask", "--server", &base, "--json", prompt]).spawn().unwrap();
    let begun = first(&mut asking, 60).await;
    let mut events = first(&mut following, 400).await;
    server.kill().await;
    let server = Server::start(command_at(dir.path(), address)).await;
    let said = rest_of(asking).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    let whole = server.client.view(id(&said)).await;
    let whole = whole["text"].as_str().unwrap();
    assert_eq!(begun + &said.out, format!("{whole}\n"), "all of it, once");
    assert!(said.err.contains("tokens/s, the first after "), "{}", said.err);

    let said = rest_of(following).await;
    events.push_str(&said.out);
    let lines: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<u64> = lines.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    let id = lines[0]["generation"].as_str().unwrap();
    let read = server.client.all(id, 0).await;
    let read: Vec<&str> = read.iter().map(|event| event.data.as_str()).collect();
    assert_eq!(events.lines().collect::<Vec<_>>(), read, "the very objects of the server");
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_cancels_and_waits_for_the_receipt() {
    let app = TestApp::start().await;
    let base = &app.client.base;
    let prompt = "/demo tokens=100000 tps=50 ttft_ms=0";
    let mut asking = program(&["ask", "--server", base, prompt]).spawn().unwrap();
    let begun = first(&mut asking, 40).await;
    interrupt(&asking);
    let said = rest_of(asking).await;
    assert_eq!(said.code, Some(130), "{}", said.err);
    let view = app.client.view(id(&said)).await;
    assert_eq!(view["status"], "cancelled");
    let receipt = format!("cancelled: event {} is the last, and durable", view["last_seq"]);
    assert!(said.err.contains(&receipt), "{}", said.err);
    assert_eq!((begun + &said.out).trim_end(), view["text"].as_str().unwrap().trim_end());

    // Before the first token, too.
    let asking = program(&["ask", "--server", base, "/demo ttft_ms=60000"]).spawn().unwrap();
    let id = loop {
        let list: Value =
            app.client.get("/v1/generations?status=running").await.json().await.unwrap();
        if let Some(id) = list["data"][0]["id"].as_str() {
            break id.to_owned();
        }
    };
    interrupt(&asking);
    assert_eq!(rest_of(asking).await.code, Some(130));
    assert_eq!(app.client.view(&id).await["status"], "cancelled");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_output_ends_it_quietly_and_cancels() {
    let app = TestApp::start().await;
    let prompt = "/demo tokens=100000 tps=200 ttft_ms=0";
    let mut asking = program(&["ask", "--server", &app.client.base, prompt]).spawn().unwrap();
    first(&mut asking, 40).await;
    drop(asking.stdout.take());
    let said = rest_of(asking).await;
    assert_eq!((said.code, said.err.as_str()), (Some(141), ""));
    let list: Value = app.client.get("/v1/generations").await.json().await.unwrap();
    assert_eq!(list["data"][0]["status"], "cancelled");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ending_has_its_exit_code() {
    let refuses = Upstream::start(Answer::status(401).raw("no")).await;
    let breaks = Upstream::start(Script::with(|_, number| {
        let said = Answer::sse().text("Once").text(" upon");
        if number == 0 { said.cut() } else { said.text(" a time").complete() }
    }))
    .await;
    let model = |name: &str, upstream: &Upstream| {
        let base = upstream.base_url();
        model_config(&format!("name = '{name}'\nprovider = 'openai'\nbase_url = '{base}'"))
    };
    let app = TestApp::with(|c| {
        c.models = vec![model("refuses", &refuses), model("breaks", &breaks)];
        c.default_model = Some("demo".into());
    })
    .await;
    let ask =
        async |args: &[&str]| run(&[&["ask", "--server", &app.client.base], args].concat()).await;

    let said = ask(&["/demo", "tokens=3", "tps=0"]).await;
    assert_eq!((said.code, said.out.as_str()), (Some(0), "This is lastword's\n"), "{}", said.err);
    let said = ask(&["-q", "/demo tokens=3 tps=0"]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "nothing beside the answer");
    let said = ask(&["/demo tokens=3 tps=0 length"]).await;
    assert_eq!(said.code, Some(4), "{}", said.err);
    assert!(said.err.contains("incomplete: length"), "{}", said.err);
    let said = ask(&["-m", "refuses", "x"]).await;
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("failed: the model answered with HTTP 401"), "{}", said.err);
    let said = ask(&["-m", "breaks", "x"]).await;
    assert_eq!((said.code, said.out.as_str()), (Some(0), "Once upon\nOnce upon a time\n"));
    assert!(said.err.contains("begins again"), "{}", said.err);
    let said = ask(&["-m", "demmo", "x"]).await;
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("Did you mean `demo`?"), "{}", said.err);
    assert!(said.err.contains("There is breaks, demo, refuses."), "{}", said.err);
    assert_eq!(ask(&[" "]).await.code, Some(2));

    let base = &app.client.base;
    let mut asking =
        program(&["ask", "--server", base, "/demo tokens=9999 tps=99 ttft_ms=0", "--json"])
            .spawn()
            .unwrap();
    let started = first(&mut asking, 400).await;
    let started: Value = serde_json::from_str(started.lines().next().unwrap()).unwrap();
    app.client.cancel(started["generation"].as_str().unwrap()).await;
    assert_eq!(rest_of(asking).await.code, Some(5), "cancelled elsewhere");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_comes_from_standard_input() {
    let app = TestApp::start().await;
    let mut program = program(&["ask", "--server", &app.client.base, "-s", "Be brief", "-"]);
    let mut asking = program.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = asking.stdin.take().unwrap();
    input.write_all(b"/demo tokens=2 tps=0").await.unwrap();
    drop(input);
    let said = rest_of(asking).await;
    assert_eq!((said.code, said.out.as_str()), (Some(0), "This is\n"), "{}", said.err);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_in_clear_words() {
    let said = run(&["ask", "--server", "http://127.0.0.1:9", "x"]).await;
    assert_eq!(said.code, Some(3));
    let words = "cannot reach a lastword server at http://127.0.0.1:9: Connection refused";
    assert!(said.err.contains(words) && said.err.contains("lastword serve"), "{}", said.err);
    let page = Answer::status(200).header("content-type", "text/html").raw("<html>");
    let page = Upstream::start(page).await;
    let server = format!("http://127.0.0.1:{}", page.port());
    let said = run(&["ask", "--server", &server, "x"]).await;
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("is no lastword server"), "{}", said.err);
    for args in [
        &["ask", "--server", "ftp://localhost", "x"][..],
        &["tail", "nonsense"],
        &["ask"],
        &["completions", "cmd"],
    ] {
        let said = run(args).await;
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{args:?}: {}", said.err);
        assert!(!said.err.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_a_server_that_wants_one() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().to_str().unwrap();
    let key = run(&["keys", "create", "--name", "me", "--data-dir", data]).await.out;
    let mut serve = command(dir.path());
    serve.arg("--require-key");
    let server = Server::start(serve).await;
    let base = &server.client.base;
    let said = run(&["ask", "--server", base, "x"]).await;
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("LASTWORD_API_KEY"), "{}", said.err);
    let mut asking = program(&["ask", "--server", base, "/demo tokens=2 tps=0"]);
    let said = rest_of(asking.env("LASTWORD_API_KEY", key.trim()).spawn().unwrap()).await;
    assert_eq!((said.code, said.out.as_str()), (Some(0), "This is\n"), "{}", said.err);
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_follows_and_leaves_the_generation_alone() {
    // Every stream ends early, and its reader comes back.
    let app = TestApp::with(|c| c.limits.connection_age = Duration::from_millis(200)).await;
    let base = &app.client.base;
    let id = app.client.start_prompt("/demo tokens=80 tps=80 ttft_ms=0 seed=5").await;
    let said = run(&["tail", "--server", base, &id]).await;
    let events = app.client.all(&id, 0).await;
    assert_eq!((said.code, said.out), (Some(0), format!("{}\n", text(&events))), "{}", said.err);
    let said = run(&["tail", "--server", base, &id, "--after", "78", "--json"]).await;
    let lines: Vec<&str> = said.out.lines().collect();
    let rest: Vec<&str> = events[78..].iter().map(|event| event.data.as_str()).collect();
    assert_eq!(lines, rest);
    let last = events.last().unwrap().id.to_string();
    assert_eq!(run(&["tail", "--server", base, &id, "--after", &last]).await.code, Some(0));

    let id = app.client.start_prompt("/demo tokens=9999 tps=50 ttft_ms=0").await;
    let mut tailing = program(&["tail", "--server", base, &id]).spawn().unwrap();
    first(&mut tailing, 20).await;
    interrupt(&tailing);
    let said = rest_of(tailing).await;
    assert_eq!(said.code, Some(130));
    assert!(said.err.contains(&format!("it goes on: lastword tail {id}")), "{}", said.err);
    assert_eq!(app.client.view(&id).await["status"], "running");
    app.client.cancel(&id).await;
    let missing = run(&["tail", "--server", base, "0199b0a1-0000-7000-8000-000000000000"]).await;
    assert_eq!(missing.code, Some(2), "{}", missing.err);
    app.stop().await;
}

#[tokio::test]
async fn the_program_explains_itself() {
    let version = run(&["--version"]).await.out;
    let commit =
        version.trim_end().rsplit_once('(').map(|(_, commit)| commit.trim_end_matches(')'));
    let commit = commit.unwrap_or_else(|| panic!("{version}"));
    assert!(commit == "unknown" || commit.bytes().all(|b| b.is_ascii_hexdigit()), "{version}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]).await;
        assert!(script.out.contains("ask") && script.out.contains("system"), "{shell}");
    }
    let help = run(&["--help"]).await.out;
    for word in ["Exit codes:", "130", "lastword ask", "completions"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    assert!(run(&["ask", "--help"]).await.out.contains("Ctrl-C cancels"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_from_a_pipe_and_an_address_needs_no_scheme() {
    let app = TestApp::start().await;
    let server = app.client.base.strip_prefix("http://").unwrap();
    let piped = async |args: &[&str], prompt: &[u8]| {
        let mut program = program(&[&["ask", "--server", server], args].concat());
        let mut asking = program.stdin(Stdio::piped()).spawn().unwrap();
        // A program that refuses does not read it.
        let _ = asking.stdin.take().unwrap().write_all(prompt).await;
        rest_of(asking).await
    };
    let none = piped(&["-c"], b"hi").await;
    assert_eq!(none.code, Some(2), "{}", none.err);
    assert!(none.err.contains("there is no conversation yet"), "{}", none.err);
    let first = piped(&["--conversation", "new"], b"/demo tokens=1 tps=0").await;
    assert_eq!((first.code, first.out.as_str()), (Some(0), "This\n"), "{}", first.err);
    assert!(first.err.contains("1 token,"), "{}", first.err);
    let named = first.err.split("--conversation ").nth(1).unwrap();
    let conversation = named.split_whitespace().next().unwrap();
    let thinks = "/demo tokens=2 tps=0 reasoning";
    let second = piped(&["--conversation", conversation, "--reasoning"], thinks.as_bytes()).await;
    assert_eq!(second.code, Some(0), "{}", second.err);
    assert!(second.err.contains("Let me see"), "{}", second.err);
    assert!(!second.err.contains('\x1b'), "no colours in a pipe: {}", second.err);
    assert_eq!(piped(&["-c"], b"/demo tokens=1 tps=0").await.code, Some(0));
    assert_eq!(piped(&["-c"], b" ").await.code, Some(2), "no prompt");
    let path = format!("/v1/conversations/{conversation}/messages");
    let messages: Value = app.client.get(&path).await.json().await.unwrap();
    assert_eq!(messages["data"].as_array().unwrap().len(), 6);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spinner_is_gone_before_an_error_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    // A terminal of its own.
    let asks = format!("{} ask --server {server} hi", crate::program::path());
    let mut asking = Command::new("script")
        .args(["-qefc", &asks, "/dev/null"])
        .env_remove("LASTWORD_API_KEY")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut out = asking.stdout.take().unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("waiting") {
        let read = timeout(PATIENCE, out.read_buf(&mut seen)).await.expect("it turns").unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&seen));
    }
    // An answer that comes before its question is no answer: the client asks again, elsewhere.
    let mut asked = Vec::new();
    while !String::from_utf8_lossy(&asked).contains("\"hi\"") {
        let read =
            timeout(PATIENCE, connection.read_buf(&mut asked)).await.expect("it asks").unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&asked));
    }
    let problem = r#"{"code":"unauthenticated","detail":"a key is needed"}"#;
    let answer = format!(
        "HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{problem}",
        problem.len()
    );
    connection.write_all(answer.as_bytes()).await.unwrap();
    timeout(PATIENCE, out.read_to_end(&mut seen)).await.expect("it ends").unwrap();
    let seen = String::from_utf8_lossy(&seen);
    let (_, last) = seen.rsplit_once("waiting").unwrap();
    let (turned, told) = last.split_once("lastword: ").unwrap();
    assert!(turned.contains("\r\x1b[K"), "erased: {seen:?}");
    assert!(told.starts_with("a key is needed"), "{seen:?}");
    let status = timeout(PATIENCE, asking.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(2));
}
