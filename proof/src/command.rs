//! The commands: each returns whether all that is offered passed.
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Failure;
use crate::args::{Check, Output, Reference as ReferenceOptions, Run};
use crate::checks::{self, Verdict};
use crate::client::{Client, millis};
use crate::history::{FORMAT, History, Scenario};
use crate::hooks::{Commands, Hooks};
use crate::lab::{Dice, Lab, Settings};
use crate::reference::{Options, Reference};
use crate::report;
use crate::scenarios;
use crate::upstream::Upstream;
use crate::wire;

/// Tests a server.
pub(crate) async fn run(args: Run) -> Result<bool, Failure> {
    for target in &args.target {
        allowed(target, args.allow_remote).map_err(Failure::Refused)?;
    }
    let only = only(&args.only).map_err(Failure::Refused)?;
    for id in &args.expect {
        if !checks::ALL.iter().any(|check| check.id == id) {
            return Err(Failure::Refused(format!("no check is called {id}: streamproof list")));
        }
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = args.seed.unwrap_or_else(|| millis(since));
    let mut lab = lab(&args, seed, millis(since)).await?;
    let mut history = History {
        format: FORMAT,
        protocol: lab.wire.name().into(),
        targets: args.target.clone(),
        seed,
        begun_at: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
        cancel_within_ms: millis(lab.settings.cancel_within),
        expected: args.expect.clone(),
        runs: Vec::new(),
    };
    let limit = Duration::from_secs(args.load.time_limit_s);
    let tell = |what: &str| eprintln!("{what}");
    let in_time = scenarios::all(&mut lab, &mut history, &only, limit, &tell).await;
    if let Some(file) = &args.history {
        write(file, &serde_json::to_string(&history).unwrap_or_default())?;
    }
    let spoke = |run: &crate::history::Run| {
        run.readers.iter().flat_map(|r| &r.connections).any(|c| !c.events.is_empty())
    };
    if !history.runs.iter().any(spoke) {
        let problem = history.runs.iter().find_map(|run| run.problem.clone());
        let why = problem.unwrap_or_else(|| "the target gave no stream".into());
        return Err(Failure::Impossible(why));
    }
    let passed = show(&history, &args.output)?;
    let undone = history.runs.iter().find_map(|run| run.problem.as_ref());
    if let Some(problem) = undone.filter(|_| passed) {
        return Err(Failure::Impossible(format!("not all could be done: {problem}")));
    }
    if in_time {
        return Ok(passed);
    }
    Err(Failure::Impossible(format!("not all was done within {} s", args.load.time_limit_s)))
}

async fn lab(args: &Run, seed: u64, now: u64) -> Result<Lab, Failure> {
    let refused = Failure::Refused;
    let map = args.map.as_deref().map(template).transpose().map_err(refused)?;
    let wire = wire::of(&args.protocol, map).map_err(refused)?;
    let headers: Option<Vec<(String, String)>> = args
        .header
        .iter()
        .map(|h| h.split_once(':').map(|(n, v)| (n.trim().to_owned(), v.trim().to_owned())))
        .collect();
    let headers = headers.ok_or_else(|| refused("a header is NAME: VALUE".into()))?;
    let load = &args.load;
    let silence = Duration::from_secs(load.silence_s);
    let upstream = match &args.upstream_listen {
        Some(listen) => {
            Some(Upstream::start(listen).await.map_err(|e| refused(format!("{listen}: {e}")))?)
        }
        None => None,
    };
    let hooks = args.start.clone().map(|start| {
        let hooks = Commands::new(args.kill.clone(), args.pid, start, &args.target[0]);
        Arc::new(hooks) as Arc<dyn Hooks>
    });
    Ok(Lab {
        wire: Arc::from(wire),
        client: Client::new(headers, silence).map_err(Failure::Impossible)?,
        targets: args.target.iter().map(|t| t.trim_end_matches('/').to_owned()).collect(),
        settings: Settings {
            model: args.model.clone(),
            prompt: args.prompt.clone(),
            tokens: usize::try_from(load.tokens).unwrap_or(usize::MAX),
            gap_ms: load.gap_ms,
            rounds: load.rounds,
            kills: load.kills,
            silence,
            cancel_within: Duration::from_secs(load.cancel_within_s),
            later: Duration::from_secs(load.later_s),
            slow: Duration::from_secs(2),
            prefix: format!("sp{now:x}"),
        },
        upstream,
        hooks,
        dice: Dice(seed),
        names: 0,
        resumable: false,
        events: 0,
    })
}

fn template(file: &Path) -> Result<wire::Template, String> {
    let of_file = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| of_file(&error))?;
    serde_json::from_str(&text).map_err(|error| of_file(&error))
}

/// A test breaks things: it is for this machine, unless somebody says otherwise.
fn allowed(target: &str, remote: bool) -> Result<(), String> {
    let (scheme, rest) = target.split_once("://").ok_or(format!("{target} is not a URL"))?;
    if !matches!(scheme, "http" | "https") {
        return Err(format!("{target} is not an http URL"));
    }
    let authority = rest.split('/').next().unwrap_or(rest);
    let with_port =
        if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let addresses = with_port.to_socket_addrs().map_err(|error| format!("{target}: {error}"))?;
    let elsewhere = addresses.map(|address| address.ip()).find(|ip: &IpAddr| !ip.is_loopback());
    match elsewhere {
        Some(ip) if !remote => {
            Err(format!("{target} is {ip}, not this machine: --allow-remote tests it all the same"))
        }
        Some(_) | None => Ok(()),
    }
}

fn only(words: &[String]) -> Result<Vec<Scenario>, String> {
    let known = |word: &String| {
        let found = scenarios::ALL.into_iter().find(|s| scenarios::word(*s) == *word);
        found.ok_or_else(|| {
            let all: Vec<String> = scenarios::ALL.into_iter().map(scenarios::word).collect();
            format!("no scenario is called {word}: {}", all.join(", "))
        })
    };
    words.iter().map(known).collect()
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let written = fs::write(file, text);
    written.map_err(|error| Failure::Impossible(format!("{}: {error}", file.display())))
}

fn show(history: &History, output: &Output) -> Result<bool, Failure> {
    let findings = checks::judge(history);
    let facts = checks::facts(history);
    let text = if output.json {
        format!("{:#}\n", report::json(history, &findings, &facts))
    } else {
        report::table(history, &findings, &facts)
    };
    // Nobody reads on: the exit code still says it.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if let Some(file) = &output.junit {
        write(file, &report::junit(history, &findings))?;
    }
    Ok(findings.iter().all(|finding| finding.verdict != Verdict::Fail))
}

/// Judges a file.
pub(crate) fn check(args: &Check) -> Result<bool, Failure> {
    let of_file = |error: &dyn std::fmt::Display| {
        Failure::Refused(format!("{}: {error}", args.file.display()))
    };
    let text = fs::read_to_string(&args.file).map_err(|error| of_file(&error))?;
    let history: History = serde_json::from_str(&text).map_err(|error| of_file(&error))?;
    if history.format != FORMAT {
        return Err(of_file(&format!("format {} is not {FORMAT}", history.format)));
    }
    show(&history, &args.output)
}

/// Prints all checks.
pub(crate) fn list() {
    let mut text = String::new();
    for check in &checks::ALL {
        text +=
            &format!("{:<18} {}\n{:19}source: {}\n", check.id, check.sentence, "", check.source);
    }
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Serves the reference server until Ctrl-C.
pub(crate) async fn reference(args: ReferenceOptions) -> Result<bool, Failure> {
    let ReferenceOptions { listen, upstream, data, fault } = args;
    let options = Options { upstream, data, fault };
    let server = Reference::start(&listen, options).await;
    let server = server.map_err(|error| Failure::Impossible(format!("{listen}: {error}")))?;
    eprintln!("http://{}", server.address);
    let _ = tokio::signal::ctrl_c().await;
    Ok(true)
}

/// Serves the scripted upstream until Ctrl-C.
pub(crate) async fn upstream(listen: &str) -> Result<bool, Failure> {
    let upstream = Upstream::start(listen).await;
    let upstream = upstream.map_err(|error| Failure::Impossible(format!("{listen}: {error}")))?;
    eprintln!("http://{}/v1", upstream.address());
    let _ = tokio::signal::ctrl_c().await;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn only_this_machine_is_tested_unless_somebody_says_otherwise() {
        assert!(allowed("http://127.0.0.1:7878", false).is_ok());
        assert!(allowed("http://192.0.2.1:80", false).is_err_and(|why| why.contains("192.0.2.1")));
        assert!(allowed("http://192.0.2.1:80", true).is_ok());
        assert!(allowed("ftp://127.0.0.1", true).is_err());
    }
}
