//! The program as its users run it: its refusals, its reaction to odd targets, its output.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers")]
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn streamproof(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_streamproof")).args(args).output().unwrap()
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server that does the same with every connection, in threads that end with the test.
fn server(answer: fn(TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            std::thread::spawn(move || {
                let mut socket = socket.unwrap();
                let _ = socket.read(&mut [0; 16 << 10]);
                answer(socket);
            });
        }
    });
    format!("http://{address}")
}

/// The exit code and the words for a server that gives no stream.
fn tried(answer: fn(TcpStream)) -> (Option<i32>, String) {
    let target = server(answer);
    let begun = Instant::now();
    let output =
        streamproof(&["run", "--protocol", "chat", "--target", &target, "--silence-s", "1"]);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    (output.status.code(), says(&output))
}

fn write(mut socket: &TcpStream, text: &str) -> bool {
    socket.write_all(text.as_bytes()).is_ok()
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// How an odd target treats a connection.
type Server = fn(TcpStream);

#[test]
fn what_makes_no_sense_is_refused() {
    let run = ["run", "--protocol", "chat", "--target"];
    let refused = |more: &[&str], word: &str| {
        let output = streamproof(&[&run[..], more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", says(&output));
        assert!(says(&output).contains(word), "{more:?}: {}", says(&output));
    };
    let here = "http://127.0.0.1:9";
    refused(&["http://192.0.2.1:80"], "--allow-remote");
    refused(&["http://[2001:db8::1]"], "--allow-remote");
    refused(&["ftp://127.0.0.1"], "not an http URL");
    refused(&["127.0.0.1:80"], "127.0.0.1:80");
    refused(&[here, "--upstream-listen", "0.0.0.0:0"], "can be reached from elsewhere");
    refused(&[here, "--only", "cutt"], "no scenario is called cutt");
    refused(&[here, "--expect", "resume.gaps"], "no check is called resume.gaps");
    refused(&[here, "--header", "authorization"], "NAME: VALUE");
    refused(&[here, "--map", "no-such-file.json"], "no-such-file.json");
    refused(&[here, "--protocol", "sse"], "cannot be used multiple times");
    let output = streamproof(&["check", "no-such-file.json"]);
    assert_eq!(output.status.code(), Some(2), "{}", says(&output));
}

#[test]
fn a_target_that_gives_no_stream_is_told_with_its_words() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = format!("http://{nobody}");
    let output = streamproof(&["run", "--protocol", "chat", "--target", &target]);
    assert_eq!(output.status.code(), Some(3));
    assert!(says(&output).contains("Connection refused"), "{}", says(&output));

    let cases: [(Server, &str); 6] = [
        (|_| {}, "no stream: error sending request"),
        (|mut socket| drop(socket.read(&mut [0; 1])), "no answer"),
        (
            |socket| {
                let body = "<html><h1>It works!</h1></html>";
                write(
                    &socket,
                    &format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    ),
                );
            },
            "200, text/html",
        ),
        (
            |socket| {
                write(&socket, "HTTP/1.1 500 Oops\r\ncontent-length: 7\r\n\r\nno disk");
            },
            "500, no disk",
        ),
        (
            |socket| {
                write(
                    &socket,
                    "HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/\r\ncontent-length: 0\r\n\r\n",
                );
            },
            "302",
        ),
        // Comments without an end, and never an event.
        (|socket| while write(&socket, STREAM) && write(&socket, ":\n\n") {}, "text/event-stream"),
    ];
    for (answer, words) in cases {
        let (code, said) = tried(answer);
        assert_eq!(code, Some(3), "{words}: {said}");
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_stream_that_never_ends_is_a_failure_and_not_a_hang() {
    let endless = server(|socket| {
        let event = format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
            "x".repeat(1 << 20)
        );
        if write(&socket, STREAM) {
            while write(&socket, &event) {}
        }
    });
    let args = ["run", "--protocol", "chat", "--target", &endless, "--only", "whole"];
    let output = streamproof(&args);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{table}{}", says(&output));
    assert!(table.contains("no ending, TooMuch"), "{table}");
}

/// The reference server, with a fault or without, and its address.
struct Reference {
    child: Child,
    data: PathBuf,
    target: String,
}

impl Reference {
    fn start(upstream: &str, name: &str, more: &[&str]) -> Self {
        let data =
            std::env::temp_dir().join(format!("streamproof-cli-{}-{name}", std::process::id()));
        let upstream = format!("http://{upstream}/v1");
        let mut child = Command::new(env!("CARGO_BIN_EXE_streamproof"))
            .args(["reference", "--listen", "127.0.0.1:0", "--upstream", &upstream, "--data"])
            .arg(&data)
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut target = String::new();
        let mut pipe = child.stderr.take().unwrap();
        while !target.ends_with('\n') {
            let mut byte = [0];
            pipe.read_exact(&mut byte).unwrap();
            target.push(char::from(byte[0]));
        }
        Self { child, data, target: target.trim().to_owned() }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.data);
    }
}

/// An address that is free.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Tests a reference server; the result, and the history.
fn tested(fault: Option<&str>, name: &str) -> (Output, PathBuf) {
    let upstream = free();
    let more: Vec<&str> = fault.iter().flat_map(|fault| ["--fault", fault]).collect();
    let server = Reference::start(&upstream, name, &more);
    let history = server.data.with_extension("json");
    let map = concat!(env!("CARGO_MANIFEST_DIR"), "/maps/reference.json");
    let output = streamproof(&[
        "run",
        "--protocol",
        "sse",
        "--map",
        map,
        "--target",
        &server.target,
        "--only",
        "cut",
        "--upstream-listen",
        &upstream,
        "--seed",
        "7",
        "--json",
        "--history",
        history.to_str().unwrap(),
    ]);
    (output, history)
}

fn verdicts(output: &Output) -> Vec<(String, String)> {
    let json: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", says(output)));
    let word = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    let checks = json["checks"].as_array().unwrap();
    checks.iter().map(|check| (word(check, "id"), word(check, "verdict"))).collect()
}

/// Where the streams of a history were cut.
fn cuts(history: &PathBuf) -> Vec<usize> {
    let json: Value = serde_json::from_slice(&std::fs::read(history).unwrap()).unwrap();
    let runs = json["runs"].as_array().unwrap().iter().filter(|run| run["scenario"] == "cut");
    let first =
        |run: &Value| run["readers"][0]["connections"][0]["events"].as_array().unwrap().len();
    runs.map(first).collect()
}

#[test]
fn a_history_is_judged_again_without_the_server() {
    let (run, history) = tested(None, "good");
    assert_eq!(run.status.code(), Some(0), "{}", says(&run));
    assert!(says(&run).contains("cut 5/5"), "progress: {}", says(&run));
    let junit = history.with_extension("xml");
    let (file, xml) = (history.to_str().unwrap(), junit.to_str().unwrap());
    let again = streamproof(&["check", file, "--json", "--junit", xml]);
    assert_eq!(again.status.code(), Some(0), "{}", says(&again));
    assert_eq!(verdicts(&run), verdicts(&again));
    let text = std::fs::read_to_string(&junit).unwrap();
    let cases = text.matches("<testcase ").count();
    assert!(text.starts_with("<?xml") && cases == verdicts(&run).len(), "{text}");

    // The same seed cuts at the same places, another server's stream too.
    let (bad, other) = tested(Some("gap"), "gap");
    assert_eq!(bad.status.code(), Some(1), "{}", says(&bad));
    assert!(verdicts(&bad).contains(&("resume.gap".into(), "fail".into())), "{:?}", verdicts(&bad));
    assert_eq!(cuts(&history), cuts(&other));
    let again = streamproof(&["check", other.to_str().unwrap(), "--junit", xml]);
    assert_eq!(again.status.code(), Some(1));
    let text = std::fs::read_to_string(&junit).unwrap();
    assert!(text.contains("<failure message=\"cut 1: event"), "{text}");

    let mut old: Value = serde_json::from_slice(&std::fs::read(&other).unwrap()).unwrap();
    old["format"] = 1.into();
    std::fs::write(&other, old.to_string()).unwrap();
    let refused = streamproof(&["check", other.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(says(&refused).contains("its format is 1, not 3"), "{}", says(&refused));
    for file in [history, other, junit] {
        std::fs::remove_file(file).unwrap();
    }
}
