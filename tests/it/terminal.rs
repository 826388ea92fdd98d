//! The terminal client where somebody watches: lines that end between words, names that a
//! shell completes.
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use crate::ask::{Said, run};
use crate::client::PATIENCE;
use crate::harness::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_breaks_lines_between_words_and_a_pipe_does_not() {
    let app = TestApp::start().await;
    let prompt = "/demo tokens=60 tps=0 ttft_ms=0 seed=3";
    let server = &app.client.base;
    let asks = format!(
        "stty rows 24 cols 40 && {} ask --quiet --server {server} '{prompt}'",
        crate::program::path()
    );
    let mut terminal = Command::new("script");
    terminal.args(["-qefc", &asks, "/dev/null"]).env_remove("LASTWORD_API_KEY");
    let asking = terminal.stdin(Stdio::null()).stdout(Stdio::piped()).output();
    let said: Said = timeout(PATIENCE, asking).await.expect("it ends").unwrap().into();
    assert_eq!(said.code, Some(0), "{}", said.out);
    let piped = run(&["ask", "--quiet", "--server", server, prompt]).await.out;
    assert!(piped.lines().any(|line| line.len() > 40) && !piped.contains('\x1b'), "{piped}");
    // Each line as it is after the erasures.
    let mut lines = Vec::new();
    for line in said.out.split("\r\n") {
        let mut left = String::new();
        for (n, piece) in line.split("\x1b[").enumerate() {
            if n == 0 {
                left.push_str(piece);
            } else if let Some(rest) = piece.strip_prefix('K') {
                left.push_str(rest);
            } else {
                let (column, rest) = piece.split_once('G').unwrap();
                left.truncate(column.parse::<usize>().unwrap() - 1);
                left.push_str(rest);
            }
        }
        lines.push(left);
    }
    let shown = |line: &String| line.trim_start_matches('\r').len() <= 41;
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let last = lines.iter().rev().take_while(|line| shown(line)).count();
    assert!(last > 4, "{lines:#?}");
    assert!(said.out.contains("\x1b[K"), "a word was moved: {:?}", said.out);
    let ends = words(&piped).into_iter().rev().take(8).rev().collect::<Vec<_>>();
    let all = words(&lines.join(" "));
    assert!(all.ends_with(&ends), "{all:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_and_a_shell_completes_their_names() {
    let app = TestApp::with(|config| {
        let more = "provider = 'openai'\nbase_url = 'http://127.0.0.1:9/v1'";
        for name in ["rivers", "rapids"] {
            let model = crate::harness::model_config(&format!("name = '{name}'\n{more}"));
            config.models.push(model);
        }
    })
    .await;
    let said = run(&["models", "--server", &app.client.base]).await;
    assert_eq!((said.code, said.out.as_str()), (Some(0), "rivers\ndemo\nrapids\n"), "{}", said.err);
    // As bash asks: the word so far, and the one before it.
    for flag in ["--model", "-m"] {
        let script = format!(
            "source <(lastword completions bash); COMP_WORDS=(lastword ask {flag} r); COMP_CWORD=3; \
             _lastword lastword r {flag}; echo \"${{COMPREPLY[*]}}\""
        );
        let program = std::path::Path::new(crate::program::path());
        let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).env("PATH", path).env("LASTWORD_SERVER", &app.client.base);
        bash.env_remove("LASTWORD_API_KEY").stdin(Stdio::null()).kill_on_drop(true);
        let completed = timeout(PATIENCE, bash.output()).await.expect("it ends").unwrap();
        assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "rivers rapids", "{flag}");
    }
    for shell in ["fish", "zsh"] {
        let script = run(&["completions", shell]).await.out;
        let lines = script.lines().filter(|line| line.contains("lastword models 2>/dev/null"));
        let named: Vec<&str> = lines.collect();
        assert!(!named.is_empty() && named.iter().all(|line| line.contains("model")), "{named:?}");
    }
    app.stop().await;
}
