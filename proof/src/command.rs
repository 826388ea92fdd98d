//! The commands: each returns whether all offered checks passed.
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
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
use crate::upstream::{Holds, Upstream};
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
        ..History::default()
    };
    let limit = Duration::from_secs(args.load.time_limit_s);
    let tell = |what: &str| eprintln!("{what}");
    let in_time = scenarios::all(&mut lab, &mut history, &only, limit, &tell).await;
    history.memory = lab.memory;
    if let Some(file) = &args.history {
        write(file, &serde_json::to_string(&history).unwrap_or_default())?;
    }
    let spoke = |run: &crate::history::Run| {
        run.readers.iter().flat_map(|r| &r.connections).any(|c| !c.events.is_empty())
    };
    if !history.runs.iter().any(spoke) {
        return Err(Failure::Impossible(silence(&history)));
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

/// The reason for a missing stream, as far as it is known.
fn silence(history: &History) -> String {
    let problem = history.runs.iter().find_map(|run| run.problem.clone());
    let first = history.runs.iter().flat_map(|run| &run.readers).find_map(|reader| reader.last());
    let answered = first.map(|connection| {
        let said = connection.said.as_deref().unwrap_or("nothing");
        match connection.status {
            0 => said.to_owned(),
            status => format!("{status}, {said}"),
        }
    });
    let why = problem.or(answered).unwrap_or_else(|| "nothing was asked".into());
    format!("the target gave no stream: {why}")
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
    let holds = Holds::default();
    let upstream = listening(args.upstream_listen.as_deref(), args.allow_remote, &holds).await?;
    let hooks =
        args.start.clone().map(|start| Arc::new(Commands::new(args, start)) as Arc<dyn Hooks>);
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
            prefix: format!("sp{now:x}"),
        },
        upstream,
        holds,
        hooks,
        dice: Dice(seed),
        names: 0,
        resumable: false,
        events: 0,
        memory: None,
        kept: None,
    })
}

fn template(file: &Path) -> Result<wire::Template, String> {
    let of_file = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| of_file(&error))?;
    serde_json::from_str(&text).map_err(|error| of_file(&error))
}

/// A test breaks things: it is for this machine, unless an option says otherwise.
fn allowed(target: &str, remote: bool) -> Result<(), String> {
    let url = reqwest::Url::parse(target).map_err(|error| format!("{target}: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{target} is not an http URL"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{target} has more than a path: routes go behind it"));
    }
    let addresses = url.socket_addrs(|| None).map_err(|error| format!("{target}: {error}"))?;
    let elsewhere = addresses.into_iter().map(|a| a.ip()).find(|ip: &IpAddr| !ip.is_loopback());
    match elsewhere {
        Some(ip) if !remote => {
            Err(format!("{target} is {ip}, not this machine: --allow-remote tests it all the same"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The scripted upstream, where only this machine reaches it, unless somebody says otherwise.
async fn listening(
    listen: Option<&str>,
    remote: bool,
    holds: &Holds,
) -> Result<Option<Upstream>, Failure> {
    let Some(listen) = listen else { return Ok(None) };
    let addresses =
        listen.to_socket_addrs().map_err(|e| Failure::Refused(format!("{listen}: {e}")))?;
    if !remote && addresses.into_iter().any(|address| !address.ip().is_loopback()) {
        let why = format!("{listen} can be reached from elsewhere: --allow-remote listens there");
        return Err(Failure::Refused(why));
    }
    let started = Upstream::start(listen, holds.clone()).await;
    started.map(Some).map_err(|error| Failure::Impossible(format!("{listen}: {error}")))
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
    // The output is closed: the exit code still has the result.
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
    let json: Value = serde_json::from_str(&text).map_err(|error| of_file(&error))?;
    if json["format"] != FORMAT {
        let why = format!("its format is {}, not {FORMAT}", json["format"]);
        return Err(of_file(&why));
    }
    let history: History = serde_json::from_value(json).map_err(|error| of_file(&error))?;
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
    let upstream = Upstream::start(listen, Holds::default()).await;
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
