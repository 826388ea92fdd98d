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

/// All that a terminal of 40 columns gets of such a command, and its exit code.
async fn on_a_terminal(command: &str, environment: &[(&str, &str)]) -> Said {
    let asks = format!("stty rows 24 cols 40 && {} {command}", crate::program::path());
    let mut terminal = Command::new("script");
    terminal.args(["-qefc", &asks, "/dev/null"]);
    for name in ["LASTWORD_API_KEY", "NO_COLOR"] {
        terminal.env_remove(name);
    }
    terminal.env("TERM", "xterm-256color").envs(environment.iter().copied());
    let asking = terminal.stdin(Stdio::null()).stdout(Stdio::piped()).output();
    timeout(PATIENCE, asking).await.expect("it ends").unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_no_colours_gets_none_and_a_dumb_terminal_no_codes() {
    let app = TestApp::start().await;
    let server = &app.client.base;
    let asks = format!("ask --server {server} '/demo tokens=60 tps=200 ttft_ms=0 seed=3'");
    let fails = format!("ask --server {server} --model nobody hi");
    let colours = |text: &str| text.split("\x1b[").skip(1).any(is_colour);
    // The codes of a spinner, and of words that move, are no colours.
    for (environment, coloured, moves) in [
        (&[] as &[_], true, true),
        (&[("NO_COLOR", "")], true, true),
        (&[("NO_COLOR", "1")], false, true),
        (&[("TERM", "dumb")], false, false),
        (&[("TERM", "dumb"), ("NO_COLOR", "1")], false, false),
    ] {
        let said = on_a_terminal(&asks, environment).await;
        assert_eq!(said.code, Some(0), "{}", said.out);
        assert_eq!(colours(&said.out), coloured, "{environment:?}: {:?}", said.out);
        assert_eq!(said.out.contains("\x1b["), moves, "{environment:?}: {:?}", said.out);
        assert!(said.out.contains("tokens/s"), "the note is there: {:?}", said.out);
        let said = on_a_terminal(&fails, environment).await;
        assert_ne!(said.code, Some(0));
        assert_eq!(colours(&said.out), coloured, "{environment:?}: {:?}", said.out);
        assert!(said.out.contains("lastword: "), "{:?}", said.out);
    }
    app.stop().await;
}

/// Whether what stands behind `ESC [` is a colour: numbers, then `m`.
fn is_colour(code: &str) -> bool {
    code.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
}
