//! `lastword check`: a line for each check, with its remedy, and the exit code.
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::process::{Server, command};
use crate::upstream::{Answer, Upstream};

/// Its exit code and its lines.
async fn check(data_dir: &Path, models: &str, args: &[&str]) -> (Option<i32>, String) {
    let file = data_dir.join("check.toml");
    std::fs::write(&file, models).unwrap();
    let mut check = Command::new(crate::program::path());
    check.arg("check").arg("--no-detect").arg("--data-dir").arg(data_dir).args(args);
    check.arg("--config").arg(&file).env("RUST_LOG", "off");
    for name in ["DATABASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY"] {
        check.env_remove(name);
    }
    let Output { status, stdout, stderr } =
        timeout(PATIENCE, check.output()).await.expect("it ends").unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

fn model(name: &str, provider: &str, upstream: &Upstream) -> String {
    let base = upstream.base_url();
    format!("[[models]]\nname = '{name}'\nprovider = '{provider}'\nbase_url = '{base}'\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well() {
    let dir = TempDir::new().unwrap();
    let chat = Upstream::start(Answer::sse().text("ok").complete()).await;
    let messages = Upstream::start(Answer::whole_message(&["ok"])).await;
    let models = model("chat", "openai", &chat) + &model("messages", "anthropic", &messages);
    let (code, said) = check(dir.path(), &models, &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ok   configuration: understood"), "{said}");
    assert!(said.contains("ok   database: private PostgreSQL"), "{said}");
    assert!(said.contains("ok   model chat: answers (openai, the default)"), "{said}");
    assert!(said.contains("ok   model messages: answers (anthropic)"), "{said}");
    assert!(said.contains("ok   model demo: answers, and goes on from a text (demo)"), "{said}");
    for (upstream, field) in [(chat, "max_tokens"), (messages, "max_tokens")] {
        assert_eq!(upstream.requests()[0].body[field], 1, "one token is asked for");
    }
    let server = Server::start(command(dir.path())).await;
    let (code, said) = check(dir.path(), "", &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("run by process {}", server.pid())), "{said}");
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_comes_with_how_to_mend_it() {
    let dir = TempDir::new().unwrap();
    let rejects = Upstream::start(Answer::status(401).raw(r#"{"error":"bad key"}"#)).await;
    let page = Answer::status(200).header("content-type", "text/html").raw("<html>Login");
    let page = Upstream::start(page).await;
    let limited = Upstream::start(Answer::status(429).raw("no credit")).await;
    let models = [
        model("rejects", "openai", &rejects),
        model("page", "anthropic", &page),
        model("limited", "openai", &limited),
        "[[models]]\nname = 'gone'\nprovider = 'openai'\nbase_url = 'http://127.0.0.1:9'\n".into(),
    ];
    let url = ["--database-url", "postgres://127.0.0.1:9/x"];
    let (code, said) = check(dir.path(), &models.concat(), &url).await;
    assert_eq!(code, Some(1), "{said}");
    for (line, mend) in [
        ("BAD  database: ", "see that the server runs"),
        ("BAD  model rejects: the model answered with HTTP 401: bad key", "api_key_env"),
        ("BAD  model page: the model answered with text/html", "not of a web page"),
        ("BAD  model limited: the model answered with HTTP 429", "credit"),
        ("BAD  model gone: cannot connect", "see that its server runs"),
    ] {
        let rest = said.split_once(line).unwrap_or_else(|| panic!("no `{line}` in {said}")).1;
        let next = rest.lines().nth(1).unwrap();
        assert!(next.contains("to mend it: ") && next.contains(mend), "{line}: {next}");
    }
    let (code, said) = check(dir.path(), "nonsense = 1", &[]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("nonsense"), "{said}");
}

/// Ten tokens are asked for, then the first five sent back. transformers serve 5.24 and vLLM 0.32
/// with some templates refuse; a template that closes the turn begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_does_not_go_on_is_found_out() {
    let dir = TempDir::new().unwrap();
    let ten = || {
        let pieces = ["One", ",", " two", ",", " three", ",", " four", ",", " five", ","];
        pieces.iter().fold(Answer::sse(), |answer, text| answer.text(text)).finish("length").done()
    };
    let then = |answer| vec![ten(), answer];
    let says = |text: &str| Answer::sse().text(text).complete();
    let refuses = Upstream::start(then(Answer::status(422).raw("unexpected field"))).await;
    let anew = Upstream::start(then(ten())).await;
    // Neither repeats the last word: they are asked again behind the whole text.
    let blank = Upstream::start(then(says(" \n, four"))).await;
    let silent = Upstream::start(then(Answer::sse().complete())).await;
    let other = Upstream::start(then(says(" three ducks"))).await;
    let goes_on = Upstream::start(then(says(" three, four, five"))).await;
    let thinks = Upstream::start(Answer::sse().delta(&thinking()).finish("length").done()).await;
    let prefix = |name, upstream| model(name, "openai", upstream) + "continuation = 'prefix'\n";
    let models = [
        prefix("no", &refuses),
        prefix("anew", &anew),
        prefix("blank", &blank),
        prefix("silent", &silent),
        prefix("other", &other),
        prefix("yes", &goes_on),
        prefix("thinks", &thinks),
    ];
    let (code, said) = check(dir.path(), &models.concat(), &[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("BAD  model no: answers, and cannot go on from a text: "), "{said}");
    assert!(said.contains("422: unexpected field"), "{said}");
    let cannot = "answers, and cannot go on from a text";
    for line in [
        format!("BAD  model anew: {cannot}: it begins anew (openai)"),
        format!("BAD  model blank: {cannot}: white space is lost or repeated"),
        format!("BAD  model silent: {cannot}: it says nothing more (openai)"),
        "ok   model other: answers, and goes on from a text in other words".into(),
        "ok   model yes: answers, and goes on from a text (openai)".into(),
        "ok   model thinks: answers (openai)".into(),
    ] {
        assert!(said.contains(&line), "{line}\n{said}");
    }
    let sent: Vec<String> = goes_on.requests().iter().map(|r| r.so_far().to_owned()).collect();
    assert_eq!(sent, ["", "One, two,"], "the last of five tokens is said again");
}

/// Ten tokens of a model that thinks first.
fn thinking() -> serde_json::Value {
    serde_json::json!({ "reasoning_content": "They want a list of numbers" })
}
